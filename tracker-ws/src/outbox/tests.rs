use super::*;

const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);
const BOB: PeerId = PeerId::from_bytes([0xb2; 8]);

fn outbox(data_limit: usize) -> Outbox {
    Outbox::new(data_limit, Arc::new(Budget::new(1 << 30)))
}

fn frame(len: usize) -> OutFrame {
    OutFrame::text(&"x".repeat(len))
}

async fn taken(outbox: &Outbox) -> (Vec<u8>, bool) {
    let mut batch = Batch::default();
    let more = outbox.fill(&mut batch).await;
    let mut written = Vec::new();
    batch.write_to(&mut written, std::time::Duration::MAX).await.unwrap();
    (written, more)
}

#[tokio::test]
async fn control_goes_before_data() {
    let outbox = outbox(1_000);
    outbox.push_data(ALICE, OutFrame::text("data"));
    outbox.push_control(OutFrame::text("first"));
    outbox.push_control(OutFrame::text("second"));
    assert_eq!(taken(&outbox).await, (b"\x81\x05first\x81\x06second\x81\x04data".to_vec(), true));
}

#[tokio::test]
async fn data_is_refused_above_its_limit_until_some_is_written() {
    let outbox = outbox(1_000);
    assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Accepted);
    assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Busy);
    taken(&outbox).await;
    assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Busy, "what is being written still waits");
    outbox.push_control(frame(1));
    taken(&outbox).await;
    assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Accepted);
}

#[tokio::test]
async fn no_source_takes_the_room_of_the_others() {
    let outbox = outbox(100_000);
    let push = |source| outbox.push_data(source, frame(1_000)) == Pushed::Accepted;
    let alice = (0..1_000).take_while(|_| push(ALICE)).count();
    let bob = (0..1_000).take_while(|_| push(BOB)).count();
    assert!((40..50).contains(&alice) && (20..25).contains(&bob), "{alice} {bob}");
    assert!(push(PeerId::from_bytes([0xc3; 8])));
}

#[tokio::test]
async fn the_budget_shrinks_data_and_never_control() {
    let budget = Arc::new(Budget::new(10_000));
    let (full, other) = (Outbox::new(1 << 20, Arc::clone(&budget)), Outbox::new(1 << 20, Arc::clone(&budget)));
    while full.push_data(ALICE, frame(1_000)) == Pushed::Accepted {}
    assert_eq!(other.push_data(ALICE, frame(4_000)), Pushed::Accepted, "one gets half");
    assert_eq!(other.push_data(BOB, frame(4_000)), Pushed::Busy);
    assert_eq!(full.push_envelope(BOB, frame(4_000)), Pushed::Accepted);
    taken(&full).await;
    drop(full);
    assert_eq!(other.push_data(BOB, frame(500)), Pushed::Accepted);
    other.close(1_000);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn many_empty_frames_are_not_for_free() {
    let outbox = outbox(10_000);
    assert!((0..1_000).any(|_| outbox.push_data(ALICE, frame(0)) == Pushed::Busy));
    for _ in 0..CONTROL_BYTES / 100 {
        outbox.push_control(frame(0));
    }
    assert_eq!(outbox.lock().closing, Closing::Asked(close::SLOW_RECEIVER));
}

#[tokio::test]
async fn of_many_pings_the_newest_are_answered() {
    let outbox = outbox(0);
    outbox.push_control(OutFrame::text("x"));
    for number in 0..=u16::MAX {
        outbox.push_pong(&number.to_be_bytes());
    }
    let newest = (u16::MAX - MAX_PONGS as u16 + 1)..=u16::MAX;
    let mut expected: Vec<u8> = newest.flat_map(|number| [&[0x8a, 2], &number.to_be_bytes()[..]].concat()).collect();
    expected.extend(b"\x81\x01x");
    assert_eq!(taken(&outbox).await, (expected, true));
}

#[tokio::test]
async fn an_empty_lane_gives_its_room_back() {
    let outbox = outbox(1 << 20);
    for _ in 0..1_000 {
        outbox.push_control(frame(1));
        outbox.push_data(ALICE, frame(1));
    }
    taken(&outbox).await;
    let lanes = outbox.lock();
    assert!(lanes.control.capacity() < 100);
    assert_eq!((lanes.control_bytes, lanes.data.cost()), (0, 0));
}

#[tokio::test]
async fn a_newer_state_takes_the_place_of_an_older_one() {
    let outbox = outbox(0);
    outbox.push_update(OutFrame::text("old"));
    outbox.push_control(OutFrame::text("x"));
    outbox.push_update(OutFrame::text("new"));
    assert_eq!(taken(&outbox).await.0, b"\x81\x01x\x81\x03new");
}

#[tokio::test]
async fn a_close_waits_for_control_and_drops_data() {
    let outbox = outbox(1_000);
    outbox.push_data(ALICE, OutFrame::text("data"));
    outbox.push_control(OutFrame::text("x"));
    outbox.close(4_000);
    outbox.close(4_001);
    outbox.push_control(OutFrame::text("late"));
    assert_eq!(taken(&outbox).await, (b"\x81\x01x\x88\x02\x0f\xa0".to_vec(), false));
    assert_eq!(outbox.closed().await, 4_000);
}

#[tokio::test]
async fn draining_writes_all_that_waits_before_the_close() {
    let outbox = outbox(4 * BATCH_BYTES);
    outbox.push_data(ALICE, frame(BATCH_BYTES));
    outbox.push_data(ALICE, OutFrame::text("data"));
    outbox.drain_then_close(1_001);
    outbox.push_control(OutFrame::text("late"));
    assert!(taken(&outbox).await.1);
    assert_eq!(taken(&outbox).await, (b"\x81\x04data\x88\x02\x03\xe9".to_vec(), false));
    outbox.closed().await;
}

#[tokio::test]
async fn a_close_cuts_draining_short() {
    let outbox = outbox(1_000);
    outbox.push_data(ALICE, OutFrame::text("data"));
    outbox.drain_then_close(1_001);
    outbox.close(1_001);
    outbox.closed().await;
    assert_eq!(taken(&outbox).await, (b"\x88\x02\x03\xe9".to_vec(), false));
}

#[tokio::test]
async fn peers_cannot_have_a_receiver_closed_nor_take_the_room_of_others() {
    let outbox = outbox(0);
    let push = |source| outbox.push_envelope(source, frame(1_000)) == Pushed::Accepted;
    let alice = (0..).take_while(|_| push(ALICE)).count();
    let bob = (0..).take_while(|_| push(BOB)).count();
    assert!((400..500).contains(&alice) && (200..250).contains(&bob), "{alice} {bob}");
    outbox.push_control(frame(1_000));
    assert!(outbox.is_calm(), "what others send does not keep it from being read");
    assert_eq!(outbox.lock().closing, Closing::Open);
    taken(&outbox).await;
    taken(&outbox).await;
    assert!(push(ALICE));
}

#[tokio::test]
async fn small_messages_of_one_peer_hold_up_neither_data_nor_those_of_another() {
    let outbox = outbox(16 << 20);
    while outbox.push_envelope(ALICE, OutFrame::text(&"a".repeat(3_000))) == Pushed::Accepted {}
    outbox.push_envelope(BOB, OutFrame::text("bob"));
    for _ in 0..100 {
        outbox.push_data(BOB, OutFrame::binary("", vec![b'd'; 64 << 10].into()));
    }
    let (first, _) = taken(&outbox).await;
    let count = |byte| first.iter().filter(|it| **it == byte).count();
    assert!(first.windows(3).any(|window| window == b"bob"), "it waits for one turn");
    assert!(count(b'd') > 2 * count(b'a') && count(b'a') > 0, "{} {}", count(b'd'), count(b'a'));
}

#[tokio::test]
async fn what_is_said_of_a_peer_keeps_its_place_among_what_it_says() {
    let outbox = outbox(1_000);
    for text in ["one", "two"] {
        outbox.push_envelope(ALICE, OutFrame::text(text));
    }
    outbox.push_about(ALICE, OutFrame::text("left"));
    outbox.push_about(ALICE, OutFrame::text("joined"));
    outbox.push_envelope(ALICE, OutFrame::text("three"));
    let expected = b"\x81\x03one\x81\x03two\x81\x04left\x81\x06joined\x81\x05three";
    assert_eq!(taken(&outbox).await.0, expected);
}

#[tokio::test]
async fn a_receiver_that_lets_control_pile_up_is_closed() {
    let outbox = outbox(0);
    for _ in 0..=CONTROL_BYTES / 1_000 {
        outbox.push_control(frame(1_000));
    }
    outbox.closed().await;
    assert_eq!(outbox.lock().closing, Closing::Asked(close::SLOW_RECEIVER));
}
