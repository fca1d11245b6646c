//! Names that people choose, checked so that no other part has to fear them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest file name in bytes, as on most file systems.
const MAX_FILE_NAME: usize = 255;
/// The longest room name and the longest peer name in bytes.
const MAX_SHORT_NAME: usize = 64;
/// The longest media type in bytes (RFC 6838 section 4.2 allows 127 for each half; real ones are short).
const MAX_MEDIA_TYPE: usize = 127;

/// A name is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or too long.
    #[error("a {kind} has 1 to {max} bytes, not {actual}")]
    Length {
        /// What was named.
        kind: &'static str,
        /// The most bytes.
        max: usize,
        /// Its bytes.
        actual: usize,
    },
    /// It holds a character that is not allowed.
    #[error("a {kind} cannot hold {character:?}")]
    Character {
        /// What was named.
        kind: &'static str,
        /// The first such character.
        character: char,
    },
    /// It means a folder.
    #[error("a file cannot be named {0:?}")]
    Folder(String),
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// A file's own name without a path: 1 to 255 bytes, no control or text-direction characters, no `/` or `\`,
    /// and neither `.` nor `..`.
    FileName, check_file_name
}
name! {
    /// A room: 1 to 64 ASCII letters, digits, `-`, `_` or `.`.
    RoomName, check_room_name
}
name! {
    /// What a peer calls itself for people to read: 1 to 64 bytes without control or text-direction characters.
    PeerName, check_peer_name
}
name! {
    /// A media type such as `image/png`: 1 to 127 visible ASCII characters or spaces.
    MediaType, check_media_type
}

impl FileName {
    /// The nearest allowed name: forbidden characters become `_`, and what is too long is cut, keeping a short
    /// extension.
    pub fn nearest(text: &str) -> Self {
        let clean: String = text.chars().map(|c| if allowed_in_file_name(c) { c } else { '_' }).collect();
        let (stem, extension) = match clean.rsplit_once('.') {
            Some((stem, extension)) if extension.len() <= 16 && !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (clean.as_str(), String::new()),
        };
        let mut end = stem.len().min(MAX_FILE_NAME - extension.len());
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        let name = format!("{}{extension}", &stem[..end]);
        Self(if check_file_name(&name).is_ok() { name } else { "unnamed".to_owned() })
    }
}

impl Default for RoomName {
    /// `lobby`.
    fn default() -> Self {
        Self("lobby".to_owned())
    }
}

impl Default for MediaType {
    /// `application/octet-stream`.
    fn default() -> Self {
        Self("application/octet-stream".to_owned())
    }
}

fn check_file_name(text: &str) -> Result<(), NameError> {
    check("file name", MAX_FILE_NAME, text, allowed_in_file_name)?;
    if matches!(text, "." | "..") { Err(NameError::Folder(text.to_owned())) } else { Ok(()) }
}

fn check_room_name(text: &str) -> Result<(), NameError> {
    check("room name", MAX_SHORT_NAME, text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn check_peer_name(text: &str) -> Result<(), NameError> {
    check("peer name", MAX_SHORT_NAME, text, |c| !misleading(c))
}

fn check_media_type(text: &str) -> Result<(), NameError> {
    check("media type", MAX_MEDIA_TYPE, text, |c| c == ' ' || c.is_ascii_graphic())
}

fn check(kind: &'static str, max: usize, text: &str, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() || text.len() > max {
        return Err(NameError::Length { kind, max, actual: text.len() });
    }
    match text.chars().find(|&c| !allowed(c)) {
        Some(character) => Err(NameError::Character { kind, character }),
        None => Ok(()),
    }
}

fn allowed_in_file_name(c: char) -> bool {
    !misleading(c) && !matches!(c, '/' | '\\')
}

/// Control characters, and those that reorder text so that `exe.png` can be shown for `gnp.exe`
/// (Unicode Technical Report 36, section 2.10).
fn misleading(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_harm_are_refused() {
        let long = "a".repeat(256);
        for name in ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "gnp\u{202e}exe.", long.as_str()] {
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
        for name in ["a", "…", "relatório final (2).pdf", ".profile", &long[1..]] {
            assert!(name.parse::<FileName>().is_ok(), "{name:?}");
        }
        for room in ["", "a b", "sala/3", "ção", &"r".repeat(65)] {
            assert!(room.parse::<RoomName>().is_err(), "{room:?}");
        }
        assert!("Sala-3_b.1".parse::<RoomName>().is_ok());
    }

    #[test]
    fn a_name_may_be_as_long_as_the_limit() {
        let fits = |len| {
            let text = "x".repeat(len);
            [
                text.parse::<RoomName>().is_ok(),
                text.parse::<PeerName>().is_ok(),
                text.parse::<MediaType>().is_ok(),
                text.parse::<FileName>().is_ok(),
            ]
        };
        assert_eq!(fits(0), [false; 4]);
        assert_eq!(fits(64), [true; 4]);
        assert_eq!(fits(65), [false, false, true, true]);
        assert_eq!(fits(127), [false, false, true, true]);
        assert_eq!(fits(128), [false, false, false, true]);
        assert_eq!(fits(255), [false, false, false, true]);
        assert_eq!(fits(256), [false; 4]);
    }

    #[test]
    fn peers_and_media_types_are_named_so_that_they_can_be_shown() {
        for name in ["Ana", "Zoë 🦀", "a/b"] {
            assert_eq!(name.parse::<PeerName>().unwrap().as_str(), name);
            assert_eq!(String::from(name.parse::<PeerName>().unwrap()), name);
            assert_eq!(format!("{:>8}", name.parse::<PeerName>().unwrap()), format!("{name:>8}"));
        }
        for character in ['\u{7}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            let refused = format!("a{character}b").parse::<PeerName>();
            assert_eq!(refused, Err(NameError::Character { kind: "peer name", character }));
        }
        assert!("a\u{2027}\u{202f}\u{2065}\u{206a}".parse::<PeerName>().is_ok());
        assert!("text/plain; charset=utf-8".parse::<MediaType>().is_ok());
        assert!("text/ça".parse::<MediaType>().is_err() && "a\tb".parse::<MediaType>().is_err());
        assert_eq!(MediaType::default().as_str(), "application/octet-stream");
        assert_eq!(RoomName::default().as_str(), "lobby");
        assert_eq!("..".parse::<FileName>(), Err(NameError::Folder("..".to_owned())));
    }

    #[test]
    fn any_text_has_a_nearest_file_name() {
        let nearest = |text: String| String::from(FileName::nearest(&text));
        let long = "x".repeat(300);
        assert_eq!(nearest(format!("{long}.{}", "y".repeat(15))), format!("{}.{}", &long[..239], "y".repeat(15)));
        assert_eq!(nearest(format!("{long}.{}", "y".repeat(17))), long[..255]);
        assert_eq!(nearest(format!("{long}.{}", "y".repeat(16))).len(), 255);
        assert_eq!(nearest(".profile".to_owned()), ".profile");
        assert_eq!(nearest("a\\b".to_owned()), "a_b");
        assert_eq!(FileName::nearest("a/b\u{202e}.png").as_str(), "a_b_.png");
        assert_eq!(FileName::nearest("").as_str(), "unnamed");
        assert_eq!(FileName::nearest("..").as_str(), "unnamed");
        let long = FileName::nearest(&format!("{}.tar", "é".repeat(300)));
        assert!(long.as_str().len() <= 255 && long.as_str().ends_with("é.tar"));
    }
}
