//! `confirm = close`: a batch is delivered if the receiver read it to its end before it closed.

use std::net::{SocketAddr, TcpListener};

use config::{Address, Confirm};
use haproxystats_receivers::{Error, Graphite};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::{collection, prop_assert_eq};
use testbed::graphite::Step::{
    AwaitHalfClose, AwaitUnread, HalfClose, KeepOpen, Read, ReadToEnd, Reply, ReplyOneByOne, Reset,
};
use testbed::graphite::{Step, Transcripts};

use crate::{
    CLOCK, LARGE_BYTES, MIDDLING_BYTES, Receiver, SMALL_BYTES, batch, deliver, graphite, impatient,
    receiver, settings, transcripts, whole,
};

const CLOSE: Confirm = Confirm::Close;
const LARGE: u64 = LARGE_BYTES as u64;

#[test]
fn a_batch_counts_once_it_was_read_to_its_end_each_on_its_own_connection() {
    let receiver = receiver([&[ReadToEnd], &[ReadToEnd], &[ReadToEnd]]);
    let mut graphite = graphite(&receiver, CLOSE);
    let batches = [batch(SMALL_BYTES), batch(LARGE_BYTES), batch(1)];
    for lines in &batches {
        deliver(&mut graphite, lines).unwrap();
    }
    assert!(transcripts(receiver) == batches.map(|lines| whole(&lines)));
}

/// The wait for a close is limited in time and not in the number of reads.
#[test]
fn a_receiver_that_talks_byte_by_byte_before_it_closes_has_its_time() {
    let receiver = receiver([&[ReadToEnd, ReplyOneByOne(50)]]);
    deliver(&mut graphite(&receiver, CLOSE), &batch(SMALL_BYTES)).unwrap();
    assert_eq!(transcripts(receiver), [whole(&batch(SMALL_BYTES))]);
}

#[test]
fn it_comes_over_ipv6_too() {
    // A machine may have no IPv6.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let receiver = Receiver::play(listener, Transcripts::default(), [&[ReadToEnd]]).unwrap();
    deliver(&mut graphite(&receiver, CLOSE), &batch(SMALL_BYTES)).unwrap();
    assert_eq!(transcripts(receiver), [whole(&batch(SMALL_BYTES))]);
}

#[test]
fn a_refusal_and_a_name_without_an_address_are_different_errors() {
    // No program serves port 1, and the system assigns it to none.
    let to = |server: &str| {
        let settings = settings(SocketAddr::from(([127, 0, 0, 1], 1)), CLOSE);
        let servers = vec![Address::Tcp { host: server.into(), port: 1 }];
        let mut graphite = Graphite::new(config::Graphite { servers, ..settings }, CLOCK);
        deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err()
    };
    let refused = to("127.0.0.1");
    assert!(matches!(refused, Error::Connect { .. }), "{refused}");
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
    let unknown = to("graphite.invalid");
    assert!(matches!(unknown, Error::Resolve { .. }), "{unknown}");
    assert!(unknown.to_string().contains("graphite.invalid:1"), "{unknown}");
}

/// The system may choose the port that we connect to as our own port, if no program serves it. Then
/// it connects us with ourselves.
#[test]
fn a_connection_to_ourselves_is_refused() {
    // Linux assigns even ports to connections and odd ones to listeners.
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let unserved = (40_000..60_000).step_by(2).find(free).unwrap();
    let settings = settings(SocketAddr::from(([127, 0, 0, 1], unserved)), CLOSE);
    let mut graphite = Graphite::new(settings, CLOCK);
    // After so many tries the system has chosen every port.
    for _ in 0..120_000 {
        let error = deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
}

/// A connection is cut after each number of bytes, with and without a reset: a batch counts as
/// delivered only if it was read whole, and a new connection gets it whole again.
#[test]
fn a_cut_after_any_byte_costs_nothing() {
    let lines = batch(SMALL_BYTES);
    for (bytes, reset) in (0..=SMALL_BYTES).flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        let cut: &[Step] = &[Read(bytes), Reset];
        let steps = if reset { cut } else { &cut[..1] };
        let receiver = receiver([steps, &[ReadToEnd]]);
        let mut graphite = graphite(&receiver, CLOSE);
        let delivered = deliver(&mut graphite, &lines).is_ok();
        // A receiver that reads all bytes may close before or after it has read our half-close.
        assert!(!delivered || (bytes == SMALL_BYTES && !reset), "{bytes} {reset}");
        deliver(&mut graphite, &lines).unwrap();
        let came = transcripts(receiver);
        assert_eq!(came[0].bytes, lines[..bytes]);
        assert_eq!(came[1], whole(&lines));
    }
}

#[test]
fn a_cut_while_a_batch_is_written_is_an_error_with_the_bytes_sent() {
    for cut in [&[Read(1)] as &[Step], &[Read(1), Reset], &[AwaitUnread(1), Reset]] {
        let receiver = receiver([cut]);
        let error = deliver(&mut graphite(&receiver, CLOSE), &batch(LARGE_BYTES)).unwrap_err();
        let Error::Broken { sent, total, .. } = error else { panic!("{cut:?}: {error}") };
        assert!(sent < LARGE && total == Some(LARGE), "{cut:?}: {sent} of {total:?}");
        receiver.finish().unwrap();
    }
}

#[test]
fn a_receiver_that_closes_its_side_first_is_told_with_the_remedy() {
    // Bytes before the close must not hide the close.
    for early in [&[Read(1), HalfClose, ReadToEnd] as &[Step], &[Reply(9), HalfClose, ReadToEnd]] {
        let receiver = receiver([early]);
        let error = deliver(&mut graphite(&receiver, CLOSE), &batch(LARGE_BYTES)).unwrap_err();
        assert!(matches!(error, Error::ClosedEarly { .. }), "{early:?}: {error}");
        assert!(error.to_string().contains("confirm = tcp"), "{error}");
        assert!(transcripts(receiver) == [whole(&batch(LARGE_BYTES))]);
    }
}

/// Our half-close waits behind bytes that the receiver does not read, and the receiver closes.
#[test]
fn a_receiver_that_closes_without_our_end_has_nothing() {
    type Cut<'a> = (&'a [Step], fn(&Error) -> bool);
    let cuts: [Cut<'_>; 3] = [
        (
            &[AwaitHalfClose, HalfClose, KeepOpen],
            |error| matches!(error, Error::Unacknowledged { bytes, .. } if *bytes > 0),
        ),
        (&[AwaitHalfClose, HalfClose, Reset], |_| true),
        (&[AwaitHalfClose, Reset], |error| matches!(error, Error::Broken { .. })),
    ];
    for (cut, expected) in cuts {
        let receiver = receiver([cut]);
        let error = deliver(&mut graphite(&receiver, CLOSE), &batch(MIDDLING_BYTES)).unwrap_err();
        assert!(expected(&error), "{cut:?}: {error}");
        receiver.finish().unwrap();
    }
}

#[test]
fn a_receiver_that_closes_with_bytes_unread_has_nothing() {
    let receiver = receiver([&[AwaitUnread(SMALL_BYTES)], &[Read(1), AwaitUnread(59)]]);
    let mut graphite = graphite(&receiver, CLOSE);
    for _ in 0..2 {
        let error = deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
    }
    receiver.finish().unwrap();
}

#[test]
fn a_receiver_that_never_reads_costs_the_write_timeout() {
    let receiver = receiver([&[KeepOpen]]);
    let error = deliver(&mut impatient(&receiver, CLOSE), &batch(LARGE_BYTES)).unwrap_err();
    assert!(
        matches!(error, Error::Stalled { sent, total, .. } if sent < LARGE && total == Some(LARGE)),
        "{error}"
    );
    assert!(error.to_string().contains("0.1s (write-timeout)"), "{error}");
    receiver.finish().unwrap();
}

#[test]
fn a_receiver_that_reads_all_and_never_closes_is_an_error_with_the_remedy() {
    let receiver = receiver([&[ReadToEnd, KeepOpen]]);
    let error = deliver(&mut impatient(&receiver, CLOSE), &batch(SMALL_BYTES)).unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { remedy: Some("tcp"), .. }), "{error}");
    assert!(error.to_string().contains("confirm = tcp"), "{error}");
    assert_eq!(transcripts(receiver), [whole(&batch(SMALL_BYTES))]);
}

#[test]
fn a_receiver_may_say_something_but_not_without_end() {
    let receiver = receiver([
        &[Reply(9), ReadToEnd, Reply(60_000)],
        &[ReadToEnd, Reply(70_000)],
        &[Reply(70_000), ReadToEnd],
    ]);
    let mut graphite = graphite(&receiver, CLOSE);
    deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    for _ in 0..2 {
        let error = deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Unconfirmed { .. }), "{error}");
        assert!(error.to_string().contains("talked on"), "{error}");
    }
    assert_eq!(transcripts(receiver)[0], whole(&batch(SMALL_BYTES)));
}

fn step(bytes: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..=bytes).prop_map(Read),
        (1..=bytes.min(1000)).prop_map(AwaitUnread),
        (1..9000_usize).prop_map(Reply),
        Just(ReadToEnd),
    ]
}

/// A batch's size and the receiver's steps.
fn script() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let size = prop_oneof![Just(1), 2..SMALL_BYTES, SMALL_BYTES..500_000];
    size.prop_flat_map(|bytes| {
        let end = prop_oneof![Just(None), Just(Some(Reset)), Just(Some(ReadToEnd))];
        (Just(bytes), collection::vec(step(bytes), 0..4), end)
    })
    .prop_map(|(bytes, mut steps, end)| {
        let mut read = 0;
        steps.retain(|step| match step {
            Read(count) => {
                read += count;
                true
            }
            // A kernel with unread bytes may take no more until they are read, so this step is only
            // possible before the first read.
            AwaitUnread(_) => read == 0,
            ReadToEnd => {
                read = bytes;
                true
            }
            _ => true,
        });
        steps.extend(end);
        (bytes, steps)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// For any receiver that closes at last: a batch that counts as delivered was read whole, and a
    /// batch that was read to its end before a close without a reset counts as delivered.
    #[test]
    fn delivered_is_what_was_read_whole((bytes, steps) in script()) {
        let lines = batch(bytes);
        let receiver = receiver([&steps]);
        let outcome = deliver(&mut graphite(&receiver, CLOSE), &lines);
        let transcript = transcripts(receiver).remove(0);
        prop_assert_eq!(&transcript.bytes, &lines[..transcript.bytes.len()]);
        if outcome.is_ok() {
            prop_assert_eq!(transcript.bytes.len(), bytes);
        }
        if transcript.ended && !steps.contains(&Reset) {
            prop_assert_eq!(outcome.map_err(|error| error.to_string()), Ok(()));
        }
    }
}
