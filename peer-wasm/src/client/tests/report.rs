//! How a transfer stands, for people.

use super::*;

impl Lab {
    fn report(&self, file: FileId) -> Report {
        self.client.transfers[&file].report(None, &self.client.lines, self.now)
    }
}

#[test]
fn a_file_is_searched_downloaded_and_complete_or_it_is_shared() {
    let (content, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    assert_eq!(lab.report(file).stage, page::Stage::Searching);
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    lab.say(2, part_of(&manifest, None));
    assert_eq!(lab.report(file).stage, page::Stage::Downloading, "room is being made");
    lab.client.stop(file, lab.now);
    let blocks = lab.download(&manifest);
    assert_eq!(lab.report(file).stage, page::Stage::Downloading);
    lab.get(&content, &manifest, &blocks);
    assert_eq!(lab.report(file).stage, page::Stage::Complete);
    assert_eq!(Lab::shares(&manifest).report(file).stage, page::Stage::Sharing);
}

#[test]
fn how_long_it_takes_yet_is_told_while_something_comes_and_something_lacks() {
    let (content, manifest) = large(512);
    let file = manifest.file();
    let mut lab = Lab::online();
    let blocks = lab.download(&manifest);
    assert_eq!(lab.report(file).seconds_left, None, "nothing came");
    lab.get(&content, &manifest, &blocks[..1]);
    let report = lab.report(file);
    let left = (512 << 12) - report.verified;
    assert!(report.verified > 0 && left > report.down_rate);
    assert_eq!(report.seconds_left, Some(left.div_ceil(report.down_rate)));
    lab.now = lab.now + seconds(10);
    assert_eq!(lab.report(file).seconds_left, None, "nothing comes");
    lab.client.stop(file, lab.now);
    let (content, manifest) = large(8);
    let blocks = lab.download(&manifest);
    lab.get(&content, &manifest, &blocks);
    let report = lab.report(manifest.file());
    assert!(report.down_rate > 0);
    assert_eq!(report.seconds_left, None, "nothing lacks");
}

#[test]
fn a_source_is_who_has_every_block() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    let half = Bytes::from_static(&[0b1111_0000]);
    let [all, none] = [Bitfield::full(8), Bitfield::empty(8)].map(|blocks| blocks.to_bytes());
    for (number, blocks) in (10..).zip([none.clone(), half.clone(), all, half, none]) {
        lab.respond(None, &Response::PeerJoined { file, peer: info(number) });
        lab.say(number, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
    }
    let report = lab.report(file);
    assert_eq!((report.sources, report.peers.len()), (1, 5));
}

#[test]
fn of_what_failed_it_is_still_told_what_it_was_and_how_it_was_kept() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    let before = lab.report(file);
    assert_eq!(before.storage, Some(Storage::Disk));
    lab.client.handle_failed(lab.client.store(file).unwrap(), StorageError::Full, lab.now);
    let report = lab.report(file);
    assert!(matches!(report.stage, page::Stage::Failed { .. }));
    assert_eq!((report.about, report.storage), (before.about, before.storage));
}

#[test]
fn that_a_rate_fell_to_nothing_is_told_although_nothing_happens() {
    let (content, manifest) = large(8);
    let mut lab = Lab::online();
    let blocks = lab.download(&manifest);
    lab.get(&content, &manifest, &blocks);
    lab.sleep();
    assert!(lab.last_report().down_rate > 0);
    let until = lab.now + seconds(10);
    while lab.client.poll_timeout().is_some_and(|deadline| deadline <= until) {
        lab.sleep();
    }
    assert_eq!(lab.last_report().down_rate, 0);
}
