//! The stages from bytes to folded columns: index, cells, codes, fold.
//!
//! Each runs on a real answer of HAProxy 2.6 with eight servers, and on an answer of 2,000 servers
//! that is made of its rows.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin should say so and end")]

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use haproxystats_fold::stages::{self, Reader};

const PROCESSES: usize = 4;
const SERVERS: usize = 2_000;

fn real() -> String {
    let dumps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/dumps");
    fs::read_to_string(dumps.join("haproxy-2.6.12/sock1.show_stat.txt")).unwrap()
}

/// The real answer's servers again and again, ten to a backend, under new names.
fn generated(real: &str) -> String {
    let (header, rows) = real.split_once('\n').unwrap();
    let servers: Vec<&str> = rows.lines().filter(|row| is_server(header, row)).collect();
    let mut text = format!("{header}\n");
    for number in 0..SERVERS {
        let row = servers[number % servers.len()];
        let tail = row.splitn(3, ',').nth(2).unwrap();
        text.push_str(&format!("backend{:04},server{:02},{tail}\n", number / 10, number % 10));
    }
    text
}

fn is_server(header: &str, row: &str) -> bool {
    let kind = header.split(',').position(|name| name == "type").unwrap();
    row.split(',').nth(kind) == Some("2")
}

fn keys(text: &str) -> Vec<Vec<u8>> {
    let rows = text.lines().skip(1).filter(|row| !row.is_empty());
    let key = |row: &str| row.splitn(3, ',').take(2).collect::<Vec<_>>().join(",").into_bytes();
    rows.map(key).collect()
}

fn stages(criterion: &mut Criterion) {
    let real = real();
    for (name, text) in [("real", real.clone()), ("generated", generated(&real))] {
        let bytes = text.as_bytes();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("index", |bencher| {
            bencher.iter(|| stages::index(black_box(bytes)));
        });
        let mut reader = Reader::default();
        group.bench_function("cells", |bencher| {
            bencher.iter(|| reader.read(&[black_box(bytes)]));
        });
        let keys = keys(&text);
        group.throughput(Throughput::Elements((keys.len() * PROCESSES) as u64));
        group.bench_function("codes", |bencher| {
            bencher.iter(|| stages::codes(black_box(&keys), PROCESSES));
        });
        let read = reader.read(&[bytes; PROCESSES]);
        group.bench_function("fold", |bencher| {
            bencher.iter_batched(|| read.clone(), stages::fold, BatchSize::LargeInput);
        });
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
