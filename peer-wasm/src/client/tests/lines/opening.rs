//! To whom lines are offered, when, and what becomes of those that cannot be opened.

use super::*;

#[test]
fn who_asked_for_a_peer_that_is_near_offers_it_a_line_once_data_flows() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::fetching(&content, &manifest);
    lab.sent();
    lab.client.handle_reachable(line, "here".to_owned(), lab.now);
    lab.drain();
    assert_eq!(signals(&lab.said_both_ways().0), [(SignalStep::Offer, "here")]);

    for (peer, joined) in [(near(2), true), (info(2), false)] {
        let mut lab = Lab::with_tcp();
        lab.begin(&manifest);
        let file = manifest.file();
        lab.respond(
            None,
            &if joined { Response::PeerJoined { file, peer } } else { Response::Peers { file, peers: vec![peer] } },
        );
        lab.serve(2, &manifest);
        assert_eq!(lab.offered(), None, "the other one offers, or it is far");
        let asked = lab.blocks_asked(&manifest);
        lab.get(&content, &manifest, &asked[..1]);
        assert_eq!(lab.offered(), None, "nor later");
    }
}

#[test]
fn a_line_that_cannot_be_opened_is_tried_the_other_way_and_then_twice_more() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::fetching(&content, &manifest);
    lab.client.handle_line_closed(line, lab.now);
    lab.drain();
    lab.sent();
    assert_eq!(lab.offered(), None, "it is the other one's turn");
    lab.signal(2, &manifest, 7, SignalStep::Offer);
    let (line, offer) = lab.dialled().remove(0);
    assert_eq!(offer, "there");
    lab.sent();
    lab.client.handle_line_closed(line, lab.now);
    lab.drain();
    assert_eq!(signals(&lab.said_both_ways().0), [(SignalStep::Over, "")], "it waits");
    for _ in 0..2 {
        lab.wait(Duration::from_secs(59));
        assert_eq!(lab.offered(), None);
        lab.wait(Duration::from_secs(2));
        let line = lab.offered().unwrap();
        lab.sent();
        lab.client.handle_line_closed(line, lab.now);
        lab.drain();
        lab.drain();
        lab.signal(2, &manifest, 8, SignalStep::Offer);
        let (line, _) = lab.dialled().remove(0);
        lab.client.handle_line_closed(line, lab.now);
        lab.drain();
        lab.sent();
    }
    lab.wait(Duration::from_secs(300));
    assert_eq!(lab.offered(), None);
}

#[test]
fn of_two_offers_that_cross_that_of_the_smaller_id_counts() {
    let (_, manifest) = large(100);
    // This peer is 1.
    for (other, is_smaller) in [(2, true), (0, false)] {
        let mut lab = Lab::with_tcp();
        lab.begin(&manifest);
        lab.respond(None, &Response::Peers { file: manifest.file(), peers: vec![near(other)] });
        lab.serve(other, &manifest);
        let own = lab.offered().unwrap();
        lab.signal(other, &manifest, 5, SignalStep::Offer);
        assert_eq!(
            (lab.dialled().len(), lab.hung_up().contains(&own)),
            if is_smaller { (0, false) } else { (1, true) }
        );
    }
}

#[test]
fn no_more_lines_are_offered_at_a_time_than_eight_and_no_more_are_opening_than_sixteen() {
    let (_, manifest) = large(2_000);
    let mut lab = Lab::with_tcp();
    lab.begin(&manifest);
    let file = manifest.file();
    lab.respond(None, &Response::Peers { file, peers: (2..12).map(near).collect() });
    (2..12).for_each(|number| lab.serve(number, &manifest));
    let offered = |lab: &Lab| {
        let offer = |output: &Output| if let Output::Offer { line, .. } = output { Some(*line) } else { None };
        lab.outputs.iter().filter_map(offer).collect::<Vec<_>>()
    };
    let mut opening = offered(&lab);
    assert_eq!(opening.len(), 8);
    for number in 12..60 {
        lab.respond(None, &Response::PeerJoined { file, peer: near(number) });
        lab.signal(number, &manifest, 3, SignalStep::Offer);
    }
    opening.extend(lab.dialled().iter().map(|(line, _)| *line));
    assert_eq!(opening.len(), 16);
    assert_eq!(signals(&lab.said_both_ways().0), vec![(SignalStep::Over, ""); 40]);
    // Who waits, and who found no room, is offered one in its turn, up to forty in all.
    let mut opened = 0;
    while let Some(line) = opening.pop() {
        opened += 1;
        lab.client.handle_line_opened(line, lab.now);
        lab.drain();
        opening.extend(offered(&lab));
        lab.sent();
        assert!(opening.len() <= 16);
    }
    assert_eq!(opened, 40);
}

#[test]
fn little_is_asked_through_the_tracker_of_who_will_have_a_line() {
    type End = fn(&mut Lab, LineId, &Manifest);
    let (content, manifest) = large(2_000);
    let ends: [(bool, End); 3] = [
        (true, |lab, line, _| lab.client.handle_line_opened(line, lab.now)),
        (false, |lab, line, manifest| {
            lab.client.handle_line_closed(line, lab.now);
            lab.drain();
            assert_eq!(lab.blocks_asked(manifest), [], "the other one tries it");
            lab.signal(2, manifest, 7, SignalStep::Offer);
            let (line, _) = lab.dialled().remove(0);
            lab.client.handle_line_closed(line, lab.now);
        }),
        (false, |lab, _, _| lab.wait(Duration::from_millis(100))),
    ];
    for (is_open, end) in ends {
        let (mut lab, line, mut asked) = Lab::fetching(&content, &manifest);
        let mut most = 0;
        for _ in 0..98 {
            lab.wait(Duration::from_millis(50));
            most = most.max(asked.iter().map(|(_, count)| count * 4_096).sum());
            lab.get(&content, &manifest, &asked);
            asked = lab.blocks_asked(&manifest);
        }
        assert!((32 << 10..128 << 10).contains(&most), "{most}");
        end(&mut lab, line, &manifest);
        lab.drain();
        let (by_tracker, by_line) = lab.said_both_ways();
        let requests = if is_open { by_line } else { by_tracker };
        let blocks = |said: &PeerMessage| if let PeerMessage::Request { count, .. } = said { *count } else { 0 };
        let asked: u32 = requests.iter().map(blocks).sum();
        assert!(asked * 4_096 > 128 << 10, "{asked}");
    }
}

#[test]
fn nobody_who_is_far_or_unknown_makes_this_peer_dial() {
    let (_, manifest) = large(100);
    let mut lab = Lab::with_tcp();
    lab.begin(&manifest);
    lab.respond(None, &Response::PeerJoined { file: manifest.file(), peer: info(3) });
    for number in [3, 4] {
        lab.signal(number, &manifest, 1, SignalStep::Offer);
    }
    assert_eq!(lab.dialled(), []);
}

#[test]
fn a_line_whose_other_side_does_not_move_is_given_up() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::with_line(&content, &manifest);
    lab.wait(Duration::from_secs(9));
    assert_eq!(lab.hung_up(), []);
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.hung_up(), [line]);
    assert!(lab.said_both_ways().0.iter().any(|said| matches!(said, PeerMessage::Bitfield { begin: true, .. })));
}

#[test]
fn after_a_break_an_offer_that_comes_a_little_early_is_taken_and_an_earlier_one_is_not() {
    let (content, manifest) = large(100);
    for (seconds, is_taken) in [(49, false), (55, true)] {
        let (mut lab, line, _) = Lab::with_line(&content, &manifest);
        lab.client.handle_line_closed(line, lab.now);
        lab.wait(Duration::from_secs(seconds));
        lab.sent();
        lab.signal(2, &manifest, 3, SignalStep::Offer);
        assert_eq!(lab.dialled().len(), usize::from(is_taken), "{seconds} s");
        if !is_taken {
            lab.wait(Duration::from_secs(20));
            assert_eq!(lab.offered(), None, "nor is it answered by one of ours: nothing is exchanged");
        }
    }
}

#[test]
fn the_line_is_of_the_best_kind_that_both_can_have() {
    let (_, manifest) = large(100);
    let (tcp, rtc) = (LineKind::Tcp, LineKind::WebRtc);
    for (ours, theirs, kind) in [
        (vec![tcp, rtc], vec![rtc, tcp], Some(tcp)),
        (vec![tcp, rtc], vec![rtc], Some(rtc)),
        (vec![rtc], vec![tcp, rtc, LineKind::Other], Some(rtc)),
        (vec![tcp], vec![rtc], None),
    ] {
        let mut lab = Lab::with_lines(ours.iter().copied().collect(), Config::default());
        lab.register();
        lab.begin(&manifest);
        let peer = PeerInfo { direct: theirs.iter().copied().collect(), ..near(2) };
        lab.respond(None, &Response::Peers { file: manifest.file(), peers: vec![peer] });
        lab.serve(2, &manifest);
        let offer = |output: &Output| if let Output::Offer { kind, .. } = output { Some(*kind) } else { None };
        assert_eq!(lab.outputs.iter().find_map(offer), kind, "{ours:?} {theirs:?}");
    }
}

#[test]
fn what_the_shells_say_of_a_line_goes_through_the_tracker() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::fetching(&content, &manifest);
    lab.sent();
    lab.client.handle_reachable(line, "here".to_owned(), lab.now);
    lab.client.handle_signal(line, SignalStep::Candidate, "or here".to_owned(), lab.now);
    lab.drain();
    assert_eq!(signals(&lab.said_both_ways().0), [(SignalStep::Offer, "here"), (SignalStep::Candidate, "or here")]);
    for (number, step) in [(LINE, SignalStep::Answer), (LINE, SignalStep::Candidate), (LINE + 2, SignalStep::Candidate)]
    {
        let data = format!("{number} {step:?}");
        lab.say(2, PeerMessage::Signal { file: manifest.file().tag(), line: number, step, data });
    }
    let heard = |output: &Output| {
        if let Output::Signal { line, step, data } = output { Some((*line, *step, data.clone())) } else { None }
    };
    let heard: Vec<_> = lab.outputs.iter().filter_map(heard).collect();
    let of_it = |step| (line, step, format!("{LINE} {step:?}"));
    assert_eq!(heard, [of_it(SignalStep::Answer), of_it(SignalStep::Candidate)], "another number is none of this line");
    lab.sent();
    lab.client.handle_signal(LineId::for_test(99), SignalStep::Answer, "nobody's".to_owned(), lab.now);
    lab.drain();
    assert_eq!(signals(&lab.said_both_ways().0), []);
}

#[test]
fn lines_can_be_forbidden_and_allowed_again() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::with_line(&content, &manifest);
    lab.client.set_lines(BTreeSet::from([TCP]), lab.now);
    lab.drain();
    assert!(lab.hung_up().is_empty() && !lab.wants_to_connect(), "as it was");
    for (kinds, hung_up) in [(BTreeSet::new(), vec![line]), (BTreeSet::from([TCP]), vec![])] {
        lab.client.set_lines(kinds.clone(), lab.now);
        lab.drain();
        assert_eq!(lab.hung_up(), hung_up);
        assert!(lab.wants_to_connect(), "the tracker hears of it when a peer registers");
        lab.client.handle_opened(lab.now);
        lab.drain();
        let registered = lab.requests().into_iter().find_map(|(_, request)| {
            if let Request::Register { direct, resume, .. } = request { Some((direct, resume.is_some())) } else { None }
        });
        assert_eq!(registered, Some((kinds, true)), "and the peer stays who it is");
        lab.register();
        lab.sent();
    }
}

#[test]
fn a_word_that_is_refused_ends_only_a_line_that_is_opening() {
    let (content, manifest) = large(100);
    let about = Subject { kind: Kind::Signal, tag: manifest.file().tag(), index: 0, count: 1 };
    let refused =
        Response::Error { code: ErrorCode::Busy, message: String::new(), to: Some(peer(2)), about: Some(about) };
    for is_open in [false, true] {
        let (mut lab, line, _) = Lab::fetching(&content, &manifest);
        lab.client.handle_reachable(line, "here".to_owned(), lab.now);
        if is_open {
            lab.client.handle_line_opened(line, lab.now);
        }
        lab.sent();
        lab.respond(None, &refused);
        assert_eq!(lab.hung_up().contains(&line), !is_open);
    }
}
