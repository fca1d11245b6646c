//! Which tracker is believed to be the right one.

use data_encoding::HEXUPPER_PERMISSIVE;
use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, digest};
use std::{
    fmt, io,
    str::FromStr,
    sync::{Arc, OnceLock},
};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio_tungstenite::{Connector, tungstenite};

/// The SHA-256 fingerprint of the one certificate that a tracker may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// What is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint is 64 hexadecimal digits, with or without colons, as the tracker prints it")]
pub struct FingerprintError;

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXUPPER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = text.replace(':', "");
        let bytes = HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| FingerprintError)?;
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

/// How to speak TLS with the tracker. Without a fingerprint its certificate has to be one that this system trusts.
pub(crate) fn connector(fingerprint: Option<Fingerprint>) -> Option<Connector> {
    Some(Connector::Rustls(trusting(fingerprint?)))
}

/// How to speak TLS with whoever shows the certificate with this fingerprint.
pub(crate) fn trusting(fingerprint: Fingerprint) -> Arc<ClientConfig> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("ring can all versions of TLS");
    let verifier = Arc::new(Pinned { fingerprint, provider });
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Arc::new(config)
}

/// How to speak TLS with a certificate, and its fingerprint.
pub(crate) type Identity = (Arc<ServerConfig>, Fingerprint);

/// A certificate that is made for this process alone, when it is first asked for: the library takes a while to collect randomness.
///
/// # Errors
/// If the library cannot.
pub(crate) fn identity() -> anyhow::Result<Identity> {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    if let Some(identity) = IDENTITY.get() {
        return Ok(identity.clone());
    }
    let identity = new_identity()?;
    Ok(IDENTITY.get_or_init(|| identity).clone())
}

fn new_identity() -> anyhow::Result<Identity> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::default().self_signed(&key)?;
    let fingerprint = Fingerprint::of(certificate.der());
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = builder.with_single_cert(vec![certificate.der().clone()], key.into())?;
    Ok((Arc::new(config), fingerprint))
}

/// Says for people why there is no connection.
pub(crate) fn explain(error: &tungstenite::Error) -> String {
    let tungstenite::Error::Io(error) = error else { return error.to_string() };
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "nothing answers there; is it running?".to_owned();
    }
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => format!(
            "its certificate is not trusted: {why}; if it is the tracker's own, give the fingerprint that the tracker \
             prints with --tls-fingerprint"
        ),
        // The words of `Pinned`.
        Some(rustls::Error::General(why)) => why.clone(),
        _ => error.to_string(),
    }
}

/// Trusts one certificate, whatever names are in it.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Fingerprint::of(certificate) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("its certificate has another fingerprint than was given".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_can_be_given_as_any_program_writes_it() {
        let expected = Ok(Fingerprint([0xab; 32]));
        assert_eq!("AB:".repeat(32).trim_end_matches(':').parse(), expected);
        assert_eq!("ab".repeat(32).parse(), expected);
        for wrong in [String::new(), "ab".repeat(31), "xy".repeat(32), format!("{}a", "ab".repeat(32))] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError));
        }
    }
}
