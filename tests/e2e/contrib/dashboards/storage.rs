//! The files that tell carbon how to store our metrics: read by carbon itself, and compared with
//! the catalogue of HAProxy's fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use model::catalog::{DAEMON_MEANS, DAEMON_SUMS, Nature, names, nature};

use crate::support::{installed, run};

use super::boards::contrib;

/// Prints the method that carbon chooses for each path that it reads.
const ASK_CARBON: &str = "
import sys
from carbon.conf import settings
settings['CONF_DIR'] = settings['LOCAL_DATA_DIR'] = sys.argv[1]
from carbon import state
from carbon.database import TimeSeriesDatabase
state.database = TimeSeriesDatabase.plugins['whisper'](settings)
from carbon.storage import loadAggregationSchemas
schemas = loadAggregationSchemas()
for path in sys.stdin.read().split():
    print(path, *next(schema for schema in schemas if schema.matches(path)).archives)
";

/// The schemas with a point for each second of half an hour, so that a test is short.
pub(super) fn schemas_for_every_second() -> String {
    let shipped = fs::read_to_string(contrib("graphite/storage-schemas.conf")).unwrap();
    let retentions = shipped.lines().find(|line| line.starts_with("retentions = ")).unwrap();
    shipped.replace(retentions, "retentions = 1s:30m")
}

pub(super) fn aggregation() -> String {
    fs::read_to_string(contrib("graphite/storage-aggregation.conf")).unwrap()
}

#[test]
fn carbon_takes_the_schemas_and_refuses_them_broken() {
    let tools = ["validate-storage-schemas"];
    let Some([validate]) = installed("storage-schemas.conf", tools) else { return };
    let shipped = contrib("graphite/storage-schemas.conf");
    let good = run(&validate, &[shipped.to_str().unwrap()]);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    assert!(good.stdout.contains("Section 'haproxystats':\n  OK\n"), "{}", good.stdout);

    assert!(!good.stdout.contains("Error"), "{}", good.stdout);

    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("storage-schemas.conf");
    let text = fs::read_to_string(&shipped).unwrap();
    // Sixty seconds are no multiple of seven: the tool reports that but does not fail.
    for (retention, code) in [("7s:", 0), ("10 apples:", 1)] {
        fs::write(&broken, text.replace("10s:", retention)).unwrap();
        let refused = run(&validate, &[broken.to_str().unwrap()]);
        assert!(refused.stdout.contains("Error"), "{}", refused.stdout);
        assert_eq!(refused.code, Some(code), "{}", refused.stdout);
    }
}

/// A whisper file of these retentions is as large as the file says.
#[test]
fn a_metric_takes_as_much_as_is_said() {
    let Some([create]) = installed("storage-schemas.conf", ["whisper-create"]) else { return };
    let text = fs::read_to_string(contrib("graphite/storage-schemas.conf")).unwrap();
    let retentions = text.lines().find_map(|line| line.strip_prefix("retentions = ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wsp");
    let mut arguments = vec![file.to_str().unwrap()];
    arguments.extend(retentions.split(','));
    let created = run(&create, &arguments);
    assert_eq!(created.code, Some(0), "{}{}", created.stdout, created.stderr);
    let digits = fs::metadata(&file).unwrap().len().to_string();
    let (thousands, ones) = digits.split_at(digits.len() - 3);
    assert!(text.contains(&format!("# A metric takes {thousands},{ones} bytes")), "{digits}");
}

#[test]
fn carbon_keeps_each_metric_by_its_nature() {
    let Some([carbon_cache]) = installed("storage-aggregation.conf", ["carbon-cache"]) else {
        return;
    };
    let expected = expected();
    let answer = ask_carbon(&carbon_cache, &aggregation(), expected.keys());
    let wrong = expected.iter().filter(|(path, kept)| answer.get(*path) != Some(kept));
    assert_eq!(wrong.collect::<Vec<_>>(), []);

    // The test notices a name that is missing from a pattern.
    let broken = aggregation().replace("[qcrt]time|", "");
    let answer = ask_carbon(&carbon_cache, &broken, expected.keys());
    assert!(expected.iter().any(|(path, kept)| answer.get(path) != Some(kept)));
}

/// The method that carbon must choose, for every possible metric.
fn expected() -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    let mut add = |path: String, method: &str| {
        expected.insert(path, format!("0.0 {method}"));
    };
    for name in names() {
        let method = match nature(name).unwrap() {
            Nature::Counter | Nature::Limit | Nature::Age => "last",
            Nature::Gauge | Nature::Rate | Nature::Average | Nature::Duration => "average",
            Nature::Maximum => "max",
            Nature::Other => continue,
        };
        // Proxies may have the names of metrics.
        for place in ["frontend.rate", "g.smax.backend.scur", "backend.act.server.weight"] {
            add(format!("loadbalancers.lb1.haproxy.{place}.{name}"), method);
        }
    }
    add("n.h.haproxy.backend.x.TotalServers".to_owned(), "last");
    for (name, method) in [
        ("instance.uptime", "last"),
        ("cache.max_size", "last"),
        ("cache.ngsize", "average"),
        ("db.loads", "average"),
        ("db.conflicts", "last"),
        ("db.unresolved_conflicts", "last"),
        ("memory.rss", "average"),
    ] {
        add(format!("n.h.zope.shop.instance1.{name}"), method);
    }
    let percentages = ["ConnPercentage", "SslRatePercentage", "95PercentileCpuUsagePct"];
    for name in DAEMON_SUMS.iter().chain(DAEMON_MEANS).chain(&percentages) {
        add(format!("n.h.haproxy.daemon.{name}"), daemon_method(name));
        add(format!("n.h.haproxy.daemon.process.1.{name}"), daemon_method(name));
    }
    for (name, method) in [
        ("ReceiverUp", "min"),
        ("SpoolSize", "max"),
        ("SnapshotAgeSeconds", "max"),
        ("OutboxMetrics", "max"),
        ("OutboxBytes", "max"),
        ("OutboxAgeSeconds", "max"),
        ("MissingEndpoints", "max"),
        ("DamagedFiles", "max"),
        ("LeftOutServers", "max"),
        ("OldWorkers", "max"),
        ("KeptWorkers", "max"),
        ("PullMilliseconds", "max"),
        ("TotalWallClockTime", "max"),
        ("WallClockTimeAllStats", "max"),
        ("PullCycles", "last"),
        ("PullSkipped", "last"),
        ("DroppedMetrics", "last"),
        ("RefusedPoints", "last"),
        ("LongLines", "last"),
        ("WorkerRestarts", "last"),
        ("MetricsServer", "last"),
    ] {
        add(format!("n.h.haproxy.haproxystats.{name}"), method);
    }
    expected
}

/// Counters, limits and values that begin anew at a reload are named; other values go up and down.
fn daemon_method(name: &str) -> &'static str {
    let maxima = ["MaxConnRate", "MaxSessRate", "MaxSslRate"];
    let limits = ["Hard_maxconn", "Maxconn", "Maxpipes", "Maxsock", "Memmax_MB", "Ulimit-n"];
    let limits = BTreeSet::from(limits);
    let limited = name.ends_with("Limit") || name.ends_with("RateLim");
    if maxima.contains(&name) || name.ends_with("MaxKeyRate") {
        "max"
    } else if limits.contains(name)
        || limited
        || ["MaxSslConns", "MaxZlibMemUsage", "Uptime_sec"].contains(&name)
        || name.starts_with("Cum")
        || name.starts_with("SslCache")
    {
        "last"
    } else {
        "average"
    }
}

/// The xFilesFactor and the method of each path, by carbon's own reader.
fn ask_carbon<'a>(
    carbon_cache: &str,
    aggregation: &str,
    paths: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("storage-aggregation.conf"), aggregation).unwrap();
    // The Python that runs carbon has carbon's modules.
    let script = fs::read_to_string(carbon_cache).unwrap();
    let python = script.lines().next().unwrap().trim_start_matches("#!").trim();
    let mut child = Command::new(python)
        .args(["-B", "-c", ASK_CARBON])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let paths: Vec<&str> = paths.map(String::as_str).collect();
    child.stdin.take().unwrap().write_all(paths.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let words = lines.lines().map(|line| line.split_once(' ').unwrap());
    words.map(|(path, kept)| (path.to_owned(), kept.to_owned())).collect()
}
