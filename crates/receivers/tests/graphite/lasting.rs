//! `confirm = tcp` and `none`: one connection for all batches, as long as the receiver keeps it.

use config::Confirm;
use haproxystats_receivers::Error;

use crate::receiver::Step::{AwaitWritten, HalfClose, Hold, Read, ReadToEnd, Reset, Say};
use crate::receiver::{Receiver, Step};
use crate::{LARGE_BYTES, MIDDLING_BYTES, SMALL_BYTES, batch, deliver, graphite, impatient, whole};

fn three() -> [Vec<u8>; 3] {
    [batch(SMALL_BYTES), batch(LARGE_BYTES), batch(7)]
}

#[test]
fn batches_share_a_connection_that_nobody_closes() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        let receiver = Receiver::start([&[ReadToEnd]]);
        let mut graphite = graphite(&receiver, confirm);
        for lines in &three() {
            deliver(&mut graphite, lines).unwrap();
        }
        drop(graphite);
        assert!(receiver.finish() == [whole(&three().concat())]);
    }
}

#[test]
fn a_receiver_that_talks_keeps_its_connection() {
    let receiver = Receiver::start([&[Read(1), Say(9), ReadToEnd]]);
    let mut graphite = graphite(&receiver, Confirm::Tcp);
    for lines in &three() {
        deliver(&mut graphite, lines).unwrap();
    }
    drop(graphite);
    assert!(receiver.finish() == [whole(&three().concat())]);
}

#[test]
fn a_batch_after_a_close_goes_on_a_new_connection() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        // What it says before it closes must not hide that.
        for first in [&[Read(SMALL_BYTES), HalfClose] as &[Step], &[Read(60), Say(9), HalfClose]] {
            let receiver = Receiver::start([first, &[ReadToEnd]]);
            let mut graphite = graphite(&receiver, confirm);
            deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
            receiver.await_through(0);
            deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap();
            drop(graphite);
            let heard = receiver.finish();
            assert_eq!(heard[0].bytes, batch(SMALL_BYTES));
            assert!(heard[1] == whole(&batch(LARGE_BYTES)), "{confirm:?} {first:?}");
        }
    }
}

#[test]
fn a_batch_that_a_reset_cuts_goes_whole_on_a_new_connection() {
    for confirm in [Confirm::Tcp, Confirm::None] {
        let receiver = Receiver::start([&[Read(61), Reset], &[ReadToEnd]]);
        let mut graphite = graphite(&receiver, confirm);
        deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
        deliver(&mut graphite, &batch(LARGE_BYTES)).unwrap();
        drop(graphite);
        assert!(receiver.finish()[1] == whole(&batch(LARGE_BYTES)), "{confirm:?}");
    }
}

#[test]
fn a_new_connection_that_breaks_is_a_fault() {
    let receiver = Receiver::start([&[Read(1), Reset], &[Read(60), HalfClose], &[Read(1), Reset]]);
    let mut graphite = graphite(&receiver, Confirm::Tcp);
    let broken = |outcome| matches!(outcome, Err(Error::Broken { .. }));
    assert!(broken(deliver(&mut graphite, &batch(LARGE_BYTES))));
    deliver(&mut graphite, &batch(SMALL_BYTES)).unwrap();
    receiver.await_through(0);
    receiver.await_through(1);
    assert!(broken(deliver(&mut graphite, &batch(LARGE_BYTES))));
    receiver.finish();
}

/// Our kernel has taken all of it: only the wait for the acknowledgement can see the reset.
#[test]
fn a_reset_is_no_acknowledgement() {
    let written = u64::try_from(MIDDLING_BYTES).unwrap();
    for first in [&[AwaitWritten(written), Reset] as &[Step], &[AwaitWritten(written)]] {
        let receiver = Receiver::start([first]);
        let mut graphite = graphite(&receiver, Confirm::Tcp);
        let error = deliver(&mut graphite, &batch(MIDDLING_BYTES)).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
        receiver.finish();
    }
}

#[test]
fn a_receiver_that_never_reads_has_nothing() {
    // The first fills both kernels; the second may fit in ours, and is never acknowledged.
    for bytes in [LARGE_BYTES, MIDDLING_BYTES] {
        let receiver = Receiver::start([&[Hold]]);
        let error = deliver(&mut impatient(&receiver, Confirm::Tcp), &batch(bytes)).unwrap_err();
        assert!(
            matches!(error, Error::Stalled { .. } | Error::Unconfirmed { remedy: "none", .. }),
            "{error}"
        );
        receiver.finish();
    }
}
