//! Tests of one receiver's outbox.

use config::Retries;

use super::*;

fn receiver() -> Receiver {
    let settings = ReceiverSettings {
        name: "graphite".to_owned(),
        prefix: String::new(),
        is_local_store: false,
        circuit: CircuitSettings {
            retries: Retries::Times(3),
            interval: Duration::from_secs(2),
            backoff: 2.0,
            delay: Duration::from_secs(10),
        },
        outbox_bytes: 1,
        outbox_points: None,
        replay_rate: 0,
        sync: true,
        takes_figures: false,
        in_flight_max: 1,
        send_limit: Duration::from_secs(60),
        end_grace: Duration::from_secs(2),
    };
    Receiver::new(&settings, Instant::now())
}

fn hold(receiver: &mut Receiver, seconds: u64) -> EntryName {
    let timestamp = Timestamp::of_seconds(seconds);
    let name = EntryName { timestamp, origin: 0, serial: 0, number: 1, points: 1 };
    let entry = Entry::new(2000);
    receiver.insert(name.clone(), entry);
    name
}

/// What is read ahead for a receiver that is down does not push out newer batches.
#[test]
fn a_batch_that_was_read_ahead_goes_first() {
    let mut receiver = receiver();
    let old = hold(&mut receiver, 1_700_000_000);
    receiver.stage = Stage::Loading(old.clone());
    let new = hold(&mut receiver, 1_700_000_001);
    assert_eq!(receiver.trim(), (vec![old], None));
    receiver.stage = Stage::Loaded(new.clone(), Descriptor(7));
    let newest = hold(&mut receiver, 1_700_000_002);
    assert_eq!(receiver.trim(), (vec![new], Some(Descriptor(7))));
    assert_eq!((&receiver.stage, receiver.oldest()), (&Stage::Empty, Some(&newest)));
}

#[test]
fn a_batch_in_flight_goes_after_its_reply() {
    let mut receiver = receiver();
    let old = hold(&mut receiver, 1_700_000_000);
    let delivery = Delivery::Backlog(old.clone(), Descriptor(7));
    receiver.begin_delivery(delivery.clone(), Instant::now());
    let new = hold(&mut receiver, 1_700_000_001);
    assert_eq!(receiver.trim(), (vec![], None));
    receiver.end_delivery(&delivery);
    assert_eq!(receiver.trim(), (vec![old], None));
    assert_eq!(receiver.oldest(), Some(&new));
}
