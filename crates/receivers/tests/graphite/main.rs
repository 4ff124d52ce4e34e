//! Graphite's promise, tested with receivers that break in every way we know: a batch that counts
//! as delivered was read whole, and any other is sent again whole on a new connection.

#![allow(clippy::unwrap_used, reason = "tests")]

mod close;
mod lasting;
mod several;
mod tls;
mod unix;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use config::{Address, Cluster, Confirm};
use daemon::Clock;
use haproxystats_receivers::{Error, Graphite};
use testbed::graphite::{Step, Transcript, Transcripts};

type Receiver = testbed::graphite::Receiver<Transcripts>;

/// More than the buffers of two sockets of this machine together.
const LARGE_BYTES: usize = 24 * 1024 * 1024;
/// More than the receiver's kernel takes while the receiver reads nothing, and no more than our
/// kernel takes in addition.
const MIDDLING_BYTES: usize = 1024 * 1024;
const SMALL_BYTES: usize = 60;

const CLOCK: Clock = Clock { wall: SystemTime::now, monotonic: Instant::now };

fn settings(address: SocketAddr, confirm: Confirm) -> config::Graphite {
    config::Graphite {
        servers: vec![Address::Tcp { host: address.ip().to_string(), port: address.port() }],
        cluster: Cluster::Failover,
        tls: None,
        connect_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        confirm,
        confirm_timeout: Duration::from_secs(30),
        naming: config::Naming {
            namespace: "lb".into(),
            host: config::HostPart::None,
            groups: None,
            tags: false,
            max_line: None,
        },
    }
}

/// A receiver that plays a script on each connection, in order.
fn receiver<const N: usize>(scripts: [&[Step]; N]) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Receiver::play(listener, Transcripts::default(), scripts).unwrap()
}

/// The transcript of each connection.
fn transcripts(receiver: Receiver) -> Vec<Transcript> {
    receiver.finish().unwrap().all()
}

fn graphite(receiver: &Receiver, confirm: Confirm) -> Graphite {
    Graphite::new(settings(receiver.address(), confirm), CLOCK)
}

/// For receivers that never send what the transport waits for.
fn impatient(receiver: &Receiver, confirm: Confirm) -> Graphite {
    let limit = Duration::from_millis(100);
    let settings = settings(receiver.address(), confirm);
    let settings = config::Graphite { write_timeout: limit, confirm_timeout: limit, ..settings };
    Graphite::new(settings, CLOCK)
}

fn deliver(graphite: &mut Graphite, lines: &[u8]) -> Result<(), Error> {
    graphite.deliver(&lines.to_vec()).map(|_| ())
}

/// Lines of `bytes` in all, each line different.
fn batch(bytes: usize) -> Vec<u8> {
    let mut batch = Vec::with_capacity(bytes + 64);
    for number in 0_u32.. {
        if batch.len() >= bytes {
            break;
        }
        writeln!(batch, "m.{number} {number} 17").unwrap();
    }
    batch.truncate(bytes - 1);
    batch.push(b'\n');
    batch
}

fn whole(bytes: &[u8]) -> Transcript {
    Transcript { bytes: bytes.to_vec(), ended: true }
}
