//! The same dashboards over the data of a real telegraf, which has a series for each stats socket.

use std::collections::BTreeSet;
use std::fs;

use crate::haproxy::HaProxy;
use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::{installed, run};
use testbed::names;

use super::super::boards::contrib;
use super::queries::{Query, View, of_board};
use super::{DATABASE, assert_points};

/// A field that telegraf does not have.
const ONLY_OURS: &str = "TotalServers";

/// Lines, by panel and name, whose cells HAProxy leaves empty here: its backends answer nothing
/// themselves, and its servers have no checks. Telegraf makes no field of an empty cell.
const EMPTY: [(&str, &str); 3] = [
    ("Requests per second", "answered by HAProxy"),
    ("Failed checks, by server", "$tag_sv"),
    ("Went down, by server", "$tag_sv"),
];

fn is_empty(query: &Query) -> bool {
    query.board == "backend" && EMPTY.contains(&(&*query.panel, &*query.alias))
}

fn is_telegrafs(query: &Query) -> bool {
    query.text.contains(r#"FROM "haproxy" "#) && !query.fields().contains(ONLY_OURS)
}

fn of_proxies() -> Vec<Query> {
    ["overview", "frontend", "backend"].iter().flat_map(|name| of_board(name)).collect()
}

#[test]
fn queries_get_points_of_telegraf_where_it_has_them() {
    let programs = ["haproxy", "influxd", "telegraf"];
    let Some([haproxy, influxd, telegraf]) = installed("dashboards: telegraf", programs) else {
        return;
    };
    let scene = Scene::new();
    let server = InfluxD::start(&influxd, scene.path(), "");
    server.query("", &format!("CREATE DATABASE {DATABASE}")).unwrap();
    let haproxy = HaProxy::start(&haproxy, scene.path());
    let folder = haproxy.sockets_folder();
    let sockets: Vec<String> =
        names(&folder).iter().map(|name| format!("{:?}", folder.join(name))).collect();
    let config = format!(
        "[agent]\nhostname = \"lb1\"\n[[inputs.haproxy]]\nservers = [{}]\n\
         [[outputs.file]]\nfiles = [\"stdout\"]\ndata_format = \"influx\"\n",
        sockets.join(", ")
    );
    let config = scene.write("telegraf.conf", &config);
    let queries = of_proxies().into_iter().filter(is_telegrafs);
    let (empty, queries): (Vec<Query>, Vec<Query>) = queries.partition(is_empty);
    assert!(queries.len() > 80, "only {} queries", queries.len());
    assert_eq!(empty.len(), EMPTY.len());
    haproxy.traffic(140);
    assert_points(&server, &queries, &View::of("www", "shop.cart"), || {
        haproxy.traffic(14);
        let arguments = ["--config", config.to_str().unwrap(), "--once", "--quiet"];
        let printed = run(&telegraf, &arguments);
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        server.write(DATABASE, &printed.stdout.replace("000000000\n", "\n"));
    });
}

/// The page names the panels that telegraf's data leaves empty, in whole or in part.
#[test]
fn the_page_says_which_panels_telegraf_cannot_fill() {
    let page = fs::read_to_string(contrib("grafana/README.md")).unwrap();
    let (_, section) = page.split_once("## Telegraf's data").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let listed = section.lines().filter(|line| line.starts_with("| "));
    let listed: BTreeSet<String> = listed
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells[1].ends_with(".json`"))
        .map(|cells| format!("{}: {}", cells[1].trim_matches('`'), cells[2]))
        .collect();
    let empty = of_proxies().into_iter().filter(|query| !is_telegrafs(query));
    let empty: BTreeSet<String> =
        empty.map(|query| format!("{}.json: {}", query.board, query.panel)).collect();
    assert_eq!(listed, empty);
}
