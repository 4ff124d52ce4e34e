//! haproxystats-pull in front of the real HAProxy: sockets of every kind in one folder, and answers
//! that a reader of the manual would not expect.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::haproxy::ask;
use crate::scene::Scene;
use crate::support::{PULL, Program, installed, run, wait_until};

/// Frontends with sockets in the folder of the stats socket.
const TRAFFIC: &str = "
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend web
  bind unix@SOCKETS/web.sock
  bind unix@SOCKETS/proxied.sock accept-proxy
  bind unix@SOCKETS/h2.sock proto h2
  http-request return status 200
frontend rejecting
  mode tcp
  bind unix@SOCKETS/rejecting.sock
  tcp-request connection reject
peers others
  bind unix@SOCKETS/peers.sock
  server e2e
log-forward log
  dgram-bind unix@SOCKETS/datagrams.sock
  bind unix@SOCKETS/syslog.sock
  log 127.0.0.1:9 local0
";

/// Starts a HAProxy with this configuration, in which `SOCKETS` stands for the folder, and waits
/// until its stats socket `admin.sock` in that folder answers. `master` is the master CLI's socket
/// with its options.
fn start(scene: &Scene, config: &str, master: Option<&str>) -> Option<Program> {
    let [program] = installed("sockets", ["haproxy"])?;
    let sockets = scene.path().join("sockets");
    fs::create_dir_all(&sockets).unwrap();
    let text = config.replace("SOCKETS", sockets.to_str().unwrap());
    let config = scene.write("haproxy.cfg", &text);
    let mut arguments: Vec<&OsStr> = ["-db", "-L", "e2e", "-f"].map(OsStr::new).into();
    arguments.push(config.as_os_str());
    let master = master.map(|options| format!("{}/{options}", sockets.display()));
    if let Some(master) = &master {
        arguments.extend(["-W", "-S", master].map(OsStr::new));
    }
    let haproxy = Program::start(&program, &arguments, &[], scene.path(), "haproxy");
    let admin = sockets.join("admin.sock");
    wait_until("HAProxy's stats socket", || ask(&admin, "show info").is_some());
    Some(haproxy)
}

/// Pulls each second, into `incoming`.
fn pull(scene: &Scene) -> Program {
    let base = scene.path().display();
    let text = format!(
        "[pull]\nloglevel = debug\nsocket-dir = {base}/sockets\npull-interval = 1\n\
         pull-timeout = 20\ndst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n"
    );
    scene.pull(&scene.write("haproxystats.conf", &text))
}

fn snapshots(scene: &Scene) -> Vec<PathBuf> {
    let names = scene.waiting().into_iter().filter(|name| !name.starts_with('.'));
    names.map(|name| scene.incoming().join(name)).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Both answers of an endpoint, each whole.
fn answers(snapshot: &Path, endpoint: &str) -> (String, String) {
    let read = |suffix| {
        let bytes = fs::read(snapshot.join(format!("{endpoint}{suffix}"))).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let (info, stat) = (read("_info"), read("_stat"));
    assert!(info.starts_with("Name: HAProxy\n") && info.ends_with("\n\n"), "{info}");
    assert!(!info.contains("\n# pxname,svname,"), "{info}");
    assert!(stat.starts_with("# pxname,svname,") && stat.ends_with("\n\n"), "{stat}");
    (info, stat)
}

#[test]
fn sockets_of_every_kind_beside_the_stats_socket_cost_no_snapshot() {
    for master in ["master.sock", "master.sock,severity-output,number"] {
        let scene = Scene::without_spool();
        let config = format!("global\n  stats socket SOCKETS/admin.sock\n{TRAFFIC}");
        let Some(haproxy) = start(&scene, &config, Some(master)) else { return };
        assert_eq!(names(&scene.path().join("sockets")).len(), 9);
        let pull = pull(&scene);
        // For three cycles a socket that only closes counts as missing; in the fourth it counts as
        // no stats socket.
        wait_until("five snapshots", || snapshots(&scene).len() >= 5);
        let log = pull.log();
        let manifest =
            |snapshot: &Path| fs::read_to_string(snapshot.join("haproxystats.manifest")).unwrap();
        let all = snapshots(&scene);
        assert!(
            manifest(&all[0]).contains("\"endpoints\": 6,\n    \"missing\": 4,\n"),
            "{}",
            manifest(&all[0])
        );
        assert!(
            manifest(&all[4]).contains("\"endpoints\": 2,\n    \"missing\": 0,\n"),
            "{}",
            manifest(&all[4])
        );
        for (cycle, snapshot) in all.iter().enumerate() {
            let mut names = names(snapshot);
            if cycle == 0 {
                // The worker through its master, which knows from then on that it has a socket.
                names.retain(|name| !name.starts_with("master.sock@"));
            }
            assert_eq!(
                names,
                ["admin.sock_info", "admin.sock_stat", "haproxystats.manifest"],
                "{log}"
            );
            answers(snapshot, "admin.sock");
            assert!(manifest(snapshot).contains("\"failures\": 0,"), "{}", manifest(snapshot));
        }
        assert_eq!(log.matches("left out: it is no stats socket").count(), 7, "{log}");
        for (socket, why) in [
            ("master", "the master CLI of HAProxy: its workers are asked"),
            ("web", "it answers in HTTP"),
            ("proxied", "it breaks the connection"),
            ("peers", "it answers in the protocol of peers"),
            ("datagrams", "it takes datagrams"),
            ("h2", "without an answer"),
            ("rejecting", "without an answer"),
            ("syslog", "without an answer"),
        ] {
            let mut lines = log.lines();
            // The socket can be the last field of its line.
            let is_about = |line: &&str| format!("{line} ").contains(&format!("/{socket}.sock "));
            let line = lines.find(is_about);
            assert!(line.is_some_and(|line| line.contains(why)), "{socket}: {line:?}\n{log}");
        }
        pull.finish();
        assert_checked(&scene);
        drop(haproxy);
    }
}

/// `--check` leaves out what a first answer shows to be no stats socket. A socket that only closes
/// may be a stats socket in trouble, so it fails.
fn assert_checked(scene: &Scene) {
    let config = scene.path().join("haproxystats.conf");
    let outcome = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for (socket, verdict) in [
        ("admin", "ok"),
        ("master", "ok"),
        ("web", "left out  it answers in HTTP"),
        ("proxied", "failed    the connection broke after 0 bytes"),
        ("peers", "left out  it answers in the protocol of peers"),
        ("datagrams", "left out  it takes datagrams"),
        ("h2", "failed    closed the connection without an answer"),
        // A close or a reset, as it happens.
        ("rejecting", "failed    "),
        ("syslog", "failed    closed the connection without an answer"),
    ] {
        let mut lines = outcome.stdout.lines();
        let line = lines.find(|line| line.contains(&format!("/{socket}.sock ")));
        assert!(line.is_some_and(|line| line.contains(verdict)), "{socket}: {}", outcome.stdout);
    }
}

#[test]
fn empty_lines_in_the_description_are_part_of_the_info() {
    let scene = Scene::without_spool();
    let config = "global
  stats socket SOCKETS/admin.sock
  stats socket SOCKETS/number.sock level user severity-output number
  description \"one\\n\\ntwo: x\\n\\n\\n# pxname,\"
";
    let Some(haproxy) = start(&scene, config, None) else { return };
    let pull = pull(&scene);
    wait_until("a snapshot", || !snapshots(&scene).is_empty());
    let snapshot = &snapshots(&scene)[0];
    for endpoint in ["admin.sock", "number.sock"] {
        let (info, _) = answers(snapshot, endpoint);
        assert!(info.contains("one\n\ntwo: x\n\n\n# pxname,"), "{info}");
        assert!(info.contains("\nTainted: "), "{info}");
    }
    pull.finish();
    drop(haproxy);
}

/// A check that fails quotes what it expected.
#[test]
fn line_breaks_in_a_cell_are_part_of_the_stat() {
    let scene = Scene::without_spool();
    let server = scene.path().join("server.sock");
    let listener = UnixListener::bind(&server).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"role:slave\r\n");
        }
    });
    let config = format!(
        "global\n  stats socket SOCKETS/admin.sock\ndefaults\n  mode tcp\n  timeout connect 60s\n  \
         timeout client 60s\n  timeout server 60s\nbackend b\n  option tcp-check\n  \
         tcp-check expect string role:master\\r\\n\\r\\n\\#\\ pxname,svname,\n  \
         server s1 unix@{} check inter 100ms fall 1\n",
        server.display()
    );
    let Some(haproxy) = start(&scene, &config, None) else { return };
    let admin = scene.path().join("sockets/admin.sock");
    let failed = |stat: &str| stat.contains("role:master\r\n\r\n# pxname,svname,");
    wait_until("a failed check", || ask(&admin, "show stat").is_some_and(|stat| failed(&stat)));
    let pull = pull(&scene);
    wait_until("a snapshot", || !snapshots(&scene).is_empty());
    let (_, stat) = answers(&snapshots(&scene)[0], "admin.sock");
    assert!(failed(&stat), "{stat}");
    assert!(stat.contains("\nb,BACKEND,"), "{stat}");
    pull.finish();
    drop(haproxy);
}

/// The end of a relay's connection on which two commands came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    /// Closes while bytes of the client are unread, which resets the connection.
    Reset,
}

/// Forwards one command to HAProxy, up to `;` or the end of the line, and its answer back.
fn relay(client: &mut UnixStream, haproxy: &Path, end: End) -> std::io::Result<()> {
    let mut command = Vec::new();
    while !command.ends_with(b";") && !command.ends_with(b"\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        command.push(byte[0]);
    }
    let mut to = UnixStream::connect(haproxy)?;
    to.write_all(&command)?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    if end == End::Close {
        client.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// HAProxy 2.4 to 2.9 answers the first of two commands and closes, if the second command comes in
/// another segment.
#[test]
fn commands_that_come_in_two_segments_are_asked_one_at_a_time_in_the_same_cycle() {
    for end in [End::Close, End::Reset] {
        let scene = Scene::without_spool();
        let Some(haproxy) = start(&scene, "global\n  stats socket SOCKETS/admin.sock\n", None)
        else {
            return;
        };
        let aside = scene.path().join("admin.sock");
        fs::rename(scene.path().join("sockets/admin.sock"), &aside).unwrap();
        let listener = UnixListener::bind(scene.path().join("sockets/relay.sock")).unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = relay(&mut client, &aside, end);
            }
        });
        let pull = pull(&scene);
        wait_until("two snapshots", || snapshots(&scene).len() >= 2);
        for snapshot in snapshots(&scene) {
            answers(&snapshot, "relay.sock");
            let manifest = fs::read_to_string(snapshot.join("haproxystats.manifest")).unwrap();
            assert!(manifest.contains("\"failures\": 0,"), "{end:?}: {manifest}");
        }
        let log = pull.log();
        assert_eq!(log.matches("asking one command at a time").count(), 1, "{end:?}: {log}");
        pull.finish();
        drop(haproxy);
    }
}
