//! What a person is told while they wait: in a bar, or in lines where there is no terminal to draw one on.

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use peer_native::{Connection, Problem, State, WaitsFor, explain};
use std::{
    fmt,
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long something is waited for before a line says so; most of it passes sooner.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// What a bar shows, without and with an amount.
const WAITING: &str = "{spinner} {msg}";
const COUNTING: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";

/// Tells how the work of a peer goes, on the standard error.
pub(crate) struct Progress {
    state: watch::Receiver<State>,
    bar: ProgressBar,
    lines: Lines,
}

/// What there is to tell.
#[derive(Debug)]
pub(crate) struct Moment {
    /// What is being done.
    pub(crate) doing: String,
    /// The bytes that are here and all of them, where they are counted.
    pub(crate) amount: Option<(u64, u64)>,
    /// What is waited for.
    pub(crate) wait: Option<Wait>,
}

/// Something that is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) reason: Reason,
    /// What it is, why, and what to do.
    pub(crate) words: String,
}

/// By what two waits are told from each other; their words may count seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    Tracker(Option<Problem>),
    /// Somebody who shares a file of the name that is looked for.
    Name,
    File(WaitsFor),
}

impl Progress {
    pub(crate) fn new(state: watch::Receiver<State>) -> Self {
        let bar = ProgressBar::no_length().with_style(style(WAITING)).with_finish(ProgressFinish::AndClear);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { state, bar, lines: Lines::default() }
    }

    /// Does something and tells each moment of it.
    ///
    /// # Errors
    /// Those of what is done and of `moment`; and if the tracker does not want this peer.
    pub(crate) async fn during<T, E: Into<anyhow::Error>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
        moment: impl Fn(&State) -> anyhow::Result<Moment>,
    ) -> anyhow::Result<T> {
        let mut work = pin!(work);
        loop {
            let moment = {
                let state = self.state.borrow_and_update();
                if let Some(Connection::Ended { problem }) = &state.connection {
                    bail!("{}", explain(problem));
                }
                moment(&state)?
            };
            let look_again = self.show(&moment);
            tokio::select! {
                result = &mut work => return result.map_err(Into::into),
                changed = self.state.changed() => changed.context("the peer has stopped")?,
                () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() => {}
            }
        }
    }

    /// Prints a line on the standard output; unlike `println!`, fails if nobody reads it.
    pub(crate) fn print(&self, line: fmt::Arguments<'_>) -> anyhow::Result<()> {
        self.bar.suspend(|| writeln!(io::stdout(), "{line}")).context("cannot write to the standard output")
    }

    /// Writes a line beside the result.
    pub(crate) fn note(&self, line: &str) {
        // Whoever waits for the result does not need it.
        _ = self.bar.suspend(|| writeln!(io::stderr(), "{line}"));
    }

    /// Tells a moment; gives when to look at it again though nothing changed.
    fn show(&mut self, moment: &Moment) -> Option<Instant> {
        if self.bar.is_hidden() {
            if let Some(line) = self.lines.see(moment, Instant::now()) {
                // Whoever waits for the file does not need it.
                _ = writeln!(io::stderr(), "{line}");
            }
            return self.lines.look_again();
        }
        let (template, words) = match (&moment.wait, moment.amount) {
            (Some(wait), _) => (WAITING, &wait.words),
            (None, None) => (WAITING, &moment.doing),
            (None, Some(_)) => (COUNTING, &moment.doing),
        };
        if let Some((here, all)) = moment.amount {
            self.bar.set_length(all);
            self.bar.set_position(here);
        }
        self.bar.set_style(style(template));
        self.bar.set_message(words.clone());
        None
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written above")
}

/// Which lines to write: one when there was something to wait for all the time, one for each other reason that stands
/// as long, and one when it goes on.
#[derive(Debug, Default)]
struct Lines {
    /// What is waited for, and since when; before the first line, since when there was anything.
    wait: Option<(Reason, Instant)>,
    said: Option<Reason>,
}

impl Lines {
    /// Takes a moment and gives the line for it, if it is worth one.
    fn see(&mut self, moment: &Moment, now: Instant) -> Option<String> {
        let Some(Wait { reason, words }) = &moment.wait else {
            self.wait = None;
            return self.said.take().map(|_| format!("going on: {}", moment.doing));
        };
        let since = match &self.wait {
            // Reasons take turns: what is rejected is asked for again, for a moment.
            Some((before, since)) if before == reason || self.said.is_none() => *since,
            _ => now,
        };
        self.wait = Some((reason.clone(), since));
        if self.said.as_ref() == Some(reason) || now < since + WORTH_A_LINE {
            return None;
        }
        self.said = Some(reason.clone());
        Some(words.clone())
    }

    /// When a line is due if what is waited for stays the same.
    fn look_again(&self) -> Option<Instant> {
        let (reason, since) = self.wait.as_ref()?;
        (self.said.as_ref() != Some(reason)).then(|| *since + WORTH_A_LINE)
    }
}

/// What a peer without a connection waits for.
pub(crate) fn tracker(state: &State) -> Option<Wait> {
    let next_try = match &state.connection {
        Some(Connection::Online { .. }) => return None,
        Some(Connection::Waiting { retry_ms, .. }) => format!(" (next try in {:.1} s)", f64::from(*retry_ms) / 1e3),
        Some(Connection::Connecting | Connection::Ended { .. }) | None => String::new(),
    };
    let words = match (&state.problem, &state.trouble) {
        (Some(problem), _) => explain(problem),
        (None, Some(trouble)) => {
            format!("the tracker cannot be reached ({trouble})")
        }
        (None, None) => "the tracker does not answer yet; is --tracker its address?".to_owned(),
    };
    Some(Wait { reason: Reason::Tracker(state.problem.clone()), words: words + &next_try })
}

impl Wait {
    /// What a transfer waits for.
    pub(crate) fn for_file(reason: WaitsFor) -> Self {
        let words = match reason {
            WaitsFor::Tracker => "the tracker has to answer first",
            WaitsFor::Source => "nobody in the room has what is missing of this file; it goes on when somebody does",
            WaitsFor::Manifest => "those who have the file have not told yet what it consists of; they are asked again",
            WaitsFor::HeldBack => "those who have the file serve others first; it goes on when it is this peer's turn",
            WaitsFor::Rejected => "those who have the file refused to send it; they are asked again after a while",
            WaitsFor::Answer => "those who have the file do not answer; others are asked as soon as there are some",
            WaitsFor::Storage => "the disk is slow to take what has come; it goes on as the disk does",
        };
        Self { reason: Reason::File(reason), words: words.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wait: Option<Reason>) -> Moment {
        let wait = wait.map(|reason| Wait { words: format!("{reason:?}"), reason });
        Moment { doing: "a.txt from 1 peer".to_owned(), amount: None, wait }
    }

    #[test]
    fn a_line_is_written_for_each_reason_that_stands_and_when_it_goes_on() {
        let start = Instant::now();
        let mut lines = Lines::default();
        let mut see = |millis, wait: Option<WaitsFor>| {
            let line = lines.see(&moment(wait.map(Reason::File)), start + Duration::from_millis(millis));
            (line, lines.look_again().map(|due| due.duration_since(start).as_millis()))
        };
        let [source, answer] = [WaitsFor::Source, WaitsFor::Answer];
        assert_eq!(see(0, None), (None, None));
        assert_eq!(see(100, Some(source)), (None, Some(2_100)));
        assert_eq!(see(1_000, Some(answer)), (None, Some(2_100)), "there was something all the time");
        assert_eq!(see(2_099, Some(answer)), (None, Some(2_100)));
        assert_eq!(see(2_100, Some(answer)), (Some("File(Answer)".to_owned()), None));
        assert_eq!(see(60_000, Some(answer)), (None, None), "it was said");
        assert_eq!(see(61_000, Some(source)), (None, Some(63_000)));
        assert_eq!(see(62_000, Some(answer)), (None, None), "it is what was said");
        assert_eq!(see(63_000, None), (Some("going on: a.txt from 1 peer".to_owned()), None));
        assert_eq!(see(64_000, None), (None, None));
        assert_eq!(see(64_100, Some(source)), (None, Some(66_100)));
        assert_eq!(see(64_200, None), (None, None), "what passes is not worth a line");
        assert_eq!(see(65_000, Some(answer)), (None, Some(67_000)));
        assert_eq!(see(67_000, Some(answer)), (Some("File(Answer)".to_owned()), None), "it waits anew");
    }

    #[test]
    fn what_is_known_of_the_tracker_is_told() {
        let waiting = |problem| Connection::Waiting { retry_ms: 1_500, problem };
        let mut state = State::default();
        let words = |state: &State| tracker(state).unwrap().words;
        assert!(words(&state).contains("does not answer yet"));
        state.trouble = Some("connection refused".to_owned());
        state.connection = Some(waiting(None));
        assert!(words(&state).contains("(connection refused)") && words(&state).contains("next try in 1.5 s"));
        state.problem = Some(Problem::TrackerFull);
        assert!(words(&state).contains("all the connections"));
        assert_ne!(tracker(&state).unwrap().reason, Reason::Tracker(None), "that is worth another line");
    }
}
