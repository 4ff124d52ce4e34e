//! A certificate authority with its files, and the TLS configuration of a server that it vouches
//! for.
//!
//! ```
//! use haproxystats_testbed::tls::Authority;
//!
//! let authority = Authority::new()?;
//! authority.issue("client")?;
//! assert!(authority.path("ca.pem").is_file() && authority.path("client.key").is_file());
//! let versions = [&rustls::version::TLS13];
//! authority.server("127.0.0.1", false, &versions)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

/// An authority, and a folder with the files of its certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority, whose own certificate is in `ca.pem`.
    ///
    /// # Errors
    ///
    /// A key cannot be made, or a file cannot be written.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Its own name: OpenSSL takes a certificate whose subject is its issuer for self-signed.
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        fs::write(folder.path().join("ca.pem"), issuer.pem())?;
        Ok(Self { issuer, folder })
    }

    /// The path of a file in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for a name, and its key; also in the files `<name>.pem` and `<name>.key`.
    ///
    /// # Errors
    ///
    /// The key or the certificate cannot be made, or a file cannot be written.
    pub fn issue(&self, name: &str) -> io::Result<(CertificateDer<'static>, KeyPair)> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(vec![name.to_owned()]).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        fs::write(self.path(&format!("{name}.pem")), certificate.pem())?;
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
        Ok((certificate.der().clone(), key))
    }

    /// The configuration of a server with a certificate for `name`. With `asks_for_certificate` it
    /// serves only clients that the authority knows.
    ///
    /// # Errors
    ///
    /// The certificate cannot be made or used.
    pub fn server(
        &self,
        name: &str,
        asks_for_certificate: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<Arc<ServerConfig>> {
        let (certificate, key) = self.issue(name)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?;
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).map_err(io::Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let config = builder.with_single_cert(vec![certificate], key).map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }
}
