//! The dialogue with whole, cut and hostile answers.

use super::*;
use crate::{Memory, Pipelining, Source};

const ANSWER: &[u8] = b"{\"cache\": {\"size\": 3212}, \"db\": {\"loads\": -1}}\n";

/// The file of an answer that comes in these pieces.
fn ask(limit: u64, pieces: &[&[u8]]) -> Result<Vec<u8>, crate::Fault> {
    let request = Request { database: "catalog", sampling_seconds: 60 };
    let mut dialogue = Source::Zope(request).dialogue(Pipelining::On, limit);
    assert_eq!(dialogue.request(), Some(&b"perf_metrics catalog 60\n"[..]));
    let mut file = Vec::new();
    for piece in pieces {
        dialogue.receive(piece, |suffix, bytes, is_whole| {
            assert_eq!((suffix, is_whole), ("_zope", false));
            file.extend_from_slice(bytes);
            Ok::<(), crate::Fault>(())
        })?;
    }
    dialogue.end_of_connection()?;
    assert_eq!(dialogue.file_bytes(), file.len() as u64);
    assert_eq!(dialogue.memory(), Memory::None);
    assert_eq!(dialogue.request(), None);
    Ok(file)
}

fn fault(answer: &[u8]) -> Fault {
    match ask(1 << 20, &[answer]) {
        Err(crate::Fault::Zope(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_answer_is_the_file_wherever_it_is_split() {
    for split in 0..=ANSWER.len() {
        let (first, second) = ANSWER.split_at(split);
        assert_eq!(ask(1 << 20, &[first, second]).unwrap(), ANSWER, "{split}");
    }
}

#[test]
fn a_cut_answer_is_found_at_any_byte() {
    assert_eq!(fault(b""), Fault::Empty);
    // The line feed may be missing: the last bracket is the end.
    for end in 1..ANSWER.len() - 1 {
        let expected = Fault::Truncated { bytes: end as u64 };
        assert_eq!(fault(&ANSWER[..end]), expected, "{end}");
    }
    assert_eq!(ask(1 << 20, &[&ANSWER[..ANSWER.len() - 1]]).unwrap().len(), ANSWER.len() - 1);
}

#[test]
fn what_an_instance_says_in_place_of_metrics_is_told() {
    let error = fault(b"{\"error\": \"Database 'x' disconnected.\"}\n");
    assert!(error.to_string().contains("\"Database \\'x\\' disconnected.\""), "{error}");
    assert!(error.shows_this_kind());
    assert_eq!(fault(b"Invalid command 'perf_metrics'\nTry \"help\".\n"), Fault::UnknownCommand);
    let booting = fault(b"Instance is booting\n");
    assert!(booting.to_string().contains("\"Instance is booting\" in place of"), "{booting}");
    assert!(!booting.shows_this_kind());
    assert_eq!(fault(b"{}\n"), Fault::NoMetrics);
    let hostile = fault(b"\x1b]0;x\x07\xff{\n").to_string();
    assert!(!hostile.contains(char::is_control), "{hostile:?}");
}

#[test]
fn an_answer_without_end_costs_no_memory() {
    let piece = [b'{'; 16 * 1024];
    let pieces = vec![&piece[..]; 5];
    let limit_of = |limit| match ask(limit, &pieces) {
        Err(crate::Fault::Zope(Fault::TooLong { limit })) => limit,
        other => panic!("{other:?}"),
    };
    assert_eq!((limit_of(1 << 30), limit_of(100)), (ANSWER_MAX_BYTES, 100));
}

#[test]
fn the_state_of_a_fault_has_no_number_that_changes() {
    assert_eq!(fault(&ANSWER[..3]).state(), fault(&ANSWER[..9]).state());
    assert_ne!(fault(&ANSWER[..3]).state(), fault(b"{}").state());
}
