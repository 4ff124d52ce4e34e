//! The dashboards of uWSGI and Zope for Graphite: each target gets points from a real graphite-web
//! over the data of a real uWSGI and of two instances.

use crate::carbon::Carbon;
use crate::graphite_web::GraphiteWeb;
use crate::scene::Scene;
use crate::support::{free_ports, installed};
use crate::uwsgi::{UWSGI, Uwsgi};

use super::boards::{self, Target, grafana_targets, graphite_targets};
use super::everywhere;
use super::influxdb::zope::instance;
use super::storage;

#[test]
fn every_target_about_uwsgi_and_zope_finds_points_in_a_real_graphite() {
    let tools = [UWSGI, "carbon-cache", "whisper-fetch", "graphite-manage"];
    let Some([program, carbon_cache, whisper_fetch, graphite_manage]) =
        installed("dashboards: uWSGI and Zope in Graphite", tools)
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
    let [port, stats] = free_ports();
    let stats = format!("127.0.0.1:{stats}");
    let uwsgi = Uwsgi::start(&program, &scene, "shop", port, &["--stats", &stats]);
    let instances = [instance(), instance()];
    let base = scene.path().display();
    let text = format!(
        "[paths]\nbase-dir = {base}\n\
         [pull]\npull-interval = 1\ntimeout = 1\npull-timeout = 10\n\
         dst-dir = {base}/incoming\ntmp-dst-dir = {base}/incoming.tmp\n\
         [uwsgi]\nservers = shop=tcp://{stats}\n\
         [zope]\nservers = a.b/instance1=tcp://127.0.0.1:{}, a.b/instance2=tcp://127.0.0.1:{}\n\
         [process]\nsrc-dir = {base}/incoming\n\
         [graphite]\nserver = 127.0.0.1\nport = {}\nwrite-timeout = 20\n",
        instances[0].port, instances[1].port, carbon.port
    );
    let config = scene.write("haproxystats.conf", &text);
    let (process, pull) = (scene.process(&config), scene.pull(&config));
    let of_board = |name| [grafana_targets(name), graphite_targets(name)].concat();
    let targets = ["uwsgi", "zope"].into_iter().flat_map(of_board);
    let targets: Vec<Target> = targets.map(everywhere).collect();
    assert!(targets.len() > 50, "only {} targets", targets.len());
    boards::assert_points(&targets, || uwsgi.get("/"), |target| web.points(&target.text).ok());
    let wrong = targets[0].text.replace(".requests", ".request");
    assert!(wrong != targets[0].text && web.points(&wrong).is_err(), "{wrong}");
    pull.finish();
    process.finish();
}
