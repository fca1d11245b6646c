//! What all files together may have on its way.

use super::*;

/// The largest message that is asked for.
pub(super) const RUN: u64 = 256 << 10;
/// What may be asked for at a time; so much is asked of peers of whom nothing is known.
const MOST: u64 = 1 << 20;

impl Lab {
    /// Fetches the file of that number, 16 MiB long, from many who have all of it, and asks for as much as may be.
    pub(super) fn fetch_from_many(&mut self, number: u8) -> Arc<Manifest> {
        let manifest = long(number);
        let file = manifest.file();
        self.begin(&manifest);
        let blocks = manifest.geometry().blocks();
        for other in 10..69 {
            self.respond(None, &Response::PeerJoined { file, peer: info(other) });
            let blocks = Bitfield::full(blocks).to_bytes();
            self.say(other, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
            self.say(other, PeerMessage::Unchoke { file: file.tag() });
        }
        manifest
    }

    pub(super) fn narrow() -> Self {
        let mut lab = Self::with(Config { max_in_flight: MOST, ..Config::default() });
        lab.register();
        lab
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.client.files().filter_map(|file| self.client.swarm(file)).map(Swarm::in_flight).sum()
    }
}

/// A file of 16 MiB in blocks of 64 KiB, all of one byte.
pub(super) fn long(number: u8) -> Arc<Manifest> {
    cut(&vec![number; 16 << 20], 65_536)
}

#[test]
fn all_downloads_together_ask_for_what_one_may() {
    let mut lab = Lab::narrow();
    for number in 0..4 {
        lab.fetch_from_many(number);
        assert!(lab.in_flight() <= MOST + RUN, "{number}: {}", lab.in_flight());
        assert!(lab.in_flight() + RUN >= MOST, "{number}: {}", lab.in_flight());
    }
}

#[test]
fn no_more_is_asked_for_than_half_of_what_the_tracker_keeps() {
    let mut lab = Lab::new();
    lab.register_with(Limits { queue_bytes: 2 << 20, ..Limits::default() });
    lab.fetch_from_many(0);
    assert!(lab.in_flight() <= (1 << 20) + RUN, "{}", lab.in_flight());
    assert!(lab.in_flight() > (1 << 20) / 2);
}

#[test]
fn a_new_download_gets_its_part_of_what_another_holds() {
    let mut lab = Lab::narrow();
    let old = lab.fetch_from_many(0);
    let asked = lab.requests_of(&old);
    assert!(lab.in_flight() + RUN >= MOST);
    let new = lab.fetch_from_many(1);
    for (to, index, count) in asked {
        let data = Bytes::from(vec![0; count as usize * 16_384]);
        lab.say(to, PeerMessage::Block { file: old.file().tag(), index, count, data });
        lab.store_all();
        assert!(lab.in_flight() <= MOST + RUN, "{}", lab.in_flight());
    }
    let has = |manifest: &Manifest| lab.client.swarm(manifest.file()).unwrap().in_flight();
    assert!(has(&new) + 2 * RUN >= MOST / 2, "{}", has(&new));
    assert!(has(&old) + 2 * RUN >= MOST / 2, "{}", has(&old));
    // What one gives up is the other's.
    lab.client.stop(old.file(), lab.now);
    lab.drain();
    assert!(lab.in_flight() + RUN + RUN >= MOST, "{}", lab.in_flight());
}

#[test]
fn all_uploads_together_have_the_budget() {
    let mut lab = Lab::online();
    // The rest is for manifests.
    let most = Config::default().upload_budget / 8 * 7;
    let mut read = 0;
    let mut served = 0;
    for number in 0..12 {
        let manifest = long(number);
        let file = manifest.file();
        lab.client.share(manifest, lab.now);
        lab.drain();
        for other in 10..20 {
            lab.respond(None, &Response::PeerJoined { file, peer: info(other) });
            let blocks = Bitfield::empty(256).to_bytes();
            lab.say(other, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
            lab.say(other, PeerMessage::Interested { file: file.tag() });
            for index in (0..256).step_by(16) {
                lab.say(other, PeerMessage::Request { file: file.tag(), index, count: 16 });
            }
        }
        let reads = std::mem::take(&mut lab.outputs);
        let len = |output| if let Output::Read { len, .. } = output { u64::from(len) } else { 0 };
        let of_this: u64 = reads.into_iter().map(len).sum();
        served += u32::from(of_this > 0);
        read += of_this;
        assert!(read <= most, "{read}");
    }
    assert!(served > 1, "only the first one gave something");
    assert!(read + RUN > most, "{read}");
}

/// What is read in twenty seconds for one that asks for a file with large blocks all the time, while others say of so many
/// more files that they are interested, and ask for nothing.
fn read_beside(idle: u8) -> u64 {
    let mut lab = Lab::online();
    let mut shared = Vec::new();
    for number in 0..=idle {
        let manifest = cut(&vec![number; 8 << 20], 1 << 20);
        let file = manifest.file();
        shared.push(file);
        lab.client.share(manifest, lab.now);
        lab.drain();
        // It takes binary, because encoding would take most of the test's time.
        lab.respond(None, &Response::PeerJoined { file, peer: PeerInfo { binary: true, ..info(10) } });
        lab.say(10, PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::empty(8).to_bytes(), begin: false });
        lab.say(10, PeerMessage::Interested { file: file.tag() });
    }
    let (file, mut read) = (shared[usize::from(idle)], 0);
    for step in 0..400_u32 {
        lab.say(10, PeerMessage::Request { file: file.tag(), index: step % 8 * 64, count: 64 });
        for output in std::mem::take(&mut lab.outputs) {
            if let Output::Read { store, id, len, .. } = output {
                read += u64::from(len);
                lab.client.handle_read(store, id, Ok(Bytes::from(vec![0; len as usize])), lab.now);
            } else if let Output::Send { receipt: Some(receipt), .. } = output {
                lab.client.handle_sent(receipt, lab.now);
            }
        }
        lab.drain();
        let until = lab.now + Duration::from_millis(50);
        while lab.client.poll_timeout().is_some_and(|deadline| deadline <= until) {
            lab.sleep();
            lab.client.handle_text(&encode_response(None, &Response::Pong), lab.now);
        }
        lab.now = until;
    }
    read
}

#[test]
fn files_of_which_nobody_asks_anything_take_nothing_from_one_that_is_asked_for() {
    let (alone, beside) = (read_beside(0), read_beside(4));
    assert!(beside * 2 > alone, "{beside} instead of {alone} bytes");
}
