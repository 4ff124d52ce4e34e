//! The stages behind the fold: columns to lines, lines to a file of the outbox.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin should say so and end")]

use std::hint::black_box;
use std::io::BufRead;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use haproxystats_receivers::plaintext::{BatchLines, Paths};
use haproxystats_receivers::{Lines, outbox};
use model::section::{Batch, Column, Names, Part, Section, Subject, Values};

const SERVERS: usize = 2_000;
const COLUMNS: usize = 30;

/// Counters and means of servers, with values of one to ten digits.
fn batch() -> Batch {
    let mut random = fastrand::Rng::with_seed(1);
    let mut names = Names::default();
    for number in 0..SERVERS {
        names.push(&format!("backend{:04}", number / 10), &format!("server{:02}", number % 10));
    }
    let columns = (0..COLUMNS).map(|column| {
        let name = format!("metric{column}");
        if column % 10 == 0 {
            let means = (0..SERVERS).map(|_| Some(f64::from(random.u32(..9_000)) / 8.0));
            return Column::decimals(name, means);
        }
        let value = |_| 10_i64.pow(random.u32(..10)) / 3;
        Column::full(name, Values::Integers((0..SERVERS).map(value).collect()))
    });
    let columns = columns.collect();
    let section = Section { subject: Subject::BackendServer, part: Part::Server, names, columns };
    Batch { timestamp: "1700000000".to_owned(), sections: vec![section] }
}

fn paths() -> Paths {
    let naming = config::Naming {
        namespace: "loadbalancers".to_owned(),
        host: config::HostPart::Short,
        groups: None,
    };
    Paths::new(&naming, "lb1").unwrap()
}

fn lines(criterion: &mut Criterion) {
    let (batch, paths) = (batch(), paths());
    let lines = BatchLines::new(&batch, &paths);
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(lines.count()));
    group.bench_function("format", |bencher| {
        bencher.iter(|| {
            let mut pieces = lines.open().unwrap();
            while let length @ 1.. = black_box(pieces.fill_buf().unwrap()).len() {
                pieces.consume(length);
            }
        });
    });
    group.bench_function("outbox append", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().unwrap(),
            |folder| {
                let stored =
                    outbox::append(folder.path(), "1700000000", lines.count(), &lines, false);
                stored.unwrap();
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
