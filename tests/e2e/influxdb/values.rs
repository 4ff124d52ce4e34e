//! The values that a server gives back, compared with Graphite's lines of the same snapshots, which
//! other tests compare with the dumps and with the original program.

use std::collections::BTreeMap;

use model::clean::segment;
use serde_json::Value;

use super::servers::Field;

/// Values by Graphite's path below `haproxy.`, and the second.
pub(crate) type Values = BTreeMap<(String, u64), f64>;

/// Telegraf's names, and HAProxy's.
const RENAMED: [(&str, &str); 10] = [
    ("active_servers", "act"),
    ("backup_servers", "bck"),
    ("cli_abort", "cli_abrt"),
    ("srv_abort", "srv_abrt"),
    ("http_response.1xx", "hrsp_1xx"),
    ("http_response.2xx", "hrsp_2xx"),
    ("http_response.3xx", "hrsp_3xx"),
    ("http_response.4xx", "hrsp_4xx"),
    ("http_response.5xx", "hrsp_5xx"),
    ("http_response.other", "hrsp_other"),
];
/// The longest first, because one begins as the other.
const MEASUREMENTS: [&str; 4] = ["haproxy_servers", "haproxy_info", "haproxystats", "haproxy"];

/// The values of Graphite's lines.
pub(crate) fn of_lines(text: &str) -> Values {
    let mut values = Values::new();
    for line in text.lines() {
        let [path, value, seconds] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (_, path) = path.split_once(".haproxy.").unwrap();
        let value = value.parse().unwrap();
        values.insert((path.to_owned(), seconds.parse().unwrap()), value);
    }
    values
}

/// The values of fields; a text has none.
pub(crate) fn of_fields(fields: &[Field]) -> Values {
    let mut values = Values::new();
    for field in fields {
        if let Some(value) = field.value.as_f64() {
            let key = (path_of(field), field.seconds);
            assert_eq!(values.insert(key, value), None, "{field:?} twice");
        }
    }
    values
}

/// The path that Graphite has for a field.
fn path_of(field: &Field) -> String {
    let (measurement, name) = split(field);
    let tag = |name: &str| field.tags.get(name).map(|value| segment(value)).unwrap_or_default();
    let of_row = match (measurement, tag("type").as_str()) {
        ("haproxy_info", "") if field.tags.contains_key("process") => {
            format!("daemon.process.{}", tag("process"))
        }
        ("haproxy_info", "") => "daemon".to_owned(),
        ("haproxystats", "") => "haproxystats".to_owned(),
        ("haproxy", "frontend") => format!("frontend.{}", tag("proxy")),
        ("haproxy", "backend") => format!("backend.{}", tag("proxy")),
        ("haproxy", "server") => format!("backend.{}.server.{}", tag("proxy"), tag("sv")),
        ("haproxy_servers", "server") => format!("server.{}", tag("sv")),
        other => panic!("{other:?} of {field:?}"),
    };
    let renamed = RENAMED.iter().find(|(telegraf, _)| *telegraf == name);
    let name = if measurement.starts_with("haproxy_info") { None } else { renamed }
        .map_or(name, |(_, haproxy)| haproxy);
    format!("{of_row}.{name}")
}

/// Measurement and name of a field. VictoriaMetrics joins them.
fn split(field: &Field) -> (&str, &str) {
    if !field.measurement.is_empty() {
        return (&field.measurement, &field.name);
    }
    MEASUREMENTS
        .iter()
        .find_map(|measurement| {
            let name = field.name.strip_prefix(measurement)?.strip_prefix('_')?;
            Some((*measurement, name))
        })
        .unwrap()
}

/// Every value is there, and equal; a mean is rounded half to even.
pub(crate) fn assert_equal(expected: &Values, found: &Values) {
    let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).take(5).collect();
    assert!(missing.is_empty(), "of {} missing: {missing:?}", expected.len());
    for (key, expected) in expected {
        let found = found[key];
        let is_equal = found.to_bits() == expected.to_bits()
            || found.to_bits() == expected.round_ties_even().to_bits();
        assert!(is_equal, "{key:?}: {found} for {expected}");
    }
}

/// The types of fields: whole numbers, texts, and others.
pub(crate) fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}
