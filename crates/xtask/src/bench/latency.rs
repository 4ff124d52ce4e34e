//! Latency: from the rename that publishes a snapshot to its last byte at the receiver, and from
//! the start of the program to its first snapshot.
//!
//! The bench publishes as pull does, one snapshot a second, so that the program is idle when a
//! snapshot comes, as it usually is.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::generator::{Columns, MID, TINY};
use super::process::{Process, interrupted};
use super::receiver::{Arrival, Receiver};
use super::report::{Table, milliseconds};
use super::run::Program;
use super::stage::{ExtraOptions, FIRST, Stage, clear};
use super::statistics::{median, quantile};
use crate::Failure;

const SNAPSHOTS: u64 = 200;
const STARTS: usize = 20;
const INTERVAL: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

/// A second receiver, on a port on which no program listens.
const SECOND_DOWN: ExtraOptions<'_> =
    ExtraOptions { process: "", graphite: "\n[graphite:second]\nserver = 127.0.0.1\nport = 1\n" };

pub(crate) fn run(
    program: &Program,
    stage: &Stage,
    quick: bool,
) -> Result<(Table, Value), Failure> {
    let (snapshots, starts) = if quick { (10, 3) } else { (SNAPSHOTS, STARTS) };
    stage.generate(MID, Columns::V26)?;
    let delays = publish(program, stage, snapshots, ExtraOptions::default())?;
    let beside_down = publish(program, stage, snapshots, SECOND_DOWN)?;
    stage.generate(TINY, Columns::V26)?;
    let starts = (0..starts).map(|_| start(program, stage)).collect::<Result<Vec<_>, _>>()?;
    let of = |part: fn(&Start) -> f64| starts.iter().map(part).collect::<Vec<f64>>();
    let rows = [
        ("rename to last byte, mid", delays),
        ("rename to last byte, mid, another receiver down", beside_down),
        ("start to ready", of(|start| start.ready)),
        ("start to first connection, tiny", of(|start| start.connected)),
        ("start to first snapshot delivered, tiny", of(|start| start.delivered)),
    ];
    let mut table = Table::new(&["milliseconds of", "times", "p50", "p99", "largest"]);
    let mut figures = Vec::new();
    for (name, times) in &rows {
        let [p50, p99, most] = [median(times), quantile(times, 0.99), quantile(times, 1.0)];
        let mut cells = vec![(*name).to_owned(), times.len().to_string()];
        cells.extend([p50, p99, most].map(milliseconds));
        table.row(cells);
        figures.push(json!({
            "what": name, "p50_ms": p50, "p99_ms": p99, "largest_ms": most, "all_ms": times,
        }));
    }
    table.note(
        "One worker, columns of 2.6. Snapshots are published one a second. Ready is what a service \
         manager hears.",
    );
    Ok((table, Value::Array(figures)))
}

/// Milliseconds from each rename to the last byte.
fn publish(
    program: &Program,
    stage: &Stage,
    snapshots: u64,
    more: ExtraOptions<'_>,
) -> Result<Vec<f64>, Failure> {
    stage.fill(0)?;
    let staging = stage.path.join("staging");
    clear(&staging)?;
    let receiver = Receiver::start()?;
    let config = stage.configure(1, receiver.port, more)?;
    let mut process = Process::start(&mut program.command(&config), &stage.log())?;
    let mut delays = Vec::new();
    let mut next = Instant::now() + INTERVAL;
    for stamp in FIRST..FIRST + snapshots {
        stage.link(&staging, stamp)?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += INTERVAL;
        process.check()?;
        let (from, to) =
            (staging.join(stamp.to_string()), stage.incoming().join(stamp.to_string()));
        let renamed = Instant::now();
        fs::rename(&from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        let arrival = expect(&receiver, &mut process, stamp)?;
        delays.push((arrival.last_byte - renamed).as_secs_f64() * 1e3);
        if delays.len().is_multiple_of(20) {
            eprintln!("{} of {snapshots} snapshots", delays.len());
        }
    }
    let pid = process.pid();
    process.terminate(pid)?;
    Ok(delays)
}

/// Milliseconds since the start of a program for which one snapshot waits.
struct Start {
    ready: f64,
    connected: f64,
    delivered: f64,
}

fn start(program: &Program, stage: &Stage) -> Result<Start, Failure> {
    stage.fill(1)?;
    let receiver = Receiver::start()?;
    let config = stage.configure(1, receiver.port, ExtraOptions::default())?;
    let path = stage.path.join("notify.sock");
    let _ = fs::remove_file(&path);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let socket = UnixDatagram::bind(&path).map_err(failed)?;
    socket.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    // The time of the notification must be taken when it comes, while this thread waits.
    let listener = thread::spawn(move || {
        let mut word = [0; 4096];
        while let Ok(count) = socket.recv(&mut word) {
            if word[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Some(Instant::now());
            }
        }
        None
    });
    let mut command = program.command(&config);
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::start(&mut command, &stage.log())?;
    let begin = process.started;
    let arrival = expect(&receiver, &mut process, FIRST)?;
    let ready = listener.join().ok().flatten();
    let ready = ready.ok_or_else(|| process.failure("did not say that it is ready"))?;
    let pid = process.pid();
    process.terminate(pid)?;
    let since = |end: Instant| (end - begin).as_secs_f64() * 1e3;
    Ok(Start {
        ready: since(ready),
        connected: since(arrival.accepted),
        delivered: since(arrival.last_byte),
    })
}

/// The arrival of that snapshot; arrivals with the program's own metrics are ignored.
fn expect(receiver: &Receiver, process: &mut Process, stamp: u64) -> Result<Arrival, Failure> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        interrupted()?;
        if let Ok(arrival) = receiver.arrivals.recv_timeout(INTERVAL) {
            if arrival.stamp == Some(stamp) {
                return Ok(arrival);
            }
        } else {
            process.check()?;
        }
    }
    Err(process.failure("did not deliver a snapshot"))
}
