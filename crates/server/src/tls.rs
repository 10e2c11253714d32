//! TLS from PEM files: TLS 1.2 and 1.3, ALPN `h2` and nothing else.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::serve::StartError;

/// Reads the files. Renewed certificates take a restart.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let pem = read("certificate", &files.certificate)?;
    let bad_certificate = |problem: String| StartError::BadCertificate {
        what: "certificate",
        path: files.certificate.clone(),
        problem,
        mend: "It must be PEM: the server's certificate first, then those that signed it.",
    };
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| bad_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_certificate("it holds no certificate".to_owned()));
    }
    let pem = read("private key", &files.key)?;
    let bad_key = |problem: String| StartError::BadCertificate {
        what: "private key",
        path: files.key.clone(),
        problem,
        mend: "It must be the PEM key that belongs to the certificate.",
    };
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad_key(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_key(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| bad_key(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::TlsUnreadable { what, path: path.to_owned(), source })
}
