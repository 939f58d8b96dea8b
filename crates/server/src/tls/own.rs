//! The CA of a data directory, and certificates that it signs for the server itself.
//!
//! `tls/ca.pem` is what clients trust, so it stays the same for the life of the data directory; `tls/ca.key` is as secret as
//! the master key. The server's certificate is never stored: each start makes one for the names of that moment.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::data_dir::{DataDir, read_file, write_file};
use crate::error::ServerError;

/// Years that the CA is good for.
const CA_YEARS: i64 = 20;
/// Days that a certificate is good for: more is refused by some clients.
const LEAF_DAYS: i64 = 397;

/// The CA with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// The names that the server's own certificate is for.
pub(super) fn names(listen: IpAddr, hostname: &str, more: &[String]) -> Vec<String> {
    let mut names = BTreeSet::from(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if !listen.is_unspecified() {
        names.insert(listen.to_string());
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    if is_name(hostname) {
        names.insert(hostname.to_owned());
    }
    names.extend(more.iter().cloned());
    names.into_iter().collect()
}

fn failed(what: &'static str) -> impl FnOnce(rcgen::Error) -> ServerError {
    move |error| ServerError::Tls {
        what: what.to_owned(),
        why: error.to_string(),
    }
}

impl Authority {
    /// Reads the CA, or makes it. The key is written first: a certificate without its key would be trusted in vain.
    pub(super) fn open(dir: &DataDir) -> Result<Self, ServerError> {
        let key = match read_file(&dir.ca_key())? {
            Some(bytes) => {
                let bytes = zeroize::Zeroizing::new(bytes);
                std::str::from_utf8(&bytes)
                    .ok()
                    .and_then(|pem| KeyPair::from_pem(pem).ok())
                    .ok_or_else(|| ServerError::Tls {
                        what: dir.ca_key().display().to_string(),
                        why: "it is not the private key of a CA; put it back from a copy, or remove the folder to get a \
                              new CA that clients must be told of"
                            .to_owned(),
                    })?
            }
            None => {
                let key = KeyPair::generate().map_err(failed("the key of the CA"))?;
                dir.make_tls_folder()?;
                let pem = zeroize::Zeroizing::new(key.serialize_pem());
                write_file(&dir.ca_key(), pem.as_bytes())?;
                key
            }
        };
        let params = ca_params(&key)?;
        if read_file(&dir.ca_certificate())?.is_none() {
            let certificate = params
                .self_signed(&key)
                .map_err(failed("the certificate of the CA"))?;
            write_file(&dir.ca_certificate(), certificate.pem().as_bytes())?;
        }
        Ok(Self {
            issuer: Issuer::new(params, key),
        })
    }

    /// A new certificate with a new key.
    pub(super) fn issue(
        &self,
        names: &[String],
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, ServerError> {
        let what = "the server's own certificate";
        let key = KeyPair::generate().map_err(failed(what))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed(what))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Strongroom");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        set_validity(&mut params, LEAF_DAYS)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(what))?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        super::certified(vec![certificate.der().clone()], private, provider).map_err(|error| {
            ServerError::Tls {
                what: what.to_owned(),
                why: error.to_string(),
            }
        })
    }
}

/// The same for the same key, so that the certificates of each start belong to the CA that clients know.
fn ca_params(key: &KeyPair) -> Result<CertificateParams, ServerError> {
    let mut params = CertificateParams::default();
    let id = hex::encode(&Sha256::digest(key.public_key_raw())[..6]);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Strongroom CA {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, CA_YEARS * 365)?;
    Ok(params)
}

/// From yesterday on: clocks differ.
fn set_validity(params: &mut CertificateParams, days: i64) -> Result<(), ServerError> {
    let now = jiff::Timestamp::now();
    let today = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    let out_of_range = |_| ServerError::Tls {
        what: "the clock".to_owned(),
        why: "its date is out of range".to_owned(),
    };
    let from = today
        .checked_sub(SignedDuration::from_hours(24))
        .map_err(out_of_range)?;
    let until = today.checked_add(days.days()).map_err(out_of_range)?;
    let date = |date: jiff::civil::Date| {
        date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    params.not_before = date(from);
    params.not_after = date(until);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{RootCertStore, sign::CertifiedKey};

    use super::{Authority, names};
    use crate::data_dir::DataDir;

    fn accepts(dir: &DataDir, key: &CertifiedKey, name: &str) -> bool {
        let pem = fs::read(dir.ca_certificate()).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&pem).unwrap())
            .unwrap();
        let provider = Arc::new(default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
            .verify_server_cert(
                &key.cert[0],
                &[],
                &ServerName::try_from(name.to_owned()).unwrap(),
                &[],
                UnixTime::now(),
            )
            .is_ok()
    }

    #[test]
    fn certificates_of_each_start_belong_to_the_same_ca() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("d")).unwrap();
        let wanted = names(
            "10.1.2.3".parse().unwrap(),
            "host.example",
            &["backup".to_owned()],
        );
        let provider = default_provider();
        let first = Authority::open(&dir)
            .unwrap()
            .issue(&wanted, &provider)
            .unwrap();
        let ca = fs::read(dir.ca_certificate()).unwrap();
        let second = Authority::open(&dir)
            .unwrap()
            .issue(&wanted, &provider)
            .unwrap();
        assert_eq!(fs::read(dir.ca_certificate()).unwrap(), ca);
        assert_ne!(first.cert, second.cert);
        for key in [&first, &second] {
            for name in [
                "localhost",
                "127.0.0.1",
                "::1",
                "10.1.2.3",
                "host.example",
                "backup",
            ] {
                assert!(accepts(&dir, key, name), "{name}");
            }
            assert!(!accepts(&dir, key, "other.example") && !accepts(&dir, key, "10.1.2.4"));
        }
        let mode = fs::metadata(dir.ca_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_ca_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let one = DataDir::open(&folder.path().join("one")).unwrap();
        let two = DataDir::open(&folder.path().join("two")).unwrap();
        let wanted = names("127.0.0.1".parse().unwrap(), "", &[]);
        Authority::open(&one).unwrap();
        let key = Authority::open(&two)
            .unwrap()
            .issue(&wanted, &default_provider())
            .unwrap();
        assert!(accepts(&two, &key, "localhost") && !accepts(&one, &key, "localhost"));
    }

    #[test]
    fn a_damaged_key_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("d")).unwrap();
        Authority::open(&dir).unwrap();
        fs::write(dir.ca_key(), "x").unwrap();
        let error = Authority::open(&dir).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("ca.key"), "{error}");
        assert_eq!(fs::read(dir.ca_key()).unwrap(), b"x");
    }

    #[test]
    fn no_name_is_made_of_an_odd_hostname() {
        let all = names("0.0.0.0".parse().unwrap(), "odd name", &[]);
        assert_eq!(all, ["127.0.0.1", "::1", "localhost"]);
    }
}
