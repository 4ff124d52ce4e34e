//! The dialogue with recorded and with broken answers.

use super::*;
use crate::{Memory, Pipelining, Source};

const DOCUMENT: &[u8] = b"{\"pid\":7,\"workers\":[{\"requests\":3,\"vars\":[\"COOKIE=k\"]}]}";
const KEPT: &str = "{\"pid\":7,\"workers\":[{\"requests\":3,\"vars\":null}]}";

fn ask(carrier: Carrier, limit: u64, pieces: &[&[u8]]) -> Result<(Vec<u8>, Memory), crate::Fault> {
    ask_after(Memory::None, carrier, limit, pieces)
}

fn ask_after(
    memory: Memory,
    carrier: Carrier,
    limit: u64,
    pieces: &[&[u8]],
) -> Result<(Vec<u8>, Memory), crate::Fault> {
    let mut dialogue = Source::Uwsgi(carrier).dialogue(Pipelining::On, limit);
    dialogue.recall(memory);
    let request = dialogue.request().unwrap();
    assert_eq!(request.is_empty(), carrier == Carrier::Plain);
    let mut file = Vec::new();
    for piece in pieces {
        dialogue.receive(piece, |suffix, bytes, is_whole| {
            assert_eq!((suffix, is_whole), ("_uwsgi", false));
            file.extend_from_slice(bytes);
            Ok::<(), crate::Fault>(())
        })?;
    }
    dialogue.end_of_connection()?;
    assert_eq!(dialogue.file_bytes(), file.len() as u64);
    assert!(dialogue.request().is_none());
    Ok((file, dialogue.memory()))
}

fn fault(carrier: Carrier, answer: &[u8]) -> Fault {
    match ask(carrier, 1 << 20, &[answer]) {
        Err(crate::Fault::Uwsgi(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_the_requests_of_the_last_cycle_and_the_document_without_variables() {
    let (file, memory) = ask(Carrier::Plain, 1 << 20, &[DOCUMENT]).unwrap();
    assert_eq!(String::from_utf8(file).unwrap(), format!("{{\"haproxystats\":1}}\n{KEPT}"));
    let (file, _) = ask_after(memory, Carrier::Plain, 1 << 20, &[DOCUMENT]).unwrap();
    let line = "{\"haproxystats\":1,\"master\":7,\"requests\":[3]}";
    assert_eq!(String::from_utf8(file).unwrap(), format!("{line}\n{KEPT}"));
}

#[test]
fn the_head_of_http_is_removed_wherever_it_is_split() {
    let head = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n";
    let answer = [head.as_slice(), DOCUMENT].concat();
    let expected = ask(Carrier::Plain, 1 << 20, &[DOCUMENT]).unwrap();
    for split in 0..answer.len() {
        let (first, second) = answer.split_at(split);
        assert_eq!(ask(Carrier::Http, 1 << 20, &[first, second]).unwrap(), expected, "{split}");
    }
}

#[test]
fn a_fault_says_what_came_and_what_to_do() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let plain = |answer: &[u8]| fault(Carrier::Plain, answer);
    let http = |answer: &[u8]| fault(Carrier::Http, answer);
    assert_eq!(plain(b""), Fault::Empty);
    for end in 1..DOCUMENT.len() {
        assert_eq!(plain(&DOCUMENT[..end]), Fault::Truncated { bytes: end as u64 });
    }
    assert_eq!(plain(b"HTTP/1.0 200 OK\r\n"), Fault::UnaskedHttp);
    assert_eq!(plain(b"{\"version\":\"1\"}"), Fault::OtherDocument);
    assert!(matches!(plain(b"{\"workers\":[]}{"), Fault::Malformed { .. }));
    assert!(matches!(plain(b"uwsgi: broken"), Fault::Malformed { .. }));
    assert_eq!(http(DOCUMENT), Fault::NoHttp);
    assert!(matches!(http(head), Fault::Truncated { .. }));
    let quote = |answer: &[u8]| match http(answer) {
        Fault::Status { quote } => quote,
        other => panic!("{other:?}"),
    };
    assert_eq!(quote(b"HTTP/1.1 404 Not\x1b Found\r\n\r\n{}"), "HTTP/1.1 404 Not\\x1b Found");
    assert_eq!(quote(b"HTTP/1.1 503"), "HTTP/1.1 503");
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; HEAD_MAX_BYTES]].concat();
    assert_eq!(http(&endless), Fault::HeadTooLong);
    let long = ask(Carrier::Plain, 10, &[DOCUMENT]).unwrap_err();
    assert_eq!(long, Fault::TooLong { limit: 10 }.into());
}
