//! Identifiers, each its own type, written as lower-case hexadecimal.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// The text is not the lower-case hexadecimal of an id of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct IdError {
    expected: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Makes the id from its bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER.encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { expected: 2 * $bytes };
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| error.clone())?;
                Ok(Self(bytes.try_into().map_err(|_| error)?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// A peer, named by the tracker at `register`: 8 random bytes, 16 digits.
    PeerId, 8
}
hex_id! {
    /// A file: the BLAKE3 hash of its content, the same 64 digits that `b3sum` prints.
    FileId, 32
}
hex_id! {
    /// A file in messages between peers: the first 8 bytes of its id, 16 digits.
    ///
    /// The whole id would be half of the bytes of a small message. Two files with one tag cannot be fetched by the same
    /// peer at the same time. To make such a pair takes about 2^32 hashes, and harms only who fetches both: blocks are
    /// checked against the manifest, which is asked for by the id.
    FileTag, 8
}
hex_id! {
    /// What lets only its owner take a peer id back after a dropped line: 16 bytes, 32 digits.
    Secret, 16
}

impl FileId {
    /// What the file is called in messages between peers.
    pub const fn tag(&self) -> FileTag {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        FileTag([a, b, c, d, e, f, g, h])
    }
}

impl FileTag {
    /// The lowest id with this tag. Ids with one tag follow one another.
    pub fn first_id(&self) -> FileId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.0);
        FileId(bytes)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self:.8})")
    }
}

impl fmt::Debug for FileTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileTag({self})")
    }
}

/// Never shows the secret, so that it cannot reach a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_writes() {
        let id = PeerId::from_bytes([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(id.to_string(), "00010203fcfdfeff");
        assert_eq!("00010203fcfdfeff".parse(), Ok(id));
        assert_eq!(serde_json::from_str::<PeerId>("\"00010203fcfdfeff\"").unwrap(), id);
    }

    #[test]
    fn an_id_of_the_wrong_form_is_refused() {
        for text in ["", "00", "00010203fcfdfef", "00010203fcfdfeff00", "00010203FCFDFEFF", "00010203fcfdfefg"] {
            assert_eq!(text.parse::<PeerId>(), Err(IdError { expected: 16 }), "{text}");
        }
    }

    #[test]
    fn a_tag_is_how_its_file_id_begins() {
        let id = FileId::from_bytes(std::array::from_fn(|i| 0xff - i as u8));
        assert_eq!(id.tag().to_string(), id.to_string()[..16]);
        assert_eq!(serde_json::to_string(&id.tag()).unwrap(), "\"fffefdfcfbfaf9f8\"");
        assert_eq!("fffefdfcfbfaf9f8".parse(), Ok(id.tag()));
        assert!(id.to_string().parse::<FileTag>().is_err());
        assert_eq!(id.tag().first_id().tag(), id.tag());
        assert!(id.tag().first_id() <= id);
    }

    #[test]
    fn logs_name_ids_and_files_by_their_beginning() {
        let file = FileId::from_bytes([0xf1; 32]);
        let logged = format!("{:?} {file:?} {:?}", PeerId::from_bytes([0xa1; 8]), file.tag());
        assert_eq!(logged, "PeerId(a1a1a1a1a1a1a1a1) FileId(f1f1f1f1) FileTag(f1f1f1f1f1f1f1f1)");
    }

    #[test]
    fn a_secret_is_not_shown_in_logs() {
        assert_eq!(format!("{:?}", Secret::from_bytes([7; 16])), "Secret(..)");
    }
}
