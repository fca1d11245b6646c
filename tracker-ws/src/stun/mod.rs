//! STUN (RFC 8489): who asks over UDP, at the number of the tracker's own port, is told from which address it asked.
//!
//! A browser offers that address to the other end of a direct line, since none of its own can be reached from outside.
//!
//! # Nothing to gain
//!
//! Over UDP anybody can write any address as the sender's, so an answer may go to somebody who never asked. What a browser
//! asks is a bare head of 20 bytes, or 28 with a fingerprint, which no answer with an address in it can be as short as. So
//! an answer has that address and nothing that was not asked for: with the heads of UDP and IP it is a quarter longer than
//! the question over IPv4, and 35 % over IPv6. [`Quota`] bounds how many there are, for one address and for all, so that
//! who lets the tracker shoot at somebody else gets 51 KB a second on them at most, and has to send three quarters of it.
//!
//! Nothing but a request is answered, and no answer is a request, so that two servers cannot be made to talk to each other.
//!
//! # What is not there
//!
//! No errors, no authentication, no other methods: what asks for more than its address is dropped.

mod answer;
mod quota;
mod server;
mod uri;

pub(crate) use server::Server;
pub use uri::{StunServer, StunServerError};

use crate::address::AddressKey;
use answer::{Request, answer};
use quota::Quota;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The longest request: as long as a datagram may be that reaches everybody (RFC 8489 section 6.1).
pub(crate) const MAX_REQUEST_BYTES: usize = 548;

/// What answers which datagram. It performs no IO; `now` is the time since the tracker's start.
#[derive(Debug)]
pub(crate) struct Responder {
    own: SocketAddr,
    quota: Quota,
}

impl Responder {
    /// A responder behind a socket of this address. `key` must be unpredictable.
    pub(crate) fn new(own: SocketAddr, key: [u8; 32]) -> Self {
        Self { own, quota: Quota::new(key) }
    }

    /// The answer to a datagram, if it gets one.
    pub(crate) fn handle(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) -> Option<Vec<u8>> {
        self.quota.read(now);
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if !self.may_be_answered(from) {
            return None;
        }
        let request = Request::parse(datagram)?;
        self.quota.take(AddressKey::of(from.ip()), now).then(|| answer(&request, from))
    }

    /// Counts a datagram that could not be read.
    pub(crate) fn miss(&mut self, now: Duration) {
        self.quota.read(now);
    }

    /// How long to leave what comes to the system, which forgets what it has no room for: there is nothing that would be
    /// answered in that time, or so much came that more would keep the tracker from its work.
    pub(crate) fn pause(&self, now: Duration) -> Duration {
        self.quota.pause(now)
    }

    /// Whether the sender's address is one that somebody can have who asked.
    fn may_be_answered(&self, from: SocketAddr) -> bool {
        let (ip, own) = (from.ip(), self.own.ip().to_canonical());
        let is_own = from.port() == self.own.port() && (ip == own || (own.is_unspecified() && ip.is_loopback()));
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        from.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast && !is_own
    }
}

#[cfg(test)]
mod tests;
