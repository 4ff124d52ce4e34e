//! The dashboards of `contrib/grafana` and `contrib/graphite`, tried with the real tools; those for
//! InfluxDB in `influxdb`.
//!
//! A dashboard that asks for a missing path shows an empty panel, which looks as if nothing had
//! happened. So each target is compared with the lines that the programs send, and then queried
//! from a real graphite-web over data of a real HAProxy. The tests use no Grafana: they resolve its
//! variables by the same queries to Graphite.

mod boards;
mod influxdb;
mod other_sources;
mod storage;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fancy_regex::Regex;
use serde_json::Value;

use crate::carbon::Carbon;
use crate::graphite_web::{GraphiteWeb, escaped};
use crate::haproxy::HaProxy;
use crate::scene::Scene;
use crate::sink::{Manner, Sink};
use crate::support::{data, free_ports, installed, run, wait_until};
use boards::{NAMES, Target, contrib, grafana_targets, graphite_targets, strangers, substitute};

/// The seconds of a longer run that ends with a new `docs/overview.png`.
const UPDATE_PICTURE: &str = "UPDATE_PICTURE";

/// The test uses recorded dumps and no server.
#[test]
fn every_path_is_one_that_we_emit() {
    let emitted = emitted("");
    let targets =
        NAMES.iter().flat_map(|name| [grafana_targets(name), graphite_targets(name)].concat());
    let mut targets: Vec<Target> = targets.map(everywhere).collect();
    assert!(targets.len() > 150, "only {} targets", targets.len());
    assert_eq!(strangers(&targets, &emitted), []);

    // Each of our own metrics has a panel.
    let shown = grafana_targets("haproxystats").into_iter();
    let shown: BTreeSet<String> =
        shown.flat_map(|target| boards::paths(&target.text)).map(|path| last_part(&path)).collect();
    let ours = emitted.iter().filter(|path| path.contains(".haproxy.haproxystats."));
    let ours: BTreeSet<String> = ours.map(|path| last_part(path)).collect();
    assert_eq!(shown, ours);

    // The check finds a name that is wrong by one letter.
    let victim = targets.iter_mut().find(|target| target.text.contains(".req_tot")).unwrap();
    victim.text = victim.text.replace(".req_tot", ".req_tots");
    let broken = victim.clone();
    assert_eq!(strangers(&targets, &emitted), [broken]);
}

/// The page has a command for `prefix-hostname = false`, which is run as it is written.
#[test]
fn without_the_host_the_command_of_the_page_is_enough() {
    let emitted = emitted("prefix-hostname = false\n");
    let page = fs::read_to_string(contrib("grafana/README.md")).unwrap();
    let (_, command) = page.split_once("    sed '").unwrap();
    let (expression, _) = command.split_once('\'').unwrap();
    for name in NAMES {
        let file = contrib("grafana").join(format!("{name}.json"));
        let outcome = run("sed", &[expression, file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let board: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(board["templating"]["list"][1]["query"], "expand(*.haproxy)");
        let targets: Vec<Target> =
            boards::targets_of(name, &board).into_iter().map(everywhere).collect();
        assert_eq!(strangers(&targets, &emitted), []);
        // Without the command no target is right.
        let untouched: Vec<Target> = grafana_targets(name).into_iter().map(everywhere).collect();
        assert_eq!(strangers(&untouched, &emitted), untouched);
    }
}

/// The paths of one snapshot of four processes, and of the program's own metrics.
fn emitted(option: &str) -> BTreeSet<String> {
    let (scene, sink) = (Scene::new(), Sink::start(Manner::Whole));
    let config = scene.config(sink.port, 1, "");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("workers = 1\n", "workers = 1\nliveness-check-interval = 1\n");
    fs::write(&config, text.replace("namespace = e2e\nprefix-hostname = false\n", option)).unwrap();
    publish_dump(&scene);
    let process = scene.process(&config);
    let paths = || -> BTreeSet<String> {
        let lines = sink.lines();
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let has_path =
        |paths: &BTreeSet<String>, end: &str| paths.iter().any(|path| path.ends_with(end));
    wait_until("a snapshot's lines, and the program's own", || {
        let paths = paths();
        has_path(&paths, ".TotalWallClockTime") && has_path(&paths, ".LocalStoreFailures")
    });
    process.finish();
    paths()
}

fn last_part(path: &str) -> String {
    path.rsplit('.').next().unwrap().to_owned()
}

/// A target with a wildcard for each variable.
fn everywhere(target: Target) -> Target {
    let names = [
        "$namespace",
        "$host",
        "$frontend",
        "$backend",
        "$server",
        "$application",
        "$deployment",
        "FRONTEND",
        "BACKEND",
        "APPLICATION",
        "DEPLOYMENT",
    ];
    let values = names.map(|name| (name, "*".to_owned()));
    Target { text: substitute(&target.text, &values), ..target }
}

/// Every path in both dashboards of a source for Graphite is one of these lines'. The check finds a
/// path that is not, in the first target.
fn assert_paths_are_emitted(name: &str, lines: &str, (right, wrong): (&str, &str)) {
    let emitted: BTreeSet<String> =
        lines.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let targets = [grafana_targets(name), graphite_targets(name)].concat();
    let mut targets: Vec<Target> = targets.into_iter().map(everywhere).collect();
    assert_eq!(strangers(&targets, &emitted), []);
    targets[0].text = targets[0].text.replace(right, wrong);
    assert_eq!(strangers(&targets, &emitted).len(), 1);
}

/// Files of four processes of HAProxy 2.2, and the file of pull 0.1.0 about the cycle.
fn publish_dump(scene: &Scene) {
    let staged = scene.path().join("staged");
    fs::create_dir(&staged).unwrap();
    for number in 1..=4 {
        for part in ["info", "stat"] {
            let dump = data("dumps/haproxy-2.2.9").join(format!("sock{number}.show_{part}.txt"));
            fs::copy(dump, staged.join(format!("sock{number}_{part}"))).unwrap();
        }
    }
    let manifest = r#"{ "version": 1, "origin": "lb1", "serial": "0000000000000001",
        "cycle": { "endpoints": 4, "cycles": 1, "old-workers": 0, "kept-workers": 0 } }"#;
    fs::write(staged.join("haproxystats.manifest"), manifest).unwrap();
    fs::rename(staged, scene.incoming().join("1700000000")).unwrap();
}

/// HAProxy, both programs, carbon with the storage files of `contrib`, and graphite-web.
#[test]
fn every_target_finds_points_in_a_real_graphite() {
    let tools = ["haproxy", "carbon-cache", "whisper-fetch", "graphite-manage"];
    let Some([haproxy, carbon_cache, whisper_fetch, graphite_manage]) =
        installed("dashboards", tools)
    else {
        return;
    };
    let scene = Scene::new();
    let carbon = Carbon::start_with(
        &carbon_cache,
        &whisper_fetch,
        scene.path(),
        &storage::schemas_for_every_second(),
        &storage::aggregation(),
    );
    let web = GraphiteWeb::start(&graphite_manage, &carbon, scene.path());
    let haproxy = HaProxy::start(&haproxy, scene.path());
    let config = configuration(&scene, &haproxy, carbon.port);
    let (process, pull) = (scene.process(&config), scene.pull(&config));

    haproxy.traffic(140);
    let values = ask_for_variables(&web);
    let chosen = |target: Target| Target { text: substitute(&target.text, &values), ..target };
    let targets: Vec<Target> =
        NAMES.iter().flat_map(|name| grafana_targets(name)).map(chosen).collect();
    assert_points(&web, &haproxy, &targets);
    assert_storage_methods(&carbon);

    // The check finds a missing path, and a function that Graphite lacks.
    let good = &targets[0].text;
    for (right, wrong) in [(".req_tot", ".req_tots"), ("perSecond", "perMinute")] {
        assert!(good.contains(right) && web.points(good).is_ok(), "{good}");
        assert!(web.points(&good.replace(right, wrong)).is_err(), "{wrong}");
    }

    assert_a_loss_shows_after_its_gap(&web, &carbon);

    haproxy.reload();
    // The sum over four processes falls when one of them begins anew, unless the others grow.
    wait_until("a counter that falls", || {
        let change = "derivative(sumSeries(loadbalancers.*.haproxy.frontend.*.stot))";
        web.points(change).is_ok_and(|points| points.iter().any(|point| *point < 0.0))
    });
    let targets = save_in_graphite_web(&web);
    assert_points(&web, &haproxy, &targets);

    take_picture(&scene, &web, &haproxy);
    pull.finish();
    process.finish();
}

/// A configuration as an operator writes it, with the default namespace and this machine's name.
fn configuration(scene: &Scene, haproxy: &HaProxy, port: u16) -> PathBuf {
    let text = format!(
        "[paths]\nbase-dir = {}\n\
         [pull]\nsocket-dir = {}\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = ${{paths:base-dir}}/incoming\ntmp-dst-dir = ${{paths:base-dir}}/incoming.tmp\n\
         [process]\nsrc-dir = ${{paths:base-dir}}/incoming\nworkers = 2\n\
         liveness-check-interval = 1\n\
         [graphite]\nserver = 127.0.0.1\nport = {port}\nwrite-timeout = 20\n",
        scene.path().display(),
        haproxy.sockets_folder().display(),
    );
    scene.write("haproxystats.conf", &text)
}

/// Checks that Grafana would offer the names of HAProxy for each variable; returns one value of
/// each, or all values.
fn ask_for_variables(web: &GraphiteWeb) -> Vec<(&'static str, String)> {
    let host = rustix::system::uname().nodename().to_str().unwrap().replace('.', "_");
    let offered = [
        ("$namespace", vec!["loadbalancers"], "loadbalancers"),
        ("$host", vec![&*host], "*"),
        ("$frontend", vec!["origin", "shop", "www"], "www"),
        ("$backend", vec!["api", "app", "down", "shop_cart"], "app"),
        ("$server", vec!["app1", "app2", "spare"], "*"),
    ];
    let mut values = Vec::new();
    let mut asked = BTreeSet::new();
    for board in NAMES.map(|name| boards::read("grafana", name)) {
        for variable in board["templating"]["list"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            if variable["type"] == "datasource" {
                continue;
            }
            let (name, expected, value) =
                offered.iter().find(|(known, ..)| known[1..] == *name).unwrap();
            wait_until(&format!("{name} with {expected:?}"), || {
                options(web, variable, &values)
                    == BTreeSet::from_iter(expected.iter().map(|&one| one.to_owned()))
            });
            assert_eq!(*value == "*", variable["allValue"] == "*", "{name}");
            if asked.insert(*name) {
                values.push((*name, (*value).to_owned()));
            }
        }
    }
    assert_eq!(asked.len(), offered.len());
    values.extend([("FRONTEND", "www".to_owned()), ("BACKEND", "app".to_owned())]);
    values
}

/// A variable's values, queried and cut as Grafana does.
fn options(web: &GraphiteWeb, variable: &Value, values: &[(&str, String)]) -> BTreeSet<String> {
    let query = substitute(variable["query"].as_str().unwrap(), values);
    let expanded = query.strip_prefix("expand(").and_then(|rest| rest.strip_suffix(')'));
    let names: Vec<String> = match expanded {
        Some(pattern) => {
            let answer = web.json(&format!("/metrics/expand?query={}", escaped(pattern)));
            let results = answer["results"].as_array().unwrap().iter();
            results.map(|path| path.as_str().unwrap().to_owned()).collect()
        }
        None => {
            let answer = web.json(&format!("/metrics/find?query={}", escaped(&query)));
            let nodes = answer.as_array().unwrap().iter();
            nodes.map(|node| node["text"].as_str().unwrap().to_owned()).collect()
        }
    };
    let regex = variable["regex"].as_str().unwrap();
    if regex.is_empty() {
        return names.into_iter().collect();
    }
    let regex = Regex::new(regex.strip_prefix('/').unwrap().strip_suffix('/').unwrap()).unwrap();
    let cut =
        |name: &String| Some(regex.captures(name.as_str()).unwrap()?.get(1)?.as_str().to_owned());
    names.iter().filter_map(cut).collect()
}

/// Every target gets a point, and no point is below 0.
fn assert_points(web: &GraphiteWeb, haproxy: &HaProxy, targets: &[Target]) {
    boards::assert_points(targets, || haproxy.traffic(14), |target| web.points(&target.text).ok());
}

/// One of our counters has values before and after a gap, as when cycles fail: the graph shows the
/// growth during the gap.
fn assert_a_loss_shows_after_its_gap(web: &GraphiteWeb, carbon: &Carbon) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut stream = TcpStream::connect(("127.0.0.1", carbon.port)).unwrap();
    for (value, time) in [(4, now - 21), (4, now - 20), (7, now - 10), (7, now - 9)] {
        let path = "gaps.h.haproxy.haproxystats.PullFailures";
        stream.write_all(format!("{path} {value} {time}\n").as_bytes()).unwrap();
    }
    let values = [("$namespace", "gaps".to_owned()), ("$host", "h".to_owned())];
    let targets = grafana_targets("haproxystats").into_iter();
    let targets: Vec<Target> =
        targets.filter(|target| target.text.contains(".PullFailures")).collect();
    assert!(!targets.is_empty());
    for target in targets {
        let text = substitute(&target.text, &values);
        wait_until(&format!("a loss of 3 in {text}"), || {
            web.points(&text).is_ok_and(|points| points.iter().sum::<f64>() == 3.0)
        });
        // Without the kept value the graph does not show it.
        let plain = text.replace("keepLastValue", "absolute");
        assert!(
            web.points(&plain).is_ok_and(|points| points.iter().sum::<f64>() == 0.0),
            "{plain}"
        );
    }
}

/// Whisper files have the method and the factor of the storage files.
fn assert_storage_methods(carbon: &Carbon) {
    let host = rustix::system::uname().nodename().to_str().unwrap().replace('.', "_");
    let home = carbon.storage.join("loadbalancers").join(host).join("haproxy");
    let (average, last, max, min) = (1, 3, 4, 5);
    for (metric, method) in [
        ("frontend/www/req_tot", last),
        ("frontend/www/scur", average),
        ("frontend/www/smax", max),
        ("haproxystats/ReceiverUp", min),
    ] {
        let file = fs::read(home.join(metric).with_extension("wsp")).unwrap();
        let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        // Method, longest retention, factor.
        assert_eq!((number(0), number(8)), (method, 0), "{metric}");
    }
}

/// Saves our dashboards in graphite-web and loads them and their graphs; returns their targets.
fn save_in_graphite_web(web: &GraphiteWeb) -> Vec<Target> {
    let words = [("FRONTEND", "www".to_owned()), ("BACKEND", "app".to_owned())];
    for name in NAMES {
        let text = fs::read_to_string(contrib("graphite").join(format!("{name}.json"))).unwrap();
        let text = substitute(&text, &words);
        let board: Value = serde_json::from_str(&text).unwrap();
        let id = board["name"].as_str().unwrap();
        let (status, answer) = web.post(&format!("/dashboard/save/{id}"), &[("state", &*text)]);
        assert_eq!((status, &*answer), (200, &br#"{"success": true}"#[..]), "{id}");
        assert_eq!(web.json(&format!("/dashboard/load/{id}"))["state"], board);
        let graphs = board["graphs"].as_array().unwrap();
        let address = |graph: &Value| graph[2].as_str().unwrap().to_owned();
        for graph in graphs {
            let series = web.json(&format!("{}&format=json", address(graph)));
            let targets = graph[1]["target"].as_array().unwrap().len();
            assert!(series.as_array().unwrap().len() >= targets, "{graph}: {series}");
        }
        let (status, picture) = web.get(&address(&graphs[0]));
        assert!(status == 200 && picture.starts_with(b"\x89PNG"), "{id}");
    }
    let targets = NAMES.iter().flat_map(|name| graphite_targets(name));
    targets.map(|target| Target { text: substitute(&target.text, &words), ..target }).collect()
}

/// `contrib/graphite/picture.py` makes one picture of the overview, and reports an error.
fn take_picture(scene: &Scene, web: &GraphiteWeb, haproxy: &HaProxy) {
    let address = format!("http://127.0.0.1:{}", web.port);
    let script = contrib("graphite/picture.py").display().to_string();
    let overview = contrib("graphite/overview.json").display().to_string();
    let mut picture = scene.path().join("overview.png");
    let mut since = "--from=-2min".to_owned();
    if let Some(seconds) = std::env::var_os(UPDATE_PICTURE) {
        let seconds: u64 = seconds.to_str().unwrap().parse().unwrap();
        vary_traffic(haproxy, Duration::from_secs(seconds));
        since = format!("--from=-{seconds}s");
        picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/overview.png");
    }
    let picture = picture.display().to_string();
    let options = [&*since, "--graphs=9", "--size=380x230"];
    let taken = run(&script, &[&[&*address, &*overview, &*picture][..], &options].concat());
    assert_eq!((taken.code, &*taken.stderr), (Some(0), ""));
    let file = fs::read(&picture).unwrap();
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    // Three graphs in three lines, 380 by 230 each.
    assert_eq!((number(16), number(20)), (3 * 380, 3 * 230), "the picture's size");

    let [nobody] = free_ports();
    let nowhere = format!("http://127.0.0.1:{nobody}");
    let failed = run(&script, &[&*nowhere, &*overview, &*picture]);
    assert!(failed.code == Some(1) && failed.stderr.contains("refused"), "{}", failed.stderr);
}

/// Sends traffic in waves, so that the picture has curves.
fn vary_traffic(haproxy: &HaProxy, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        let wave = (start.elapsed().as_secs_f64() / 20.0).sin();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "4 to 32")]
        haproxy.traffic((18.0 + 14.0 * wave) as usize);
        // Pauses, so that the waves show the rate and not the speed of this machine.
        thread::sleep(Duration::from_millis(50));
    }
}
