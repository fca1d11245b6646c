//! Giving others the parts of manifests.

use super::*;

impl Lab {
    /// A peer asks for a part.
    fn ask(&mut self, from: u8, file: FileId, part: Option<u32>) {
        self.say(from, PeerMessage::GetManifest { file, part });
    }

    /// What was answered since the last look, and the receipts of it.
    fn answers(&mut self) -> (Vec<(u8, PeerMessage)>, Vec<Receipt>) {
        let mut receipts = Vec::new();
        let mut answers = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Send { frame: Frame::Text(text), receipt } = output
                && let Some((to, message)) = letter(&text)
            {
                receipts.extend(receipt);
                answers.push((number_of(to), message));
            }
        }
        (answers, receipts)
    }

    /// What is answered while the line takes everything.
    fn all_answers(&mut self) -> Vec<(u8, PeerMessage)> {
        let mut all = Vec::new();
        loop {
            let (answers, receipts) = self.answers();
            if answers.is_empty() {
                return all;
            }
            all.extend(answers);
            for receipt in receipts {
                self.client.handle_sent(receipt, self.now);
                self.drain();
            }
        }
    }
}

fn parts(answers: &[(u8, PeerMessage)], of: u8) -> Vec<u32> {
    let part = |(to, message): &(u8, PeerMessage)| {
        if let PeerMessage::Manifest { part, .. } = message { (*to == of).then_some(part.part) } else { None }
    };
    answers.iter().filter_map(part).collect()
}

#[test]
fn each_part_that_is_asked_for_is_sent_and_what_is_not_there_is_said() {
    let (_, manifest) = large(600);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    let none = (3, PeerMessage::NoManifest { file });
    for (part, number) in [(None, 2), (Some(0), 0), (Some(1), 1), (Some(2), 2)] {
        lab.ask(3, file, part);
        assert_eq!(lab.all_answers(), [(3, part_of(&manifest, Some(number)))]);
    }
    lab.ask(3, file, Some(3));
    assert_eq!(lab.all_answers(), [none]);
    let unknown = FileId::from_bytes([7; 32]);
    lab.ask(3, unknown, None);
    assert_eq!(lab.all_answers(), [(3, PeerMessage::NoManifest { file: unknown })]);
}

#[test]
fn who_searches_gives_the_parts_that_are_here() {
    let (_, manifest) = large(600);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    lab.ask(3, file, None);
    assert!(lab.all_answers().contains(&(3, PeerMessage::NoManifest { file })));
    lab.say(2, part_of(&manifest, None));
    lab.say(2, part_of(&manifest, Some(1)));
    lab.answers();
    for (part, expected) in [
        (None, part_of(&manifest, None)),
        (Some(1), part_of(&manifest, Some(1))),
        (Some(0), PeerMessage::NoManifest { file }),
    ] {
        lab.ask(3, file, part);
        assert_eq!(lab.all_answers(), [(3, expected)]);
    }
}

#[test]
fn a_flood_for_manifests_is_bounded_by_the_line_and_starves_nobody() {
    let (_, manifest) = large(4_096);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    for part in 0..1_000 {
        lab.ask(9, file, Some(part % 16));
    }
    lab.ask(4, file, Some(0));
    lab.ask(4, file, Some(1));
    let (mut answers, receipts) = lab.answers();
    let bytes: usize = answers.iter().map(|(_, message)| encode_len(message)).sum();
    let most = Config::default().upload_budget as usize / 8;
    assert!(bytes >= most && bytes <= most + (20 << 10), "{bytes} bytes of {most} that have room on the line");
    let first = answers.len();
    receipts.into_iter().for_each(|receipt| lab.client.handle_sent(receipt, lab.now));
    lab.drain();
    answers.extend(lab.all_answers());
    assert_eq!(parts(&answers, 4), [0, 1]);
    let last = answers.iter().rposition(|(to, _)| *to == 4).unwrap();
    assert!(last <= first + 3, "{last} parts came before the other one had both");
}

fn encode_len(message: &PeerMessage) -> usize {
    let Frame::Text(text) = encode_envelope(ME, message.clone(), false) else { return 0 };
    text.len()
}

#[test]
fn a_peer_gets_a_manifest_twice_and_then_a_part_a_second() {
    let (_, manifest) = large(1_000);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    let ask_for_all = |lab: &mut Lab, times| {
        let mut answered = 0;
        for round in 0..times {
            lab.ask(3, file, Some(round % 4));
            answered += lab.all_answers().len();
        }
        answered
    };
    assert_eq!(ask_for_all(&mut lab, 100), 8);
    lab.now = lab.now + seconds(5);
    assert_eq!(ask_for_all(&mut lab, 100), 5);
    // What is not there is no way around it.
    for _ in 0..100 {
        lab.ask(3, file, Some(99));
    }
    assert_eq!(lab.all_answers().len(), 0);
    lab.ask(4, file, None);
    assert_eq!(lab.all_answers().len(), 1);
}

#[test]
fn many_that_ask_take_a_bounded_place() {
    let (_, manifest) = large(8);
    let mut lab = Lab::shares(&manifest);
    for number in 0..5_000_u32 {
        let file = if number % 2 == 0 { manifest.file() } else { twin(manifest.file(), 9) };
        let [a, b, c, d] = number.to_be_bytes();
        let from = PeerId::from_bytes([a, b, c, d, 0, 0, 0, 1]);
        lab.client.handle_envelope(from, PeerMessage::GetManifest { file, part: None }, lab.now);
    }
    let (waiting, accounts) = lab.client.manifests.sizes();
    assert!(waiting <= 256 && accounts <= 1_024, "{waiting}, {accounts}");
}

#[test]
fn a_peer_waits_for_sixteen_parts_and_for_each_once() {
    let (_, manifest) = large(8_192);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    // Others fill the line.
    for from in 10..40 {
        (0..2).for_each(|part| lab.ask(from, file, Some(part)));
    }
    (0..4).chain(0..32).for_each(|part| lab.ask(3, file, Some(part)));
    assert_eq!(parts(&lab.all_answers(), 3), (0..16).collect::<Vec<_>>());
}

#[test]
fn whoever_got_its_due_gets_no_more_however_many_others_ask() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    let mut ask = |from| {
        lab.say_as(from, PeerMessage::GetManifest { file, part: None });
        let receipt = |output| if let Output::Send { receipt, .. } = output { receipt } else { None };
        let receipts: Vec<_> = std::mem::take(&mut lab.outputs).into_iter().filter_map(receipt).collect();
        receipts.iter().for_each(|receipt| lab.client.handle_sent(*receipt, lab.now));
        receipts.len()
    };
    assert_eq!([ask(peer(3)), ask(peer(3)), ask(peer(3))], [1, 1, 0]);
    for number in 0..2_000_u64 {
        assert_eq!(ask(PeerId::from_bytes((number << 32).to_be_bytes())), 1, "{number}");
    }
    assert_eq!(ask(peer(3)), 0);
    assert_eq!(lab.client.manifests.sizes(), (0, 1_024));
}

#[test]
fn a_line_that_breaks_leaves_nobody_waiting_and_its_room_is_free() {
    let (_, manifest) = large(4_096);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    for from in 10..40 {
        (0..8).for_each(|part| lab.ask(from, file, Some(part)));
    }
    let (waiting, _) = lab.client.manifests.sizes();
    assert!(waiting > 0);
    lab.client.handle_closed(None, lab.now);
    lab.sleep();
    lab.register();
    lab.answers();
    lab.ask(3, file, Some(0));
    assert_eq!(lab.all_answers(), [(3, part_of(&manifest, Some(0)))]);
}

#[test]
fn a_peer_that_the_swarm_dropped_gets_no_manifest() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    lab.respond(None, &Response::PeerJoined { file, peer: info(3) });
    lab.say(3, PeerMessage::Bitfield { file: file.tag(), blocks: Bytes::from_static(b"no bitfield"), begin: false });
    assert!(lab.client.swarm(file).unwrap().is_banned(peer(3)));
    lab.sent();
    lab.ask(3, file, None);
    assert_eq!(lab.all_answers(), []);
}

#[test]
fn whoever_was_refused_a_part_for_being_busy_is_told_that_none_comes() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    lab.ask(3, file, None);
    lab.all_answers();
    let about = Some(Subject { kind: Kind::Manifest, tag: file.tag(), index: 0, count: 1 });
    let error = Response::Error { code: ErrorCode::Busy, message: String::new(), to: Some(peer(3)), about };
    lab.respond(None, &error);
    assert_eq!(lab.all_answers(), [(3, PeerMessage::NoManifest { file })]);
}
