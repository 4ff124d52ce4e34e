//! Servers and tools that tests start, if they are installed.
//!
//! A test whose server is missing passes and leaves a note; where all of them should be there,
//! `HAPROXYSTATS_REQUIRE_SERVERS` makes that a failure.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};

/// The paths of the named programs; `None`, with a note, when one is missing.
///
/// # Panics
///
/// One is missing where none may be.
#[must_use]
pub fn installed<const N: usize>(test: &str, programs: [&str; N]) -> Option<[String; N]> {
    let mut found = [const { String::new() }; N];
    for (program, path) in programs.into_iter().zip(&mut found) {
        let Some(there) = find(program) else {
            skip(&format!("{test}: {program} is not installed"));
            return None;
        };
        *path = there;
    }
    Some(found)
}

/// Notes that a test is skipped because a program is not installed.
///
/// # Panics
///
/// All programs should be installed.
pub fn skip(what: &str) {
    let all_are_there = env::var_os("HAPROXYSTATS_REQUIRE_SERVERS").is_some();
    assert!(!all_are_there, "not to be skipped: {what}");
    skip_for_the_machine(what);
}

/// Notes that a test is skipped because this machine does not allow it, which is never a failure.
pub fn skip_for_the_machine(what: &str) {
    // Directly to standard error, because libtest hides the output of `eprintln!` of a passed test.
    // A note that cannot be written must not fail the test.
    let _ = io::stderr().write_all(format!("skipped: {what}\n").as_bytes());
    if let Some(notes) = env::var_os("HAPROXYSTATS_SKIPPED")
        && let Ok(mut notes) = OpenOptions::new().create(true).append(true).open(notes)
    {
        let _ = writeln!(notes, "skipped: {what}");
    }
}

fn find(program: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .map(|path| path.to_string_lossy().into_owned())
}
