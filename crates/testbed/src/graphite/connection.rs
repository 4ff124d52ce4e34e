//! One connection of a receiver, on which a script is played.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::archive::{Archive, Cause};
use super::kernel::{FIN_WAIT1, both_ends, reset_on_close};
use super::script::Step;
use super::switch::Switch;

/// The limit of a look at the kernel, after which the script goes on.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Bytes that our programs write at once.
const BUFFER: usize = 1 << 18;

/// A connection while its script is played.
pub(super) struct Connection<'a, A: Archive> {
    pub(super) stream: &'a TcpStream,
    pub(super) archive: &'a A,
    pub(super) page: &'a mut A::Page,
    pub(super) switch: &'a Switch,
    /// The number of times that the receiver had gone down when it accepted this connection.
    pub(super) downs: usize,
    buffer: Vec<u8>,
    /// Set at the sender's end or at an error.
    over: Option<Cause>,
}

impl<'a, A: Archive> Connection<'a, A> {
    pub(super) fn new(
        stream: &'a TcpStream,
        archive: &'a A,
        page: &'a mut A::Page,
        switch: &'a Switch,
        downs: usize,
    ) -> Self {
        let buffer = vec![0; BUFFER];
        Self { stream, archive, page, switch, downs, buffer, over: None }
    }

    /// Plays the script.
    pub(super) fn play(mut self, script: &[Step]) -> Cause {
        for step in script {
            let goes_on = self.step(*step).unwrap_or_else(|error| {
                self.over = Some(Cause::Error(error));
                false
            });
            if self.is_down() {
                // A read that the end of the receiver wakes looks like the sender's end.
                return Cause::ScriptOver;
            }
            if !goes_on {
                break;
            }
        }
        self.over.unwrap_or(Cause::ScriptOver)
    }

    /// Whether the script goes on after this step.
    fn step(&mut self, step: Step) -> io::Result<bool> {
        match step {
            Step::Read(bytes) => {
                self.read(bytes)?;
            }
            Step::Cut(bytes) => return self.read(bytes),
            Step::ReadToEnd => {
                self.read(usize::MAX)?;
            }
            Step::Trickle(pause) => {
                while self.read(1)? && !self.is_down() {
                    self.switch.pause(pause, self.downs);
                    if self.switch.lock().finishes {
                        // The rest has come long ago; byte by byte it could take minutes.
                        return self.read(usize::MAX).map(|_| true);
                    }
                }
            }
            Step::AwaitUnread(bytes) => {
                let mut unread = vec![0; bytes];
                // A sender that gives up sends no more bytes, which the next step shows.
                self.look_while(|stream| {
                    stream.peek(&mut unread).is_ok_and(|count| count > 0 && count < bytes)
                });
            }
            Step::AwaitWritten(bytes) => self.look_while(|stream| {
                both_ends(stream)
                    .is_some_and(|[ours, theirs]| ours.unread + theirs.unacknowledged < bytes)
            }),
            Step::AwaitHalfClose => self.look_while(|stream| {
                both_ends(stream).is_some_and(|[_, theirs]| theirs.state != FIN_WAIT1)
            }),
            // The sender may have given up and closed the connection.
            Step::Reply(bytes) => drop(self.stream.write_all(&vec![b'?'; bytes])),
            Step::ReplyOneByOne(bytes) => {
                self.stream.set_nodelay(true)?;
                for _ in 0..bytes {
                    self.stream.write_all(b"?")?;
                    self.look_while(|stream| {
                        both_ends(stream)
                            .is_some_and(|[ours, theirs]| ours.unacknowledged + theirs.unread > 0)
                    });
                }
            }
            Step::HalfClose => {
                // The sender may have reset the connection.
                let _ = self.stream.shutdown(Shutdown::Write);
                self.look_while(|stream| {
                    both_ends(stream).is_some_and(|[ours, _]| ours.unacknowledged > 0)
                });
            }
            Step::Reset => reset_on_close(self.stream)?,
            Step::Wait(time) => self.switch.pause(time, self.downs),
            Step::KeepOpen => self.switch.wait_for_end(self.downs),
        }
        Ok(true)
    }

    /// Reads that many bytes; false if the connection ended before.
    fn read(&mut self, bytes: usize) -> io::Result<bool> {
        let mut left = bytes;
        while left > 0 {
            let most = left.min(self.buffer.len());
            let count = match self.stream.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    self.over = Some(Cause::SenderClosed);
                    return Ok(false);
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // A sender that gives up without reading our bytes ends with a reset.
                Err(error) => {
                    self.over = Some(Cause::Error(error));
                    return Ok(false);
                }
            };
            self.archive.keep(self.page, &self.buffer[..count])?;
            left -= count;
        }
        Ok(true)
    }

    /// Waits while the condition holds.
    fn look_while(&self, mut condition: impl FnMut(&TcpStream) -> bool) {
        let begin = Instant::now();
        while condition(self.stream) && begin.elapsed() < LOOK_MAX && !self.is_down() {
            thread::yield_now();
        }
    }

    fn is_down(&self) -> bool {
        self.switch.went_down_since(self.downs)
    }
}
