//! The states of servers of a real HAProxy, in Graphite's lines and InfluxDB's points.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::haproxy::ask;
use crate::scene::Scene;
use crate::support::{PULL, Program, free_ports, installed, run, wait_until};
use crate::uwsgi::{once, render};

/// Starts a HAProxy whose servers are in five states, and waits until they are.
fn start(program: &str, scene: &Scene) -> (Program, TcpListener) {
    let sockets = scene.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let alive = origin.local_addr().unwrap().port();
    let [port, closed] = free_ports();
    let config = format!(
        "global\n  stats socket {}/admin.sock level admin\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind 127.0.0.1:{port}\n  default_backend app\n\
         backend app\n  default-server inter 100ms fall 1 rise 1\n  \
         server alive 127.0.0.1:{alive} check weight 7\n  \
         server gone 127.0.0.1:{closed} check\n  \
         server mended 127.0.0.1:{alive} check disabled\n  \
         server leaving 127.0.0.1:{alive} check\n  \
         server unchecked 127.0.0.1:{alive}\n\
         backend dark\n  server only 127.0.0.1:{closed} check inter 100ms fall 1\n",
        sockets.display(),
    );
    let config = scene.write("haproxy.cfg", &config);
    let arguments = ["-db", "-f"].map(AsRef::as_ref);
    let arguments = [&arguments[..], &[config.as_os_str()]].concat();
    let haproxy = Program::start(program, &arguments, &[], scene.path(), "haproxy");
    let socket = sockets.join("admin.sock");
    wait_until("HAProxy's stats socket", || ask(&socket, "show info").is_some());
    ask(&socket, "set server app/leaving state drain").unwrap();
    wait_until("five states", || {
        let stat = ask(&socket, "show stat").unwrap_or_default();
        let status = |server: &str, word: &str| {
            let row = stat.lines().find(|line| line.starts_with(server));
            row.is_some_and(|row| row.contains(&format!(",{word},")))
        };
        status("app,alive,", "UP")
            && status("app,gone,", "DOWN")
            && status("app,mended,", "MAINT")
            && status("app,leaving,", "DRAIN")
            && status("app,unchecked,", "no check")
            && status("dark,BACKEND,", "DOWN")
    });
    (haproxy, origin)
}

fn values(config: &Path, snapshot: &Path) -> BTreeMap<String, String> {
    let lines = render(config, "graphite", snapshot);
    let value = |line: &str| {
        let mut words = line.split(' ');
        let path = words.next().unwrap().strip_prefix("e2e.lb1.haproxy.backend.")?.to_owned();
        Some((path, words.next().unwrap().to_owned()))
    };
    lines.lines().filter_map(value).collect()
}

#[test]
fn states_of_servers_are_numbers_in_graphite_and_texts_in_influxdb() {
    let Some([program]) = installed("states of servers", ["haproxy"]) else { return };
    let scene = Scene::without_spool();
    let _running = start(&program, &scene);
    let base = scene.path().display();
    let text = format!(
        "[pull]\nhost-name = lb1\nsocket-dir = {base}/sockets\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [process]\nsrc-dir = {base}/incoming\nserver-states = true\n\
         [graphite]\nnamespace = e2e\n"
    );
    let config = scene.write("haproxystats.conf", &text);
    let checked = run(PULL, &["-f", config.to_str().unwrap(), "--check"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let snapshot = once(&scene, &config);
    let found = values(&config, &snapshot);
    for (path, value) in [
        ("app.server.alive.up", Some("1")),
        ("app.server.alive.weight", Some("7")),
        // L4OK
        ("app.server.alive.check_status", Some("6")),
        ("app.server.gone.up", Some("0")),
        // L4CON
        ("app.server.gone.check_status", Some("8")),
        ("app.server.mended.up", Some("0")),
        ("app.server.leaving.up", Some("0")),
        ("app.server.unchecked.up", Some("1")),
        ("app.server.unchecked.check_status", None),
        ("app.servers.up", Some("1")),
        ("app.servers.down", Some("1")),
        ("app.servers.maint", Some("1")),
        ("app.servers.drain", Some("1")),
        ("app.servers.nolb", Some("0")),
        ("app.servers.no_check", Some("1")),
        ("app.state", Some("1")),
        ("dark.state", Some("0")),
        ("dark.servers.down", Some("1")),
        ("app.TotalServers", Some("5")),
    ] {
        assert_eq!(found.get(path).map(String::as_str), value, "{path} of {found:#?}");
    }
    let points = render(&config, "influx", &snapshot);
    for (server, status) in
        [("alive", "UP"), ("gone", "DOWN"), ("mended", "MAINT"), ("leaving", "DRAIN")]
    {
        let tag = format!(",sv={server},");
        let line = points.lines().find(|line| line.starts_with("haproxy,") && line.contains(&tag));
        assert!(line.unwrap().contains(&format!("status=\"{status}\"")), "{line:?}");
    }

    let hiding = text.replace("server-states = true", "server-states = true\nhide-maint = true");
    let hiding = scene.write("hiding.conf", &hiding);
    let hidden = values(&hiding, &snapshot);
    let is_gone = |path: &&String| !hidden.contains_key(*path);
    let gone: Vec<_> = found.keys().filter(is_gone).collect();
    assert!(!gone.is_empty() && gone.iter().all(|path| path.starts_with("app.server.mended.")));
    assert_eq!(hidden["app.servers.maint"], "1");
    assert_eq!(hidden["app.TotalServers"], "5");
}
