//! The files of the options of TLS, read into rustls' configuration of a client.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use config::Tls;
use daemon::file::{self, Limit, Links};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

const PEM_LIMIT: Limit = Limit { bytes: 4 << 20, name: "4 MiB" };
/// The others' right to read a file.
const READABLE_FOR_OTHERS: u32 = 0o004;

/// A configuration that can be used, and what is odd about its files.
pub(crate) struct Client {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) warning: Option<String>,
}

/// Reads the files.
///
/// # Errors
///
/// A file cannot be read or used: its option, its path and the reason.
pub(crate) fn client(tls: &Tls) -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(path) => {
            for certificate in certificates("ca-file", path)? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable("ca-file", path, &error.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let text = "this machine trusts no authority; install its ca-certificates, or set \
                            ca-file";
                return Err(text.to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        let config = Arc::new(builder.with_no_client_auth());
        return Ok(Client { config, warning: None });
    };
    let chain = certificates("certificate", certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read("key", key)?)
        .map_err(|error| unusable("key", key, &error.to_string()))?;
    let config = builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| unusable("key", key, &error.to_string()))?;
    Ok(Client { config: Arc::new(config), warning: warning_of_readers(key) })
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(option, path)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(option, path, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(option, path, "it has no certificate"));
    }
    Ok(certificates)
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file::open(path, PEM_LIMIT, Links::Follow)
        .and_then(|mut file| file.read_to_end(&mut bytes).map_err(Into::into));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{option} {path:?} {error}")),
    }
}

fn unusable(option: &str, path: &Path, why: &str) -> String {
    format!("{option} {path:?} is unusable: {why}; write PEM there")
}

fn warning_of_readers(key: &Path) -> Option<String> {
    let metadata = key.metadata().ok()?;
    let path = key.display();
    (metadata.mode() & READABLE_FOR_OTHERS != 0)
        .then(|| format!("key {path} can be read by every user of this machine; chmod o-r {path}"))
}
