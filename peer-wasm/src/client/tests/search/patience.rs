//! How long a search waits for whom, and how much it asks for meanwhile.

use super::*;

#[test]
fn a_part_that_comes_late_is_taken_although_somebody_else_was_asked() {
    let manifest = manifest();
    let mut lab = Lab::search(manifest.file(), &[2, 3]);
    let (first, _) = lab.asked()[0];
    let (second, waited) = lab.next_asked();
    assert_eq!(waited, seconds(2));
    assert_ne!(first, second);
    lab.say(first, part_of(&manifest, None));
    assert!(lab.has_manifest());
}

#[test]
fn a_slow_line_is_not_filled_with_questions() {
    let (_, manifest) = large(BLOCKS);
    let mut lab = Lab::search(manifest.file(), &[2]);
    let mut queue: VecDeque<_> = lab.asked().into();
    let mut total = queue.len();
    // Each part takes six seconds.
    for _ in 0..30 {
        let until = lab.now + seconds(6);
        while lab.client.poll_timeout().is_some_and(|deadline| deadline < until) {
            lab.pass();
            queue.extend(lab.asked());
        }
        lab.now = until;
        let Some((_, part)) = queue.pop_front() else { continue };
        total += queue.len();
        lab.say(2, part_of(&manifest, part));
        if lab.has_manifest() {
            break;
        }
        queue.extend(lab.asked());
        assert!(queue.len() <= 4, "{queue:?}");
    }
    assert!(lab.has_manifest());
    assert!(total <= 4 * PARTS as usize, "{total} questions");
}

#[test]
fn whoever_has_nothing_is_asked_again_after_growing_pauses() {
    let manifest = manifest();
    let file = manifest.file();
    let mut lab = Lab::search(file, &[2]);
    let mut pauses = Vec::new();
    let mut last = lab.now;
    for _ in 0..8 {
        while lab.asked().is_empty() {
            lab.pass();
        }
        pauses.push(lab.now.since(last));
        last = lab.now;
        lab.say(2, PeerMessage::NoManifest { file });
    }
    assert_eq!(pauses[1..], [2, 4, 8, 16, 30, 30, 30].map(seconds));
    lab.wait(seconds(30));
    lab.say(2, part_of(&manifest, None));
    assert!(lab.has_manifest());
}

#[test]
fn a_silent_peer_is_asked_again_after_growing_times() {
    let mut lab = Lab::search(manifest().file(), &[2]);
    lab.asked();
    let times: Vec<_> = (0..6).map(|_| lab.next_asked()).collect();
    assert_eq!(times, [4, 8, 16, 32, 60, 60].map(|time| (2, seconds(time))));
}

#[test]
fn one_is_late_after_three_times_as_long_as_answers_took_which_is_forgotten_slowly() {
    let (_, manifest) = large(800);
    let mut lab = Lab::search(manifest.file(), &[2]);
    assert_eq!(lab.asked(), [(2, None)]);
    lab.wait(seconds(3));
    lab.say(2, part_of(&manifest, None));
    let [(2, part)] = lab.asked()[..] else { panic!("who answers slowly is asked for one at a time") };
    lab.say(2, part_of(&manifest, part));
    assert_eq!(lab.asked().len(), 2, "all that lacks");
    lab.meet(manifest.file(), &[3]);
    // Three times three quarters of three seconds.
    assert_eq!(lab.next_asked(), (3, Duration::from_millis(6_750)));
}

#[test]
fn the_tracker_is_asked_again_after_growing_pauses_while_nobody_can_be_asked() {
    let file = manifest().file();
    let mut lab = Lab::search(file, &[]);
    let pauses = |lab: &mut Lab, count: usize| -> Vec<Duration> {
        let mut pauses = Vec::new();
        let mut last = lab.now;
        while pauses.len() < count {
            lab.pass();
            if std::mem::take(&mut lab.outputs).iter().any(is_get_peers) {
                pauses.push(lab.now.since(last));
                last = lab.now;
            }
        }
        pauses
    };
    lab.sent();
    assert_eq!(pauses(&mut lab, 7), [2, 2, 4, 8, 16, 30, 30].map(seconds));
    // Somebody new makes it hopeful again.
    lab.meet(file, &[2]);
    lab.say(2, PeerMessage::NoManifest { file });
    lab.sent();
    assert_eq!(pauses(&mut lab, 3)[1..], [2, 4].map(seconds));
}

#[test]
fn the_tracker_is_asked_again_when_who_was_asked_is_late() {
    let (_, manifest) = large(800);
    let mut lab = Lab::search(manifest.file(), &[2]);
    lab.wait(seconds(3));
    lab.say(2, part_of(&manifest, None));
    // An answer is expected for nine seconds.
    let mut is_asked_within = |time| {
        lab.outputs.clear();
        lab.wait(time);
        lab.outputs.iter().any(is_get_peers)
    };
    assert_eq!([is_asked_within(seconds(8)), is_asked_within(seconds(4))], [false, true]);
}
