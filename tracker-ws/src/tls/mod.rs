//! TLS: which certificate the tracker shows, and reading it again when it was renewed.

mod front;
mod self_signed;

pub(crate) use front::{Front, accept};

use clap::Args;
use ring::digest::{SHA256, digest};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
    },
};

/// Whether and how a tracker speaks TLS; without any of these it does not.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct Tls {
    /// Certificate, and those that vouch for it, in PEM; with it the tracker speaks https and wss. Read again at SIGHUP
    #[arg(long, env = "MINIBIT_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate in PEM
    #[arg(long, env = "MINIBIT_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Make a certificate, once, and print its fingerprint for people to compare; browsers warn of it
    #[arg(long, env = "MINIBIT_TLS_SELF_SIGNED", conflicts_with = "tls_cert")]
    pub tls_self_signed: bool,
    /// Folder to keep that certificate in; by default $XDG_STATE_HOME/minibit or ~/.local/state/minibit
    #[arg(long, env = "MINIBIT_TLS_FOLDER", value_name = "FOLDER")]
    pub tls_folder: Option<PathBuf>,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}; check the file and who may read it, and --tls-cert and --tls-key")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("there is no {what} in {path}: {error}; it has to be a PEM file")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found instead.
        error: pem::Error,
    },
    /// The certificate cannot be used with the key.
    #[error("cannot use the certificate {cert} with the key {key}: {error}; give the key that the certificate is for")]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the TLS library said.
        error: rustls::Error,
    },
    /// There is no folder for a self-signed certificate.
    #[error("there is no place to keep a certificate: neither XDG_STATE_HOME nor HOME is set; give --tls-folder")]
    NoFolder,
    /// A self-signed certificate cannot be stored.
    #[error("cannot keep a certificate in {folder}: {error}; choose another folder with --tls-folder")]
    Keep {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A self-signed certificate cannot be made.
    #[error("cannot make a certificate: {0}; give one with --tls-cert and --tls-key")]
    Make(#[from] rcgen::Error),
}

/// The certificate that a tracker shows, from files.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    fingerprint: String,
}

impl Certificate {
    /// The certificate that `tls` asks for, if it does; one that is made is for `host`, among others.
    pub(crate) fn open(tls: &Tls, host: &str) -> Result<Option<Self>, TlsError> {
        let (cert, key) = match (&tls.tls_cert, &tls.tls_key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ if tls.tls_self_signed => {
                let both = self_signed::file(tls.tls_folder.as_deref(), host)?;
                (both.clone(), both)
            }
            _ => return Ok(None),
        };
        let current = Mutex::new(load(&cert, &key)?);
        Ok(Some(Self { cert, key, current }))
    }

    /// Reads the files again; connections that are open keep what they have.
    ///
    /// # Errors
    /// If the files cannot be used; then what was read before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = load(&self.cert, &self.key)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Its SHA-256 fingerprint, written as browsers do.
    pub fn fingerprint(&self) -> String {
        self.current().fingerprint
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.current().config.into()
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn load(cert: &Path, key: &Path) -> Result<Current, TlsError> {
    let read = |path: &Path| fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error });
    let wrong = |what, path: &Path, error| TlsError::Pem { what, path: path.to_owned(), error };
    let chain = CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    let chain = chain.map_err(|error| wrong("certificate", cert, error))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| wrong("key", key, error))?;
    let fingerprint = chain.first().map(fingerprint).unwrap_or_default();

    let pair = |error| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), error };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(pair)?;
    // WebSocket over HTTP/2 is another handshake, which nobody needs here.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current { config: Arc::new(config), fingerprint })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes = digest(&SHA256, certificate);
    bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key in files of their own.
    fn write_pair(folder: &Path) -> Tls {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls =
            Tls { tls_cert: Some(folder.join("cert.pem")), tls_key: Some(folder.join("key.pem")), ..Tls::default() };
        fs::write(tls.tls_cert.as_ref().unwrap(), cert.pem()).unwrap();
        fs::write(tls.tls_key.as_ref().unwrap(), signing_key.serialize_pem()).unwrap();
        tls
    }

    #[test]
    fn a_broken_file_is_refused_and_what_was_read_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let tls = write_pair(folder.path());
        let certificate = Certificate::open(&tls, "localhost").unwrap().unwrap();
        let before = certificate.fingerprint();
        let (cert, key) = (tls.tls_cert.unwrap(), tls.tls_key.unwrap());
        let old_key = fs::read(&key).unwrap();

        write_pair(folder.path());
        let new_key = fs::read(&key).unwrap();
        fs::write(&key, old_key).unwrap();
        assert!(matches!(certificate.reload(), Err(TlsError::Pair { .. })));
        fs::write(&key, "no key").unwrap();
        assert!(matches!(certificate.reload(), Err(TlsError::Pem { what: "key", .. })));
        fs::write(&key, new_key).unwrap();
        let new_cert = fs::read(&cert).unwrap();
        fs::write(&cert, "").unwrap();
        assert!(matches!(certificate.reload(), Err(TlsError::Pem { what: "certificate", .. })));
        fs::remove_file(&cert).unwrap();
        assert!(matches!(certificate.reload(), Err(TlsError::Read { .. })));
        assert_eq!(certificate.fingerprint(), before);

        fs::write(&cert, new_cert).unwrap();
        certificate.reload().unwrap();
        assert_ne!(certificate.fingerprint(), before);
    }
}
