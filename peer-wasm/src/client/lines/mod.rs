//! Direct lines to other peers: when one is opened, what goes over it, and what becomes of it.
//!
//! Everything begins on the relay. Once one of two peers that the tracker calls near asks the other for a block, one of them
//! offers a line, and the other one dials; until then little is asked, so that no words wait behind blocks. Where it is open,
//! each side says `moved` through the tracker, and all that it says next goes by the line, but for manifests. The other side
//! hears the words of the line only after that `moved`, so that between two peers nothing is lost, doubled or changes its
//! order; only blocks may come either way at any time.
//!
//! When a line breaks, what was said last may be lost: both begin anew on the relay, as after an introduction.

mod contacts;

pub use contacts::LineId;
pub(super) use contacts::Lines;

use super::{Client, Output, seconds};
use crate::{Instant, swarm::Swarm};
use bytes::Bytes;
use contacts::{Contact, Naming, State, Wait};
use protocol::{FileId, Kind, ParseError, PeerId, PeerMessage, SignalStep, decode_direct_binary, decode_direct_text};
use std::{collections::VecDeque, time::Duration};
use tracing::{debug, info};

/// How many lines may be offered at a time, and how many may be opening in all: each costs both sides some handshakes.
const MOST_OFFERED: usize = 8;
const MOST_OPENING: usize = 2 * MOST_OFFERED;
/// How many lines there may be, which is more than a swarm serves at a time.
const MOST_LINES: usize = 40;
/// How long opening may take.
const OPENING: Duration = seconds(10);
/// For how long little is asked through the tracker of a peer to whom a line is being opened.
const WAIT: Duration = seconds(5);
/// How long to wait after a line broke, or could not be opened from either side, and how often it is tried from each: what
/// keeps it from being opened mostly stays.
const TRY_AGAIN: Duration = seconds(60);
const MOST_TRIES: u32 = 3 * 2;
/// How long a line is kept over which nothing has to be said.
const KEEP: Duration = seconds(60);
/// The most peers of whom is remembered that they are near.
const MAX_CONTACTS: usize = 512;
/// Bytes that may come by a line before the other side's last word through the tracker.
const MAX_HELD: usize = 1 << 20;
/// Words that may come by a line before the tracker introduces the two in the swarm of their file.
const MOST_EARLY: usize = 16;

impl Client {
    /// The shell made itself ready for the line that [`Output::Offer`] asked for; whoever has `offer` can open it.
    pub fn handle_reachable(&mut self, line: LineId, offer: String, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line)
            && let Some(Naming { number, is_own: true, .. }) = contact.line()
        {
            self.signal(peer, number, SignalStep::Offer, offer);
        }
        self.settle(now);
    }

    /// The shell has something to say to the other peer's shell of a line that it opens: an answer, or a candidate.
    pub fn handle_signal(&mut self, line: LineId, step: SignalStep, data: String, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line)
            && let Some(Naming { number, .. }) = contact.line()
        {
            self.signal(peer, number, step, data);
        }
        self.settle(now);
    }

    /// A line is open that [`Output::Offer`] or [`Output::Dial`] asked for.
    pub fn handle_line_opened(&mut self, id: LineId, now: Instant) {
        match self.lines.of(id) {
            Some((peer, contact)) if matches!(contact.state, State::Opening { .. }) => {
                let State::Opening { line, is_theirs, .. } = contact.state else { return };
                contact.state = State::Open {
                    line,
                    moves_by: (!is_theirs).then_some(now + OPENING),
                    held: VecDeque::new(),
                    held_bytes: 0,
                    has_delivered: false,
                    usable: now,
                    early: Vec::new(),
                };
                contact.used = now;
                contact.wait = Wait::Over;
                let files = contact.files.clone();
                self.lines.look_at = Some(now);
                info!(%peer, "a direct line is open");
                for file in files {
                    self.tell_of_lines(file, now);
                }
                self.signal(peer, line.number, SignalStep::Moved, String::new());
            }
            Some(_) => {}
            None => self.outputs.push_back(Output::HangUp { line: id }),
        }
        self.settle(now);
    }

    /// Tells the swarm of a file which of its peers are reached by lines of their own, or will be.
    pub(super) fn tell_of_lines(&mut self, file: FileId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        let known = self.lines.contacts.iter().filter(|(_, contact)| contact.files.contains(&file));
        let peers: Vec<_> = known.map(|(peer, contact)| (*peer, contact.is_open(), contact.wait)).collect();
        transfer.with_swarm(now, |swarm| {
            for (peer, is_open, wait) in peers {
                match wait {
                    _ if is_open => swarm.handle_own_line(peer, now),
                    Wait::Until(_) => swarm.handle_opening_line(peer),
                    Wait::NotYet | Wait::Over => {}
                }
            }
        });
    }

    /// A text frame came by a line.
    pub fn handle_line_text(&mut self, line: LineId, text: &str, now: Instant) {
        self.handle_line_frame(line, text.len(), decode_direct_text(text), now);
    }

    /// A binary frame came by a line.
    pub fn handle_line_binary(&mut self, line: LineId, frame: &Bytes, now: Instant) {
        self.handle_line_frame(line, frame.len(), decode_direct_binary(frame), now);
    }

    /// A line is closed, or could not be opened.
    pub fn handle_line_closed(&mut self, line: LineId, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line) {
            if let State::Opening { line, .. } = contact.state {
                // The other side waits.
                self.signal(peer, line.number, SignalStep::Over, String::new());
            }
            self.end_line(peer, now);
        }
        self.settle(now);
    }

    fn handle_line_frame(&mut self, id: LineId, len: usize, message: Result<PeerMessage, ParseError>, now: Instant) {
        let Some((peer, contact)) = self.lines.of(id) else { return };
        contact.used = now;
        let State::Open { moves_by, held, held_bytes, has_delivered, .. } = &mut contact.state else { return };
        *has_delivered |= matches!(message, Ok(PeerMessage::Block { .. }));
        match message {
            // Of lines and of manifests the two speak through the tracker.
            Ok(
                PeerMessage::Signal { .. }
                | PeerMessage::GetManifest { .. }
                | PeerMessage::Manifest { .. }
                | PeerMessage::NoManifest { .. },
            ) => {}
            Ok(message @ PeerMessage::Block { .. }) => self.hear_by_line(peer, message, now),
            Ok(message) if moves_by.is_none() => self.hear_by_line(peer, message, now),
            Ok(message) if *held_bytes + len <= MAX_HELD => {
                *held_bytes += len;
                held.push_back(message);
            }
            Ok(_) => self.close_line(peer, now),
            Err(error) => {
                debug!(%peer, %error, "not understood by the direct line");
                contact.tries = MOST_TRIES;
                self.close_line(peer, now);
            }
        }
    }

    /// A peer says something by its line. What it says of a file in whose swarm the tracker has not introduced the two came before
    /// the tracker's word, and waits for that.
    fn hear_by_line(&mut self, peer: PeerId, message: PeerMessage, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&peer) else { return };
        if contact.files.iter().any(|file| file.tag() == message.tag()) {
            return self.hear(peer, message, true, now);
        }
        match &mut contact.state {
            // Nothing was asked for.
            _ if message.kind() == Kind::Block => {}
            State::Open { early, .. } if early.len() < MOST_EARLY => early.push(message),
            State::Open { .. } => self.close_line(peer, now),
            State::Closed | State::Opening { .. } => {}
        }
    }

    /// Looks at what a peer says through the tracker.
    pub(in crate::client) fn heard_through_tracker(&mut self, from: PeerId, kind: Kind, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&from) else { return };
        if kind == Kind::Block && !contact.has_data {
            contact.has_data = true;
            self.lines.look_at = Some(now);
        }
        match kind {
            // An answer may come from before, or be the tracker's.
            Kind::Block | Kind::Reject | Kind::GetManifest | Kind::Manifest | Kind::NoManifest | Kind::Signal => {}
            Kind::Bitfield
            | Kind::Have
            | Kind::Interested
            | Kind::NotInterested
            | Kind::Choke
            | Kind::Unchoke
            | Kind::Request
            | Kind::Cancel => {
                if contact.is_moved() {
                    // It found that the line is broken, and begins anew; so does this peer, for every file.
                    self.hang_up(from, now);
                }
            }
        }
    }

    /// A peer speaks of a line.
    pub(in crate::client) fn hear_signal(
        &mut self,
        from: PeerId,
        number: u32,
        step: SignalStep,
        data: String,
        now: Instant,
    ) {
        match step {
            SignalStep::Offer => self.handle_offer(from, number, data, now),
            SignalStep::Answer | SignalStep::Candidate => {
                let line = self.lines.contacts.get(&from).and_then(Contact::line);
                if let Some(line) = line.filter(|line| line.number == number) {
                    self.outputs.push_back(Output::Signal { line: line.id, step, data });
                }
            }
            SignalStep::Moved => self.handle_moved(from, number, now),
            SignalStep::Over => {
                let line = self.lines.contacts.get(&from).and_then(Contact::line);
                if line.is_some_and(|line| line.number == number) {
                    self.hang_up(from, now);
                }
            }
            SignalStep::Other => {}
        }
    }

    fn handle_offer(&mut self, from: PeerId, number: u32, offer: String, now: Instant) {
        let own = self.own_id();
        let Some(contact) = self.lines.contacts.get(&from) else { return };
        match contact.state {
            // Both offer one: that of the smaller id counts.
            State::Opening { line, .. } if line.is_own && own < Some(from) => return,
            // It begins anew and has not said so yet.
            State::Opening { .. } | State::Open { .. } => self.hang_up(from, now),
            State::Closed => {}
        }
        // The other side may have noticed a little sooner that the last one was over.
        let may_dial = |contact: &Contact| contact.try_at <= now + OPENING && contact.tries < MOST_TRIES;
        let is_welcome = self.lines.contacts.get(&from).is_some_and(may_dial);
        let has_room = self.lines.has_room();
        let line = if is_welcome && has_room { self.lines.begin(own, from, Some(number), now) } else { None };
        match line {
            Some(line) => self.outputs.push_back(Output::Dial { line, offer }),
            None => {
                self.signal(from, number, SignalStep::Over, String::new());
                if let Some(contact) = self.lines.contacts.get_mut(&from).filter(|_| is_welcome) {
                    // For want of room only. It waits for an offer now, and it has shown that it would use the line.
                    (contact.offers, contact.has_data) = (true, true);
                    self.lines.look_at = Some(now);
                }
            }
        }
    }

    fn handle_moved(&mut self, from: PeerId, number: u32, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&from) else { return };
        if contact.line().is_none_or(|line| line.number != number) {
            return;
        }
        match &mut contact.state {
            State::Opening { is_theirs, .. } => *is_theirs = true,
            State::Open { moves_by, held, usable, .. } => {
                (*moves_by, *usable) = (None, now);
                for message in std::mem::take(held) {
                    self.hear_by_line(from, message, now);
                }
            }
            State::Closed => {}
        }
    }

    /// Offers lines to those who are near and exchange data, and ends what takes too long or is not needed.
    pub(in crate::client) fn look_at_lines(&mut self, now: Instant) {
        if self.lines.look_at.is_none_or(|at| at > now) {
            return;
        }
        for peer in std::mem::take(&mut self.lines.to_close) {
            self.close_line(peer, now);
        }
        let is_late = |contact: &Contact| contact.ends_at().is_some_and(|at| at <= now);
        let late = self.lines.contacts.iter().filter(|(_, contact)| is_late(contact));
        for peer in late.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.close_line(peer, now);
        }
        self.lines.contacts.retain(|_, contact| !is_late(contact));
        let own = self.own_id();
        while self.lines.may_offer() {
            let is_due = |contact: &Contact| contact.offer_at().is_some_and(|at| at <= now);
            let due = self.lines.contacts.iter().find(|(_, contact)| is_due(contact));
            let Some((peer, kind)) = due.map(|(peer, contact)| (*peer, contact.kind)) else { break };
            let Some(line) = self.lines.begin(own, peer, None, now) else { break };
            self.outputs.push_back(Output::Offer { line, kind });
        }
        self.wait_for_lines(now);
        self.lines.look_at = self.lines.next_look();
    }

    /// Lets the swarms ask little of peers to whom a line is being opened for the first time, and for no longer than that may take.
    fn wait_for_lines(&mut self, now: Instant) {
        let is_due = |contact: &Contact| contact.wait_changes_at().is_some_and(|at| at <= now);
        let due = self.lines.contacts.iter().filter(|(_, contact)| is_due(contact));
        for peer in due.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            let Some(contact) = self.lines.contacts.get_mut(&peer) else { continue };
            if contact.wait == Wait::NotYet && self.lines.peers.len() < MOST_LINES {
                contact.wait = Wait::Until(now + WAIT);
                self.for_common_swarms(peer, now, |swarm| swarm.handle_opening_line(peer));
            } else {
                self.end_wait(peer, now);
            }
        }
    }

    /// There is a line to a peer, or there will be none soon.
    fn end_wait(&mut self, peer: PeerId, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&peer) else { return };
        if std::mem::replace(&mut contact.wait, Wait::Over) != Wait::Over {
            self.for_common_swarms(peer, now, |swarm| swarm.handle_no_line(peer, now));
        }
    }

    /// Tells the swarms in which a peer is known.
    fn for_common_swarms(&mut self, peer: PeerId, now: Instant, tell: impl Fn(&mut Swarm)) {
        let files = self.lines.contacts.get(&peer).map(|contact| contact.files.clone()).unwrap_or_default();
        for file in files {
            if let Some(transfer) = self.transfers.get_mut(&file) {
                transfer.with_swarm(now, &tell);
                self.lines.touched.insert(file);
            }
        }
    }

    /// The line to the tracker is lost, and with it everything that began there.
    pub(in crate::client) fn drop_lines(&mut self) {
        self.lines.contacts.clear();
        self.lines.look_at = None;
        let lines = std::mem::take(&mut self.lines.peers);
        self.outputs.extend(lines.into_keys().map(|line| Output::HangUp { line }));
    }

    /// Ends a line and says so.
    pub(in crate::client) fn close_line(&mut self, peer: PeerId, now: Instant) {
        let Some(line) = self.lines.contacts.get(&peer).and_then(Contact::line) else { return };
        self.outputs.push_back(Output::HangUp { line: line.id });
        self.signal(peer, line.number, SignalStep::Over, String::new());
        self.end_line(peer, now);
    }

    /// The same if it is not open yet.
    pub(in crate::client) fn close_opening(&mut self, peer: PeerId, now: Instant) {
        if !self.lines.is_open(peer) {
            self.close_line(peer, now);
        }
    }

    /// Ends a line of which the other side knows already that it is over.
    fn hang_up(&mut self, peer: PeerId, now: Instant) {
        if let Some(line) = self.lines.contacts.get(&peer).and_then(Contact::line) {
            self.outputs.push_back(Output::HangUp { line: line.id });
            self.end_line(peer, now);
        }
    }

    /// A line is over: what was said by it last may be lost, of whatever file.
    fn end_line(&mut self, peer: PeerId, now: Instant) {
        if self.forget_line(peer, now) {
            self.for_common_swarms(peer, now, |swarm| swarm.handle_cut_off(peer, now));
        } else if self.lines.contacts.get(&peer).is_none_or(|contact| contact.try_at > now) {
            self.end_wait(peer, now);
        }
    }

    /// Forgets a line; tells whether it was open. Whoever could not dial may be reached itself, so the other side is to try next.
    fn forget_line(&mut self, peer: PeerId, now: Instant) -> bool {
        let Some(contact) = self.lines.contacts.get_mut(&peer) else { return false };
        let Some(line) = contact.line() else { return false };
        let was_open = matches!(std::mem::replace(&mut contact.state, State::Closed), State::Open { .. });
        if was_open {
            contact.offers = line.is_own;
            // If nothing more is exchanged, none is needed.
            contact.has_data = false;
        } else {
            contact.offers = !line.is_own;
            contact.tries += 1;
        }
        let was_tried_from_one_side = contact.tries % 2 == 1 && !was_open;
        contact.try_at = if was_tried_from_one_side { now } else { now + TRY_AGAIN };
        info!(%peer, was_open, "no direct line any longer");
        self.lines.peers.remove(&line.id);
        self.lines.look_at = Some(now);
        was_open
    }

    /// A peer left the swarm of a file. By the line words of it may be on their way that would come too late, so it ends.
    pub(in crate::client) fn left_by(&mut self, peer: PeerId, file: FileId, now: Instant) {
        if self.lines.contacts.get_mut(&peer).is_some_and(|contact| contact.files.remove(&file)) {
            self.close_line(peer, now);
            self.note_left(peer, now);
        }
    }

    /// This peer leaves the swarm of a file: so do the lines to those who are in it.
    pub(in crate::client) fn leave_with_lines(&mut self, file: FileId, now: Instant) {
        let shares = |(_, contact): &(&PeerId, &Contact)| contact.files.contains(&file);
        let peers: Vec<_> = self.lines.contacts.iter().filter(shares).map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.close_line(peer, now);
            if let Some(contact) = self.lines.contacts.get_mut(&peer) {
                contact.files.remove(&file);
            }
            self.note_left(peer, now);
        }
    }

    fn note_left(&mut self, peer: PeerId, now: Instant) {
        if let Some(contact) = self.lines.contacts.get_mut(&peer) {
            contact.used = now;
            // Nothing was wrong with the line, and they may have other files in common.
            contact.try_at = contact.try_at.min(now + OPENING);
            self.lines.look_at = Some(now);
        }
    }

    fn own_id(&self) -> Option<PeerId> {
        self.identity.as_ref().map(|identity| identity.id)
    }

    fn signal(&mut self, to: PeerId, line: u32, step: SignalStep, data: String) {
        let file = self.lines.contacts.get(&to).and_then(|contact| contact.files.first());
        if let Some(file) = file.map(FileId::tag) {
            self.say_through_tracker(to, PeerMessage::Signal { file, line, step, data });
        }
    }
}
