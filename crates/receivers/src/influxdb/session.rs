//! A session with an InfluxDB: addresses, credentials and TLS, read anew for each session, so that
//! a rotated secret and another address are found without a restart.
//!
//! A session has one connection. When that has ended, so has the session, because ureq would
//! connect to the old addresses again.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::{Gzip, InfluxDb, InfluxTarget, Tls};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::pki_types::CertificateDer;
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

use crate::error::remedy_or_check;
use crate::{files, tls};

/// Bytes of an answer that are read.
const ANSWER_MAX_BYTES: u64 = 1 << 20;
/// Bytes of the headers of an answer.
const HEADERS_MAX_BYTES: usize = 32 << 10;

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    agent: Agent,
    authorization: Option<HeaderValue>,
    /// The host and the port of the URL, if the requests bear the name of the certificate.
    host: Option<HeaderValue>,
    /// What precedes the path of a request.
    base: String,
    is_compressed: bool,
    pub(super) since: Instant,
    /// Whether a connection may be open.
    pub(super) is_used: bool,
}

/// An answer, as far as it is read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// The version that the server says it has.
    pub(super) version: Option<String>,
    pub(super) body: String,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What happened, and what to do; continues "influxdb URL".
    pub(super) text: String,
    /// Whether the connection broke while it was in use.
    pub(super) is_broken: bool,
}

impl Failure {
    const fn of(text: String) -> Self {
        Self { text, is_broken: false }
    }
}

/// The answer of a server before its body is read.
type Answered = ureq::http::Response<ureq::Body>;

/// A session, and what is odd about its files.
pub(super) type Opened = (Session, Vec<String>);

impl Session {
    /// Reads the files of the configuration. Nothing is sent before the first request.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub(super) fn open(
        config: &InfluxDb,
        addresses: Vec<SocketAddr>,
        now: Instant,
    ) -> Result<Opened, Failure> {
        let mut warnings = Vec::new();
        let authorization = authorization(&config.target, &mut warnings)?;
        let is_compressed = match config.gzip {
            Gzip::Always => true,
            Gzip::Never => false,
            Gzip::Auto => !addresses.iter().all(|address| address.ip().is_loopback()),
        };
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("haproxystats/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_response_header_size(HEADERS_MAX_BYTES)
            .timeout_connect(Some(config.connect_timeout))
            .timeout_per_write(Some(config.write_timeout))
            .timeout_recv_response(Some(config.timeout))
            .timeout_recv_body(Some(config.timeout));
        let mut named = config.url.clone();
        let mut host = None;
        if let Some(tls) = &config.tls {
            builder = builder.tls_config(tls_config(tls, &mut warnings)?);
            if let Some(name) = &tls.server_name {
                let url = config.url.to_string();
                let authority = url.split('/').nth(2).unwrap_or_default();
                host = HeaderValue::from_str(authority).ok();
                named.host.clone_from(name);
            }
        }
        let connector = OneConnection::default();
        let agent = Agent::with_parts(builder.build(), connector, FixedAddresses(addresses));
        let base = named.to_string();
        let session =
            Self { agent, authorization, host, base, is_compressed, since: now, is_used: false };
        Ok((session, warnings))
    }

    /// Sends a request with lines and reads its answer.
    pub(super) fn write(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        lines: &[u8],
    ) -> Result<Response, ureq::Error> {
        if self.is_compressed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(lines)?;
            self.post(path, query, Some("gzip"), &encoder.finish()?)
        } else {
            self.post(path, query, None, lines)
        }
    }

    /// Sends a request and reads its answer.
    pub(super) fn post(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        encoding: Option<&'static str>,
        body: &[u8],
    ) -> Result<Response, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        request = request.query_pairs(query.iter().copied());
        request = request.content_type("text/plain; charset=utf-8");
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let response = request.send(body)?;
        self.answer(response)
    }

    /// Asks for a page.
    pub(super) fn get(&mut self, path: &str) -> Result<Response, ureq::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let response = request.call()?;
        self.answer(response)
    }

    /// The headers of every request.
    fn headers(&self) -> impl Iterator<Item = (&'static str, HeaderValue)> {
        let host = self.host.clone().map(|value| ("Host", value));
        let authorization = self.authorization.clone().map(|value| ("Authorization", value));
        host.into_iter().chain(authorization)
    }

    fn answer(&mut self, mut response: Answered) -> Result<Response, ureq::Error> {
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (retry_after, location) = (header("Retry-After"), header("Location"));
        let version = header("X-Influxdb-Version");
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let reader = response.body_mut().with_config().limit(u64::MAX).reader();
        reader.take(ANSWER_MAX_BYTES).read_to_end(&mut bytes)?;
        self.is_used = true;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Response { status, retry_after, location, version, body })
    }
}

/// What went wrong with a request, in words.
pub(super) fn failure(error: &ureq::Error, config: &InfluxDb) -> Failure {
    let seconds = |limit: std::time::Duration| limit.as_secs_f64();
    match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Failure::of(format!(
            "takes no connection within {}s (connect-timeout); check that it runs and listens \
             there",
            seconds(config.connect_timeout)
        )),
        ureq::Error::Timeout(Timeout::PerWrite | Timeout::SendRequest | Timeout::SendBody) => {
            Failure::of(format!(
                "accepted no byte for {}s (write-timeout); look at its load and its disk",
                seconds(config.write_timeout)
            ))
        }
        ureq::Error::Timeout(_) => Failure::of(format!(
            "gave no answer within {}s (timeout); look at its load and its disk",
            seconds(config.timeout)
        )),
        // rustls tells its errors to readers and writers as invalid data.
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => no_tls(error),
        ureq::Error::Io(error) if is_broken(error) => {
            // With TLS 1.3 a server refuses our certificate, or that we have none, after our first
            // writes. If it closes at once, its reason is lost.
            let remedy = if config.tls.is_some() {
                "look at its log, at what is in between, and whether it asks for our certificate"
            } else {
                "look at its log, and at what is in between"
            };
            Failure { text: format!("broke the connection: {error}; {remedy}"), is_broken: true }
        }
        ureq::Error::Io(error) => {
            Failure::of(format!("takes no connection: {error}{}", remedy_or_check(error)))
        }
        ureq::Error::Rustls(error) => no_tls(error),
        ureq::Error::Protocol(error) => {
            Failure { text: format!("speaks no HTTP: {error}; check url"), is_broken: true }
        }
        error => Failure::of(format!("cannot be asked: {error}; check url")),
    }
}

/// Whether a connection that was made has ended.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
    )
}

fn no_tls(error: &dyn fmt::Display) -> Failure {
    Failure::of(format!(
        "speaks no TLS that we accept: {error}; check url, ca-file, server-name and the \
         certificates"
    ))
}

/// The header with our credentials.
fn authorization(
    target: &InfluxTarget,
    warnings: &mut Vec<String>,
) -> Result<Option<HeaderValue>, Failure> {
    let text = match target {
        InfluxTarget::V1 { username: Some(user), password_file, .. } => {
            let password = match password_file {
                Some(path) => secret("password-file", path, warnings)?,
                None => String::new(),
            };
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        }
        InfluxTarget::V2 { token_file: Some(path), .. } => {
            format!("Token {}", secret("token-file", path, warnings)?)
        }
        InfluxTarget::V1 { .. } | InfluxTarget::V2 { .. } => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        let text = "token-file has characters that no header may have; check it";
        cannot_be_asked(text.to_owned())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The text of a file without line ends at its end.
fn secret(option: &str, path: &Path, warnings: &mut Vec<String>) -> Result<String, Failure> {
    let secret = files::secret(option, path).map_err(cannot_be_asked)?;
    warnings.extend(files::warning_of_readers(option, path));
    Ok(secret)
}

fn cannot_be_asked(text: String) -> Failure {
    Failure::of(format!("cannot be asked: {text}"))
}

fn tls_config(tls: &Tls, warnings: &mut Vec<String>) -> Result<TlsConfig, Failure> {
    // The pair is checked there; ureq panics if the key is not that of the certificate.
    let files = tls::read(tls).map_err(cannot_be_asked)?;
    warnings.extend(files.warning);
    let mut builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(tls::provider())
        .root_certs(RootCerts::new_with_certs(&certificates(&files.roots)));
    if let Some(identity) = &files.identity {
        let key = PrivateKey::from_pem(&identity.key_pem)
            .map_err(|error| cannot_be_asked(format!("key is unusable: {error}")))?;
        let chain = certificates(&identity.chain);
        builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(builder.build())
}

fn certificates(certificates: &[CertificateDer<'_>]) -> Vec<Certificate<'static>> {
    certificates.iter().map(|one| Certificate::from_der(one).to_owned()).collect()
}

/// Connects once.
#[derive(Debug, Default)]
struct OneConnection {
    connector: DefaultConnector,
    is_made: AtomicBool,
}

impl Connector for OneConnection {
    type Out = <DefaultConnector as Connector>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if self.is_made.swap(true, Ordering::Relaxed) {
            return Err(io::Error::from(ErrorKind::NotConnected).into());
        }
        self.connector.connect(details, chained)
    }
}

/// Answers with addresses that were looked up before, whatever the name: a look-up of ureq would
/// have no bound on its threads, and `server-name` is no name of the server's address.
#[derive(Debug)]
struct FixedAddresses(Vec<SocketAddr>);

impl Resolver for FixedAddresses {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        for address in self.0.iter().take(ADDRESSES_MAX) {
            addresses.push(*address);
        }
        if self.0.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// Addresses that ureq tries.
const ADDRESSES_MAX: usize = 16;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
