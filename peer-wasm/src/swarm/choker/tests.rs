use super::*;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

const STRATEGIES: [PeerStrategy; 3] = [PeerStrategy::Reciprocal, PeerStrategy::RareBlocks, PeerStrategy::Random];

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(3)
}

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

fn candidates(scores: &[u64]) -> Vec<Candidate> {
    let candidate = |(number, &score)| Candidate {
        peer: peer(number),
        interested: true,
        idle: false,
        willing: true,
        turn: Turn::Over,
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
    let rng = &mut rng();
    let mut choker = Choker::default();
    choker.round(candidates(&[1, 9, 2, 8, 7, 6, 0, 0]), false, &config(PeerStrategy::Reciprocal), rng);
    let served = served(&choker);
    assert_eq!(served.len(), 5);
    assert!([1, 3, 4, 5].iter().all(|&number| served.contains(&peer(number))), "{served:?}");
}

#[test]
fn a_free_place_is_given_at_once_and_never_more_than_there_are() {
    let rng = &mut rng();
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
    let rng = &mut rng();
    for strategy in STRATEGIES {
        let mut choker = Choker::default();
        let mut all = candidates(&[9, 9, 9, 9, 9, 0]);
        all[..5].iter_mut().for_each(|candidate| candidate.idle = true);
        choker.round(all, false, &config(strategy), rng);
        assert!(choker.serves(peer(5)), "{strategy:?}");
        assert_eq!(served(&choker).len(), 5, "a place that nobody else wants is not left empty");
    }
}

#[test]
fn the_trial_passes_on_after_three_rounds() {
    let rng = &mut rng();
    let mut choker = Choker::default();
    let mut on_trial = BTreeSet::new();
    for _ in 0..60 {
        choker.round(candidates(&[9, 9, 9, 9, 0, 0, 0, 0]), false, &config(PeerStrategy::Reciprocal), rng);
        on_trial.extend(choker.on_trial);
    }
    assert_eq!(on_trial, (4..8).map(peer).collect());
}

#[test]
fn places_that_nobody_wants_are_lent_to_those_who_may_want_something_later() {
    let rng = &mut rng();
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
    let rng = &mut rng();
    let config = config(PeerStrategy::Reciprocal);
    let mut choker = Choker::default();
    let mut all = candidates(&[9, 9, 9, 9, 0, 0, 0]);
    all.iter_mut().zip([50, 50, 50, 50, 30, 10, 0]).for_each(|(candidate, blocks)| candidate.blocks = blocks);
    all[6].willing = false;
    choker.round(all.clone(), false, &config, rng);
    assert_eq!(choker.on_trial, Some(peer(5)));
    assert!(choker.widen(all.clone(), MAX_EXTRA, &config, rng) && choker.serves(peer(4)));
    assert!(choker.widen(all.clone(), MAX_EXTRA, &config, rng) && choker.serves(peer(6)));
    assert!(!choker.widen(all.clone(), MAX_EXTRA, &config, rng), "everyone is served");
    choker.round(all, false, &config, rng);
    assert!(!choker.serves(peer(4)) && !choker.serves(peer(6)), "what is lent ends with the round");
}

#[test]
fn who_serves_nobody_has_no_places_at_all() {
    let rng = &mut rng();
    let config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let mut choker = Choker::default();
    choker.round(candidates(&[1, 2, 3]), false, &config, rng);
    assert!(
        !choker.widen(candidates(&[1, 2, 3]), MAX_EXTRA, &config, rng) && !choker.admit(peer(0), MAX_EXTRA, &config)
    );
    assert!(choker.served().next().is_none());
}

#[test]
fn with_rare_blocks_a_better_peer_on_trial_is_promoted_and_a_worse_one_stays() {
    let rng = &mut rng();
    let config = config(PeerStrategy::RareBlocks);
    let mut choker = Choker::default();
    choker.round(candidates(&[5, 5, 5, 5, 1]), false, &config, rng);
    assert_eq!(choker.on_trial, Some(peer(4)));
    choker.round(candidates(&[5, 5, 5, 5, 1]), false, &config, rng);
    assert_eq!(choker.on_trial, Some(peer(4)));
    choker.round(candidates(&[5, 3, 5, 5, 4]), false, &config, rng);
    assert_eq!(choker.on_trial, Some(peer(1)));
    assert_eq!(choker.fixed, [0, 2, 3, 4].map(peer).into());
}

#[test]
fn only_a_free_place_that_there_is_counts_as_room() {
    let rng = &mut rng();
    for (fixed_slots, trial_slots, places) in [(2, 1, 3), (2, 0, 2), (0, 1, 1), (0, 0, 0)] {
        let config = Config { fixed_slots, trial_slots, ..Config::default() };
        let mut choker = Choker::default();
        for taken in 0..=4 {
            choker.fill(candidates(&vec![0; taken]), &config, rng);
            assert_eq!(served(&choker).len(), taken.min(places), "{fixed_slots} + {trial_slots} places");
            assert_eq!(choker.has_room(&config), taken < places, "{taken} in {fixed_slots} + {trial_slots} places");
        }
    }
}

#[test]
fn places_above_the_limit_are_no_room() {
    let mut choker = Choker::default();
    choker.fill(candidates(&[0; 4]), &Config::default(), &mut rng());
    assert!(!choker.has_room(&Config { fixed_slots: 3, trial_slots: 0, ..Config::default() }));
}

#[test]
fn whoever_is_evicted_has_no_place_of_any_kind_and_others_keep_theirs() {
    let config = Config { fixed_slots: 1, ..config(PeerStrategy::Reciprocal) };
    let full = || {
        let mut choker = Choker::default();
        choker.round(candidates(&[9, 0]), false, &config, &mut rng());
        assert!(choker.welcome(peer(7), &config));
        choker
    };
    for evicted in [0, 1, 7] {
        let mut choker = full();
        choker.evict(peer(evicted));
        let left: BTreeSet<_> = [0, 1, 7].into_iter().filter(|number| *number != evicted).map(peer).collect();
        assert_eq!(choker.served().collect::<BTreeSet<_>>(), left);
        assert!(!choker.serves(peer(evicted)) && left.iter().all(|peer| choker.serves(*peer)));
        assert_eq!(choker.has_room(&config), evicted != 7, "{evicted} had a place");
    }
}

#[test]
fn who_wants_something_comes_before_who_does_not_whatever_else_is_so() {
    // Each has what all after it lack, and the highest scores are with those who are to come last.
    let classes = [(true, false, true), (true, false, false), (true, true, true), (false, false, true)];
    for strategy in STRATEGIES {
        for places in 1..=classes.len() {
            let mut all = candidates(&[1, 2, 3, 4]);
            for (candidate, (interested, idle, willing)) in all.iter_mut().zip(classes) {
                (candidate.interested, candidate.idle, candidate.willing) = (interested, idle, willing);
            }
            all.reverse();
            let config = Config { fixed_slots: places, trial_slots: 0, ..config(strategy) };
            let mut choker = Choker::default();
            choker.round(all.clone(), false, &config, &mut rng());
            assert_eq!(choker.fixed, (0..places as u8).map(peer).collect(), "{strategy:?}: a round");
            let mut choker = Choker::default();
            choker.fill(all, &config, &mut rng());
            assert_eq!(choker.fixed, (0..places as u8).map(peer).collect(), "{strategy:?}: between rounds");
        }
    }
}

#[test]
fn a_free_fixed_place_goes_to_the_best_of_a_round() {
    for strategy in STRATEGIES {
        let mut choker = Choker::default();
        choker.round(candidates(&[3, 1, 2]), false, &Config { fixed_slots: 1, ..config(strategy) }, &mut rng());
        assert_eq!(choker.fixed, [peer(0)].into(), "{strategy:?}");
        assert!(choker.on_trial.is_some(), "{strategy:?}: the place for trials is for another");
    }
}

#[test]
fn among_equals_a_round_chooses_at_random() {
    for strategy in STRATEGIES {
        let config = Config { fixed_slots: 1, trial_slots: 0, ..config(strategy) };
        let first = |seed| {
            let mut choker = Choker::default();
            choker.round(candidates(&[5; 6]), false, &config, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            choker.fixed
        };
        let chosen: BTreeSet<_> = (0..60).flat_map(first).collect();
        assert_eq!(chosen, (0..6).map(peer).collect(), "{strategy:?}");
    }
}

#[test]
fn among_equals_who_is_here_longest_gets_the_place_that_need_not_be_earned() {
    for strategy in STRATEGIES {
        let mut all = candidates(&[0; 6]);
        all[4].age = Duration::from_secs(9);
        let mut choker = Choker::default();
        choker.fill(all, &Config { fixed_slots: 1, trial_slots: 0, ..config(strategy) }, &mut rng());
        assert_eq!(choker.fixed, [peer(4)].into(), "{strategy:?}");
    }
}

#[test]
fn only_tit_for_tat_gives_its_free_places_to_who_has_least() {
    for (strategy, first) in [(PeerStrategy::Reciprocal, 1), (PeerStrategy::RareBlocks, 0), (PeerStrategy::Random, 0)] {
        let mut all = candidates(&[0; 2]);
        all[0].blocks = 10;
        all[0].age = Duration::from_secs(9);
        let mut choker = Choker::default();
        choker.fill(all, &Config { fixed_slots: 1, trial_slots: 0, ..config(strategy) }, &mut rng());
        assert_eq!(choker.fixed, [peer(first)].into(), "{strategy:?}");
    }
}

#[test]
fn a_place_that_nobody_would_use_need_not_be_earned() {
    let mut all = candidates(&[9, 0]);
    all.iter_mut().for_each(|candidate| candidate.idle = true);
    all[0].blocks = 10;
    let mut choker = Choker::default();
    let config = Config { fixed_slots: 1, trial_slots: 0, ..config(PeerStrategy::Reciprocal) };
    choker.round(all, false, &config, &mut rng());
    assert_eq!(choker.fixed, [peer(1)].into());
}

#[test]
fn a_trial_lasts_as_many_rounds_as_it_is_told_to() {
    for optimistic_rounds in 1..5 {
        let config = Config { fixed_slots: 1, optimistic_rounds, ..config(PeerStrategy::Reciprocal) };
        let mut choker = Choker::default();
        // Who has least comes next, so that each trial is given to another for a reason.
        let all = |least: usize| {
            let mut all = candidates(&[9, 0, 0]);
            all.iter_mut().for_each(|candidate| candidate.blocks = 10);
            all[least].blocks = 0;
            all
        };
        choker.fill(all(1)[1..].to_vec(), &Config { fixed_slots: 0, ..config.clone() }, &mut rng());
        assert_eq!(choker.on_trial, Some(peer(1)));
        for round in 1..optimistic_rounds {
            choker.round(all(2), false, &config, &mut rng());
            assert_eq!(choker.on_trial, Some(peer(1)), "round {round} of {optimistic_rounds}");
        }
        choker.round(all(2), false, &config, &mut rng());
        assert_eq!(choker.on_trial, Some(peer(2)), "after {optimistic_rounds} rounds");
    }
}

#[test]
fn a_peer_on_trial_that_earned_a_fixed_place_leaves_the_trial_to_another() {
    let config = Config { fixed_slots: 1, ..config(PeerStrategy::Reciprocal) };
    let mut choker = Choker::default();
    choker.round(candidates(&[9, 0]), false, &config, &mut rng());
    assert_eq!(choker.on_trial, Some(peer(1)));
    choker.round(candidates(&[0, 9]), false, &config, &mut rng());
    assert_eq!((choker.fixed, choker.on_trial), ([peer(1)].into(), Some(peer(0))));
}

#[test]
fn who_wants_nothing_or_does_not_use_it_loses_a_place_only_to_one_that_waits() {
    let useless: [fn(&mut Candidate); 2] = [|other| other.interested = false, |other| other.idle = true];
    for lose in useless {
        let config = Config { fixed_slots: 2, trial_slots: 0, ..Config::default() };
        let mut choker = Choker::default();
        let mut all = candidates(&[0; 3]);
        choker.fill(all[..2].to_vec(), &config, &mut rng());
        lose(&mut all[0]);
        choker.fill(all[..2].to_vec(), &config, &mut rng());
        assert!(choker.serves(peer(0)), "nobody waits");
        let mut idle = all.clone();
        lose(&mut idle[2]);
        idle[2].age = Duration::from_secs(9);
        choker.fill(idle, &config, &mut rng());
        assert_eq!(choker.fixed, [0, 1].map(peer).into(), "who waits would not use it either");
        choker.fill(all, &config, &mut rng());
        assert_eq!(choker.fixed, [1, 2].map(peer).into());
    }
}

#[test]
fn who_is_served_beyond_the_places_is_so_while_it_is_here_and_until_the_next_round() {
    let config = Config { fixed_slots: 1, ..config(PeerStrategy::Reciprocal) };
    let all = candidates(&[9, 8, 0, 0]);
    let mut choker = Choker::default();
    choker.round(all[..2].to_vec(), false, &config, &mut rng());
    assert!(choker.welcome(peer(2), &config) && choker.welcome(peer(3), &config));
    choker.fill(all[..3].to_vec(), &config, &mut rng());
    assert_eq!(choker.extra, [peer(2)].into(), "another is gone");
    choker.round(all, false, &config, &mut rng());
    assert!(choker.extra.is_empty());
}

#[test]
fn only_so_many_newcomers_are_welcome_in_one_round() {
    let config = Config::default();
    let mut choker = Choker::default();
    for _ in 0..2 {
        choker.round(Vec::new(), false, &config, &mut rng());
        assert!(choker.welcome(peer(0), &config));
        assert!(!choker.welcome(peer(0), &config), "it is served already, which counts as no other");
        let welcome = (1..100).filter(|number| choker.welcome(peer(*number), &config)).count();
        assert_eq!(welcome, MAX_NEWCOMERS - 1);
        assert_eq!(choker.served().count(), MAX_NEWCOMERS);
        choker.evict(peer(0));
        assert!(!choker.welcome(peer(100), &config), "who left counts, or a new id would be worth a place each time");
    }
}

#[test]
fn only_so_many_are_served_beyond_the_places_and_nobody_twice() {
    let config = Config { fixed_slots: 1, ..Config::default() };
    let mut choker = Choker::default();
    let all = candidates(&[0; 40]);
    choker.fill(all[..2].to_vec(), &config, &mut rng());
    for extra in 0..MAX_EXTRA {
        assert_eq!(choker.served().count(), 2 + extra);
        assert!(choker.widen(all.clone(), MAX_EXTRA, &config, &mut rng()));
    }
    assert!(!choker.widen(all, MAX_EXTRA, &config, &mut rng()));
    assert_eq!(choker.served().collect::<BTreeSet<_>>().len(), 2 + MAX_EXTRA);
}

#[test]
fn nobody_is_served_beyond_the_places_where_there_are_none_for_trials() {
    let config = Config { trial_slots: 0, ..Config::default() };
    let mut choker = Choker::default();
    choker.fill(candidates(&[0; 8]), &config, &mut rng());
    assert!(!choker.widen(candidates(&[0; 8]), MAX_EXTRA, &config, &mut rng()) && !choker.welcome(peer(9), &config));
    assert_eq!((choker.served().count(), choker.fixed.len()), (4, 4));
}

#[test]
fn one_more_is_served_only_if_it_wants_something() {
    let mut choker = Choker::default();
    let mut all = candidates(&[0; 2]);
    all[0].interested = false;
    all[0].age = Duration::from_secs(9);
    assert!(choker.widen(all.clone(), MAX_EXTRA, &Config::default(), &mut rng()));
    assert_eq!(choker.extra, [peer(1)].into());
    assert!(!choker.widen(all, MAX_EXTRA, &Config::default(), &mut rng()));
}

#[test]
fn with_rare_blocks_a_peer_on_trial_that_is_no_better_than_the_weakest_stays_so() {
    let config = Config { fixed_slots: 2, ..config(PeerStrategy::RareBlocks) };
    let mut choker = Choker::default();
    choker.round(candidates(&[5, 3, 1]), false, &config, &mut rng());
    assert_eq!((&choker.fixed, choker.on_trial), (&[0, 1].map(peer).into(), Some(peer(2))));
    for (scores, fixed, on_trial) in [([5, 3, 3], [0, 1], 2), ([5, 3, 4], [0, 2], 1), ([4, 4, 4], [0, 2], 1)] {
        choker.round(candidates(&scores), false, &config, &mut rng());
        assert_eq!((&choker.fixed, choker.on_trial), (&fixed.map(peer).into(), Some(peer(on_trial))), "{scores:?}");
    }
}

#[test]
fn with_rare_blocks_a_place_that_became_free_goes_to_the_best_of_the_others() {
    let config = Config { fixed_slots: 2, ..config(PeerStrategy::RareBlocks) };
    let mut choker = Choker::default();
    let mut all = candidates(&[5, 3, 1, 2]);
    all[3].blocks = 1;
    choker.round(all[..3].to_vec(), false, &config, &mut rng());
    assert_eq!(choker.on_trial, Some(peer(2)));
    all.remove(0);
    choker.round(all, false, &config, &mut rng());
    assert_eq!((choker.fixed, choker.on_trial), ([1, 3].map(peer).into(), Some(peer(2))));
}

#[test]
fn with_rare_blocks_no_round_takes_the_place_of_one_that_still_wants_something() {
    let config = Config { fixed_slots: 2, trial_slots: 0, ..config(PeerStrategy::RareBlocks) };
    let mut choker = Choker::default();
    choker.round(candidates(&[5, 5, 1]), false, &config, &mut rng());
    choker.round(candidates(&[5, 5, 9]), false, &config, &mut rng());
    assert_eq!(choker.fixed, [0, 1].map(peer).into());
}

#[test]
fn who_has_a_place_and_got_no_whole_block_keeps_it() {
    for strategy in STRATEGIES {
        let config = Config { fixed_slots: 2, trial_slots: 0, ..config(strategy) };
        let mut choker = Choker::default();
        let mut all = candidates(&[0, 0, 9, 8]);
        choker.fill(all[..2].to_vec(), &config, &mut rng());
        all[..2].iter_mut().for_each(|candidate| candidate.turn = Turn::Given);
        choker.round(all.clone(), false, &config, &mut rng());
        assert_eq!(choker.fixed, [0, 1].map(peer).into(), "{strategy:?}");
        let useless: [fn(&mut Candidate); 3] =
            [|other| other.interested = false, |other| other.idle = true, |other| other.willing = false];
        for lose in useless.into_iter().filter(|_| strategy != PeerStrategy::RareBlocks) {
            let mut all = all.clone();
            all[..2].iter_mut().for_each(lose);
            let mut choker = Choker { fixed: choker.fixed.clone(), ..Choker::default() };
            choker.round(all, false, &config, &mut rng());
            assert_eq!(choker.fixed, [2, 3].map(peer).into(), "{strategy:?}: it is for who uses it");
        }
    }
}

#[test]
fn who_got_a_part_of_a_block_keeps_its_place_before_who_got_nothing() {
    for strategy in [PeerStrategy::Reciprocal, PeerStrategy::Random] {
        let config = Config { fixed_slots: 1, trial_slots: 0, ..config(strategy) };
        let mut choker = Choker::default();
        let mut all = candidates(&[9, 8, 0]);
        (all[1].turn, all[2].turn) = (Turn::Given, Turn::Begun);
        choker.round(all, false, &config, &mut rng());
        assert_eq!(choker.fixed, [2].map(peer).into(), "{strategy:?}");
    }
}

#[test]
fn those_beyond_the_places_are_kept_if_that_is_said_and_they_use_it() {
    let config = config(PeerStrategy::Reciprocal);
    for (keeps_extra, left) in [(true, 2), (false, 0)] {
        let mut choker = Choker::default();
        let mut all = candidates(&[9, 9, 9, 9, 8, 3, 2, 1, 0]);
        choker.round(all.clone(), keeps_extra, &config, &mut rng());
        assert!(!choker.was_idle());
        (0..3).for_each(|_| assert!(choker.widen(all.clone(), usize::MAX, &config, &mut rng())));
        assert!(choker.extra.len() == 3 && choker.was_idle());
        let idle = *choker.extra.first().unwrap();
        all.iter_mut().filter(|other| other.peer == idle).for_each(|other| other.idle = true);
        choker.round(all, keeps_extra, &config, &mut rng());
        assert_eq!(choker.extra.len(), left);
        assert!(!choker.extra.contains(&idle) && !choker.was_idle());
    }
}

#[test]
fn who_earned_a_fixed_place_is_not_beyond_the_places_as_well() {
    let config = config(PeerStrategy::Reciprocal);
    let mut choker = Choker::default();
    let mut all = candidates(&[9, 9, 9, 9, 0, 0]);
    choker.round(all.clone(), true, &config, &mut rng());
    assert!(choker.widen(all.clone(), MAX_EXTRA, &config, &mut rng()));
    let extra = *choker.extra.first().unwrap();
    all.iter_mut().filter(|other| other.peer == extra).for_each(|other| other.score = 99);
    choker.round(all, true, &config, &mut rng());
    assert!(choker.fixed.contains(&extra) && choker.extra.is_empty());
}

#[test]
fn no_more_are_served_beyond_the_places_than_may_be() {
    let config = config(PeerStrategy::Reciprocal);
    for most in [3, MAX_EXTRA, usize::MAX] {
        let mut choker = Choker::default();
        let all = candidates(&[0; 40]);
        choker.round(all.clone(), false, &config, &mut rng());
        let widened = (0..100).take_while(|_| choker.widen(all.clone(), most, &config, &mut rng())).count();
        assert_eq!(widened, most.min(40 - config.fixed_slots - config.trial_slots));
    }
}

#[test]
fn a_trial_lasts_until_a_block_is_whole() {
    let config = Config { fixed_slots: 1, optimistic_rounds: 1, ..config(PeerStrategy::Reciprocal) };
    let mut choker = Choker::default();
    // Who has least comes next, so that each trial is given to another for a reason.
    let mut all = candidates(&[9, 0, 0]);
    all[0].blocks = 10;
    all[2].blocks = 5;
    choker.round(all.clone(), false, &config, &mut rng());
    assert_eq!(choker.on_trial, Some(peer(1)));
    (all[1].turn, all[1].blocks) = (Turn::Begun, 9);
    // It comes before the others for a fixed place too, unless those are taken by such.
    all[0].turn = Turn::Begun;
    for _ in 0..5 {
        choker.round(all.clone(), false, &config, &mut rng());
        assert_eq!((&choker.fixed, choker.on_trial), (&[peer(0)].into(), Some(peer(1))));
    }
    all[1].turn = Turn::Over;
    choker.round(all, false, &config, &mut rng());
    assert_eq!(choker.on_trial, Some(peer(2)));
}
