//! A small receiver of Graphite's plaintext protocol, which shows what haproxystats sends without
//! installing Graphite.
//!
//! It reads each connection to its end and closes only then, as carbon does: `confirm = close`
//! waits for that close. With `--write` it appends the lines to a file. Once a second it prints the
//! number of lines that came.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use testbed::graphite::{Archive, Cause, Manner, Receiver};

const USAGE: &str = "\
A receiver of Graphite's plaintext protocol that counts what arrives.

usage: graphite_receiver [ADDRESS] [--write FILE]

  ADDRESS       where to listen, 127.0.0.1:3002 where nothing is said; port 0 takes a free one
  --write FILE  append every good line to FILE
";

/// A line longer than this is no metric. Without a bound a peer that never sends a newline would
/// fill the memory.
const LINE_LIMIT: usize = 8192;

/// The command line.
struct Args {
    address: String,
    file: Option<String>,
}

/// Counts over all connections.
#[derive(Default)]
struct Metrics {
    lines: AtomicU64,
    malformed: AtomicU64,
    connections: AtomicU64,
    /// The file for good lines.
    file: Option<Mutex<File>>,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            eprint!("{fault}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graphite_receiver: {}: {error}", args.address);
            ExitCode::FAILURE
        }
    }
}

/// `None` means that the user asked for help.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut address = None;
    let mut file = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => return Ok(None),
            "--write" => file = Some(words.next().ok_or("--write needs a file")?),
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            _ if address.is_none() => address = Some(word),
            _ => return Err(format!("one address is enough: {word}")),
        }
    }
    Ok(Some(Args { address: address.unwrap_or_else(|| "127.0.0.1:3002".to_owned()), file }))
}

fn run(args: &Args) -> io::Result<()> {
    let file = match &args.file {
        Some(path) => Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?)),
        None => None,
    };
    let metrics = Metrics { file, ..Metrics::default() };
    let receiver = Receiver::listen(TcpListener::bind(&args.address)?, metrics, Manner::Whole)?;
    println!("listening on {}", receiver.address());
    report(receiver.archive())
}

impl Archive for Metrics {
    /// The beginning of a line whose end has not come.
    type Page = Vec<u8>;

    fn open(&self) -> Vec<u8> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Vec::with_capacity(256)
    }

    fn keep(&self, page: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
        let mut good = Vec::with_capacity(bytes.len());
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            page.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.count(page, &mut good);
                page.clear();
            } else if page.len() > LINE_LIMIT {
                return Err(io::Error::other("a line without an end"));
            }
        }
        match &self.file {
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&good),
            None => Ok(()),
        }
    }

    fn close(&self, page: Vec<u8>, cause: Cause) {
        if let Cause::Error(error) = cause {
            eprintln!("a connection ended early: {error}");
        } else if !page.is_empty() {
            // The value of a line that was cut may be wrong.
            self.malformed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Metrics {
    fn count(&self, line: &[u8], good: &mut Vec<u8>) {
        if is_metric(line) {
            self.lines.fetch_add(1, Ordering::Relaxed);
            good.extend_from_slice(line);
        } else {
            self.malformed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `<path> <value> <timestamp>\n`: three words, a number, a whole number.
fn is_metric(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
    let [path, value, timestamp] = words[..] else { return false };
    !path.is_empty()
        && !path.contains(|c: char| c.is_control())
        && value.parse::<f64>().is_ok_and(f64::is_finite)
        && timestamp.parse::<u64>().is_ok()
}

/// Prints one line for every second in which lines came, without end.
fn report(metrics: &Metrics) -> ! {
    let mut before = 0;
    loop {
        thread::sleep(Duration::from_secs(1));
        let lines = metrics.lines.load(Ordering::Relaxed);
        let malformed = metrics.malformed.load(Ordering::Relaxed);
        if lines + malformed != before {
            let connections = metrics.connections.load(Ordering::Relaxed);
            println!(
                "{} lines in the last second, {lines} in all over {connections} connections, \
                 {malformed} malformed",
                (lines + malformed) - before
            );
            before = lines + malformed;
        }
    }
}
