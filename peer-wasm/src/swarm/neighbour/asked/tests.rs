use super::*;
use protocol::BlockSize;

const BLOCK: u64 = 4_096;
const MAX_WINDOW: u64 = 1 << 20;

fn geometry() -> Geometry {
    Geometry::new(2_000 * BLOCK, BlockSize::try_from(BLOCK as u32).unwrap()).unwrap()
}

fn span(index: u32, count: u32) -> Span {
    geometry().span(index, count).unwrap()
}

const fn at(ms: u64) -> Instant {
    Instant::after_start(Duration::from_millis(ms))
}

fn new() -> Asked {
    Asked::new(0, 0, at(0))
}

/// One that was asked for so many segments, which are the blocks.
fn asked_for(count: u32, now: Instant) -> Asked {
    let mut asked = new();
    asked.requested(span(0, count), &geometry(), now);
    asked
}

fn deliver(asked: &mut Asked, bytes: u64, waited_ms: u64, now: Instant) {
    asked.delivered(bytes, Some(now - Duration::from_millis(waited_ms)), MAX_WINDOW, now);
}

#[test]
fn what_is_asked_is_in_flight_until_it_is_answered() {
    let mut asked = asked_for(3, at(0));
    asked.requested(span(8, 1), &geometry(), at(5));
    assert_eq!((asked.bytes(), asked.last), (4 * BLOCK, Some(span(8, 1))));
    assert_eq!(asked.in_flight().iter().map(|request| request.span).collect::<Vec<_>>(), [span(0, 3), span(8, 1)]);
    assert_eq!(asked.answered(span(8, 1), &geometry()), Fit::Asked(at(5)));
    assert_eq!(asked.bytes(), 3 * BLOCK);
    assert_eq!(asked.answered(span(8, 1), &geometry()), Fit::Unasked, "it came already");
    assert_eq!(asked.rejected(span(0, 3), &geometry()).map(|request| request.sent), Some(at(0)));
    assert_eq!(asked.rejected(span(0, 3), &geometry()), None);
    assert_eq!((asked.bytes(), asked.in_flight().len()), (0, 0));
    asked.audit(&geometry());
}

#[test]
#[should_panic(expected = "bytes in flight")]
fn an_audit_finds_bytes_that_were_not_kept_right() {
    Asked { bytes: 1, ..new() }.audit(&geometry());
}

#[test]
fn what_was_taken_back_may_still_come_once() {
    let mut asked = asked_for(3, at(0));
    assert!(asked.take_back(span(0, 3), &geometry()));
    assert!(!asked.take_back(span(0, 3), &geometry()));
    assert_eq!((asked.bytes(), asked.owed(&geometry())), (0, 3 * BLOCK));
    assert_eq!(asked.answered(span(5, 1), &geometry()), Fit::Unasked);
    assert_eq!(asked.answered(span(0, 3), &geometry()), Fit::Late);
    assert_eq!(asked.answered(span(0, 3), &geometry()), Fit::Unasked);
}

#[test]
fn a_rejection_is_of_the_request_that_was_taken_back_and_not_of_the_one_that_is_in_flight() {
    let mut asked = asked_for(1, at(0));
    asked.take_back(span(0, 1), &geometry());
    asked.requested(span(0, 1), &geometry(), at(9));
    assert_eq!(asked.rejected(span(0, 1), &geometry()), None);
    assert_eq!(asked.bytes(), BLOCK);
    assert_eq!(asked.rejected(span(0, 1), &geometry()).map(|request| request.sent), Some(at(9)));
}

#[test]
fn only_so_many_requests_that_were_taken_back_are_remembered_the_last_ones() {
    let mut asked = new();
    let all = MAX_STALE as u32 + 2;
    (0..all).for_each(|index| asked.requested(span(index, 1), &geometry(), at(0)));
    assert_eq!(asked.take_all_back(), (0..all).map(|index| span(index, 1)).collect::<Vec<_>>());
    assert_eq!((asked.bytes(), asked.owed(&geometry())), (0, MAX_STALE as u64 * BLOCK));
    assert_eq!(asked.answered(span(1, 1), &geometry()), Fit::Unasked);
    assert_eq!(asked.answered(span(2, 1), &geometry()), Fit::Late);
    asked.audit(&geometry());
}

#[test]
fn after_it_began_anew_as_much_may_come_as_it_owed_whatever_blocks_those_are() {
    let mut asked = Asked { overhang: BLOCK, ..asked_for(1, at(0)) };
    asked.requested(span(5, 2), &geometry(), at(0));
    asked.take_back(span(0, 1), &geometry());
    asked.refuse(span(50, 1), at(0));
    assert_eq!(asked.begin_anew(&geometry()), [span(5, 2)]);
    assert_eq!((asked.bytes(), asked.owed(&geometry()), asked.next_retry()), (0, 4 * BLOCK, None));
    assert_eq!(asked.answered(span(90, 3), &geometry()), Fit::Late);
    assert_eq!(asked.answered(span(90, 2), &geometry()), Fit::Unasked);
    assert_eq!(asked.answered(span(90, 1), &geometry()), Fit::Late);
    assert_eq!(asked.owed(&geometry()), 0);
}

#[test]
fn a_request_is_steered_only_once() {
    let mut asked = asked_for(1, at(0));
    asked.requested(span(5, 1), &geometry(), at(0));
    let to = PeerId::from_bytes([7; 8]);
    assert!(asked.steer(span(5, 1), to));
    assert!(!asked.steer(span(5, 1), to) && !asked.steer(span(6, 1), to));
    assert_eq!(asked.in_flight().iter().map(|request| request.moves_to).collect::<Vec<_>>(), [None, Some(to)]);
}

#[test]
fn more_is_asked_while_the_window_has_any_room() {
    let mut asked = new();
    assert_eq!(asked.next_request(u32::MAX, 0, at(0)), Some(64 << 10));
    assert_eq!(asked.next_request(9_000, 0, at(0)), Some(9_000));
    asked.requested(span(0, 15), &geometry(), at(0));
    assert_eq!(asked.next_request(u32::MAX, 0, at(0)), Some(64 << 10));
    asked.requested(span(15, 1), &geometry(), at(0));
    assert_eq!(asked.next_request(u32::MAX, 0, at(0)), None);
    let bytes = asked.bytes() as u32;
    assert_eq!(asked.next_request(u32::MAX, bytes, at(0)), None);
    assert_eq!(asked.next_request(u32::MAX, bytes + 1, at(0)), Some(64 << 10), "a block always fits");
}

#[test]
fn one_request_takes_twenty_milliseconds_or_is_small() {
    let request = |per_second: u64| {
        let mut asked = new();
        asked.delivered(per_second, None, MAX_WINDOW, at(0));
        assert_eq!(asked.rate.per_second(at(1_000)), per_second);
        asked.next_request(u32::MAX, 0, at(1_000)).map(|bytes| bytes >> 10)
    };
    // Bytes per second, and KiB of the request.
    for (per_second, kib) in [(0, 64), (6_553_599, 64), (6_553_600, 128), (10_000_000, 128), (13_107_200, 256)] {
        assert_eq!(request(per_second), Some(kib), "{per_second} bytes per second");
    }
}

#[test]
fn requests_become_smaller_when_one_would_take_over_two_seconds_and_larger_when_one_of_twice_the_size_would_not() {
    let mut asked = new();
    let mut now = 0;
    let mut request_after = |(kib, took): (u64, u64)| {
        now += 10_000;
        asked.requested(span(0, 1), &geometry(), at(now));
        // It waited in a queue before, behind another.
        asked.requested(span(1, 1), &geometry(), at(now));
        assert_eq!(asked.answered(span(0, 1), &geometry()), Fit::Asked(at(now)));
        asked.delivered(kib << 10, Some(at(now - 9_000)), MAX_WINDOW, at(now + took));
        asked.take_all_back();
        asked.stale.clear();
        asked.next_request(u32::MAX, 0, at(now + 9_999)).map(|bytes| bytes >> 10)
    };
    let answers = [
        (64, 2_000),
        (64, 2_001),
        (32, 2_001),
        (16, 9_000),
        (16, 1_001),
        (16, 1_000),
        (16, 1_000),
        (32, 1_000),
        (0, 0),
    ];
    assert_eq!(answers.map(&mut request_after), [64, 32, 16, 16, 16, 32, 32, 64, 64].map(Some));
}

#[test]
fn one_that_is_snubbed_is_asked_for_one_segment_at_a_time() {
    let mut asked = asked_for(1, at(0));
    asked.snub(at(100));
    assert_eq!(asked.next_request(u32::MAX, 0, at(100)), None);
    asked.take_all_back();
    assert_eq!(asked.next_request(u32::MAX, 0, at(100)), Some(SEGMENT_BYTES));
}

#[test]
fn one_that_is_snubbed_gets_a_second_chance_and_none_once_it_delivers() {
    let mut asked = new();
    assert!(!asked.is_snubbed() && !asked.deserves_another_try(at(90_000)) && asked.second_chance().is_none());
    asked.snub(at(100));
    assert!(asked.is_snubbed());
    assert!(
        !asked.deserves_another_try(at(4_099)) && asked.deserves_another_try(at(4_100)),
        "as long as it is waited for"
    );
    assert_eq!(asked.second_chance(), Some(at(4_100)));
    (0..3).for_each(|_| asked.snub(at(100)));
    assert_eq!(asked.second_chance(), Some(at(15_100)), "and no longer than that");
    asked.delivered(1, None, MAX_WINDOW, at(200));
    assert!(!asked.is_snubbed());
}

#[test]
fn the_window_grows_by_twice_what_is_delivered_while_answers_come_soon() {
    let mut asked = new();
    deliver(&mut asked, 5_000, 100, at(1_000));
    assert_eq!(asked.window, FIRST_WINDOW + 10_000);
    deliver(&mut asked, 5_000, 2 * 100 + 50, at(2_000));
    assert_eq!(asked.window, FIRST_WINDOW + 20_000, "twice the shortest wait and 50 ms are borne");
    deliver(&mut asked, 5 * MAX_WINDOW, 100, at(3_000));
    assert_eq!(asked.window, MAX_WINDOW);
    assert_eq!(asked.total(), 10_000 + 5 * MAX_WINDOW);
}

#[test]
fn the_window_shrinks_as_much_as_answers_wait_too_long() {
    let mut asked = new();
    deliver(&mut asked, 2_232, 100, at(1_000));
    assert_eq!(asked.window, 70_000);
    deliver(&mut asked, 1, 1_000, at(3_000));
    assert_eq!(asked.window, 70_000 / 4);
    deliver(&mut asked, 1, 1_000_000_000, at(1_000_100_000));
    assert_eq!(asked.window, 1, "never so far that nothing is asked");
}

#[test]
fn what_comes_late_leaves_the_window_alone() {
    let mut asked = new();
    asked.delivered(9_000, None, MAX_WINDOW, at(1_000));
    assert_eq!((asked.window, asked.total()), (FIRST_WINDOW, 9_000));
}

/// When the patience ends with one, beside others with whom it lasts so long, over a line that takes so long.
fn overdue(asked: &Asked, others_ms: u64, line_ms: u64) -> Option<Instant> {
    let mut patience = Patience::default();
    (0..100).for_each(|_| patience.answered_after(Duration::from_millis(others_ms / 4)));
    asked.overdue(&Usual { patience: &patience, line: Duration::from_millis(line_ms) })
}

#[test]
fn one_that_owes_something_is_overdue_when_it_delivers_slower_than_usual() {
    assert_eq!(overdue(&new(), 0, 0), None, "it owes nothing");
    let mut asked = asked_for(125, at(1_000));
    asked.delivered(1_024, None, MAX_WINDOW, at(2_000));
    assert_eq!(overdue(&asked, 8_000, 0), Some(at(2_000 + 4 * 1_000)), "it took a second");
    asked.requested(span(200, 125), &geometry(), at(3_000));
    assert_eq!(overdue(&asked, 8_000, 0), Some(at(2_000 + 4 * 1_000)), "a request more is no delivery");
    assert_eq!(overdue(&asked, 0, 5_000), Some(at(2_000 + 5_000)), "over a full line everybody is late");
    asked.snub(at(5_000));
    assert_eq!(overdue(&asked, 0, 0), Some(at(2_000 + 2 * 4_000)), "it is waited for twice as long next time");
    asked.take_all_back();
    assert_eq!(overdue(&asked, 0, 0), None);
    asked.requested(span(0, 1), &geometry(), at(9_000));
    assert_eq!(overdue(&asked, 0, 0), Some(at(9_000 + 2 * 4_000)));
}

#[test]
fn one_of_whom_nothing_is_known_is_taken_for_one_as_the_others_but_slow() {
    let asked = asked_for(125, at(1_000));
    assert!(!asked.is_known());
    assert_eq!(overdue(&asked, 0, 0), Some(at(1_000 + 2_000 + 8_000)), "512,000 bytes at 64,000 a second");
    assert_eq!(overdue(&asked, 4_000, 0), Some(at(1_000 + 4_000 + 8_000)));
    assert_eq!(overdue(&asked, 0, 10_000), Some(at(1_000 + 10_000)));
}

#[test]
fn the_window_of_one_that_serves_again_is_a_quarter_but_not_less_than_at_first() {
    for (before, after) in
        [(1 << 20, 1 << 18), (4 * FIRST_WINDOW + 4, FIRST_WINDOW + 1), (FIRST_WINDOW * 3, FIRST_WINDOW)]
    {
        let mut asked = Asked { window: before, ..new() };
        asked.serves_again();
        assert_eq!(asked.window, after);
    }
    let mut slow = Asked { window: 1, ..new() };
    slow.serves_again();
    assert_eq!(slow.window, 1);
}

#[test]
fn what_waited_in_the_same_queue_shrinks_the_window_once() {
    let mut asked = new();
    deliver(&mut asked, 1, 100, at(1_000));
    let before = asked.window;
    deliver(&mut asked, 1, 500, at(2_000));
    assert_eq!(asked.window, before / 2, "it waited for twice as long as is borne");
    deliver(&mut asked, 1, 1_000, at(2_500));
    assert_eq!(asked.window, before / 2, "it was asked before");
    deliver(&mut asked, 1, 500, at(2_500));
    assert_eq!(asked.window, before / 4);
}

#[test]
fn one_that_delivers_nothing_may_have_forgotten_after_a_minute_or_twice_the_patience() {
    let mut asked = asked_for(1, at(0));
    let forgot = |asked: &Asked, ms| {
        let patience = Patience::default();
        asked.may_have_forgotten(&Usual { patience: &patience, line: Duration::ZERO }, at(ms))
    };
    assert!(!forgot(&asked, 59_999) && forgot(&asked, 60_000));
    asked.delivered(1, None, MAX_WINDOW, at(10_000));
    assert!(!forgot(&asked, 10_000 + 79_999) && forgot(&asked, 10_000 + 80_000), "it took ten seconds before");
}

#[test]
fn a_refusal_is_believed_twice_as_long_each_time_up_to_a_minute() {
    let mut asked = new();
    assert_eq!(asked.next_retry(), None);
    let mut now = at(1_000);
    for seconds in [2, 4, 8, 16, 32, 64, 64] {
        let wait = Duration::from_secs(seconds);
        asked.refuse(span(3, 1), now);
        asked.refuse(span(4, 1), now + Duration::from_millis(1));
        assert!(asked.refuses_since.is_some());
        assert_eq!(asked.next_retry(), Some(now + wait));
        assert!(asked.retry(false, now + wait - Duration::from_millis(1)).is_empty());
        assert_eq!(asked.retry(false, now + wait), [span(3, 1)]);
        now = now + wait * 3;
        asked.retry(true, now);
    }
}

#[test]
fn one_that_serves_may_be_asked_at_once_for_all_that_it_refused_which_makes_no_wait_longer() {
    let mut asked = new();
    (0..3).for_each(|index| asked.refuse(span(index, 1), at(1_000)));
    assert_eq!(asked.retry(true, at(1_000)), [0, 1, 2].map(|index| span(index, 1)));
    asked.refuse(span(0, 1), at(1_000));
    assert_eq!(asked.next_retry(), Some(at(3_000)));
}

#[test]
fn of_too_many_refusals_the_oldest_is_asked_again_first() {
    let mut asked = new();
    (0..=MAX_REFUSED as u32).for_each(|index| asked.refuse(span(index, 1), at(1_000)));
    assert_eq!(asked.retry(false, at(1_000)), [span(0, 1)]);
    assert!(asked.retry(false, at(1_000)).is_empty());
    asked.forget_refusals();
    assert_eq!(asked.next_retry(), None);
}

#[test]
fn one_that_delivers_is_soon_asked_again_for_twice_as_much_as_it_delivered() {
    let mut asked = new();
    (0..8).for_each(|index| asked.refuse(span(index, 1), at(0)));
    let retry = |asked: &mut Asked, millis| {
        assert_eq!(asked.next_retry(), Some(at(millis)));
        assert!(asked.retry(false, at(millis - 1)).is_empty());
        asked.retry(false, at(millis)).len()
    };
    (0..2).for_each(|_| asked.delivered(1, None, MAX_WINDOW, at(100)));
    assert!(asked.refuses_since.is_none());
    assert_eq!(retry(&mut asked, 2_000), 4);
    asked.delivered(1, None, MAX_WINDOW, at(2_100));
    assert_eq!(retry(&mut asked, 4_000), 2);
    assert_eq!(retry(&mut asked, 6_000), 2, "nothing came: all is tried, and the next time later");
    asked.refuse(span(0, 1), at(6_000));
    assert_eq!(retry(&mut asked, 10_000), 1);
    asked.refuse(span(0, 1), at(10_000));
    asked.delivered(1, None, MAX_WINDOW, at(10_100));
    assert_eq!(retry(&mut asked, 12_000), 1);
}

#[test]
fn the_time_to_deliver_is_that_of_all_that_is_asked_and_more() {
    let mut asked = asked_for(5, at(0));
    assert_eq!(asked.time_to_deliver(0, at(1_000)), None);
    asked.delivered(10_240, None, MAX_WINDOW, at(0));
    assert_eq!(asked.rate.per_second(at(1_000)), 10_240);
    assert_eq!(asked.time_to_deliver(0, at(1_000)), Some(Duration::from_secs(2)));
    assert_eq!(asked.time_to_deliver(20_480, at(1_000)), Some(Duration::from_secs(4)));
    asked.take_all_back();
    assert_eq!(asked.time_to_deliver(20_480, at(1_000)), None, "it answered nothing that it was asked for");
    deliver(&mut asked, 1, 150, at(1_000));
    assert_eq!(asked.time_to_deliver(20_480, at(9_000)), Some(Duration::from_millis(150)), "it is idle");
}

#[test]
fn a_request_is_expected_to_wait_as_long_as_the_last_one() {
    let mut asked = asked_for(1, at(1_000));
    let request = asked.in_flight()[0];
    assert_eq!(asked.remaining_wait(&request, at(1_300)), Duration::from_millis(300), "the longer the more, at first");
    assert_eq!(asked.shortest_wait(), None);
    deliver(&mut asked, 1, 150, at(1_000));
    deliver(&mut asked, 1, 500, at(1_000));
    assert_eq!(asked.remaining_wait(&request, at(1_300)), Duration::from_millis(200));
    assert_eq!(asked.remaining_wait(&request, at(1_500)), Duration::ZERO);
    assert_eq!(asked.remaining_wait(&request, at(1_900)), Duration::from_millis(400), "as much more as it is late");
    assert_eq!(asked.shortest_wait(), Some(Duration::from_millis(150)));
}

#[test]
fn whoever_answered_in_time_is_asked_for_more_as_long_as_its_window_has_room() {
    let second = Duration::from_secs(1);
    let mut asked = new();
    assert!(!asked.answers_within(second, at(0)), "it answered nothing");
    deliver(&mut asked, BLOCK, 1_000, at(1_000));
    assert!(asked.answers_within(second, at(1_000)));
    let window = (FIRST_WINDOW + 2 * BLOCK) / BLOCK;
    asked.requested(span(0, window as u32 - 1), &geometry(), at(1_000));
    assert!(asked.answers_within(second, at(2_000)));
    assert!(!asked.answers_within(second, at(2_001)), "one waits for longer");
    asked.requested(span(500, 1), &geometry(), at(1_000));
    assert!(!asked.answers_within(second, at(1_000)), "its window is full");
    let mut asked = new();
    deliver(&mut asked, BLOCK, 1_001, at(1_001));
    assert!(!asked.answers_within(second, at(1_001)));
}
