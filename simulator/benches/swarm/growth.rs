//! How the core's work for one block grows with the number of blocks.

use crate::run::Run;
use anyhow::Result;
use peer_wasm::swarm::{BlockStrategy, Pick, Picker};
use protocol::Bitfield;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const FEW_BLOCKS: u32 = 10_000;
const MANY_BLOCKS: u32 = 1_000_000;
const PEERS: u32 = 1_000;
/// Each peer has one block of so many.
const SHARE: u32 = 50;
/// Neighbours that are asked in turn, each with a random half of the blocks.
const ASKED: usize = 16;
const ROUNDS: u32 = 400_000;
/// In miniature all of it is divided by this.
const MINIATURE: u32 = 100;

/// The time for a `have` and for a pick with many blocks, over that with few.
pub(crate) fn measure(run: Run) -> Result<Vec<f64>> {
    let part = if run.is_miniature { MINIATURE } else { 1 };
    let [few, many] = [FEW_BLOCKS, MANY_BLOCKS].map(|blocks| times(blocks / part, ROUNDS / part, run.seed));
    Ok(vec![many.0.div_duration_f64(few.0), many.1.div_duration_f64(few.1)])
}

/// For all rounds together: a `have`, and a pick.
fn times(blocks: u32, rounds: u32, seed: u64) -> (Duration, Duration) {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut picker = Picker::new(BlockStrategy::RarestFirst, &Bitfield::full(blocks));
    for _ in 0..PEERS * (blocks / SHARE) {
        picker.gained(rng.random_range(0..blocks));
    }
    let announced: Vec<_> = (0..rounds).map(|_| rng.random_range(0..blocks)).collect();
    let have = timed(|| announced.iter().for_each(|&index| picker.gained(index)));
    let half = |rng: &mut Xoshiro256PlusPlus| {
        let bytes: Vec<u8> = (0..blocks.div_ceil(8)).map(|_| rng.random()).collect();
        Bitfield::from_bytes(&bytes, blocks).unwrap_or_else(|_| Bitfield::full(blocks))
    };
    let neighbours: Vec<_> = (0..ASKED).map(|_| half(rng)).collect();
    let pick = Pick { following: None, most: 1, stretch: 1, any: false };
    let picking = timed(|| {
        for neighbour in neighbours.iter().cycle().take(rounds as usize) {
            black_box(picker.pick(neighbour, pick, rng));
        }
    });
    (have, picking)
}

#[allow(clippy::disallowed_methods, reason = "it is time that is measured")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
