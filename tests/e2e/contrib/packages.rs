//! The Debian package and the RPM, tried with the real tools: built, checked by lintian, unpacked,
//! run, and installed into a separate root; then upgraded, removed and purged there.
//!
//! The programs of this test's own build replace release builds, which would take minutes.
//! `manual.rs` checks the man pages and the versions.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::scene::Scene;
use crate::support::{PROCESS, PULL, installed, skip};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The differences between the two packages.
struct Layout {
    plugins: &'static str,
    /// Whether pages of the manual are compressed.
    compressed: bool,
    only_here: &'static [&'static str],
}

const DEB: Layout = Layout {
    plugins: "usr/lib/nagios/plugins",
    compressed: true,
    only_here: &[
        "usr/share/doc/haproxystats/changelog.Debian.gz",
        "usr/share/doc/haproxystats/changelog.gz",
        "usr/share/doc/haproxystats/copyright",
        "usr/share/lintian/overrides/haproxystats",
    ],
};

const RPM: Layout = Layout {
    plugins: "usr/lib64/nagios/plugins",
    compressed: false,
    only_here: &[
        "usr/share/doc/haproxystats/CHANGELOG.md",
        "usr/share/licenses/haproxystats/LICENSE",
    ],
};

/// Runs a tool and returns its output. A tool takes seconds, or minutes on a loaded machine.
fn run(folder: &Path, environment: &[(&str, &OsStr)], words: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("600").args(words).current_dir(folder).envs(environment.iter().copied());
    command.output().unwrap()
}

/// Runs a tool that must succeed, and returns its output.
fn must(folder: &Path, words: &[&str]) -> String {
    stdout_of(&run(folder, &[], words), words)
}

fn stdout_of(output: &Output, words: &[&str]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{words:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Runs cargo's command for a package on this build's programs, and returns the package.
fn build(scene: &Scene, words: &[&str]) -> PathBuf {
    let target = scene.path().join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    for program in [PULL, PROCESS] {
        let name = Path::new(program).file_name().unwrap();
        symlink(program, target.join("release").join(name)).unwrap();
    }
    let out = scene.path().join("out");
    fs::create_dir(&out).unwrap();
    let words = [&[env!("CARGO")], words, &["--output", out.to_str().unwrap()]].concat();
    let output = run(Path::new(ROOT), &[("CARGO_TARGET_DIR", target.as_os_str())], &words);
    stdout_of(&output, &words);
    let mut made = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let package = made.next().expect("a package");
    assert_eq!(made.next(), None, "one file was to be made");
    package
}

/// The names in a folder of the project with this ending.
fn names(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap());
    let names = names.filter(|entry| entry.file_type().unwrap().is_file());
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(ending)).collect()
}

/// Every file that a package must have, and whether it is a program.
fn expected(layout: &Layout) -> BTreeMap<String, bool> {
    let suffix = if layout.compressed { ".gz" } else { "" };
    let mut files = BTreeMap::new();
    let mut add = |path: String, program| assert_eq!(files.insert(path, program), None);
    for name in ["haproxystats-pull", "haproxystats-process"] {
        add(format!("usr/bin/{name}"), true);
        add(format!("usr/lib/systemd/system/{name}.service"), false);
        add(format!("usr/share/man/man8/{name}.8{suffix}"), false);
    }
    for path in [
        "etc/haproxystats.conf",
        "usr/lib/sysusers.d/haproxystats.conf",
        "usr/lib/tmpfiles.d/haproxystats.conf",
    ] {
        add(path.to_owned(), false);
    }
    for plugin in [
        "check_haproxystats_monitor",
        "check_haproxystats_process",
        "check_haproxystats_process_number_of_procs",
        "check_haproxystats_pull",
        "check_haproxystats_queue_size",
    ] {
        add(format!("{}/{plugin}", layout.plugins), true);
    }
    add("usr/share/haproxystats/dump-perf-metrics".to_owned(), true);
    add(format!("usr/share/man/man5/haproxystats.conf.5{suffix}"), false);
    add("usr/share/doc/haproxystats/README.md".to_owned(), false);
    for page in names("docs", ".md") {
        add(format!("usr/share/doc/haproxystats/docs/{page}"), false);
    }
    for example in names("examples", ".conf") {
        add(format!("usr/share/doc/haproxystats/examples/{example}"), false);
    }
    for ending in [".py", ".ini", ".conf"] {
        for example in names("examples/uwsgi", ending) {
            add(format!("usr/share/doc/haproxystats/examples/uwsgi/{example}"), false);
        }
    }
    add("usr/share/doc/haproxystats/contrib/grafana/import".to_owned(), true);
    // Files to which the pages lead, because an operator does not have the project.
    add("usr/share/doc/haproxystats/CONTRIBUTING.md".to_owned(), false);
    for picture in [names("docs", ".png"), names("docs", ".svg")].concat() {
        add(format!("usr/share/doc/haproxystats/docs/{picture}"), false);
    }
    for folder in ["grafana", "grafana/influxdb", "graphite", "nagios", "systemd"] {
        for ending in [".md", ".json", ".conf", ".py"] {
            for file in names(&format!("contrib/{folder}"), ending) {
                add(format!("usr/share/doc/haproxystats/contrib/{folder}/{file}"), false);
            }
        }
    }
    let drop_ins = "haproxystats-process.service.d";
    for drop_in in names(&format!("contrib/systemd/{drop_ins}"), ".conf") {
        add(format!("usr/share/doc/haproxystats/examples/{drop_ins}/{drop_in}"), false);
    }
    for path in layout.only_here {
        add((*path).to_owned(), false);
    }
    files
}

/// The regular files below a folder, and whether each is a program; other modes are faults.
fn files_below(folder: &Path) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let mode = metadata.permissions().mode();
            assert!(matches!(mode, 0o100_644 | 0o100_755), "{name} has mode {mode:o}");
            found.insert(name, mode == 0o100_755);
        }
    }
    found
}

/// The unpacked files can be used: the programs run, they accept the configuration, and the
/// commands of the units exist.
fn assert_usable(unpacked: &Path) {
    let config = unpacked.join("etc/haproxystats.conf");
    let config = config.to_str().unwrap();
    for name in ["haproxystats-pull", "haproxystats-process"] {
        let program = unpacked.join("usr/bin").join(name);
        let program = program.to_str().unwrap();
        let version = must(unpacked, &[program, "-v"]);
        assert_eq!(version.lines().next(), Some(&format!("haproxystats {VERSION}")[..]));
        let output = run(unpacked, &[], &[program, "-P", "-f", config]);
        stdout_of(&output, &[program, "-P"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "warnings on {config}");

        let unit = unpacked.join(format!("usr/lib/systemd/system/{name}.service"));
        let unit = fs::read_to_string(unit).unwrap();
        let command = format!("\nExecStart=/usr/bin/{name} -f /etc/haproxystats.conf\n");
        assert!(unit.contains(&command), "{name}.service has no {command:?}");
    }
}

/// systemd accepts the units with the package as its root, and refuses a unit without its program.
fn assert_units_verify(unpacked: &Path) {
    let root = format!("--root={}", unpacked.display());
    for name in ["haproxystats-pull", "haproxystats-process"] {
        let unit = format!("{name}.service");
        let words =
            ["systemd-analyze", "verify", &root, "--recursive-errors=no", "--man=no", &unit];
        must(unpacked, &words);
        let program = unpacked.join("usr/bin").join(name);
        let away = program.with_extension("away");
        fs::rename(&program, &away).unwrap();
        assert!(!run(unpacked, &[], &words).status.success(), "{unit} without its program");
        fs::rename(away, program).unwrap();
    }
}

#[test]
fn the_debian_package_holds_what_it_should_and_installs() {
    let test = "Debian package";
    let tools = ["cargo-deb", "dpkg-deb", "lintian", "systemd-analyze"];
    if installed(test, tools).is_none() {
        return;
    }
    let scene = Scene::new();
    let words = ["deb", "--locked", "--offline", "--no-build", "--strip", "--fast", "--quiet"];
    let package = build(&scene, &words);
    let deb = package.to_str().unwrap();
    let name = package.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&format!("haproxystats_{VERSION}-1_")), "{name}");

    let unpacked = scene.path().join("unpacked");
    must(scene.path(), &["dpkg-deb", "-R", deb, unpacked.to_str().unwrap()]);
    let control = unpacked.join("DEBIAN");
    let conffiles = fs::read_to_string(control.join("conffiles")).unwrap();
    assert_eq!(conffiles.trim(), "/etc/haproxystats.conf");
    let fields = fs::read_to_string(control.join("control")).unwrap();
    for field in [
        &format!("Version: {VERSION}-1\n")[..],
        "libc6 (>= ",
        "systemd | systemd-standalone-sysusers",
    ] {
        assert!(fields.contains(field), "{field:?} is missing:\n{fields}");
    }
    let listed: BTreeMap<String, bool> = files_below(&unpacked)
        .into_iter()
        .filter(|(path, _)| !path.starts_with("DEBIAN/"))
        .collect();
    assert_eq!(listed, expected(&DEB));
    assert_usable(&unpacked);
    assert_units_verify(&unpacked);
    assert_nothing_unasked(&scene, &control);

    let judge = ["lintian", "--no-cfg", "--allow-root", "--fail-on", "error,warning"];
    must(scene.path(), &[&judge[..], &[deb]].concat());
    // From here on the tree is only packed again, and the real programs would only cost time.
    for name in ["haproxystats-pull", "haproxystats-process"] {
        fs::write(unpacked.join("usr/bin").join(name), "").unwrap();
    }
    assert_lintian_sees_faults(&scene, &unpacked, &judge);
    install_deb(&scene, &unpacked, deb);
}

/// lintian finds a fault in a broken package.
fn assert_lintian_sees_faults(scene: &Scene, unpacked: &Path, judge: &[&str]) {
    let broken = scene.path().join("broken");
    let (from, to) = (unpacked.to_str().unwrap(), broken.to_str().unwrap());
    must(scene.path(), &["cp", "-a", from, to]);
    fs::create_dir_all(broken.join("usr/local/bin")).unwrap();
    fs::write(broken.join("usr/local/bin/stray"), "").unwrap();
    let deb = pack(scene, &broken, "broken.deb");
    let output = run(scene.path(), &[], &[judge, &[&deb]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains("file-in-usr-local"), "{text}");
}

/// Packs a tree without compression.
fn pack(scene: &Scene, tree: &Path, name: &str) -> String {
    let deb = scene.path().join(name).to_str().unwrap().to_owned();
    let tree = tree.to_str().unwrap();
    must(scene.path(), &["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, &deb]);
    deb
}

/// dpkg installs into a separate root and runs the package's scripts with it (DPKG_ROOT). Their
/// calls must not reach the machine's systemd, so commands on PATH that do nothing replace it.
fn install_deb(scene: &Scene, unpacked: &Path, deb: &str) {
    if !rustix::process::geteuid().is_root() {
        return skip("Debian package: dpkg --root needs root");
    }
    let root = scene.path().join("root");
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let option = format!("--root={}", root.display());
    let log = format!("--log={}", scene.path().join("dpkg.log").display());
    let notes = stand_ins(scene, "dpkg", &["systemctl", "systemd-tmpfiles", "deb-systemd-invoke"]);
    let before = std::env::var("PATH").unwrap();
    let path = format!("{}:{before}", notes.with_file_name("bin").display());
    let dpkg = |words: &[&str]| {
        // The scripts need only the tools of the packages, which the machine has.
        let forced = [
            "--force-script-chrootless",
            "--force-depends",
            "--force-confold",
            "--force-unsafe-io",
        ];
        let words = [&["dpkg", &option, &log], &forced[..], words].concat();
        stdout_of(&run(scene.path(), &[("PATH", path.as_ref())], &words), &words)
    };

    dpkg(&["-i", deb]);
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("haproxystats:")), "{users}");
    let enabled = root.join("etc/systemd/system/multi-user.target.wants");
    assert!(!enabled.exists(), "a unit was enabled unasked");

    // An upgrade brings another configuration, but the operator's file stays.
    let config = root.join("etc/haproxystats.conf");
    let own = "[pull]\nsocket-dir = /srv/sockets\n";
    fs::write(&config, own).unwrap();
    let control = unpacked.join("DEBIAN/control");
    let newer = fs::read_to_string(&control).unwrap().replace("-1\n", "-2\n");
    fs::write(control, newer).unwrap();
    fs::write(unpacked.join("etc/haproxystats.conf"), "# newer\n").unwrap();
    dpkg(&["-i", &pack(scene, unpacked, "newer.deb")]);
    assert_eq!(fs::read_to_string(&config).unwrap(), own);
    let offered = fs::read_to_string(root.join("etc/haproxystats.conf.dpkg-dist")).unwrap();
    assert_eq!(offered, "# newer\n");

    let waiting = root.join("var/lib/haproxystats/incoming/1700000000");
    fs::create_dir_all(&waiting).unwrap();
    dpkg(&["--remove", "haproxystats"]);
    assert!(!root.join("usr/bin/haproxystats-pull").exists());
    assert!(waiting.exists() && config.exists(), "a removal keeps data and configuration");
    dpkg(&["--purge", "haproxystats"]);
    assert!(!root.join("var/lib/haproxystats").exists() && !config.exists(), "a purge does not");
}

#[test]
fn the_rpm_holds_what_it_should_and_installs() {
    let tools = ["cargo-generate-rpm", "rpm", "rpm2cpio", "cpio"];
    if installed("RPM", tools).is_none() {
        return;
    }
    let scene = Scene::new();
    // The tool finds the needed libraries with ldd, which every Linux has.
    let words = ["generate-rpm", "--payload-compress", "gzip", "--auto-req", "builtin"];
    let package = build(&scene, &words);
    let rpm = package.to_str().unwrap();
    let name = package.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&format!("haproxystats-{VERSION}-1.")), "{name}");

    let unpacked = scene.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let unpack = format!("rpm2cpio '{rpm}' | cpio --quiet -idm");
    must(&unpacked, &["sh", "-c", &unpack]);
    assert_eq!(files_below(&unpacked), expected(&RPM));
    assert_usable(&unpacked);

    let query = |words: &[&str]| must(scene.path(), &[&["rpm", "-qp"], words, &[rpm]].concat());
    assert_eq!(query(&["--configfiles"]), "/etc/haproxystats.conf\n");
    let noreplace = query(&["--qf", "[%{FILEFLAGS:fflags} %{FILENAMES}\n]"]);
    assert!(noreplace.contains("cn /etc/haproxystats.conf\n"), "{noreplace}");
    let owners = query(&["--qf", "[%{FILEUSERNAME}:%{FILEGROUPNAME}\n]"]);
    let owners: BTreeSet<&str> = owners.lines().collect();
    assert_eq!(owners, BTreeSet::from(["root:root"]));
    let needs = query(&["--requires"]);
    for need in ["systemd\n", "libc.so.6(GLIBC_", "/bin/sh\n"] {
        assert!(needs.contains(need), "{need:?} is missing:\n{needs}");
    }
    install_rpm(&scene, rpm);
}

/// rpm installs into a separate root, verifies every file there, and keeps a changed configuration
/// when it removes them. The root has no shell, so another test tries the scripts.
fn install_rpm(scene: &Scene, rpm: &str) {
    if !rustix::process::geteuid().is_root() {
        return skip("RPM: rpm --root needs root");
    }
    let root = scene.path().join("root");
    fs::create_dir(&root).unwrap();
    let rooted = ["rpm", "--root", root.to_str().unwrap()];
    must(scene.path(), &[&rooted[..], &["--initdb"]].concat());
    // Debian's rpm requires this option before it installs a package.
    let debian =
        if Path::new("/etc/debian_version").exists() { &["--force-debian"][..] } else { &[] };
    must(scene.path(), &[&rooted[..], debian, &["--nodeps", "--noscripts", "-i", rpm]].concat());
    let verify = [&rooted[..], &["--nodeps", "-V", "haproxystats"]].concat();
    must(scene.path(), &verify);
    let config = root.join("etc/haproxystats.conf");
    fs::write(&config, "# mine\n").unwrap();
    let changed = run(scene.path(), &[], &verify);
    let changed = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(changed.ends_with("c /etc/haproxystats.conf\n"), "{changed}");
    must(scene.path(), &[&rooted[..], debian, &["--noscripts", "-e", "haproxystats"]].concat());
    assert_eq!(files_of(&root.join("etc")), ["haproxystats.conf.rpmsave"]);
}

fn files_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Puts commands that only note their words into a folder `bin`, and returns the file of the notes
/// beside that folder.
fn stand_ins(scene: &Scene, place: &str, tools: &[&str]) -> PathBuf {
    let notes = scene.write(&format!("{place}/notes"), "");
    for tool in tools {
        let text = format!("#!/bin/sh\necho {tool} \"$@\" >>'{}'\n", notes.display());
        let path = scene.write(&format!("{place}/bin/{tool}"), &text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    notes
}

/// One script of the Debian package is ours; the others are cargo-deb's.
#[test]
fn shellcheck_takes_the_scripts() {
    let Some([shellcheck]) = installed("scripts of packages", ["shellcheck"]) else { return };
    let mut scripts = vec!["contrib/debian/postrm".to_owned()];
    scripts.extend(names("contrib/rpm", ".sh").iter().map(|name| format!("contrib/rpm/{name}")));
    assert_eq!(scripts.len(), 4);
    for script in scripts {
        must(Path::new(ROOT), &[&shellcheck, "--shell=sh", &script]);
    }
}

/// The calls of a script with these words. The folder of systemd is replaced, because the result
/// must not depend on whether systemd runs on this machine.
fn calls_of(scene: &Scene, notes: &Path, script: &str, words: &[&str]) -> String {
    let script = script.replace("/run/systemd/system", scene.path().to_str().unwrap());
    fs::write(notes, "").unwrap();
    let path = format!("{}:/usr/bin:/bin", notes.with_file_name("bin").display());
    let words = [&["sh", "-e", "-c", &script, "script"], words].concat();
    stdout_of(&run(scene.path(), &[("PATH", path.as_ref())], &words), &words[4..]);
    fs::read_to_string(notes).unwrap()
}

/// The scripts of the Debian package under systemd, as dpkg calls them.
fn assert_nothing_unasked(scene: &Scene, control: &Path) {
    let asked = ["systemctl", "systemd-sysusers", "systemd-tmpfiles", "deb-systemd-invoke"];
    let notes = stand_ins(scene, "scripts", &[&asked[..], &["deb-systemd-helper"]].concat());
    let calls = |name: &str, words: &[&str]| {
        let script = fs::read_to_string(control.join(name)).unwrap();
        let calls = calls_of(scene, &notes, &script, words);
        let others = calls.lines().filter(|line| !line.starts_with("deb-systemd-helper "));
        // `install_deb` checks with the real helper that no unit is enabled.
        others.map(|line| format!("{line}\n")).collect::<String>()
    };
    let both = "haproxystats-process.service haproxystats-pull.service";
    let made = "systemd-sysusers haproxystats.conf\nsystemd-tmpfiles --create haproxystats.conf\n\
                systemctl --system daemon-reload\n";
    assert_eq!(calls("postinst", &["configure", ""]), made);
    let restarted = format!("{made}deb-systemd-invoke try-restart {both}\n");
    assert_eq!(calls("postinst", &["configure", "0.0.1-1"]), restarted);
    assert_eq!(calls("prerm", &["upgrade", "0.0.2-1"]), "");
    assert_eq!(calls("prerm", &["remove"]), format!("deb-systemd-invoke stop {both}\n"));
    assert_eq!(calls("postrm", &["remove"]), "systemctl --system daemon-reload\n");
}

#[test]
fn the_scripts_of_the_rpm_start_nothing_unasked() {
    let scene = Scene::new();
    let notes =
        stand_ins(&scene, "scripts", &["systemctl", "systemd-sysusers", "systemd-tmpfiles"]);
    let calls = |name: &str, left: &str| {
        let script = fs::read_to_string(format!("{ROOT}/contrib/rpm/{name}.sh")).unwrap();
        calls_of(&scene, &notes, &script, &[left])
    };
    let both = "haproxystats-pull.service haproxystats-process.service";
    let made = "systemd-sysusers haproxystats.conf\nsystemd-tmpfiles --create haproxystats.conf\n\
                systemctl daemon-reload\n";
    assert_eq!(calls("post", "1"), format!("{made}systemctl --no-reload preset {both}\n"));
    assert_eq!(calls("post", "2"), made);
    assert_eq!(calls("preun", "1"), "");
    assert_eq!(calls("preun", "0"), format!("systemctl --no-reload disable --now {both}\n"));
    assert_eq!(calls("postun", "0"), "systemctl daemon-reload\n");
    let restarted = format!("systemctl daemon-reload\nsystemctl try-restart {both}\n");
    assert_eq!(calls("postun", "1"), restarted);
}
