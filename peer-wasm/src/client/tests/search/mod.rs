//! Finding a manifest.

use super::*;
use proptest::prelude::*;

mod cuts;
mod patience;

/// The blocks of a file whose manifest has five parts.
const BLOCKS: u64 = 1_200;
const PARTS: u32 = 5;

impl Lab {
    /// Searches for a file that these peers may have.
    fn search(file: FileId, peers: &[u8]) -> Self {
        let mut lab = Self::online();
        lab.client.fetch(file, lab.now);
        lab.drain();
        lab.meet(file, peers);
        lab
    }

    fn meet(&mut self, file: FileId, peers: &[u8]) {
        self.respond(None, &Response::Peers { file, peers: peers.iter().map(|number| info(*number)).collect() });
    }

    /// Who was asked since the last look, and for which part.
    fn asked(&mut self) -> Vec<(u8, Option<u32>)> {
        let asked = |(to, message)| {
            if let PeerMessage::GetManifest { part, .. } = message { Some((number_of(to), part)) } else { None }
        };
        self.mail().into_iter().filter_map(asked).collect()
    }

    /// Who is asked next, and how long that takes.
    fn next_asked(&mut self) -> (u8, Duration) {
        let start = self.now;
        loop {
            self.pass();
            if let [(peer, _), ..] = self.asked()[..] {
                return (peer, self.now.since(start));
            }
            assert!(self.now.since(start) < seconds(600), "nobody is asked");
        }
    }

    fn has_manifest(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Create { .. }))
    }

    fn refuse(&mut self, code: ErrorCode, to: u8, kind: Kind, file: FileId) {
        let about = Some(Subject { kind, tag: file.tag(), index: 0, count: 1 });
        self.respond(None, &Response::Error { code, message: String::new(), to: Some(peer(to)), about });
    }
}

fn wrong(manifest: &Manifest, part: Option<u32>) -> PeerMessage {
    let part = manifest.part(part).unwrap();
    let mut hashes = part.hashes.to_vec();
    hashes[0] ^= 1;
    PeerMessage::manifest(manifest.facts().clone(), ManifestPart { hashes: hashes.into(), ..part })
}

#[test]
fn the_parts_are_asked_of_several_at_once_and_each_of_one() {
    let (_, manifest) = large(BLOCKS);
    let mut lab = Lab::search(manifest.file(), &[2, 3, 4]);
    let [(first, None)] = lab.asked()[..] else { panic!("the last part comes first, and from one") };
    lab.say(first, part_of(&manifest, None));
    let mut asked = lab.asked();
    let peers: BTreeSet<_> = asked.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(peers.len(), 3, "{asked:?}");
    asked.iter().for_each(|(peer, part)| lab.say(*peer, part_of(&manifest, *part)));
    asked.extend(lab.asked());
    let mut parts: Vec<_> = asked.into_iter().filter_map(|(_, part)| part).collect();
    parts.sort_unstable();
    assert_eq!(parts, (0..PARTS - 1).collect::<Vec<_>>());
}

#[test]
fn a_peer_that_answers_soon_is_asked_for_more_at_a_time_up_to_a_bound() {
    let (_, manifest) = large(8_192);
    let mut lab = Lab::search(manifest.file(), &[2]);
    let mut open: Vec<_> = lab.asked();
    let mut most = 0;
    while let Some((_, part)) = open.pop() {
        lab.say(2, part_of(&manifest, part));
        if lab.has_manifest() {
            break;
        }
        open.extend(lab.asked());
        most = most.max(open.len());
    }
    assert_eq!(most, 8);
    assert!(lab.has_manifest());
}

#[test]
fn a_search_goes_on_where_it_stopped() {
    let (_, manifest) = large(BLOCKS);
    let file = manifest.file();
    let mut lab = Lab::search(file, &[2]);
    lab.asked();
    lab.say(2, part_of(&manifest, None));
    lab.say(2, part_of(&manifest, Some(1)));
    // Whoever had the rest leaves, and the tracker starts anew.
    lab.respond(None, &Response::PeerLeft { file, peer: peer(2) });
    lab.client.handle_closed(None, lab.now);
    lab.drain();
    lab.sleep();
    lab.register();
    lab.asked();
    lab.meet(file, &[3]);
    let mut open = lab.asked();
    let mut parts = Vec::new();
    while let Some((_, part)) = open.pop() {
        parts.extend(part);
        lab.say(3, part_of(&manifest, part));
        if lab.has_manifest() {
            break;
        }
        open.extend(lab.asked());
    }
    parts.sort_unstable();
    assert_eq!(parts, [0, 2, 3]);
    assert!(lab.has_manifest());
}

#[test]
fn whoever_has_not_the_part_frees_the_search_at_once() {
    let manifest = manifest();
    let file = manifest.file();
    let mut lab = Lab::search(file, &[2, 3, 4, 5]);
    let (first, _) = lab.asked()[0];
    lab.say(first, PeerMessage::NoManifest { file });
    let (second, _) = lab.asked()[0];
    lab.refuse(ErrorCode::Busy, second, Kind::GetManifest, file);
    let (third, _) = lab.asked()[0];
    lab.refuse(ErrorCode::NotIntroduced, third, Kind::GetManifest, file);
    let (fourth, _) = lab.asked()[0];
    let mut all = [first, second, third, fourth];
    all.sort_unstable();
    assert_eq!(all, [2, 3, 4, 5]);
}

#[test]
fn whoever_sent_a_wrong_part_is_asked_last_and_is_not_banned() {
    let (_, manifest) = large(BLOCKS);
    let file = manifest.file();
    let mut lab = Lab::search(file, &[2, 3]);
    let (liar, _) = lab.asked()[0];
    let honest = 5 - liar;
    lab.say(liar, wrong(&manifest, None));
    assert_eq!(lab.asked(), [(honest, None)]);
    lab.say(honest, part_of(&manifest, None));
    let mut open = lab.asked();
    assert!(open.iter().all(|(peer, _)| *peer == honest), "{open:?}");
    lab.respond(None, &Response::PeerLeft { file, peer: peer(honest) });
    // Nobody else is there.
    while !lab.has_manifest() {
        open = lab.asked();
        for (peer, part) in open {
            assert_eq!(peer, liar);
            lab.say(peer, part_of(&manifest, part));
        }
        if !lab.has_manifest() {
            lab.pass();
        }
    }
}

#[test]
fn a_liars_size_is_not_believed() {
    let (_, manifest) = large(32);
    let mut lab = Lab::search(manifest.file(), &[2]);
    let mut facts = manifest.facts().clone();
    facts.size -= 1;
    lab.say(2, PeerMessage::manifest(facts, manifest.part(None).unwrap()));
    assert!(!lab.has_manifest());
    assert_eq!(lab.last_report().stage, page::Stage::Searching);
}

#[test]
fn the_name_and_the_size_are_shown_before_the_manifest_is_whole() {
    let (_, manifest) = large(BLOCKS);
    let mut lab = Lab::search(manifest.file(), &[2]);
    lab.asked();
    lab.say(2, part_of(&manifest, None));
    lab.wait(seconds(1));
    assert_eq!(lab.last_report().about.unwrap().size, BLOCKS * 4_096);
}

#[test]
fn a_search_prefers_peers_that_have_not_failed_and_comes_back_to_those_that_have() {
    let mut lab = Lab::online();
    let file = manifest().file();
    let asked = |lab: &mut Lab| {
        let sent = lab.sent();
        [2, 3].into_iter().find(|number| {
            sent.iter().any(|text| text.contains("get_manifest") && text.contains(&peer(*number).to_string()))
        })
    };
    lab.client.fetch(file, lab.now);
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    assert_eq!(asked(&mut lab), Some(2));
    let unknown =
        Response::Error { code: ErrorCode::UnknownPeer, message: String::new(), to: Some(peer(2)), about: None };
    lab.respond(None, &unknown);
    lab.respond(None, &Response::Peers { file, peers: vec![info(2), info(3)] });
    assert_eq!(asked(&mut lab), Some(3));
    lab.respond(None, &Response::PeerLeft { file, peer: peer(3) });
    assert_eq!(asked(&mut lab), None);
    assert_eq!(lab.next_asked(), (2, seconds(2)));
}

/// What becomes of a question to a peer that is not honest, or of its answer.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered { after: u64 },
    Lost,
    Nothing,
    Busy,
    Wrong,
    Left,
    LineBroken,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        (0..20_000_u64).prop_map(|after| Fate::Answered { after }),
        Just(Fate::Lost),
        Just(Fate::Nothing),
        Just(Fate::Busy),
        Just(Fate::Wrong),
        Just(Fate::Left),
        Just(Fate::LineBroken),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_search_ends_with_a_manifest_whatever_happens_if_an_honest_peer_stays(
        fates in prop::collection::vec(fate(), 0..60),
        delays in prop::collection::vec(0..9_000_u64, 1..20),
    ) {
        const HONEST: u8 = 2;
        let (_, manifest) = large(BLOCKS);
        let file = manifest.file();
        let (mut fates, mut delays) = (fates.into_iter(), delays.into_iter().cycle());
        let mut lab = Lab::search(file, &[2, 3, 4]);
        let mut coming: Vec<(Instant, u8, PeerMessage)> = Vec::new();
        for step in 0.. {
            prop_assert!(step < 3_000, "no manifest after {:?}", lab.now);
            if lab.has_manifest() {
                break;
            }
            let is_looking = lab.outputs.iter().any(is_get_peers);
            let asked = lab.asked();
            if is_looking {
                lab.meet(file, &[2, 3, 4]);
            }
            for (to, part) in asked {
                let now = lab.now;
                let delay = |after| now + Duration::from_millis(after);
                if to == HONEST {
                    coming.push((delay(delays.next().unwrap_or_default()), to, part_of(&manifest, part)));
                    continue;
                }
                match fates.next().unwrap_or(Fate::Lost) {
                    Fate::Answered { after } => coming.push((delay(after), to, part_of(&manifest, part))),
                    Fate::Lost => {}
                    Fate::Nothing => lab.say(to, PeerMessage::NoManifest { file }),
                    Fate::Busy => lab.refuse(ErrorCode::Busy, to, Kind::GetManifest, file),
                    Fate::Wrong => lab.say(to, wrong(&manifest, part)),
                    Fate::Left => lab.respond(None, &Response::PeerLeft { file, peer: peer(to) }),
                    Fate::LineBroken => {
                        coming.clear();
                        lab.client.handle_closed(None, lab.now);
                        lab.sleep();
                        lab.register();
                    }
                }
                if lab.has_manifest() {
                    break;
                }
            }
            let deadline = lab.client.poll_timeout().unwrap();
            match (0..coming.len()).min_by_key(|place| coming[*place].0) {
                Some(place) if coming[place].0 <= deadline => {
                    let (at, from, message) = coming.swap_remove(place);
                    lab.now = lab.now.max(at);
                    lab.say(from, message);
                }
                _ => lab.pass(),
            }
        }
    }
}

fn is_get_peers(output: &Output) -> bool {
    matches!(output, Output::Send { frame: Frame::Text(text), .. } if text.contains("get_peers"))
}

#[test]
fn a_source_is_asked_however_many_said_before_that_they_have_nothing() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::search(file, &[]);
    for number in 0..300_u64 {
        let id = PeerId::from_bytes((number << 32).to_be_bytes());
        lab.respond(None, &Response::Peers { file, peers: vec![PeerInfo { id, ..info(0) }] });
        for (to, message) in lab.mail() {
            if let PeerMessage::GetManifest { .. } = message {
                lab.say_as(to, PeerMessage::NoManifest { file });
            }
        }
    }
    lab.meet(file, &[2]);
    for _ in 0..1_000 {
        for (to, message) in lab.mail() {
            if let PeerMessage::GetManifest { .. } = message {
                if to == peer(2) {
                    return;
                }
                lab.say_as(to, PeerMessage::NoManifest { file });
            }
        }
        lab.pass();
    }
    panic!("it was not asked in {:?}", lab.now);
}

#[test]
fn whoever_was_not_asked_yet_does_not_give_way_to_newcomers() {
    let file = manifest().file();
    let mut lab = Lab::search(file, &[]);
    let come = |lab: &mut Lab, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let id = PeerId::from_bytes((number << 32).to_be_bytes());
            lab.respond(None, &Response::Peers { file, peers: vec![PeerInfo { id, ..info(0) }] });
        }
    };
    come(&mut lab, 0..100);
    lab.meet(file, &[255]);
    come(&mut lab, 100..800);
    for _ in 0..256 {
        let [(to, PeerMessage::GetManifest { .. })] = lab.mail()[..] else { panic!("one is asked at a time") };
        if to == peer(255) {
            return;
        }
        lab.say_as(to, PeerMessage::NoManifest { file });
    }
    panic!("it was not asked");
}

#[test]
fn who_is_here_is_remembered_rather_than_who_is_gone() {
    let file = manifest().file();
    let mut lab = Lab::search(file, &[2]);
    lab.asked();
    lab.say(2, PeerMessage::NoManifest { file });
    for number in 0..600_u64 {
        let id = PeerId::from_bytes((number << 32).to_be_bytes());
        lab.respond(None, &Response::Peers { file, peers: vec![PeerInfo { id, ..info(0) }] });
        lab.respond(None, &Response::PeerLeft { file, peer: id });
    }
    lab.sent();
    assert_eq!(lab.next_asked(), (2, seconds(2)));
}

#[test]
fn a_list_has_the_tracker_asked_once_by_a_search_that_asks_nobody() {
    let (_, manifest) = large(8);
    let entry = |size| protocol::FileInfo {
        facts: protocol::FileFacts { size, ..manifest.facts().clone() },
        sources: 1,
        peers: 1,
    };
    let asked_after_list = |mut lab: Lab| {
        lab.sent();
        lab.respond(None, &Response::Files { files: (1..=100).map(entry).collect() });
        lab.requests().into_iter().filter(|(_, request)| matches!(request, Request::GetPeers { .. })).count()
    };
    assert_eq!(asked_after_list(Lab::search(manifest.file(), &[])), 1, "however many swarms the file has");
    assert_eq!(asked_after_list(Lab::search(manifest.file(), &[2])), 0);
    assert_eq!(asked_after_list(Lab::shares(&manifest)), 0);
}
