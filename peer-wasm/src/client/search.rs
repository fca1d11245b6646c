//! Finding somebody who has a file, and getting its manifest from them, part by part and from several at once.
//!
//! A part proves itself, so it is taken from whomever it comes, and however late; what is here stays when its sender
//! leaves or the line breaks. Whoever does not answer in time is not given up: somebody else is asked too.

use super::seconds;
use crate::Instant;
use protocol::{BlockSize, FileFacts, Manifest, ManifestError, ManifestPart, PartialManifest, PeerId};
use rand::{Rng, seq::IteratorRandom as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tracing::debug;

/// The least time to wait for a part: a line of 100 kbit/s brings one within a second, if nothing else is on it.
const MIN_PATIENCE: Duration = seconds(2);
/// The most: whoever is silent for longer is gone, or was never asked.
const MAX_PATIENCE: Duration = seconds(30);
/// A part is late when it takes this many times as long as the last ones.
const LATE: u32 = 3;
/// If parts come within this time, the line would bring more at a time.
const PROMPT: Duration = seconds(1);
/// The most parts asked of one peer at a time, so that one alone fills a line of 100 KiB/s with a round trip of a second.
const MAX_WINDOW: u32 = 8;
/// The most parts asked for at a time, which are 640 KiB at most: a fraction of what may wait for a receiver.
const MAX_ASKED: u32 = 32;
/// Parts asked for at a time while nothing is known of the line.
const FIRST_ASKED: u32 = 4;
/// How long whoever has not what it was asked for is left alone, and when the tracker is asked again for peers if nobody
/// has it. It doubles up to the longest; the tracker tells by itself when somebody new has the file.
const FIRST_PAUSE: Duration = seconds(2);
const LONGEST_PAUSE: Duration = seconds(30);
/// Without a new part for this long, what others say of the file is listened to. Longer than the patience with one peer.
const STUCK: Duration = seconds(40);
/// The most peers remembered at a time.
const MAX_CANDIDATES: usize = 256;

#[derive(Debug)]
pub(super) struct Search {
    candidates: BTreeMap<PeerId, Candidate>,
    partial: Option<PartialManifest>,
    /// How the file is cut where nothing came of it before: others are listened to first.
    avoided: BTreeSet<BlockSize>,
    /// Parts asked for at a time.
    window: Window,
    /// How long answers take.
    answer_time: Duration,
    /// When the last part came.
    progressed: Instant,
    /// When to ask the tracker for peers again, and how long after the last time that is.
    look_at: Instant,
    pause: Duration,
}

#[derive(Debug)]
struct Candidate {
    /// Whether the tracker knows it, as far as is known.
    here: bool,
    /// It sent a wrong part, and is asked when nobody else can be.
    doubted: bool,
    /// How it cuts the file, once it said so.
    block_size: Option<BlockSize>,
    window: Window,
    asked: Vec<Asked>,
    /// How often in a row it did not answer in time, or had not what it was asked for.
    failures: u32,
    rests_until: Option<Instant>,
}

/// A part that a peer was asked for, the last one if it is not said which.
#[derive(Debug)]
struct Asked {
    part: Option<u32>,
    at: Instant,
    patience: Duration,
    late: bool,
}

/// How many parts are asked for at a time: more as long as they come promptly.
#[derive(Debug, Clone, Copy)]
struct Window(u32);

impl Search {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            candidates: BTreeMap::new(),
            partial: None,
            avoided: BTreeSet::new(),
            window: Window(FIRST_ASKED),
            answer_time: Duration::ZERO,
            progressed: now,
            look_at: now + FIRST_PAUSE,
            pause: FIRST_PAUSE,
        }
    }

    /// A search for those who cut the file in another way than these.
    pub(super) fn avoiding(avoided: BTreeSet<BlockSize>, now: Instant) -> Self {
        Self { avoided, ..Self::new(now) }
    }

    /// What is here of the manifest.
    pub(super) const fn partial(&self) -> Option<&PartialManifest> {
        self.partial.as_ref()
    }

    /// Whether nobody is being asked.
    pub(super) fn is_in_vain(&self) -> bool {
        self.candidates.values().all(|candidate| candidate.asked.is_empty())
    }

    /// The tracker named a peer that may have the file.
    pub(super) fn found(&mut self, peer: PeerId) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.here = true;
            return;
        }
        if self.candidates.len() == MAX_CANDIDATES {
            let ranked = self.candidates.iter().map(|(peer, candidate)| ((!candidate.here, candidate.failures), *peer));
            let Some((_, worst)) = ranked.max().filter(|(rank, _)| *rank > (false, 0)) else { return };
            self.candidates.remove(&worst);
        }
        self.candidates.insert(peer, Candidate::new());
        self.pause = FIRST_PAUSE;
    }

    /// A peer is gone. It is remembered, so that it is not the first to be asked when it comes back.
    pub(super) fn lost(&mut self, peer: PeerId, now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.here = false;
            candidate.fail(now);
        }
    }

    /// The line broke: what was asked is not answered any more. Peers are named again when there is another.
    pub(super) fn line_lost(&mut self) {
        for candidate in self.candidates.values_mut() {
            candidate.here = false;
            candidate.asked.clear();
        }
    }

    /// A peer has not what it was asked for, or cannot be asked at the moment.
    pub(super) fn handle_nothing(&mut self, from: PeerId, now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(&from) {
            candidate.fail(now);
        }
    }

    /// A part came; gives the manifest if it was the last one that lacked.
    pub(super) fn handle_part(
        &mut self,
        from: PeerId,
        facts: FileFacts,
        part: ManifestPart,
        now: Instant,
    ) -> Option<Manifest> {
        let (number, block_size) = (part.part, facts.block_size);
        let taken = self.take(facts, part, now);
        if let Some(candidate) = self.candidates.get_mut(&from) {
            candidate.block_size = Some(block_size);
            let asked = candidate.answered(number);
            match taken {
                Ok(true) => {
                    candidate.failures = 0;
                    candidate.rests_until = None;
                    if let Some(asked) = asked {
                        let time = now.since(asked.at);
                        candidate.window.answered_in(time, MAX_WINDOW);
                        self.window.answered_in(time, MAX_ASKED);
                        // It rises at once and falls slowly: who waits for too little asks twice.
                        self.answer_time = time.max((self.answer_time * 3 + time) / 4);
                    }
                }
                Ok(false) => candidate.fail(now),
                Err(error) => {
                    debug!(%from, %error, "a part of a manifest is wrong");
                    candidate.doubted = true;
                    candidate.fail(now);
                }
            }
        }
        self.partial.as_ref()?.complete()
    }

    /// Checks a part and keeps it; `false` if it is of a file that is cut in another way.
    fn take(&mut self, facts: FileFacts, part: ManifestPart, now: Instant) -> Result<bool, ManifestError> {
        let is_stuck = self.is_stuck(now);
        match &mut self.partial {
            Some(partial) if partial.geometry().block_size() == facts.block_size => {
                if partial.add(part)? {
                    self.progressed = now;
                }
            }
            Some(_) if !is_stuck => return Ok(false),
            None if !is_stuck && self.avoided.contains(&facts.block_size) => return Ok(false),
            partial => {
                *partial = Some(PartialManifest::begin(facts, part)?);
                self.progressed = now;
            }
        }
        self.pause = FIRST_PAUSE;
        Ok(true)
    }

    /// Nobody has a missing part: all that is here may have come from one that is gone, and who cut the file in its own way.
    fn is_stuck(&self, now: Instant) -> bool {
        now.since(self.progressed) >= STUCK
    }

    /// The next peer to ask, and for which part, if somebody can be asked at the moment.
    pub(super) fn next_to_ask(&mut self, now: Instant, rng: &mut impl Rng) -> Option<(PeerId, Option<u32>)> {
        let wanted = self.wanted(now);
        let own = self.partial.as_ref().map(|partial| partial.geometry().block_size());
        let able: Vec<_> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| wanted.iter().any(|part| candidate.may_be_asked(*part, own)))
            .map(|(peer, candidate)| ((candidate.doubted, candidate.failures, candidate.asked.len()), *peer))
            .collect();
        let first = able.iter().map(|(rank, _)| *rank).min()?;
        let peer = able.iter().filter(|(rank, _)| *rank == first).map(|(_, peer)| *peer).choose(rng)?;
        let patience = (self.answer_time * LATE).clamp(MIN_PATIENCE, MAX_PATIENCE);
        let candidate = self.candidates.get_mut(&peer)?;
        // At random, so that those who search have different parts for each other.
        let part = wanted.into_iter().filter(|part| candidate.may_be_asked(*part, own)).choose(rng)?;
        let patience = doubled(patience, candidate.failures, MAX_PATIENCE);
        candidate.asked.push(Asked { part, at: now, patience, late: false });
        Some((peer, part))
    }

    /// The parts to ask for, if more may be asked for: those that nobody is expected to send soon.
    fn wanted(&self, now: Instant) -> Vec<Option<u32>> {
        let expected = || self.candidates.values().flat_map(|candidate| &candidate.asked).filter(|asked| !asked.late);
        if expected().count() >= self.window.0 as usize {
            return Vec::new();
        }
        let missing = self.partial.iter().flat_map(PartialManifest::missing).map(Some);
        let last = (self.partial.is_none() || self.is_stuck(now)).then_some(None);
        missing.chain(last).filter(|part| expected().all(|asked| asked.part != *part)).collect()
    }

    pub(super) fn deadline(&self) -> Instant {
        let deadlines = self.candidates.values().flat_map(Candidate::deadlines);
        deadlines.fold(self.look_at, Instant::min)
    }

    /// Notes who is late; tells whether it is time to ask the tracker for peers again.
    pub(super) fn timeout(&mut self, now: Instant) -> bool {
        for candidate in self.candidates.values_mut() {
            if candidate.note_late(now) {
                self.window.late();
            }
        }
        if now < self.look_at {
            return false;
        }
        let expects = self.candidates.values().flat_map(|candidate| &candidate.asked).any(|asked| !asked.late);
        self.look_at = now + self.pause;
        if !expects {
            self.pause = doubled(self.pause, 1, LONGEST_PAUSE);
        }
        !expects
    }
}

impl Candidate {
    const fn new() -> Self {
        Self {
            here: true,
            doubted: false,
            block_size: None,
            window: Window(1),
            asked: Vec::new(),
            failures: 0,
            rests_until: None,
        }
    }

    /// Leaves it alone for a while.
    fn fail(&mut self, now: Instant) {
        self.asked.clear();
        self.window = Window(1);
        self.rests_until = Some(now + doubled(FIRST_PAUSE, self.failures, LONGEST_PAUSE));
        self.failures += 1;
    }

    /// Takes out the question that this part answers.
    fn answered(&mut self, part: u32) -> Option<Asked> {
        let place = self.asked.iter().position(|asked| asked.part == Some(part));
        let place = place.or_else(|| self.asked.iter().position(|asked| asked.part.is_none()))?;
        Some(self.asked.remove(place))
    }

    /// Whether it may be asked for a part of a file that is cut into blocks of `own`, if that is known.
    fn may_be_asked(&self, part: Option<u32>, own: Option<BlockSize>) -> bool {
        let cuts_alike = self.block_size == own;
        self.here
            && self.rests_until.is_none()
            && self.asked.len() < self.window.0 as usize
            && self.asked.iter().all(|asked| asked.part != part)
            && (own.is_none() || if part.is_some() { cuts_alike || self.block_size.is_none() } else { !cuts_alike })
    }

    /// Notes which answers are late, and forgets those that will not come; tells whether one became late.
    fn note_late(&mut self, now: Instant) -> bool {
        self.rests_until.take_if(|until| *until <= now);
        let mut is_late = false;
        for asked in self.asked.iter_mut().filter(|asked| !asked.late && asked.deadline() <= now) {
            asked.late = true;
            is_late = true;
        }
        self.asked.retain(|asked| now < asked.deadline());
        if is_late {
            self.window.late();
            self.failures += 1;
        }
        is_late
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.asked.iter().map(Asked::deadline).chain(self.rests_until)
    }
}

impl Asked {
    /// When it is late, or, if it is, when it may be asked for again where it was asked for: it may have been lost.
    fn deadline(&self) -> Instant {
        self.at + if self.late { self.patience * 2 } else { self.patience }
    }
}

impl Window {
    fn answered_in(&mut self, time: Duration, most: u32) {
        self.0 = if time <= PROMPT { (self.0 + 1).min(most) } else { (self.0 - 1).max(1) };
    }

    fn late(&mut self) {
        self.0 = (self.0 / 2).max(1);
    }
}

fn doubled(duration: Duration, times: u32, most: Duration) -> Duration {
    duration.saturating_mul(1 << times.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_answers_widen_a_window_slow_ones_narrow_it_and_late_ones_halve_it() {
        let mut window = Window(6);
        let mut after = |change: fn(&mut Window)| {
            change(&mut window);
            window.0
        };
        let prompt: fn(&mut Window) = |window| window.answered_in(PROMPT, 8);
        let slow: fn(&mut Window) = |window| window.answered_in(PROMPT + Duration::from_millis(1), 8);
        assert_eq!([prompt, prompt, prompt].map(&mut after), [7, 8, 8]);
        assert_eq!([slow, slow, Window::late, Window::late].map(&mut after), [7, 6, 3, 1]);
        assert_eq!([slow, Window::late, prompt].map(&mut after), [1, 1, 2]);
    }
}
