//! What one peer sends to another, on its way through the tracker.

use crate::wire::OutFrame;
use bytes::Bytes;
use protocol::{Kind, PeerId, PeerMessage, Subject, encode_forwarded, forwarded_head};

/// Envelopes below this size are copied: that costs less than the frame that they came in.
const SMALL_ENVELOPE: usize = 4 << 10;

/// An envelope as it was received.
#[derive(Debug)]
pub(crate) enum Envelope<'a> {
    /// The whole frame, and the message in it.
    Text { frame: &'a Bytes, message: &'a str },
    /// The message in the head, and the data.
    Binary { message: &'a str, data: Bytes },
}

impl Envelope<'_> {
    /// The frame for the receiver.
    pub(crate) fn forwarded(&self, from: PeerId) -> OutFrame {
        let mut head = forwarded_head(from);
        match self {
            Self::Text { frame, message } if frame.len() < SMALL_ENVELOPE => {
                head.push_str(message);
                head.push('}');
                OutFrame::text(&head)
            }
            Self::Text { frame, message } => {
                // The message is the envelope's last value; nothing but its closing brace follows.
                let start = message.as_ptr().addr() - frame.as_ptr().addr();
                OutFrame::text_with_body(&head, kept(frame.slice(start..), frame.len()))
            }
            Self::Binary { message, data } => {
                head.push_str(message);
                head.push('}');
                // The head of a frame is short, so that large data is nearly all of it.
                OutFrame::binary(&head, kept(data.clone(), data.len()))
            }
        }
    }

    /// What the receiver gets in the place of an answer with data that cannot be delivered, so that its request ends all
    /// the same; `None` if this is no such answer.
    pub(crate) fn in_place(&self, from: PeerId, subject: &Subject) -> Option<String> {
        let Subject { kind, tag, index, count } = *subject;
        let message = match (kind, self) {
            (Kind::Block, _) => PeerMessage::Reject { file: tag, index, count },
            (Kind::Manifest, Self::Text { message, .. }) => match serde_json::from_str(message) {
                Ok(PeerMessage::Manifest { facts, .. }) => PeerMessage::NoManifest { file: facts.file },
                _ => return None,
            },
            _ => return None,
        };
        Some(encode_forwarded(from, &message))
    }
}

/// What is kept of a frame of `frame_len` bytes so that `part` of it can wait.
fn kept(part: Bytes, frame_len: usize) -> Bytes {
    if part.len() < SMALL_ENVELOPE.max(frame_len / 2) { Bytes::copy_from_slice(&part) } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        BlockSize, ClientFrame, FileFacts, FileId, Frame, ManifestPart, MediaType, decode_client_text, encode_envelope,
    };

    const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);

    /// Whether the frame that is forwarded keeps the frame it came in.
    fn is_shared(frame: Bytes, forward: impl FnOnce(&Bytes) -> OutFrame) -> bool {
        let forwarded = forward(&frame);
        let is_shared = !frame.is_unique();
        drop(forwarded);
        assert!(frame.is_unique());
        is_shared
    }

    fn text(padding: usize, len: usize) -> bool {
        let message = format!("[{}]", "1".repeat(len));
        let frame = format!(r#"{{"to":"{ALICE}",{}"message":{message}}}"#, " ".repeat(padding));
        is_shared(frame.into(), |frame| {
            let text = std::str::from_utf8(frame).unwrap();
            let message = &text[text.find('[').unwrap()..text.len() - 1];
            Envelope::Text { frame, message }.forwarded(ALICE)
        })
    }

    #[test]
    fn what_is_kept_of_a_frame_is_about_what_is_charged() {
        assert!(text(0, 1 << 20), "large messages are not copied");
        assert!(!text(1 << 20, 10), "a short message does not keep the spaces around it");
        assert!(!text(1 << 20, 100_000), "nor does a longer one");
        for (len, expected) in [(1, false), (1_000, false), (16 << 10, true), (1 << 20, true)] {
            let frame = Bytes::from(vec![7; 100 + len]);
            let forward = |frame: &Bytes| Envelope::Binary { message: "{}", data: frame.slice(100..) }.forwarded(ALICE);
            assert_eq!(is_shared(frame, forward), expected, "{len} bytes of data");
        }
    }

    #[test]
    fn in_the_place_of_an_answer_with_data_comes_one_that_refuses() {
        let facts = FileFacts {
            file: FileId::from_bytes([0xf1; 32]),
            name: "f".parse().unwrap(),
            size: 3,
            media_type: MediaType::default(),
            block_size: BlockSize::for_file(3),
        };
        let message = PeerMessage::manifest(facts, ManifestPart::default());
        let Frame::Text(text) = encode_envelope(ALICE, message, false) else { panic!("asked for text") };
        let Ok(ClientFrame::Envelope { subject: manifest, message, .. }) = decode_client_text(&text) else {
            panic!("{text}")
        };
        let frame = Bytes::from(text.clone());
        let envelope = Envelope::Text { frame: &frame, message };
        let about = |kind| Subject { kind, tag: manifest.tag, index: 3, count: 2 };
        let from = format!(r#"{{"from":"{ALICE}","message":"#);
        for (subject, expected) in [
            (
                about(Kind::Block),
                Some(format!(r#"{from}{{"type":"reject","file":"{}","index":3,"count":2}}}}"#, manifest.tag)),
            ),
            (
                manifest,
                Some(format!(r#"{from}{{"type":"no_manifest","file":"{}"}}}}"#, FileId::from_bytes([0xf1; 32]))),
            ),
            (about(Kind::Reject), None),
            (about(Kind::Have), None),
        ] {
            assert_eq!(envelope.in_place(ALICE, &subject), expected);
        }
    }
}
