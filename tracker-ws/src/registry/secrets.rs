//! The secrets that come with peer ids.

use protocol::{Identity, PeerId, Secret};

/// Makes the secret of any id from one key of the process, so that nothing has to be kept for peers that are gone.
pub(crate) struct Secrets {
    key: [u8; blake3::KEY_LEN],
}

impl Secrets {
    /// Secrets that nobody can make without `key`.
    pub(crate) const fn new(key: [u8; blake3::KEY_LEN]) -> Self {
        Self { key }
    }

    /// The secret of an id: the first 16 bytes of its BLAKE3 hash under the key.
    pub(crate) fn of(&self, id: PeerId) -> Secret {
        let mut secret = [0; 16];
        secret.copy_from_slice(&blake3::keyed_hash(&self.key, id.as_bytes()).as_bytes()[..16]);
        Secret::from_bytes(secret)
    }

    /// Whether the secret is that of the id.
    pub(crate) fn fits(&self, identity: &Identity) -> bool {
        // Comparing two `blake3::Hash` takes the same time wherever they differ.
        blake3::hash(identity.secret.as_bytes()) == blake3::hash(self.of(identity.id).as_bytes())
    }
}

/// Never shows the key, so that it cannot reach a log.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_belongs_to_one_id_and_one_process() {
        let [alice, bob] = [1, 2].map(|byte| PeerId::from_bytes([byte; 8]));
        let secrets = Secrets::new([7; 32]);
        let secret = secrets.of(alice);
        assert!(secrets.fits(&Identity { id: alice, secret }));
        assert!(!secrets.fits(&Identity { id: bob, secret }));
        assert!(!Secrets::new([8; 32]).fits(&Identity { id: alice, secret }));
        assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    }
}
