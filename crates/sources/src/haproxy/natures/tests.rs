//! What a typed answer tells, and when it is asked for.

use crate::{Dialogue, Fault, Memory, Pipelining, Scope, Source};

use super::*;

/// `show stat 3 1 -1 typed;show stat 4 2 -1 typed;show stat 4 4 1 typed` of HAProxy 2.6.12.
const TYPED: &str = include_str!("../../../../../tests/data/typed/haproxy-2.6.txt");

const STAT: &str = "# pxname,svname,type,iid,sid,h4_peak,\n\
                    w,FRONTEND,0,2,0,7,\nx,FRONTEND,0,3,0,7,\nx,\"a,b\",3,3,1,,\n\
                    b,s1,2,4,1,,\nb,s2,2,4,2,,\nb,BACKEND,1,4,0,,\n\n";
const QUESTION: &str = "show stat 2 1 -1 typed;show stat 4 2 -1 typed;show stat 4 4 1 typed\n";

fn info(pid: u32, start: &str, uptime: u32) -> String {
    format!("Name: HAProxy\nPid: {pid}\nUptime_sec: {uptime}\n{start}\n")
}

/// A dialogue whose answers are whole.
fn dialogue(pipelining: Pipelining, servers: bool, memory: Memory, info: &str) -> Dialogue {
    dialogue_of(pipelining, servers, memory, info, STAT)
}

fn dialogue_of(
    pipelining: Pipelining,
    servers: bool,
    memory: Memory,
    info: &str,
    stat: &str,
) -> Dialogue {
    let mut dialogue = Source::HAProxy.dialogue(pipelining, 1 << 20);
    dialogue.recall(memory);
    dialogue.set_scope(Scope { worker: None, servers });
    while let Some(request) = dialogue.request() {
        let request = String::from_utf8_lossy(request).into_owned();
        let mut text = String::new();
        if request.contains("show info") {
            text += info;
        }
        if request.contains("show stat") {
            text += stat;
        }
        // Each line comes in two pieces.
        for piece in text.as_bytes().chunks(7) {
            dialogue.receive(piece, |_, _, _| Ok::<(), Fault>(())).unwrap();
        }
        dialogue.end_of_connection().unwrap();
    }
    dialogue
}

fn questions(dialogue: &Dialogue) -> Vec<String> {
    let lines = dialogue.questions().into_iter();
    lines.map(|line| String::from_utf8(line).unwrap()).collect()
}

fn natures(pairs: &[(&str, Nature)]) -> Natures {
    pairs.iter().map(|(name, nature)| ((*name).to_owned(), *nature)).collect()
}

/// Every line of a real answer is of the form, and agrees with the catalogue. HAProxy calls `type`,
/// and `rate` and `rate_max` of backends, gauges.
#[test]
fn the_natures_of_a_real_answer_are_those_of_the_catalogue() {
    let mut lines = 0;
    for line in TYPED.lines().filter(|line| !line.is_empty()) {
        let (name, nature) = read_line(line).unwrap_or_else(|| panic!("{line}"));
        lines += 1;
        if name == "type" || line.starts_with("B.") && name.starts_with("rate") {
            continue;
        }
        assert_eq!(nature, catalog::nature(name), "{line}");
    }
    assert!(lines > 150, "{lines}");
    assert_eq!(read(TYPED.as_bytes()), Ok(Natures::new()));
}

#[test]
fn new_columns_of_a_real_answer_have_their_natures() {
    let renamed = TYPED.replace(".smax.", ".h4_peak.").replace(".addr.", ".h4_addr.");
    let renamed = renamed.replace(".lastsess.", ".h4_age.").replace(".weight.", ".h4_weight.");
    let expected = [
        ("h4_peak", Nature::Maximum),
        ("h4_addr", Nature::Other),
        ("h4_age", Nature::Age),
        ("h4_weight", Nature::Average),
    ];
    assert_eq!(read(renamed.as_bytes()), Ok(natures(&expected)));
    for cut in 0..renamed.len() {
        assert!(read(&renamed.as_bytes()[..cut]).is_err() || renamed[..cut].ends_with("\n\n"));
    }
}

#[test]
fn what_is_no_typed_answer_is_refused_and_odd_lines_are_passed_over() {
    for text in ["", "\n\n", "Unknown command: show stat\n\n", "Permission denied\n\n", STAT] {
        assert_eq!(read(text.as_bytes()), Err(Odd::Malformed), "{text:?}");
    }
    let odd = "F.2.0.9.h4.1:MCP:u64:1\nF.2.0.9.h4.1:MGP:u64:1\nB.2.0.9.h4_new.1:MzP:u64:1\n\
               F.2.0.9.h4_id.1:KGP:u32:1\nF.2.0.9.h4_cut.1:M\nF.x.0.9.h4_x.1:MCP:u64:1\n\
               F.2.0.9.h/4.1:MCP:u64:1\n\n";
    let expected = [("h4", Nature::Counter), ("h4_id", Nature::Other)];
    assert_eq!(read(odd.as_bytes()), Ok(natures(&expected)));
    let many: String = (0..1000).map(|at| format!("F.2.0.9.c{at}.1:MCP:u64:1\n")).collect();
    assert_eq!(read((many + "\n").as_bytes()).unwrap().len(), NATURES_MAX);
}

#[test]
fn a_new_column_is_asked_for_once_in_each_start_of_a_process() {
    let (on, start) = (Pipelining::On, "Start_time_sec: 100\n");
    let ask = |memory: &Memory, info: &str| dialogue(on, true, memory.clone(), info);
    let mut first = ask(&Memory::None, &info(7, start, 1));
    assert_eq!(questions(&first), [QUESTION]);
    let told = natures(&[("h4_peak", Nature::Maximum)]);
    first.end_questions(told.clone());
    assert_eq!(questions(&first), [""; 0]);
    let memory = first.memory();
    assert_eq!(memory.natures(), Some(&told));

    let second = ask(&memory, &info(7, start, 11));
    assert_eq!(questions(&second), [""; 0]);
    assert_eq!(second.memory().natures(), Some(&told));
    // Another process, or another start under the same number.
    for info in [info(8, start, 12), info(7, "Start_time_sec: 111\n", 12)] {
        assert_eq!(questions(&ask(&second.memory(), &info)), [QUESTION], "{info}");
    }
    // Without the second of the start a lower uptime shows a new start.
    let mut old = ask(&Memory::None, &info(7, "", 20));
    old.end_questions(Natures::new());
    assert_eq!(questions(&ask(&old.memory(), &info(7, "", 20))), [""; 0]);
    assert_eq!(questions(&ask(&old.memory(), &info(7, "", 19))), [QUESTION]);
}

#[test]
fn a_question_that_failed_leaves_the_old_natures_and_is_not_repeated() {
    let start = "Start_time_sec: 100\n";
    let ask = |memory, info: &str| dialogue(Pipelining::On, true, memory, info);
    let told = natures(&[("h4_peak", Nature::Maximum)]);
    let mut first = ask(Memory::None, &info(7, start, 1));
    first.end_questions(told.clone());
    let mut restarted = ask(first.memory(), &info(8, start, 1));
    restarted.end_questions(Natures::new());
    assert_eq!(restarted.memory().natures(), Some(&told));
    assert_eq!(questions(&ask(restarted.memory(), &info(8, start, 2))), [""; 0]);
}

#[test]
fn columns_of_the_catalogue_alone_are_not_asked_for_and_forget_the_natures() {
    let info = info(7, "", 1);
    let mut first = dialogue(Pipelining::On, true, Memory::None, &info);
    first.end_questions(natures(&[("h4_peak", Nature::Maximum)]));
    let known = STAT.replace("h4_peak", "smax");
    let without = dialogue_of(Pipelining::On, true, first.memory(), &info, &known);
    assert_eq!(questions(&without), [""; 0]);
    assert_eq!(without.memory().natures(), Some(&Natures::new()));
}

#[test]
fn one_command_at_a_time_is_asked_where_a_socket_takes_no_more() {
    let off = dialogue(Pipelining::Off, true, Memory::None, &info(7, "", 1));
    let all: Vec<_> = QUESTION.trim().split(';').map(|text| format!("{text}\n")).collect();
    assert_eq!(questions(&off), all);
}

/// Servers are asked for in the first cycle that has them (`servers-interval`).
#[test]
fn servers_are_asked_for_when_they_come() {
    let info = info(7, "", 1);
    let without = "# pxname,svname,type,iid,sid,h4_peak,\nw,FRONTEND,0,2,0,7,\n\
                   b,BACKEND,1,4,0,,\n\n";
    let ask = |servers, memory, stat| dialogue_of(Pipelining::On, servers, memory, &info, stat);
    let mut first = ask(false, Memory::None, without);
    assert_eq!(questions(&first), ["show stat 2 1 -1 typed;show stat 4 2 -1 typed\n"]);
    first.end_questions(Natures::new());
    let second = ask(false, first.memory(), without);
    assert_eq!(questions(&second), [""; 0]);
    let mut third = ask(true, second.memory(), STAT);
    assert_eq!(questions(&third), ["show stat 4 4 1 typed\n"]);
    third.end_questions(Natures::new());
    assert_eq!(questions(&ask(true, third.memory(), STAT)), [""; 0]);
}

/// Through a master CLI nothing is asked beside the answers.
#[test]
fn a_worker_of_a_master_is_not_asked() {
    let mut dialogue = Source::HAProxy.dialogue(Pipelining::Off, 1 << 20);
    dialogue.set_scope(Scope { worker: Some(7), servers: true });
    for text in [info(7, "", 1), STAT.to_owned()] {
        dialogue.request().unwrap();
        dialogue.receive(text.as_bytes(), |_, _, _| Ok::<(), Fault>(())).unwrap();
        dialogue.end_of_connection().unwrap();
    }
    assert_eq!(questions(&dialogue), [""; 0]);
}

#[test]
fn long_lines_and_odd_rows_end_the_search() {
    let info = info(7, "", 1);
    let long =
        format!("# pxname,svname,type,iid,sid,h4_peak,\nw,{},0,2,0,\n\n", "x".repeat(20_000));
    for stat in [&*long, "# pxname,svname,h4_peak,\nw,FRONTEND,7,\n\n", "# pxname,svname,h4,\n\n"] {
        let dialogue = dialogue_of(Pipelining::On, true, Memory::None, &info, stat);
        assert_eq!(questions(&dialogue), [""; 0], "{}", stat.len());
    }
}
