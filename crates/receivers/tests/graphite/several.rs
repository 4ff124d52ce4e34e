//! Several servers: a batch goes whole to one that works, and the knowledge about servers that
//! failed is shared.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use config::{Address, Cluster, Confirm};
use daemon::Clock;
use haproxystats_receivers::{Error, Graphite};
use testbed::graphite::Step::{AwaitUnread, KeepOpen, Read, ReadToEnd, Reset};
use testbed::graphite::{Manner, Transcripts};
use testbed::wait_until;

use crate::{
    CLOCK, LARGE_BYTES, Receiver, SMALL_BYTES, batch, deliver, settings, transcripts, whole,
};

fn address(at: SocketAddr) -> Address {
    Address::Tcp { host: at.ip().to_string(), port: at.port() }
}

const LIMIT: Duration = Duration::from_secs(30);

/// A server that refuses connections.
fn refusing() -> Address {
    // No program serves port 1, and the system assigns it to none.
    Address::Tcp { host: "127.0.0.1".to_owned(), port: 1 }
}

fn list(servers: Vec<Address>, cluster: Cluster, confirm: Confirm) -> config::Graphite {
    let settings = settings(SocketAddr::from(([127, 0, 0, 1], 1)), confirm);
    config::Graphite { servers, cluster, ..settings }
}

fn steady() -> Receiver {
    Receiver::start(Transcripts::default(), Manner::Whole).unwrap()
}

#[test]
fn a_batch_goes_whole_to_the_first_server_that_takes_it() {
    let cut = crate::receiver([&[Read(7), Reset]]);
    let good = steady();
    let servers = vec![refusing(), address(cut.address()), address(good.address())];
    let mut graphite = Graphite::new(list(servers, Cluster::Failover, Confirm::Close), CLOCK);
    for lines in [batch(SMALL_BYTES), batch(LARGE_BYTES)] {
        deliver(&mut graphite, &lines).unwrap();
    }
    assert!(transcripts(good) == [whole(&batch(SMALL_BYTES)), whole(&batch(LARGE_BYTES))]);
    assert_eq!(transcripts(cut).len(), 1, "the second batch does not try it");
}

#[test]
fn transports_share_the_knowledge_about_servers() {
    let cut = crate::receiver([&[AwaitUnread(SMALL_BYTES), Reset]]);
    let good = steady();
    let servers = vec![address(cut.address()), address(good.address())];
    let mut first = Graphite::new(list(servers, Cluster::Failover, Confirm::Close), CLOCK);
    let mut second = first.another();
    for graphite in [&mut first, &mut second] {
        deliver(graphite, &batch(SMALL_BYTES)).unwrap();
    }
    // A second connection to it would be refused, and is not tried.
    cut.finish().unwrap();
    assert_eq!(transcripts(good).len(), 2);
}

#[test]
fn any_spreads_batches_over_the_servers_that_work() {
    let (first, second) = (steady(), steady());
    let servers = vec![address(first.address()), refusing(), address(second.address())];
    let mut graphite = Graphite::new(list(servers, Cluster::Any, Confirm::Close), CLOCK);
    for _ in 0..6 {
        deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    }
    let counts = [transcripts(first).len(), transcripts(second).len()];
    assert_eq!(counts.iter().sum::<usize>(), 6);
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");
}

#[test]
fn when_all_servers_fail_the_error_names_each() {
    let cut = crate::receiver([&[Read(7), Reset]]);
    let servers = vec![refusing(), address(cut.address())];
    let mut graphite = Graphite::new(list(servers, Cluster::Failover, Confirm::Close), CLOCK);
    let error = deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap_err();
    assert!(matches!(&error, Error::Servers { errors } if errors.len() == 2), "{error}");
    let text = error.to_string();
    assert!(text.contains("graphite 127.0.0.1:1 takes no connection"), "{text}");
    assert!(text.contains(&format!("graphite {} broke", cut.address())), "{text}");
    cut.finish().unwrap();
}

/// Seconds by which the clock of one test is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);

#[test]
fn an_earlier_server_gets_the_batches_again_when_it_works() {
    let clock = Clock {
        wall: SystemTime::now,
        monotonic: || Instant::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed)),
    };
    for confirm in [Confirm::Close, Confirm::Tcp] {
        let mut first = steady();
        let second = steady();
        let servers = vec![address(first.address()), address(second.address())];
        let mut graphite = Graphite::new(list(servers, Cluster::Failover, confirm), clock);
        let mut deliver = || deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
        deliver();
        // The kernel acknowledges before the server accepts.
        assert!(wait_until(LIMIT, || first.connections() == 1));
        first.go_down();
        // A kernel whose server is ending may still acknowledge.
        first.await_close(0).unwrap();
        deliver();
        first.come_up().unwrap();
        deliver();
        AHEAD.fetch_add(10, Ordering::Relaxed);
        deliver();
        // A lasting connection to the second server is closed with the return to the first.
        second.await_close(0).unwrap();
        drop(graphite);
        let lines = batch(SMALL_BYTES);
        // What a server has acknowledged and not read is lost with it, so only the return counts.
        assert!(wait_until(LIMIT, || first.connections() == 2));
        assert_eq!(transcripts(first).last(), Some(&whole(&lines)));
        let second = transcripts(second).into_iter().flat_map(|one| one.bytes);
        assert_eq!(second.collect::<Vec<u8>>(), [lines.clone(), lines].concat());
    }
}

/// Seconds by which each look at the clock of one test is later than the one before.
static LOOKS: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_batch_that_lost_the_time_of_one_try_tries_no_further_server() {
    let clock = Clock {
        wall: SystemTime::now,
        monotonic: || {
            let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
            Instant::now() + Duration::from_secs(1000 * looks)
        },
    };
    let good = steady();
    let servers = vec![refusing(), address(good.address())];
    let mut graphite = Graphite::new(list(servers, Cluster::Failover, Confirm::Close), clock);
    let error = deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(transcripts(good).len(), 0);
}

/// A server that accepts and does not close costs its limit, and the next one gets the batch.
#[test]
fn a_server_that_hangs_costs_its_limit() {
    let hung = crate::receiver([&[ReadToEnd, KeepOpen]]);
    let good = steady();
    let servers = vec![address(hung.address()), address(good.address())];
    let settings = list(servers, Cluster::Failover, Confirm::Close);
    let settings = config::Graphite { confirm_timeout: Duration::from_millis(100), ..settings };
    let mut graphite = Graphite::new(settings, CLOCK);
    deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    assert!(transcripts(good) == [whole(&batch(SMALL_BYTES))]);
    hung.finish().unwrap();
}

#[test]
fn names_and_addresses_of_both_families_stand_in_one_list() {
    // A machine may have no IPv6.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let good = Receiver::play(listener, Transcripts::default(), [&[ReadToEnd]]).unwrap();
    let unknown = Address::Tcp { host: "graphite.invalid".to_owned(), port: 1 };
    let servers = vec![unknown, refusing(), address(good.address())];
    let mut graphite = Graphite::new(list(servers, Cluster::Failover, Confirm::Close), CLOCK);
    deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    assert!(transcripts(good) == [whole(&batch(SMALL_BYTES))]);
}
