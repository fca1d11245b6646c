//! Whom to serve: tit-for-tat with a few fixed places and one for trials (Cohen, "Incentives Build Robustness in
//! BitTorrent", 2003).
//!
//! A round ranks every interested neighbour and gives the fixed places to the best. One more place is for a peer on
//! trial, so that newcomers get a start and better partners are found. Between rounds a free place is given at once
//! to whoever is interested: a short transfer cannot wait for a round.

use super::config::{Config, PeerStrategy};
use protocol::PeerId;
use rand::{Rng, RngExt as _, seq::SliceRandom as _};
use std::{cmp::Reverse, collections::BTreeSet};

/// What the choice depends on, for one interested neighbour.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    /// The higher, the sooner it is served.
    pub(super) score: u64,
    /// It did not use the place it had: it gets one only if nobody else wants it.
    pub(super) idle: bool,
}

/// Who is served.
#[derive(Debug, Default)]
pub(super) struct Choker {
    fixed: BTreeSet<PeerId>,
    on_trial: Option<PeerId>,
    rounds_on_trial: u32,
}

impl Choker {
    pub(super) fn serves(&self, peer: PeerId) -> bool {
        self.fixed.contains(&peer) || self.on_trial == Some(peer)
    }

    /// A new round over all interested neighbours.
    pub(super) fn round(&mut self, mut candidates: Vec<Candidate>, config: &Config, rng: &mut impl Rng) {
        candidates.shuffle(rng);
        candidates.sort_by_key(|candidate| Reverse(candidate.score));
        let everyone = candidates.iter().map(|candidate| candidate.peer).collect();
        candidates.retain(|candidate| !candidate.idle);
        self.rounds_on_trial += 1;
        match config.peer_strategy {
            PeerStrategy::RareBlocks => self.keep_or_promote(&candidates, config),
            PeerStrategy::Reciprocal | PeerStrategy::Random => {
                if self.rounds_on_trial >= config.optimistic_rounds {
                    self.on_trial = None;
                }
                self.fixed = best(&candidates, None, config.fixed_slots);
            }
        }
        self.fill(candidates.iter().map(|candidate| candidate.peer).collect(), config, rng);
        self.fill(everyone, config, rng);
    }

    /// Gives free places to interested neighbours, at random.
    pub(super) fn fill(&mut self, interested: Vec<PeerId>, config: &Config, rng: &mut impl Rng) {
        self.fixed.retain(|peer| interested.contains(peer));
        self.on_trial = self.on_trial.filter(|peer| interested.contains(peer) && !self.fixed.contains(peer));
        let mut waiting: Vec<_> = interested.into_iter().filter(|peer| !self.serves(*peer)).collect();
        while !waiting.is_empty() && (self.fixed.len() < config.fixed_slots || self.on_trial.is_none()) {
            let peer = waiting.swap_remove(rng.random_range(0..waiting.len()));
            if self.fixed.len() < config.fixed_slots {
                self.fixed.insert(peer);
            } else {
                self.on_trial = Some(peer);
                self.rounds_on_trial = 0;
            }
        }
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
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 8])
    }

    fn candidates(scores: &[u64]) -> Vec<Candidate> {
        (0..).zip(scores).map(|(number, &score)| Candidate { peer: peer(number), score, idle: false }).collect()
    }

    fn served(choker: &Choker) -> BTreeSet<PeerId> {
        choker.fixed.iter().copied().chain(choker.on_trial).collect()
    }

    fn config(peer_strategy: PeerStrategy) -> Config {
        Config { peer_strategy, ..Config::default() }
    }

    #[test]
    fn the_best_get_the_fixed_places_and_one_other_a_trial() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        let mut choker = Choker::default();
        choker.round(candidates(&[1, 9, 2, 8, 7, 6, 0, 0]), &config(PeerStrategy::Reciprocal), rng);
        let served = served(&choker);
        assert_eq!(served.len(), 5);
        assert!([1, 3, 4, 5].iter().all(|&number| served.contains(&peer(number))), "{served:?}");
    }

    #[test]
    fn a_free_place_is_given_at_once_and_never_more_than_there_are() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        let mut choker = Choker::default();
        for interested in 1..10u8 {
            choker.fill((0..interested).map(peer).collect(), &config(PeerStrategy::Reciprocal), rng);
            assert_eq!(served(&choker).len(), usize::from(interested.min(5)));
        }
        choker.fill(vec![peer(7)], &config(PeerStrategy::Reciprocal), rng);
        assert_eq!(served(&choker), BTreeSet::from([peer(7)]));
    }

    #[test]
    fn whoever_does_not_use_its_place_makes_room_for_others() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        for strategy in [PeerStrategy::Reciprocal, PeerStrategy::RareBlocks, PeerStrategy::Random] {
            let mut choker = Choker::default();
            let mut all = candidates(&[9, 9, 9, 9, 9, 0]);
            all[..5].iter_mut().for_each(|candidate| candidate.idle = true);
            choker.round(all, &config(strategy), rng);
            assert!(choker.serves(peer(5)), "{strategy:?}");
            assert_eq!(served(&choker).len(), 5, "a place that nobody else wants is not left empty");
        }
    }

    #[test]
    fn the_trial_passes_on_after_three_rounds() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        let mut choker = Choker::default();
        let mut on_trial = BTreeSet::new();
        for _ in 0..60 {
            choker.round(candidates(&[9, 9, 9, 9, 0, 0, 0, 0]), &config(PeerStrategy::Reciprocal), rng);
            on_trial.extend(choker.on_trial);
        }
        assert_eq!(on_trial, (4..8).map(peer).collect());
    }

    #[test]
    fn with_rare_blocks_a_better_peer_on_trial_is_promoted_and_a_worse_one_stays() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
        let config = config(PeerStrategy::RareBlocks);
        let mut choker = Choker::default();
        choker.round(candidates(&[5, 5, 5, 5, 1]), &config, rng);
        assert_eq!(choker.on_trial, Some(peer(4)));
        choker.round(candidates(&[5, 5, 5, 5, 1]), &config, rng);
        assert_eq!(choker.on_trial, Some(peer(4)));
        choker.round(candidates(&[5, 3, 5, 5, 4]), &config, rng);
        assert_eq!(choker.on_trial, Some(peer(1)));
        assert_eq!(choker.fixed, [0, 2, 3, 4].map(peer).into());
    }
}
