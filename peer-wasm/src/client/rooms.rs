//! Dividing what may be on its way, of blocks asked for and of blocks sent, among the files.

use super::{Client, peers::MANIFEST_SHARE, transfer::Transfer};
use crate::{Instant, swarm::Room};
use protocol::FileId;
use std::time::Duration;

/// How often it is looked whether the files still need what they have, while one needs more: a fraction of a round of
/// choking, and seldom enough to cost nothing.
const DIVIDE_EVERY: Duration = Duration::from_millis(250);
/// How often others come first, if there are more files than have room: as long as a round of choking, so that who is
/// served meanwhile gets something done.
const TURN_EVERY: Duration = Duration::from_secs(2);
/// Of what the tracker keeps for a receiver, one part in so many is asked for; control messages and what is answered
/// twice have the rest.
const QUEUE_SHARE: u64 = 2;

/// When the files' rooms are divided, and by what.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Bytes that the tracker keeps for this peer before it refuses more.
    queue_bytes: u64,
    /// When to divide again.
    divide_at: Option<Instant>,
    /// Some files have not what is due to them, because others hold it.
    is_owing: bool,
    /// Which file comes first, and when another one may.
    turn: usize,
    turn_at: Instant,
}

/// What one file has of a budget.
#[derive(Debug, Clone, Copy)]
struct Claim {
    /// Bytes on their way, which cannot be taken back.
    held: u64,
    /// Whether it has a use for more.
    wants_more: bool,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { queue_bytes: u64::MAX, divide_at: None, is_owing: false, turn: 0, turn_at: Instant::default() }
    }
}

impl Rooms {
    /// Something changed that they depend on.
    pub(super) fn divide_soon(&mut self) {
        self.divide_at = Some(Instant::default());
    }

    /// When to divide again if nothing changes before.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.divide_at
    }

    /// Bytes that the tracker keeps for this peer before it refuses more.
    pub(super) fn set_queue(&mut self, bytes: u64) {
        self.queue_bytes = bytes;
        self.divide_soon();
    }
}

impl Client {
    /// Sees whether a file needs another room after an input.
    pub(super) fn look_at_rooms(&mut self, file: FileId) {
        let is_changed = self.transfers.get(&file).is_some_and(Transfer::needs_other_room);
        if is_changed || self.rooms.is_owing {
            self.rooms.divide_soon();
        }
    }

    /// Divides the rooms, if it is time; tells whose room changed.
    pub(super) fn divide_rooms(&mut self, now: Instant) -> Vec<FileId> {
        if self.rooms.divide_at.take_if(|at| *at <= now).is_none() {
            return Vec::new();
        }
        // In the order in which they began.
        let mut files: Vec<_> = self.stores.values().copied().filter(|file| self.swarm(*file).is_some()).collect();
        let count = files.len();
        files.rotate_left(self.rooms.turn % count.max(1));
        let active = || files.iter().filter_map(|file| self.transfers.get(file));
        let claim = |held, wants_more| Claim { held, wants_more };
        let claims = active().map(|transfer| {
            let (held, wanted) = (transfer.held(), transfer.wanted());
            (claim(held.in_flight, wanted.is_limited), claim(held.upload, wanted.is_asked))
        });
        let (down, up): (Vec<_>, Vec<_>) = claims.unzip();

        let config = &self.config.swarm;
        let blocks = active().filter_map(Transfer::geometry).map(|geometry| geometry.block_size().bytes());
        let least = u64::from(blocks.max().unwrap_or_default().max(config.max_run));
        // However little the tracker keeps: without room for one message nothing would come.
        let in_flight = config.max_in_flight.min(self.rooms.queue_bytes / QUEUE_SHARE).max(least);
        let upload = config.upload_budget - config.upload_budget / MANIFEST_SHARE;
        let (down_rooms, up_rooms) = (divide(in_flight, least, &down), divide(upload, least, &up));

        let wants_more = down.iter().chain(&up).any(|claim| claim.wants_more);
        if count > 1 && wants_more {
            self.rooms.divide_at = Some(now + DIVIDE_EVERY);
        }
        if now >= self.rooms.turn_at && (one_lacks_all(&down, &down_rooms) || one_lacks_all(&up, &up_rooms)) {
            self.rooms.turn = self.rooms.turn.wrapping_add(1);
            self.rooms.turn_at = now + TURN_EVERY;
        }
        self.rooms.is_owing = one_holds_more(&down, &down_rooms) || one_holds_more(&up, &up_rooms);

        let rooms = down_rooms.into_iter().zip(up_rooms).map(|(in_flight, upload)| Room { in_flight, upload });
        let mut changed = Vec::new();
        for (file, room) in files.into_iter().zip(rooms) {
            if self.transfers.get_mut(&file).is_some_and(|transfer| transfer.set_room(room, now)) {
                changed.push(file);
            }
        }
        changed
    }
}

/// Whether somebody wants something and may have nothing.
fn one_lacks_all(claims: &[Claim], rooms: &[u64]) -> bool {
    claims.iter().zip(rooms).any(|(claim, room)| claim.wants_more && *room == 0)
}

/// Whether somebody holds what others are to have.
fn one_holds_more(claims: &[Claim], rooms: &[u64]) -> bool {
    claims.iter().zip(rooms).any(|(claim, room)| claim.held > *room)
}

/// The room of each, so that what is held already and what may come are never more than `total` together. Whoever holds
/// more than its share gets less room than it holds until it is down to that; the others get what becomes free.
fn divide(total: u64, least: u64, claims: &[Claim]) -> Vec<u64> {
    let mut free = total.saturating_sub(claims.iter().map(|claim| claim.held).sum());
    let more_for = |(claim, share): (&Claim, u64)| {
        let more = share.saturating_sub(claim.held).min(free);
        free -= more;
        share.min(claim.held) + more
    };
    claims.iter().zip(shares(total, least, claims)).map(more_for).collect()
}

/// What is due to each: as much as it needs, or else as much as anybody has, but none has less than the `least` that is
/// of use. Where there is not even that for all, the first ones have it. What nobody needs is there to begin with.
fn shares(total: u64, least: u64, claims: &[Claim]) -> Vec<u64> {
    // Whoever holds something will soon ask for the next.
    let need = |claim: &Claim| match claim {
        Claim { wants_more: true, .. } => total,
        Claim { held: 0, .. } => 0,
        Claim { held, .. } => held + least,
    };
    let mut needs: Vec<_> = claims.iter().map(need).enumerate().filter(|(_, need)| *need > 0).collect();
    needs.truncate((total / least).max(1) as usize);
    needs.sort_by_key(|(_, need)| *need);
    let mut shares = vec![0; claims.len()];
    let (mut left, count) = (total, needs.len() as u64);
    for (rank, (place, need)) in (0..).zip(needs) {
        shares[place] = need.min(left / (count - rank));
        left -= shares[place];
    }
    let beginners = (left / least).min(claims.len() as u64);
    shares.iter_mut().take(beginners as usize).for_each(|share| *share += left / beginners);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAST: u64 = 256;

    fn hungry(held: u64) -> Claim {
        Claim { held, wants_more: true }
    }

    fn content(held: u64) -> Claim {
        Claim { held, wants_more: false }
    }

    #[test]
    fn all_of_it_is_for_the_only_one() {
        assert_eq!(divide(8_000, LEAST, &[hungry(0)]), [8_000]);
        assert_eq!(divide(8_000, LEAST, &[content(1_000)]), [8_000]);
        assert_eq!(divide(8_000, LEAST, &[content(0), hungry(1_000), content(0)]), [0, 8_000, 0]);
        assert_eq!(divide(600, LEAST, &[content(0), content(0), hungry(0)]), [0, 0, 600]);
        assert_eq!(divide(100, LEAST, &[hungry(0)]), [100]);
    }

    #[test]
    fn whoever_needs_little_leaves_the_rest_to_the_others() {
        assert_eq!(divide(8_000, LEAST, &[hungry(0), hungry(0)]), [4_000, 4_000]);
        assert_eq!(divide(8_000, LEAST, &[content(744), hungry(3_000), hungry(0)]), [1_000, 3_500, 3_500]);
    }

    #[test]
    fn a_newcomer_gets_what_the_others_give_back() {
        let mut held = [8_000, 0];
        for _ in 0..100 {
            let rooms = divide(8_000, LEAST, &held.map(hungry));
            held[0] = rooms[0].max(held[0].saturating_sub(500));
            held[1] = rooms[1].max(held[1]);
            assert!(held.iter().sum::<u64>() <= 8_000, "{held:?}");
        }
        assert_eq!(held, [4_000, 4_000]);
    }

    #[test]
    fn of_too_many_some_have_what_is_of_use_and_the_others_nothing() {
        let rooms = divide(1_000, LEAST, &[hungry(0); 10]);
        assert_eq!(rooms[..3], [333, 333, 334]);
        assert_eq!(rooms[3..], [0; 7]);
    }

    #[test]
    fn what_others_hold_yet_is_given_to_nobody() {
        assert_eq!(divide(1_000, LEAST, &[hungry(800), hungry(0), hungry(0)]), [333, 200, 0]);
    }

    #[test]
    fn as_many_may_begin_as_have_what_is_of_use() {
        assert_eq!(divide(600, LEAST, &[content(0); 4]), [300, 300, 0, 0]);
        assert_eq!(divide(600, LEAST, &[content(0)]), [600]);
    }

    #[test]
    fn another_ones_turn_comes_if_somebody_wants_something_and_has_nothing() {
        assert!(one_lacks_all(&[hungry(0), hungry(0)], &[500, 0]));
        assert!(!one_lacks_all(&[hungry(0), content(0)], &[500, 0]));
        assert!(!one_lacks_all(&[hungry(0), hungry(0)], &[500, 1]));
    }

    #[test]
    fn whoever_holds_more_than_its_room_owes_it() {
        assert!(one_holds_more(&[content(0), hungry(501)], &[500, 500]));
        assert!(!one_holds_more(&[content(0), hungry(500)], &[500, 500]));
    }

    proptest! {
        #[test]
        fn there_is_never_more_on_its_way_than_may_be(
            total in 1..20_000_u64,
            least in 1..1_000_u64,
            claims in prop::collection::vec((0..3_000_u64, any::<bool>()), 0..20),
        ) {
            let mut left = total;
            let claims: Vec<_> = claims
                .into_iter()
                .map(|(held, wants_more)| {
                    let held = held.min(left);
                    left -= held;
                    Claim { held, wants_more }
                })
                .collect();
            let rooms = divide(total, least, &claims);
            let most: u64 = claims.iter().zip(&rooms).map(|(claim, room)| claim.held.max(*room)).sum();
            prop_assert!(most <= total, "{most}: {rooms:?}");
            if claims.iter().any(|claim| claim.wants_more) {
                prop_assert!(most + claims.len() as u64 >= total, "{most} of {total}: {rooms:?}");
            }
        }
    }
}
