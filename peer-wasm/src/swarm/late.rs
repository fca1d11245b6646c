//! Requests that wait too long: steering them to idle neighbours, the endgame, and neighbours that deliver nothing.

use super::{
    Swarm, Timer,
    neighbour::{InFlight, Neighbour, Usual},
};
use crate::Instant;
use protocol::{PeerId, PeerMessage, Span};
use std::time::Duration;

/// In the endgame a segment is repeated elsewhere when it waits for so many times as long as that neighbour delivers nothing at
/// most as a rule, or for this long, and only where it will be answered in half the time.
const ENDGAME_TIMES: u32 = 4;
const ENDGAME_PATIENCE: Duration = Duration::from_secs(2);
/// How soon it is looked at the end for what is late, at least and at most: any timer may be so late, and nobody notices more.
const LOOK_AT_END: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];
/// How soon is looked again for neighbours that deliver nothing and can only be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// What a neighbour that delivers nothing is expected to need in the endgame.
const STALLED: Duration = Duration::from_secs(10);

impl Swarm {
    /// Everything that a neighbour has is asked of others, and it is idle: takes one of those requests back, the one that
    /// would wait longest, to ask this neighbour instead. It is asked when the other rejects, so that nothing comes twice. The
    /// last requests move to whoever answers sooner; before, that costs more than it saves unless it takes half the time. Whoever
    /// answered nothing yet is expected to be as fast as the fastest: it is tried once.
    pub(super) fn steer_to(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(own) = self.neighbours.get(&peer) else { return };
        if !own.asked.in_flight().is_empty() || !own.is_serving(self.blocks.verified()) {
            return;
        }
        let here = own.asked.shortest_wait().unwrap_or(self.round_trip);
        let is_end = self.blocks.none_missing();
        let least = if is_end { here } else { (here + self.round_trip) * 2 };
        let has_all = |span| geometry.span_blocks(span).all(|index| own.said.has.has(index));
        let longest = self
            .open_requests()
            .filter(|(_, _, request)| {
                // At the end it is looked again: whoever was asked just now has as long as this one would take.
                let has_time = is_end && now.since(request.sent) < here;
                request.moves_to.is_none() && !has_time && !own.asked.gave_up(request.span) && has_all(request.span)
            })
            .map(|(other, neighbour, request)| (neighbour.asked.remaining_wait(request, now), other, request.span))
            .max()
            .filter(|(remaining, _, _)| *remaining > least);
        let Some((_, other, span)) = longest else { return };
        if self.neighbours.get_mut(&other).is_some_and(|neighbour| neighbour.asked.steer(span, peer)) {
            let file = self.tag();
            self.send(other, PeerMessage::Cancel { file, index: span.index(), count: span.count() });
        }
    }

    /// Notes which neighbours deliver nothing, and takes back what was asked of them if others can be asked. If nobody else
    /// can, waiting costs nothing, and on a slow line it is all that helps.
    pub(super) fn handle_overdue(&mut self, now: Instant) {
        let usual = self.usual();
        let is_late = |neighbour: &Neighbour| neighbour.asked.overdue(&usual).is_some_and(|overdue| overdue <= now);
        let late: Vec<_> =
            self.neighbours.iter().filter(|(_, neighbour)| is_late(neighbour)).map(|(&peer, _)| peer).collect();
        for peer in late {
            let others_can = self.others_can_be_asked(peer);
            let forgot = |neighbour: &Neighbour| neighbour.asked.may_have_forgotten(&self.usual(), now);
            let takes_back = others_can || self.neighbours.get(&peer).is_some_and(forgot);
            let Some(neighbour) = self.neighbours.get_mut(&peer) else { continue };
            if takes_back || !neighbour.asked.is_snubbed() {
                if !neighbour.asked.is_known() {
                    self.patience.lost();
                }
                neighbour.asked.snub(now);
            }
            if takes_back {
                self.cancel_all(peer);
            }
        }
        self.request_of_all(now);
        self.schedule_requests(now);
    }

    /// What is waited for whoever it is. What comes over a line that is full comes late from everyone.
    fn usual(&self) -> Usual<'_> {
        let millis = self.in_flight_bytes.saturating_mul(1_000).checked_div(self.best_rate).unwrap_or(0);
        Usual { patience: &self.patience, line: Duration::from_millis(millis) }
    }

    /// Whether somebody else serves this peer and has something that was asked of the neighbour.
    fn others_can_be_asked(&self, peer: PeerId) -> bool {
        let Some(asked) = self.neighbours.get(&peer).map(|neighbour| &neighbour.asked) else { return false };
        let per_block = self.manifest.geometry().segments_per_block();
        let has_any = |other: &Neighbour| {
            asked.in_flight().iter().any(|request| other.said.has.has(request.span.index() / per_block))
        };
        self.neighbours
            .iter()
            .any(|(id, other)| *id != peer && other.is_serving(self.blocks.verified()) && has_any(other))
    }

    /// Takes back everything asked of a neighbour.
    pub(super) fn cancel_all(&mut self, peer: PeerId) {
        let file = self.tag();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        self.in_flight_bytes -= neighbour.asked.bytes();
        for span in neighbour.asked.take_all_back() {
            self.blocks.release(span);
            self.send(peer, PeerMessage::Cancel { file, index: span.index(), count: span.count() });
        }
    }

    /// Takes a request back; tells whether it was waited for.
    fn take_back(&mut self, peer: PeerId, span: Span) -> bool {
        let geometry = *self.manifest.geometry();
        let file = self.tag();
        let was_open =
            self.neighbours.get_mut(&peer).is_some_and(|neighbour| neighbour.asked.take_back(span, &geometry));
        if was_open {
            self.in_flight_bytes -= geometry.span_len(span);
            self.blocks.release(span);
            self.send(peer, PeerMessage::Cancel { file, index: span.index(), count: span.count() });
        }
        was_open
    }

    /// Takes back what was asked of a block, whoever was.
    pub(super) fn take_back_block(&mut self, index: u32) {
        let geometry = *self.manifest.geometry();
        let of_it = self.open_requests().map(|(peer, _, request)| (peer, request.span));
        let of_it: Vec<_> = of_it.filter(|(_, span)| geometry.span_blocks(*span).contains(&index)).collect();
        of_it.into_iter().for_each(|(peer, span)| _ = self.take_back(peer, span));
    }

    /// Takes back requests of which nothing is wanted any more.
    pub(super) fn cancel_unwanted(&mut self, arrived: Span, now: Instant) {
        let unwanted: Vec<_> = self
            .open_requests()
            .map(|(peer, _, request)| (peer, request.span))
            .filter(|(_, span)| arrived.overlaps(*span) && !self.blocks.wants(*span))
            .collect();
        for (peer, span) in unwanted {
            if self.take_back(peer, span) {
                self.request_of(peer, now);
            }
        }
    }

    /// When nothing is missing but not everything is here: takes back what neighbours owe that deliver nothing for longer than
    /// they ever did, so that this one, which is idle, can be asked.
    pub(super) fn take_over(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(own) = self.neighbours.get(&peer).filter(|own| own.asked.in_flight().is_empty()) else { return };
        let least = self.look_again_after().max(self.usual().line);
        let is_silent = |other: &Neighbour| {
            let usual = other.asked.usual_silence(&self.patience);
            usual.is_some_and(|usual| other.asked.silence(now) >= usual.max(least))
        };
        let asked_of = |span: Span| self.open_requests().filter(move |(.., request)| request.span.overlaps(span));
        let has_all = |span| geometry.span_blocks(span).all(|index| own.said.has.has(index));
        let oldest = self
            .open_requests()
            .filter(|(_, other, request)| is_silent(other) && has_all(request.span) && !own.asked.gave_up(request.span))
            .filter(|(.., request)| asked_of(request.span).all(|(_, other, _)| is_silent(other)))
            .min_by_key(|(.., request)| request.sent);
        let Some((.., oldest)) = oldest else { return };
        let taken: Vec<_> = asked_of(oldest.span).map(|(other, _, request)| (other, request.span)).collect();
        for (other, span) in taken {
            self.take_back(other, span);
            if let Some(neighbour) = self.neighbours.get_mut(&other) {
                neighbour.asked.give_up(span);
            }
        }
    }

    /// When nothing is missing but not everything is here: a segment that is late at a slower neighbour, to repeat at this one,
    /// one at a time.
    pub(super) fn endgame_pick(&self, peer: PeerId, now: Instant) -> Option<Span> {
        if self.open_requests().any(|(.., request)| self.blocks.is_repeated(request.span)) {
            return None;
        }
        let geometry = self.manifest.geometry();
        let own = self.neighbours.get(&peer)?;
        let is_late = |other: &Neighbour, request: &InFlight| {
            let usual = other.asked.usual_silence(&self.patience).unwrap_or(ENDGAME_PATIENCE);
            let patience = usual.max(self.look_again_after()) * ENDGAME_TIMES;
            now.since(request.sent) >= patience.min(ENDGAME_PATIENCE)
        };
        let has = |span| geometry.span_blocks(span).all(|index| own.said.has.has(index));
        self.open_requests()
            .filter(|(other, neighbour, request)| *other != peer && is_late(neighbour, request) && has(request.span))
            .filter(|(_, other, request)| {
                let here = own.asked.time_to_deliver(geometry.span_len(request.span), now).unwrap_or(self.round_trip);
                let there = other.asked.time_to_deliver(0, now).unwrap_or(STALLED);
                there.max(now.since(request.sent)) > here * 2
            })
            .filter_map(|(.., request)| Some((request.sent, self.blocks.asked_once(request.span)?)))
            .min_by_key(|(sent, _)| *sent)
            .map(|(_, span)| span)
    }

    /// Every request that is not answered, and of whom.
    fn open_requests(&self) -> impl Iterator<Item = (PeerId, &Neighbour, &InFlight)> {
        self.neighbours.iter().flat_map(|(&peer, neighbour)| {
            neighbour.asked.in_flight().iter().map(move |request| (peer, neighbour, request))
        })
    }

    /// How soon it is looked at the end for requests that wait.
    fn look_again_after(&self) -> Duration {
        (self.round_trip * 4).clamp(LOOK_AT_END[0], LOOK_AT_END[1])
    }

    /// Sets the timer so that this neighbour is noticed when it is overdue. What others owe is looked at then.
    pub(super) fn expect_answer(&mut self, peer: PeerId, now: Instant) {
        let overdue = self.neighbours.get(&peer).and_then(|neighbour| neighbour.asked.overdue(&self.usual()));
        let endgame = self.blocks.none_missing().then(|| now + self.look_again_after());
        if let Some(deadline) = overdue.into_iter().chain(endgame).min() {
            self.timers.set_earlier(Timer::Requests, deadline);
        }
    }

    /// Sets the timer to the next moment at which a neighbour may be overdue.
    fn schedule_requests(&mut self, now: Instant) {
        let usual = self.usual();
        let owing = || self.neighbours.values().filter_map(|neighbour| neighbour.asked.overdue(&usual));
        let overdue = owing().map(|at| if at > now { at } else { now + LOOK_AGAIN }).min();
        let endgame = (self.blocks.none_missing() && overdue.is_some()).then(|| now + self.look_again_after());
        let offers = |neighbour: &&Neighbour| neighbour.said.offers_more_than(self.blocks.verified());
        let snubbed = self.neighbours.values().filter(|neighbour| neighbour.asked.is_snubbed()).filter(offers);
        let again = snubbed.filter_map(|neighbour| neighbour.asked.second_chance()).filter(|at| *at > now).min();
        match overdue.into_iter().chain(endgame).chain(again).min() {
            Some(deadline) => self.timers.set(Timer::Requests, deadline),
            None => self.timers.clear(Timer::Requests),
        }
    }
}
