use super::*;
use crate::{Limits, budget::Budget, rate::AddressAllowance};
use proptest::prelude::*;
use std::{iter, sync::Arc};
use tokio::io::{AsyncWriteExt as _, duplex};

const MAX: usize = 100_000;

fn space(bytes: usize) -> Space {
    Space::new(Arc::new(Budget::new(bytes)), AddressAllowance::new(&Limits::default()))
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..65_536 => frame.extend(iter::once(0x80 | 126).chain((len as u16).to_be_bytes())),
        len => frame.extend(iter::once(0x80 | 127).chain((len as u64).to_be_bytes())),
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What is read of bytes that come in pieces of these sizes, the first of them before the reader begins.
async fn read_pieces(bytes: Vec<u8>, pieces: Vec<usize>) -> (Vec<Incoming>, Option<ReadError>) {
    let mut pieces = pieces.into_iter();
    let begun = pieces.next().unwrap_or(0).min(bytes.len());
    let (client, mut server) = (bytes[begun..].to_vec(), bytes);
    server.truncate(begun);
    let (mut writer, stream) = duplex(50_000);
    let sending = tokio::spawn(async move {
        let mut rest = &client[..];
        while !rest.is_empty() {
            let piece = pieces.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            // The reader may have had enough.
            if writer.write_all(&rest[..piece]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            rest = &rest[piece..];
        }
    });
    let mut reader = Reader::new(stream, &server, MAX, space(10 * MAX));
    let mut seen = Vec::new();
    let error = loop {
        match reader.next().await {
            Ok(Some(incoming)) => seen.push(incoming),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    drop(reader);
    sending.await.unwrap();
    (seen, error)
}

fn read(bytes: &[u8]) -> (Vec<Incoming>, Option<ReadError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(read_pieces(bytes.to_vec(), Vec::new()))
}

fn block(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31) >> 3) as u8).collect()
}

proptest! {
    #[test]
    fn messages_arrive_however_they_were_cut(
        lens in proptest::collection::vec(prop_oneof![0..300_usize, 3_000..90_000_usize], 0..12),
        cuts in proptest::collection::vec(prop_oneof![0..10_usize, 1..40_000_usize], 0..40),
        fragments in 1..5_usize,
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (i, len) in lens.into_iter().enumerate() {
            let (payload, text) = (block(len), i % 3 == 0);
            let payload = if text { "é".repeat(len / 2).into_bytes() } else { payload };
            let opcode = if text { 1 } else { 2 };
            if i % 4 == 1 {
                let step = payload.len().div_ceil(fragments).max(1);
                let last = payload.chunks(step).count().max(1) - 1;
                bytes.extend(frame(if last == 0 { 0x80 | opcode } else { opcode }, payload.get(..step.min(payload.len())).unwrap_or_default()));
                for (j, part) in payload.chunks(step).enumerate().skip(1) {
                    bytes.extend(frame(0x89, b"amid"));
                    expected.push(Incoming::Ping(Bytes::from_static(b"amid")));
                    bytes.extend(frame(if j == last { 0x80 } else { 0 }, part));
                }
            } else {
                bytes.extend(frame(0x80 | opcode, &payload));
            }
            expected.push(if text {
                Incoming::Text(String::from_utf8(payload).unwrap().into())
            } else {
                Incoming::Binary(payload.into())
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (seen, error) = runtime.block_on(read_pieces(bytes, cuts));
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let begun = frame(0x01, b"a");
    for (what, bytes) in [
        ("a reserved bit", frame(0xc1, b"")),
        ("an unknown opcode", frame(0x83, b"")),
        ("an unknown control opcode", frame(0x8b, b"")),
        ("no mask", vec![0x81, 0x00]),
        ("a long ping", frame(0x89, &[0; 126])),
        ("a ping in pieces", frame(0x09, b"")),
        ("a continuation of nothing", frame(0x80, b"")),
        ("a message inside another", [begun.clone(), frame(0x81, b"b")].concat()),
        ("half a close code", frame(0x88, &[3])),
        ("a close code that is never sent", frame(0x88, &1005_u16.to_be_bytes())),
        ("a close code of nobody", frame(0x88, &5000_u16.to_be_bytes())),
    ] {
        assert!(matches!(read(&bytes), (_, Some(ReadError::Protocol(_)))), "{what}");
    }
    for (what, bytes) in [
        ("a text", frame(0x81, &[0xff])),
        ("a text in pieces", [begun, frame(0x80, &[0xc3])].concat()),
        ("the reason of a close", frame(0x88, &[3, 232, 0xff])),
    ] {
        assert!(matches!(read(&bytes), (_, Some(ReadError::NoUtf8))), "{what}");
    }
    let close = |payload: &[u8]| read(&frame(0x88, payload)).0;
    assert_eq!(close(&[]), [Incoming::Close(None)]);
    assert_eq!(close(b"\x03\xe8bye"), [Incoming::Close(Some(1000))]);
}

#[test]
fn a_message_may_be_as_large_as_the_limit_in_one_piece_or_several() {
    let whole = |len: usize| read(&frame(0x82, &vec![7; len]));
    assert_eq!(whole(MAX).0, [Incoming::Binary(vec![7; MAX].into())]);
    // Its payload is not waited for.
    assert!(matches!(read(&frame(0x82, &vec![7; MAX + 1])[..14]), (_, Some(ReadError::TooBig))));
    let halves = |len: usize| read(&[frame(0x02, &vec![7; MAX / 2]), frame(0x80, &vec![7; len])].concat());
    assert_eq!(halves(MAX / 2).0, [Incoming::Binary(vec![7; MAX].into())]);
    assert!(matches!(halves(MAX / 2 + 1), (_, Some(ReadError::TooBig))));
}

#[test]
fn fragments_without_end_are_too_much() {
    let (begin, end) = (frame(0x01, b""), frame(0x80, b""));
    assert_eq!(read(&[begin.clone(), frame(0, b"x").repeat(1_000), end].concat()).0.len(), 1);
    assert!(matches!(read(&[begin, frame(0, b"").repeat(40_000)].concat()), (_, Some(ReadError::TooBig))));
}

#[tokio::test]
async fn who_says_nothing_takes_no_memory_and_a_block_takes_its_own() {
    let (mut writer, stream) = duplex(1 << 20);
    let mut reader = Reader::new(stream, &[], MAX, space(10 * MAX));
    for len in [100, 16_384, 65_536, 65_536, 65_536, 100] {
        writer.write_all(&frame(0x82, &vec![7; len])).await.unwrap();
        let Ok(Some(Incoming::Binary(data))) = reader.next().await else { panic!("must be read") };
        assert_eq!(data.len(), len);
        assert!(len < LARGE_FRAME || reader.allocated <= 2 * len, "{len}: {}", reader.allocated);
        assert!(tokio::time::timeout(Duration::ZERO, reader.next()).await.is_err());
        assert_eq!(reader.buffer.capacity(), 0);
    }
}

/// Time is virtual and goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_message_for_which_there_is_no_memory_waits_until_another_is_whole() {
    let budget = Arc::new(Budget::new(100_000));
    let address = AddressAllowance::new(&Limits::default());
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (writer, stream) = duplex(1 << 20);
        writers.push(writer);
        readers.push(Reader::new(stream, &[], MAX, Space::new(Arc::clone(&budget), address.clone())));
    }
    let (whole, begun) = (frame(0x82, &[7; 30_000]), frame(0x82, &[7; 40_000]));
    let (begun, rest) = begun.split_at(20_000);
    writers[0].write_all(begun).await.unwrap();
    writers[1].write_all(&whole).await.unwrap();
    let [first, second] = &mut readers[..] else { panic!("there are two") };
    let soon = Duration::from_secs(60);
    assert!(tokio::time::timeout(soon, first.next()).await.is_err());
    assert!(first.is_amid_message() && budget.used() > 40_000);
    assert!(tokio::time::timeout(soon, second.next()).await.is_err(), "less than what the other holds is free");

    writers[0].write_all(rest).await.unwrap();
    let (first, second) = tokio::join!(first.next(), second.next());
    let lens = [first, second].map(|read| match read {
        Ok(Some(Incoming::Binary(data))) => data.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!((lens, budget.used()), ([40_000, 30_000], 0));
}
