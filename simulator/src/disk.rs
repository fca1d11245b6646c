//! A peer's storage: how fast it is, and how often it fails.

use crate::line::time_of;
use peer_wasm::Instant;
use rand::{Rng, RngExt as _};

/// A peer's storage. By default it does everything at once and never fails.
#[derive(Debug, Default)]
pub struct Disk {
    /// Bytes per second, written or read one after another.
    pub rate: Option<u64>,
    /// Of a thousand reads, so many fail.
    pub failing_reads: u32,
    busy_until: Instant,
    unwritten: u64,
}

impl Disk {
    /// Bytes that wait to be written.
    pub const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// When so many bytes are read, or `None` for at once.
    pub(crate) fn read(&mut self, bytes: u64, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        self.busy_until = self.busy_until.max(now) + time_of(bytes, rate);
        Some(self.busy_until)
    }

    /// When so many bytes are written, or `None` for at once.
    pub(crate) fn write(&mut self, bytes: u64, now: Instant) -> Option<Instant> {
        let when = self.read(bytes, now)?;
        self.unwritten += bytes;
        Some(when)
    }

    pub(crate) const fn written(&mut self, bytes: u64) {
        self.unwritten -= bytes;
    }

    /// Whether the next read fails.
    pub(crate) fn fails(&self, rng: &mut impl Rng) -> bool {
        self.failing_reads > 0 && rng.random_range(0..1_000) < self.failing_reads
    }
}
