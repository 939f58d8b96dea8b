//! TLS: which certificate answers whom, and how certificates are renewed while the server runs.
//!
//! There are two certificates at most. The server's own one is signed by the CA of the data directory ([`own`]) and made
//! anew with each start; the given one is read from files ([`files`]) and read again when they change. With a given one,
//! the own one still answers clients on this host that name it by address or `localhost`: the agent and the commands of
//! this host need no name that resolves. Never speaks HTTP; the handshake is driven by `connections`.

mod files;
mod own;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, pki_types};
use tokio_rustls::TlsAcceptor;

use self::files::Files;
use self::own::Authority;
use crate::data_dir::DataDir;
use crate::error::ServerError;
use crate::options::Transport;

/// Between two looks at the files of a certificate.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The own certificate is good for 397 days; a server that runs for long makes a new one this often.
const RENEW_INTERVAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is presented now. Read by each handshake, written by a renewal.
#[derive(Debug)]
struct Keys {
    own: RwLock<Arc<CertifiedKey>>,
    given: RwLock<Option<Arc<CertifiedKey>>>,
}

/// Chooses between the two.
#[derive(Debug)]
struct Choice {
    keys: Arc<Keys>,
    is_local: bool,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names_this_host = hello.server_name().is_none_or(|name| name == "localhost");
        let given = self.keys.given.read();
        match given.as_ref() {
            Some(given) if !(self.is_local && names_this_host) => Some(given.clone()),
            _ => Some(self.keys.own.read().clone()),
        }
    }
}

/// The certificates of a server.
pub(crate) struct Tls {
    keys: Arc<Keys>,
    provider: Arc<CryptoProvider>,
    local: TlsAcceptor,
    remote: TlsAcceptor,
    authority: Authority,
    names: Vec<String>,
    files: Option<Files>,
    issued: Instant,
    ca_file: PathBuf,
}

impl Tls {
    /// Reads or makes what `transport` asks for; `None` for plain HTTP.
    pub(crate) fn open(
        dir: &DataDir,
        transport: &Transport,
        listen: IpAddr,
        hostname: &str,
    ) -> Result<Option<Self>, ServerError> {
        let (more_names, files) = match transport {
            Transport::Plain | Transport::PlainAnywhere => return Ok(None),
            Transport::OwnCertificate { names } => (names.clone(), None),
            Transport::Certificate { cert, key } => {
                (Vec::new(), Some(Files::new(cert.clone(), key.clone())))
            }
        };
        let provider = Arc::new(ring::default_provider());
        let authority = Authority::open(dir)?;
        let names = own::names(listen, hostname, &more_names);
        let own = authority.issue(&names, &provider)?;
        let given = match &files {
            Some(files) => Some(files.load(&provider)?),
            None => None,
        };
        let keys = Arc::new(Keys {
            own: RwLock::new(own),
            given: RwLock::new(given),
        });
        Ok(Some(Self {
            local: acceptor(&keys, true, &provider)?,
            remote: acceptor(&keys, false, &provider)?,
            keys,
            provider,
            ca_file: dir.ca_certificate(),
            authority,
            names,
            files,
            issued: Instant::now(),
        }))
    }

    /// The acceptors for clients of this host and for all others.
    pub(crate) fn acceptors(&self) -> Acceptors {
        Acceptors {
            local: self.local.clone(),
            remote: self.remote.clone(),
        }
    }

    /// The CA that clients on this host trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.ca_file.clone()
    }

    /// Looks whether the files have changed and whether the own certificate is due. What cannot be used is told once and
    /// changes nothing.
    pub(crate) fn refresh(&mut self) {
        if let Some(files) = self.files.as_mut()
            && files.have_changed()
        {
            match files.load(&self.provider) {
                Ok(key) => {
                    *self.keys.given.write() = Some(key);
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    tracing::error!(%error, "the changed certificate cannot be used; the former one stays");
                }
            }
        }
        if self.issued.elapsed() >= RENEW_INTERVAL {
            match self.authority.issue(&self.names, &self.provider) {
                Ok(key) => *self.keys.own.write() = key,
                Err(error) => tracing::error!(%error, "the certificate cannot be renewed"),
            }
            self.issued = Instant::now();
        }
    }
}

/// What a listening socket needs of TLS.
#[derive(Clone)]
pub(crate) struct Acceptors {
    local: TlsAcceptor,
    remote: TlsAcceptor,
}

impl Acceptors {
    /// The one for a connection between these addresses.
    pub(crate) fn between(&self, peer: IpAddr, here: Option<IpAddr>) -> &TlsAcceptor {
        let peer = peer.to_canonical();
        let is_local = peer.is_loopback() || here.is_some_and(|here| here.to_canonical() == peer);
        if is_local { &self.local } else { &self.remote }
    }
}

fn acceptor(
    keys: &Arc<Keys>,
    is_local: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<TlsAcceptor, ServerError> {
    let choice = Choice {
        keys: keys.clone(),
        is_local,
    };
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerError::Tls {
            what: "the protocol".to_owned(),
            why: error.to_string(),
        })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(choice));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A chain with its key, which must belong together.
fn certified(
    chain: Vec<pki_types::CertificateDer<'static>>,
    key: pki_types::PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, rustls::Error> {
    CertifiedKey::from_der(chain, key, provider).map(Arc::new)
}
