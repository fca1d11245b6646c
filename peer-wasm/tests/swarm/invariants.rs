//! What holds after every step, whatever happens.

use crate::{
    BLOCK,
    lab::{Lab, swarm_of},
};
use peer_wasm::swarm::{BlockState, Config};
use proptest::prelude::*;
use simulator::{Behaviour, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The most places that a peer has: 4 + 1, and those given while its line is idle.
const MAX_SERVED: usize = 4 + 1 + 16;

/// What happens at one step of a run.
#[derive(Debug, Clone)]
enum Incident {
    Leaves(usize),
    LineBreaks(usize),
    Joins,
    TurnsSilent(usize),
    TurnsCorrupting(usize),
}

fn incident() -> impl Strategy<Value = Incident> {
    // Number 0 is the seed: one copy of each block remains.
    prop_oneof![
        (1..6usize).prop_map(Incident::Leaves),
        (0..6usize).prop_map(Incident::LineBreaks),
        Just(Incident::Joins),
        (1..6usize).prop_map(Incident::TurnsSilent),
        (1..6usize).prop_map(Incident::TurnsCorrupting),
    ]
}

fn happen(lab: &mut Lab, incident: &Incident) {
    match *incident {
        Incident::Leaves(number) => _ = lab.network.remove(number, Duration::ZERO),
        Incident::Joins => _ = lab.leecher(),
        Incident::TurnsSilent(number) => turn(lab, number, Behaviour::Silent),
        Incident::TurnsCorrupting(number) => turn(lab, number, Behaviour::Corrupting),
        Incident::LineBreaks(number) => {
            lab.network.with(number, |swarm, now| swarm.handle_line_lost(now));
            let others: Vec<_> = lab.network.nodes().map(|(other, _)| other).filter(|&other| other != number).collect();
            for other in others {
                lab.network.with(other, |swarm, now| swarm.handle_peer_left(id_of(number), now));
                if lab.network.node(number).is_some() {
                    lab.network.introduce(number, other);
                }
            }
        }
    }
}

fn turn(lab: &mut Lab, number: usize, behaviour: Behaviour) {
    if let Some(node) = lab.network.node_mut(number) {
        node.behaviour = behaviour;
    }
}

/// Runs to the end with incidents at some steps, and checks everyone after every step.
fn check(leechers: usize, blocks: u32, config: &Config, incidents: &[(u32, Incident)]) -> Result<(), TestCaseError> {
    let mut lab = swarm_of(leechers, blocks, config);
    let mut stored_before = vec![0; leechers + 1 + incidents.len()];
    let mut steps = 0;
    while !lab.network.all_complete() {
        prop_assert!(lab.network.step(), "stalled at {:?}", lab.elapsed());
        prop_assert!(lab.elapsed() < Duration::from_secs(600), "not done at {:?}", lab.elapsed());
        steps += 1;
        for (_, incident) in incidents.iter().filter(|(step, _)| *step == steps) {
            happen(&mut lab, incident);
        }
        for (number, node) in lab.network.nodes() {
            node.swarm.audit();
            let stored = node.swarm.stored().count();
            prop_assert!(stored >= stored_before[number], "{number} lost verified blocks");
            stored_before[number] = stored;
            let times = node.swarm.block_states().iter().map(|state| match state {
                BlockState::Requested(times) => u64::from(*times),
                BlockState::Missing | BlockState::Storing | BlockState::Stored => 0,
            });
            let in_flight = times.sum::<u64>() * u64::from(BLOCK);
            prop_assert!(in_flight < config.max_in_flight + u64::from(config.max_run), "{number} asked for too much");
            let served = node.swarm.neighbours(lab.network.now()).filter(|other| other.served_by_us).count();
            prop_assert!(served <= MAX_SERVED, "{number} serves {served}");
            // A block is asked for twice only when nothing is left to ask for once.
            let twice = |state: &BlockState| matches!(state, BlockState::Requested(times) if *times > 1);
            let missing = |state: &BlockState| *state == BlockState::Missing;
            let states = node.swarm.block_states();
            let repeats = states.iter().filter(|state| twice(state)).count() as u64;
            let budget = (node.swarm.manifest().geometry().size() / 200).div_ceil(u64::from(BLOCK)).max(1);
            prop_assert!(repeats <= budget, "{number} repeats {repeats} requests");
            prop_assert!(repeats == 0 || steps == 0 || !states.iter().all(missing));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_every_step(
        leechers in 2usize..7,
        blocks in 1u32..60,
        preset in 0usize..10,
        incidents in prop::collection::vec((0u32..600, incident()), 0..5),
    ) {
        // One more than there are presets: the default.
        let config = Config::presets().into_iter().nth(preset).map_or_else(Config::default, |(_, config)| config);
        let config = Config { max_in_flight: 40_000, ..config };
        check(leechers, blocks, &config, &incidents)?;
    }

    #[test]
    fn the_same_seed_gives_the_same_trace_whatever_happens(
        leechers in 2usize..6,
        blocks in 1u32..40,
        incidents in prop::collection::vec((0u32..300, incident()), 0..4),
    ) {
        let run = || {
            let mut lab = swarm_of(leechers, blocks, &Config::default());
            lab.network.trace = Some(Vec::new());
            for step in 0..600 {
                incidents.iter().filter(|(when, _)| *when == step).for_each(|(_, incident)| happen(&mut lab, incident));
                lab.network.step();
            }
            lab.network.trace
        };
        prop_assert_eq!(run(), run());
    }
}
