//! What is asked of a neighbour, and how it answers.

use super::{super::rate::Rate, patience::Patience};
use crate::Instant;
use protocol::{Geometry, MAX_BLOCKS, PeerId, SEGMENT_BYTES, Span};
use std::{collections::VecDeque, time::Duration};

/// The most requests remembered as taken back, whose blocks may still be on their way.
const MAX_STALE: usize = 1_024;
/// The most refusals remembered when some are asked again; of more, the oldest are asked first.
const MAX_REFUSED: usize = 1_024;
/// The most until then; a neighbour with more refused some blocks, said that it has them, and refused them again.
const MAX_REFUSED_MEANWHILE: usize = MAX_BLOCKS as usize;
/// The window of a new neighbour in bytes.
const FIRST_WINDOW: u64 = 64 << 10;
/// How long a request may wait in a neighbour's queue, beyond twice the shortest time in which it answered.
const QUEUE_TIME: Duration = Duration::from_millis(50);
/// A single request should take about this long, so that slow neighbours hold little and fast ones cost few messages.
const REQUEST_TIME: Duration = Duration::from_millis(20);
/// It may be this large all the same, and half as large each time that an answer shows that one would take longer, from the
/// answer before; twice as large when two would not. Smaller ones cost more messages, but what takes longer keeps everything
/// else that a neighbour says waiting, and shows too late that something comes.
const EASY_REQUEST: u64 = 64 << 10;
const LONGEST_REQUEST: Duration = Duration::from_secs(2);
/// How long a snubbed neighbour is left alone at most while others serve.
const SECOND_CHANCE: Duration = Duration::from_secs(15);
/// How long a refused block is taken for one that the neighbour does not have: at first for twice the shortest time in which
/// it answered, at most this. It doubles with each time that nothing came of it, up to 64 s: a refusal costs two small
/// messages. As long as something comes, twice as many as came may be asked again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
const MAX_REFUSED_FOR: Duration = Duration::from_secs(64);
const MAX_DOUBLINGS: u32 = 10;
/// What a neighbour is taken for until it delivers, in bytes per second.
const ASSUMED_RATE: u64 = 64_000;
/// How soon a neighbour that delivers nothing, and that nobody can stand in for, may be asked anew.
const FORGETFUL: Duration = Duration::from_secs(60);

/// A request to a neighbour that it has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::swarm) struct InFlight {
    pub(in crate::swarm) span: Span,
    pub(in crate::swarm) sent: Instant,
    /// It was cancelled, so that this neighbour can be asked as soon as it is rejected.
    pub(in crate::swarm) moves_to: Option<PeerId>,
}

/// How an answer fits what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::swarm) enum Fit {
    /// It was asked for then.
    Asked(Instant),
    /// It was asked for and taken back.
    Late,
    /// It was never asked for.
    Unasked,
}

/// What is waited for whoever it is.
#[derive(Debug)]
pub(in crate::swarm) struct Usual<'a> {
    /// With one of whom nothing is known.
    pub(in crate::swarm) patience: &'a Patience,
    /// The time that this peer's line takes for all that is on its way to it.
    pub(in crate::swarm) line: Duration,
}

/// What is asked of a neighbour, and how it answers.
#[derive(Debug)]
pub(in crate::swarm) struct Asked {
    in_flight: Vec<InFlight>,
    bytes: u64,
    pub(in crate::swarm) last: Option<Span>,
    /// What was moved from it to another since it delivered. It does not come back: both may have long queues, at the ends of
    /// which it would wait by turns.
    gave_up: Vec<Span>,
    window: u64,
    /// How many bytes it has been answering soon.
    easy_request: u64,
    /// When it shrank last: what was asked before waited in the same queue, and tells nothing new.
    shrunk: Instant,
    /// The shortest time in which it answered a request.
    shortest_wait: Duration,
    /// The time in which it answered the last request.
    recent_wait: Option<Duration>,
    /// Requests taken back, by us or by a choke; their blocks may still come and are welcome.
    stale: VecDeque<Span>,
    /// Bytes that were asked for before it left or began anew, and may still come.
    overhang: u64,
    /// What it refused, and when.
    refused: VecDeque<(Span, Instant)>,
    /// How often what it refused was asked again since it delivered.
    retries: u32,
    /// When that was last.
    retried: Instant,
    /// How often it delivered since then.
    delivered: u32,
    /// Since when it refuses although it said that it serves us; until it delivers.
    pub(in crate::swarm) refuses_since: Option<Instant>,
    /// It serves us but delivers nothing, since then.
    snubbed: Option<Instant>,
    /// When it last delivered, or was first asked after delivering everything.
    last_progress: Instant,
    patience: Patience,
    pub(in crate::swarm) rate: Rate,
    /// Bytes received since it joined.
    total: u64,
}

impl Asked {
    pub(in crate::swarm) fn new(total: u64, overhang: u64, now: Instant) -> Self {
        Self {
            in_flight: Vec::new(),
            bytes: 0,
            last: None,
            gave_up: Vec::new(),
            window: FIRST_WINDOW,
            easy_request: EASY_REQUEST,
            shrunk: now,
            shortest_wait: Duration::MAX / 4,
            recent_wait: None,
            stale: VecDeque::new(),
            overhang,
            refused: VecDeque::new(),
            retries: 0,
            retried: now,
            delivered: 0,
            refuses_since: None,
            snubbed: None,
            last_progress: now,
            patience: Patience::default(),
            rate: Rate::new(),
            total,
        }
    }

    /// The requests that are not answered.
    pub(in crate::swarm) fn in_flight(&self) -> &[InFlight] {
        &self.in_flight
    }

    /// Bytes asked for and not answered.
    pub(in crate::swarm) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes received since it joined.
    pub(in crate::swarm) const fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes the next request may have, a power of two times a segment; `None` if the window is full. A block of
    /// this size always fits: who has to ask for the rest when the first is served waits for several turns.
    pub(in crate::swarm) fn next_request(&self, most: u32, block: u32, now: Instant) -> Option<u32> {
        if self.bytes >= self.window.max(block.into()) || (self.is_snubbed() && !self.in_flight.is_empty()) {
            return None;
        }
        let in_time = self.rate.per_second(now).saturating_mul(REQUEST_TIME.as_millis() as u64) / 1_000;
        let bytes = if self.is_snubbed() { 0 } else { in_time.max(self.easy_request) };
        let segments = (bytes / u64::from(SEGMENT_BYTES)).max(1).ilog2();
        Some((u64::from(SEGMENT_BYTES) << segments).min(most.into()) as u32)
    }

    pub(in crate::swarm) const fn is_snubbed(&self) -> bool {
        self.snubbed.is_some()
    }

    /// Since when it is snubbed.
    pub(in crate::swarm) const fn snubbed(&self) -> Option<Instant> {
        self.snubbed
    }

    /// Whether it is snubbed for so long that it may be tried again.
    pub(in crate::swarm) fn deserves_another_try(&self, now: Instant) -> bool {
        self.snubbed.is_some_and(|since| now.since(since) >= self.left_alone())
    }

    /// When it may be tried again, if it is snubbed.
    pub(in crate::swarm) fn second_chance(&self) -> Option<Instant> {
        self.snubbed.map(|since| since + self.left_alone())
    }

    /// How long it is left alone while others serve, once it is snubbed: as long as it is waited for next time.
    fn left_alone(&self) -> Duration {
        self.patience.lasts().min(SECOND_CHANCE)
    }

    /// It delivers nothing.
    pub(in crate::swarm) fn snub(&mut self, now: Instant) {
        self.snubbed = Some(now);
        self.patience.lost();
    }

    /// Notes a request.
    pub(in crate::swarm) fn requested(&mut self, span: Span, geometry: &Geometry, now: Instant) {
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        self.in_flight.push(InFlight { span, sent: now, moves_to: None });
        self.last = Some(span);
        self.bytes += geometry.span_len(span);
    }

    /// Notes that a block came. If it was asked twice and the first request was taken back, it answers that one.
    pub(in crate::swarm) fn answered(&mut self, span: Span, geometry: &Geometry) -> Fit {
        if self.forget_stale(span) {
            return Fit::Late;
        }
        if let Some(request) = self.take(span, geometry) {
            return Fit::Asked(request.sent);
        }
        match self.overhang.checked_sub(geometry.span_len(span)) {
            Some(left) => {
                self.overhang = left;
                Fit::Late
            }
            None => Fit::Unasked,
        }
    }

    /// Notes that a request was rejected; gives it if it was still waited for. If it was asked twice and the first
    /// request was taken back, it is that one which is rejected.
    pub(in crate::swarm) fn rejected(&mut self, span: Span, geometry: &Geometry) -> Option<InFlight> {
        if self.forget_stale(span) { None } else { self.take(span, geometry) }
    }

    /// Forgets a request that was never delivered.
    pub(in crate::swarm) fn take(&mut self, span: Span, geometry: &Geometry) -> Option<InFlight> {
        let place = self.in_flight.iter().position(|request| request.span == span)?;
        self.bytes -= geometry.span_len(span);
        let request = self.in_flight.remove(place);
        // Few neighbours serve this peer at a time, and all of them did at some time.
        if self.in_flight.is_empty() {
            self.in_flight = Vec::new();
        }
        Some(request)
    }

    /// Takes one request back. Its block may still come.
    pub(in crate::swarm) fn take_back(&mut self, span: Span, geometry: &Geometry) -> bool {
        let was_in_flight = self.take(span, geometry).is_some();
        if was_in_flight {
            self.remember_stale([span]);
        }
        was_in_flight
    }

    /// Takes every request back.
    pub(in crate::swarm) fn take_all_back(&mut self) -> Vec<Span> {
        let spans: Vec<_> = std::mem::take(&mut self.in_flight).into_iter().map(|request| request.span).collect();
        self.bytes = 0;
        self.remember_stale(spans.iter().copied());
        spans
    }

    /// The other forgot every request; gives those that were waited for.
    pub(in crate::swarm) fn begin_anew(&mut self, geometry: &Geometry) -> Vec<Span> {
        let spans = self.take_all_back();
        self.overhang = self.owed(geometry);
        self.stale.clear();
        self.refused.clear();
        spans
    }

    /// Bytes that may still come of requests that were taken back.
    pub(in crate::swarm) fn owed(&self, geometry: &Geometry) -> u64 {
        self.overhang + self.stale.iter().map(|span| geometry.span_len(*span)).sum::<u64>()
    }

    /// Moves a request to another neighbour, once it is rejected.
    pub(in crate::swarm) fn steer(&mut self, span: Span, to: PeerId) -> bool {
        let request = self.in_flight.iter_mut().find(|request| request.span == span && request.moves_to.is_none());
        let Some(request) = request else { return false };
        request.moves_to = Some(to);
        self.give_up(span);
        true
    }

    /// What is asked of it does not come back to it until it delivers.
    pub(in crate::swarm) fn give_up(&mut self, span: Span) {
        if self.gave_up.len() < MAX_STALE {
            self.gave_up.push(span);
        }
    }

    /// Whether this was moved from it to another since it delivered.
    pub(in crate::swarm) fn gave_up(&self, span: Span) -> bool {
        self.gave_up.iter().any(|given_up| given_up.overlaps(span))
    }

    /// Notes what it refused.
    pub(in crate::swarm) fn refuse(&mut self, span: Span, now: Instant) {
        self.refuses_since.get_or_insert(now);
        if self.refused.len() == MAX_REFUSED_MEANWHILE {
            self.refused.pop_front();
        }
        self.refused.push_back((span, now));
    }

    /// When something that it refused may be asked again.
    pub(in crate::swarm) fn next_retry(&self) -> Option<Instant> {
        let (_, since) = self.refused.front()?;
        Some(self.retried.max(*since) + self.refused_for())
    }

    /// What it refused and may be asked again; `all` of it if it says that it serves.
    pub(in crate::swarm) fn retry(&mut self, all: bool, now: Instant) -> Vec<Span> {
        if all {
            return self.refused.drain(..).map(|(span, _)| span).collect();
        }
        let wait = self.refused_for();
        let is_time = now.since(self.retried) >= wait;
        let is_due = |since: Instant| is_time && now.since(since) >= wait;
        let due = self.refused.iter().take_while(|(_, since)| is_due(*since)).count();
        let earned = if self.delivered == 0 { due } else { due.min(self.delivered as usize * 2) };
        let asked = earned.max(self.refused.len().saturating_sub(MAX_REFUSED));
        if asked > 0 {
            self.retries = if self.delivered == 0 { (self.retries + 1).min(MAX_DOUBLINGS) } else { 0 };
            self.retried = now;
            self.delivered = 0;
        }
        self.refused.drain(..asked).map(|(span, _)| span).collect()
    }

    /// It says anew what it has.
    pub(in crate::swarm) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Notes a delivery, which was `asked` for then. The window grows by what was delivered while answers come soon,
    /// and shrinks when they wait in a queue: what waits there cannot be asked of somebody else.
    pub(in crate::swarm) fn delivered(&mut self, bytes: u64, asked: Option<Instant>, max_window: u64, now: Instant) {
        self.rate.add(bytes, now);
        let took = self.silence(now);
        self.patience.answered_after(took);
        self.total += bytes;
        self.last_progress = now;
        self.gave_up.clear();
        self.snubbed = None;
        self.refuses_since = None;
        self.retries = 0;
        self.delivered = self.delivered.saturating_add(1);
        let Some(asked) = asked else { return };
        let waited = now.since(asked);
        self.recent_wait = Some(waited);
        self.shortest_wait = self.shortest_wait.min(waited);
        let expected = took.as_millis() * u128::from(self.easy_request) / u128::from(bytes.max(1));
        if expected * 2 <= LONGEST_REQUEST.as_millis() {
            self.easy_request = (self.easy_request * 2).min(EASY_REQUEST);
        } else if expected > LONGEST_REQUEST.as_millis() {
            self.easy_request = (self.easy_request / 2).max(SEGMENT_BYTES.into());
        }
        let bearable = self.shortest_wait * 2 + QUEUE_TIME;
        if waited <= bearable {
            self.window = (self.window + bytes * 2).min(max_window);
        } else if asked >= self.shrunk {
            self.window = (u128::from(self.window) * bearable.as_micros() / waited.as_micros()).max(1) as u64;
            self.shrunk = now;
        }
    }

    /// It serves this peer again. Who waits there by now is not known, so the window begins small, as after a pause in TCP (RFC
    /// 2861); what waits in vain is rejected by the next choke.
    pub(in crate::swarm) fn serves_again(&mut self) {
        self.window = self.window.min((self.window / 4).max(FIRST_WINDOW));
    }

    /// When the patience with it ends, if it owes something.
    pub(in crate::swarm) fn overdue(&self, usual: &Usual<'_>) -> Option<Instant> {
        (!self.in_flight.is_empty()).then(|| self.last_progress + self.patience(usual))
    }

    /// How long it delivers nothing at most as a rule, or a neighbour of whom nothing is known.
    pub(in crate::swarm) fn usual_silence(&self, of_others: &Patience) -> Option<Duration> {
        self.patience.usual().or_else(|| of_others.usual())
    }

    /// Whether it ever delivered anything.
    pub(in crate::swarm) const fn is_known(&self) -> bool {
        self.patience.is_founded()
    }

    /// For how long it has delivered nothing.
    pub(in crate::swarm) fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_progress)
    }

    /// How long it may deliver nothing. Until more is known of it, it is taken for one as the others, but slow.
    fn patience(&self, usual: &Usual<'_>) -> Duration {
        let own = self.patience.lasts();
        let pace = if self.is_known() {
            own
        } else {
            own.max(usual.patience.lasts()) + Duration::from_millis(self.bytes * 1_000 / ASSUMED_RATE)
        };
        pace.max(usual.line)
    }

    /// Whether it owes something for so long that it is to be asked anew. No request is lost between peers that keep to the
    /// protocol.
    pub(in crate::swarm) fn may_have_forgotten(&self, usual: &Usual<'_>, now: Instant) -> bool {
        now.since(self.last_progress) >= FORGETFUL.max(self.patience(usual) * 2)
    }

    /// How long it takes to deliver everything asked of it and `more` bytes, at its present rate, or as soon as it ever
    /// answered if nothing is asked of it; `None` while that is not known.
    pub(in crate::swarm) fn time_to_deliver(&self, more: u64, now: Instant) -> Option<Duration> {
        if self.bytes == 0 {
            return self.shortest_wait();
        }
        let millis = (self.bytes + more).saturating_mul(1_000).checked_div(self.rate.per_second(now))?;
        Some(Duration::from_millis(millis))
    }

    /// How much longer a request is expected to wait: as long as the last one in all, or, if that was to be over by now, as much
    /// longer as it is late already.
    pub(in crate::swarm) fn remaining_wait(&self, request: &InFlight, now: Instant) -> Duration {
        let elapsed = now.since(request.sent);
        self.recent_wait.map_or(elapsed, |wait| wait.abs_diff(elapsed))
    }

    /// Whether it answered the last request in this time, let none wait for longer, and its window has room for more.
    pub(in crate::swarm) fn answers_within(&self, time: Duration, now: Instant) -> bool {
        let waits = self.in_flight.first().map_or(Duration::ZERO, |oldest| now.since(oldest.sent));
        self.bytes < self.window && self.recent_wait.is_some_and(|wait| wait.max(waits) <= time)
    }

    /// How long a request to it takes when no other waits there; `None` until it answered one.
    pub(in crate::swarm) fn shortest_wait(&self) -> Option<Duration> {
        self.recent_wait.map(|_| self.shortest_wait)
    }

    /// Recounts what is in flight.
    ///
    /// # Panics
    /// If something was not kept right.
    pub(in crate::swarm) fn audit(&self, geometry: &Geometry) {
        let bytes: u64 = self.in_flight.iter().map(|request| geometry.span_len(request.span)).sum();
        assert_eq!(self.bytes, bytes, "bytes in flight");
        assert!(self.stale.len() <= MAX_STALE, "{} stale requests", self.stale.len());
        assert!(self.refused.len() <= MAX_REFUSED_MEANWHILE, "{} refusals", self.refused.len());
    }

    fn refused_for(&self) -> Duration {
        ((self.shortest_wait * 2).clamp(QUEUE_TIME, REFUSED_FOR) * (1 << self.retries)).min(MAX_REFUSED_FOR)
    }

    /// Notes requests taken back whose blocks may still come.
    fn remember_stale(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.stale.extend(spans);
        let too_many = self.stale.len().saturating_sub(MAX_STALE);
        self.stale.drain(..too_many);
    }

    /// Forgets a request that was taken back; tells whether there was one.
    fn forget_stale(&mut self, span: Span) -> bool {
        let place = self.stale.iter().position(|stale| *stale == span);
        place.and_then(|place| self.stale.remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests;
