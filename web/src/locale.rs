//! The languages of the page and how one is chosen.

use crate::texts::Texts;
use std::sync::LazyLock;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locale {
    English,
    BrazilianPortuguese,
}

const ENGLISH: &str = include_str!("../locales/en.json");
const BRAZILIAN_PORTUGUESE: &str = include_str!("../locales/pt-BR.json");

impl Locale {
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::BrazilianPortuguese];

    /// Chooses by `?lang=` in the address, otherwise by the person's languages in the order of their preference,
    /// otherwise English.
    pub(crate) fn choose(query: &str, preferred: impl IntoIterator<Item = String>) -> Self {
        let asked = query.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix("lang="));
        asked
            .and_then(Self::of_tag)
            .or_else(|| preferred.into_iter().find_map(|tag| Self::of_tag(&tag)))
            .unwrap_or(Self::English)
    }

    /// The nearest language of the page to a language tag (BCP 47): any English, any Portuguese.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|locale| locale.tag()[..2].eq_ignore_ascii_case(primary))
    }

    /// The language tag, as in `<html lang>`, `?lang=` and the names of the resource files.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::BrazilianPortuguese => "pt-BR",
        }
    }

    /// The language's own name for itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::BrazilianPortuguese => "Português (Brasil)",
        }
    }

    /// The language's texts.
    pub(crate) fn texts(self) -> &'static Texts {
        static ENGLISH_TEXTS: LazyLock<Texts> = LazyLock::new(|| read(ENGLISH));
        static PORTUGUESE_TEXTS: LazyLock<Texts> = LazyLock::new(|| read(BRAZILIAN_PORTUGUESE));
        match self {
            Self::English => &ENGLISH_TEXTS,
            Self::BrazilianPortuguese => &PORTUGUESE_TEXTS,
        }
    }

    /// The language's resource file.
    #[cfg(test)]
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::English => ENGLISH,
            Self::BrazilianPortuguese => BRAZILIAN_PORTUGUESE,
        }
    }
}

fn read(source: &str) -> Texts {
    serde_json::from_str(source).expect("the resource files are compiled in, and a test reads both")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_decides_then_the_browser_then_english() {
        let choose = |query, preferred: &[&str]| Locale::choose(query, preferred.iter().map(|&tag| tag.to_owned()));
        assert_eq!(choose("?lang=pt-BR", &["en"]), Locale::BrazilianPortuguese);
        assert_eq!(choose("?x=1&lang=en", &["pt-BR"]), Locale::English);
        assert_eq!(choose("?lang=tlh", &["de", "pt-PT", "en"]), Locale::BrazilianPortuguese);
        assert_eq!(choose("", &["EN-us", "pt"]), Locale::English);
        assert_eq!(choose("", &["de", "fr"]), Locale::English);
    }
}
