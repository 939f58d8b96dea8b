//! A certificate and its key in PEM files of the operator, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::error::ServerError;

/// By what a change of a file is seen.
type Stamp = Option<(u64, SystemTime)>;

/// The two files.
#[derive(Debug)]
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    seen: (Stamp, Stamp),
}

impl Files {
    pub(super) fn new(cert: PathBuf, key: PathBuf) -> Self {
        // Looked at before they are read: a change in between is seen by the next look.
        let seen = (stamp(&cert), stamp(&key));
        Self { cert, key, seen }
    }

    /// True once for each change.
    pub(super) fn have_changed(&mut self) -> bool {
        let now = (stamp(&self.cert), stamp(&self.key));
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// Reads both.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, ServerError> {
        let refuse = |path: &Path, why: String| ServerError::Tls {
            what: path.display().to_string(),
            why,
        };
        let pem = fs::read(&self.cert).map_err(ServerError::file("read", &self.cert))?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| refuse(&self.cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(refuse(
                &self.cert,
                "it holds no certificate (PEM)".to_owned(),
            ));
        }
        let pem = fs::read(&self.key).map_err(ServerError::file("read", &self.key))?;
        let pem = zeroize::Zeroizing::new(pem);
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            refuse(&self.key, format!("it holds no private key (PEM): {error}"))
        })?;
        super::certified(chain, key, provider).map_err(|error| refuse(&self.key, error.to_string()))
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;

    use rustls::crypto::ring::default_provider;

    use super::Files;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_is_read_and_a_change_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("c"), folder.path().join("k"));
        let (cert_pem, key_pem) = pair("a");
        fs::write(&cert, &cert_pem).unwrap();
        fs::write(&key, &key_pem).unwrap();
        let mut files = Files::new(cert.clone(), key.clone());
        let provider = default_provider();
        let first = files.load(&provider).unwrap();
        assert!(!files.have_changed());
        let (other_cert, other_key) = pair("a much longer name");
        fs::write(&cert, &other_cert).unwrap();
        assert!(files.have_changed() && !files.have_changed());
        // The key is still the old one.
        let error = files.load(&provider).unwrap_err().to_string();
        assert!(error.contains("/k"), "{error}");
        fs::write(&key, &other_key).unwrap();
        assert_ne!(files.load(&provider).unwrap().cert, first.cert);
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("c"), folder.path().join("k"));
        let provider = default_provider();
        let files = Files::new(cert.clone(), key.clone());
        assert!(
            files
                .load(&provider)
                .unwrap_err()
                .to_string()
                .contains("/c")
        );
        fs::write(&cert, "no certificate").unwrap();
        let error = files.load(&provider).unwrap_err().to_string();
        assert!(
            error.contains("/c") && error.contains("no certificate"),
            "{error}"
        );
        fs::write(&cert, pair("a").0).unwrap();
        fs::write(&key, "no key").unwrap();
        assert!(
            files
                .load(&provider)
                .unwrap_err()
                .to_string()
                .contains("no private key")
        );
    }
}
