//! What was refused, counted by reason, and how much of it is worth a line in the log.

use protocol::{ErrorCode, close};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// The shortest time between two lines about one reason. Whoever is refused may try again as fast as the line allows.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Why something was refused. Its name, as in the log and in the figures, does not change. There are a few dozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(crate) enum Reason {
    /// A message was answered with an error.
    Message(ErrorCode),
    /// A WebSocket was closed.
    Closed(Closed),
    /// A connection or a request did not get as far as a WebSocket.
    Http(Http),
}

/// Why the tracker closed a WebSocket against the will of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Closed {
    TooBig,
    RegisterTimeout,
    Replaced,
    Silent,
    TrackerFull,
    TooManyErrors,
    SlowReceiver,
    AddressFull,
    WrongToken,
    Removed,
}

/// Why a connection or a request got no further than HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Http {
    /// No request for a WebSocket as RFC 6455 wants it.
    Handshake,
    /// A page of another origin.
    Origin,
    /// No token, or a wrong one.
    Token,
    /// The address speaks HTTP on as many connections as it may.
    #[serde(rename = "http_address_full")]
    AddressFull,
    HeadTooLong,
    HeadTooSlow,
    /// Something to be removed where nobody may.
    NoAdminToken,
    /// A name or an id that is none.
    BadRequest,
    /// A room or a peer that is not there.
    NotFound,
    /// No TLS, or none that both sides understand, or too slowly.
    TlsHandshake,
    /// The system could not accept a connection.
    AcceptFailed,
}

impl Reason {
    /// The reason of a close code; `None` for one that is no refusal, such as those of clients.
    pub(crate) const fn of_close(code: u16) -> Option<Self> {
        Some(Self::Closed(match code {
            close::TOO_BIG => Closed::TooBig,
            close::REGISTER_TIMEOUT => Closed::RegisterTimeout,
            close::REPLACED => Closed::Replaced,
            close::SILENT => Closed::Silent,
            close::TRACKER_FULL => Closed::TrackerFull,
            close::TOO_MANY_ERRORS => Closed::TooManyErrors,
            close::SLOW_RECEIVER => Closed::SlowReceiver,
            close::ADDRESS_FULL => Closed::AddressFull,
            close::WRONG_TOKEN => Closed::WrongToken,
            close::REMOVED => Closed::Removed,
            _ => return None,
        }))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How often each reason was met. Time is since the tracker's start.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: BTreeMap<Reason, Count>,
}

#[derive(Debug, Default)]
struct Count {
    total: u64,
    logged: Option<Duration>,
    /// Those since the one that was logged last.
    suppressed: u64,
}

impl Refusals {
    /// Counts a refusal. If it is to be logged, gives how many of its reason were not since the last one that was.
    pub(crate) fn count(&mut self, reason: Reason, now: Duration) -> Option<u64> {
        let count = self.counts.entry(reason).or_default();
        count.total += 1;
        if count.logged.is_some_and(|logged| now < logged + LOG_INTERVAL) {
            count.suppressed += 1;
            return None;
        }
        count.logged = Some(now);
        Some(std::mem::take(&mut count.suppressed))
    }

    /// How many there were of each reason that was met.
    pub(crate) fn totals(&self) -> BTreeMap<Reason, u64> {
        self.counts.iter().map(|(reason, count)| (*reason, count.total)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Reason = Reason::Message(ErrorCode::Busy);
    const ORIGIN: Reason = Reason::Http(Http::Origin);

    #[test]
    fn one_a_second_of_each_reason_is_logged_and_tells_of_the_others() {
        let mut refusals = Refusals::default();
        let mut count = |reason, ms| refusals.count(reason, Duration::from_millis(ms));
        assert_eq!(count(BUSY, 0), Some(0));
        assert_eq!(count(BUSY, 0), None);
        assert_eq!(count(ORIGIN, 1), Some(0));
        assert_eq!(count(BUSY, 999), None);
        assert_eq!(count(BUSY, 1_000), Some(2));
        assert_eq!(count(BUSY, 1_999), None);
        assert_eq!(count(BUSY, 60_000), Some(1));
        assert_eq!(refusals.totals(), BTreeMap::from([(BUSY, 6), (ORIGIN, 1)]));
    }

    #[test]
    fn a_reason_has_one_name_in_the_log_and_in_the_figures() {
        let replaced = Reason::of_close(close::REPLACED).unwrap();
        let mut refusals = Refusals::default();
        for reason in [BUSY, replaced, ORIGIN] {
            refusals.count(reason, Duration::ZERO);
        }
        let names: Vec<_> = refusals.totals().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["busy", "replaced", "origin"]);
        let json = serde_json::to_string(&refusals.totals()).unwrap();
        assert_eq!(json, r#"{"busy":1,"replaced":1,"origin":1}"#);
    }

    #[test]
    fn a_client_cannot_make_up_reasons() {
        assert!((0..=u16::MAX).filter_map(Reason::of_close).count() < 20);
        assert_eq!(Reason::of_close(close::GOING_AWAY), None);
    }
}
