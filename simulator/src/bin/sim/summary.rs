//! How it went, in words and numbers.

use peer_wasm::Instant;
use simulator::{
    experiment::{Fetcher, Outcome, Role, Scenario},
    units::shown_time,
};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// How the run went, in a few lines.
pub(crate) fn of(scenario: &Scenario, outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = write_summary(&mut text, scenario, outcome);
    text
}

/// The time that no protocol can beat, and what it is called: that of what was there and needed, if not everyone
/// served and stayed.
pub(crate) fn bound(scenario: &Scenario, outcome: &Outcome) -> (Duration, &'static str) {
    let is_plain = |fetcher: &Fetcher| fetcher.role == Role::Contributor && fetcher.left.is_none();
    let all_serve_and_stay = outcome.seeds_left.is_none() && outcome.fetchers.iter().all(is_plain);
    match outcome.capacity_bound(scenario) {
        bound if !all_serve_and_stay && bound < Duration::MAX => (bound, "the fluid bound with those that were there"),
        _ => (scenario.fluid_bound(), "the fluid bound"),
    }
}

fn write_summary(text: &mut String, scenario: &Scenario, outcome: &Outcome) -> fmt::Result {
    write_completions(text, scenario, outcome)?;
    write_givers(text, scenario, outcome)?;
    let parts = [outcome.overhead(), outcome.duplicates(), outcome.repeated()];
    let [overhead, duplicates, repeated] = parts.map(|part| part * 100.0);
    if overhead.is_finite() {
        writeln!(
            text,
            "For 100 bytes of the file, {overhead:.2} more went over the lines; {duplicates:.2} of these were blocks that \
             were not needed or were lost, {repeated:.2} what came twice."
        )?;
    }
    Ok(())
}

fn write_completions(text: &mut String, scenario: &Scenario, outcome: &Outcome) -> fmt::Result {
    let times = outcome.completions();
    let awaited = outcome.survivors().count();
    if let (Some(first), Some(last)) = (times.first(), times.last()) {
        let [first, half] = [*first, times[(times.len() - 1) / 2]].map(|time| shown_time(time.since_start()));
        writeln!(text, "The first peer was complete after {first}, half of them after {half}.")?;
        let last = last.since_start();
        if times.len() == awaited {
            let (bound, name) = bound(scenario, outcome);
            let over = last.div_duration_f64(bound);
            let (last_shown, bound) = (shown_time(last), shown_time(bound));
            writeln!(
                text,
                "The last was complete after {last_shown}. No protocol can do it in less than {bound} ({name}): {over:.2} \
                 times that."
            )?;
            let ideal = outcome.ideal(scenario);
            let over = last.div_duration_f64(ideal);
            writeln!(
                text,
                "With the steps of whole blocks, {} would be ideal: {over:.3} times that.",
                shown_time(ideal)
            )?;
        }
    }
    if outcome.gave_up {
        let missing = awaited - times.len();
        let when = shown_time(outcome.ended.since_start());
        writeln!(text, "After {when} it was given up: {missing} of {awaited} peers are not complete.")?;
    }
    Ok(())
}

fn write_givers(text: &mut String, scenario: &Scenario, outcome: &Outcome) -> fmt::Result {
    let size = scenario.size as f64;
    let sent = outcome.seeds.iter().map(|seed| seed.sent).sum::<u64>() as f64 / size;
    match outcome.first_copy {
        Some(copy) => writeln!(
            text,
            "Every block had been fetched by somebody after {}, when the seed had sent {:.2} times the file; it sent \
             {sent:.1} in all.",
            shown_time(copy.at.since_start()),
            copy.sent as f64 / size
        )?,
        None => writeln!(text, "Some blocks were never fetched by anyone; the seed sent {sent:.2} times the file.")?,
    }
    let useful: u64 = outcome.fetchers.iter().map(|fetcher| fetcher.record.useful).sum();
    if useful > 0 {
        let by_seed = outcome.seeds.iter().map(|seed| seed.delivered).sum::<u64>() as f64 / useful as f64 * 100.0;
        writeln!(text, "Of all that was fetched, {by_seed:.1} % came from the seed, the rest from peers.")?;
    }
    for (role, who) in [(Role::FreeRider, "free riders"), (Role::Liar, "liars")] {
        let parts: Vec<_> = outcome
            .fetchers
            .iter()
            .filter(|fetcher| fetcher.role == role)
            .map(|fetcher| fetcher.record.useful as f64 / size * 100.0)
            .collect();
        if !parts.is_empty() {
            let mean = parts.iter().sum::<f64>() / parts.len() as f64;
            let when = shown_time(outcome.ended.since(Instant::default()));
            writeln!(text, "The {} {who} had {mean:.0} % of the file at the end, after {when}.", parts.len())?;
        }
    }
    Ok(())
}
