//! Runs a command and passes on its output while it is read: to the terminal, and to a reader that
//! parses it or keeps a log.
//!
//! Both of the command's streams go into one pipe, because two pipes would lose the order between
//! cargo's headings (standard error) and the tests' results (standard output). The run ends with
//! the command and not with the pipe, because a daemon that a test leaves behind keeps the pipe
//! open. Memory is bounded by the size of one read.

use std::io::{self, PipeReader, Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Failure;

/// The bytes of one read.
const CHUNK: usize = 16 * 1024;
/// How often to look whether the command has ended while nothing is written.
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes may follow the command's end. A pipe holds 64 KiB; more comes only from a process
/// that the command left behind.
const REST_MAX: usize = 1024 * 1024;

/// Runs the command; `reader` sees each piece of its output after the terminal does.
pub(crate) fn run(
    mut command: Command,
    reader: &mut dyn FnMut(&[u8]),
) -> Result<ExitStatus, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut start = || -> io::Result<(Child, PipeReader)> {
        let (pipe, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        Ok((command.spawn()?, pipe))
    };
    let (mut child, mut pipe) = start().map_err(|error| format!("{name}: {error}"))?;
    // The command has our own copies of the pipe's other end.
    drop(command);
    let mut show = |piece: &[u8]| {
        let mut terminal = io::stdout().lock();
        terminal.write_all(piece).and_then(|()| terminal.flush())?;
        reader(piece);
        Ok(())
    };
    pass_on(&mut child, &mut pipe, &mut show).map_err(|error| format!("{name}: {error}"))
}

fn pass_on(
    child: &mut Child,
    pipe: &mut PipeReader,
    show: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<ExitStatus> {
    let mut buffer = vec![0; CHUNK];
    let mut ended = None;
    let mut rest = 0;
    loop {
        if ended.is_none() {
            ended = child.try_wait()?;
        }
        let ready = readable(pipe, if ended.is_some() { Duration::ZERO } else { PAUSE })?;
        if let Some(status) = ended.filter(|_| !ready || rest >= REST_MAX) {
            return Ok(status);
        }
        if !ready {
            continue;
        }
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return child.wait();
        }
        if ended.is_some() {
            rest += read;
        }
        show(buffer.get(..read).unwrap_or_default())?;
    }
}

/// Whether a read would not wait, after at most `timeout`.
fn readable(pipe: &PipeReader, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
    let mut pipes = [PollFd::new(pipe, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut pipes, Some(&timeout)))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a shell script as the reader sees it, and its exit status.
    fn shown(script: &str) -> (String, Option<i32>) {
        let (mut pipe, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut text = Vec::new();
        let mut show = |piece: &[u8]| {
            text.extend_from_slice(piece);
            Ok(())
        };
        let status = pass_on(&mut child, &mut pipe, &mut show).unwrap();
        (String::from_utf8(text).unwrap(), status.code())
    }

    #[test]
    fn both_streams_keep_their_order() {
        let script = "echo a; echo b >&2; echo c; printf d >&2; exit 3";
        assert_eq!(shown(script), ("a\nb\nc\nd".to_owned(), Some(3)));
    }

    #[test]
    fn more_than_a_pipe_holds_is_passed_on() {
        let (text, code) = shown("head -c 1000000 /dev/zero | tr '\\0' x");
        assert_eq!((text.len(), code), (1_000_000, Some(0)));
    }

    /// The process that is left behind keeps the pipe open until the test ends it.
    #[test]
    fn a_process_that_is_left_behind_does_not_hold_the_run() {
        let (text, code) = shown("sleep 600 & echo $!");
        let pid = text.trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(code, Some(0));
    }
}
