//! The dashboards of `contrib/grafana/influxdb`: every query gets points from a real InfluxDB over
//! data of a real HAProxy, and over data of a real telegraf where telegraf has the fields.

mod meaning;
mod queries;
mod telegraf;
mod uwsgi;
pub(super) mod zope;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::haproxy::{Counters, HaProxy};
use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::{installed, run, wait_until};

use super::boards::{self, NAMES, contrib};
use queries::{Query, View, escaped, of_board, one_of, points};

const DATABASE: &str = "haproxy";

/// Mistakes in a query; each must be found. The last pair is of a pattern for the fields.
const MISTAKES: [(&str, &str); 9] = [
    (r#""haproxy""#, r#""haproxi""#),
    (r#""haproxy_info""#, r#""haproxi_info""#),
    (r#""host" =~"#, r#""hosts" =~"#),
    (r#""type" ="#, r#""types" ="#),
    (r#"$__interval), "proxy""#, r#"$__interval), "proxies""#),
    (r#""http_response.other""#, r#""hrsp_other""#),
    (r#""req_tot""#, r#""req_tots""#),
    ("non_negative_derivative", "perSecond"),
    ("/ReceiverUp$/", "/ReceiversUp$/"),
];

#[test]
fn every_query_gets_points_from_a_real_influxdb() {
    let programs = ["haproxy", "influxd"];
    let Some([haproxy, influxd]) = installed("dashboards: InfluxDB", programs) else { return };
    let scene = Scene::new();
    let server = InfluxD::start(&influxd, scene.path(), "");
    let haproxy = HaProxy::start(&haproxy, scene.path());
    let config = configuration(&scene, &haproxy, &server);
    let (process, pull) = (scene.process(&config), scene.pull(&config));
    haproxy.traffic(140);

    let all = View::of("www", "shop.cart");
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let chosen = View {
        host: escaped(&host),
        server: one_of(&["cart1", "cart2"]),
        ..View::of("www", "shop.cart")
    };
    let queries: Vec<Query> = NAMES.iter().flat_map(|name| of_board(name)).collect();
    assert!(queries.len() > 120, "only {} queries", queries.len());
    for view in [&all, &chosen] {
        assert_points(&server, &queries, view, || haproxy.traffic(14));
    }
    assert_variables_offer_names(&server, &chosen, &host);
    assert_mistakes_are_found(&server, &queries, &chosen);
    assert_own_metrics_are_shown(&server);
    assert_rates_add_up_to_counters(&server, &haproxy, &chosen);
    pull.finish();
    process.finish();
}

/// The page has a command for a longer `pull-interval`, which is run as it is written.
#[test]
fn for_a_longer_interval_the_command_of_the_page_is_enough() {
    let page = fs::read_to_string(contrib("grafana/README.md")).unwrap();
    let (_, expression) = page.split_once("sed 's/\"interval\"").unwrap();
    let (expression, _) = expression.split_once('\'').unwrap();
    let expression = format!("s/\"interval\"{expression}");
    for name in NAMES {
        let file = contrib("grafana/influxdb").join(format!("{name}.json"));
        let outcome = run("sed", &[&*expression, file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let changed: Value = serde_json::from_str(&outcome.stdout).unwrap();
        for (board, interval) in [(boards::read("grafana/influxdb", name), "10s"), (changed, "30s")]
        {
            let panels = board["panels"].as_array().unwrap();
            assert!(panels.iter().all(|panel| panel["interval"] == interval), "{name}: {interval}");
        }
    }
}

/// The points of single processes must not count twice, and there is more than one receiver.
fn configuration(scene: &Scene, haproxy: &HaProxy, server: &InfluxD) -> PathBuf {
    let text = format!(
        "[paths]\nbase-dir = {}\n\
         [pull]\nsocket-dir = {}\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = ${{paths:base-dir}}/incoming\ntmp-dst-dir = ${{paths:base-dir}}/incoming.tmp\n\
         [process]\nsrc-dir = ${{paths:base-dir}}/incoming\nworkers = 2\n\
         per-process-metrics = true\nliveness-check-interval = 1\n\
         [graphite]\nenabled = false\n[local-store]\n\
         [influxdb]\nurl = http://127.0.0.1:{}\ndatabase = {DATABASE}\n",
        scene.path().display(),
        haproxy.sockets_folder().display(),
        server.port,
    );
    scene.write("haproxystats.conf", &text)
}

/// Every query gets points, and no point is below 0. `feed` brings new ones.
fn assert_points(server: &InfluxD, queries: &[Query], view: &View, feed: impl FnMut()) {
    boards::assert_points(queries, feed, |query| {
        let text = view.until_now().resolve(&query.text);
        let points = points(server, DATABASE, &text).ok()?;
        Some(points.iter().map(|point| point.value).collect())
    });
}

/// Grafana offers the names of HAProxy for each variable.
fn assert_variables_offer_names(server: &InfluxD, view: &View, host: &str) {
    let mut asked = BTreeSet::new();
    for board in NAMES.map(|name| boards::read("grafana/influxdb", name)) {
        for variable in board["templating"]["list"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let expected: &[&str] = match name {
                "datasource" => {
                    assert_eq!(variable["query"], "influxdb");
                    continue;
                }
                "host" => &[host],
                "frontend" => &["origin", "shop", "www"],
                "backend" => &["api", "app", "down", "shop.cart"],
                "server" => &["cart1", "cart2"],
                other => panic!("{other}"),
            };
            let statement = view.resolve(variable["query"].as_str().unwrap());
            let answer = server.query(DATABASE, &statement).unwrap();
            let series = answer["results"][0]["series"].as_array().unwrap().iter();
            let values = series.flat_map(|one| one["values"].as_array().unwrap());
            // Grafana takes the second column.
            let offered: BTreeSet<&str> = values.map(|row| row[1].as_str().unwrap()).collect();
            assert_eq!(offered, BTreeSet::from_iter(expected.iter().copied()), "{statement}");
            let has_all = ["host", "server"].contains(&name);
            assert_eq!(variable["allValue"] == ".*", has_all, "{name}");
            asked.insert(name.to_owned());
        }
    }
    assert_eq!(asked.len(), 4, "{asked:?}");
}

/// A wrong measurement, tag, field or function gives no points.
fn assert_mistakes_are_found(server: &InfluxD, queries: &[Query], view: &View) {
    let view = view.until_now();
    for (right, wrong) in MISTAKES {
        let affected: Vec<&Query> =
            queries.iter().filter(|query| query.text.contains(right)).collect();
        assert!(!affected.is_empty(), "{right}");
        for query in affected {
            let text = query.text.replace(right, wrong);
            let found = points(server, DATABASE, &view.resolve(&text));
            assert!(found.is_err(), "{wrong} of {query:?}: {found:?}");
        }
    }
}

/// Each of our own metrics has a panel.
fn assert_own_metrics_are_shown(server: &InfluxD) {
    let answer = server.query(DATABASE, "SHOW FIELD KEYS FROM haproxystats").unwrap();
    let rows = answer["results"][0]["series"][0]["values"].as_array().unwrap();
    let fields: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    for receiver in ["influxdb", "local-store"] {
        assert!(fields.contains(&*format!("{receiver}.ReceiverUp")), "{fields:?}");
    }
    let metrics: BTreeSet<String> =
        fields.iter().map(|field| field.rsplit('.').next().unwrap().to_owned()).collect();
    let shown = of_board("haproxystats");
    let shown: BTreeSet<String> = shown.iter().flat_map(|query| query.fields()).collect();
    assert_eq!(shown, metrics);
}

/// The rates of each frontend over some time, multiplied by the time, are what HAProxy counted.
fn assert_rates_add_up_to_counters(server: &InfluxD, haproxy: &HaProxy, view: &View) {
    let panel = "Requests per second, by frontend";
    let query = of_board("overview").into_iter().find(|query| query.panel == panel).unwrap();
    let before = haproxy.counters();
    let since = wait_for_counters(server, &before);
    haproxy.traffic(70);
    let after = haproxy.counters();
    let until = wait_for_counters(server, &after);
    let view = View { since, until: until + 1, ..view.clone() };
    let points = points(server, DATABASE, &view.resolve(&query.text)).unwrap();
    for proxy in ["www", "shop", "origin"] {
        let (mut last, mut sum) = (since, 0.0);
        for point in points.iter().filter(|point| point.tag == proxy && point.seconds > since) {
            sum += point.value * f64::from(u32::try_from(point.seconds - last).unwrap());
            last = point.seconds;
        }
        let key = format!("frontend.{proxy}.req_tot");
        let expected = f64::from(u32::try_from(after[&key] - before[&key]).unwrap());
        assert!((sum - expected).abs() < 1e-6, "{proxy}: {sum} for {expected}: {points:?}");
        assert!(expected > 0.0, "{proxy}");
    }
}

/// Waits until the database has the requests of all frontends; returns the second.
fn wait_for_counters(server: &InfluxD, counters: &Counters) -> u64 {
    let mut second = 0;
    wait_until("HAProxy's counters in the database", || {
        ["www", "shop", "origin"].iter().all(|proxy| {
            let statement = format!(
                "SELECT last(req_tot) FROM haproxy WHERE type = 'frontend' AND proxy = '{proxy}'"
            );
            let Some(answer) = server.query(DATABASE, &statement) else { return false };
            let row = &answer["results"][0]["series"][0]["values"][0];
            second = row[0].as_u64().unwrap_or_default();
            row[1].as_u64() == Some(counters[&format!("frontend.{proxy}.req_tot")])
        })
    });
    second
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
