//! The cost of each receiver beside Graphite: what its send child takes for a snapshot, and how
//! many bytes it sends.
//!
//! Graphite is in each run, because its lines are the floor's. InfluxDB is a server that reads and
//! answers, Kafka a real broker; both are other processes or threads of this one, so their CPU is
//! not counted.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::http::{Answer, Server};
use testbed::kafka::Broker;

use super::generator::{Columns, MID};
use super::process::{Process, children_by_name, cpu_so_far};
use super::receiver::Receiver;
use super::report::{Table, bytes, milliseconds, ratio};
use super::run::{Program, drain, run_floor, settle};
use super::sizes::FLOOR_TIMES;
use super::stage::{ExtraOptions, FIRST, Stage};
use super::statistics::{median, slope};
use crate::{Failure, find_program};

/// The lengths of a short and a long run.
const SNAPSHOTS: (usize, usize) = (10, 110);
/// A full spool makes batches wait in the outbox; they leave it as fast as they can.
const UNBOUNDED: &str = "replay-rate = 0\n";
/// What each receiver may take beside Graphite, in floors.
const BAR: f64 = 1.5;

/// A receiver, or a way to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Graphite,
    InfluxDb,
    Kafka,
    LocalStore,
}

/// The receivers of a run beside Graphite.
struct Case {
    name: &'static str,
    /// Options of `[graphite]`.
    graphite: &'static str,
    /// Each with its options.
    receivers: &'static [(Kind, &'static str)],
}

const INFLUXDB: (Kind, &str) = (Kind::InfluxDb, "gzip = false\n");
const KAFKA: (Kind, &str) = (Kind::Kafka, "compression = none\n");
const LOCAL_STORE: (Kind, &str) = (Kind::LocalStore, "");

const fn case(name: &'static str, receivers: &'static [(Kind, &'static str)]) -> Case {
    Case { name, graphite: "", receivers }
}

const CASES: [Case; 9] = [
    case("graphite", &[]),
    Case { name: "graphite, tags", graphite: "tags = true\n", receivers: &[] },
    case("influxdb", &[INFLUXDB]),
    case("influxdb, gzip", &[(Kind::InfluxDb, "gzip = true\n")]),
    case("kafka, influx", &[KAFKA]),
    case("kafka, influx, zstd", &[(Kind::Kafka, "compression = zstd\n")]),
    case("kafka, json", &[(Kind::Kafka, "compression = none\nformat = json\n")]),
    case("local-store", &[LOCAL_STORE]),
    case("influxdb, kafka and local-store", &[INFLUXDB, KAFKA, LOCAL_STORE]),
];

/// The other ends.
struct Peers {
    influxdb: Server,
    kafka: Option<Broker>,
    /// The number of topics so far; each run has its own.
    topics: usize,
}

/// One run.
struct Outcome {
    /// The CPU in milliseconds of the whole program and of each of its children by name.
    total: f64,
    children: Vec<(String, f64)>,
    /// Bytes that each receiver got.
    bytes: Vec<(Kind, f64)>,
}

/// One row, with the figures of each turn.
struct Row {
    case: &'static Case,
    total: Vec<f64>,
    sends: Vec<(Kind, Vec<f64>)>,
    bytes: Vec<(Kind, f64)>,
    floor: Vec<f64>,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Graphite => "graphite",
            Self::InfluxDb => "influxdb",
            Self::Kafka => "kafka",
            Self::LocalStore => "local-store",
        }
    }
}

impl Peers {
    fn start(stage: &Stage) -> Result<Self, Failure> {
        let influxdb = Server::start(Answer::status(204));
        let influxdb = influxdb.map_err(|error| format!("the server of InfluxDB: {error}"))?;
        let kafka = match find_program("kafka-broker") {
            None => {
                eprintln!("kafka: skipped, there is no kafka-broker; cargo xtask test installs it");
                None
            }
            Some(program) => {
                let folder = stage.path.join("broker");
                let made = fs::create_dir(&folder);
                let started =
                    made.and_then(|()| Broker::start(&program.to_string_lossy(), &folder, ""));
                Some(started.map_err(|error| format!("the broker: {error}"))?)
            }
        };
        Ok(Self { influxdb, kafka, topics: 0 })
    }

    fn has(&self, kind: Kind) -> bool {
        kind != Kind::Kafka || self.kafka.is_some()
    }

    fn topic(&self) -> String {
        format!("bench-{}", self.topics)
    }

    /// The section of a receiver.
    fn section(&self, stage: &Stage, kind: Kind, options: &str) -> String {
        let own = match kind {
            Kind::Graphite => return String::new(),
            Kind::InfluxDb => format!("url = {}\ndatabase = bench\n", self.influxdb.url()),
            Kind::Kafka => {
                let address = self.kafka.as_ref().map(Broker::address).unwrap_or_default();
                format!("brokers = {address}\ntopic = {}\n", self.topic())
            }
            Kind::LocalStore => format!("dir = {}\n", store(stage).display()),
        };
        format!("[{}]\n{UNBOUNDED}{own}{options}", kind.name())
    }

    /// Bytes that a receiver has got in this run.
    fn received(&self, stage: &Stage, kind: Kind, snapshots: usize) -> Result<u64, Failure> {
        Ok(match kind {
            Kind::Graphite => 0,
            Kind::InfluxDb => {
                let requests = self.influxdb.requests();
                requests.iter().map(|request| request.body.len() as u64).sum()
            }
            Kind::Kafka => match &self.kafka {
                None => 0,
                Some(broker) => {
                    let log = broker.log_of(&self.topic(), 0);
                    log.map_err(|error| format!("the broker's log: {error}"))?.len() as u64
                }
            },
            Kind::LocalStore => {
                let mut bytes = 0;
                for second in (FIRST..).take(snapshots) {
                    let file = store(stage).join(second.to_string()).join("stats");
                    let metadata = fs::metadata(&file);
                    bytes +=
                        metadata.map_err(|error| format!("{}: {error}", file.display()))?.len();
                }
                bytes
            }
        })
    }
}

fn store(stage: &Stage) -> PathBuf {
    stage.path.join("local-store")
}

/// Measures all cases, one after the other within a turn.
pub(crate) fn run(
    program: &Program,
    stage: &Stage,
    turns: usize,
    quick: bool,
) -> Result<(Table, Value), Failure> {
    stage.generate(MID, Columns::V18)?;
    let mut peers = Peers::start(stage)?;
    let (short, long) = if quick { (2, 6) } else { SNAPSHOTS };
    let possible =
        CASES.iter().filter(|case| case.receivers.iter().all(|(kind, _)| peers.has(*kind)));
    let mut rows: Vec<Row> = possible.map(Row::new).collect();
    for turn in 1..=turns {
        for row in &mut rows {
            eprintln!("{}: turn {turn} of {turns}", row.case.name);
            let low = measure(program, stage, &mut peers, row.case, short)?;
            let high = measure(program, stage, &mut peers, row.case, long)?;
            row.add((short, &low), (long, &high));
            let output = row.bytes_of(Kind::Graphite) as u64;
            let floor = |snapshots| {
                Ok::<_, Failure>((snapshots, run_floor(stage, snapshots, output)?.total()))
            };
            row.floor.push(slope(floor(short)?, floor(long * FLOOR_TIMES)?));
        }
    }
    let mut table = table(&rows);
    if peers.kafka.is_none() {
        table.note("Kafka was not measured: there was no kafka-broker.");
    }
    Ok((table, Value::Array(rows.iter().map(Row::json).collect())))
}

fn measure(
    program: &Program,
    stage: &Stage,
    peers: &mut Peers,
    case: &Case,
    snapshots: usize,
) -> Result<Outcome, Failure> {
    stage.fill(snapshots)?;
    super::stage::clear(&store(stage))?;
    peers.topics += 1;
    peers.influxdb = Server::start(Answer::status(204))
        .map_err(|error| format!("the server of InfluxDB: {error}"))?;
    let receiver = Receiver::start()?;
    let mut text = format!("{UNBOUNDED}{}", case.graphite);
    for (kind, options) in case.receivers {
        text.push_str(&peers.section(stage, *kind, options));
    }
    let extra = ExtraOptions { process: "", graphite: &text };
    let config = stage.configure(1, receiver.port, extra)?;
    let mut process = Process::start(&mut program.command(&config), &stage.log())?;
    let mut arrivals = drain(stage, &mut process, &receiver)?;
    settle(stage, &mut process)?;
    let pid = process.pid();
    let mut children = Vec::new();
    for (child, name) in children_by_name(pid) {
        let cpu = cpu_so_far(child).ok_or_else(|| process.failure(&format!("{name} has ended")))?;
        children.push((name, cpu));
    }
    let mut received = Vec::new();
    for (kind, _) in case.receivers {
        let bytes = peers.received(stage, *kind, snapshots)?;
        if bytes == 0 {
            return Err(process.failure(&format!("{} got nothing", kind.name())));
        }
        received.push((*kind, bytes as f64));
    }
    let total = process.terminate(pid)?.total();
    arrivals.extend(receiver.finish()?);
    let last = FIRST + snapshots as u64;
    let ours = arrivals.iter().filter(|it| it.stamp.is_some_and(|stamp| stamp < last));
    received.insert(0, (Kind::Graphite, ours.map(|arrival| arrival.bytes as f64).sum()));
    let outcome = Outcome { total, children, bytes: received };
    for (kind, _) in &outcome.bytes {
        if outcome.send_of(*kind) <= 0.0 {
            return Err(format!("no process was seen that sends to {}", kind.name()));
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn send_of(&self, kind: Kind) -> f64 {
        let wanted = format!("haproxystats-send-{}", kind.name());
        self.children.iter().filter(|(name, _)| *name == wanted).map(|(_, cpu)| cpu).sum()
    }

    fn bytes_of(&self, kind: Kind) -> f64 {
        let found = self.bytes.iter().find(|(known, _)| *known == kind);
        found.map_or(0.0, |(_, bytes)| *bytes)
    }
}

impl Row {
    fn new(case: &'static Case) -> Self {
        let kinds = || std::iter::once(Kind::Graphite).chain(case.receivers.iter().map(|it| it.0));
        Self {
            case,
            total: Vec::new(),
            sends: kinds().map(|kind| (kind, Vec::new())).collect(),
            bytes: kinds().map(|kind| (kind, 0.0)).collect(),
            floor: Vec::new(),
        }
    }

    fn add(&mut self, low: (usize, &Outcome), high: (usize, &Outcome)) {
        let of =
            |part: &dyn Fn(&Outcome) -> f64| slope((low.0, part(low.1)), (high.0, part(high.1)));
        self.total.push(of(&|outcome| outcome.total));
        for (kind, sends) in &mut self.sends {
            sends.push(of(&|outcome| outcome.send_of(*kind)));
        }
        for (kind, bytes) in &mut self.bytes {
            *bytes = of(&|outcome| outcome.bytes_of(*kind));
        }
    }

    fn bytes_of(&self, kind: Kind) -> f64 {
        self.bytes.iter().find(|(known, _)| *known == kind).map_or(0.0, |(_, bytes)| *bytes)
    }

    /// The CPU of the send children beside Graphite's in each turn, in floors of that turn.
    fn beside_graphite(&self) -> f64 {
        let turns = (0..self.floor.len()).map(|turn| {
            let others = self.sends.iter().skip(1);
            others.map(|(_, cpu)| cpu[turn]).sum::<f64>() / self.floor[turn]
        });
        median(&turns.collect::<Vec<_>>())
    }

    fn to_floor(&self) -> f64 {
        let ratios = self.total.iter().zip(&self.floor).map(|(total, floor)| total / floor);
        median(&ratios.collect::<Vec<_>>())
    }

    fn json(&self) -> Value {
        let sends = self.sends.iter().map(|(kind, cpu)| (kind.name().to_owned(), median(cpu)));
        let sends: serde_json::Map<String, Value> =
            sends.map(|(name, cpu)| (name, cpu.into())).collect();
        let bytes = self.bytes.iter().map(|(kind, bytes)| (kind.name().to_owned(), *bytes));
        let bytes: serde_json::Map<String, Value> =
            bytes.map(|(name, bytes)| (name, bytes.into())).collect();
        json!({
            "case": self.case.name, "cpu_ms": median(&self.total), "send_cpu_ms": sends,
            "bytes": bytes, "floor_cpu_ms": median(&self.floor),
            "ratio_to_floor": self.to_floor(), "beside_graphite": self.beside_graphite(),
        })
    }
}

fn table(rows: &[Row]) -> Table {
    let heads = [
        "beside Graphite",
        "CPU ms",
        "CPU / floor",
        "send of Graphite",
        "of the others",
        "in floors",
        "bytes to Graphite",
        "to the others",
    ];
    let mut table = Table::new(&heads);
    for row in rows {
        let others = row.sends.iter().skip(1);
        let others: Vec<String> = others.map(|(_, cpu)| milliseconds(median(cpu))).collect();
        let sent = row.bytes.iter().skip(1).map(|(_, size)| bytes(*size));
        let floors = match row.case.receivers {
            [] => String::new(),
            _ => ratio(row.beside_graphite()),
        };
        table.row(vec![
            row.case.name.to_owned(),
            milliseconds(median(&row.total)),
            ratio(row.to_floor()),
            milliseconds(median(&row.sends[0].1)),
            others.join(" + "),
            floors,
            bytes(row.bytes_of(Kind::Graphite)),
            sent.collect::<Vec<_>>().join(" + "),
        ]);
    }
    table.note(&format!(
        "Each figure is for one more mid snapshot with 1.8 columns: the slope between a short and \
         a long run with one worker, median of the turns. The bar is {BAR} floors for each \
         receiver beside Graphite, without compression. Bytes to Kafka are those on its disk."
    ));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_slope_of_each_child_and_of_all_bytes() {
        let outcome = |times: f64| Outcome {
            total: 100.0 + 10.0 * times,
            children: vec![
                ("haproxystats-send-graphite".to_owned(), 5.0 * times),
                ("haproxystats-send-influxdb".to_owned(), 1.0 + 3.0 * times),
            ],
            bytes: vec![(Kind::Graphite, 70.0 * times), (Kind::InfluxDb, 30.0 * times)],
        };
        let mut row = Row::new(&CASES[2]);
        row.add((10, &outcome(10.0)), (20, &outcome(20.0)));
        row.floor.push(2.0);
        assert!((row.total[0] - 10.0).abs() < 1e-9 && (row.sends[0].1[0] - 5.0).abs() < 1e-9);
        assert!((row.beside_graphite() - 1.5).abs() < 1e-9, "{}", row.beside_graphite());
        assert!((row.bytes_of(Kind::InfluxDb) - 30.0).abs() < 1e-9);
        let text = table(&[row]).markdown();
        assert!(text.contains("| influxdb | 10.00 | 5.00 | 5.00 | 3.00 | 1.50 |"), "{text}");
    }
}
