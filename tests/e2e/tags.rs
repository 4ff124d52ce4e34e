//! Graphite's tags, with a real carbon and a real graphite-web: series are found by their tags, and
//! their values are those that were sent.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::carbon::Carbon;
use crate::golden;
use crate::graphite_web::{GraphiteWeb, escaped};
use crate::scene::Scene;
use crate::support::{free_ports, installed, wait_until};

#[test]
fn series_are_found_by_tags_and_have_their_values() {
    let servers = ["carbon-cache", "whisper-fetch", "graphite-manage"];
    let Some([carbon_cache, whisper_fetch, graphite_manage]) = installed("tags", servers) else {
        return;
    };
    let scene = Scene::new();
    let [port] = free_ports();
    let carbon = Carbon::start_for_tags(&carbon_cache, &whisper_fetch, scene.path(), port);
    let web = GraphiteWeb::start_on(port, &graphite_manage, &carbon, scene.path());
    let options = format!(
        "tags = true\n[backend-groups]\nWeb = ^be\n[local-store]\ndir = {}/local-store\n",
        scene.path().display()
    );
    let config = scene.config(carbon.port, 1, &options);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("prefix-hostname = false", "prefix-hostname = true")).unwrap();
    let process = scene.process(&config);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    golden::publish(&scene, "haproxy-2.2.9", now);
    scene.wait_until_delivered();

    let stored = fs::read_to_string(scene.path().join(format!("local-store/{now}/stats"))).unwrap();
    let sent = by_metric(&stored);
    for metric in ["frontend.stot", "backend.scur", "server.weight", "daemon.Maxconn"] {
        let name = format!("e2e.haproxy.{metric}");
        let expected = &sent[&name];
        wait_until(&format!("the series of {name}"), || {
            found(&web, &[&format!("name={name}")]).len() == expected.len()
        });
        wait_until(&format!("the values of {name}"), || {
            values(&web, &format!("seriesByTag('name={name}')")) == *expected
        });
    }

    // A server by all of its tags, with the group of its backend.
    let one = sent["e2e.haproxy.server.weight"].keys().find(|path| path.contains(";group=web;"));
    let one = one.unwrap();
    let tags: Vec<&str> = one.split(';').skip(1).collect();
    let [backend, "group=web", host, server] = tags[..] else { panic!("{one}") };
    let name = "name=e2e.haproxy.server.weight";
    let found = found(&web, &[name, backend, "group=web", host, server]);
    assert_eq!(found, [one.as_str()]);

    let names = web.json("/tags/autoComplete/tags?tagPrefix=");
    for tag in ["backend", "frontend", "group", "host", "name", "server"] {
        assert!(names.as_array().unwrap().iter().any(|name| name == tag), "{tag}: {names}");
    }
    let prefix = backend.strip_prefix("backend=").unwrap();
    let path = format!("/tags/autoComplete/values?tag=backend&valuePrefix={}", escaped(prefix));
    let offered = web.json(&path);
    assert!(offered.as_array().unwrap().iter().any(|value| value == prefix), "{offered}");
    process.finish();
}

/// The series of lines by their metric: the tagged path and the value.
fn by_metric(lines: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut metrics: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [path, value, _] = words[..] else { panic!("malformed line: {line}") };
        let name = path.split(';').next().unwrap().to_owned();
        metrics.entry(name).or_default().insert(path.to_owned(), value.parse().unwrap());
    }
    metrics
}

/// The series that graphite-web finds for expressions on tags.
fn found(web: &GraphiteWeb, expressions: &[&str]) -> Vec<String> {
    let query: Vec<String> =
        expressions.iter().map(|one| format!("expr={}", escaped(one))).collect();
    let found = web.json(&format!("/tags/findSeries?{}", query.join("&")));
    found.as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect()
}

/// The newest value of each series of a target.
fn values(web: &GraphiteWeb, target: &str) -> BTreeMap<String, f64> {
    let path = format!("/render?format=json&from=-10min&target={}", escaped(target));
    let mut values = BTreeMap::new();
    for series in web.json(&path).as_array().unwrap() {
        let points = series["datapoints"].as_array().unwrap().iter().rev();
        let newest = points.filter_map(|point| point[0].as_f64()).next();
        values.extend(newest.map(|value| (series["target"].as_str().unwrap().to_owned(), value)));
    }
    values
}
