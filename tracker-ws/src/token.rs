//! What a client must know to be let in, or an operator to be obeyed.

use std::{fmt, str::FromStr};

/// The characters that stand for themselves in an address (RFC 3986 section 2.3), so that a token is written in the
/// same way everywhere.
const UNRESERVED: &[u8] = b"-_.~";
const MIN_LEN: usize = 8;
const MAX_LEN: usize = 128;

/// A shared secret: 8 to 128 letters, digits or `-_.~`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has {MIN_LEN} to {MAX_LEN} of A-Z a-z 0-9 - _ . ~")]
pub struct TokenError;

impl Token {
    /// The token for an address that somebody is given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody gave this token; takes the same time wherever theirs differs.
    pub(crate) fn is(&self, given: Option<&str>) -> bool {
        // Comparing two `blake3::Hash` takes the same time wherever they differ.
        given.is_some_and(|given| blake3::hash(given.as_bytes()) == blake3::hash(self.0.as_bytes()))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || UNRESERVED.contains(byte);
        let fits = (MIN_LEN..=MAX_LEN).contains(&text.len()) && text.as_bytes().iter().all(known);
        fits.then(|| Self(text.to_owned())).ok_or(TokenError)
    }
}

/// Never shows the token, so that it cannot reach a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_an_address_can_hold() {
        for text in ["12345678", "Az09-_.~", &"x".repeat(128)] {
            assert_eq!(text.parse::<Token>().unwrap().as_str(), text);
        }
        for text in ["", "1234567", "1234567 ", "1234567&", "12345%20", "sensação", &"x".repeat(129)] {
            assert_eq!(text.parse::<Token>(), Err(TokenError), "{text}");
        }
    }

    #[test]
    fn only_the_token_itself_is_right_and_it_is_never_shown() {
        let token: Token = "let-us-in".parse().unwrap();
        assert!(token.is(Some("let-us-in")));
        for wrong in [None, Some(""), Some("let-us-i"), Some("let-us-in "), Some("Let-us-in")] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains("let-us-in"));
    }
}
