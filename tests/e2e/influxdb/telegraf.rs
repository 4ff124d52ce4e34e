//! Our points of proxies beside those that the real telegraf prints for the same HAProxy: the same
//! series, tags and types, so that dashboards built on telegraf go on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::scene::Scene;
use crate::support::{PROCESS, Program, example, free_ports, installed, run, wait_until};

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldType {
    Whole,
    Float,
    Text,
}

/// The tags of a point.
type Tags = BTreeMap<String, String>;
/// The fields of the points of each series.
type Points = BTreeMap<Tags, BTreeMap<String, FieldType>>;

/// Fields of telegraf that ours lack: facts about one process, which no sum has, and times without
/// traffic, which are 0 there.
const TELEGRAFS: [&str; 11] =
    ["addr", "ctime", "iid", "lastsess", "mode", "pid", "qtime", "rtime", "sid", "status", "ttime"];
/// Fields of ours that telegraf writes for no row of this HAProxy: the number of servers, and
/// columns that are empty without checks and limits, whose sum is 0.
const OURS: [&str; 14] = [
    "TotalServers",
    "agent_duration",
    "agent_fall",
    "agent_health",
    "agent_rise",
    "check_duration",
    "check_fall",
    "check_health",
    "check_rise",
    "chkfail",
    "hanafail",
    "qlimit",
    "src_ilim",
    "throttle",
];

#[test]
fn points_are_telegrafs_in_names_tags_and_types() {
    let programs = ["haproxy", "telegraf"];
    let Some([haproxy, telegraf]) = installed("influxdb: telegraf", programs) else { return };
    let scene = Scene::new();
    let socket = scene.path().join("sockets/admin.sock");
    fs::create_dir(scene.path().join("sockets")).unwrap();
    let ports: [u16; 3] = free_ports();
    let [www, shop, origin] = ports.map(|port| OsString::from(port.to_string()));
    let environment = [
        ("STATS_SOCKET", socket.as_os_str()),
        ("WWW_PORT", &www),
        ("SHOP_PORT", &shop),
        ("ORIGIN_PORT", &origin),
    ];
    let file = example("haproxy.cfg");
    let arguments = ["-db".as_ref(), "-f".as_ref(), file.as_os_str()];
    let _haproxy = Program::start(&haproxy, &arguments, &environment, scene.path(), "haproxy");
    wait_until("HAProxy's stats socket", || socket.exists());

    let theirs = of_telegraf(&telegraf, &scene, &socket);
    let ours = of_us(&scene);
    assert_eq!(names_and_values(&ours), names_and_values(&theirs), "series");
    let (mut only_theirs, mut only_ours) = (BTreeSet::new(), BTreeSet::new());
    let names: BTreeSet<&String> = theirs.values().flat_map(BTreeMap::keys).collect();
    for (tags, fields) in &theirs {
        let own = &ours[tags];
        for (name, kind) in fields {
            match own.get(name) {
                Some(own) => assert_eq!(own, kind, "{name} of {tags:?}"),
                None => _ = only_theirs.insert(name.as_str()),
            }
        }
        only_ours.extend(own.keys().filter(|name| !names.contains(name)).map(String::as_str));
    }
    let (only_theirs, only_ours) = (Vec::from_iter(only_theirs), Vec::from_iter(only_ours));
    assert_eq!((only_theirs.as_slice(), only_ours.as_slice()), (&TELEGRAFS[..], &OURS[..]));
}

/// The series, all of their tags included.
fn names_and_values(points: &Points) -> BTreeSet<&Tags> {
    points.keys().collect()
}

fn of_telegraf(telegraf: &str, scene: &Scene, socket: &Path) -> Points {
    let config = format!(
        "[agent]\nhostname = \"lb1\"\n[[inputs.haproxy]]\nservers = [\"{}\"]\n\
         [[outputs.file]]\nfiles = [\"stdout\"]\ndata_format = \"influx\"\n",
        socket.display()
    );
    let config = scene.write("telegraf.conf", &config);
    let config = config.to_str().unwrap();
    let printed = run(telegraf, &["--config", config, "--once", "--quiet"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    points(&printed.stdout)
}

fn of_us(scene: &Scene) -> Points {
    let base = scene.path().display();
    let config = scene.write(
        "haproxystats.conf",
        &format!(
            "[paths]\nbase-dir = {base}\n[pull]\nsocket-dir = {base}/sockets\nhost-name = lb1\n\
             pull-interval = 1\ntimeout = 5\npull-timeout = 20\n\
             dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
             [process]\nsrc-dir = {base}/incoming\nfrontend-metrics = all\nbackend-metrics = all\n\
             server-metrics = all\n"
        ),
    );
    let pull = scene.pull(&config);
    wait_until("a snapshot", || !scene.waiting().is_empty());
    pull.finish();
    let snapshot = scene.incoming().join(scene.waiting().first().unwrap());
    let arguments =
        ["-f", config.to_str().unwrap(), "--render", "influx", snapshot.to_str().unwrap()];
    let printed = run(PROCESS, &arguments);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    points(&printed.stdout)
}

/// The points of the measurement `haproxy` in line protocol. The tag `server` is the socket there
/// and the machine here.
fn points(text: &str) -> Points {
    let mut points = Points::new();
    for line in text.lines() {
        let parts = split(line, ' ');
        let [series, fields, _time] = parts.as_slice() else { panic!("{line}") };
        let series = split(series, ',');
        if series[0] != "haproxy" {
            continue;
        }
        let mut tags: Tags = series[1..].iter().map(|tag| pair(tag)).collect();
        tags.insert("server".to_owned(), String::new());
        points.entry(tags).or_default().extend(types(fields));
    }
    points
}

/// The types of a line's fields.
pub(crate) fn types(fields: &str) -> BTreeMap<String, FieldType> {
    let fields = split(fields, ',');
    let typed = fields.iter().map(|field| pair(field)).map(|(name, value)| {
        let kind = match value.as_bytes() {
            [b'"', ..] => FieldType::Text,
            [.., b'i'] => FieldType::Whole,
            _ => FieldType::Float,
        };
        (name, kind)
    });
    typed.collect()
}

pub(crate) fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

/// The parts between separators that are neither escaped nor in quotes.
pub(crate) fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut is_escaped, mut is_quoted) = (false, false);
    for c in text.chars() {
        if c == separator && !is_escaped && !is_quoted {
            parts.push(String::new());
            continue;
        }
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        parts.last_mut().unwrap().push(c);
    }
    parts
}
