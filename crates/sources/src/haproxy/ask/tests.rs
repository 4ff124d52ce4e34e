//! The begin and the end of answers, with every place at which a read can cut them.

use super::answers::{HEAD_BYTES, HEADER, MASTER};
use super::list::LIST_BYTES;
use super::*;

const INFO: &[u8] = b"Name: HAProxy\nVersion: 2.6.12\nUptime: 0d 0h00m05s\n\n";
const STAT: &[u8] = b"# pxname,svname,\nweb,FRONTEND,\nweb,BACKEND,\n\n";
const LIMIT: u64 = 1 << 20;

/// The contents of the files after the bytes have come in these pieces.
fn take_all(
    commands: &'static [Command],
    limit: u64,
    pieces: &[&[u8]],
) -> Result<Vec<(Command, Vec<u8>)>, Fault> {
    let mut answers = Answers::new(commands, limit);
    let mut files: Vec<(Command, Vec<u8>)> = Vec::new();
    let mut whole = Vec::new();
    for piece in pieces {
        let result = answers.receive(piece, |command, bytes, is_whole| {
            match files.last_mut() {
                Some((last, file)) if *last == command => file.extend_from_slice(bytes),
                _ => files.push((command, bytes.to_vec())),
            }
            if is_whole {
                whole.push(command);
            }
            Ok::<(), crate::Fault>(())
        });
        result.map_err(own)?;
    }
    answers.end()?;
    assert_eq!(whole, commands[..commands.len() - 1], "each but the last is closed once");
    Ok(files)
}

fn own(fault: crate::Fault) -> Fault {
    match fault {
        crate::Fault::HAProxy(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn both(pieces: &[&[u8]]) -> Result<Vec<(Command, Vec<u8>)>, Fault> {
    take_all(BOTH, LIMIT, pieces)
}

fn whole() -> Vec<(Command, Vec<u8>)> {
    vec![(Command::Info, INFO.to_vec()), (Command::Stat, STAT.to_vec())]
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
fn answers_may_come_in_single_bytes() {
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
    assert_eq!(take_all(&[Command::Info], LIMIT, &[INFO]).unwrap(), whole()[..1]);
    assert_eq!(take_all(&[Command::Stat], LIMIT, &[STAT]).unwrap(), whole()[1..]);
    let fault = take_all(&[Command::Info], LIMIT, &[&INFO[..INFO.len() - 1]]).unwrap_err();
    assert_eq!(fault, Fault::Truncated { command: Command::Info, bytes: INFO.len() as u64 - 1 });
}

#[test]
fn a_refusal_is_quoted_and_asks_for_one_command_at_a_time() {
    for text in ["Unknown command: 'show info;show stat'\nhelp\n\n", "Permission denied\n\n"] {
        let fault = both(&[text.as_bytes()]).unwrap_err();
        assert!(fault.suggests_single_requests());
        let first_line = text.lines().next().unwrap();
        assert!(fault.to_string().contains(&first_line.escape_default().to_string()), "{fault}");
    }
    let fault = both(&[INFO, b"Permission denied\n\n"]).unwrap_err();
    assert!(fault.to_string().starts_with("refused `show stat`: \"Permission denied\""));
    assert_eq!(both(&[INFO]).unwrap_err(), Fault::Empty(Command::Stat));
    assert!(Fault::Empty(Command::Stat).suggests_single_requests());
    assert!(!Fault::Empty(Command::Info).suggests_single_requests());
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
        assert!(matches!(fault, Fault::Malformed { command: Command::Info, .. }), "{fault}");
        let text = fault.to_string();
        assert!(text.len() < 500 && text.bytes().all(|byte| byte >= b' '), "{text}");
    }
    let fault = both(&[INFO, b"pxname,svname,\n\n"]).unwrap_err();
    assert!(matches!(fault, Fault::Malformed { command: Command::Stat, .. }), "{fault}");
}

#[test]
fn garbage_is_refused_before_its_end() {
    let mut answers = Answers::new(BOTH, LIMIT);
    let result = answers.receive(&[b'x'; HEAD_BYTES], |_, _, _| Ok::<(), crate::Fault>(()));
    assert!(matches!(result, Err(crate::Fault::HAProxy(Fault::Malformed { .. }))));
}

#[test]
fn each_answer_may_have_as_many_bytes_as_the_limit() {
    let longest = INFO.len().max(STAT.len()) as u64;
    assert!(take_all(BOTH, longest, &[INFO, STAT]).is_ok());
    let fault = take_all(BOTH, longest - 1, &[INFO, STAT]).unwrap_err();
    assert_eq!(fault, Fault::TooLong { command: Command::Info, limit: longest - 1 });
}

#[test]
fn names_in_any_encoding_are_taken_as_they_come() {
    let stat = b"# pxname,svname,\n\xff\xfe\x00,FRONTEND,\n\n";
    assert_eq!(both(&[INFO, stat]).unwrap()[1].1, stat);
}

/// The answer of HAProxy 2.6.12 with `description "one\n\ntwo: x\n# pxname,"`, with more lines.
const DESCRIBED: &[u8] =
    b"Name: HAProxy\ndescription: \"one\n\n\n# pxname,x\n\ntwo: x\n# pxname,\"\nTainted: 0\n\n";

#[test]
fn an_empty_line_in_the_description_is_part_of_the_info_wherever_two_reads_cut() {
    let sent = [DESCRIBED, STAT].concat();
    let expected = [(Command::Info, DESCRIBED.to_vec()), (Command::Stat, STAT.to_vec())];
    for first in 0..=sent.len() {
        for second in first..=sent.len() {
            let pieces = [&sent[..first], &sent[first..second], &sent[second..]];
            assert_eq!(both(&pieces).unwrap(), expected, "cut at {first} and {second}");
        }
    }
    let pieces: Vec<&[u8]> = sent.chunks(1).collect();
    assert_eq!(both(&pieces).unwrap(), expected);
    for length in 0..sent.len() {
        assert!(both(&[&sent[..length]]).is_err(), "{length} bytes");
    }
}

/// HAProxy 2.1.4 and proxies send them.
#[test]
fn more_empty_lines_between_the_answers_or_before_one_are_harmless() {
    for lines in 1..4 {
        let more = vec![b'\n'; lines];
        let sent = [INFO, &more, STAT].concat();
        for cut in 0..=sent.len() {
            let files = both(&[&sent[..cut], &sent[cut..]]).unwrap();
            assert_eq!(files[0], (Command::Info, [INFO, &more].concat()), "{lines}, cut at {cut}");
            assert_eq!(files[1], (Command::Stat, STAT.to_vec()));
        }
        let first = [&more, INFO, STAT].concat();
        assert_eq!(both(&[&first]).unwrap()[1], whole()[1]);
        let alone = [&more, STAT].concat();
        assert_eq!(take_all(&[Command::Stat], LIMIT, &[&alone]).unwrap()[0].1, alone);
    }
}

#[test]
fn a_header_without_an_empty_line_before_it_is_no_border() {
    let sent = b"Name: HAProxy\n# pxname,svname,\n\n";
    for cut in 0..=sent.len() {
        let fault = both(&[&sent[..cut], &sent[cut..]]).unwrap_err();
        assert_eq!(fault, Fault::Empty(Command::Stat), "cut at {cut}");
    }
    let fault = both(&[INFO, &HEADER[..5]]).unwrap_err();
    assert_eq!(fault, Fault::Truncated { command: Command::Stat, bytes: 5 });
}

/// `last_chk` of HAProxy before 3.0 holds what a server sent.
#[test]
fn a_quoted_cell_may_hold_line_breaks_empty_lines_and_a_header() {
    let stat = b"# pxname,svname,last_chk,\nweb,s1,\"a \"\"b\"\"\r\n\n\n# pxname,svname,\n\",\n\n";
    let sent = [INFO, stat].concat();
    for cut in 0..=sent.len() {
        let files = both(&[&sent[..cut], &sent[cut..]]).unwrap();
        assert_eq!(
            files,
            [(Command::Info, INFO.to_vec()), (Command::Stat, stat.to_vec())],
            "{cut}"
        );
    }
}

#[test]
fn the_severity_before_a_refusal_hides_nothing() {
    for text in ["[6]: Permission denied\n\n", "[info]: Unknown command: 'show info'\n\n"] {
        let fault = both(&[text.as_bytes()]).unwrap_err();
        assert!(matches!(fault, Fault::Refused { command: Command::Info, .. }), "{fault}");
        let fault = both(&[INFO, text.as_bytes()]).unwrap_err();
        assert!(matches!(fault, Fault::Refused { command: Command::Stat, .. }), "{fault}");
    }
}

#[test]
fn another_kind_of_socket_is_recognised_by_its_first_line() {
    let kind = |sent: &str| both(&[sent.as_bytes()]).unwrap_err().other_kind();
    let master = format!("{MASTER}\n  show proc\n\n");
    for (sent, words) in [
        (&*master, "master CLI"),
        (&format!("[6]: {master}"), "master CLI"),
        ("HTTP/1.1 400 Bad request\r\n\r\n", "HTTP"),
        ("501\n", "peers"),
    ] {
        assert!(kind(sent).is_some_and(|kind| kind.contains(words)), "{sent}");
    }
    for sent in ["Unknown command: 'x'\n\n", "Permission denied\n\n", "garbage\n\n", "5011\n", ""] {
        assert_eq!(kind(sent), None, "{sent}");
    }
    let of_stat = both(&[INFO, master.as_bytes()]).unwrap_err();
    assert_eq!(of_stat.other_kind(), None);
}

/// The answers of HAProxy 2.2 as a master and as a worker, shortened.
const OLD_MASTER: &str = "Unknown command. Please enter one of the following commands only :\n  \
     help           : this message\n  prompt         : toggle interactive mode with prompt\n  \
     @<relative pid> : send a command to the <relative pid> process\n  \
     show proc      : show processes status\n  reload         : reload haproxy\n\n";
const OLD_WORKER: &str = "Unknown command. Please enter one of the following commands only :\n  \
     help           : this message\n  show profiling : show CPU profiling options\n  \
     clear counters : as show proc, it lists no process\n  show p\n\n";

#[test]
fn the_master_of_an_old_haproxy_is_known_by_its_list_wherever_reads_cut() {
    let severe = format!("[6]: {OLD_MASTER}");
    let after_empty_line = format!("\n{OLD_MASTER}");
    for sent in [OLD_MASTER, &severe, &after_empty_line] {
        for commands in [BOTH, &[Command::Info]] {
            for cut in 0..=sent.len() {
                let (first, second) = sent.as_bytes().split_at(cut);
                let fault = take_all(commands, LIMIT, &[first, second]).unwrap_err();
                assert!(fault.other_kind().is_some_and(|kind| kind.contains("master")), "{cut}");
                assert!(fault.to_string().contains("\"Unknown command. Pl") || sent == severe);
            }
        }
    }
    let fault = both(&OLD_MASTER.as_bytes().chunks(1).collect::<Vec<_>>()).unwrap_err();
    assert!(fault.other_kind().is_some(), "{fault}");
}

#[test]
fn the_refusal_of_an_old_worker_stays_one_wherever_reads_cut() {
    for cut in 0..=OLD_WORKER.len() {
        let (first, second) = OLD_WORKER.as_bytes().split_at(cut);
        let fault = both(&[first, second]).unwrap_err();
        assert!(matches!(fault, Fault::Refused { by_master: false, .. }), "{cut}: {fault:?}");
        assert!(fault.suggests_single_requests() && fault.other_kind().is_none(), "{cut}");
    }
    // An empty line ends the refusal, so the text after it does not count.
    let two = format!("Unknown command\n\n{OLD_MASTER}");
    assert_eq!(both(&[two.as_bytes()]).unwrap_err().other_kind(), None);
}

#[test]
fn a_refusal_without_end_is_searched_within_a_bound() {
    let mut answers = Answers::new(BOTH, LIMIT);
    let mut receive = |bytes: &[u8]| answers.receive(bytes, |_, _, _| Ok::<(), crate::Fault>(()));
    receive(b"Unknown command\n").unwrap();
    let line = [&[b'x'; 63][..], b"\n"].concat();
    let failure = (0..LIST_BYTES / line.len()).map(|_| receive(&line)).find(Result::is_err);
    let fault = own(failure.unwrap().unwrap_err());
    assert!(matches!(fault, Fault::Refused { by_master: false, .. }), "{fault:?}");
}

#[test]
fn a_dialogue_ends_after_its_last_request_and_takes_nothing_before_the_first() {
    for (pipelining, requests) in [(Pipelining::On, 1), (Pipelining::Off, 2)] {
        let mut dialogue = Dialogue::new(pipelining, LIMIT);
        let mut files = Vec::new();
        let mut write = |suffix: &str, _: &[u8], _| {
            files.push(suffix.to_owned());
            Ok::<(), crate::Fault>(())
        };
        dialogue.receive(INFO, &mut write).unwrap();
        let mut count = 0;
        while let Some(request) = dialogue.request() {
            count += 1;
            let info = if request.starts_with(b"show info") { INFO } else { b"" };
            let stat = if request.ends_with(b"show stat\n") { STAT } else { b"" };
            dialogue.receive(&[info, stat].concat(), &mut write).unwrap();
            dialogue.end_of_connection().unwrap();
        }
        files.dedup();
        assert_eq!((count, files), (requests, SUFFIXES.map(str::to_owned).to_vec()));
    }
}

#[test]
fn a_worker_and_the_proxies_alone_can_be_asked_for() {
    let requests = |pipelining, worker, servers| {
        let mut dialogue = Dialogue::new(pipelining, LIMIT);
        dialogue.set_scope(Scope { worker, servers });
        let mut requests = Vec::new();
        while let Some(request) = dialogue.request() {
            requests.push(String::from_utf8(request.to_vec()).unwrap());
        }
        requests
    };
    let (on, off) = (Pipelining::On, Pipelining::Off);
    assert_eq!(requests(on, None, true), ["show info;show stat\n"]);
    assert_eq!(requests(on, None, false), ["show info;show stat -1 3 -1\n"]);
    assert_eq!(requests(off, None, false), ["show info\n", "show stat -1 3 -1\n"]);
    assert_eq!(requests(off, Some(7), true), ["@!7 show info\n", "@!7 show stat\n"]);
    assert_eq!(requests(off, Some(7), false), ["@!7 show info\n", "@!7 show stat -1 3 -1\n"]);
}

#[test]
fn a_worker_that_has_ended_is_known_by_the_masters_words() {
    for answer in [
        "Can't find the target PID matching the prefix '@!99999'\n",
        "Can't find the target CLI!\n",
    ] {
        let fault = take_all(&[Command::Info], LIMIT, &[answer.as_bytes()]).unwrap_err();
        assert!(fault.says_worker_ended(), "{fault}");
    }
    let fault = take_all(&[Command::Info], LIMIT, &[b"220 hello\n".as_slice()]).unwrap_err();
    assert!(!fault.says_worker_ended(), "{fault}");
}
