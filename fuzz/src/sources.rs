//! Answers of uWSGI and Zope, and the list of a master CLI: whatever an endpoint sends, in pieces
//! of any length, no dialogue panics, the pieces do not matter, and an answer that was taken as
//! whole can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Batch, SnapshotId, Timestamp, form};
use sources::haproxy::master;
use sources::{Answer, Fault, Pipelining, Source};

const LIMIT: u64 = 1 << 20;

/// The file of an answer that comes in pieces of this length; `None` if it is refused.
fn file(source: Source, answer: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut dialogue = source.dialogue(Pipelining::Off, LIMIT);
    dialogue.request()?;
    let mut file = Vec::new();
    for piece in answer.chunks(length) {
        let received = dialogue.receive(piece, |_, bytes, _| {
            file.extend_from_slice(bytes);
            Ok::<(), Fault>(())
        });
        received.ok()?;
    }
    dialogue.end_of_connection().ok()?;
    Some(file)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((length, answer)) = bytes.split_first() else { return };
    let length = usize::from(*length).max(1);
    if let Ok(workers) = master::read(answer) {
        assert!(workers.current.iter().chain(&workers.old).all(|worker| worker.pid > 0));
    }
    for source in Source::ALL.into_iter().filter(|source| *source != Source::HAProxy) {
        let whole = file(source, answer, answer.len().max(1));
        assert_eq!(file(source, answer, length), whole, "{source:?}");
        let Some(bytes) = whole else { continue };
        let suffix = source.suffixes()[0];
        let answer = |name: &str| Answer {
            endpoint: name.to_owned(),
            file: format!("{name}{suffix}"),
            bytes: bytes.clone(),
        };
        let answers = [answer("shop%2finstance1"), answer("shop")];
        let Some(reading) = source.read(&answers) else { panic!("{source:?} reads nothing") };
        // What is read can be kept and read again.
        let timestamp = Timestamp::of_seconds(1_700_000_000);
        let id = SnapshotId { origin: "lb1".to_owned(), timestamp, serial: 1 };
        let batch = Batch { id, tables: reading.tables };
        let mut kept = Vec::new();
        form::write(&batch, &mut kept).expect("a batch is written");
    }
});
