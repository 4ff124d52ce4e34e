//! A server that speaks HTTP/1.1 for tests: it keeps the requests that it reads, and answers as its
//! script says, also wrongly.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use haproxystats_testbed::http::{Answer, Server};
//!
//! let server = Server::start(Answer::status(204))?;
//! server.script([Answer::text(503, "busy")]);
//! let mut stream = TcpStream::connect(server.address())?;
//! stream.write_all(b"POST /write?db=x HTTP/1.1\r\nContent-Length: 3\r\n\r\na=1")?;
//! let mut answer = [0; 12];
//! stream.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"HTTP/1.1 503");
//! assert_eq!(server.requests()[0].path, "/write?db=x");
//! assert_eq!(server.requests()[0].body, b"a=1");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes of a request's body; a larger one is a fault of the test.
const BODY_MAX_BYTES: usize = 64 << 20;
/// Headers of a request.
const HEADERS_MAX: usize = 100;

/// A request as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came, compressed or not.
    pub body: Vec<u8>,
    /// The number of the connection, counted from 0.
    pub connection: usize,
}

impl Request {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These bytes, and the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, then a close.
    Last(Vec<u8>),
    /// No byte before the server ends.
    Never,
    /// A close after so many bytes of the body.
    Cut(usize),
}

impl Answer {
    /// A status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::text(status, "")
    }

    /// A status with a body.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self::with(status, "", body)
    }

    /// A status with a body and further headers, each with its line end.
    #[must_use]
    pub fn with(status: u16, headers: &str, body: &str) -> Self {
        let length = if status == 204 {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let text = format!("HTTP/1.1 {status} Word\r\n{length}{headers}\r\n{body}");
        Self::Bytes(text.into_bytes())
    }
}

/// A running server. Dropping it closes its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    requests: Vec<Request>,
    /// The next answers, one each.
    script: VecDeque<Answer>,
    /// The answer after these.
    usual: Answer,
    /// Answers to requests with a text in their body, before all others.
    rules: Vec<(Vec<u8>, Answer)>,
    streams: Vec<TcpStream>,
    is_over: bool,
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The system gives no port.
    pub fn start(usual: Answer) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), usual)
    }

    /// Starts at an address.
    ///
    /// # Errors
    ///
    /// The system does not give the address.
    pub fn start_at(address: SocketAddr, usual: Answer) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (requests, script) = (Vec::new(), VecDeque::new());
        let (rules, streams) = (Vec::new(), Vec::new());
        let state = State { requests, script, usual, rules, streams, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds answers to the script.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().script.extend(answers);
    }

    /// Answers so to each request whose body has this text, whatever the script says.
    pub fn answer_to(&self, text: &str, answer: Answer) {
        self.shared.lock().rules.push((text.as_bytes().to_vec(), answer));
    }

    /// Changes the answer after the script.
    pub fn behave(&self, usual: Answer) {
        self.shared.lock().usual = usual;
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Closes the connections, as a server does that was idle for long.
    pub fn close_connections(&self) {
        for stream in std::mem::take(&mut self.shared.lock().streams) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.close_connections();
        // Wakes the accepting thread, which then frees its port.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    /// After how many bytes of the body the next request is cut, if it is. The answer leaves the
    /// script.
    fn next_cut(&mut self) -> Option<usize> {
        let &Answer::Cut(bytes) = self.script.front().unwrap_or(&self.usual) else { return None };
        self.script.pop_front();
        Some(bytes)
    }

    fn answer(&mut self, body: &[u8]) -> Answer {
        let has = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
        if let Some((_, answer)) = self.rules.iter().find(|(text, _)| has(text)) {
            return answer.clone();
        }
        self.script.pop_front().unwrap_or_else(|| self.usual.clone())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            let mut state = self.lock();
            if state.is_over {
                return;
            }
            let Ok(handle) = stream.try_clone() else { return };
            state.streams.push(handle);
            drop(state);
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // A connection that breaks is what some tests want.
                let _ = shared.serve(&stream, number);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, stream: &TcpStream, connection: usize) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(mut request) = read_head(&mut reader, connection)? {
            let cut = self.lock().next_cut();
            read_body(&mut reader, &mut request, cut)?;
            if cut.is_some() {
                self.lock().requests.push(request);
                return Ok(());
            }
            let mut state = self.lock();
            let answer = state.answer(&request.body);
            state.requests.push(request);
            drop(state);
            let mut stream = stream;
            match answer {
                Answer::Bytes(bytes) => stream.write_all(&bytes)?,
                Answer::Last(bytes) => return stream.write_all(&bytes),
                // Ends with the connection, at the latest with the server.
                Answer::Never => return stream.read_exact(&mut [0]),
                Answer::Cut(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Reads a request up to its body; `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    for _ in 0..HEADERS_MAX {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Request { method, path, headers, body: Vec::new(), connection }))
}

/// Reads the body of the length that the request tells, or its beginning.
fn read_body(reader: &mut impl Read, request: &mut Request, cut: Option<usize>) -> io::Result<()> {
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.unwrap_or(0);
    if length > BODY_MAX_BYTES {
        return Err(io::Error::other("the body is too large for a test"));
    }
    request.body.resize(cut.map_or(length, |bytes| bytes.min(length)), 0);
    reader.read_exact(&mut request.body)
}
