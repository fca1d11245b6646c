//! What holds after every step, whatever happens.

use crate::{
    BLOCK,
    lab::{Lab, swarm_with},
    stranger::{HONEST, Habits},
};
use peer_wasm::swarm::{BlockState, Config, Event, Swarm};
use proptest::prelude::*;
use protocol::Bitfield;
use simulator::{Behaviour, File, id_of};
use std::{collections::BTreeSet, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The most places that a peer has: 4 + 1, and those given while its line is idle.
const MAX_SERVED: usize = 4 + 1 + 16;
/// Longer than what stands in anybody's way can take, one after another.
const LONG: Duration = Duration::from_secs(1_800);
/// So much may be in flight: a few blocks.
const fn room(block: u32) -> u64 {
    10 * block as u64 - 960
}

/// Some small blocks in one request, or one that is not.
const fn max_run(block: u32) -> u32 {
    if block == BLOCK { 4 * block } else { block }
}

/// A file, and how it is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    block: u32,
    blocks: u32,
}

impl Cut {
    const fn small(blocks: u32) -> Self {
        Self { block: BLOCK, blocks }
    }

    /// With room for a few of these blocks.
    fn narrow(self, config: Config) -> Config {
        Config { max_in_flight: room(self.block), max_run: max_run(self.block), ..config }
    }
}

/// Small blocks, or a few of several segments each.
fn cut() -> impl Strategy<Value = Cut> {
    let of = |block: u32, most: u32| (1..most).prop_map(move |blocks| Cut { block, blocks });
    prop_oneof![3 => of(BLOCK, 60), 2 => of(64 << 10, 20), 1 => of(256 << 10, 12)]
}

/// What happens at one step of a run.
#[derive(Debug, Clone)]
enum Incident {
    Leaves(usize),
    LineBreaks(usize),
    ComesBackAsAnother(usize),
    Joins,
    ClientJoins(Habits),
    ClaimerJoins,
    MuteJoins,
    TurnsSilent(usize),
    TurnsCorrupting(usize),
    DiskFills(usize),
    DiskSlows(usize),
    ReadsFail(usize),
    RelayRefuses(u32),
}

fn incident() -> impl Strategy<Value = Incident> {
    let habits = |(tells, begins, rejects)| Habits { tells, serves: true, begins, rejects };
    prop_oneof![
        (0..6usize).prop_map(Incident::Leaves),
        (0..6usize).prop_map(Incident::LineBreaks),
        (0..6usize).prop_map(Incident::ComesBackAsAnother),
        Just(Incident::Joins),
        any::<(bool, bool, bool)>().prop_map(habits).prop_map(Incident::ClientJoins),
        Just(Incident::ClaimerJoins),
        Just(Incident::MuteJoins),
        (0..6usize).prop_map(Incident::TurnsSilent),
        (0..6usize).prop_map(Incident::TurnsCorrupting),
        (0..6usize).prop_map(Incident::DiskFills),
        (0..6usize).prop_map(Incident::DiskSlows),
        (0..6usize).prop_map(Incident::ReadsFail),
        (0..=200u32).prop_map(Incident::RelayRefuses),
    ]
}

/// A swarm to which things happen.
struct Story {
    lab: Lab,
    /// Those that sent wrong blocks, and may be dropped.
    liars: BTreeSet<usize>,
}

impl Story {
    fn new(leechers: usize, cut: Cut, config: &Config) -> Self {
        let file = File::new(u64::from(cut.blocks * cut.block) - 1_000, cut.block);
        let mut lab = swarm_with(file, leechers, config);
        lab.introductions = Some(5);
        Self { lab, liars: BTreeSet::new() }
    }

    fn happen(&mut self, incident: &Incident) {
        if let Incident::Leaves(number) | Incident::TurnsSilent(number) | Incident::TurnsCorrupting(number) = *incident
            && !self.may_spare(number)
        {
            return;
        }
        let lab = &mut self.lab;
        match *incident {
            Incident::Leaves(number) => _ = lab.leave(number),
            Incident::TurnsSilent(number) => self.turn(number, Behaviour::Silent),
            Incident::TurnsCorrupting(number) => {
                self.liars.insert(number);
                self.turn(number, Behaviour::Corrupting);
            }
            Incident::LineBreaks(number) => lab.break_line(number),
            Incident::ComesBackAsAnother(number) if lab.network.node(number).is_some() => {
                let behaviour = lab.network.node(number).map(|node| node.behaviour).unwrap_or_default();
                let another = lab.come_back_as_another(number);
                lab.introduce_to_all(another);
                if self.liars.contains(&number) {
                    self.liars.insert(another);
                }
                self.turn(another, behaviour);
            }
            Incident::ComesBackAsAnother(_) => {}
            Incident::Joins => _ = lab.leecher(),
            Incident::ClientJoins(habits) => _ = lab.client(Bitfield::empty(lab.blocks()), habits),
            Incident::ClaimerJoins => {
                _ = lab.client(Bitfield::full(lab.blocks()), Habits { serves: false, ..HONEST });
            }
            Incident::MuteJoins => {
                let mute = lab.network.add_stranger();
                let others: Vec<_> = lab.network.nodes().map(|(other, _)| other).collect();
                others.into_iter().for_each(|other| lab.network.introduce(mute, other));
            }
            Incident::DiskFills(number) => self.turn(number, Behaviour::DiskFull),
            Incident::DiskSlows(number) => {
                if let Some(node) = lab.network.node_mut(number) {
                    node.disk.rate = Some(20_000);
                }
            }
            Incident::ReadsFail(number) => {
                if let Some(node) = lab.network.node_mut(number) {
                    node.disk.failing_reads = 100;
                }
            }
            Incident::RelayRefuses(per_mille) => lab.network.refuse(per_mille),
        }
    }

    fn turn(&mut self, number: usize, behaviour: Behaviour) {
        if let Some(node) = self.lab.network.node_mut(number)
            && node.behaviour == Behaviour::Honest
        {
            node.behaviour = behaviour;
        }
    }

    /// Whether others have every block and give it.
    fn may_spare(&self, number: usize) -> bool {
        let gives = |behaviour| matches!(behaviour, Behaviour::Honest | Behaviour::DiskFull);
        let mut others = self.lab.network.nodes().filter(|(other, _)| *other != number);
        others.any(|(_, node)| node.swarm.is_complete() && gives(node.behaviour))
    }

    /// Whether everyone who plays by the rules has every block.
    fn is_done(&self) -> bool {
        let mut nodes = self.lab.network.nodes();
        let is_done = |swarm: &Swarm, behaviour| behaviour != Behaviour::Honest || swarm.is_complete();
        nodes.all(|(_, node)| is_done(&node.swarm, node.behaviour))
            && self.lab.clients.iter().all(|client| client.has.is_full())
    }

    fn check(&self, stored_before: &mut Vec<u32>) -> Result<(), TestCaseError> {
        let now = self.lab.network.now();
        for (number, node) in self.lab.network.nodes() {
            let swarm = &node.swarm;
            swarm.audit();
            stored_before.resize(stored_before.len().max(number + 1), 0);
            let before = std::mem::replace(&mut stored_before[number], swarm.stored().count());
            prop_assert!(swarm.stored().count() >= before, "{number} lost verified blocks");
            // One run is begun while there is room, and one may come late.
            let block = swarm.manifest().geometry().block_size().bytes();
            let most = room(block) + 2 * u64::from(max_run(block));
            prop_assert!(swarm.in_flight() < most, "{number} has no room for that");
            let served = swarm.neighbours(now).filter(|other| other.served_by_us).count();
            prop_assert!(served <= MAX_SERVED, "{number} serves {served}");
            for event in &node.events {
                let Event::Dropped { peer, violation } = event else { continue };
                let is_liar = self.liars.iter().any(|liar| id_of(*liar) == *peer);
                prop_assert!(is_liar, "{number} dropped {peer:?}, which {violation}");
            }
            check_repeats(number, swarm)?;
        }
        Ok(())
    }
}

/// No more than a segment is asked for twice at a time.
fn check_repeats(number: usize, swarm: &Swarm) -> Result<(), TestCaseError> {
    let is_repeated = |state: &&BlockState| **state == BlockState::Repeated;
    let repeats = swarm.block_states().iter().filter(is_repeated).count();
    prop_assert!(repeats <= 1, "{number} repeats {repeats} requests");
    Ok(())
}

/// Runs to the end with incidents at some steps, and checks everyone after every step.
fn check(leechers: usize, cut: Cut, config: &Config, incidents: &[(u32, Incident)]) -> Result<(), TestCaseError> {
    let mut story = Story::new(leechers, cut, config);
    let mut stored_before = Vec::new();
    let mut steps = 0;
    let mut quiet_since = story.lab.elapsed();
    while !story.is_done() || incidents.iter().any(|(step, _)| *step > steps) {
        let is_over = !story.lab.step() || story.lab.elapsed() > quiet_since + LONG;
        if is_over {
            prop_assert!(story.is_done(), "not done: {}", story.lab.told());
            break;
        }
        steps += 1;
        for (_, incident) in incidents.iter().filter(|(step, _)| *step == steps) {
            quiet_since = story.lab.elapsed();
            story.happen(incident);
        }
        story.check(&mut stored_before)?;
    }
    Ok(())
}

/// Few cases, which take a second; `PROPTEST_CASES` asks for more.
fn some_cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let is_told = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if is_told { default.cases } else { 48 }, ..default }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn invariants_hold_after_every_step_and_everyone_honest_completes(
        leechers in 2usize..7,
        cut in cut(),
        preset in 0usize..10,
        max_neighbours in prop_oneof![2usize..9, Just(60)],
        incidents in prop::collection::vec((1u32..600, incident()), 0..6),
    ) {
        // One more than there are presets: the default.
        let config = Config::presets().into_iter().nth(preset).map_or_else(Config::default, |(_, config)| config);
        let config = cut.narrow(Config { max_neighbours, ..config });
        check(leechers, cut, &config, &incidents)?;
    }

    #[test]
    fn the_same_seed_gives_the_same_trace_whatever_happens(
        leechers in 2usize..6,
        cut in cut(),
        incidents in prop::collection::vec((0u32..300, incident()), 0..4),
    ) {
        let run = || {
            let mut story = Story::new(leechers, cut, &Config::default());
            story.lab.network.trace = Some(Vec::new());
            for step in 0..600 {
                incidents.iter().filter(|(when, _)| *when == step).for_each(|(_, incident)| story.happen(incident));
                story.lab.step();
            }
            story.lab.network.trace
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn a_seed_is_let_in_where_one_is_silent_and_one_claims_everything_and_some_is_refused() {
    let cut = Cut::small(36);
    let (_, config) = Config::presets().into_iter().nth(3).unwrap();
    let config = cut.narrow(Config { max_neighbours: 2, ..config });
    let incidents = [(140, Incident::ClaimerJoins), (1, Incident::TurnsSilent(1)), (126, Incident::RelayRefuses(97))];
    check(2, cut, &config, &incidents).unwrap();
}

#[test]
fn what_is_asked_for_stays_within_bounds_where_disks_are_slow() {
    let cut = Cut::small(55);
    let (_, config) = Config::presets().into_iter().next().unwrap();
    let config = cut.narrow(Config { max_neighbours: 6, ..config });
    check(6, cut, &config, &[(197, Incident::DiskSlows(1)), (126, Incident::DiskSlows(0))]).unwrap();
}
