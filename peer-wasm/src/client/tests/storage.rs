//! Storages, and what they answer.

use super::*;

#[test]
fn sharing_what_is_being_fetched_meets_the_swarm_afresh() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    lab.sent();
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    let requests: Vec<_> = lab.requests().into_iter().map(|(_, request)| request).collect();
    assert_eq!(requests[0], Request::Leave { file: Some(file) });
    assert!(matches!(requests[1], Request::Announce { .. }));
    assert_eq!(requests[2], Request::GetPeers { file, limit: Some(PEERS_WANTED) });
}

#[test]
fn storage_that_comes_too_late_is_given_back() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    lab.say(2, part_of(&manifest, None));
    let late = lab.wanted_store();
    let kept = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    assert_eq!(lab.discarded(), []);
    lab.client.handle_created(late, Ok((Bitfield::empty(32), Storage::Disk)), lab.now);
    lab.drain();
    assert_eq!(lab.discarded(), [late]);
    assert_eq!(lab.client.store(file), Some(kept));
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn each_storage_is_given_back_once() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    let fetched = lab.client.store(file).unwrap();
    let shared = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    assert_eq!(lab.client.share(Arc::clone(&manifest), lab.now), None, "it is here whole");
    lab.drain();
    assert_eq!(lab.discarded(), [fetched]);
    lab.client.stop(file, lab.now);
    lab.drain();
    assert_eq!(lab.discarded(), [shared]);
    assert_eq!(lab.client.store(file), None);
    assert_ne!(fetched.to_string(), shared.to_string(), "a person can tell them apart");
}

#[test]
fn a_write_that_fails_late_does_not_fail_what_is_shared_since() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    let old = lab.client.store(file).unwrap();
    lab.client.share(Arc::clone(&manifest), lab.now);
    let run = manifest.geometry().run(0, 1).unwrap();
    lab.client.handle_stored(old, run, Err(StorageError::Full), lab.now);
    lab.client.handle_failed(old, StorageError::Full, lab.now);
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn a_read_that_fails_late_does_not_fail_the_next_try() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    let old = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.stop(file, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.client.handle_read(old, id, Err(StorageError::Unreadable), lab.now);
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn a_storage_that_fails_ends_the_transfer_with_its_reason() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let failed = |error| page::Stage::Failed { problem: Problem::Storage(error) };
    let mut lab = Lab::online();
    let store = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.handle_read(store, id, Err(StorageError::Unreadable), lab.now);
    lab.drain();
    assert!(lab.outputs.iter().any(|output| matches!(output, Output::Send { .. })), "the requester is told");
    assert_eq!(lab.last_report().stage, failed(StorageError::Unreadable));
    lab.client.stop(file, lab.now);

    lab.download(&manifest);
    let store = lab.client.store(file).unwrap();
    lab.client.handle_stored(store, manifest.geometry().run(0, 1).unwrap(), Err(StorageError::Full), lab.now);
    lab.drain();
    assert_eq!(lab.last_report().stage, failed(StorageError::Full));
    assert_eq!(lab.client.store(file), None);
}

#[test]
fn that_a_fetched_file_is_whole_is_said_once_and_of_a_shared_one_never() {
    let (content, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    let finished = |lab: &mut Lab| {
        let outputs = std::mem::take(&mut lab.outputs);
        outputs.into_iter().filter(|output| matches!(output, Output::Finished { .. })).count()
    };
    let blocks = lab.download(&manifest);
    lab.get(&content, &manifest, &blocks);
    (0..4).for_each(|_| _ = lab.sleep());
    assert_eq!(finished(&mut lab), 1);
    lab.client.stop(file, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    assert_eq!(finished(&mut lab), 0);
}
