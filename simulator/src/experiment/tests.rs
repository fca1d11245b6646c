//! Whole runs, small ones.

use super::{Afterwards, Arrivals, Breaks, Newcomers, Outcome, Role, Scenario, Unusable, mbit};
use crate::{Behaviour, Record};
use protocol::BlockSize;
use std::time::Duration;

/// Forty peers at homes fetch 4 MiB.
fn forty() -> Scenario {
    Scenario { peers: 40, size: 4 << 20, ..Scenario::default() }
}

fn run(scenario: &Scenario) -> Outcome {
    scenario.run(&scenario.file(), 1)
}

/// The last completion, as a multiple of the bound.
fn last_over(outcome: &Outcome, bound: Duration) -> f64 {
    outcome.last().expect("all are complete").div_duration_f64(bound)
}

#[test]
fn a_swarm_is_nearly_as_fast_as_possible() {
    let scenario = Scenario { size: 16 << 20, ..forty() };
    let outcome = run(&scenario);
    let over = last_over(&outcome, scenario.fluid_bound());
    assert!((1.0..1.5).contains(&over), "{over:.2} times the fluid bound");
    assert!(last_over(&outcome, scenario.block_bound()) > 1.0);
    assert_eq!(outcome.capacity_bound(&scenario), scenario.fluid_bound(), "nobody comes late or leaves");

    let copy = outcome.first_copy.expect("every block is elsewhere");
    let sent = copy.sent as f64 / scenario.size as f64;
    assert!((1.0..=1.1).contains(&sent), "the seed sent {sent:.3} times the file until every block was elsewhere");
    assert!(outcome.uplink_use(&scenario).is_some_and(|used| (0.6..1.0).contains(&used)));
    assert!(outcome.jain() > 0.98);
    assert!(outcome.duplicates() < 0.05);
    assert!(outcome.overhead() < 0.15);
}

#[test]
fn the_smallest_swarms_finish() {
    for peers in [1, 2, 3] {
        let outcome = run(&Scenario { peers, ..forty() });
        assert!(outcome.last().is_some(), "{peers} peers");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = Scenario { peers: 20, leavers: 0.2, free_riders: 0.1, noticed_after: Duration::ZERO, ..forty() };
    let file = scenario.file();
    let facts = |seed| {
        let outcome = scenario.run(&file, seed);
        let received: Vec<_> = outcome.fetchers.iter().map(|fetcher| fetcher.record.received_from.clone()).collect();
        (outcome.completions(), outcome.samples, received)
    };
    assert_eq!(facts(1), facts(1));
    assert_ne!(facts(1), facts(2));
}

#[test]
fn what_was_given_was_received() {
    let scenario = forty();
    let outcome = run(&scenario);
    for fetcher in &outcome.fetchers {
        assert_eq!(fetcher.record.received_from.values().sum::<u64>(), scenario.size);
    }
    let delivered: u64 = outcome.fetchers.iter().map(|fetcher| fetcher.record.delivered).sum();
    assert_eq!(delivered + outcome.seeds[0].delivered, scenario.size * 40);
}

#[test]
fn a_relay_is_what_limits() {
    let scenario = Scenario { peers: 10, size: 8 << 20, relay: Some(mbit(20)), ..forty() };
    let over = last_over(&run(&scenario), scenario.fluid_bound());
    assert!((1.0..1.4).contains(&over), "{over:.2} times what the relay can forward");
}

#[test]
fn those_that_stay_finish_without_those_that_vanish() {
    let scenario = Scenario { leavers: 0.3, noticed_after: Duration::from_secs(2), size: 16 << 20, ..forty() };
    let outcome = run(&scenario);
    assert_eq!(outcome.fetchers.iter().filter(|fetcher| fetcher.left.is_some()).count(), 12);
    let over = last_over(&outcome, outcome.capacity_bound(&scenario));
    assert!((1.0..2.0).contains(&over), "{over:.2} times the capacity bound");
}

#[test]
fn what_nobody_waits_for_is_no_part_of_the_bound() {
    let scenario = Scenario { free_riders: 0.2, size: 16 << 20, ..forty() };
    let outcome = run(&scenario);
    let bound = outcome.capacity_bound(&scenario);
    assert!(bound < scenario.fluid_bound(), "the riders did not get everything");
    assert!(last_over(&outcome, bound) > 1.0);
}

#[test]
fn liars_do_not_keep_others_from_finishing() {
    // Also with blocks that come in parts from several, some of whom lie.
    for block_size in [None, Some(BlockSize::try_from(512 << 10).expect("a power of two"))] {
        let scenario = Scenario { liars: 0.1, lie: Behaviour::Corrupting, block_size, ..forty() };
        let outcome = run(&scenario);
        assert!(outcome.last().is_some() && !outcome.gave_up);
        assert_eq!(outcome.survivors().count(), 36);
    }
}

#[test]
fn a_seed_that_leaves_too_early_takes_blocks_along() {
    let gives_up_after = Some(Duration::from_secs(20));
    let scenario = Scenario { peers: 10, seed_leaves_after: Some(0.5), gives_up_after, ..forty() };
    let outcome = run(&scenario);
    assert!(outcome.gave_up && outcome.last().is_none() && outcome.first_copy.is_none());
    assert!(outcome.seeds_left.is_some());
    assert_eq!(outcome.samples.last().map(|sample| sample.fewest_copies), Some(0));
}

#[test]
fn newcomers_wait_until_the_others_are_under_way() {
    let newcomers = Newcomers { peers: 5, when_held: 0.5, within: Duration::from_secs(1) };
    let scenario = Scenario { newcomers: Some(newcomers), ..forty() };
    let outcome = run(&scenario);
    let half = scenario.fluid_bound() / 3;
    let coming: Vec<_> = outcome.fetchers.iter().filter(|fetcher| fetcher.role == Role::Newcomer).collect();
    assert_eq!(coming.len(), 5);
    assert!(coming.iter().all(|newcomer| newcomer.record.joined.since_start() > half));
    assert!(coming.iter().all(|newcomer| newcomer.record.first_unchoke.is_some()));
}

#[test]
fn those_that_keep_coming_also_go() {
    let scenario = Scenario {
        peers: 0,
        size: 1 << 20,
        arrivals: Some(Arrivals { per_second: 3.0, lasting: Duration::from_secs(60) }),
        afterwards: Afterwards::LeaveAfter { blocks: 1 },
        ..Scenario::default()
    };
    let outcome = run(&scenario);
    let (came, left) =
        (outcome.fetchers.len(), outcome.fetchers.iter().filter(|fetcher| fetcher.left.is_some()).count());
    assert!((120..240).contains(&came), "{came} came");
    assert!(left > came * 9 / 10, "{left} of {came} left");
}

#[test]
fn on_a_slow_line_what_is_late_is_not_asked_for_again_and_again() {
    let (up, down) = (mbit(1) / 5, mbit(2) / 5);
    let scenario = Scenario { peers: 12, size: 2 << 20, up, down, seed_up: mbit(20), ..forty() };
    let outcome = run(&scenario);
    let over = last_over(&outcome, outcome.ideal(&scenario));
    assert!((0.9..1.5).contains(&over), "{over:.2} times the ideal");
    assert!(outcome.duplicates() < 0.05, "{:.3} of the file came twice", outcome.duplicates());
}

#[test]
fn a_seed_that_is_much_faster_than_its_receivers_does_not_leave_its_line_idle() {
    let (up, down) = (mbit(5), mbit(50));
    let scenario = Scenario { peers: 8, size: 32 << 20, up, down, seed_up: mbit(100), ..forty() };
    let over = last_over(&run(&scenario), scenario.fluid_bound());
    assert!((1.0..1.4).contains(&over), "{over:.2} times the fluid bound");
}

#[test]
fn a_class_finishes_as_soon_as_its_downlink_allows() {
    let scenario = Scenario { peers: 30, classes: vec![1.0, 0.2, 5.0], seed_up: mbit(40), ..forty() };
    let outcome = run(&scenario);
    let ups: Vec<_> = outcome.fetchers.iter().take(3).map(|fetcher| fetcher.up).collect();
    assert_eq!(ups, [mbit(10), mbit(2), mbit(50)]);
    let over = last_over(&outcome, outcome.ideal(&scenario));
    assert!((0.9..1.5).contains(&over), "{over:.2} times the ideal");
    let done = |class: usize| outcome.fetchers[class].record.completed.expect("all are complete");
    assert!(done(1) > done(2), "a slow peer later than a fast one");
}

#[test]
fn two_seeds_give_a_copy_in_half_the_time() {
    let scenario = Scenario { peers: 5, size: 8 << 20, up: mbit(40), ..forty() };
    let twice = Scenario { seeds: 2, ..scenario.clone() };
    let outcome = run(&twice);
    let [one, two] = [run(&scenario).last(), outcome.last()].map(|last| last.expect("all are complete"));
    assert!(two < one.mul_f64(0.7), "{two:?} with two, {one:?} with one");
    assert_eq!(outcome.seeds.len(), 2);
    let delivered: u64 = outcome.fetchers.iter().map(|fetcher| fetcher.record.delivered).sum();
    assert_eq!(delivered + outcome.seeds.iter().map(|seed| seed.delivered).sum::<u64>(), scenario.size * 5);
}

#[test]
fn lines_that_break_come_back() {
    let breaks = Breaks {
        most: 3,
        shortest: Duration::from_millis(500),
        longest: Duration::from_secs(2),
        within: Duration::from_secs(3),
    };
    let scenario = Scenario { breaks: Some(breaks), size: 8 << 20, ..forty() };
    let outcome = run(&scenario);
    let broken = |record: &Record| record.broken.len();
    let times: usize = outcome.fetchers.iter().map(|fetcher| broken(&fetcher.record)).sum();
    assert!((20..=120).contains(&times), "they broke {times} times");
    assert!(outcome.fetchers.iter().all(|fetcher| broken(&fetcher.record) <= 3));
    let over = last_over(&outcome, outcome.ideal(&scenario));
    assert!((0.9..3.0).contains(&over), "{over:.2} times the ideal");
}

#[test]
fn what_is_refused_is_said_again() {
    let outcome = run(&Scenario { refused: 20, ..forty() });
    assert!(outcome.last().is_some() && !outcome.gave_up);
}

#[test]
fn a_number_is_one_run() {
    let small = |number| Scenario { peers: 12, size: 1 << 20, ..Scenario::anywhere(number) };
    for number in [1, 2, 3] {
        let facts = |outcome: Outcome| (outcome.completions(), outcome.overhead(), outcome.ended);
        assert_eq!(facts(run(&small(number))), facts(run(&small(number))), "{number}");
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    assert_eq!(Scenario { peers: 0, ..forty() }.check(), Err(Unusable::NoPeers));
    assert_eq!(Scenario { size: 0, ..forty() }.check(), Err(Unusable::EmptyFile));
    assert_eq!(Scenario { seeds: 0, ..forty() }.check(), Err(Unusable::Seeds(0)));
    assert_eq!(Scenario { classes: vec![], ..forty() }.check(), Err(Unusable::NoClass));
    assert!(matches!(Scenario { classes: vec![0.0], ..forty() }.check(), Err(Unusable::Rate { .. })));
    assert_eq!(Scenario { refused: 1_001, ..forty() }.check(), Err(Unusable::Refused(1_001)));
    let (shortest, longest) = (Duration::from_secs(2), Duration::from_secs(1));
    let breaks = Some(Breaks { most: 1, shortest, longest, within: longest });
    assert_eq!(Scenario { breaks, ..forty() }.check(), Err(Unusable::Breaks));
    assert_eq!(Scenario { leavers: f64::NAN, ..forty() }.check(), Err(Unusable::Share("leavers")));
    assert_eq!(Scenario { jitter: Duration::from_secs(1), ..forty() }.check(), Err(Unusable::Jitter));
    let arrivals = Some(Arrivals { per_second: 0.0, lasting: Duration::from_secs(1) });
    assert_eq!(Scenario { arrivals, ..forty() }.check(), Err(Unusable::Arrivals));
}
