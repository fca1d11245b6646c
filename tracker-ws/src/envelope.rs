//! What one peer sends to another, on its way through the tracker.

use crate::wire::OutFrame;
use bytes::Bytes;
use protocol::{Kind, PeerId, forwarded_head};

/// Envelopes below this size go before data; they say what to do, and they cost little.
const SMALL_ENVELOPE: usize = 4 << 10;
/// A bitfield goes before data even if it is not small, because it must arrive before what is said after it. That of
/// [`protocol::MAX_BLOCKS`] blocks has 4 KiB, a third more in base64.
const LARGEST_BITFIELD: usize = 6 << 10;

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
}

/// Whether a message goes before data: it says what to do, and costs little.
pub(crate) fn is_control(kind: Kind, len: usize) -> bool {
    match kind {
        Kind::Block | Kind::Manifest => len < SMALL_ENVELOPE,
        // It must arrive before what is said after it.
        Kind::Bitfield => len < LARGEST_BITFIELD,
        Kind::GetManifest
        | Kind::Have
        | Kind::Interested
        | Kind::NotInterested
        | Kind::Choke
        | Kind::Unchoke
        | Kind::Request
        | Kind::Cancel
        | Kind::Reject => len < SMALL_ENVELOPE,
    }
}

/// What is kept of a frame of `frame_len` bytes so that `part` of it can wait.
fn kept(part: Bytes, frame_len: usize) -> Bytes {
    if part.len() < SMALL_ENVELOPE.max(frame_len / 2) { Bytes::copy_from_slice(&part) } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_goes_before_data_is_small_and_is_none() {
        for (kind, len, expected) in [
            (Kind::Request, 100, true),
            (Kind::Have, SMALL_ENVELOPE, false),
            (Kind::Block, 100, true),
            (Kind::Block, SMALL_ENVELOPE, false),
            // The longest bitfield in base64, with its envelope.
            (Kind::Bitfield, (protocol::MAX_BLOCKS as usize / 8).div_ceil(3) * 4 + 200, true),
            (Kind::Bitfield, LARGEST_BITFIELD, false),
        ] {
            assert_eq!(is_control(kind, len), expected, "{kind:?} of {len} bytes");
        }
    }
}
