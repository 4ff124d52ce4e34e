//! The files of the options of TLS, read and checked.

use std::path::Path;
use std::sync::Arc;

use config::Tls;
use daemon::file::Limit;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::files;

const PEM_LIMIT: Limit = Limit { bytes: 4 << 20, name: "4 MiB" };

/// What the files hold.
pub(crate) struct Files {
    /// The authorities that are trusted.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) identity: Option<Identity>,
    /// The same for rustls.
    pub(crate) client: Arc<ClientConfig>,
    /// What is odd about the files.
    pub(crate) warning: Option<String>,
}

/// Our own certificate with its chain, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key_pem: Vec<u8>,
}

/// Reads the files.
///
/// # Errors
///
/// A file cannot be read or used, or a key is not that of its certificate: the option, the path and
/// the reason.
pub(crate) fn read(tls: &Tls) -> Result<Files, String> {
    let mut store = RootCertStore::empty();
    let roots = match &tls.ca_file {
        Some(path) => {
            let roots = certificates("ca-file", path)?;
            for root in &roots {
                let added = store.add(root.clone());
                added.map_err(|error| unusable("ca-file", path, &error.to_string()))?;
            }
            roots
        }
        None => {
            let roots = rustls_native_certs::load_native_certs().certs;
            store.add_parsable_certificates(roots.iter().cloned());
            roots
        }
    };
    if store.is_empty() {
        let text = "this machine trusts no authority; install its ca-certificates, or set ca-file";
        return Err(text.to_owned());
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store);
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        let client = Arc::new(builder.with_no_client_auth());
        return Ok(Files { roots, identity: None, client, warning: None });
    };
    let chain = certificates("certificate", certificate)?;
    let key_pem = files::read("key", key, PEM_LIMIT)?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| unusable("key", key, &error.to_string()))?;
    let client = builder
        .with_client_auth_cert(chain.clone(), private)
        .map_err(|error| unusable("key", key, &error.to_string()))?;
    let identity = Some(Identity { chain, key_pem });
    let warning = files::warning_of_readers("key", key);
    Ok(Files { roots, identity, client: Arc::new(client), warning })
}

/// The cryptography of all connections.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files::read(option, path, PEM_LIMIT)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(option, path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(option, path, "it has no certificate"));
    }
    Ok(certificates)
}

fn unusable(option: &str, path: &Path, why: &str) -> String {
    format!("{option} {path:?} is unusable: {why}; write PEM there")
}
