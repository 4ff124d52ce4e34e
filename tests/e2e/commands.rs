//! Command lines and exit codes, as an operator and a monitoring check meet them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::scene::{Scene, copy_files, reference};
use crate::support::{Outcome, PROCESS, PULL, data, run};

/// A name for messages, and the program.
const PROGRAMS: [(&str, &str); 2] =
    [("haproxystats-pull", PULL), ("haproxystats-process", PROCESS)];

/// The headings in the output of `-p` or `-P`.
fn sections(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with('[')).collect()
}

#[test]
fn help_names_every_option_of_the_command_line() {
    for (name, program) in PROGRAMS {
        for flag in ["-h", "--help"] {
            let output = run(program, &[flag]);
            assert_eq!(output.code, Some(0), "{name} {flag}");
            let text = &output.stdout;
            for word in [name, "--file", "--dir", "--print", "--print-conf", "--version", "--help"]
            {
                assert!(text.contains(word), "{name} {flag} does not name {word}:\n{text}");
            }
            assert_eq!(output.stderr, "", "{name} {flag}");
        }
    }
}

#[test]
fn version_is_the_packages() {
    for (name, program) in PROGRAMS {
        for flag in ["-v", "--version"] {
            let output = run(program, &[flag]);
            assert_eq!(output.code, Some(0), "{name} {flag}");
            assert!(output.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", output.stdout);
        }
    }
}

#[test]
fn version_names_the_features_of_process() {
    let features = if cfg!(feature = "kafka") { "kafka" } else { "none" };
    let output = run(PROCESS, &["--version"]).stdout;
    assert!(output.ends_with(&format!("\nfeatures: {features}\n")), "{output}");
    assert!(!run(PULL, &["--version"]).stdout.contains("features"));
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_program_without_kafka_refuses_its_section_and_says_what_to_build() {
    let scene = crate::scene::Scene::new();
    let text = format!(
        "[paths]\nbase-dir = {}\n[process]\nsrc-dir = {}\n[kafka]\n",
        scene.path().display(),
        scene.incoming().display()
    );
    let config = scene.write("c.conf", &text);
    let output = run(PROCESS, &["-f", config.to_str().unwrap()]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let sentence = "[kafka]: this haproxystats-process was built without Kafka; take it from the \
                    packages, or build it with cargo build --release --features kafka";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}

#[test]
fn defaults_are_printed_by_section() {
    for flag in ["-p", "--print"] {
        let pull = run(PULL, &[flag]);
        assert_eq!(pull.code, Some(0), "{}", pull.stderr);
        assert_eq!(sections(&pull.stdout), ["[DEFAULT]", "[pull]", "[uwsgi]", "[zope]"]);
        assert!(pull.stdout.contains("\npull-interval = 10\n"), "{}", pull.stdout);

        let process = run(PROCESS, &[flag]);
        assert_eq!(process.code, Some(0), "{}", process.stderr);
        let text = &process.stdout;
        assert!(!sections(text).contains(&"[pull]"), "{text}");
        for expected in ["[DEFAULT]\n", "[process]\n", "[graphite]\n", "\nport = 3002\n"] {
            assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
        }
    }
}

/// The nagios check searches for this line.
#[test]
fn values_in_force_hold_one_line_on_workers() {
    let scene = Scene::new();
    let config = scene.write("a.conf", "[process]\nworkers = 7\n[graphite]\nport = 2003\n");
    for flag in ["-P", "--print-conf"] {
        let output = run(PROCESS, &[flag, "-f", config.to_str().unwrap()]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let text = &output.stdout;
        let workers: Vec<&str> =
            text.lines().filter(|line| line.starts_with("workers = ")).collect();
        assert_eq!(workers, ["workers = 7"]);
        assert!(text.contains("\nport = 2003\n"), "{text}");
    }
}

#[test]
fn files_of_a_folder_override_the_file_in_name_order() {
    let scene = Scene::new();
    let file = scene.write("a.conf", "[pull]\nworkers = 1\nqueue-size = 1\nretries = 1\n");
    let dir = scene.write("d/20.conf", "[pull]\nworkers = 3\n").parent().unwrap().to_owned();
    scene.write("d/10.conf", "[pull]\nworkers = 2\nqueue-size = 2\n");
    scene.write("d/30.conf~", "[pull]\nworkers = 4\n");
    let arguments = ["-P", "-f", file.to_str().unwrap(), "-d", dir.to_str().unwrap()];
    let output = run(PULL, &arguments);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for expected in ["\nworkers = 3\n", "\nqueue-size = 2\n", "\nretries = 1\n"] {
        let text = &output.stdout;
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
}

#[test]
fn an_unknown_option_is_refused_with_the_usage() {
    for (name, program) in PROGRAMS {
        let output = run(program, &["--frobnicate"]);
        assert_eq!(output.code, Some(1), "{name}");
        assert_eq!(output.stdout, "", "{name}");
        let text = output.stderr.to_lowercase();
        assert!(text.contains("usage:") && text.contains(name), "{name}: {text}");
    }
}

/// Both programs check the whole file and report all faults in one run.
#[test]
fn a_bad_file_is_status_1_with_every_fault() {
    let scene = Scene::new();
    let text = "[DEFAULT]\nloglevel = loud\n\
                [pull]\npull-interval = often\n\
                [process]\nworkers = 0\n\
                [graphite]\nport = 70000\n";
    let config = scene.write("bad.conf", text);
    for (name, program) in PROGRAMS {
        for arguments in [&["-f"][..], &["-P", "-f"][..]] {
            let output = run(program, &[arguments, &[config.to_str().unwrap()]].concat());
            assert_eq!(output.code, Some(1), "{name} {arguments:?}");
            assert_eq!(output.stdout, "", "{name} {arguments:?}");
            let text = &output.stderr;
            let places = [
                ("bad.conf:2: ", "loglevel"),
                ("bad.conf:4: ", "pull-interval"),
                ("bad.conf:6: ", "workers"),
                ("bad.conf:8: ", "port"),
            ];
            for (place, option) in places {
                let is_reported =
                    text.lines().any(|line| line.contains(place) && line.contains(option));
                assert!(is_reported, "{name} does not report {place}{option}:\n{text}");
            }
        }
    }
}

/// A named file that is missing is an error, and the defaults do not replace it.
#[test]
fn a_named_file_that_is_not_there_is_status_1() {
    let scene = Scene::new();
    let missing = scene.path().join("missing.conf");
    let missing = missing.to_str().unwrap();
    for (name, program) in PROGRAMS {
        for arguments in [&["-f", missing][..], &["-P", "-f", missing][..]] {
            let output = run(program, arguments);
            assert_eq!(output.code, Some(1), "{name}: {}", output.stderr);
            assert_eq!(output.stdout, "", "{name}");
            let expected =
                format!("{missing}: no such file; write it, or name another one with -f\n");
            assert_eq!(output.stderr, expected, "{name}");
        }
    }
}

/// The test runs only on a machine without an installed haproxystats.
#[test]
fn the_default_file_may_be_absent() {
    if Path::new(config::DEFAULT_FILE).exists() {
        return;
    }
    for (name, program) in PROGRAMS {
        let output = run(program, &["-P"]);
        assert_eq!(output.code, Some(0), "{name}: {}", output.stderr);
        let warning =
            format!("{}: no such file; the defaults are in force\n", config::DEFAULT_FILE);
        assert_eq!(output.stderr, warning, "{name}");
        let default = if program == PULL { "\nqueue-size = 360\n" } else { "\nworkers = 4\n" };
        assert!(output.stdout.contains(default), "{name}: {}", output.stdout);
    }
}

#[test]
fn pull_without_anything_to_ask_is_status_1_and_names_both_options() {
    let scene = Scene::new();
    let config = scene.write("a.conf", &scene_spool(&scene));
    let output = run(PULL, &["-f", config.to_str().unwrap()]);
    assert_eq!(output.code, Some(1));
    let text = &output.stderr;
    assert!(text.contains("socket-dir") && text.contains("servers"), "{text}");
}

fn scene_spool(scene: &Scene) -> String {
    let base = scene.path().display();
    format!("[pull]\ndst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n")
}

/// Runs `--render` over one snapshot, which must stay as it is.
fn render(scene: &Scene, format: &str) -> Outcome {
    let snapshot = scene.path().join("1700000000");
    if !snapshot.exists() {
        copy_files(&data("parity/01-default/1700000000"), &snapshot);
    }
    let files = || fs::read_dir(&snapshot).unwrap().count();
    let before = files();
    // No receiver listens there.
    let config = scene.config(1, 1, "");
    let (config, snapshot) = (config.to_str().unwrap(), snapshot.to_str().unwrap());
    let outcome = run(PROCESS, &["-f", config, "--render", format, snapshot]);
    assert_eq!(files(), before);
    outcome
}

#[test]
fn a_snapshot_is_rendered_as_its_receiver_would_get_it() {
    let scene = Scene::new();
    let graphite = render(&scene, "graphite");
    assert_eq!(graphite.code, Some(0), "{}", graphite.stderr);
    let lines: BTreeSet<String> = graphite
        .stdout
        .lines()
        .filter(|line| !line.contains(".haproxystats."))
        .map(|line| line.strip_suffix(" 1700000000").unwrap().to_owned())
        .collect();
    assert!(lines == *reference(), "{} and {} lines", lines.len(), reference().len());

    let influx = render(&scene, "influx");
    assert_eq!(influx.code, Some(0), "{}", influx.stderr);
    assert!(influx.stdout.lines().all(|line| line.ends_with(" 1700000000000000000")));
    assert!(influx.stdout.contains(",sv=FRONTEND,type=frontend "), "{}", influx.stdout);

    let json = render(&scene, "json");
    assert_eq!(json.code, Some(0), "{}", json.stderr);
    let rows: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), influx.stdout.lines().count());
    // The same sum in each form.
    let frontend = rows.iter().find(|row| row["kind"] == "frontend").unwrap();
    let (name, stot) = (frontend["proxy"].as_str().unwrap(), &frontend["stot"]);
    let path = format!("e2e.haproxy.frontend.{}.stot {stot}", name.replace('.', "_"));
    assert!(lines.contains(&path), "{path}");
    assert!(influx.stdout.lines().any(|line| {
        line.contains(&format!("proxy={name},")) && line.contains(&format!("stot={stot}i"))
    }));
}

#[test]
fn an_error_of_render_names_its_reason() {
    let scene = Scene::new();
    let unknown = render(&scene, "xml");
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("write graphite, influx, json or prometheus"),
        "{}",
        unknown.stderr
    );
    // An empty format is a format too, and no start of the service.
    let empty = render(&scene, "");
    assert_eq!(empty.code, Some(1), "{}", empty.stderr);
    let config = scene.config(1, 1, "");
    let run_on = |path: &Path| {
        let (config, path) = (config.to_str().unwrap(), path.to_str().unwrap());
        run(PROCESS, &["-f", config, "--render", "json", path])
    };
    let missing = run_on(&scene.path().join("17"));
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(2), ""));
    assert!(missing.stderr.contains("No such file"), "{}", missing.stderr);
    let unnamed = run_on(scene.path());
    assert_eq!(unnamed.code, Some(2));
    assert!(unnamed.stderr.contains("epoch seconds"), "{}", unnamed.stderr);
    fs::create_dir(scene.path().join("18")).unwrap();
    let empty = run_on(&scene.path().join("18"));
    assert_eq!(empty.code, Some(2));
    assert!(empty.stderr.contains("holds no answer"), "{}", empty.stderr);
}
