//! What is said that a transfer waits for.

use super::*;

/// What the last report within this time says, and when it came.
fn said_within(lab: &mut Lab, time: Duration) -> Vec<(Instant, Option<WaitsFor>)> {
    let until = lab.now + time;
    let mut said = Vec::new();
    loop {
        for output in std::mem::take(&mut lab.outputs) {
            if let Output::Update(Update::Transfer { transfer }) = output {
                said.push((lab.now, transfer.waits_for));
            }
        }
        if lab.client.poll_timeout().is_none_or(|deadline| deadline > until) {
            lab.now = until;
            return said;
        }
        lab.sleep();
    }
}

/// What a file was said to wait for last, a second later.
fn said(lab: &mut Lab, file: FileId) -> Option<WaitsFor> {
    said_within(lab, seconds(1));
    lab.client.transfers[&file].said_to_wait
}

#[test]
fn each_thing_that_a_download_waits_for_is_said_within_a_second() {
    let (content, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::new();
    lab.client.fetch(file, lab.now);
    lab.drain();
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Tracker));
    lab.register();
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Source));
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Manifest));
    lab.say(2, part_of(&manifest, None));
    let store = lab.wanted_store();
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Storage));
    lab.client.handle_created(store, Ok((Bitfield::empty(32), Storage::Disk)), lab.now);
    lab.drain();
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Source));
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    let blocks = Bitfield::full(32).to_bytes();
    lab.say(2, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
    assert_eq!(said(&mut lab, file), Some(WaitsFor::HeldBack));
    lab.say(2, PeerMessage::Unchoke { file: file.tag() });
    let requests = lab.requests_of(&manifest);
    // Nothing moves: it is known by the next look.
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Answer));
    for (from, index, count) in requests {
        let data = Bytes::copy_from_slice(&content[index as usize * 4_096..(index + count) as usize * 4_096]);
        lab.say(from, PeerMessage::Block { file: file.tag(), index, count, data });
    }
    assert_eq!(said(&mut lab, file), None);
    lab.client.handle_closed(None, lab.now);
    lab.drain();
    assert_eq!(said(&mut lab, file), Some(WaitsFor::Tracker));
}

#[test]
fn what_is_whole_waits_for_nothing() {
    let mut lab = Lab::new();
    lab.client.share(manifest(), lab.now);
    lab.drain();
    assert_eq!(lab.last_report().waits_for, None);
}

#[test]
fn what_is_whole_is_not_looked_at_and_what_is_fetched_is_twice_a_second() {
    let longest = |mut lab: Lab| {
        lab.wait(seconds(1));
        lab.sleep()
    };
    assert!(longest(Lab::shares(&manifest())) > seconds(10));
    let mut lab = Lab::online();
    lab.begin(&manifest());
    assert!(longest(lab) <= Duration::from_millis(500));
}

#[test]
fn it_is_said_at_most_four_times_a_second_and_only_when_it_changes() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.begin(&manifest);
    said(&mut lab, file);
    let mut times: Vec<Instant> = Vec::new();
    for _ in 0..50 {
        lab.respond(None, &Response::PeerJoined { file, peer: info(2) });
        let blocks = Bitfield::full(32).to_bytes();
        lab.say(2, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
        times.extend(said_within(&mut lab, Duration::from_millis(40)).into_iter().map(|(at, _)| at));
        lab.respond(None, &Response::PeerLeft { file, peer: peer(2) });
        times.extend(said_within(&mut lab, Duration::from_millis(40)).into_iter().map(|(at, _)| at));
    }
    assert!(times.len() > 8, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_millis(250)), "{times:?}");
    said(&mut lab, file);
    assert_eq!(said_within(&mut lab, seconds(10)), [], "nothing changes");
}
