//! The answers of one connection on their way into their files.
//!
//! The thread that reads a socket is the one that writes the file: what was read lies in its cache,
//! and nobody is woken in between. So the sockets' own thread only learns that something has come.
//! A transfer goes to a writer when that is so, takes what is there, and comes back; while a long
//! answer flows and nobody else wants the writer it stays for some pieces more.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use sources::{Dialogue, Source};
use spool::writer::{StagedFile, StagedFiles};
use tokio::time::Instant;

use crate::disk::{Disk, Held};
use crate::endpoint::Endpoint;
use crate::failure::Failure;

/// Bytes read at once; a buffer lives while a writer works, so that there are as many as writers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes after which a writer turns to others, however much there is.
const TURN_BYTES: u64 = 1024 * 1024;

/// How long more of a long answer may gather. An endpoint writes 16 KiB or so at a time, and to
/// wake a thread for each piece costs more than to take it; a socket holds about ten of them.
pub(crate) const GATHERING: Duration = Duration::from_millis(2);

/// So often at most in a turn, for whoever comes in between waits as long.
const GATHERINGS: usize = 16;

/// Bytes after which more of a long answer is likely to follow at once.
const LONG_BYTES: u64 = 8 * 1024;

/// What one connection has still to give.
#[derive(Debug)]
pub(crate) struct Transfer {
    peer: Source,
    dialogue: Dialogue,
    target: Target,
    /// [`BUFFER_BYTES`], but for tests.
    buffer_bytes: usize,
    total: u64,
}

/// Where the answers go: into a file each, one after the other.
#[derive(Debug)]
struct Target {
    files: StagedFiles,
    name: String,
    /// Held, since a transfer can be dropped on the thread of the sockets, and to close a file can
    /// wait for the disk.
    file: Option<Held<StagedFile>>,
    /// Of all files that were begun.
    names: Vec<String>,
    disk: Disk,
}

/// What one connection has given.
#[derive(Debug)]
pub(crate) struct Received {
    /// Goes on with the next connection.
    pub(crate) dialogue: Dialogue,
    pub(crate) bytes: u64,
    /// The names of the files.
    pub(crate) files: Vec<String>,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There may be more: at once where a long answer flows, else whenever it comes.
    Open {
        /// Whether one does.
        flowing: bool,
    },
    /// The connection has ended, and every answer is whole and in its file.
    Done,
}

/// What was there of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// Its end, too.
    All,
    /// More may come.
    Some,
}

impl Transfer {
    pub(crate) fn new(
        endpoint: &Endpoint,
        dialogue: Dialogue,
        files: StagedFiles,
        disk: Disk,
    ) -> Self {
        Self {
            peer: endpoint.source,
            dialogue,
            target: Target {
                files,
                name: endpoint.name.clone(),
                file: None,
                names: Vec::new(),
                disk,
            },
            buffer_bytes: BUFFER_BYTES,
            total: 0,
        }
    }

    /// Bytes that came so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// What this connection has given, once its turn was the last.
    pub(crate) fn finish(self) -> Received {
        Received { dialogue: self.dialogue, bytes: self.total, files: self.target.names }
    }

    /// Takes what has come, and of a long answer what comes in the next moments, unless `end` is
    /// near or others wait for this thread. May block on the disk, and never on the connection,
    /// which must not block.
    pub(crate) fn turn(
        &mut self,
        from: &mut impl Read,
        end: Option<Instant>,
        others_wait: impl Fn() -> bool,
    ) -> Result<Turn, Failure> {
        let before = self.total;
        let mut buffer = vec![0; self.buffer_bytes];
        let mut filled = 0;
        let mut gatherings = 0;
        let flowing = loop {
            let gathered = self.total;
            if self.take(from, before + TURN_BYTES, &mut buffer, &mut filled)? == Taken::All {
                return self.end();
            }
            let flowing = self.total - gathered >= LONG_BYTES;
            let has_time = end.is_none_or(|end| Instant::now() + GATHERING < end);
            let is_over = gatherings == GATHERINGS || self.total - before >= TURN_BYTES;
            if !flowing || !has_time || is_over || others_wait() {
                break flowing;
            }
            thread::sleep(GATHERING);
            gatherings += 1;
        };
        self.write(&buffer[..filled])?;
        Ok(Turn::Open { flowing })
    }

    /// Reads what is there, until `limit` bytes came in all, and writes whenever the buffer is
    /// full; `filled` of it are left to write. At the end of the connection all is written.
    fn take(
        &mut self,
        from: &mut impl Read,
        limit: u64,
        buffer: &mut [u8],
        filled: &mut usize,
    ) -> Result<Taken, Failure> {
        while self.total < limit {
            let room = self.room();
            match from.read(&mut buffer[*filled..room]) {
                Ok(0) => {
                    self.write(&buffer[..*filled])?;
                    return Ok(Taken::All);
                }
                Ok(count) => {
                    self.total += count as u64;
                    *filled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    // It may hold why the connection was broken.
                    self.write(&buffer[..*filled])?;
                    return Err(self.broken(source));
                }
            }
            if *filled == room {
                self.write(&buffer[..*filled])?;
                *filled = 0;
            }
        }
        Ok(Taken::Some)
    }

    /// How many bytes are written at once: as many as end the file at a multiple of the buffer's
    /// size, since the kernel keeps whole blocks with less work than pieces.
    fn room(&self) -> usize {
        let over = self.dialogue.file_bytes() % self.buffer_bytes as u64;
        self.buffer_bytes - over as usize
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let target = &mut self.target;
        self.dialogue
            .receive(bytes, |suffix, bytes, is_whole| target.write(suffix, bytes, is_whole))
    }

    fn end(&mut self) -> Result<Turn, Failure> {
        self.dialogue.end_of_connection()?;
        if let Some(file) = self.target.file.take().and_then(Held::take) {
            file.close()?;
        }
        Ok(Turn::Done)
    }

    /// The connection ended with an error. An endpoint that takes one request only can reset it in
    /// place of the second answer, when the requests reach it in two segments.
    fn broken(&mut self, source: io::Error) -> Failure {
        match self.dialogue.end_of_connection() {
            Err(fault) if self.total > 0 && fault.suggests_single_requests() => fault.into(),
            _ => Failure::Read { peer: self.peer, bytes: self.total, source },
        }
    }
}

impl Target {
    fn write(&mut self, suffix: &str, bytes: &[u8], is_whole: bool) -> Result<(), Failure> {
        let mut file = match self.file.take().and_then(Held::take) {
            Some(file) => file,
            None => {
                let name = format!("{}{suffix}", self.name);
                let file = self.files.create(name.as_ref())?;
                self.names.push(name);
                file
            }
        };
        file.write(bytes)?;
        if is_whole {
            file.close()?;
        } else {
            self.file = Some(self.disk.hold(file));
        }
        Ok(())
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

    /// Gives what it is told to, and nothing after that.
    struct Script(VecDeque<io::Result<Vec<u8>>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.pop_front().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    /// A transfer of both answers, and where its files lie. Needs to be called in a runtime.
    fn transfer(root: &tempfile::TempDir) -> (Transfer, Staging) {
        let at = |name| root.path().join(name);
        let mut spool = Spool::open(&at("in"), &at("in.tmp"), false).unwrap();
        let staging = spool.stage(1_700_000_000).unwrap();
        let clock = Clock { wall: SystemTime::now, monotonic: std::time::Instant::now };
        let (disk, _) = Disk::new(Journal::new(clock, Service::none()));
        let mut dialogue = Source::HAProxy.dialogue(Pipelining::On, 1 << 30);
        dialogue.request().unwrap();
        let (address, source) = (Address::Unix("a".into()), Source::HAProxy);
        let endpoint = Endpoint { source, address, name: "a".to_owned(), found: None };
        (Transfer::new(&endpoint, dialogue, staging.files(), disk), staging)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn turn(script: Vec<io::Result<Vec<u8>>>, others_wait: bool) -> Result<Turn, Failure> {
        let (root, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let _entered = runtime.enter();
        let (mut transfer, _staging) = transfer(&root);
        transfer.turn(&mut Script(script.into()), None, || others_wait)
    }

    #[test]
    fn what_came_before_a_reset_tells_why() {
        let script =
            vec![Ok(b"Unknown command\n".to_vec()), Err(io::ErrorKind::ConnectionReset.into())];
        let failure = turn(script, false).unwrap_err();
        assert!(failure.to_string().contains("refused"), "{failure}");
    }

    #[test]
    fn a_reset_in_place_of_the_second_answer_asks_for_one_command_at_a_time() {
        let reset = || Err(io::ErrorKind::ConnectionReset.into());
        let failure = turn(vec![Ok(INFO.to_vec()), reset()], false).unwrap_err();
        let is_fault = matches!(&failure, Failure::Answer(it) if it.suggests_single_requests());
        assert!(is_fault, "{failure}");
        // A reset within an answer, after both answers, and before the first one.
        for sent in [b"Name: HAPr".to_vec(), [INFO, STAT].concat(), vec![]] {
            let pieces = if sent.is_empty() { vec![reset()] } else { vec![Ok(sent), reset()] };
            let failure = turn(pieces, false).unwrap_err();
            assert!(matches!(failure, Failure::Read { .. }), "{failure}");
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
            while transfer.turn(&mut &sent[..], None, || false).unwrap() != Turn::Done {
                sent.clear();
            }
            let file = |name| std::fs::read(staging.dir().join(name)).unwrap();
            assert_eq!((&*file("a_info"), &*file("a_stat")), (INFO, STAT), "{buffer_bytes} bytes");
        }
    }

    #[test]
    fn who_has_a_long_answer_lets_others_go_first() {
        let piece = || Ok([&b"Name: HAProxy\n"[..], &[b'x'; 16 * 1024]].concat());
        let pause = || Err(io::ErrorKind::WouldBlock.into());
        let script = || vec![piece(), pause(), piece(), pause(), pause()];
        assert_eq!(turn(script(), true).unwrap(), Turn::Open { flowing: true });
        assert_eq!(turn(script(), false).unwrap(), Turn::Open { flowing: false });
    }
}
