//! How bytes travel inside JSON: standard base64 with padding (RFC 4648 section 4).

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serializer, de};
use std::{borrow::Cow, fmt};

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = Text::deserialize(deserializer)?.0;
    BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(|error| de::Error::custom(format!("no base64: {error}")))
}

/// A string that is borrowed from the input where it holds no escapes, so that large ones are not copied.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a base64 string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use crate::ManifestPart;

    #[test]
    fn bytes_are_base64_with_padding_whether_or_not_the_text_has_escapes() {
        let hashes = |text: &str| {
            serde_json::from_str::<ManifestPart>(&format!(r#"{{"hashes":{text}}}"#)).map(|part| part.hashes)
        };
        for text in [r#""gA==""#, r#""gA\u003d=""#] {
            assert_eq!(hashes(text).unwrap(), [0x80][..]);
        }
        for (wrong, complaint) in [
            (r#""gA""#, "no base64"),
            (r#""g!==""#, "no base64"),
            ("5", "a base64 string"),
            ("null", "a base64 string"),
        ] {
            let error = hashes(wrong).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
