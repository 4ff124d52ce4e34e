//! The answers of one connection on their way into their files.
//!
//! The thread that reads a socket is the one that writes the file: what was read lies in its cache,
//! and nobody is woken in between. So the sockets' own thread only learns that something has come.
//! A transfer goes to a writer when that is so, takes what is there, and comes back.

use std::io;
use std::sync::Arc;

use spool::writer::{StagedFile, StagedFiles};

use crate::client::{Failure, Stream};
use crate::source::haproxy::{Answers, Question};

/// Bytes read at once; a buffer lives while a writer works, so that there are as many as writers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes after which a writer turns to others, however much there is.
const TURN_BYTES: u64 = 1024 * 1024;

/// What one connection has still to give.
#[derive(Debug)]
pub(crate) struct Transfer {
    stream: Arc<Stream>,
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
    /// After so many bytes; more may come.
    Open(u64),
    /// The connection has ended, and every answer is whole and in its file.
    Done,
}

impl Transfer {
    pub(crate) fn new(
        stream: Arc<Stream>,
        question: &Question,
        (files, name): (StagedFiles, &str),
        buffer_limit: usize,
        answer_bytes: u64,
    ) -> Self {
        Self {
            stream,
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

    /// Takes what has come. May block on the disk, and never on the socket.
    pub(crate) fn turn(&mut self) -> Result<Turn, Failure> {
        let before = self.total;
        let mut bytes = Vec::with_capacity(self.buffer_bytes);
        while self.total - before < TURN_BYTES {
            bytes.clear();
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return self.end(),
                Ok(count) => {
                    self.total += count as u64;
                    self.write(&bytes)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(source) => return Err(Failure::Read { bytes: self.total, source }),
            }
        }
        Ok(Turn::Open(self.total - before))
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
