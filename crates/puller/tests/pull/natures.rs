//! The natures of columns that the catalogue lacks, from the question to the manifest.

use std::collections::BTreeMap;

use config::Pull;

use crate::fake::{Fake, Script};
use crate::on_one_thread;
use crate::workbench::{SECOND, Workbench, set_clock};

const STAT: &str = "# pxname,svname,type,iid,sid,h4_peak,\nw,FRONTEND,0,2,0,7,\n\n";
const QUESTION: &str = "show stat 2 1 -1 typed\n";

fn typed(tags: &str) -> String {
    format!("F.2.0.4.scur.1:MGP:u32:0\nF.2.0.5.h4_peak.1:{tags}:u32:7\n\n")
}

/// The script of a process with a new column.
fn process(pid: u32, typed: &str) -> Script {
    let info = format!("Name: HAProxy\nPid: {pid}\nStart_time_sec: 100\n\n");
    let both = format!("{info}{STAT}");
    Script::ByLine(vec![("show info;show stat\n", both), (QUESTION, typed.to_owned())])
}

fn natures(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, nature)| ((*name).to_owned(), (*nature).to_owned())).collect()
}

#[test]
fn each_manifest_has_the_natures_and_they_are_asked_for_once_a_start() {
    on_one_thread(async {
        let bench = Workbench::new();
        let fake = Fake::unix(&bench.socket("a"), process(7, &typed("MMP")));
        let _other = Fake::unix(&bench.socket("b"), process(9, &typed("MCP")));
        let program = bench.start(bench.config());
        bench.until_snapshots(3).await;
        let max = natures(&[("h4_peak", "max")]);
        for second in 0..3 {
            assert_eq!(bench.manifest(SECOND + second).natures, max, "the first endpoint counts");
        }
        // Another process has the socket now.
        fake.set(process(8, &typed("MGP")));
        bench.until_cycles(2).await;
        set_clock(SECOND + 1000);
        bench.until_snapshot(SECOND + 1000).await;
        bench.stop(program).await;
        assert_eq!(bench.manifest(SECOND + 1000).natures, natures(&[("h4_peak", "gauge")]));
        assert_eq!(bench.answers(SECOND), ["a_info", "a_stat", "b_info", "b_stat"]);
        // One line for each cycle, and one question for each process.
        let cycles = bench.log().matches("a cycle has ended").count();
        let asked = fake.asked();
        assert!((cycles + 2..=cycles + 3).contains(&asked), "{asked} lines in {cycles} cycles");
    });
}

#[test]
fn a_question_without_an_answer_costs_the_natures_alone() {
    on_one_thread(async {
        let cut = typed("MMP");
        let odd = ["", &cut[..cut.len() - 1], "Unknown command\n\n", "Permission denied\n\n"];
        for answer in odd {
            let bench = Workbench::new();
            let _fake = Fake::unix(&bench.socket("a"), process(7, answer));
            let program = bench.start(bench.config());
            bench.until_snapshots(3).await;
            bench.stop(program).await;
            assert_eq!(bench.manifest(SECOND).natures, natures(&[]), "{answer:?}");
            assert_eq!(bench.cycle(SECOND + 2).endpoint_failures, 0, "{answer:?}");
            assert_eq!(bench.file(SECOND, "a_stat"), STAT);
            assert_eq!(bench.count("new columns fold by their names"), 1, "{}", bench.log());
        }
    });
}

/// The question has a limit of its own, because pull-timeout may be off.
#[test]
fn an_endpoint_that_hangs_at_the_question_is_in_the_snapshot() {
    on_one_thread(async {
        let bench = Workbench::new();
        let endless = "F.2.0.4.scur.1:MGP:u32:0\n".repeat(100_000);
        let _fake = Fake::unix(&bench.socket("a"), process(7, &endless));
        let other = Fake::unix(&bench.socket("b"), process(9, "#"));
        other.set(Script::StallAt(QUESTION, format!("Name: HAProxy\n\n{STAT}")));
        let program = bench.start(Pull { pull_timeout: None, ..bench.config() });
        bench.until_snapshots(1).await;
        bench.stop(program).await;
        assert_eq!(bench.answers(SECOND), ["a_info", "a_stat", "b_info", "b_stat"]);
        assert_eq!(bench.count("no answer within 1 s"), 1, "{}", bench.log());
        assert_eq!(bench.count("is cut after 65536 bytes"), 1, "{}", bench.log());
    });
}
