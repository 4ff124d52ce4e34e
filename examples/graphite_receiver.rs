//! A small receiver of Graphite's plaintext protocol, for looking at what haproxystats sends
//! without installing Graphite.
//!
//! It reads each connection to its end and closes only then, as carbon does: that close is what
//! `confirm = close` waits for. Nothing is stored but what `--write` appends to a file. Once a
//! second it says how many lines came.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const USAGE: &str = "\
A receiver of Graphite's plaintext protocol that counts what arrives.

usage: graphite_receiver [ADDRESS] [--write FILE]

  ADDRESS       where to listen, 127.0.0.1:3002 where nothing is said; port 0 takes a free one
  --write FILE  append every good line to FILE
";

/// A line longer than this is no metric; without a bound a peer that never sends a newline would
/// fill the memory.
const LINE_LIMIT: usize = 8192;

/// What the command line asks for.
struct Args {
    address: String,
    file: Option<String>,
}

/// What came so far, over all connections.
#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    malformed: AtomicU64,
    connections: AtomicU64,
}

type Sink = Option<Arc<Mutex<File>>>;

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

/// `None` means that help was asked for.
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
    let sink = match &args.file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            Some(Arc::new(Mutex::new(file)))
        }
        None => None,
    };
    let listener = TcpListener::bind(&args.address)?;
    println!("listening on {}", listener.local_addr()?);
    let counts = Arc::new(Counts::default());
    let seen = Arc::clone(&counts);
    thread::spawn(move || report(&seen));
    for stream in listener.incoming() {
        let (stream, counts, sink) = (stream?, Arc::clone(&counts), sink.clone());
        thread::spawn(move || {
            if let Err(error) = receive(stream, &counts, &sink) {
                eprintln!("a connection ended early: {error}");
            }
        });
    }
    Ok(())
}

/// Reads to the peer's half-close; returning drops the stream, which is our close.
fn receive(stream: TcpStream, counts: &Counts, sink: &Sink) -> io::Result<()> {
    counts.connections.fetch_add(1, Ordering::Relaxed);
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = Vec::with_capacity(256);
    let mut good = Vec::with_capacity(1 << 16);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let taken = buffer.len();
        for &byte in buffer {
            line.push(byte);
            if byte == b'\n' {
                take(&line, counts, &mut good);
                line.clear();
            } else if line.len() > LINE_LIMIT {
                return Err(io::Error::other("a line without an end"));
            }
        }
        reader.consume(taken);
        keep(sink, &mut good)?;
    }
    if !line.is_empty() {
        // A line that was cut is none: its value may be wrong.
        counts.malformed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn take(line: &[u8], counts: &Counts, good: &mut Vec<u8>) {
    if is_metric(line) {
        counts.lines.fetch_add(1, Ordering::Relaxed);
        good.extend_from_slice(line);
    } else {
        counts.malformed.fetch_add(1, Ordering::Relaxed);
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

fn keep(sink: &Sink, good: &mut Vec<u8>) -> io::Result<()> {
    if let Some(file) = sink {
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(good)?;
    }
    good.clear();
    Ok(())
}

/// One line for every second in which something came.
fn report(counts: &Counts) {
    let mut before = 0;
    loop {
        thread::sleep(Duration::from_secs(1));
        let lines = counts.lines.load(Ordering::Relaxed);
        let malformed = counts.malformed.load(Ordering::Relaxed);
        if lines + malformed != before {
            let connections = counts.connections.load(Ordering::Relaxed);
            println!(
                "{} lines in the last second, {lines} in all over {connections} connections, \
                 {malformed} malformed",
                (lines + malformed) - before
            );
            before = lines + malformed;
        }
    }
}
