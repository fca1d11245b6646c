//! What changes in the rooms of several files while time passes.

use super::{rooms::*, *};

/// Files that are shared with peers that never have enough.
struct Uploads {
    lab: Lab,
    files: Vec<FileId>,
    /// What is being read, and what is being sent.
    reading: Vec<(StoreId, ReadId, u32)>,
    sending: Vec<Receipt>,
}

impl Uploads {
    fn new() -> Self {
        Self { lab: Lab::online(), files: Vec::new(), reading: Vec::new(), sending: Vec::new() }
    }

    fn share(&mut self, number: u8) {
        let manifest = long(number);
        let file = manifest.file();
        self.lab.client.share(manifest, self.lab.now);
        self.lab.respond(None, &Response::PeerJoined { file, peer: PeerInfo { binary: true, ..info(10) } });
        let blocks = Bitfield::empty(256).to_bytes();
        self.lab.say(10, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
        self.lab.say(10, PeerMessage::Interested { file: file.tag() });
        self.files.push(file);
        self.ask(0);
    }

    fn ask(&mut self, from: u32) {
        for file in self.files.clone() {
            for index in (from..from + 128).step_by(16) {
                self.lab.say(10, PeerMessage::Request { file: file.tag(), index, count: 16 });
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        for output in std::mem::take(&mut self.lab.outputs) {
            if let Output::Read { store, id, len, .. } = output {
                self.reading.push((store, id, len));
            } else if let Output::Send { receipt, .. } = output {
                self.sending.extend(receipt);
            }
        }
    }

    /// The disk answers.
    fn read(&mut self) {
        for (store, id, len) in std::mem::take(&mut self.reading) {
            self.lab.client.handle_read(store, id, Ok(Bytes::from(vec![0; len as usize])), self.lab.now);
        }
        self.lab.drain();
        self.collect();
    }

    /// The line takes what is there.
    fn send(&mut self) {
        for receipt in std::mem::take(&mut self.sending) {
            self.lab.client.handle_sent(receipt, self.lab.now);
        }
        self.lab.drain();
        self.collect();
    }

    fn on_its_way(&self) -> u64 {
        let sending = self.sending.iter().map(|receipt| {
            let (Sent::Block { bytes, .. } | Sent::Manifest { bytes }) = receipt.0;
            bytes
        });
        self.reading.iter().map(|(_, _, len)| u64::from(*len)).chain(sending).sum()
    }
}

#[test]
fn what_is_read_and_sent_of_one_file_leaves_no_room_for_another() {
    let most = Config::default().upload_budget / 8 * 7;
    for is_disk_slow in [true, false] {
        let mut uploads = Uploads::new();
        uploads.share(0);
        // It gets to know that the line is fast.
        for step in 1..16 {
            uploads.read();
            uploads.send();
            uploads.lab.wait(Duration::from_millis(50));
            uploads.ask(step % 8 * 128);
        }
        if !is_disk_slow {
            uploads.read();
        }
        assert_eq!(uploads.on_its_way(), most);
        uploads.share(1);
        assert_eq!(uploads.on_its_way(), most);
    }
}

#[test]
fn it_is_looked_again_in_a_quarter_of_a_second_while_one_of_several_files_wants_more() {
    let mut lab = Lab::shares(&long(0));
    lab.client.share(long(1), lab.now);
    assert_eq!(lab.client.rooms.deadline(), None, "nobody wants anything");
    let mut lab = Lab::narrow();
    lab.fetch_from_many(0);
    assert_eq!(lab.client.rooms.deadline(), None, "there is nobody else");
    lab.client.share(long(1), lab.now);
    let soon = lab.now + Duration::from_millis(250);
    assert_eq!(lab.client.rooms.deadline(), Some(soon));
    assert!(lab.client.poll_timeout().is_some_and(|deadline| deadline <= soon));
    // What changes nothing has no one look again.
    lab.now = lab.now + Duration::from_millis(100);
    lab.respond(None, &Response::Pong);
    assert_eq!(lab.client.rooms.deadline(), Some(soon));
}

#[test]
fn if_there_is_room_for_one_file_only_each_has_it_for_two_seconds_in_turn() {
    let mut lab = Lab::with(Config { max_in_flight: RUN, ..Config::default() });
    lab.register();
    let files = [0, 1, 2].map(|number| lab.fetch_from_many(number));
    let mut turns: Vec<(usize, Instant)> = Vec::new();
    for _ in 0..45 {
        for (to, message) in lab.mail() {
            let PeerMessage::Request { file, index, count } = message else { continue };
            let number = files.iter().position(|manifest| manifest.file().tag() == file).unwrap();
            if turns.last().is_none_or(|(last, _)| *last != number) {
                turns.push((number, lab.now));
            }
            let data = Bytes::from(vec![number as u8; count as usize * 16_384]);
            lab.say_as(to, PeerMessage::Block { file, index, count, data });
        }
        lab.store_all();
        assert!(lab.in_flight() <= RUN, "{}", lab.in_flight());
        lab.wait(Duration::from_millis(200));
    }
    let order: Vec<_> = turns.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    // The first one was there before the others.
    for pair in turns[1..].windows(2) {
        let time = pair[1].1.since(pair[0].1);
        assert!(time >= seconds(2) && time < seconds(3), "{turns:?}");
    }
}
