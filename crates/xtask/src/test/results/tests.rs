//! The parser on output of cargo 1.95, and on made-up output.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::{FAILURES_MAX, LINE_MAX_BYTES, Results};

const FAILURES: &str = include_str!("../recorded/failures.txt");
const SIGNAL: &str = include_str!("../recorded/signal.txt");
const COMPILE_ERROR: &str = include_str!("../recorded/compile_error.txt");
const NO_WORKSPACE: &str = include_str!("../recorded/no_workspace.txt");

fn status(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

/// The summary of one run of cargo that failed.
fn summary(output: &str) -> String {
    let mut results = Results::default();
    results.begin();
    results.read(output.as_bytes());
    results.end(status(101));
    results.verdict().unwrap_err()
}

const SUMMARY: &str = "5 failures:
  -p a --lib: tests::also_fails
  -p a --lib: tests::fails
  -p a --test dies: ended before its result (signal: 6, SIGABRT: process abort signal)
  -p a --test exits: ended before its result (exit status: 3)
  -p a --doc: a/src/lib.rs - one (line 5)";

/// Among them a test that prints a list of failures itself.
#[test]
fn failing_tests_doc_tests_and_killed_binaries_are_listed() {
    assert_eq!(summary(FAILURES), SUMMARY);
}

#[test]
fn the_output_may_come_in_pieces() {
    for size in [1, 2, 7, 100] {
        let mut results = Results::default();
        results.begin();
        for piece in FAILURES.as_bytes().chunks(size) {
            results.read(piece);
        }
        results.end(status(101));
        assert_eq!(results.verdict().unwrap_err(), SUMMARY, "{size} bytes each");
    }
}

#[test]
fn colours_are_ignored() {
    let coloured = FAILURES
        .replace("error:", "\u{1b}[1m\u{1b}[91merror\u{1b}[0m:")
        .replace("     Running", "\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m")
        .replace("FAILED", "\u{1b}[31mFAILED\u{1b}(B\u{1b}[m");
    assert!(coloured.contains("\u{1b}[31mFAILED"));
    assert_eq!(summary(&coloured), SUMMARY);
}

/// With one thread the line of the test is still open as cargo writes.
#[test]
fn the_test_that_killed_its_binary_is_named() {
    assert_eq!(
        summary(SIGNAL),
        "1 failure:\n  -p a --test dies: ended before its result, in aborts \
         (signal: 6, SIGABRT: process abort signal)"
    );
}

#[test]
fn a_crate_that_does_not_compile_is_named() {
    let expected = "could not compile `b` (lib test) due to 1 previous error";
    assert_eq!(summary(COMPILE_ERROR), format!("1 failure:\n  cargo test: {expected}"));
}

#[test]
fn where_nothing_ran_the_first_complaint_is_told() {
    let expected = "failed to load manifest for workspace member `/src/example/a`";
    assert_eq!(summary(NO_WORKSPACE), format!("1 failure:\n  cargo test: {expected}"));
    assert_eq!(summary(""), "1 failure:\n  cargo test: ended with exit status: 101");
}

/// Tests that failed before cargo was killed are not lost.
#[test]
fn a_run_that_is_cut_off_tells_what_it_has() {
    let (cut, _) = FAILURES.split_once("error: test failed").unwrap();
    let name = "unittests src/lib.rs (target/debug/deps/a-3110576fc3c3c96d)";
    assert_eq!(
        summary(cut),
        format!("2 failures:\n  {name}: tests::also_fails\n  {name}: tests::fails")
    );
    let (cut, _) = FAILURES.split_once("\nfailures:").unwrap();
    assert!(summary(cut).contains(": tests::fails"), "{}", summary(cut));
}

#[test]
fn the_exit_status_is_the_verdict() {
    let mut results = Results::default();
    results.begin();
    results.read(FAILURES.as_bytes());
    results.end(status(0));
    assert_eq!(results.verdict(), Ok(()));
}

/// A run of one binary: by memcheck.
fn memcheck(output: &str, code: i32) -> Results {
    let mut results = Results::default();
    results.begin();
    results.read(output.as_bytes());
    results.end_binary("memcheck of fold", status(code));
    results
}

#[test]
fn memcheck_fails_by_its_tests_its_finds_and_without_tests() {
    let passes =
        "\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
    assert_eq!(memcheck(passes, 0).verdict(), Ok(()));
    for (output, code, what) in [
        (passes, 99, "ended with exit status: 99"),
        ("test a ... FAILED\n", 139, "a"),
        ("failures:\n    a::b\n\ntest result: FAILED. 0 passed\n", 101, "a::b"),
        ("test result: ok. 0 passed; 0 failed\n", 0, "found no test"),
    ] {
        let expected = Err(format!("1 failure:\n  memcheck of fold: {what}"));
        assert_eq!(memcheck(output, code).verdict(), expected);
    }
}

#[test]
fn failures_of_memcheck_outlive_the_tests() {
    let mut results = memcheck("", 99);
    results.begin();
    results.read(b"test result: ok. 1 passed; 0 failed\n");
    results.end(status(0));
    let expected = "1 failure:\n  memcheck of fold: ended with exit status: 99";
    assert_eq!(results.verdict(), Err(expected.to_owned()));
}

#[test]
fn long_lines_and_many_failures_are_bounded() {
    let mut results = Results::default();
    results.begin();
    for _ in 0..100 {
        results.read(&[b'x'; LINE_MAX_BYTES]);
    }
    assert_eq!(results.line.len(), LINE_MAX_BYTES);
    results.read(b"\n");
    for number in 0..3 * FAILURES_MAX {
        results.read(format!("test number_{number} ... FAILED\n").as_bytes());
    }
    results.read(b"error: test failed, to rerun pass `--lib`\n");
    results.end(status(101));
    let verdict = results.verdict().unwrap_err();
    assert_eq!(verdict.lines().count(), 1 + FAILURES_MAX + 1);
    assert!(verdict.ends_with(" more"), "{verdict}");
}
