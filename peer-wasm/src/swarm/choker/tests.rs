use super::*;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

fn candidates(scores: &[u64]) -> Vec<Candidate> {
    let candidate = |(number, &score)| Candidate {
        peer: peer(number),
        interested: true,
        idle: false,
        willing: true,
        score,
        blocks: 0,
        age: Duration::ZERO,
    };
    (0..).zip(scores).map(candidate).collect()
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
        choker.fill(candidates(&vec![0; interested.into()]), &config(PeerStrategy::Reciprocal), rng);
        assert_eq!(served(&choker).len(), usize::from(interested.min(5)));
    }
    choker.fill(candidates(&[0]), &config(PeerStrategy::Reciprocal), rng);
    assert_eq!(served(&choker), BTreeSet::from([peer(0)]), "whoever is gone keeps no place");
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
fn places_that_nobody_wants_are_lent_to_those_who_may_want_something_later() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let config = config(PeerStrategy::Reciprocal);
    let mut choker = Choker::default();
    let mut all = candidates(&[0; 8]);
    all[1..].iter_mut().for_each(|candidate| candidate.interested = false);
    choker.fill(all.clone(), &config, rng);
    assert_eq!(served(&choker).len(), 5);
    assert!(choker.serves(peer(0)));
    all[5..].iter_mut().for_each(|candidate| candidate.interested = true);
    choker.fill(all, &config, rng);
    assert!([0, 5, 6, 7].iter().all(|&number| choker.serves(peer(number))), "{:?}", served(&choker));
}

#[test]
fn the_places_that_need_not_be_earned_go_to_who_gives_and_has_least() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let config = config(PeerStrategy::Reciprocal);
    let mut choker = Choker::default();
    let mut all = candidates(&[9, 9, 9, 9, 0, 0, 0]);
    all.iter_mut().zip([50, 50, 50, 50, 30, 10, 0]).for_each(|(candidate, blocks)| candidate.blocks = blocks);
    all[6].willing = false;
    choker.round(all.clone(), &config, rng);
    assert_eq!(choker.on_trial, Some(peer(5)));
    assert!(choker.widen(all.clone(), &config, rng) && choker.serves(peer(4)));
    assert!(choker.widen(all.clone(), &config, rng) && choker.serves(peer(6)));
    assert!(!choker.widen(all.clone(), &config, rng), "everyone is served");
    choker.round(all, &config, rng);
    assert!(!choker.serves(peer(4)) && !choker.serves(peer(6)), "what is lent ends with the round");
}

#[test]
fn who_serves_nobody_has_no_places_at_all() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let mut choker = Choker::default();
    choker.round(candidates(&[1, 2, 3]), &config, rng);
    assert!(!choker.widen(candidates(&[1, 2, 3]), &config, rng) && !choker.admit(peer(0), &config));
    assert!(choker.served().next().is_none());
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
