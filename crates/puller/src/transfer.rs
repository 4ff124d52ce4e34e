//! The answers of one connection on their way into their files.
//!
//! The thread that reads a socket is the one that writes the file: what was read lies in its cache,
//! and nobody is woken in between. So the sockets' own thread only learns that something has come.
//! A transfer goes to a writer when that is so, takes what is there, and comes back; while a long
//! answer flows it stays for some pieces more.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use spool::writer::{StagedFile, StagedFiles};

use crate::client::Failure;
use crate::source::haproxy::{Answers, Question};

/// Bytes read at once; a buffer lives while a writer works, so that there are as many as writers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes after which a writer turns to others, however much there is.
const TURN_BYTES: u64 = 1024 * 1024;

/// How long a writer lets more of a long answer gather. HAProxy says 16 KiB at a time, and to wake
/// anybody for each of them costs more than to take them; a socket holds ten of them or so.
const GATHERING: Duration = Duration::from_millis(2);

/// So often at most in a turn: an answer that comes slowly must not keep a writer.
const GATHERINGS: usize = 16;

/// Bytes after which more of a long answer is likely to follow at once.
const LONG_BYTES: u64 = 8 * 1024;

/// What one connection has still to give.
#[derive(Debug)]
pub(crate) struct Transfer {
    files: StagedFiles,
    name: String,
    answers: Answers,
    file: Option<StagedFile>,
    buffer_bytes: usize,
    total: u64,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing more is there, or it is the turn of others.
    Open,
    /// The connection has ended, and every answer is whole and in its file.
    Done,
}

impl Transfer {
    pub(crate) fn new(
        question: &Question,
        (files, name): (StagedFiles, &str),
        buffer_limit: usize,
        answer_bytes: u64,
    ) -> Self {
        Self {
            files,
            name: name.to_owned(),
            answers: Answers::new(question.parts, answer_bytes),
            file: None,
            buffer_bytes: buffer_limit.clamp(1, BUFFER_BYTES),
            total: 0,
        }
    }

    /// Bytes that came so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Takes what has come, and of a long answer what comes in the next moments, but not beyond
    /// `end`. May block on the disk, and never on the connection, which must not block.
    pub(crate) fn turn(
        &mut self,
        from: &mut impl Read,
        end: Option<Instant>,
    ) -> Result<Turn, Failure> {
        let before = self.total;
        let mut buffer = vec![0; self.buffer_bytes];
        let (mut filled, mut room) = (0, self.room());
        for _ in 0..GATHERINGS {
            let gathered = self.total;
            while self.total - before < TURN_BYTES {
                match from.read(&mut buffer[filled..room]) {
                    Ok(0) => {
                        self.write(&buffer[..filled])?;
                        return self.end();
                    }
                    Ok(count) => {
                        self.total += count as u64;
                        filled += count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(Failure::Read { bytes: self.total, source }),
                }
                if filled == room {
                    self.write(&buffer[..filled])?;
                    (filled, room) = (0, self.room());
                }
            }
            let is_flowing = self.total - gathered >= LONG_BYTES;
            let has_time = end.is_none_or(|end| Instant::now() + GATHERING < end);
            if !is_flowing || !has_time || self.total - before >= TURN_BYTES {
                break;
            }
            thread::sleep(GATHERING);
        }
        self.write(&buffer[..filled])?;
        Ok(Turn::Open)
    }

    /// How many bytes are written at once: as many as end the file at a multiple of the buffer's
    /// size, since the kernel keeps whole blocks with less work than pieces.
    fn room(&self) -> usize {
        let over = self.answers.bytes() % self.buffer_bytes as u64;
        self.buffer_bytes - over as usize
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while let Some(part) = self.answers.part()
            && !bytes.is_empty()
        {
            let (count, whole) = self.answers.take(bytes)?;
            let (taken, rest) = bytes.split_at(count);
            let mut file = match self.file.take() {
                Some(file) => file,
                None => self.files.create(format!("{}{}", self.name, part.suffix()).as_ref())?,
            };
            file.write(taken)?;
            if whole {
                file.close()?;
            } else {
                self.file = Some(file);
            }
            bytes = rest;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Turn, Failure> {
        self.answers.end()?;
        if let Some(file) = self.file.take() {
            file.close()?;
        }
        Ok(Turn::Done)
    }
}
