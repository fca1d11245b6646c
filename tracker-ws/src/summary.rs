//! A line a minute in the log: what there is, and what happened since the last line.

use crate::{hub::Hub, refusals::Reason, status::Status};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::info;

/// From one line to the next.
const INTERVAL: Duration = Duration::from_secs(60);

/// Logs a line a minute, but none while nothing changes; never returns.
pub(crate) async fn log_every_minute(hub: Arc<Hub>) {
    let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = hub.status();
    loop {
        ticks.tick().await;
        let status = hub.status();
        if let Some(happened) = Happened::between(&last, &status) {
            info!(
                connections = status.connections,
                peers = status.census.peers,
                rooms = status.census.rooms,
                files = status.census.files,
                waiting_bytes = status.waiting_bytes,
                relayed_messages = happened.messages,
                relayed_bytes = happened.bytes,
                bytes_per_second = happened.bytes / INTERVAL.as_secs(),
                stun_answers = happened.stun_answers,
                stun_dropped = happened.stun_dropped,
                refused = %happened,
                "the last minute"
            );
        }
        last = status;
    }
}

/// What is new since an earlier status.
#[derive(Debug, PartialEq, Eq)]
struct Happened {
    messages: u64,
    bytes: u64,
    stun_answers: u64,
    stun_dropped: u64,
    /// By reason; no count is 0.
    refused: BTreeMap<Reason, u64>,
}

impl Happened {
    /// `None` if nothing is as before and nothing happened.
    fn between(last: &Status, status: &Status) -> Option<Self> {
        let new = |(reason, count): (&Reason, &u64)| {
            let new = count - last.refused.get(reason).copied().unwrap_or_default();
            (new > 0).then_some((*reason, new))
        };
        let happened = Self {
            messages: status.relayed_messages - last.relayed_messages,
            bytes: status.relayed_bytes - last.relayed_bytes,
            stun_answers: status.stun_answers - last.stun_answers,
            stun_dropped: status.stun_dropped - last.stun_dropped,
            refused: status.refused.iter().filter_map(new).collect(),
        };
        let is_same = (last.connections, last.census, last.waiting_bytes)
            == (status.connections, status.census, status.waiting_bytes);
        // Whoever has a direct line asks every ten seconds, which alone is no news.
        let is_news = happened.messages > 0 || happened.stun_dropped > 0 || !happened.refused.is_empty();
        (!is_same || is_news).then_some(happened)
    }
}

/// What was refused, such as `busy=3 origin=1`.
impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refused.is_empty() {
            return f.write_str("nothing");
        }
        for (index, (reason, count)) in self.refused.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{reason}={count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, refusals::Http};
    use protocol::ErrorCode;

    #[test]
    fn only_what_is_new_is_told_and_nothing_if_nothing_is() {
        let hub = Hub::new(Config::default(), [0; 32], 0);
        hub.count(Reason::Message(ErrorCode::Busy));
        let first = hub.status();
        assert_eq!(Happened::between(&first, &hub.status()), None);

        for reason in [Reason::Http(Http::Origin), Reason::Message(ErrorCode::Busy), Reason::Message(ErrorCode::Busy)] {
            hub.count(reason);
        }
        let second = Status { relayed_messages: 7, relayed_bytes: 500, ..hub.status() };
        let happened = Happened::between(&first, &second).unwrap();
        assert_eq!((happened.messages, happened.bytes), (7, 500));
        assert_eq!(happened.to_string(), "busy=2 origin=1");

        let asked = Status { stun_answers: 9, ..hub.status() };
        assert_eq!(Happened::between(&hub.status(), &asked), None);
        let flooded = Status { stun_dropped: 5, ..asked };
        let happened = Happened::between(&hub.status(), &flooded).unwrap();
        assert_eq!((happened.stun_answers, happened.stun_dropped), (9, 5));

        let more = Status { connections: 1, ..hub.status() };
        assert_eq!(Happened::between(&hub.status(), &more).unwrap().to_string(), "nothing");
    }
}
