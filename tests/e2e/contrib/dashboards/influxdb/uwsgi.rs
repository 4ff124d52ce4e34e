//! The dashboard of uWSGI: each query gets points over data of a real uWSGI from a real InfluxDB,
//! and each path for Graphite is one that we emit.

use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::{free_ports, installed};
use crate::uwsgi::{UWSGI, Uwsgi, once, render};

use super::super::{assert_paths_are_emitted, boards};
use super::queries::{Query, View, of_board, points};

const NAME: &str = "uwsgi";

#[test]
fn every_query_about_uwsgi_gets_points() {
    let Some([program, influxd]) = installed("dashboards: uWSGI", [UWSGI, "influxd"]) else {
        return;
    };
    let scene = Scene::new();
    let server = InfluxD::start(&influxd, scene.path(), "");
    let [port, stats] = free_ports();
    let stats = format!("127.0.0.1:{stats}");
    let uwsgi = Uwsgi::start(&program, &scene, "shop", port, &["--stats", &stats]);
    let base = scene.path().display();
    let text = format!(
        "[paths]\nbase-dir = {base}\n\
         [pull]\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [uwsgi]\nservers = shop=tcp://{stats}\n\
         [process]\nsrc-dir = {base}/incoming\n[graphite]\nenabled = false\n\
         [influxdb]\nurl = http://127.0.0.1:{}\ndatabase = uwsgi\n",
        server.port
    );
    let config = scene.write("haproxystats.conf", &text);
    let (process, pull) = (scene.process(&config), scene.pull(&config));
    let view = View { application: "shop".to_owned(), ..View::of("", "") };
    let queries: Vec<Query> = of_board(NAME);
    assert!(queries.len() > 12, "only {} queries", queries.len());
    let of_query = |query: &Query| {
        let text = view.until_now().resolve(&query.text);
        let points = points(&server, "uwsgi", &text).ok()?;
        Some(points.iter().map(|point| point.value).collect())
    };
    boards::assert_points(&queries, || uwsgi.get("/"), of_query);
    let wrong = queries[0].text.replace("\"requests\"", "\"request\"");
    assert!(points(&server, "uwsgi", &view.until_now().resolve(&wrong)).is_err());
    pull.finish();
    process.finish();

    let lines = render(&config, "graphite", &once(&scene, &config));
    assert_paths_are_emitted(NAME, &lines, (".requests", ".request"));
}
