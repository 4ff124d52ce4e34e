//! Runs the tests that reach `unsafe` code under valgrind's memcheck, which finds reads and writes
//! outside of allocated memory.
//!
//! Miri would see more, but it needs a nightly compiler and cannot run polars. Properties draw few
//! cases here, because valgrind makes a program some thirty times slower.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::results::Results;
use crate::{Failure, cargo, find_program, stream};

/// The test binaries, and words for the names of the tests that run.
const CHECKED: [(&str, &[&str]); 4] = [
    // Separators by SSE2, and their callers.
    ("haproxystats_fold", &["separators::", "rows::", "cells::"]),
    // Folds, in which polars checks no bounds.
    ("fold", &[]),
    // The state of a connection, from the kernel.
    ("graphite", &["lasting::batches_share", "close::it_comes_over_ipv6"]),
    // The resource usage of a child that has ended.
    ("xtask", &["bench::usage"]),
];

const CASES: (&str, &str) = ("PROPTEST_CASES", "8");
/// The exit status of valgrind when it finds something; no test has it.
const FOUND: &str = "--error-exitcode=99";

/// Builds the tests and runs these; does nothing if valgrind is missing. Failures go to `results`,
/// and the next binary runs all the same.
pub(super) fn check(results: &mut Results) {
    let Some(valgrind) = find_program("valgrind") else {
        println!("xtask: valgrind is missing: unsafe code is not checked");
        return;
    };
    let built = match built() {
        Ok(built) => built,
        Err(failure) => return results.add("memcheck", failure),
    };
    for (target, words) in CHECKED {
        let name = format!("memcheck of {target}");
        let Some(program) = built.get(target) else {
            results.add(&name, "there is no such test binary".to_owned());
            continue;
        };
        println!("xtask: {name}: {}", words.join(" "));
        let mut command = Command::new(&valgrind);
        command.args(["-q", FOUND, "--fair-sched=yes"]);
        command.arg(program).args(words).args(["--test-threads", "1"]);
        command.env(CASES.0, CASES.1);
        results.begin();
        match stream::run(command, &mut |piece| results.read(piece)) {
            // A run without a test is a failure, because a renamed test would leave its code
            // unchecked.
            Ok(status) => results.end_binary(&name, status),
            Err(failure) => results.add(&name, failure),
        }
    }
}

/// The test programs of the workspace by the names of their targets.
fn built() -> Result<HashMap<String, PathBuf>, Failure> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cargo test: {error}"))?;
    if !output.status.success() {
        return Err(format!("the tests do not build: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(test_program).collect())
}

/// The target and the program of a message of cargo about a test.
fn test_program(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let test = message.get("profile")?.get("test")?.as_bool()?;
    let program = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    test.then(|| (name.to_owned(), PathBuf::from(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_tests_are_taken() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"fold"}},
                "profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = test_program(&message(true, r#""/t/fold-1""#));
        assert_eq!(found, Some(("fold".to_owned(), PathBuf::from("/t/fold-1"))));
        assert_eq!(test_program(&message(false, r#""/t/fold""#)), None);
        assert_eq!(test_program(&message(true, "null")), None);
        assert_eq!(test_program("no JSON"), None);
    }
}
