//! Any batch reads back, and any damage to its bytes is found.

use std::io::{Cursor as Bytes, Write};
use std::sync::Arc;

use proptest::prelude::ProptestConfig;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Error, FileView, GROUP_BYTES, GROUP_MAX_BYTES, Place, Reader, VERSION, write};
use crate::{
    Batch, Column, Cursor, Fold, Integers, Layout, Names, Nature, SnapshotId, Table, TableKind,
    Timestamp, Values,
};

fn id() -> SnapshotId {
    let timestamp = Timestamp::of_seconds(1_700_000_000);
    SnapshotId { origin: "lb1.example.com".into(), timestamp, serial: 0xfeed }
}

fn bytes_of(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(batch, &mut bytes).unwrap();
    bytes
}

/// All groups, or the first error.
fn groups(bytes: &[u8]) -> Result<Vec<Table>, Error> {
    let mut reader = Reader::new(bytes)?;
    let mut tables = Vec::new();
    while reader.advance()? {
        tables.extend(reader.current().cloned());
    }
    Ok(tables)
}

/// Every value that is present, with its table, names and column.
fn points(tables: &[Table]) -> Vec<String> {
    let mut points = Vec::new();
    for table in tables {
        for row in 0..table.names.len() {
            let names: Vec<_> = table.names.row(row).collect();
            for column in &table.columns {
                if let Some(value) = column.get(row) {
                    let Column { name, nature, fold, .. } = column;
                    let kind = &table.kind;
                    points.push(format!("{kind:?} {names:?} {name} {nature:?} {fold:?} {value:?}"));
                }
            }
        }
    }
    points
}

fn fold() -> impl Strategy<Value = Option<Fold>> {
    prop_oneof![
        Just(None),
        Just(Some(Fold::Sum)),
        Just(Some(Fold::Mean)),
        Just(Some(Fold::MeanWithTraffic)),
        Just(Some(Fold::Largest)),
        Just(Some(Fold::Smallest)),
    ]
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![Just(Nature::Counter), Just(Nature::Gauge), Just(Nature::Age), Just(Nature::Other)]
}

fn integers(rows: usize) -> impl Strategy<Value = Integers> {
    let narrow = (proptest::collection::vec(any::<i64>(), rows), 0..64_u32);
    prop_oneof![
        3 => narrow.prop_map(|(values, by)| {
            Integers::Narrow(values.into_iter().map(|value| value >> by).collect())
        }),
        1 => proptest::collection::vec(any::<i128>(), rows).prop_map(Integers::Wide),
    ]
}

fn values(rows: usize) -> impl Strategy<Value = Values> {
    let finite = any::<f64>().prop_map(|value| if value.is_finite() { value } else { 0.5 });
    let counts = proptest::collection::vec(1..=u32::MAX, rows);
    prop_oneof![
        integers(rows).prop_map(Values::Integers),
        (integers(rows), counts).prop_map(|(sums, counts)| Values::Means { sums, counts }),
        proptest::collection::vec(finite, rows).prop_map(Values::Decimals),
        proptest::collection::vec(any::<u64>(), rows).prop_map(Values::Milliseconds),
        proptest::collection::vec("[A-Z ]{0,8}|\u{fc}", rows)
            .prop_map(|states| { Values::States(states.iter().map(String::as_str).collect()) }),
        proptest::collection::vec("-?(0|[1-9][0-9]{0,20})([.][0-9]{1,20})?(e-?[0-9])?", rows)
            .prop_map(|numbers| Values::Numbers(numbers.iter().map(String::as_str).collect())),
    ]
}

fn column(rows: usize) -> impl Strategy<Value = Column> {
    let present = proptest::option::of(proptest::collection::vec(any::<bool>(), rows));
    ("[a-z_]{1,40}", nature(), fold(), values(rows), present).prop_map(
        |(name, nature, fold, values, present)| Column { name, nature, fold, values, present },
    )
}

fn other() -> TableKind {
    TableKind::Other(Arc::new(Layout::new("uwsgi", &["source", "id"], "uwsgi.{0}.workers.{1}")))
}

fn table() -> impl Strategy<Value = Table> {
    let kind = (0..=TableKind::ALL.len())
        .prop_map(|kind| TableKind::ALL.get(kind).cloned().unwrap_or_else(other));
    (kind, 0..40_usize).prop_flat_map(|(kind, rows)| {
        let name = proptest::collection::vec(".{0,12}", kind.labels());
        let of_names = kind.clone();
        let names = proptest::collection::vec(name, rows).prop_map(move |rows| {
            let mut names = Names::new(&of_names);
            for row in rows {
                names.push(&row.iter().map(String::as_str).collect::<Vec<_>>());
            }
            names
        });
        let columns = proptest::collection::vec(column(rows), 0..6);
        (names, columns).prop_map(move |(names, columns)| Table {
            kind: kind.clone(),
            names,
            columns,
        })
    })
}

fn batch() -> impl Strategy<Value = Batch> {
    proptest::collection::vec(table(), 0..5).prop_map(|tables| Batch { id: id(), tables })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any batch reads back, value by value.
    #[test]
    fn any_batch_reads_back(batch in batch()) {
        let bytes = bytes_of(&batch);
        let read = groups(&bytes).unwrap();
        prop_assert_eq!(points(&read), points(&batch.tables));
        let header = Reader::new(bytes.as_slice()).unwrap().header().clone();
        prop_assert_eq!((header.id, header.points), (batch.id.clone(), batch.points()));
    }

    /// A bit that is flipped anywhere is found.
    #[test]
    fn any_flipped_bit_is_found(batch in batch(), at in any::<proptest::sample::Index>()) {
        let mut bytes = bytes_of(&batch);
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let found = groups(&bytes);
        prop_assert!(matches!(found, Err(Error::Damaged { .. })), "{:?}", found);
    }

    /// A batch that is cut anywhere is found.
    #[test]
    fn any_cut_is_found(batch in batch(), at in any::<proptest::sample::Index>()) {
        let bytes = bytes_of(&batch);
        let found = groups(&bytes[..at.index(bytes.len())]);
        prop_assert!(matches!(found, Err(Error::Truncated { .. })), "{:?}", found);
    }

    /// Damaged bodies with the right checksum are read or refused, without a panic.
    #[test]
    fn any_body_is_read_or_refused(
        batch in batch(),
        noise in proptest::collection::vec(any::<(u16, u8)>(), 1..9),
    ) {
        for table in batch.tables.iter().filter(|table| !table.names.is_empty()) {
            let mut body = Vec::new();
            super::group::write(table, 0, table.names.len(), &mut body);
            for (at, byte) in &noise {
                let at = usize::from(*at) % body.len();
                body[at] = *byte;
            }
            if let Ok(table) = super::group::read(&body) {
                let rows = table.names.len();
                prop_assert!(table.columns.iter().all(|column| column.values.len() == rows));
            }
        }
    }
}

fn small() -> Batch {
    let mut names = Names::new(&TableKind::BackendServer);
    names.push(&["be.1", "s1"]);
    names.push(&["be.1", "s2"]);
    let columns = vec![
        Column::integers("stot", Nature::Counter, Some(Fold::Sum), [Some(300), Some(-1)]),
        Column::means("qtime", Nature::Average, Some(Fold::Mean), [None, Some((7, 2))]),
    ];
    let table = Table { kind: TableKind::BackendServer, names, columns };
    Batch { id: id(), tables: vec![table] }
}

/// The bytes of version 1: a change here is a new version.
#[test]
fn the_bytes_of_a_small_batch_are_these() {
    let json = [
        &br#"{"id":{"origin":"lb1.example.com","timestamp":"1700000000","serial":65261},"#[..],
        br#""points":3,"groups":1}"#,
    ]
    .concat();
    let body = [
        &b"\x05\x02\0\0\0\x02\0\0\0"[..],
        b"\x0c\0\0\0\x04\0\0\0\x06\0\0\0\x0a\0\0\0\x0c\0\0\0be.1s1be.1s2",
        b"\x04stot\0\x01\0\0\x02\x2c\x01\xff\xff",
        b"\x05qtime\x05\x02\x01\x02\x01\x01\0\x07\0\0\0\0\x02\0\0\0",
    ]
    .concat();
    let mut expected = b"HPSTATS\n\x01\0\0\0\x61\0\0\0".to_vec();
    expected.extend(b"\xbd\xd0\xbb\x9a\x19\x3c\x53\xa9");
    expected.extend(json);
    expected.extend(b"\x4d\0\0\0\x27\xc0\x19\xd5\xb8\xd3\x1b\x93");
    expected.extend(&body);
    let bytes = bytes_of(&small());
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(points(&groups(&expected).unwrap()), points(&small().tables));
}

/// The bytes of version 2: a change here is a new version.
#[test]
fn the_bytes_of_a_table_with_a_layout_are_these() {
    let mut names = Names::new(&other());
    names.push(&["shop", "1"]);
    let columns = vec![Column::integers("tx", Nature::Counter, Some(Fold::Sum), [Some(7)])];
    let table = Table { kind: other(), names, columns };
    let bytes = bytes_of(&Batch { id: id(), tables: vec![table.clone()] });
    assert_eq!(bytes[8..12], 2_u32.to_le_bytes());
    let layout = [
        &br#"{"measurement":"uwsgi","labels":["source","id"],"#[..],
        br#""path":[{"text":"uwsgi"},{"label":0},{"text":"workers"},{"label":1}]}"#,
    ]
    .concat();
    let body = [
        &b"\x08\x75\0\0\0"[..],
        &layout,
        b"\x01\0\0\0\x01\0\0\0\x05\0\0\0\x04\0\0\0\x05\0\0\0shop1\x02tx\0\x01\0\0\x01\x07",
    ]
    .concat();
    assert!(bytes.ends_with(&body), "{}\n{}", bytes.escape_ascii(), body.escape_ascii());
    assert_eq!(groups(&bytes).unwrap(), [table]);
}

fn of_numbers(texts: [&str; 2]) -> Batch {
    let mut names = Names::new(&TableKind::Process);
    ["1", "2"].iter().for_each(|name| names.push(&[name]));
    let values = Values::Numbers(texts.into_iter().collect());
    let column = Column::new("load", Nature::Gauge, None, values);
    let table = Table { kind: TableKind::Process, names, columns: vec![column] };
    Batch { id: id(), tables: vec![table] }
}

/// The bytes of version 2: a change here is a new version.
#[test]
fn the_bytes_of_numbers_in_their_own_text_are_these() {
    let batch = of_numbers(["0.10", "-1"]);
    let bytes = bytes_of(&batch);
    assert_eq!(bytes[8..12], 2_u32.to_le_bytes());
    let column = b"\x04load\x01\0\0\x05\x06\0\0\0\x04\0\0\0\x06\0\0\x000.10-1";
    assert!(bytes.ends_with(column), "{}", bytes.escape_ascii());
    assert_eq!(groups(&bytes).unwrap(), batch.tables);
}

#[test]
fn a_text_that_is_no_number_is_refused() {
    for text in ["1i", "NaN", "1 2\n", ""] {
        let error = groups(&bytes_of(&of_numbers(["1", text]))).unwrap_err();
        assert!(error.to_string().ends_with("a value is no number"), "{error}");
    }
}

#[test]
fn a_bare_layout_says_so_and_another_has_no_word_about_it() {
    for is_bare in [true, false] {
        let layout = Layout { is_bare, ..Layout::new("deployments", &["process"], "zope.{0}") };
        let kind = TableKind::Other(Arc::new(layout));
        let mut names = Names::new(&kind);
        names.push(&["i1"]);
        let columns = vec![Column::integers("a.b", Nature::Gauge, None, [Some(1)])];
        let table = Table { kind, names, columns };
        let bytes = bytes_of(&Batch { id: id(), tables: vec![table.clone()] });
        assert_eq!(bytes.escape_ascii().to_string().contains("is_bare"), is_bare);
        assert_eq!(groups(&bytes).unwrap(), [table]);
    }
}

#[test]
fn a_layout_that_is_not_sound_is_not_written() {
    let kind = TableKind::Other(Arc::new(Layout::new("uwsgi", &[], "uwsgi.{0}")));
    let table = Table::of_one_row(kind, vec![]);
    let error = write(&Batch { id: id(), tables: vec![table] }, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the layout of \"uwsgi\" is not sound");
}

fn large() -> Batch {
    let rows = 30_000;
    let mut names = Names::new(&TableKind::BackendServer);
    (0..rows).for_each(|row| names.push(&[&format!("backend{}", row / 10), &format!("s{row}")]));
    let values = |column: i64| (0..rows).map(move |row| Some(i128::from(row << column)));
    let column = |number| {
        Column::integers(format!("m{number}"), Nature::Counter, Some(Fold::Sum), values(number))
    };
    let columns = (0..30).map(column).collect();
    Batch { id: id(), tables: vec![Table { kind: TableKind::BackendServer, names, columns }] }
}

#[test]
fn a_large_table_comes_in_groups_of_bounded_size() {
    let batch = large();
    let bytes = bytes_of(&batch);
    let read = groups(&bytes).unwrap();
    assert!(read.len() > 5, "{}", read.len());
    assert!(points(&read) == points(&batch.tables));
    let most = read.iter().map(|table| table.points() * 8).max().unwrap();
    assert!((GROUP_BYTES / 2..GROUP_BYTES).contains(&most), "{most}");
}

#[test]
fn a_row_that_no_group_can_hold_is_not_written() {
    let mut names = Names::new(&TableKind::Frontend);
    names.push(&["a"]);
    names.push(&["b".repeat(GROUP_MAX_BYTES).as_str()]);
    let table = Table { kind: TableKind::Frontend, names, columns: vec![] };
    let error = write(&Batch { id: id(), tables: vec![table] }, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "a row takes more than a row group may");
}

#[test]
fn faults_say_where_and_what_to_do() {
    let bytes = bytes_of(&small());
    let fault = |bytes: &[u8]| groups(bytes).unwrap_err().to_string();
    assert_eq!(fault(&bytes[..4]), "the batch ends in its header: it was cut");
    assert_eq!(fault(&bytes[..bytes.len() - 1]), "the batch ends in row group 1 of 1: it was cut");
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(
        fault(&longer),
        "the batch is damaged in what follows its last row group: there are more bytes"
    );
    let mut newer = bytes.clone();
    newer[8] = 3;
    let crc = crc32fast::hash(&newer[..20]).to_le_bytes();
    newer[20..24].copy_from_slice(&crc);
    assert_eq!(VERSION, 2);
    assert_eq!(
        fault(&newer),
        "the batch has form 3 and this program reads up to form 2: run the newer \
         haproxystats-process that wrote it, or move it away"
    );
    assert!(fault(b"\x1f\x8b\x08 some gzip, long enough").contains("does not begin as a batch"));
}

#[test]
fn groups_that_were_swapped_are_found() {
    let bytes = bytes_of(&large());
    let begin = 24 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let length =
        |at: usize| 12 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let second = begin + length(begin);
    let third = second + length(second);
    let swapped =
        [&bytes[..begin], &bytes[second..third], &bytes[begin..second], &bytes[third..]].concat();
    let error = groups(&swapped).unwrap_err();
    assert!(matches!(error, Error::Damaged { place: Place::Group { number: 1, .. }, .. }));
}

#[test]
fn a_reader_goes_back_as_often_as_wanted() {
    let bytes = bytes_of(&small());
    let mut reader = Reader::new(Bytes::new(&bytes)).unwrap();
    for _ in 0..3 {
        assert!(reader.advance().unwrap() && reader.current().is_some());
        assert!(!reader.advance().unwrap() && reader.current().is_none());
        reader.rewind().unwrap();
    }
}

#[test]
fn views_of_one_file_do_not_move_each_other() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes_of(&small())).unwrap();
    let mut readers = [&file, &file].map(|file| Reader::new(FileView::new(file)).unwrap());
    for reader in &mut readers {
        assert!(reader.advance().unwrap());
    }
    for reader in &mut readers {
        assert!(!reader.advance().unwrap());
        reader.rewind().unwrap();
        assert!(reader.advance().unwrap());
    }
}
