use super::*;
use proptest::prelude::*;
use quota::{ADDRESS_ANSWERS, ALL_ANSWERS, ALL_DATAGRAMS};
use std::net::Ipv4Addr;
use stun_types::{
    attribute::{Software, Userhash, Username, XorMappedAddress},
    message::{BINDING, Message, MessageClass, MessageType, MessageWriteVec, Method, TransactionId},
    prelude::{MessageWrite as _, MessageWriteExt as _},
};

const OWN: &str = "192.0.2.1:9000";
const CLIENT: &str = "203.0.113.7:40123";
/// What Chromium 156 sent, and nothing follows the head.
const CHROMIUM: [u8; 20] = *b"\0\x01\0\0\x21\x12\xa4\x42jg9sm9u5cphA";
const SECOND: Duration = Duration::from_secs(1);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn responder(own: &str) -> Responder {
    Responder::new(addr(own), [7; 32])
}

/// The answer of a tracker that was never asked before.
fn first_answer(datagram: &[u8], from: &str) -> Option<Vec<u8>> {
    responder(OWN).handle(datagram, addr(from), Duration::ZERO)
}

fn message(class: MessageClass, method: Method, add: impl FnOnce(&mut MessageWriteVec)) -> Vec<u8> {
    let kind = MessageType::from_class_method(class, method);
    let mut message = Message::builder(kind, TransactionId::from(0x1234), MessageWriteVec::new());
    add(&mut message);
    message.finish()
}

fn request(add: impl FnOnce(&mut MessageWriteVec)) -> Vec<u8> {
    message(MessageClass::Request, BINDING, add)
}

/// The address that an answer tells; it must be the right one to the request otherwise.
fn told(request: &[u8], answer: &[u8]) -> SocketAddr {
    let message = Message::from_bytes(answer).unwrap();
    assert!(message.has_class(MessageClass::Success) && message.has_method(BINDING));
    assert_eq!(answer[4..20], request[4..20], "another transaction");
    message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id())
}

#[test]
fn a_browser_is_told_its_address_in_the_fewest_bytes() {
    let answer = first_answer(&CHROMIUM, CLIENT).unwrap();
    // By hand: 40123 ^ 0x2112, and 203.0.113.7 ^ 0x2112a442.
    let body = *b"\0\x20\0\x08\0\x01\xbd\xa9\xea\x12\xd5\x45";
    assert_eq!(answer, [&b"\x01\x01\0\x0c"[..], &CHROMIUM[4..], &body].concat());
    assert_eq!(told(&CHROMIUM, &answer), addr(CLIENT));

    let answer = first_answer(&CHROMIUM, "[2001:db8::7]:40123").unwrap();
    assert_eq!((answer.len(), told(&CHROMIUM, &answer)), (44, addr("[2001:db8::7]:40123")));
}

#[test]
fn a_mapped_address_is_one_of_ipv4() {
    let answer = first_answer(&CHROMIUM, "[::ffff:203.0.113.7]:40123").unwrap();
    assert_eq!((answer.len(), told(&CHROMIUM, &answer)), (32, addr(CLIENT)));
}

#[test]
fn a_fingerprint_is_answered_with_one_and_a_wrong_one_not_at_all() {
    // As Firefox asks.
    let mut asked = request(|message| message.add_fingerprint().unwrap());
    assert_eq!(asked.len(), 28);
    let answer = first_answer(&asked, CLIENT).unwrap();
    assert_eq!((answer.len(), told(&asked, &answer)), (40, addr(CLIENT)));
    assert_eq!(answer[32..36], [0x80, 0x28, 0, 4], "it is right, else it could not be read");

    *asked.last_mut().unwrap() ^= 1;
    assert_eq!(first_answer(&asked, CLIENT), None);
}

#[test]
fn what_need_not_be_understood_is_passed_over_and_all_else_is_dropped() {
    let named = request(|message| message.add_attribute(&Software::new("a client").unwrap()).unwrap());
    let answer = first_answer(&named, CLIENT).unwrap();
    assert_eq!((answer.len(), told(&named, &answer)), (32, addr(CLIENT)));

    let asked_more = [
        request(|message| message.add_attribute(&Username::new("me").unwrap()).unwrap()),
        request(|message| message.add_attribute(&Userhash::new([1; 32])).unwrap()),
        // CHANGE-REQUEST (RFC 5780), and an attribute of nobody.
        [&b"\0\x01\0\x08"[..], &CHROMIUM[4..], b"\0\x03\0\x04\0\0\0\x06"].concat(),
        [&b"\0\x01\0\x04"[..], &CHROMIUM[4..], b"\x7f\xff\0\0"].concat(),
    ];
    for datagram in asked_more {
        assert_eq!(first_answer(&datagram, CLIENT), None, "{datagram:x?}");
    }
}

#[test]
fn only_a_binding_request_is_answered() {
    let answer = first_answer(&CHROMIUM, CLIENT).unwrap();
    let others = [
        answer,
        message(MessageClass::Success, BINDING, |_| ()),
        message(MessageClass::Error, BINDING, |_| ()),
        message(MessageClass::Indication, BINDING, |_| ()),
        // TURN's Allocate.
        message(MessageClass::Request, Method::new(3), |_| ()),
        // RFC 3489, without the magic cookie.
        [&b"\0\x01\0\0"[..], &[9; 16]].concat(),
        // What else may come to a port: DNS, DTLS, nothing.
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01".to_vec(),
        [&[22, 0xfe, 0xfd][..], &[0; 40]].concat(),
        Vec::new(),
    ];
    for datagram in others {
        assert_eq!(first_answer(&datagram, CLIENT), None, "{datagram:x?}");
    }
}

#[test]
fn lengths_that_lie_are_dropped() {
    let whole = request(|message| {
        message.add_attribute(&Software::new("abc").unwrap()).unwrap();
        message.add_fingerprint().unwrap();
    });
    assert!(first_answer(&whole, CLIENT).is_some());
    for len in 0..whole.len() {
        assert_eq!(first_answer(&whole[..len], CLIENT), None, "cut to {len}");
    }
    for more in [1, 4, 8, 1_000] {
        assert_eq!(first_answer(&[&whole[..], &vec![0; more]].concat(), CLIENT), None, "{more} behind it");
    }
    for byte in [2, 3, 22, 23, 30, 31] {
        // With 9 to 12 bytes the first attribute takes the second one in, and is right.
        let is_right = |value: &u8| *value == whole[byte] || (byte == 23 && (9..=12).contains(value));
        for value in (0..=u8::MAX).filter(|value| !is_right(value)) {
            let mut datagram = whole.clone();
            datagram[byte] = value;
            assert_eq!(first_answer(&datagram, CLIENT), None, "{value} at {byte}");
        }
    }
    // An attribute in the last bytes whose head is cut, or whose padding is not there.
    for tail in [&b"\x80\x22"[..], b"\x80\x22\0", b"\x80\x22\0\x01", b"\x80\x22\0\x01x", b"\x80\x22\xff\xffxxxx"] {
        let len = [0, tail.len() as u8];
        let datagram = [&b"\0\x01"[..], &len, &CHROMIUM[4..], tail].concat();
        assert_eq!(first_answer(&datagram, CLIENT), None, "{datagram:x?}");
    }
    let padded = |bytes: usize| request(|it| it.add_attribute(&Software::new(&"x".repeat(bytes)).unwrap()).unwrap());
    assert_eq!(padded(MAX_REQUEST_BYTES - 24).len(), MAX_REQUEST_BYTES);
    assert!(first_answer(&padded(MAX_REQUEST_BYTES - 24), CLIENT).is_some());
    assert_eq!(first_answer(&padded(MAX_REQUEST_BYTES - 20), CLIENT), None);
}

#[test]
fn nobody_is_answered_who_cannot_have_asked() {
    for from in [
        "203.0.113.7:0",
        "0.0.0.0:1",
        "255.255.255.255:1",
        "224.0.0.1:1",
        "239.255.255.250:1900",
        "[::]:1",
        "[ff02::1]:1",
        "[::ffff:224.0.0.1]:1",
        OWN,
        "[::ffff:192.0.2.1]:9000",
    ] {
        assert_eq!(first_answer(&CHROMIUM, from), None, "{from}");
    }
    assert!(first_answer(&CHROMIUM, "192.0.2.1:9001").is_some(), "a program of the same machine");
    let answer = |own, from| responder(own).handle(&CHROMIUM, addr(from), Duration::ZERO);
    for own in ["0.0.0.0:9000", "[::]:9000"] {
        for from in ["127.0.0.1:9000", "127.8.8.8:9000", "[::1]:9000"] {
            assert_eq!(answer(own, from), None, "{from} at {own}");
        }
        assert!(answer(own, "203.0.113.7:9000").is_some(), "another machine has that port as well");
    }
}

#[test]
fn an_address_gets_its_answers_and_then_none_until_the_next_second() {
    let mut responder = responder(OWN);
    let mut count = |from: &str, now| {
        (0..2 * ADDRESS_ANSWERS).filter(|_| responder.handle(&CHROMIUM, addr(from), now).is_some()).count()
    };
    let all = usize::from(ADDRESS_ANSWERS);
    assert_eq!(count(CLIENT, Duration::ZERO), all);
    assert_eq!(count("203.0.113.7:40124", SECOND / 2), 0, "the port makes no difference");
    assert_eq!(count("[2001:db8::1]:1", SECOND / 2), all, "the other one is nobody's burden");
    assert_eq!(count("[2001:db8:0:ff::1]:1", SECOND / 2), 0, "it is the same network");
    assert_eq!(count(CLIENT, SECOND), all);
}

#[test]
fn forged_addresses_get_no_more_than_all_may_have_and_lock_others_out_for_a_second() {
    let mut responder = responder(OWN);
    let mut flood = |now: Duration| {
        let forged = (0..2 * ALL_ANSWERS).map(|number| (Ipv4Addr::from_bits(0x0b00_0000 + number), 1).into());
        forged.filter(|from| responder.handle(&CHROMIUM, *from, now).is_some()).count()
    };
    assert_eq!(flood(Duration::ZERO), ALL_ANSWERS as usize);
    assert_eq!(flood(SECOND - Duration::from_nanos(1)), 0);
    assert_eq!(flood(SECOND), ALL_ANSWERS as usize);
    assert_eq!(responder.pause(SECOND * 3 / 2), SECOND / 2);
    assert!(responder.handle(&CHROMIUM, addr(CLIENT), SECOND * 3 / 2).is_none());
    assert!(responder.handle(&CHROMIUM, addr(CLIENT), SECOND * 2).is_some());
    assert_eq!(responder.pause(SECOND * 2), Duration::ZERO);
}

#[test]
fn whose_counter_is_full_has_another_in_the_next_second() {
    let mut responder = responder(OWN);
    let address = |number: u32| SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number)), 1);
    let mut locked_out = |now: Duration| -> Vec<_> {
        // As many as can be full.
        for full in 0..ALL_ANSWERS / u32::from(ADDRESS_ANSWERS) - 1 {
            (0..ADDRESS_ANSWERS).for_each(|_| drop(responder.handle(&CHROMIUM, address(full), now)));
        }
        let others = 1_000_000..1_000_000 + u32::from(ADDRESS_ANSWERS);
        others.filter(|other| responder.handle(&CHROMIUM, address(*other), now).is_none()).collect()
    };
    let seconds: Vec<_> = (0..20).map(|second| locked_out(SECOND * second)).collect();
    assert!(seconds.iter().any(|locked_out| !locked_out.is_empty()), "or this test says nothing");
    for pair in seconds.windows(2) {
        assert!(pair[0].len() <= 8 && pair[0].iter().all(|address| !pair[1].contains(address)), "{pair:?}");
    }
}

#[test]
fn a_flood_of_anything_is_left_to_the_system_for_the_rest_of_the_second() {
    let mut responder = responder(OWN);
    for _ in 1..ALL_DATAGRAMS {
        assert_eq!(responder.handle(b"flood", addr(CLIENT), Duration::ZERO), None);
    }
    assert_eq!(responder.pause(Duration::ZERO), Duration::ZERO);
    responder.miss(SECOND / 4);
    assert_eq!(responder.pause(SECOND / 4), SECOND * 3 / 4);
    assert_eq!(responder.pause(SECOND), Duration::ZERO);
}

#[test]
fn the_key_is_never_shown() {
    let shown = format!("{:?}", Responder::new(addr(OWN), [0xab; 32]));
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab"), "{shown}");
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_only_if_it_is_a_request_and_with_little_more(
        head in prop_oneof![Just(CHROMIUM[..8].to_vec()), Just(b"\0\x01".to_vec()), Just(Vec::new())],
        tail in prop::collection::vec(prop_oneof![4 => Just(0), 1 => Just(0x80), 2 => any::<u8>()], 0..600),
        is_length_right: bool,
        ip: u32,
        port: u16,
    ) {
        let mut datagram = [head, tail].concat();
        if is_length_right && datagram.len() >= 20 {
            let len = datagram.len() as u16 - 20;
            datagram[2..4].copy_from_slice(&len.to_be_bytes());
        }
        let from = SocketAddr::new(Ipv4Addr::from_bits(ip).into(), port);
        if let Some(answer) = responder(OWN).handle(&datagram, from, Duration::ZERO) {
            prop_assert!(datagram.starts_with(b"\0\x01") && datagram[4..8] == CHROMIUM[4..8]);
            prop_assert!(answer.len() <= datagram.len() + 12);
            prop_assert_eq!(told(&datagram, &answer), from);
        }
    }
}
