//! A line in InfluxQL, as a query of Grafana's data source.
//!
//! Counters start again at a reload of HAProxy, so they are derived for each series (`*`) by a
//! function that ignores a fall, and added up after that. A derivative ignores empty intervals, so
//! a loss during a gap shows after the gap.

use super::line::{Label, Line, Rows, Shows};

/// Our own metrics that each receiver has; the field of all but the first Graphite begins with the
/// name of the section.
const OF_RECEIVERS: [&str; 8] = [
    "DeliveryFailures",
    "DroppedMetrics",
    "LongLines",
    "OutboxAgeSeconds",
    "OutboxBytes",
    "OutboxMetrics",
    "ReceiverUp",
    "RefusedPoints",
];

/// The query of a line.
pub(super) fn query(line: &Line) -> String {
    match line.shows {
        Shows::Rate => sum_of(per_second, line),
        Shows::Growth => sum_of(difference, line),
        Shows::Sum => sum_of(mean, line),
        Shows::Mean => plain("", "mean", line),
        Shows::Largest => plain("", "max", line),
        Shows::Smallest => plain("", "min", line),
        Shows::Rest => plain("100 - ", "mean", line),
        Shows::PercentOfRates(whole) => percent(per_second, whole, line),
        Shows::PercentOfSums(whole) => percent(mean, whole, line),
    }
}

/// The name of a line in Grafana. A query about all receivers has a column for each.
pub(super) fn alias(line: &Line) -> String {
    let is_of_receivers = line.fields.iter().any(|field| is_of_receivers(line.rows, field));
    match line.label {
        Label::Name(_) if is_of_receivers => "$col".to_owned(),
        Label::Name(name) => name.to_owned(),
        Label::Host | Label::HostAndField if is_of_receivers => "$tag_host $col".to_owned(),
        Label::Host => "$tag_host".to_owned(),
        Label::HostAndField => format!("$tag_host {}", line.fields.join(" ")),
        Label::Proxy => "$tag_proxy".to_owned(),
        Label::Server => "$tag_sv".to_owned(),
        Label::Worker => "$tag_worker_id".to_owned(),
        Label::Instance => "$tag_process".to_owned(),
    }
}

/// The condition of some rows, without that of the time.
pub(super) fn condition(rows: Rows) -> String {
    let condition = match rows {
        Rows::Frontends => r#""type" = 'frontend' AND "#,
        Rows::Backends => r#""type" = 'backend' AND "#,
        Rows::Frontend => r#""type" = 'frontend' AND "proxy" =~ /^$frontend$/ AND "#,
        Rows::Backend => r#""type" = 'backend' AND "proxy" =~ /^$backend$/ AND "#,
        Rows::Servers => {
            r#""type" = 'server' AND "proxy" =~ /^$backend$/ AND "sv" =~ /^$server$/ AND "#
        }
        // The points of a single process have its number.
        Rows::Daemons => r#""process" = '' AND "#,
        Rows::Own => "",
        Rows::Application | Rows::Workers => r#""source" =~ /^$application$/ AND "#,
        Rows::Instances => r#""deployment" =~ /^$deployment$/ AND "#,
    };
    format!(r#"{condition}"host" =~ /^$host$/"#)
}

/// Measurement and condition.
fn source(rows: Rows) -> String {
    let measurement = match rows {
        Rows::Frontends | Rows::Backends | Rows::Frontend | Rows::Backend | Rows::Servers => {
            "haproxy"
        }
        Rows::Daemons => "haproxy_info",
        Rows::Own => "haproxystats",
        Rows::Application => "uwsgi",
        Rows::Workers => "uwsgi_workers",
        Rows::Instances => "deployments",
    };
    format!(r#"FROM "{measurement}" WHERE {} AND $timeFilter"#, condition(rows))
}

/// The interval, and the tag of the label.
fn grouping(label: Label) -> &'static str {
    match label {
        Label::Name(_) => "GROUP BY time($__interval) fill(none)",
        Label::Host | Label::HostAndField => r#"GROUP BY time($__interval), "host" fill(none)"#,
        Label::Proxy => r#"GROUP BY time($__interval), "proxy" fill(none)"#,
        Label::Server => r#"GROUP BY time($__interval), "sv" fill(none)"#,
        Label::Worker => r#"GROUP BY time($__interval), "worker_id" fill(none)"#,
        Label::Instance => r#"GROUP BY time($__interval), "process" fill(none)"#,
    }
}

/// What is made of a field of one series.
type OfSeries = fn(&str) -> String;

fn per_second(key: &str) -> String {
    format!("non_negative_derivative(last({key}), 1s)")
}

fn difference(key: &str) -> String {
    format!("non_negative_difference(last({key}))")
}

fn mean(key: &str) -> String {
    format!("mean({key})")
}

/// One function over all points.
fn plain(before: &str, function: &str, line: &Line) -> String {
    let value = joined(function, line.rows, line.fields);
    let (source, grouping) = (source(line.rows), grouping(line.label));
    format!("SELECT {before}{value}{} {source} {grouping}", name(line))
}

fn sum_of(of_series: OfSeries, line: &Line) -> String {
    let sum = joined("sum", line.rows, line.fields);
    over_series(&format!("{sum}{}", name(line)), of_series, line.fields, line)
}

fn percent(of_series: OfSeries, whole: &[&str], line: &Line) -> String {
    let bracketed = |fields: &[&str]| {
        let sum = joined("sum", line.rows, fields);
        if fields.len() == 1 { sum } else { format!("({sum})") }
    };
    let percent = format!("100 * {} / {}", bracketed(line.fields), bracketed(whole));
    let mut fields = line.fields.to_vec();
    fields.extend(whole.iter().filter(|field| !line.fields.contains(field)));
    over_series(&percent, of_series, &fields, line)
}

fn over_series(selection: &str, of_series: OfSeries, fields: &[&str], line: &Line) -> String {
    let column = |field: &&str| {
        let key = key(line.rows, field);
        // A pattern gives a column for each field that it matches: this word and the field's name.
        let name = if is_of_receivers(line.rows, field) { "\"of\"" } else { &key };
        format!("{} AS {name}", of_series(&key))
    };
    let columns: Vec<String> = fields.iter().map(column).collect();
    let (source, grouping) = (source(line.rows), grouping(line.label));
    format!(
        "SELECT {selection} FROM (SELECT {} {source} GROUP BY time($__interval), * fill(none)) \
         WHERE $timeFilter {grouping}",
        columns.join(", ")
    )
}

/// A function of each field, added up.
fn joined(function: &str, rows: Rows, fields: &[&str]) -> String {
    let one = |field: &&str| format!("{function}({})", key(rows, field));
    fields.iter().map(one).collect::<Vec<_>>().join(" + ")
}

/// Columns that Grafana shows by their names get the line's name in front.
fn name(line: &Line) -> String {
    match line.label {
        Label::Name(name) if line.fields.iter().any(|field| is_of_receivers(line.rows, field)) => {
            format!(r#" AS "{name}""#)
        }
        _ => String::new(),
    }
}

fn is_of_receivers(rows: Rows, field: &str) -> bool {
    rows == Rows::Own && OF_RECEIVERS.contains(&field)
}

/// A field as a query names it.
fn key(rows: Rows, field: &str) -> String {
    if is_of_receivers(rows, field) {
        return format!("/{field}$/");
    }
    let is_of_proxies = match rows {
        Rows::Frontends | Rows::Backends | Rows::Frontend | Rows::Backend | Rows::Servers => true,
        Rows::Daemons | Rows::Own | Rows::Application | Rows::Workers | Rows::Instances => false,
    };
    if is_of_proxies { format!(r#""{}""#, telegrafs(field)) } else { format!(r#""{field}""#) }
}

/// Telegraf's name of a column of HAProxy.
fn telegrafs(column: &str) -> String {
    if let Some(class) = column.strip_prefix("hrsp_") {
        return format!("http_response.{class}");
    }
    match column {
        "act" => "active_servers",
        "bck" => "backup_servers",
        "cli_abrt" => "cli_abort",
        "srv_abrt" => "srv_abort",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::line::{growth, percent_of_rates, rate, rest};
    use super::*;

    fn assert_query(line: &Line, selection: &str, from: &str, end: &str) {
        assert_eq!(query(line), format!("SELECT {selection} FROM {from} {end} fill(none)"));
    }

    #[test]
    fn counters_are_derived_for_each_series() {
        assert_query(
            &rate(Rows::Frontends, &["hrsp_1xx", "stot"], Label::Proxy),
            "sum(\"http_response.1xx\") + sum(\"stot\")",
            "(SELECT \
             non_negative_derivative(last(\"http_response.1xx\"), 1s) AS \"http_response.1xx\", \
             non_negative_derivative(last(\"stot\"), 1s) AS \"stot\" FROM \"haproxy\" \
             WHERE \"type\" = 'frontend' AND \"host\" =~ /^$host$/ AND $timeFilter \
             GROUP BY time($__interval), * fill(none)) WHERE $timeFilter",
            "GROUP BY time($__interval), \"proxy\"",
        );
        assert_query(
            &percent_of_rates(Rows::Backend, &["a"], &["a", "b"], Label::Name("of all")),
            "100 * sum(\"a\") / (sum(\"a\") + sum(\"b\"))",
            "(SELECT non_negative_derivative(last(\"a\"), 1s) AS \"a\", \
             non_negative_derivative(last(\"b\"), 1s) AS \"b\" FROM \"haproxy\" \
             WHERE \"type\" = 'backend' AND \"proxy\" =~ /^$backend$/ AND \"host\" =~ /^$host$/ \
             AND $timeFilter GROUP BY time($__interval), * fill(none)) WHERE $timeFilter",
            "GROUP BY time($__interval)",
        );
    }

    #[test]
    fn values_need_one_function() {
        assert_query(
            &super::super::line::mean(Rows::Servers, &["rtime"], Label::Server),
            "mean(\"rtime\")",
            "\"haproxy\" WHERE \"type\" = 'server' AND \"proxy\" =~ /^$backend$/ \
             AND \"sv\" =~ /^$server$/ AND \"host\" =~ /^$host$/ AND $timeFilter",
            "GROUP BY time($__interval), \"sv\"",
        );
        assert_query(
            &rest(Rows::Daemons, &["Idle_pct"], Label::Name("mean")),
            "100 - mean(\"Idle_pct\")",
            "\"haproxy_info\" WHERE \"process\" = '' AND \"host\" =~ /^$host$/ AND $timeFilter",
            "GROUP BY time($__interval)",
        );
    }

    #[test]
    fn a_metric_of_receivers_is_that_of_each() {
        let line = growth(Rows::Own, &["LongLines"], Label::Name("too long"));
        assert_query(
            &line,
            "sum(/LongLines$/) AS \"too long\"",
            "(SELECT non_negative_difference(last(/LongLines$/)) AS \"of\" \
             FROM \"haproxystats\" WHERE \"host\" =~ /^$host$/ AND $timeFilter \
             GROUP BY time($__interval), * fill(none)) WHERE $timeFilter",
            "GROUP BY time($__interval)",
        );
        assert_eq!(alias(&line), "$col");
    }
}
