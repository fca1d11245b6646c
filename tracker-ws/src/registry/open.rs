//! What a peer has asked of others and not got yet, which is all that may be sent to it in large messages, and all that
//! may be refused to it.

use protocol::{FileTag, Kind, PeerId, Subject};
use std::collections::VecDeque;

/// The requests that an empty queue keeps room for.
const KEPT: usize = 16;

/// The unanswered requests of one peer, the oldest first.
///
/// A queue that is searched from its beginning: answers mostly come in the order of the requests.
#[derive(Debug, Default)]
pub(super) struct OpenRequests(VecDeque<OpenRequest>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRequest {
    /// Who was asked.
    to: PeerId,
    tag: FileTag,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Span { index: u32, count: u32 },
    Manifest,
}

/// What a message has to do with requests.
enum Role {
    Asks(Wanted),
    Answers(Wanted),
    Neither,
}

impl OpenRequest {
    /// The request that this message is, if it is one.
    pub(super) const fn made_by(subject: &Subject, to: PeerId) -> Option<Self> {
        match Role::of(subject) {
            Role::Asks(wanted) => Some(Self { to, tag: subject.tag, wanted }),
            Role::Answers(_) | Role::Neither => None,
        }
    }

    /// The request that this message answers, if it is an answer.
    pub(super) const fn answered_by(subject: &Subject, from: PeerId) -> Option<Self> {
        match Role::of(subject) {
            Role::Answers(wanted) => Some(Self { to: from, tag: subject.tag, wanted }),
            Role::Asks(_) | Role::Neither => None,
        }
    }
}

impl Role {
    const fn of(subject: &Subject) -> Self {
        let span = Wanted::Span { index: subject.index, count: subject.count };
        match subject.kind {
            Kind::Request => Self::Asks(span),
            Kind::GetManifest => Self::Asks(Wanted::Manifest),
            Kind::Block | Kind::Reject => Self::Answers(span),
            Kind::Manifest | Kind::NoManifest => Self::Answers(Wanted::Manifest),
            Kind::Bitfield
            | Kind::Have
            | Kind::Interested
            | Kind::NotInterested
            | Kind::Choke
            | Kind::Unchoke
            | Kind::Cancel
            | Kind::Signal => Self::Neither,
        }
    }
}

impl OpenRequests {
    /// Adds a request. Of more than `limit` the oldest is forgotten: whoever was asked so long ago will hardly answer.
    pub(super) fn open(&mut self, request: OpenRequest, limit: usize) {
        self.0.push_back(request);
        if self.0.len() > limit {
            self.0.pop_front();
        }
    }

    /// Takes a request out; `false` if it is not open.
    pub(super) fn answer(&mut self, request: OpenRequest) -> bool {
        let place = self.0.iter().position(|open| *open == request);
        let found = place.and_then(|place| self.0.remove(place)).is_some();
        if self.0.is_empty() {
            // The most that a peer ever had open is not what it needs while it is idle.
            self.0.shrink_to(KEPT);
        }
        found
    }

    /// Forgets what was asked about a file.
    pub(super) fn forget(&mut self, tag: FileTag) {
        self.0.retain(|open| open.tag != tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: PeerId = PeerId::from_bytes([0xb2; 8]);
    const TAG: FileTag = FileTag::from_bytes([0xf1; 8]);

    fn message(kind: Kind, index: u32) -> Subject {
        Subject { kind, tag: TAG, index, count: 1 }
    }

    fn request(index: u32) -> OpenRequest {
        OpenRequest::made_by(&message(Kind::Request, index), BOB).unwrap()
    }

    #[test]
    fn each_request_is_answered_once_and_by_whom_it_was_made_to() {
        let mut open = OpenRequests::default();
        open.open(request(1), 10);
        open.open(OpenRequest::made_by(&message(Kind::GetManifest, 0), BOB).unwrap(), 10);
        let answer = |kind, index, from| OpenRequest::answered_by(&message(kind, index), from).unwrap();
        assert!(!open.answer(answer(Kind::Block, 1, PeerId::from_bytes([0xc3; 8]))));
        assert!(!open.answer(answer(Kind::Block, 2, BOB)));
        assert!(open.answer(answer(Kind::Block, 1, BOB)));
        assert!(!open.answer(answer(Kind::Reject, 1, BOB)));
        assert!(open.answer(answer(Kind::Manifest, 0, BOB)));
        assert!(!open.answer(answer(Kind::Manifest, 0, BOB)));
    }

    #[test]
    fn the_oldest_request_makes_room() {
        let mut open = OpenRequests::default();
        for index in 0..4 {
            open.open(request(index), 3);
        }
        assert!(!open.answer(request(0)));
        assert!((1..4).all(|index| open.answer(request(index))));
    }

    #[test]
    fn what_was_asked_about_a_file_is_forgotten_with_it() {
        let mut open = OpenRequests::default();
        open.open(request(1), 10);
        open.forget(TAG);
        assert!(!open.answer(request(1)));
    }
}
