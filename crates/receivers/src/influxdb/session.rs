//! A session with an InfluxDB: addresses, credentials and TLS, read anew for each session, so that
//! a rotated secret and another address are found without a restart.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::{Gzip, InfluxDb, InfluxTarget, Tls};
use daemon::file::{self, Limit, Links};
use flate2::Compression;
use flate2::write::GzEncoder;
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

use crate::error::remedy_or_check;

/// Bytes of an answer that are read.
const ANSWER_MAX_BYTES: u64 = 64 << 10;
/// Bytes of the headers of an answer.
const HEADERS_MAX_BYTES: usize = 32 << 10;
const SECRET_LIMIT: Limit = Limit { bytes: 16 << 10, name: "16 KiB" };
const PEM_LIMIT: Limit = Limit { bytes: 4 << 20, name: "4 MiB" };
/// The others' right to read a file.
const READABLE_FOR_OTHERS: u32 = 0o004;

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
        let connector = DefaultConnector::default();
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
        if let Some(host) = &self.host {
            request = request.header("Host", host.clone());
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.clone());
        }
        let mut response = request.send(body)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (retry_after, location) = (header("Retry-After"), header("Location"));
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let reader = response.body_mut().with_config().limit(u64::MAX).reader();
        reader.take(ANSWER_MAX_BYTES).read_to_end(&mut bytes)?;
        self.is_used = true;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Response { status, retry_after, location, body })
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
        let text = "cannot be asked: token-file has characters that no header may have; check it";
        Failure::of(text.to_owned())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The text of a file without line ends at its end.
fn secret(option: &str, path: &Path, warnings: &mut Vec<String>) -> Result<String, Failure> {
    let bytes = read(option, path, SECRET_LIMIT)?;
    warn_of_readers(option, path, warnings);
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::of(format!("cannot be asked: {option} {path:?} is no UTF-8; check the file"))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn warn_of_readers(option: &str, path: &Path, warnings: &mut Vec<String>) {
    if let Ok(metadata) = path.metadata()
        && metadata.mode() & READABLE_FOR_OTHERS != 0
    {
        let path = path.display();
        warnings.push(format!(
            "{option} {path} can be read by every user of this machine; chmod o-r {path}"
        ));
    }
}

fn read(option: &str, path: &Path, limit: Limit) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = file::open(path, limit, Links::Follow)
        .and_then(|mut file| file.read_to_end(&mut bytes).map_err(Into::into));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::of(format!("cannot be asked: {option} {path:?} {error}"))),
    }
}

fn tls_config(tls: &Tls, warnings: &mut Vec<String>) -> Result<TlsConfig, Failure> {
    let roots = match &tls.ca_file {
        Some(path) => certificates("ca-file", path)?,
        None => system_roots()?,
    };
    let mut builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots));
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        let chain = certificates("certificate", certificate)?;
        let bytes = read("key", key, PEM_LIMIT)?;
        warn_of_readers("key", key, warnings);
        let private = PrivateKey::from_pem(&bytes)
            .map_err(|error| unusable("key", key, &error.to_string()))?;
        check_pair(&chain, &bytes).map_err(|error| unusable("key", key, &error))?;
        builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, private)));
    }
    Ok(builder.build())
}

/// Checks that the key is that of the certificate, because ureq panics if it is not.
fn check_pair(chain: &[Certificate<'static>], key: &[u8]) -> Result<(), String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let chain: Vec<_> = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
    builder.with_client_auth_cert(chain, key).map(|_| ()).map_err(|error| error.to_string())
}

fn certificates(option: &str, path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let bytes = read(option, path, PEM_LIMIT)?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(unusable(option, path, &error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(unusable(option, path, "it has no certificate"));
    }
    Ok(certificates)
}

fn unusable(option: &str, path: &Path, why: &str) -> Failure {
    let text = format!("cannot be asked: {option} {path:?} is unusable: {why}; write PEM there");
    Failure::of(text)
}

/// The authorities that this machine trusts.
fn system_roots() -> Result<Vec<Certificate<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let text = "cannot be asked: this machine trusts no authority; install its \
                    ca-certificates, or set ca-file";
        return Err(Failure::of(text.to_owned()));
    }
    Ok(found.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
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
