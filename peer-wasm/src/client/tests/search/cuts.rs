//! Files that others cut in another way.

use super::*;

#[test]
fn a_file_cut_in_another_way_is_taken_only_if_nobody_else_completes_it() {
    let (content, manifest) = large(BLOCKS);
    let file = manifest.file();
    let other = cut(&content, 16_384);
    assert_eq!(other.file(), file);
    let mut lab = Lab::search(file, &[2]);
    lab.asked();
    lab.say(2, part_of(&manifest, None));
    lab.meet(file, &[3]);
    lab.say(3, part_of(&other, None));
    let begun = manifest.geometry().block_size();
    assert_eq!(lab.client.transfers[&file].geometry().unwrap().block_size(), begun);
    lab.respond(None, &Response::PeerLeft { file, peer: peer(2) });
    let since = lab.now;
    lab.asked();
    while lab.client.transfers[&file].geometry().unwrap().block_size() == begun {
        lab.pass();
        for (peer, part) in lab.asked() {
            assert_eq!(peer, 3);
            lab.say(3, part_of(&other, part));
        }
    }
    assert!(lab.now.since(since) >= seconds(30));
    let mut open = lab.asked();
    while let Some((peer, part)) = open.pop() {
        lab.say(peer, part_of(&other, part));
        if lab.has_manifest() {
            break;
        }
        open.extend(lab.asked());
    }
    assert!(lab.has_manifest());
}

#[test]
fn one_that_cuts_a_file_in_its_own_way_and_serves_nobody_does_not_keep_it_from_others() {
    let (content, manifest) = large(64);
    let file = manifest.file();
    let own = cut(&content, 8_192);
    let mut lab = Lab::search(file, &[2]);
    lab.say(2, part_of(&own, None));
    let store = lab.wanted_store();
    let blocks = own.geometry().blocks();
    lab.client.handle_created(store, Ok((Bitfield::empty(blocks), Storage::Disk)), lab.now);
    lab.drain();
    lab.sent();
    // The others are in another swarm, of which the tracker does not tell a member of this one, but the list does.
    let listed = |manifest: &Manifest| protocol::FileInfo { facts: manifest.facts().clone(), sources: 1, peers: 2 };
    lab.respond(None, &Response::Files { files: vec![listed(&own), listed(&manifest)] });
    let left = |(_, request): &(_, Request)| matches!(request, Request::Leave { file: Some(left) } if *left == file);
    let joined = lab.now;
    while !lab.requests().iter().any(left) {
        assert!(lab.now.since(joined) < seconds(600), "it is still in a swarm where nobody gives anything");
        lab.wait(seconds(1));
        lab.meet(file, &[2]);
    }
    assert_eq!(lab.now.since(joined), seconds(60));
    lab.meet(file, &[2, 3]);
    lab.say(2, part_of(&own, None));
    assert!(lab.client.swarm(file).is_none(), "it is not taken in by the same one again");
    lab.say(3, part_of(&manifest, None));
    let store = lab.wanted_store();
    let blocks = manifest.geometry().blocks();
    lab.client.handle_created(store, Ok((Bitfield::empty(blocks), Storage::Disk)), lab.now);
    assert_eq!(lab.client.swarm(file).unwrap().manifest().facts().block_size, manifest.facts().block_size);
}

#[test]
fn no_way_to_cut_a_file_is_tried_twice_before_all_were() {
    let (content, manifest) = large(64);
    let file = manifest.file();
    let ways = [4_096, 8_192, 16_384].map(|size| cut(&content, size));
    let mut lab = Lab::search(file, &[2]);
    let listed =
        |manifest: &Arc<Manifest>| protocol::FileInfo { facts: manifest.facts().clone(), sources: 1, peers: 2 };
    let mut tried = Vec::new();
    for _ in 0..4 {
        // Whoever has the one that was tried first is always there, and answers first.
        let is_taken = |lab: &mut Lab, way: &Manifest| {
            lab.say(2, part_of(way, None));
            lab.has_manifest()
        };
        let taken = ways.iter().find(|way| is_taken(&mut lab, way)).unwrap();
        tried.push(taken.geometry().block_size().bytes());
        let store = lab.wanted_store();
        let blocks = taken.geometry().blocks();
        lab.client.handle_created(store, Ok((Bitfield::empty(blocks), Storage::Disk)), lab.now);
        lab.respond(None, &Response::Files { files: ways.iter().map(listed).collect() });
        let joined = lab.now;
        while lab.client.swarm(file).is_some() {
            assert!(lab.now.since(joined) < seconds(600), "nobody serves");
            lab.pass();
        }
        lab.outputs.clear();
        lab.meet(file, &[2]);
    }
    assert_eq!(tried, [4_096, 8_192, 16_384, 4_096]);
}

#[test]
fn no_swarm_is_left_for_one_that_has_no_source_or_another_file() {
    let (content, manifest) = large(64);
    let file = manifest.file();
    let facts = manifest.facts();
    let (own, other) = (facts.block_size, BlockSize::try_from(8_192).unwrap());
    let entry = |file, size, block_size, sources| protocol::FileInfo {
        facts: protocol::FileFacts { file, size, block_size, ..facts.clone() },
        sources,
        peers: 2,
    };
    let mut lab = Lab::online();
    lab.begin(&manifest);
    for files in [
        vec![entry(file, facts.size, own, 1)],
        vec![entry(file, facts.size, other, 0)],
        vec![entry(file, facts.size - 1, other, 1)],
        vec![entry(twin(file, 7), facts.size, other, 1)],
    ] {
        lab.respond(None, &Response::Files { files });
        lab.wait(seconds(120));
        assert!(lab.client.swarm(file).is_some());
    }
    // And none if nothing lacks.
    lab.client.stop(file, lab.now);
    let blocks = lab.download(&manifest);
    lab.respond(None, &Response::Files { files: vec![entry(file, facts.size, other, 1)] });
    lab.complete(&content, &manifest, blocks);
    lab.wait(seconds(120));
    assert!(lab.client.swarm(file).is_some_and(Swarm::is_complete));
}
