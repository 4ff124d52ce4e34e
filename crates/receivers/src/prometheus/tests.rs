//! The bytes of the page, its states, and what a query leaves of it.

use std::collections::BTreeMap;

use model::{Batch, Column, Fold, Names as RowNames, Nature, SnapshotId, Table, TableKind, Values};
use proptest::prop_assert_eq;
use proptest::proptest;

use super::{Exposition, Names, Page, Query};

fn number(name: &str, values: &[Option<i128>]) -> Column {
    Column::integers(name, Nature::Counter, Some(Fold::Sum), values.iter().copied())
}

fn text(name: &str, values: &[&str]) -> Column {
    Column::new(name, Nature::Other, None, Values::States(values.iter().copied().collect()))
}

fn table(kind: TableKind, rows: &[&[&str]], columns: Vec<Column>) -> Table {
    let mut names = RowNames::new(&kind);
    rows.iter().for_each(|row| names.push(row));
    Table { kind, names, columns }
}

fn batch(origin: &str, second: u64, tables: Vec<Table>) -> Batch {
    let timestamp = second.to_string().parse().unwrap();
    Batch { id: SnapshotId { origin: origin.into(), timestamp, serial: 0 }, tables }
}

fn page(batches: &[Batch], names: Names, exposition: Exposition, query: &str) -> String {
    let query = Query::parse(query).unwrap();
    let mut out = Vec::new();
    Page::new(batches, names, exposition, &query).write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The lines without help.
fn samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

fn servers() -> Table {
    let qtime = [Some((3, 2)), None, Some((4, 2))];
    let qtime = Column::means("qtime", Nature::Average, Some(Fold::Mean), qtime);
    table(
        TableKind::BackendServer,
        &[&["be", "a"], &["be", "b"], &["dark", "c"]],
        vec![
            number("stot", &[Some(5), None, Some(-1)]),
            number("hrsp_2xx", &[Some(4), None, None]),
            number("hrsp_5xx", &[Some(1), None, None]),
            number("check_status", &[Some(8), None, None]),
            qtime,
            text("status", &["UP 1/3", "MAINT (via be/a)", "no check"]),
            text("check_status", &["* L4CON", "", ""]),
        ],
    )
}

#[test]
fn a_server_has_one_state_and_a_family_stands_together() {
    let batches = [batch("lb1", 17, vec![servers()])];
    let text = page(&batches, Names::Promex, Exposition::Text, "scope=server");
    let (begin, rest) = text.split_at(text.find("# HELP haproxy_server_status").unwrap());
    let expected = "# HELP haproxy_server_sessions_total Sessions since the start.\n\
                    # TYPE haproxy_server_sessions_total counter\n\
                    haproxy_server_sessions_total{proxy=\"be\",server=\"a\"} 5\n";
    assert_eq!(begin, expected);
    let ones: Vec<_> = samples(rest).into_iter().filter(|line| line.ends_with(" 1")).collect();
    let expected = [
        "haproxy_server_status{proxy=\"be\",server=\"a\",state=\"UP\"} 1",
        "haproxy_server_status{proxy=\"be\",server=\"b\",state=\"MAINT\"} 1",
        "haproxy_server_status{proxy=\"dark\",server=\"c\",state=\"UP\"} 1",
        "haproxy_server_check_status{proxy=\"be\",server=\"a\",state=\"L4CON\"} 1",
        "haproxy_server_http_responses_total{proxy=\"be\",server=\"a\",code=\"5xx\"} 1",
    ];
    assert_eq!(ones, expected);
    assert_eq!(samples(rest).len(), 15 + 16 + 2 + 2);
    assert!(rest.ends_with(
        "haproxy_server_queue_time_average_seconds{proxy=\"be\",server=\"a\"} 0.0015\n\
         haproxy_server_queue_time_average_seconds{proxy=\"dark\",server=\"c\"} 0.002\n"
    ));
    let without = page(&batches, Names::Promex, Exposition::Text, "scope=server&no-maint");
    assert!(!without.contains("server=\"b\"") && without.contains("server=\"c\""));
    let one =
        page(&batches, Names::Promex, Exposition::Text, "metrics=haproxy_server_sessions_total");
    assert_eq!(samples(&one), ["haproxy_server_sessions_total{proxy=\"be\",server=\"a\"} 5"]);
}

#[test]
fn backends_count_their_servers() {
    let status = text("status", &["UP", "DOWN", "UP"]);
    let backends = table(TableKind::Backend, &[&["be"], &["dark"], &["empty"]], vec![status]);
    let batches = [batch("lb1", 17, vec![backends, servers()])];
    for query in ["scope=backend", "scope=backend&no-maint"] {
        let text = page(&batches, Names::Promex, Exposition::Text, query);
        for (name, proxy, state, value) in [
            ("status", "be", "UP", 1),
            ("status", "dark", "UP", 0),
            ("agg_server_status", "be", "UP", 1),
            ("agg_server_status", "be", "MAINT", 1),
            ("agg_server_check_status", "be", "DOWN", 0),
            ("agg_check_status", "be", "L4CON", 1),
            ("agg_check_status", "dark", "L7OK", 0),
        ] {
            let line =
                format!("haproxy_backend_{name}{{proxy=\"{proxy}\",state=\"{state}\"}} {value}");
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("agg_server_status{proxy=\"empty\""), "{text}");
    }
}

#[test]
fn the_newest_batch_of_each_origin_counts() {
    let of = |origin: &str, second, requests| {
        let old = number("TotalSplicdedBytesOut", &[Some(1)]);
        let new = number("TotalSplicedBytesOut", &[Some(2)]);
        let columns = vec![number("CumReq", &[Some(requests)]), old, new];
        batch(origin, second, vec![Table::of_one_row(TableKind::Daemon, columns)])
    };
    let one = [of("lb1", 18, 5), of("lb1", 17, 3)];
    let text = page(&one, Names::Promex, Exposition::Text, "");
    let expected = [
        "haproxy_process_requests_total 5",
        "haproxy_process_spliced_bytes_out_total 3",
        "haproxystats_snapshot_timestamp_seconds 18",
    ];
    assert_eq!(samples(&text), expected);
    let both = [of("lb2", 17, 7), of("lb1", 18, 5)];
    let text = page(&both, Names::Promex, Exposition::Text, "scope=global");
    let hosts = "haproxy_process_requests_total{host=\"lb1\"} 5\n\
                 haproxy_process_requests_total{host=\"lb2\"} 7\n";
    assert!(text.contains(hosts), "{text}");
}

#[test]
fn openmetrics_names_its_families_without_total() {
    let columns = vec![
        number("CumReq", &[Some(5)]),
        number("PipesUsed", &[Some(2)]),
        number("FailedResolutions", &[Some(1)]),
    ];
    let batches = [batch("lb1", 17, vec![Table::of_one_row(TableKind::Daemon, columns)])];
    let text = page(&batches, Names::Promex, Exposition::OpenMetrics, "scope=global");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    let expected = [
        "# TYPE haproxy_process_requests counter",
        "haproxy_process_requests_total 5",
        "# TYPE haproxy_process_pipes_used_total unknown",
        "haproxy_process_pipes_used_total 2",
        "# TYPE haproxy_process_failed_resolutions unknown",
        "haproxy_process_failed_resolutions 1",
        "# EOF",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_names_of_haproxy_exporter_can_be_had() {
    let own = vec![
        Column::new("TotalWallClockTime", Nature::Duration, None, Values::Milliseconds(vec![1500])),
        number("MetricsHAProxy", &[Some(2)]),
    ];
    let batches = [batch("lb1", 17, vec![servers(), Table::of_one_row(TableKind::Own, own)])];
    let text = page(&batches, Names::Exporter, Exposition::Text, "");
    for line in [
        "haproxy_up 1",
        "haproxy_server_up{backend=\"be\",server=\"a\"} 1",
        "haproxy_server_up{backend=\"be\",server=\"b\"} 0",
        "haproxy_server_up{backend=\"dark\",server=\"c\"} 1",
        "haproxy_server_http_queue_time_average_seconds{backend=\"be\",server=\"a\"} 0.0015",
        "haproxystats_total_wall_clock_time_seconds 1.5",
        "haproxystats_metrics_haproxy 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn a_family_has_one_header() {
    for names in [Names::Promex, Names::Exporter] {
        for scope in ['P', 'F', 'B', 'S'] {
            let metrics = names.metrics().iter().filter(|metric| metric.is_of(scope));
            let metrics: Vec<_> = metrics.collect();
            let mut seen = BTreeMap::new();
            for family in metrics.chunk_by(|one, two| one.name == two.name) {
                assert_eq!(seen.insert(family[0].name, ()), None, "{scope} {}", family[0].name);
                assert!(family.iter().all(|metric| metric.kind == family[0].kind));
            }
        }
    }
}

/// The value of a label, read as Prometheus reads it.
fn unescaped(line: &str) -> Option<String> {
    let rest = line.strip_prefix("haproxy_frontend_sessions_total{proxy=\"")?;
    let rest = rest.strip_suffix("\"} 1")?;
    let (mut text, mut characters) = (String::new(), rest.chars());
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            },
            '"' => return None,
            other => other,
        });
    }
    Some(text)
}

proptest! {
    /// Whatever a name holds, its line is one line, and a reader gets the name back.
    #[test]
    fn labels_are_escaped(name in "[\\PC\"\\\\\n\r]{1,20}") {
        let stot = vec![number("stot", &[Some(1)])];
        let batches =
            [batch("lb1", 17, vec![table(TableKind::Frontend, &[&[&name]], stot)])];
        let text = page(&batches, Names::Promex, Exposition::Text, "scope=frontend");
        let lines: Vec<_> = text.split('\n').collect();
        prop_assert_eq!(lines.len(), 4);
        prop_assert_eq!(unescaped(lines[2]), Some(name.replace('\r', " ")));
    }

    /// Whatever the status says, a server has one state or none.
    #[test]
    fn a_server_has_at_most_one_state(
        status in "(UP|DOWN|MAINT|DRAIN|NOLB|no check|[a-z]{1,4})( [ -~]{0,9})?"
    ) {
        let columns = vec![text("status", &[&status])];
        let servers = table(TableKind::BackendServer, &[&["be", "a"]], columns);
        let text = page(&[batch("lb1", 17, vec![servers])], Names::Promex, Exposition::Text, "");
        let states: Vec<_> = samples(&text)
            .into_iter()
            .filter_map(|line| line.strip_prefix("haproxy_server_status"))
            .collect();
        let ones = states.iter().filter(|line| line.ends_with(" 1")).count();
        prop_assert_eq!(ones, usize::from(!states.is_empty()));
    }
}
