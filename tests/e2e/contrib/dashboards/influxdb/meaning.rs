//! What lines mean, by points of two hosts that the test has written: the values are those that
//! Graphite's functions in the other dashboards give.

use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::installed;

use super::queries::{View, of_board, points};

/// The first second.
const START: u64 = 1_700_000_000;
const DATABASE: &str = "written";

/// One interval is ten seconds. At 20 `b` was reloaded, and our own figures have a gap. In the last
/// interval `a` has a second point.
const POINTS: &str = "\
haproxy,host=a,proxy=www,sv=FRONTEND,type=frontend req_tot=0i,scur=1i,slim=100i 1700000000
haproxy,host=a,proxy=www,sv=FRONTEND,type=frontend req_tot=100i,scur=2i,slim=100i 1700000010
haproxy,host=a,proxy=www,sv=FRONTEND,type=frontend req_tot=200i,scur=3i,slim=100i 1700000020
haproxy,host=a,proxy=www,sv=FRONTEND,type=frontend req_tot=300i,scur=4i,slim=100i 1700000030
haproxy,host=a,proxy=www,sv=FRONTEND,type=frontend scur=6i,slim=100i 1700000035
haproxy,host=b,proxy=www,sv=FRONTEND,type=frontend req_tot=50i,scur=10i,slim=100i 1700000000
haproxy,host=b,proxy=www,sv=FRONTEND,type=frontend req_tot=150i,scur=20i,slim=100i 1700000010
haproxy,host=b,proxy=www,sv=FRONTEND,type=frontend req_tot=30i,scur=30i,slim=100i 1700000020
haproxy,host=b,proxy=www,sv=FRONTEND,type=frontend req_tot=130i,scur=40i,slim=100i 1700000030
haproxy,host=b,proxy=wwww,sv=FRONTEND,type=frontend req_tot=0i,scur=7i 1700000020
haproxy,host=b,proxy=wwww,sv=FRONTEND,type=frontend req_tot=70i,scur=7i 1700000030
haproxy,host=a,proxy=app,sv=BACKEND,type=backend rtime=10i,active_servers=2i,chkdown=3i 1700000000
haproxy,host=b,proxy=app,sv=BACKEND,type=backend rtime=20i,active_servers=1i,chkdown=1i 1700000000
haproxy,host=a,proxy=app,sv=BACKEND,type=backend chkdown=5i 1700000020
haproxy,host=b,proxy=app,sv=BACKEND,type=backend chkdown=0i 1700000020
haproxy_info,host=a CurrConns=3i,Idle_pct=70i,Uptime_sec=50i 1700000000
haproxy_info,host=b CurrConns=4i,Idle_pct=90i,Uptime_sec=9i 1700000000
haproxystats,host=a DroppedMetrics=0i,influxdb.DroppedMetrics=4i,influxdb.ReceiverUp=1i 1700000000
haproxystats,host=a DroppedMetrics=0i,influxdb.DroppedMetrics=4i,influxdb.ReceiverUp=1i 1700000010
haproxystats,host=a DroppedMetrics=1i,influxdb.DroppedMetrics=7i,influxdb.ReceiverUp=0i 1700000030
";

/// The answers of each status.
const ANSWERS: &str = "\
haproxy,host=HOST,proxy=www,sv=FRONTEND,type=frontend http_response.1xx=0i,http_response.2xx=2XXi,\
http_response.3xx=0i,http_response.4xx=0i,http_response.5xx=5XXi,http_response.other=0i TIME
";

/// Dashboard, panel, name of the line, and tag, seconds and value of each point.
type Expected = (&'static str, &'static str, &'static str, &'static [(&'static str, u64, f64)]);

const EXPECTED: [Expected; 15] = [
    // The fall of `b` is no rate; the others go on.
    ("frontend", "Requests", "requests", &[("", 10, 20.0), ("", 20, 10.0), ("", 30, 20.0)]),
    (
        "overview",
        "Requests per second, by frontend",
        "$tag_proxy",
        &[("www", 10, 20.0), ("www", 20, 10.0), ("www", 30, 20.0), ("wwww", 30, 7.0)],
    ),
    ("frontend", "Answers 5xx", "5xx", &[("", 10, 5.0), ("", 20, 10.0), ("", 30, 5.0)]),
    // Several points of a host in an interval are averaged before hosts are added up.
    (
        "frontend",
        "Open sessions",
        "open",
        &[("", 0, 11.0), ("", 10, 22.0), ("", 20, 33.0), ("", 30, 45.0)],
    ),
    (
        "frontend",
        "Sessions, of the limit",
        "of the limit",
        &[("", 0, 5.5), ("", 10, 11.0), ("", 20, 16.5), ("", 30, 22.5)],
    ),
    ("backend", "Response time", "response time", &[("", 0, 15.0)]),
    ("backend", "Active servers", "active", &[("", 0, 1.0)]),
    ("overview", "Active servers, by backend", "$tag_proxy", &[("app", 0, 1.5)]),
    ("overview", "Servers that went down, by backend", "$tag_proxy", &[("app", 20, 2.0)]),
    ("overview", "Connections", "open", &[("", 0, 7.0)]),
    ("overview", "CPU of the HAProxy processes", "mean", &[("", 0, 20.0)]),
    ("overview", "Since the last start", "uptime", &[("", 0, 9.0)]),
    ("overview", "Uptime, by host", "$tag_host", &[("a", 0, 50.0), ("b", 0, 9.0)]),
    // A column for each receiver; the loss during the gap shows after it.
    (
        "haproxystats",
        "Metrics lost",
        "$col",
        &[
            ("lost_of_DroppedMetrics", 10, 0.0),
            ("lost_of_DroppedMetrics", 30, 1.0),
            ("lost_of_influxdb.DroppedMetrics", 10, 0.0),
            ("lost_of_influxdb.DroppedMetrics", 30, 3.0),
        ],
    ),
    (
        "haproxystats",
        "Receiver takes batches",
        "$col",
        &[
            ("up_influxdb.ReceiverUp", 0, 1.0),
            ("up_influxdb.ReceiverUp", 10, 1.0),
            ("up_influxdb.ReceiverUp", 30, 0.0),
        ],
    ),
];

#[test]
fn lines_mean_what_graphites_lines_mean() {
    let Some([influxd]) = installed("dashboards: InfluxDB's values", ["influxd"]) else { return };
    let scene = Scene::new();
    let server = InfluxD::start(&influxd, scene.path(), "");
    server.query("", &format!("CREATE DATABASE {DATABASE}")).unwrap();
    server.write(DATABASE, POINTS);
    let answers = [("a", 90, 10, [0, 1, 2, 3]), ("b", 100, 0, [0, 1, 0, 1])];
    for (host, good, bad, counts) in answers {
        for (time, count) in (START..).step_by(10).zip(counts) {
            let line = ANSWERS
                .replace("HOST", host)
                .replace("2XX", &(good * count).to_string())
                .replace("5XX", &(bad * count).to_string())
                .replace("TIME", &time.to_string());
            server.write(DATABASE, &line);
        }
    }
    assert_expected(&server);
    // Points of single processes, which `per-process-metrics` adds, change nothing.
    server.write(
        DATABASE,
        "haproxy_info,host=a,process=1 CurrConns=2i,Idle_pct=10i,Uptime_sec=1i 1700000000\n\
         haproxy_info,host=a,process=2 CurrConns=1i,Idle_pct=10i,Uptime_sec=2i 1700000000\n",
    );
    assert_expected(&server);
}

fn assert_expected(server: &InfluxD) {
    let view = View { since: START, until: START + 39, interval: "10s", ..View::of("www", "app") };
    for (board, panel, alias, expected) in EXPECTED {
        let queries = of_board(board);
        let query = queries.iter().find(|query| query.panel == panel && query.alias == alias);
        let query = query.unwrap_or_else(|| panic!("no {alias} in {panel} of {board}"));
        let mut found: Vec<(String, u64, f64)> =
            points(server, DATABASE, &view.resolve(&query.text))
                .unwrap()
                .into_iter()
                .map(|point| {
                    let name = if alias == "$col" { point.column } else { point.tag };
                    (name, point.seconds - START, point.value)
                })
                .collect();
        found.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let expected: Vec<(String, u64, f64)> =
            expected.iter().map(|(name, at, value)| ((*name).to_owned(), *at, *value)).collect();
        assert_eq!(found, expected, "{panel} of {board}");
    }
}
