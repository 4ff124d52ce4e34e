//! Moves the answers of one connection into their files, or checks them and keeps only a beginning.
//!
//! The thread that reads a socket also writes the file: the bytes are in its cache, and no other
//! thread has to be woken. The thread of the sockets only waits until a connection has bytes. Then
//! a transfer goes to a writer, moves the bytes that are there, and comes back. While a long answer
//! flows and no other work waits for the writer, the transfer stays for some more pieces.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use sources::{Dialogue, Source};
use spool::writer::{StagedFile, StagedFiles};
use tokio::time::Instant;

use crate::disk::{Disk, DiskGuard};
use crate::endpoint::Endpoint;
use crate::failure::Failure;

/// Bytes read at once. A buffer exists only while a writer works, so there are as many as writers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes after which a writer turns to other work, even if more bytes have come.
const STEP_BYTES: u64 = 1024 * 1024;

/// How long to let more of a long answer gather in the socket, which holds about ten pieces. An
/// endpoint writes pieces of about 16 KiB, and waking a thread for each would cost more than
/// reading it.
pub(crate) const GATHERING: Duration = Duration::from_millis(2);

/// Such waits in one step at most, because work that arrives meanwhile waits too.
const GATHERINGS: usize = 16;

/// Bytes in one piece after which more of the answer is likely to follow at once.
const LONG_BYTES: u64 = 8 * 1024;

/// Bytes that are kept of an answer that goes to no file. The lines that name the program come
/// first, and need some hundred bytes.
const HEAD_BYTES: usize = 4096;

/// Where answers go.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    /// Into the files of a staged snapshot.
    Files(StagedFiles),
    /// Nowhere, but the beginning of a connection's first answer is kept.
    Head,
}

/// One connection whose answers are not whole yet.
#[derive(Debug)]
pub(crate) struct Transfer {
    peer: Source,
    dialogue: Dialogue,
    target: Target,
    /// [`BUFFER_BYTES`], except in tests.
    buffer_bytes: usize,
    total: u64,
}

/// The answers, one after the other.
#[derive(Debug)]
struct Target {
    destination: Destination,
    name: String,
    /// Guarded, because a transfer can be dropped on the thread of the sockets, and closing a file
    /// can wait for the disk.
    file: Option<DiskGuard<StagedFile>>,
    /// The names of all files that were begun.
    names: Vec<String>,
    /// Whether the beginning of the first answer is kept.
    keeps_head: bool,
    /// The beginning of the first answer, and the suffix of that answer.
    head: Vec<u8>,
    head_suffix: Option<String>,
    disk: Disk,
}

/// The result of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionResult {
    /// The dialogue, for the next connection.
    pub(crate) dialogue: Dialogue,
    pub(crate) bytes: u64,
    /// The names of the files.
    pub(crate) files: Vec<String>,
    /// The beginning of the first answer, if it is kept.
    pub(crate) head: Vec<u8>,
}

/// How far a connection is after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More bytes may come.
    Open {
        /// Whether a long answer flows, so that more is likely to come at once.
        flowing: bool,
    },
    /// The connection has ended, and every answer is whole and in its file.
    Done,
}

/// Whether more bytes may come after a read.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Closed,
    Open,
}

impl Transfer {
    pub(crate) fn new(
        endpoint: &Endpoint,
        dialogue: Dialogue,
        destination: Destination,
        disk: Disk,
    ) -> Self {
        Self {
            peer: endpoint.source,
            dialogue,
            target: Target {
                destination,
                name: endpoint.name.clone(),
                file: None,
                names: Vec::new(),
                keeps_head: false,
                head: Vec::new(),
                head_suffix: None,
                disk,
            },
            buffer_bytes: BUFFER_BYTES,
            total: 0,
        }
    }

    /// Sets whether the beginning of the first answer is kept beside its file.
    pub(crate) const fn keep_head(&mut self, keep: bool) {
        self.target.keeps_head = keep;
    }

    /// Bytes that came so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The result of this connection, once it is done.
    pub(crate) fn finish(self) -> ConnectionResult {
        let Target { names, head, .. } = self.target;
        ConnectionResult { dialogue: self.dialogue, bytes: self.total, files: names, head }
    }

    /// Moves the bytes that have come. Waits for more bytes of a long answer, unless `end` is near
    /// or other work waits for this thread. May block on the disk. Reads from `from` must not
    /// block.
    pub(crate) fn advance(
        &mut self,
        from: &mut impl Read,
        end: Option<Instant>,
        others_wait: impl Fn() -> bool,
    ) -> Result<Progress, Failure> {
        let before = self.total;
        let mut buffer = vec![0; self.buffer_bytes];
        let mut filled = 0;
        let mut gatherings = 0;
        let flowing = loop {
            let before_piece = self.total;
            if self.read(from, before + STEP_BYTES, &mut buffer, &mut filled)? == Input::Closed {
                return self.end();
            }
            let flowing = self.total - before_piece >= LONG_BYTES;
            let has_time = end.is_none_or(|end| Instant::now() + GATHERING < end);
            let is_over = gatherings == GATHERINGS || self.total - before >= STEP_BYTES;
            if !flowing || !has_time || is_over || others_wait() {
                break flowing;
            }
            thread::sleep(GATHERING);
            gatherings += 1;
        };
        self.write(&buffer[..filled])?;
        Ok(Progress::Open { flowing })
    }

    /// Reads the bytes that have come, until `total` reaches `limit`, and writes whenever the
    /// buffer is full. `filled` bytes of the buffer are left to write. At the end of the connection
    /// all bytes are written.
    fn read(
        &mut self,
        from: &mut impl Read,
        limit: u64,
        buffer: &mut [u8],
        filled: &mut usize,
    ) -> Result<Input, Failure> {
        while self.total < limit {
            let end = self.write_size();
            match from.read(&mut buffer[*filled..end]) {
                Ok(0) => {
                    self.write(&buffer[..*filled])?;
                    return Ok(Input::Closed);
                }
                Ok(count) => {
                    self.total += count as u64;
                    *filled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    // These bytes may tell why the connection was broken.
                    self.write(&buffer[..*filled])?;
                    return Err(self.broken(source));
                }
            }
            if *filled == end {
                self.write(&buffer[..*filled])?;
                *filled = 0;
            }
        }
        Ok(Input::Open)
    }

    /// How many bytes to write at once, so that the size of the file is a multiple of the buffer's
    /// size: the kernel keeps whole blocks with less work than parts of blocks.
    fn write_size(&self) -> usize {
        let over = self.dialogue.file_bytes() % self.buffer_bytes as u64;
        self.buffer_bytes - over as usize
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let target = &mut self.target;
        self.dialogue
            .receive(bytes, |suffix, bytes, is_whole| target.write(suffix, bytes, is_whole))
    }

    fn end(&mut self) -> Result<Progress, Failure> {
        self.dialogue.end_of_connection()?;
        if let Some(file) = self.target.file.take().and_then(DiskGuard::take) {
            file.close()?;
        }
        Ok(Progress::Done)
    }

    /// The failure for a connection that ended with an error. An endpoint that takes only one
    /// request can send a reset in place of the second answer, if the requests reach it in two
    /// segments.
    fn broken(&mut self, source: io::Error) -> Failure {
        match self.dialogue.end_of_connection() {
            Err(fault) if self.total > 0 && fault.suggests_single_requests() => fault.into(),
            _ => Failure::Read { peer: self.peer, bytes: self.total, source },
        }
    }
}

impl Target {
    fn write(&mut self, suffix: &str, bytes: &[u8], is_whole: bool) -> Result<(), Failure> {
        if self.keeps_head || matches!(self.destination, Destination::Head) {
            self.keep_head(suffix, bytes);
        }
        let Destination::Files(files) = &self.destination else { return Ok(()) };
        let mut file = match self.file.take().and_then(DiskGuard::take) {
            Some(file) => file,
            None => {
                let name = format!("{}{suffix}", self.name);
                let file = files.create(name.as_ref())?;
                self.names.push(name);
                file
            }
        };
        file.write(bytes)?;
        if is_whole {
            file.close()?;
        } else {
            self.file = Some(self.disk.guard(file));
        }
        Ok(())
    }

    fn keep_head(&mut self, suffix: &str, bytes: &[u8]) {
        let first = self.head_suffix.get_or_insert_with(|| suffix.to_owned());
        if first == suffix {
            let room = HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::SystemTime;

    use config::Address;
    use daemon::{Clock, Service};
    use sources::Pipelining;
    use spool::writer::{Spool, Staging};

    use super::*;
    use crate::journal::Journal;

    const INFO: &[u8] = b"Name: HAProxy\nUptime: 0d 0h00m05s\n\n";
    const STAT: &[u8] = b"# pxname,svname,\nweb,FRONTEND,\n\n";

    /// Gives these pieces, then WouldBlock.
    struct Script(VecDeque<io::Result<Vec<u8>>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.pop_front().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    /// A transfer of both answers, and the snapshot of its files. Call it in a runtime.
    fn transfer(root: &tempfile::TempDir) -> (Transfer, Staging) {
        let at = |name| root.path().join(name);
        let mut spool = Spool::open(&at("in"), &at("in.tmp"), false).unwrap();
        let staging = spool.stage(1_700_000_000).unwrap();
        let clock = Clock { wall: SystemTime::now, monotonic: std::time::Instant::now };
        let (disk, _) = Disk::new(Journal::new(clock, Service::none()));
        let mut dialogue = Source::HAProxy.dialogue(Pipelining::On, 1 << 30);
        dialogue.request().unwrap();
        let (address, source) = (Address::Unix("a".into()), Source::HAProxy);
        let (name, identity) = ("a".to_owned(), None);
        let worker = None;
        let endpoint = Endpoint { source, address, name, identity, is_needed: true, worker };
        let files = Destination::Files(staging.files());
        (Transfer::new(&endpoint, dialogue, files, disk), staging)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn advance(script: Vec<io::Result<Vec<u8>>>, others_wait: bool) -> Result<Progress, Failure> {
        let (root, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let _entered = runtime.enter();
        let (mut transfer, _staging) = transfer(&root);
        transfer.advance(&mut Script(script.into()), None, || others_wait)
    }

    #[test]
    fn the_bytes_before_a_reset_say_why() {
        let script =
            vec![Ok(b"Unknown command\n".to_vec()), Err(io::ErrorKind::ConnectionReset.into())];
        let failure = advance(script, false).unwrap_err();
        assert!(failure.to_string().contains("refused"), "{failure}");
    }

    #[test]
    fn a_reset_in_place_of_the_second_answer_asks_for_one_command_at_a_time() {
        let reset = || Err(io::ErrorKind::ConnectionReset.into());
        let failure = advance(vec![Ok(INFO.to_vec()), reset()], false).unwrap_err();
        let is_fault = matches!(&failure, Failure::Answer(it) if it.suggests_single_requests());
        assert!(is_fault, "{failure}");
        // A reset within an answer, after both answers, and before the first one.
        for sent in [b"Name: HAPr".to_vec(), [INFO, STAT].concat(), vec![]] {
            let pieces = if sent.is_empty() { vec![reset()] } else { vec![Ok(sent), reset()] };
            let failure = advance(pieces, false).unwrap_err();
            assert!(matches!(failure, Failure::Read { .. }), "{failure}");
        }
    }

    #[test]
    fn without_files_only_the_beginning_of_the_first_answer_is_kept() {
        let (root, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let _entered = runtime.enter();
        let long = [&INFO[..INFO.len() - 1], &b"x: y\n".repeat(HEAD_BYTES), b"\n"].concat();
        for info in [INFO, &long] {
            let (mut transfer, staging) = transfer(&root);
            transfer.target.destination = Destination::Head;
            let sent = [info, STAT].concat();
            let mut from = &sent[..];
            while transfer.advance(&mut from, None, || true).unwrap() != Progress::Done {}
            let result = transfer.finish();
            assert!(result.head == info[..info.len().min(HEAD_BYTES)], "{} bytes", info.len());
            assert_eq!((result.bytes, result.files.len()), (sent.len() as u64, 0));
            let names = testbed::names(staging.dir());
            assert_eq!(names, [spool::manifest::FILE_NAME]);
            staging.abandon().unwrap();
        }
    }

    #[test]
    fn answers_come_through_buffers_of_any_size() {
        let runtime = runtime();
        let _entered = runtime.enter();
        for buffer_bytes in 1..=INFO.len() + STAT.len() {
            let root = tempfile::tempdir().unwrap();
            let (mut transfer, staging) = transfer(&root);
            transfer.buffer_bytes = buffer_bytes;
            let mut sent = [INFO, STAT].concat();
            while transfer.advance(&mut &sent[..], None, || false).unwrap() != Progress::Done {
                sent.clear();
            }
            let file = |name| std::fs::read(staging.dir().join(name)).unwrap();
            assert_eq!((&*file("a_info"), &*file("a_stat")), (INFO, STAT), "{buffer_bytes} bytes");
        }
    }

    #[test]
    fn a_long_answer_lets_other_work_go_first() {
        let piece = || Ok([&b"Name: HAProxy\n"[..], &[b'x'; 16 * 1024]].concat());
        let pause = || Err(io::ErrorKind::WouldBlock.into());
        let script = || vec![piece(), pause(), piece(), pause(), pause()];
        assert_eq!(advance(script(), true).unwrap(), Progress::Open { flowing: true });
        assert_eq!(advance(script(), false).unwrap(), Progress::Open { flowing: false });
    }
}
