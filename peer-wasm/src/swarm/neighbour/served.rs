//! What a neighbour is served.

use super::super::rate::Rate;
use crate::Instant;
use protocol::Span;
use std::collections::VecDeque;

/// The most requests of a neighbour that wait to be served, and the most that are rejected in a second; one that asks
/// for more floods.
pub(in crate::swarm) const MAX_QUEUED: usize = 1_024;

/// The most rounds for which a neighbour that says again that it wants something has to be idle to be believed.
const MAX_DOUBT: u32 = 16;

/// What a neighbour is served.
#[derive(Debug)]
pub(in crate::swarm) struct Served {
    /// Its requests that wait to be served.
    pub(in crate::swarm) queue: VecDeque<Span>,
    /// What of its requests was served last.
    pub(in crate::swarm) last: Option<Span>,
    rejections: Rejections,
    /// It asked for something or was sent something in this choke round.
    used_this_round: bool,
    /// It was served already when this choke round began.
    since_round: bool,
    /// For how many rounds it has been served and did not use that.
    idle_rounds: u32,
    /// For how many rounds it has to be idle so that it is believed once more that it did not know of its place.
    doubt: u32,
    /// It said that it wants something, and was not believed yet.
    wishes: bool,
    pub(in crate::swarm) rate: Rate,
    /// Bytes sent since it joined.
    total: u64,
    /// What it had got when it got its place.
    before_place: u64,
    /// What all had got then.
    all_before_place: u64,
    /// What others had got when it joined: it takes its turn among them as if it had got as much.
    head_start: u64,
}

/// The second in which a peer's requests were last rejected, and how many.
#[derive(Debug)]
pub(in crate::swarm) struct Rejections(u64, usize);

impl Rejections {
    pub(in crate::swarm) const NONE: Self = Self(0, 0);

    /// Notes one more; tells whether that is still bearable.
    pub(in crate::swarm) const fn one_more(&mut self, now: Instant) -> bool {
        let second = now.since_start().as_secs();
        if self.0 != second {
            *self = Self(second, 0);
        }
        self.1 += 1;
        self.1 <= MAX_QUEUED
    }
}

impl Served {
    pub(in crate::swarm) const fn new(total: u64, head_start: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            last: None,
            rejections: Rejections::NONE,
            used_this_round: false,
            since_round: false,
            idle_rounds: 0,
            doubt: 0,
            wishes: false,
            rate: Rate::new(),
            total,
            before_place: total,
            all_before_place: 0,
            head_start,
        }
    }

    /// Bytes sent since it joined.
    pub(in crate::swarm) const fn total(&self) -> u64 {
        self.total
    }

    /// Notes that it is served from now on.
    pub(in crate::swarm) const fn get_place(&mut self, sent_to_all: u64) {
        self.before_place = self.total;
        self.all_before_place = sent_to_all;
    }

    /// Bytes sent to all since it is served, of so many.
    pub(in crate::swarm) const fn all_since_place(&self, sent_to_all: u64) -> u64 {
        sent_to_all.saturating_sub(self.all_before_place)
    }

    /// Bytes sent since it is served.
    pub(in crate::swarm) const fn since_place(&self) -> u64 {
        self.total.saturating_sub(self.before_place)
    }

    /// Bytes that decide whose turn it is.
    pub(in crate::swarm) const fn turn(&self) -> u64 {
        self.head_start + self.total
    }

    /// Whether it was served for a whole round and did not use that.
    pub(in crate::swarm) const fn is_idle(&self) -> bool {
        self.idle_rounds > 0
    }

    /// For how many rounds it has been served and did not use that.
    pub(in crate::swarm) const fn idle_rounds(&self) -> u32 {
        self.idle_rounds
    }

    /// Takes a request in.
    pub(in crate::swarm) fn enqueue(&mut self, span: Span) {
        self.queue.push_back(span);
        self.used_this_round = true;
        self.idle_rounds = 0;
        self.doubt = 0;
        self.wishes = false;
    }

    /// Leaves in the queue what it asked for of the block that it is being sent, or else of the first one; gives the rest.
    pub(in crate::swarm) fn end_with_block(&mut self, per_block: u32) -> VecDeque<Span> {
        let unfinished = self.last.map(Span::end).filter(|end| end % per_block != 0);
        let is_next = |start: u32| self.queue.iter().any(|span| span.index() == start);
        let first = unfinished.filter(|end| is_next(*end)).or_else(|| self.queue.front().map(|span| span.index()));
        let block = first.map(|first| first / per_block);
        let queue = std::mem::take(&mut self.queue);
        // It is sent once, though it may be asked for in a thousand different ways.
        let mut kept: Vec<Span> = Vec::new();
        let (of_it, rest) = queue.into_iter().partition(|span| {
            let is_kept = Some(span.index() / per_block) == block && !kept.iter().any(|other| other.overlaps(*span));
            kept.extend(is_kept.then_some(*span));
            is_kept
        });
        self.queue = of_it;
        rest
    }

    /// Notes that a request was rejected; tells whether that is still bearable.
    pub(in crate::swarm) fn may_be_rejected(&mut self, now: Instant) -> bool {
        self.rejections.one_more(now)
    }

    /// It says that it wants something. It may not have known of the place that it did not use, and cannot ask without
    /// one; but each time it is less likely.
    pub(in crate::swarm) fn wants_anew(&mut self) {
        self.wishes = true;
        self.believe_wish();
    }

    /// Takes it for one that uses its place again, once it was idle for as long as it is doubted.
    fn believe_wish(&mut self) {
        if self.wishes && self.idle_rounds >= self.doubt {
            self.wishes = false;
            self.idle_rounds = 0;
            self.since_round = false;
            self.doubt = (self.doubt * 2).clamp(1, MAX_DOUBT);
        }
    }

    /// Ends a choke round.
    pub(in crate::swarm) fn end_round(&mut self) {
        // Whoever holds a place for a whole round without using it makes room for others, until it asks again.
        let is_idle = (self.is_idle() || self.since_round) && !self.used_this_round && self.queue.is_empty();
        self.idle_rounds = if is_idle { self.idle_rounds + 1 } else { 0 };
        self.used_this_round = false;
        if self.is_idle() {
            self.believe_wish();
        }
    }

    /// Begins a choke round.
    pub(in crate::swarm) const fn begin_round(&mut self, is_served: bool) {
        self.since_round = is_served;
    }

    /// Notes what is sent.
    pub(in crate::swarm) fn sent(&mut self, bytes: u64, now: Instant) {
        self.rate.add(bytes, now);
        self.total += bytes;
        self.used_this_round = true;
    }

    /// Notes that what was sent did not arrive.
    pub(in crate::swarm) const fn take_back(&mut self, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, Geometry};
    use std::time::Duration;

    fn span() -> Span {
        Geometry::new(4_096, BlockSize::try_from(4_096).unwrap()).unwrap().span(0, 1).unwrap()
    }

    fn end_rounds(served: &mut Served, rounds: u32) {
        for _ in 0..rounds {
            served.begin_round(true);
            served.end_round();
        }
    }

    #[test]
    fn who_holds_a_place_for_a_whole_round_without_using_it_is_idle_until_it_asks() {
        let mut served = Served::new(0, 0);
        served.end_round();
        assert!(!served.is_idle(), "it had no place when the round began");
        end_rounds(&mut served, 1);
        assert!(served.is_idle());
        served.begin_round(false);
        served.end_round();
        assert_eq!(served.idle_rounds(), 2, "without a place it cannot ask");
        end_rounds(&mut served, 1);
        assert_eq!(served.idle_rounds(), 3);
        served.enqueue(span());
        assert!(!served.is_idle() && served.queue.len() == 1);
    }

    #[test]
    fn who_asked_or_was_sent_something_or_still_waits_is_not_idle() {
        let uses: [fn(&mut Served); 2] = [|served| served.enqueue(span()), |served| served.sent(1, Instant::default())];
        for use_place in uses {
            let mut served = Served::new(0, 0);
            served.begin_round(true);
            use_place(&mut served);
            served.end_round();
            assert!(!served.is_idle());
        }
        let mut served = Served::new(0, 0);
        served.enqueue(span());
        end_rounds(&mut served, 3);
        assert!(!served.is_idle(), "its request waits");
        served.queue.clear();
        end_rounds(&mut served, 1);
        assert!(served.is_idle());
    }

    #[test]
    fn who_says_that_it_wants_something_has_a_whole_round_to_ask() {
        let mut served = Served::new(0, 0);
        end_rounds(&mut served, 2);
        served.begin_round(true);
        served.wants_anew();
        assert!(!served.is_idle());
        served.end_round();
        assert!(!served.is_idle());
        end_rounds(&mut served, 1);
        assert!(served.is_idle());
    }

    #[test]
    fn it_takes_its_turn_after_its_head_start_and_what_it_was_sent() {
        let mut served = Served::new(100, 1_000);
        served.sent(20, Instant::default());
        assert_eq!((served.total(), served.turn()), (120, 1_120));
        served.take_back(50);
        assert_eq!((served.total(), served.turn()), (70, 1_070));
        served.take_back(999);
        assert_eq!(served.total(), 0);
        assert!(served.rate.per_second(Instant::default()) > 0);
    }

    #[test]
    fn only_so_many_requests_are_rejected_in_a_second() {
        let mut served = Served::new(0, 0);
        for second in [0, 7, 8] {
            let now = Instant::after_start(Duration::from_millis(second * 1_000 + 999));
            assert!((0..MAX_QUEUED).all(|_| served.may_be_rejected(now)));
            assert!(!served.may_be_rejected(now));
        }
    }

    #[test]
    fn a_wish_that_comes_too_soon_is_believed_later_without_being_said_again() {
        let mut served = Served::new(0, 0);
        served.wants_anew();
        end_rounds(&mut served, 1);
        served.wants_anew();
        assert!(!served.is_idle());
        end_rounds(&mut served, 1);
        served.wants_anew();
        assert!(served.is_idle(), "it did not use its place twice");
        end_rounds(&mut served, 1);
        assert!(!served.is_idle());
    }
}
