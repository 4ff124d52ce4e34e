//! Where answers begin and end, with every place at which a read can cut them.

use super::*;

const INFO: &[u8] = b"Name: HAProxy\nVersion: 2.6.12\nUptime: 0d 0h00m05s\n\n";
const STAT: &[u8] = b"# pxname,svname,\nweb,FRONTEND,\nweb,BACKEND,\n\n";
const LIMIT: u64 = 1 << 20;

/// What the files hold in the end, when the bytes come in these pieces.
fn take_all(
    parts: &'static [Part],
    limit: u64,
    pieces: &[&[u8]],
) -> Result<Vec<(Part, Vec<u8>)>, Fault> {
    let mut answers = Answers::new(parts, limit);
    let mut files: Vec<(Part, Vec<u8>)> = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while let Some(part) = answers.part()
            && !rest.is_empty()
        {
            let (count, _) = answers.take(rest)?;
            match files.last_mut() {
                Some((last, bytes)) if *last == part => bytes.extend_from_slice(&rest[..count]),
                _ => files.push((part, rest[..count].to_vec())),
            }
            rest = &rest[count..];
        }
    }
    answers.end()?;
    Ok(files)
}

fn both(pieces: &[&[u8]]) -> Result<Vec<(Part, Vec<u8>)>, Fault> {
    take_all(TOGETHER[0].parts, LIMIT, pieces)
}

fn whole() -> Vec<(Part, Vec<u8>)> {
    vec![(Part::Info, INFO.to_vec()), (Part::Stat, STAT.to_vec())]
}

#[test]
fn the_boundary_is_found_wherever_two_reads_cut() {
    let sent = [INFO, STAT].concat();
    for first in 0..=sent.len() {
        for second in first..=sent.len() {
            let pieces = [&sent[..first], &sent[first..second], &sent[second..]];
            assert_eq!(both(&pieces).unwrap(), whole(), "cut at {first} and {second}");
        }
    }
}

#[test]
fn single_bytes_are_as_good() {
    let sent = [INFO, STAT].concat();
    let pieces: Vec<&[u8]> = sent.chunks(1).collect();
    assert_eq!(both(&pieces).unwrap(), whole());
}

#[test]
fn an_answer_cut_at_any_byte_is_never_whole() {
    let sent = [INFO, STAT].concat();
    for length in 0..sent.len() {
        assert!(both(&[&sent[..length]]).is_err(), "{length} bytes");
    }
}

#[test]
fn one_command_alone_ends_with_the_connection() {
    assert_eq!(take_all(APART[0].parts, LIMIT, &[INFO]).unwrap(), whole()[..1]);
    assert_eq!(take_all(APART[1].parts, LIMIT, &[STAT]).unwrap(), whole()[1..]);
    let fault = take_all(APART[0].parts, LIMIT, &[&INFO[..INFO.len() - 1]]).unwrap_err();
    assert_eq!(fault, Fault::Cut { part: Part::Info, bytes: INFO.len() as u64 - 1 });
}

#[test]
fn a_refusal_is_quoted_and_asks_for_one_command_at_a_time() {
    for text in ["Unknown command: 'show info;show stat'\nhelp\n\n", "Permission denied\n\n"] {
        let fault = both(&[text.as_bytes()]).unwrap_err();
        assert!(fault.asks_for_one_at_a_time());
        let first_line = text.lines().next().unwrap();
        assert!(fault.to_string().contains(&first_line.escape_default().to_string()), "{fault}");
    }
    let fault = both(&[INFO, b"Permission denied\n\n"]).unwrap_err();
    assert_eq!(fault.to_string(), "refused `show stat`: \"Permission denied\"");
    assert_eq!(both(&[INFO]).unwrap_err(), Fault::Nothing(Part::Stat));
    assert!(Fault::Nothing(Part::Stat).asks_for_one_at_a_time());
    assert!(!Fault::Nothing(Part::Info).asks_for_one_at_a_time());
}

#[test]
fn garbage_is_refused_by_its_first_line_and_quoted_without_its_bytes() {
    let unlike: [&[u8]; 6] = [
        b"HTTP/1.0 400 Bad request\r\n\r\n",
        b"\xff\xfe: \x00\n\n",
        b"\n\n",
        b": no key\n\n",
        b"# pxname,svname,\n\n",
        &[b'x'; 4096],
    ];
    for sent in unlike {
        let fault = both(&[sent]).unwrap_err();
        assert!(matches!(fault, Fault::Unlike { part: Part::Info, .. }), "{fault}");
        let text = fault.to_string();
        assert!(text.len() < 500 && text.bytes().all(|byte| byte >= b' '), "{text}");
    }
    let fault = both(&[INFO, b"pxname,svname,\n\n"]).unwrap_err();
    assert!(matches!(fault, Fault::Unlike { part: Part::Stat, .. }), "{fault}");
}

#[test]
fn garbage_is_refused_before_its_end() {
    let mut answers = Answers::new(TOGETHER[0].parts, LIMIT);
    assert!(matches!(answers.take(&[b'x'; HEAD_BYTES]), Err(Fault::Unlike { .. })));
}

#[test]
fn each_answer_may_have_as_many_bytes_as_the_limit() {
    let longest = INFO.len().max(STAT.len()) as u64;
    assert!(take_all(TOGETHER[0].parts, longest, &[INFO, STAT]).is_ok());
    let fault = take_all(TOGETHER[0].parts, longest - 1, &[INFO, STAT]).unwrap_err();
    assert_eq!(fault, Fault::TooLong { part: Part::Info, limit: longest - 1 });
}

#[test]
fn names_in_any_encoding_are_taken_as_they_come() {
    let stat = b"# pxname,svname,\n\xff\xfe\x00,FRONTEND,\n\n";
    assert_eq!(both(&[INFO, stat]).unwrap()[1].1, stat);
}
