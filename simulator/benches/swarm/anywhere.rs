//! The scenarios drawn by number, and the figures made of all of them.

use crate::{measure::percentile, pool, run::Run};
use serde_json::{Value, json};
use simulator::experiment::{Breaks, Scenario};
use std::{ops::Range, time::Duration};

/// How many scenarios there are in the list of the worst.
const WORST: usize = 10;
/// Times of a miniature that would be as long as the whole scenario takes.
const SHORT: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What came of the scenario with a number.
#[derive(Debug)]
pub(crate) struct Tried {
    number: u64,
    what: String,
    is_complete: bool,
    /// The last completion over the ideal time; if somebody was not complete when the run was given up, that moment.
    over_ideal: f64,
    /// The same, over the ideal time if each step is asked for.
    over_ideal_if_asked: f64,
    overhead: f64,
    duplicates: f64,
    repeated: f64,
}

/// Runs the scenarios with these numbers, each once, on all cores.
pub(crate) fn try_all(numbers: Range<u64>, is_miniature: bool) -> Vec<Tried> {
    let numbers: Vec<_> = numbers.collect();
    pool::in_parallel(&numbers, pool::cores(), |number| {
        let tried = Tried::of(number, is_miniature);
        eprintln!("anywhere {}", tried.told());
        tried
    })
}

/// The figures in the order of their rows: the share that completes; the time over the ideal one, half and nine of ten
/// below it, and the worst; half and nine of ten if each step is asked for; the overhead, half and nine of ten below it; the duplicates and what came twice, nine of ten below it.
pub(crate) fn figures(tried: &[Tried]) -> Vec<f64> {
    let of = |what: fn(&Tried) -> f64, share: f64| percentile(&tried.iter().map(what).collect::<Vec<_>>(), share);
    let complete = tried.iter().filter(|tried| tried.is_complete).count();
    vec![
        complete as f64 / tried.len() as f64,
        of(|tried| tried.over_ideal, 0.5),
        of(|tried| tried.over_ideal, 0.9),
        of(|tried| tried.over_ideal, 1.0),
        of(|tried| tried.over_ideal_if_asked, 0.5),
        of(|tried| tried.over_ideal_if_asked, 0.9),
        of(|tried| tried.overhead, 0.5),
        of(|tried| tried.overhead, 0.9),
        of(|tried| tried.duplicates, 0.9),
        of(|tried| tried.repeated, 0.9),
    ]
}

/// The scenarios that took longest over their ideal time, the worst first, in words and for programs.
pub(crate) fn worst(mut tried: Vec<Tried>) -> (String, Value) {
    tried.sort_by(|one, other| other.over_ideal.total_cmp(&one.over_ideal));
    tried.truncate(WORST);
    let words = tried.iter().map(|tried| format!("{:>6}\n        {}\n", tried.told(), tried.what));
    let values = tried.iter().map(|tried| {
        json!({
            "number": tried.number,
            "is_complete": tried.is_complete,
            "over_ideal": tried.over_ideal,
            "overhead": tried.overhead,
            "duplicates": tried.duplicates,
            "repeated": tried.repeated,
            "what": tried.what,
        })
    });
    (words.collect(), values.collect())
}

impl Tried {
    fn told(&self) -> String {
        let Self { number, is_complete, over_ideal, overhead, duplicates, repeated, .. } = self;
        let given_up = if *is_complete { "" } else { ", given up" };
        let [overhead, duplicates, repeated] = [overhead, duplicates, repeated].map(|part| part * 100.0);
        format!(
            "{number}: {over_ideal:.3} times the ideal{given_up}; {overhead:.1} % overhead, {duplicates:.1} % duplicates, \
             {repeated:.1} % twice"
        )
    }

    fn of(number: u64, is_miniature: bool) -> Self {
        let run = Run { seed: number, is_miniature };
        let mut scenario = run.fitted(Scenario::anywhere(number));
        if is_miniature {
            hurry(&mut scenario);
        }
        let outcome = run.outcome(&scenario);
        let last = outcome.last().filter(|_| !outcome.gave_up);
        let took = last.unwrap_or_else(|| outcome.ended.since_start());
        Self {
            number,
            what: scenario.described(),
            is_complete: last.is_some(),
            over_ideal: took.div_duration_f64(outcome.ideal(&scenario)),
            over_ideal_if_asked: took.div_duration_f64(outcome.ideal_if_asked(&scenario)),
            overhead: outcome.overhead(),
            duplicates: outcome.duplicates(),
            repeated: outcome.repeated(),
        }
    }
}

/// Makes what was to take as long as the large file small as the miniature is.
fn hurry(scenario: &mut Scenario) {
    scenario.joins_within = scenario.joins_within.min(SHORT);
    scenario.breaks = scenario.breaks.map(|breaks| Breaks { within: breaks.within.min(SHORT), ..breaks });
    scenario.sample_every = SAMPLE_EVERY;
    scenario.gives_up_after = None;
}
