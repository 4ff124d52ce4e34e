//! The dashboard of Zope: each query gets points over the data of two instances from a real
//! InfluxDB, and each path for Graphite is one that we emit.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::installed;
use crate::uwsgi::{once, render};
use crate::zope::Monitor;

use super::super::{assert_paths_are_emitted, boards};
use super::queries::{Query, View, escaped, of_board, points};

const NAME: &str = "zope";

/// An instance whose counters grow with each answer.
pub(in crate::contrib::dashboards) fn instance() -> Monitor {
    let asked = AtomicU64::new(0);
    Monitor::start(move || {
        let count = asked.fetch_add(1, Ordering::Relaxed);
        Some(format!(
            "{{\"instance\": {{\"uptime\": {count}}}, \
             \"cache\": {{\"size\": 3212, \"ngsize\": 1438, \"max_size\": 30000}}, \
             \"db\": {{\"loads\": 1114, \"stores\": 28, \"connections\": 459, \
             \"conflicts\": {count}, \"unresolved_conflicts\": {count}, \
             \"total_objs\": 13336, \"size_in_bytes\": 5796849}}, \
             \"memory\": {{\"rss\": 312422400, \"uss\": 298905600, \"pss\": 310822823}}}}\n"
        ))
    })
}

#[test]
fn every_query_about_zope_gets_points() {
    let Some([influxd]) = installed("dashboards: Zope", ["influxd"]) else { return };
    let scene = Scene::new();
    let server = InfluxD::start(&influxd, scene.path(), "");
    let instances = [instance(), instance()];
    let base = scene.path().display();
    let text = format!(
        "[paths]\nbase-dir = {base}\n\
         [pull]\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [zope]\nservers = a.b/instance1=tcp://127.0.0.1:{}, a.b/instance2=tcp://127.0.0.1:{}\n\
         [process]\nsrc-dir = {base}/incoming\n[graphite]\nenabled = false\n\
         [influxdb]\nurl = http://127.0.0.1:{}\ndatabase = zope\n",
        instances[0].port, instances[1].port, server.port
    );
    let config = scene.write("haproxystats.conf", &text);
    let (process, pull) = (scene.process(&config), scene.pull(&config));
    let view = View { deployment: escaped("a.b"), ..View::of("", "") };
    let queries: Vec<Query> = of_board(NAME);
    assert!(queries.len() > 12, "only {} queries", queries.len());
    let of_query = |query: &Query| {
        let text = view.until_now().resolve(&query.text);
        let points = points(&server, "zope", &text).ok()?;
        Some(points.iter().map(|point| point.value).collect())
    };
    boards::assert_points(&queries, || {}, of_query);
    let wrong = queries[0].text.replace("memory.pss", "memory.pssx");
    assert!(points(&server, "zope", &view.until_now().resolve(&wrong)).is_err());
    pull.finish();
    process.finish();

    let lines = render(&config, "graphite", &once(&scene, &config));
    assert_paths_are_emitted(NAME, &lines, (".pss", ".pssx"));
}
