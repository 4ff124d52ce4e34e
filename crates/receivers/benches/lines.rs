//! The stages after the fold: tables to their form and back, tables to lines.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin should say so and end")]

use std::hint::black_box;
use std::io::{BufRead, Read, Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use haproxystats_receivers::RowEncoder;
use haproxystats_receivers::graphite::{Encoder, NameForms, Paths, count_lines};
use haproxystats_receivers::influxdb::{InfluxLines, Precision, Schema};
use model::form::{self, Reader};
use model::{
    Batch, BatchCursor, Column, Fold, Integers, Names, Nature, SnapshotId, Table, TableKind,
    Timestamp, Values,
};

const SERVERS: usize = 2_000;
const COLUMNS: usize = 30;

/// Counters and means of servers, with values of one to ten digits.
fn batch() -> Batch {
    let mut random = fastrand::Rng::with_seed(1);
    let mut names = Names::new(&TableKind::BackendServer);
    for number in 0..SERVERS {
        names.push(&[&format!("backend{:04}", number / 10), &format!("server{:02}", number % 10)]);
    }
    let columns = (0..COLUMNS).map(|column| {
        let name = format!("metric{column}");
        if column % 10 == 0 {
            let means = (0..SERVERS).map(|_| Some((i128::from(random.u32(..9_000)), 8)));
            return Column::means(name, Nature::Average, Some(Fold::Mean), means);
        }
        let value = |_| 10_i64.pow(random.u32(..10)) / 3;
        let values = Integers::Narrow((0..SERVERS).map(value).collect());
        Column::new(name, Nature::Counter, Some(Fold::Sum), Values::Integers(values))
    });
    let columns = columns.collect();
    let timestamp = Timestamp::of_seconds(1_700_000_000);
    let id = SnapshotId { origin: "lb1".to_owned(), timestamp, serial: 0 };
    Batch { id, tables: vec![Table { kind: TableKind::BackendServer, names, columns }] }
}

fn paths() -> Paths {
    let naming = config::Naming {
        namespace: "loadbalancers".to_owned(),
        host: config::HostPart::Short,
        groups: None,
        tags: false,
        max_line: Some(16_384),
    };
    Paths::new(&naming).unwrap()
}

fn lines(criterion: &mut Criterion) {
    let (batch, paths) = (batch(), paths());
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(
        count_lines(&batch.tables, NameForms::default()).0.total(),
    ));
    group.bench_function("format", |bencher| {
        bencher.iter(|| {
            let cursor = BatchCursor::new(black_box(&batch));
            let mut encoder = Encoder::new(&paths, &batch.id, cursor).unwrap();
            while let length @ 1.. = black_box(encoder.fill_buf().unwrap()).len() {
                encoder.consume(length);
            }
        });
    });
    let schema = Schema::plain(Precision::Seconds);
    let influx = || {
        let format = InfluxLines::new(&schema, &batch.id);
        RowEncoder::new(BatchCursor::new(black_box(&batch)), format).unwrap()
    };
    group.bench_function("format for InfluxDB", |bencher| {
        bencher.iter(|| {
            let mut encoder = influx();
            while let length @ 1.. = black_box(encoder.fill_buf().unwrap()).len() {
                encoder.consume(length);
            }
        });
    });
    let mut text = Vec::new();
    influx().read_to_end(&mut text).unwrap();
    group.bench_function("compress for InfluxDB", |bencher| {
        bencher.iter(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(black_box(&text)).unwrap();
            encoder.finish().unwrap().len()
        });
    });
    let mut bytes = Vec::new();
    form::write(&batch, &mut bytes).unwrap();
    group.bench_function("write form", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            form::write(black_box(&batch), &mut bytes).unwrap();
            bytes.len()
        });
    });
    group.bench_function("read form", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new(black_box(bytes.as_slice())).unwrap();
            while reader.advance().unwrap() {
                black_box(reader.current());
            }
        });
    });
    group.bench_function("format from form", |bencher| {
        bencher.iter(|| {
            let reader = Reader::new(std::io::Cursor::new(black_box(&bytes))).unwrap();
            let mut encoder = Encoder::new(&paths, &batch.id, reader).unwrap();
            while let length @ 1.. = black_box(encoder.fill_buf().unwrap()).len() {
                encoder.consume(length);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
