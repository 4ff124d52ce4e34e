//! Lines with tags, byte by byte, and by carbon's rules.

use model::{Column, Layout, Nature, SnapshotId, Table, TableKind, Timestamp};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{groups, id, lines_of, names, naming, servers, sums};
use crate::graphite::{NameForms, count_lines};

fn tagged(host: config::HostPart, grouped: bool) -> config::Naming {
    let groups = grouped.then(|| config::Groups { namespace: String::new(), ..groups(false) });
    config::Naming { host, tags: true, ..naming(groups) }
}

fn table(kind: TableKind, rows: &[&[&str]]) -> Table {
    let values: Vec<i128> = (1..).take(rows.len()).collect();
    Table { names: names(&kind, rows), kind, columns: vec![sums("m", &values)] }
}

#[test]
fn every_kind_of_table_has_its_tags() {
    let row: [&str; 2] = ["a.1", "b 2"];
    let tables = TableKind::ALL.map(|kind| {
        let row = &row[..kind.labels()];
        table(kind, &[row])
    });
    let naming = tagged(config::HostPart::Full, false);
    assert_eq!(
        lines_of(&tables, &naming, "lb1.example.com").0,
        "lb.haproxy.daemon.m;host=lb1.example.com 1 17\n\
         lb.haproxy.process.m;host=lb1.example.com;process=a.1 1 17\n\
         lb.haproxy.frontend.m;frontend=a.1;host=lb1.example.com 1 17\n\
         lb.haproxy.backend.m;backend=a.1;host=lb1.example.com 1 17\n\
         lb.haproxy.backend.m;backend=a.1;host=lb1.example.com 1 17\n\
         lb.haproxy.server.m;backend=a.1;host=lb1.example.com;server=b_2 1 17\n\
         lb.haproxy.aggr-server.m;host=lb1.example.com;server=a.1 1 17\n\
         lb.haproxy.haproxystats.m;host=lb1.example.com 1 17\n"
    );
}

#[test]
fn a_layout_gives_kind_and_tags() {
    let layout = Layout::new("uwsgi_workers", &["source", "id"], "uwsgi.{0}.workers.{1}");
    let tables = [table(TableKind::Other(layout.into()), &[&["shop/1", "2"]])];
    let lines = |host| lines_of(&tables, &tagged(host, true), "lb1").0;
    assert_eq!(
        lines(config::HostPart::Full),
        "lb.uwsgi.workers.m;host=lb1;id=2;source=shop/1 1 17\n"
    );
    assert_eq!(lines(config::HostPart::None), "lb.uwsgi.workers.m;id=2;source=shop/1 1 17\n");
    let untagged = naming(Some(groups(true)));
    assert_eq!(lines_of(&tables, &untagged, "lb1").0, "lb.uwsgi.shop_1.workers.2.m 1 17\n");
}

#[test]
fn numbers_keep_their_own_text_also_where_rows_share_a_path() {
    let layout = Layout::new("deployments", &["deployment", "process"], "zope.{0}.{1}");
    let kind = TableKind::Other(layout.into());
    let names = names(&kind, &[&["a b", "i1"], &["shop", "i1"], &["a_b", "i1"]]);
    let numbers = [Some("0.12345678901234567"), Some("30000"), Some("7")];
    let load = Column::numbers("db.load", Nature::Gauge, numbers);
    let size = Column::numbers("size", Nature::Gauge, [None, Some("1e5"), Some("-1")]);
    let table = Table { names, kind, columns: vec![load, size] };
    let (lines, warnings) = lines_of(&[table], &naming(None), "lb1");
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "lb.zope.a_b.i1.db.load 0.12345678901234567 17",
            "lb.zope.a_b.i1.size -1 17",
            "lb.zope.shop.i1.db.load 30000 17",
            "lb.zope.shop.i1.size 1e5 17",
        ]
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.text.contains("the first value of each metric stays")),
        "{warnings:?}"
    );
}

#[test]
fn the_host_can_be_short_or_left_out() {
    let tables = [table(TableKind::Own, &[&[]]), table(TableKind::Frontend, &[&["f"]])];
    let lines = |host| lines_of(&tables, &tagged(host, false), "lb;1.example.com").0;
    assert_eq!(
        lines(config::HostPart::Short),
        "lb.haproxy.haproxystats.m;host=lb_1 1 17\n\
         lb.haproxy.frontend.m;frontend=f;host=lb_1 1 17\n"
    );
    assert_eq!(
        lines(config::HostPart::None),
        "lb.haproxy.haproxystats.m 1 17\nlb.haproxy.frontend.m;frontend=f 1 17\n"
    );
}

#[test]
fn a_group_is_a_tag() {
    assert_eq!(
        lines_of(&[servers()], &tagged(config::HostPart::None, true), "h").0,
        "lb.haproxy.server.stot;backend=be0;group=even;server=s1 3 17\n\
         lb.haproxy.server.rtime;backend=be0;group=even;server=s1 2.5 17\n\
         lb.haproxy.server.stot;backend=be1;server=s1 -4 17\n"
    );
}

/// Names of which a path makes one stay apart; names of which carbon's rules make one are joined.
#[test]
fn rows_with_the_same_values_of_tags_are_joined() {
    let rows: [&[&str]; 6] =
        [&["a.b", "c"], &["a_b", "c"], &["a", "b.c"], &["a;b", "c"], &["a b", "c"], &["~", "c"]];
    let naming = tagged(config::HostPart::None, false);
    let (lines, warnings) = lines_of(&[table(TableKind::BackendServer, &rows)], &naming, "h");
    assert_eq!(
        lines,
        "lb.haproxy.server.m;backend=a.b;server=c 1 17\n\
         lb.haproxy.server.m;backend=a;server=b.c 3 17\n\
         lb.haproxy.server.m;backend=_;server=c 6 17\n\
         lb.haproxy.server.m;backend=a_b;server=c 11 17\n"
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

/// A receiver of tags, and one of another kind, gets the names that a path makes one.
#[test]
fn a_warning_about_names_is_for_the_forms_that_are_in_use() {
    let long = "x".repeat(260);
    let rows: [&[&str]; 5] = [&["a.b"], &["a_b"], &["c;d"], &["c d"], &[&long]];
    let table = table(TableKind::Backend, &rows);
    let subjects = |parts, tag_values| {
        let forms = NameForms { parts, tag_values };
        let (counts, warnings) = count_lines(std::slice::from_ref(&table), forms);
        let subjects = warnings.into_iter().map(|warning| (warning.state, warning.subject));
        (
            counts.total(),
            subjects
                .filter(|(state, _)| *state == "names")
                .map(|(_, name)| name)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(subjects(false, false), (3, vec![]));
    assert_eq!(subjects(true, false), (3, vec!["a_b".to_owned(), "c_d".to_owned()]));
    assert_eq!(subjects(false, true), (3, vec!["c_d".to_owned()]));
    let tags = tagged(config::HostPart::None, false);
    let both = NameForms::default().with(&naming(None)).with(&tags);
    assert_eq!(both, NameForms { parts: true, tag_values: true });
}

#[test]
fn a_long_value_is_shortened_at_a_character() {
    let long = "\u{e9}".repeat(126);
    let rows: [&[&str]; 1] = [&[&long]];
    let naming = tagged(config::HostPart::None, false);
    let (lines, warnings) = lines_of(&[table(TableKind::Frontend, &rows)], &naming, "h");
    let value = lines.strip_prefix("lb.haproxy.frontend.m;frontend=").unwrap();
    let value = value.strip_suffix(" 1 17\n").unwrap();
    assert!(value.starts_with(&"\u{e9}".repeat(116)) && value.len() == 249, "{value}");
    assert_eq!(warnings.len(), 1);
}

proptest! {
    /// carbon reads each line as three fields, with the same tags for all rows of a kind, in the
    /// order of the alphabet, and no series comes twice. A name that carbon takes is the value.
    #[test]
    fn carbon_reads_each_line(
        rows in proptest::collection::vec((any::<String>(), any::<String>()), 1..20),
        origin in any::<String>(),
    ) {
        let rows: Vec<[&str; 2]> = rows.iter().map(|(a, b)| [a.as_str(), b.as_str()]).collect();
        let rows: Vec<&[&str]> = rows.iter().map(<[&str; 2]>::as_slice).collect();
        let table = table(TableKind::BackendServer, &rows);
        let paths = crate::graphite::Paths::new(&tagged(config::HostPart::Full, false)).unwrap();
        let id = SnapshotId { origin, timestamp: Timestamp::of_seconds(17), ..id("") };
        let mut text = Vec::new();
        crate::graphite::encode(&[table], &paths, &id, &mut text);
        let text = String::from_utf8(text).unwrap();
        let mut series = Vec::new();
        let mut sum = 0;
        for line in text.lines() {
            let [path, value, time]: [&str; 3] =
                line.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
            let (name, tags) = path.split_once(';').unwrap();
            prop_assert_eq!((name, time), ("lb.haproxy.server.m", "17"));
            let tags: Vec<_> = tags.split(';').map(|tag| tag.split_once('=').unwrap()).collect();
            let names: Vec<_> = tags.iter().map(|(name, _)| *name).collect();
            prop_assert_eq!(names, ["backend", "host", "server"]);
            for (_, value) in &tags {
                prop_assert!(!value.is_empty() && !value.starts_with('~') && value.len() <= 250);
            }
            series.push(path);
            sum += value.parse::<usize>().unwrap();
        }
        prop_assert_eq!(sum, rows.len() * (rows.len() + 1) / 2);
        let count = series.len();
        series.sort_unstable();
        series.dedup();
        prop_assert_eq!(series.len(), count);
    }
}
