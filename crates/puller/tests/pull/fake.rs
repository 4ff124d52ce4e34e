//! A fake HAProxy: it reads a line and follows its script, which can be changed while it runs.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

pub(crate) const INFO: &str =
    "Name: HAProxy\nVersion: 2.6.12\nProcess_num: 1\nUptime: 0d 0h00m05s\n\n";
pub(crate) const STAT: &str = "# pxname,svname,qcur,\nweb,FRONTEND,,\nweb,BACKEND,0,\n\n";
const TOGETHER: &str = "show info;show stat\n";

/// What the fake sends once a line has come.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// The answers of HAProxy.
    Good,
    /// The answers of HAProxy, in pieces of that many bytes.
    Pieces(usize),
    /// The answer of HAProxy to a single command; these bytes to two commands.
    OneCommand(&'static str),
    /// The answer to each line that begins so; a line without an answer is a mistake of the test.
    ByLine(Vec<(&'static str, String)>),
    /// These bytes, then the end.
    Send(Vec<u8>),
    /// Nothing to this line, and the connection stays open; these bytes to any other line.
    StallAt(&'static str, String),
    /// These bytes, then nothing more.
    Stall(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// The first bytes, then the others again and again.
    Endless(&'static str, &'static str),
    /// The first bytes, then 8 KiB each millisecond.
    Drip(&'static str),
    /// The answer to each line, and nothing to other lines.
    Lines(Arc<Lines>),
    /// The end, before the line is read.
    Close,
}

/// Answers by line. Like a master CLI, it closes a connection only after its client's half-close.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    answers: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The lines that came.
    asked: Mutex<Vec<String>>,
    open: AtomicUsize,
    /// The largest number of connections at one time.
    pub(crate) most: AtomicUsize,
}

impl Lines {
    pub(crate) fn set(&self, line: &str, answer: &str) {
        let line = format!("{line}\n");
        self.answers.lock().unwrap().insert(line, answer.as_bytes().to_vec());
    }

    /// Gives no answer to a line any more.
    pub(crate) fn remove(&self, line: &str) {
        self.answers.lock().unwrap().remove(&format!("{line}\n"));
    }

    /// The lines that came, from then on forgotten.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.asked.lock().unwrap());
        lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
    }

    async fn serve(&self, line: &str, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        self.asked.lock().unwrap().push(line.to_owned());
        let answer = self.answers.lock().unwrap().get(line).cloned();
        let Some(answer) = answer else { return std::future::pending().await };
        self.most.fetch_max(self.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _ = stream.write_all(&answer).await;
        while !matches!(stream.read(&mut [0; 100]).await, Ok(0) | Err(_)) {}
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
    /// 0 for a UNIX socket.
    pub(crate) port: u16,
}

pub(crate) fn good() -> Vec<u8> {
    [INFO, STAT].concat().into_bytes()
}

impl Fake {
    pub(crate) fn unix(path: &Path, script: Script) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::start(0, script, async move |script, asked| {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { serve(stream, script, asked, |_| {}).await });
        })
    }

    pub(crate) async fn tcp(address: &str, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap()).await?;
        let port = listener.local_addr()?.port();
        Ok(Self::start(port, script, async move |script, asked| {
            let (stream, _) = listener.accept().await.unwrap();
            let reset = |stream: TcpStream| stream.set_zero_linger().unwrap();
            tokio::spawn(async move { serve(stream, script, asked, reset).await });
        }))
    }

    fn start(
        port: u16,
        script: Script,
        accept: impl AsyncFn(Arc<Mutex<Script>>, Arc<AtomicUsize>) + 'static,
    ) -> Self {
        let (script, asked) = (Arc::new(Mutex::new(script)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&script), Arc::clone(&asked));
        let accepting = tokio::task::spawn_local(async move {
            loop {
                accept(Arc::clone(&shared.0), Arc::clone(&shared.1)).await;
            }
        });
        Self { script, asked, accepting, port }
    }

    pub(crate) fn set(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// The number of lines that came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
    reset: impl FnOnce(S),
) {
    let script = script.lock().unwrap().clone();
    if matches!(script, Script::Close) {
        return;
    }
    let mut line = String::new();
    while !line.ends_with('\n') {
        match stream.read_u8().await {
            Ok(byte) => line.push(char::from(byte)),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    // The puller may close at any moment.
    let _ = match script {
        Script::Good => stream.write_all(&answer(&line)).await,
        Script::OneCommand(other) if line == TOGETHER => stream.write_all(other.as_bytes()).await,
        Script::ByLine(answers) => {
            let answer = answers.iter().find(|(begin, _)| line.starts_with(begin));
            let (_, answer) = answer.unwrap_or_else(|| panic!("asked for {line:?}"));
            stream.write_all(answer.as_bytes()).await
        }
        Script::OneCommand(_) => stream.write_all(&answer(&line)).await,
        Script::Pieces(bytes) => send_in_pieces(&mut stream, &answer(&line), bytes).await,
        Script::Send(bytes) => stream.write_all(&bytes).await,
        Script::StallAt(at, _) if line == at => std::future::pending().await,
        Script::StallAt(_, answer) => stream.write_all(answer.as_bytes()).await,
        Script::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // The connection stays open, also after a half-close.
            std::future::pending().await
        }
        Script::Reset(bytes) => {
            let _ = stream.write_all(&bytes).await;
            return reset(stream);
        }
        Script::Drip(first) => {
            let mut sent = stream.write_all(first.as_bytes()).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sent =
                    stream.write_all("web,FRONTEND,,\n".repeat(8 * 1024 / 15 + 1).as_bytes()).await;
            }
            sent
        }
        Script::Endless(first, again) => {
            let mut sent = stream.write_all(first.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(again.repeat(1_000).as_bytes()).await;
            }
            sent
        }
        Script::Lines(lines) => {
            lines.serve(&line, &mut stream).await;
            Ok(())
        }
        Script::Close => Ok(()),
    };
}

fn answer(line: &str) -> Vec<u8> {
    match line {
        TOGETHER => good(),
        "show info\n" => INFO.into(),
        "show stat\n" => STAT.into(),
        other => panic!("asked for {other:?}"),
    }
}

async fn send_in_pieces(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    size: usize,
) -> io::Result<()> {
    for piece in bytes.chunks(size) {
        stream.write_all(piece).await?;
        // The reader gets this piece before the next one is sent.
        tokio::task::yield_now().await;
    }
    Ok(())
}
