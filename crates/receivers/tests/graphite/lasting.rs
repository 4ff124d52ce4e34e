//! `confirm = tcp` and `none`: one connection for all batches, as long as the receiver keeps it.

use config::Confirm;
use haproxystats_receivers::Error;
use testbed::graphite::Step;
use testbed::graphite::Step::{AwaitWritten, HalfClose, KeepOpen, Read, ReadToEnd, Reply, Reset};

use crate::{
    LARGE_BYTES, MIDDLING_BYTES, SMALL_BYTES, batch, deliver, graphite, impatient, receiver,
    transcripts, whole,
};

fn three() -> [Vec<u8>; 3] {
    [batch(SMALL_BYTES), batch(LARGE_BYTES), batch(7)]
}

#[test]
fn batches_share_a_connection_that_stays_open() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        let receiver = receiver([&[ReadToEnd]]);
        let mut graphite = graphite(&receiver, confirm);
        for lines in &three() {
            deliver(&mut graphite, lines).unwrap();
        }
        drop(graphite);
        assert!(transcripts(receiver) == [whole(&three().concat())]);
    }
}

#[test]
fn a_receiver_that_talks_keeps_its_connection() {
    let receiver = receiver([&[Read(1), Reply(9), ReadToEnd]]);
    let mut graphite = graphite(&receiver, Confirm::Tcp);
    for lines in &three() {
        deliver(&mut graphite, lines).unwrap();
    }
    drop(graphite);
    assert!(transcripts(receiver) == [whole(&three().concat())]);
}

#[test]
fn a_batch_after_a_close_goes_on_a_new_connection() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        // Bytes before the close must not hide the close.
        for first in [&[Read(SMALL_BYTES), HalfClose] as &[Step], &[Read(60), Reply(9), HalfClose]]
        {
            let receiver = receiver([first, &[ReadToEnd]]);
            let mut graphite = graphite(&receiver, confirm);
            deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
            receiver.await_close(0).unwrap();
            deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap();
            drop(graphite);
            let came = transcripts(receiver);
            assert_eq!(came[0].bytes, batch(SMALL_BYTES));
            assert!(came[1] == whole(&batch(LARGE_BYTES)), "{confirm:?} {first:?}");
        }
    }
}

#[test]
fn a_batch_that_a_reset_cuts_goes_whole_on_a_new_connection() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        let receiver = receiver([&[Read(61), Reset], &[ReadToEnd]]);
        let mut graphite = graphite(&receiver, confirm);
        deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
        deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap();
        drop(graphite);
        assert!(transcripts(receiver)[1] == whole(&batch(LARGE_BYTES)), "{confirm:?}");
    }
}

#[test]
fn a_new_connection_that_breaks_is_a_fault() {
    let receiver = receiver([&[Read(1), Reset], &[Read(60), HalfClose], &[Read(1), Reset]]);
    let mut graphite = graphite(&receiver, Confirm::Tcp);
    let broken = |outcome| matches!(outcome, Err(Error::Broken { .. }));
    assert!(broken(deliver(&mut graphite, &batch(LARGE_BYTES))));
    deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    receiver.await_close(0).unwrap();
    receiver.await_close(1).unwrap();
    assert!(broken(deliver(&mut graphite, &batch(LARGE_BYTES))));
    receiver.finish().unwrap();
}

/// Our kernel has taken all bytes, so only the wait for the acknowledgement can find the reset.
#[test]
fn a_reset_is_no_acknowledgement() {
    let written = u64::try_from(MIDDLING_BYTES).unwrap();
    for first in [&[AwaitWritten(written), Reset] as &[Step], &[AwaitWritten(written)]] {
        let receiver = receiver([first]);
        let mut graphite = graphite(&receiver, Confirm::Tcp);
        let error = deliver(&mut graphite, &batch(MIDDLING_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
        receiver.finish().unwrap();
    }
}

#[test]
fn a_receiver_that_never_reads_has_nothing() {
    // The first fills both kernels; the second may fit in ours, and is never acknowledged.
    for bytes in [LARGE_BYTES, MIDDLING_BYTES] {
        let receiver = receiver([&[KeepOpen]]);
        let error = deliver(&mut impatient(&receiver, Confirm::Tcp), &batch(bytes)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Stalled { .. } | Error::Unconfirmed { remedy: Some("none"), .. }
            ),
            "{error}"
        );
        receiver.finish().unwrap();
    }
}
