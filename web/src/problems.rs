//! What went wrong or is waited for, in sentences: what happened, why, and what to do.

use crate::{format, locale::Locale, route::RouteError, texts::fill};
use peer_wasm::{client::WaitsFor, page::Problem, swarm::StorageError};
use protocol::{ErrorCode, RoomName};

/// Something that the person is told until they dismiss it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    /// A file could not be shared.
    NotShared { name: String, problem: Problem },
    /// A folder was dropped.
    Folder { name: String },
    /// A problem of no transfer.
    Problem(Problem),
    /// The worker did not start.
    WorkerFailed { detail: String },
    /// The worker broke down.
    WorkerStopped { detail: String },
    /// The browser did not hand out a finished file.
    SaveFailed,
}

impl Notice {
    /// The notice in a person's language.
    pub(crate) fn sentence(&self, locale: Locale) -> String {
        let texts = &locale.texts().problems;
        match self {
            Self::NotShared { name, problem } => {
                fill(&texts.not_shared, &[("name", name), ("problem", &sentence(problem, locale))])
            }
            Self::Folder { name } => fill(&texts.folder, &[("name", name)]),
            Self::Problem(problem) => sentence(problem, locale),
            Self::WorkerFailed { detail } => fill(&texts.worker_failed, &[("detail", detail)]),
            Self::WorkerStopped { detail } => fill(&texts.worker_stopped, &[("detail", detail)]),
            Self::SaveFailed => texts.save_failed.clone(),
        }
    }
}

/// A worker's problem in a person's language.
pub(crate) fn sentence(problem: &Problem, locale: Locale) -> String {
    let texts = locale.texts();
    let all = &texts.problems;
    match problem {
        Problem::FileTooLarge { max } => fill(&all.file_too_large, &[("max", &format::size(*max, texts))]),
        Problem::Storage(StorageError::Unreadable) => all.file_unreadable.clone(),
        Problem::Storage(StorageError::Full) => all.storage_full.clone(),
        Problem::Storage(StorageError::Failed { detail }) => fill(&all.storage_failed, &[("detail", detail)]),
        Problem::Refused { code } => {
            let text = match code {
                ErrorCode::Malformed | ErrorCode::InvalidBitfield | ErrorCode::OutOfRange => &all.malformed,
                ErrorCode::UnknownType | ErrorCode::UnsupportedProtocol => &all.versions,
                ErrorCode::NotRegistered | ErrorCode::AlreadyRegistered | ErrorCode::WrongSecret => &all.identity,
                ErrorCode::TooManyFiles => &all.too_many_files,
                ErrorCode::RoomFull => &all.room_full,
                ErrorCode::Busy => &all.busy,
                ErrorCode::UnknownFile
                | ErrorCode::UnknownPeer
                | ErrorCode::NotIntroduced
                | ErrorCode::NotRequested
                | ErrorCode::Other => &all.refused,
            };
            fill(text, &[("code", &code.to_string())])
        }
        Problem::TagTaken => all.tag_taken.clone(),
        Problem::BadAddress => all.bad_address.clone(),
        Problem::TrackerFull => all.tracker_full.clone(),
        Problem::AddressFull => all.address_full.clone(),
        Problem::TooSlow => all.too_slow.clone(),
        Problem::WrongToken => all.wrong_token.clone(),
        Problem::Removed => all.removed.clone(),
    }
}

/// What a transfer waits for, in a person's language.
pub(crate) fn waiting(reason: WaitsFor, locale: Locale) -> &'static str {
    let all = &locale.texts().waits;
    match reason {
        WaitsFor::Tracker => &all.tracker,
        WaitsFor::Source => &all.source,
        WaitsFor::Manifest => &all.manifest,
        WaitsFor::HeldBack => &all.held_back,
        WaitsFor::Rejected => &all.rejected,
        WaitsFor::Answer => &all.answer,
        WaitsFor::Storage => &all.storage,
    }
}

/// What is wrong with the address of the page, whose reader is in `room`.
pub(crate) fn route_sentence(error: &RouteError, room: &RoomName, locale: Locale) -> String {
    let all = &locale.texts().problems;
    let (text, part) = match error {
        RouteError::Form(part) => (&all.bad_link, part),
        RouteError::Room(part) => (&all.bad_room, part),
        RouteError::File(part) => (&all.bad_file, part),
    };
    fill(text, &[("text", part), ("room", room.as_str())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_whole_sentence_in_both_languages() {
        let refused = [
            "malformed",
            "unknown_type",
            "unsupported_protocol",
            "not_registered",
            "already_registered",
            "wrong_secret",
            "invalid_bitfield",
            "unknown_file",
            "out_of_range",
            "unknown_peer",
            "too_many_files",
            "room_full",
            "busy",
            "of_a_newer_tracker",
        ];
        let refused = refused.map(|code| Problem::Refused { code: serde_json::from_value(code.into()).unwrap() });
        let problems = [
            Problem::FileTooLarge { max: 1 << 40 },
            Problem::Storage(StorageError::Unreadable),
            Problem::Storage(StorageError::Full),
            Problem::Storage(StorageError::Failed { detail: "QuotaExceededError".into() }),
            Problem::TagTaken,
            Problem::BadAddress,
            Problem::TrackerFull,
            Problem::AddressFull,
            Problem::TooSlow,
            Problem::WrongToken,
            Problem::Removed,
        ];
        let mut notices: Vec<_> = problems.into_iter().chain(refused).map(Notice::Problem).collect();
        notices.push(Notice::NotShared { name: "a.png".into(), problem: Problem::Storage(StorageError::Unreadable) });
        notices.push(Notice::Folder { name: "photos".into() });
        notices.push(Notice::WorkerFailed { detail: "404".into() });
        notices.push(Notice::WorkerStopped { detail: "unreachable".into() });
        notices.push(Notice::SaveFailed);
        for notice in notices {
            let [english, portuguese] = Locale::ALL.map(|locale| notice.sentence(locale));
            assert_ne!(english, portuguese);
            for sentence in [english, portuguese] {
                assert!(sentence.len() > 60 && sentence.ends_with('.'), "{sentence}");
                assert!(!sentence.contains(['{', '}']), "{sentence}");
            }
        }
    }

    #[test]
    fn every_reason_to_wait_has_a_whole_sentence_in_both_languages() {
        let reasons = ["tracker", "source", "manifest", "held_back", "rejected", "answer", "storage"];
        for reason in reasons.map(|reason| serde_json::from_value(reason.into()).unwrap()) {
            let [english, portuguese] = Locale::ALL.map(|locale| waiting(reason, locale));
            assert_ne!(english, portuguese);
            for sentence in [english, portuguese] {
                assert!(sentence.len() > 60 && sentence.ends_with('.'), "{sentence}");
            }
        }
    }

    #[test]
    fn a_bad_address_is_quoted() {
        let error = RouteError::File("123".into());
        let sentence = route_sentence(&error, &RoomName::default(), Locale::English);
        assert!(sentence.contains("“123”") && sentence.contains("room lobby"), "{sentence}");
    }
}
