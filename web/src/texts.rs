//! The texts of the page, one resource file per language.

use serde::Deserialize;

/// Declares groups of texts: each field is one text of the resource files, and a field that a file lacks or has too
/// much is an error.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $(pub(crate) $field: $kind,)*
        }
    )*};
}

texts! {
    /// All texts of one language.
    Texts {
        number: NumberStyle, page: PageTexts, connection: ConnectionTexts, room: RoomTexts, ways: WayTexts, share: ShareTexts,
        files: FileTexts, link: LinkTexts, transfers: TransferTexts, waits: WaitTexts, peers: PeerTexts,
        said: SaidTexts, problems: ProblemTexts,
    }
    /// How numbers are written.
    NumberStyle { decimal: char, group: char }
    /// A text that depends on a count.
    Plural { one: String, other: String }
    /// The frame of the page.
    PageTexts { tagline: String, language: String, problems: String, dismiss: String, footer: String }
    /// The connection to the tracker.
    ConnectionTexts {
        connecting: String, online: String, lost: String, unreachable: String, retry: String, retry_now: String,
    }
    /// The choice of a room.
    RoomTexts { label: String, enter: String, invalid: String, leaves: String }
    /// The ways that bytes take between two devices.
    WayTexts { only_tracker: String, who_learns: String, impossible: String, direct: String, relayed: String, received: String, sent: String }
    /// Choosing, dropping and hashing files.
    ShareTexts {
        title: String, hint: String, input: String, overlay: String, hashing: String, waiting: String,
        progress: String,
    }
    /// The files of the room.
    FileTexts {
        title: String, empty: String, sources: Plural, no_sources: String, peers: Plural, download: String,
        linked: String, unknown: String, missing: String, searching: String, downloading: String, complete: String,
        sharing: String, failed: String,
    }
    /// The link of a file.
    LinkTexts { copy: String, copied: String, field: String, manual: String }
    /// The transfers of this tab.
    TransferTexts {
        title: String, empty: String, searching: String, downloading: String, complete: String, sharing: String,
        failed: String, progress: String, verified: String, amount: String, down: String, up: String, left: String,
        sources: Plural, memory: String, save: String, stop: String, retry: String, mosaic: String,
        no_mosaic: String, legend_missing: String, legend_requested: String, legend_storing: String,
        legend_verified: String, square: Plural,
    }
    /// What a transfer waits for, why, and what to do.
    WaitTexts {
        tracker: String, source: String, manifest: String, held_back: String, rejected: String, answer: String,
        storage: String,
    }
    /// The peers of a transfer.
    PeerTexts {
        title: Plural, none: String, name: String, blocks: String, serves_us: String, serves_us_rate: String,
        snubbed: String, choked: String, nothing_for_us: String, served: String, served_rate: String,
        not_served: String, wants_nothing: String,
    }
    /// What a screen reader is told of transfers.
    SaidTexts { complete: String, shared: String, failed: String }
    /// What went wrong, why, and what to do.
    ProblemTexts {
        not_shared: String, folder: String, file_too_large: String, file_unreadable: String, storage_full: String,
        storage_failed: String, malformed: String, versions: String, identity: String,
        too_many_files: String, room_full: String, busy: String, refused: String, tag_taken: String,
        bad_address: String, tracker_full: String, address_full: String, too_slow: String, wrong_token: String,
        removed: String, worker_failed: String, worker_stopped: String, save_failed: String, bad_link: String, bad_room: String,
        bad_file: String,
    }
}

impl Plural {
    /// The text for a count, which stands in place of `{n}`.
    pub(crate) fn of(&self, count: u64, texts: &Texts) -> String {
        // English and Brazilian Portuguese differ only for 0, which no text of this page is made for.
        let text = if count == 1 { &self.one } else { &self.other };
        fill(text, &[("n", &crate::format::integer(count, texts))])
    }
}

/// Puts values in place of `{names}`; a name without a value stays as it is.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let value = after.split_once('}').and_then(|(name, rest)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, rest))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    /// Each text by its path, with the set of its placeholders.
    fn placeholders(path: &str, value: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
        if let Value::Object(fields) = value {
            for (name, value) in fields {
                placeholders(&format!("{path}.{name}"), value, found);
            }
            return;
        }
        let text = value.as_str().expect("every leaf is a text");
        assert!(!text.trim().is_empty(), "{path} is empty");
        let names = text.split('{').skip(1).map(|rest| rest.split_once('}').expect("a closed brace").0.to_owned());
        found.insert(path.to_owned(), names.collect());
    }

    #[test]
    fn both_languages_are_complete_and_have_the_same_placeholders() {
        let [english, portuguese] = Locale::ALL.map(|locale| {
            let _ = locale.texts();
            let mut found = BTreeMap::new();
            placeholders("", &serde_json::from_str(locale.source()).unwrap(), &mut found);
            found
        });
        assert_eq!(english, portuguese);
        assert!(english.len() > 80);
    }

    #[test]
    fn a_missing_or_superfluous_text_is_refused() {
        let mut value: Value = serde_json::from_str(Locale::English.source()).unwrap();
        value["link"]["more"] = "text".into();
        assert!(serde_json::from_value::<Texts>(value.clone()).is_err());
        let link = value["link"].as_object_mut().unwrap();
        link.remove("more");
        link.remove("copy");
        assert!(serde_json::from_value::<Texts>(value).is_err());
    }

    #[test]
    fn values_are_filled_in_once() {
        assert_eq!(fill("{a} of {b}", &[("a", "{b}"), ("b", "2")]), "{b} of 2");
        assert_eq!(fill("{c} {", &[("a", "1")]), "{c} {");
    }

    #[test]
    fn a_count_chooses_its_text() {
        let texts = Locale::English.texts();
        assert_eq!(texts.files.sources.of(1, texts), "1 source");
        assert_eq!(texts.files.sources.of(1_200, texts), "1,200 sources");
    }
}
