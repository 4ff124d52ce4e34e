//! Serves recorded dumps on UNIX sockets, like HAProxy's stats sockets, for machines without
//! HAProxy.
//!
//! A folder of `NAME.show_info.txt` and `NAME.show_stat.txt` becomes one socket per NAME. Counters
//! grow with the time since the start, so that graphs move; `--still` gives the recorded bytes.
//! It knows the commands `show info` and `show stat`, several on a line with `;` between them, and
//! closes the connection after the answers, as HAProxy does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

const USAGE: &str = "\
Serves recorded HAProxy dumps on UNIX sockets.

usage: fake_haproxy DUMP_DIR SOCKET_DIR [--still]

  DUMP_DIR    holds NAME.show_info.txt and NAME.show_stat.txt
  SOCKET_DIR  gets one socket per NAME
  --still     answer with the recorded bytes; otherwise counters grow with time
";

/// Columns that grow, with their largest growth per second.
const GROWING_COLUMNS: [(&str, u64); 8] = [
    ("stot", 40),
    ("req_tot", 40),
    ("lbtot", 40),
    ("hrsp_2xx", 37),
    ("hrsp_4xx", 2),
    ("hrsp_5xx", 1),
    ("bin", 9_000),
    ("bout", 70_000),
];

/// Keys of `show info` that grow, with their growth per second.
const GROWING_KEYS: [(&str, u64); 4] =
    [("CumConns", 40), ("CumReq", 40), ("Uptime_sec", 1), ("CumSslConns", 5)];

/// The recorded answers of one HAProxy process.
struct Dump {
    info: String,
    stat: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let still = words.iter().any(|word| word == "--still");
    let paths: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let [dumps, sockets] = paths[..] else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(Path::new(dumps), Path::new(sockets), still) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake_haproxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dumps: &Path, sockets: &Path, still: bool) -> io::Result<()> {
    let dumps = read(dumps)?;
    fs::create_dir_all(sockets)?;
    let start = Instant::now();
    let mut threads = Vec::new();
    for (name, dump) in dumps {
        let path = sockets.join(&name);
        // A socket file of an earlier run would refuse the bind.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        println!("serving {}", path.display());
        threads.push(thread::spawn(move || serve(&listener, &Arc::new(dump), still, start)));
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// The dumps of a folder by name; a folder without any is an error.
fn read(folder: &Path) -> io::Result<BTreeMap<String, Dump>> {
    let mut dumps = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".show_stat.txt") else { continue };
        let info = fs::read_to_string(folder.join(format!("{name}.show_info.txt")))?;
        dumps.insert(name.to_owned(), Dump { info, stat: fs::read_to_string(&path)? });
    }
    if dumps.is_empty() {
        let text = format!("{}: no file ends in .show_stat.txt", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(dumps)
}

fn serve(listener: &UnixListener, dump: &Arc<Dump>, still: bool, start: Instant) {
    for stream in listener.incoming().flatten() {
        let dump = Arc::clone(dump);
        thread::spawn(move || {
            let seconds = if still { 0 } else { start.elapsed().as_secs() };
            if let Err(error) = answer(&stream, &dump, seconds) {
                eprintln!("a connection ended early: {error}");
            }
        });
    }
}

fn answer(mut stream: &UnixStream, dump: &Dump, seconds: u64) -> io::Result<()> {
    let mut commands = String::new();
    BufReader::new(stream).read_line(&mut commands)?;
    for command in commands.trim_end().split(';').map(str::trim) {
        let text = match command {
            "show info" => closed(grow_info(&dump.info, seconds)),
            "show stat" => closed(grow_stat(&dump.stat, seconds)),
            _ => {
                "Unknown command. Please enter one of the following commands only :\n\n".to_owned()
            }
        };
        stream.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// An answer ends with an empty line, whether or not the recorded file kept it.
fn closed(mut text: String) -> String {
    while !text.ends_with("\n\n") {
        text.push('\n');
    }
    text
}

fn grow_info(info: &str, seconds: u64) -> String {
    if seconds == 0 {
        return info.to_owned();
    }
    let grow = |line: &str| -> Option<String> {
        let (key, value) = line.split_once(": ")?;
        let (_, step) = GROWING_KEYS.iter().find(|(name, _)| *name == key)?;
        Some(format!("{key}: {}", value.parse::<u64>().ok()? + step * seconds))
    };
    let lines: Vec<String> =
        info.split('\n').map(|line| grow(line).unwrap_or_else(|| line.to_owned())).collect();
    lines.join("\n")
}

fn grow_stat(stat: &str, seconds: u64) -> String {
    if seconds == 0 {
        return stat.to_owned();
    }
    let header: Vec<&str> = stat.lines().next().unwrap_or_default().split(',').collect();
    let lines: Vec<String> = stat
        .split('\n')
        .enumerate()
        .map(|(number, line)| {
            if number == 0 || line.is_empty() {
                return line.to_owned();
            }
            // Rows grow at different speeds, because equal graphs would show little.
            let share = 1 + (number as u64 * 7) % 5;
            let cells: Vec<String> = cells(line)
                .iter()
                .enumerate()
                .map(|(column, cell)| grow_cell(header.get(column), cell, seconds, share))
                .collect();
            cells.join(",")
        })
        .collect();
    lines.join("\n")
}

fn grow_cell(column: Option<&&str>, cell: &str, seconds: u64, share: u64) -> String {
    let step = GROWING_COLUMNS.iter().find(|(name, _)| Some(name) == column).map(|(_, step)| step);
    match (step, cell.parse::<u64>()) {
        (Some(step), Ok(value)) => (value + step * seconds / share).to_string(),
        _ => cell.to_owned(),
    }
}

/// The cells of a row; a comma within quotes does not separate cells.
fn cells(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
}
