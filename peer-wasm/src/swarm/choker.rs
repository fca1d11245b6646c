//! Whom to serve: tit-for-tat with a few fixed places and one for trials (Cohen, "Incentives Build Robustness in
//! BitTorrent", 2003).
//!
//! A round ranks every interested neighbour and gives the fixed places to the best. One more place is for a peer on
//! trial, so that newcomers get a start and better partners are found. Between rounds a free place is given at once
//! to whoever is interested: a short transfer cannot wait for a round.

use super::config::{Config, PeerStrategy};
use protocol::PeerId;
use rand::{Rng, seq::SliceRandom as _};
use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

/// The most neighbours served beyond the places by a peer that fetches itself, and wants others to give. Who has everything
/// serves as many as fill its line.
pub(super) const MAX_EXTRA: usize = 16;
/// The most newcomers that are given a place in one round, those that left since among them: whoever comes again and again
/// under new ids takes no more.
const MAX_NEWCOMERS: usize = MAX_EXTRA;

/// What the choice depends on, for one neighbour that lacks blocks.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    /// It wants something now. Others get only the places that nobody wants, so that they can ask without waiting.
    pub(super) interested: bool,
    /// It did not use the place it had: it gets one only if nobody else wants it.
    pub(super) idle: bool,
    /// It gives, or had no chance yet to show it.
    pub(super) willing: bool,
    /// Whether it is to keep the place that it has.
    pub(super) turn: Turn,
    /// The higher, the sooner it gets a fixed place.
    pub(super) score: u64,
    /// How many blocks it has. Those who fell behind have little that others want, so they cannot earn a fixed place:
    /// the places that need not be earned go to them.
    pub(super) blocks: u32,
    /// For how long it has been in the swarm: among those of whom nothing else is known, a new id gains nothing.
    pub(super) age: Duration,
}

/// Whether a neighbour is to keep its place: a part of a block is of no use to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// It has none, or got a block since.
    Over,
    /// It has one, and got nothing since.
    Given,
    /// It got less than a block since.
    Begun,
}

impl Candidate {
    const fn class(&self) -> (bool, bool, bool) {
        (self.interested, !self.idle, self.willing)
    }
}

/// Who is served.
#[derive(Debug, Default)]
pub(super) struct Choker {
    fixed: BTreeSet<PeerId>,
    on_trial: Option<PeerId>,
    rounds_on_trial: u32,
    /// Served beyond the places, because those who have places leave the line idle.
    extra: BTreeSet<PeerId>,
    /// The line was idle since the round began.
    was_idle: bool,
    /// How many newcomers were given a place since the round began.
    newcomers: usize,
}

impl Choker {
    pub(super) fn serves(&self, peer: PeerId) -> bool {
        self.fixed.contains(&peer) || self.on_trial == Some(peer) || self.extra.contains(&peer)
    }

    pub(super) fn served(&self) -> impl Iterator<Item = PeerId> {
        self.fixed.iter().copied().chain(self.on_trial).chain(self.extra.iter().copied())
    }

    /// Takes the place of a neighbour that is to get nothing more.
    pub(super) fn evict(&mut self, peer: PeerId) {
        self.fixed.remove(&peer);
        self.extra.remove(&peer);
        self.on_trial = self.on_trial.filter(|on_trial| *on_trial != peer);
    }

    /// A new round over all neighbours that lack blocks. Whoever `keeps_extra` goes on to serve those beyond the
    /// places.
    pub(super) fn round(
        &mut self,
        mut candidates: Vec<Candidate>,
        keeps_extra: bool,
        config: &Config,
        rng: &mut impl Rng,
    ) {
        candidates.shuffle(rng);
        candidates.sort_by_key(|candidate| Reverse((candidate.class(), candidate.turn, candidate.score)));
        self.rounds_on_trial += 1;
        self.newcomers = 0;
        let wanted: Vec<_> = candidates.iter().filter(|other| other.interested && !other.idle).cloned().collect();
        match config.peer_strategy {
            PeerStrategy::RareBlocks => self.keep_or_promote(&wanted, config),
            PeerStrategy::Reciprocal | PeerStrategy::Random => {
                let in_turn = |peer: PeerId| wanted.iter().any(|other| other.peer == peer && other.turn > Turn::Over);
                if self.rounds_on_trial >= config.optimistic_rounds {
                    self.on_trial = self.on_trial.filter(|peer| in_turn(*peer));
                }
                self.fixed = best(&wanted, None, config.fixed_slots);
                self.on_trial = self.on_trial.filter(|peer| !self.fixed.contains(peer));
            }
        }
        self.was_idle = false;
        let keeps = |peer: &PeerId| keeps_extra && !self.fixed.contains(peer);
        self.extra.retain(|peer| keeps(peer) && wanted.iter().any(|other| other.peer == *peer));
        self.fill(candidates, config, rng);
    }

    /// Whether the line was idle since the round began.
    pub(super) const fn was_idle(&self) -> bool {
        self.was_idle
    }

    /// Whether a place is free.
    pub(super) fn has_room(&self, config: &Config) -> bool {
        self.fixed.len() < config.fixed_slots || (self.on_trial.is_none() && config.trial_slots > 0)
    }

    /// Gives free places, and those of neighbours that want nothing, to those who want something.
    pub(super) fn fill(&mut self, mut candidates: Vec<Candidate>, config: &Config, rng: &mut impl Rng) {
        let useful =
            |peer: &PeerId| candidates.iter().any(|other| other.peer == *peer && other.interested && !other.idle);
        let is_here = |peer: &PeerId| candidates.iter().any(|other| other.peer == *peer);
        let someone_waits = candidates.iter().any(|other| other.interested && !other.idle && !self.serves(other.peer));
        let keeps = |peer: &PeerId| if someone_waits { useful(peer) } else { is_here(peer) };
        self.fixed.retain(keeps);
        self.extra.retain(keeps);
        self.on_trial = self.on_trial.filter(keeps);
        candidates.retain(|candidate| !self.serves(candidate.peer));
        self.rank(&mut candidates, config, rng);
        for candidate in candidates {
            if self.fixed.len() < config.fixed_slots {
                self.fixed.insert(candidate.peer);
            } else if self.on_trial.is_none() && config.trial_slots > 0 {
                self.on_trial = Some(candidate.peer);
                self.rounds_on_trial = 0;
            }
        }
    }

    /// The line is idle: serves one more, unless so many are beyond the places; tells whether that changed anything.
    pub(super) fn widen(
        &mut self,
        mut candidates: Vec<Candidate>,
        most: usize,
        config: &Config,
        rng: &mut impl Rng,
    ) -> bool {
        self.was_idle = true;
        candidates.retain(|other| other.interested && !self.serves(other.peer));
        self.rank(&mut candidates, config, rng);
        candidates.first().is_some_and(|next| self.admit(next.peer, most, config))
    }

    /// Serves a newcomer beyond the places, if not too many came; tells whether that changed anything.
    pub(super) fn welcome(&mut self, peer: PeerId, config: &Config) -> bool {
        let is_new = self.newcomers < MAX_NEWCOMERS && self.admit(peer, MAX_EXTRA, config);
        self.newcomers += usize::from(is_new);
        is_new
    }

    /// Serves this one beyond the places, if it is not served; tells whether that changed anything.
    fn admit(&mut self, peer: PeerId, most: usize, config: &Config) -> bool {
        let may = self.extra.len() < most && config.trial_slots > 0 && !self.serves(peer);
        may && self.extra.insert(peer)
    }

    /// In which order places are given that need not be earned.
    fn rank(&self, candidates: &mut [Candidate], config: &Config, rng: &mut impl Rng) {
        candidates.shuffle(rng);
        let blocks =
            |other: &Candidate| if config.peer_strategy == PeerStrategy::Reciprocal { other.blocks } else { 0 };
        candidates.sort_by_key(|other| (Reverse(other.class()), blocks(other), Reverse(other.age)));
    }

    /// The peer on trial takes a fixed place when it beats the weakest; until then it stays on trial.
    fn keep_or_promote(&mut self, ranked: &[Candidate], config: &Config) {
        let score = |peer: PeerId| ranked.iter().find(|other| other.peer == peer).map(|other| other.score);
        self.fixed.retain(|peer| score(*peer).is_some());
        self.on_trial = self.on_trial.filter(|peer| score(*peer).is_some());
        let weakest = self.fixed.iter().copied().min_by_key(|peer| score(*peer));
        if let (Some(weakest), Some(on_trial)) = (weakest, self.on_trial)
            && score(on_trial) > score(weakest)
        {
            self.fixed.remove(&weakest);
            self.fixed.insert(on_trial);
            self.on_trial = None;
        }
        let free = config.fixed_slots.saturating_sub(self.fixed.len());
        let more = best(ranked.iter().filter(|other| !self.fixed.contains(&other.peer)), self.on_trial, free);
        self.fixed.extend(more);
    }
}

fn best<'a>(
    ranked: impl IntoIterator<Item = &'a Candidate>,
    except: Option<PeerId>,
    places: usize,
) -> BTreeSet<PeerId> {
    ranked.into_iter().map(|candidate| candidate.peer).filter(|peer| Some(*peer) != except).take(places).collect()
}

#[cfg(test)]
mod tests;
