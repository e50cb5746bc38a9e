//! TLS 1.2 and 1.3 on a listener, with a certificate that may change while the program runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What TLS is spoken with.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    files: Files,
    /// What the files held at the start.
    first: Contents,
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("server.tls.{0} {1}: {2}")]
    File(&'static str, PathBuf, io::Error),
    /// A file is not what it is to be.
    #[error("server.tls.{0} {1}: {2}; it must be a file in PEM")]
    Pem(&'static str, PathBuf, pem::Error),
    /// They do not belong together.
    #[error("server.tls.key {0} is not the key of the certificate in {1}")]
    Mismatch(PathBuf, PathBuf),
    /// The certificate, or a key of its kind, is of no use.
    #[error("server.tls.certificate {0} and server.tls.key {1}: {2}")]
    Unusable(PathBuf, PathBuf, rustls::Error),
    /// TLS itself cannot be set up.
    #[error("TLS: {0}")]
    Setup(rustls::Error),
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells one version of the files from the next, without keeping the key.
type Contents = [u8; 32];

/// The certificate in use, whatever name a client asks for.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads certificate and key for the first time. HTTP/2 and HTTP/1.1 are offered by ALPN (RFC 7301). Clients
    /// resume sessions by tickets (RFC 8446, section 2.2), under keys that are made here and change by themselves.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let provider = Arc::new(ring::default_provider());
        let (certified, first) = files.read(&provider)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(certified)));
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Self { config: Arc::new(config), current, files, first })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Follows the files, for as long as the program runs: looks at them every other second, and at a SIGHUP. The
    /// certificate before stays in use where the new one is no good.
    pub async fn follow(&self) {
        let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
        let mut contents = self.first;
        let mut fault = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = asked.recv() => {}
            }
            match self.files.read(self.config.crypto_provider()) {
                Ok((_, now)) if now == contents => fault.clear(),
                Ok((certified, now)) => {
                    tracing::info!(
                        "connections get the new certificate of {}",
                        self.files.certificate.display()
                    );
                    self.current.0.store(Arc::new(certified));
                    contents = now;
                    fault.clear();
                }
                Err(error) if error.to_string() == fault => {}
                Err(error) => {
                    fault = error.to_string();
                    tracing::warn!("the certificate stays what it was: {fault}");
                }
            }
        }
    }
}

impl Files {
    /// The certificate with its key, and what the files held.
    fn read(&self, provider: &CryptoProvider) -> Result<(CertifiedKey, Contents), TlsError> {
        let of_file =
            |name, path: &PathBuf| fs::read(path).map_err(|e| TlsError::File(name, path.clone(), e));
        let of_pem = |name, path: &PathBuf, error| TlsError::Pem(name, path.clone(), error);
        let certificate = of_file("certificate", &self.certificate)?;
        let key = of_file("key", &self.key)?;
        let contents = Sha256::new().chain_update(Sha256::digest(&certificate)).chain_update(&key).finalize();

        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
        let chain = chain
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|error| of_pem("certificate", &self.certificate, error))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| of_pem("key", &self.key, error))?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch(self.key.clone(), self.certificate.clone())
            }
            error => TlsError::Unusable(self.certificate.clone(), self.key.clone(), error),
        })?;
        Ok((certified, contents.into()))
    }
}
