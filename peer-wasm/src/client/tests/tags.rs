//! Files whose ids begin alike.

use super::*;

#[test]
fn a_message_with_the_tag_of_another_file_is_ignored() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.share(manifest, lab.now);
    lab.drain();
    lab.respond(None, &Response::PeerJoined { file, peer: info(3) });
    let wrong = Bytes::from_static(b"of the wrong length");
    lab.say(3, PeerMessage::Bitfield { file: twin(file, 7).tag(), blocks: wrong.clone(), begin: false });
    assert!(lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
    lab.say(3, PeerMessage::Bitfield { file: file.tag(), blocks: wrong, begin: false });
    assert!(!lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
}

#[test]
fn of_two_files_with_one_tag_the_first_keeps_it() {
    let (_, manifest) = large(32);
    let first = manifest.file();
    let second = twin(first, 8);
    let mut lab = Lab::online();
    lab.client.fetch(second, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    let report = lab.last_report();
    assert_eq!((report.file, report.stage), (first, page::Stage::Failed { problem: Problem::TagTaken }));

    lab.client.stop(second, lab.now);
    lab.download(&manifest);
    lab.client.fetch(second, lab.now);
    lab.drain();
    let report = lab.last_report();
    assert_eq!((report.file, report.stage), (second, page::Stage::Failed { problem: Problem::TagTaken }));
    lab.say(2, PeerMessage::Choke { file: second.tag() });
    assert!(lab.client.swarm(first).unwrap().neighbours(lab.now).any(|neighbour| !neighbour.serves_us));
}
