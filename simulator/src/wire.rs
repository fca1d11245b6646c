//! How many bytes a message has on the wire, without encoding it.

use protocol::{FileTag, PeerId, PeerMessage, encode_envelope};

/// A WebSocket frame's header as a client sends it (RFC 6455, section 5.2), below 126 bytes, below 64 KiB and above.
const HEADERS: [u64; 3] = [6, 8, 14];

/// The size of each kind of message without its numbers, measured once on encoded ones.
#[derive(Debug)]
pub(crate) struct Wire {
    bitfield: u64,
    begin: u64,
    have: u64,
    interested: u64,
    not_interested: u64,
    choke: u64,
    unchoke: u64,
    request: u64,
    cancel: u64,
    block: u64,
    reject: u64,
    count: u64,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let file = FileTag::from_bytes([0; 8]);
        let len = |message| encode_envelope(PeerId::from_bytes([0; 8]), message, true).len() as u64;
        let bitfield = len(PeerMessage::Bitfield { file, blocks: bytes::Bytes::new(), begin: false });
        let request = len(PeerMessage::Request { file, index: 1, count: 1 }) - 1;
        Self {
            bitfield,
            begin: len(PeerMessage::Bitfield { file, blocks: bytes::Bytes::new(), begin: true }) - bitfield,
            have: len(PeerMessage::Have { file, blocks: Vec::new() }),
            interested: len(PeerMessage::Interested { file }),
            not_interested: len(PeerMessage::NotInterested { file }),
            choke: len(PeerMessage::Choke { file }),
            unchoke: len(PeerMessage::Unchoke { file }),
            request,
            cancel: len(PeerMessage::Cancel { file, index: 1, count: 1 }) - 1,
            block: len(PeerMessage::Block { file, index: 1, count: 1, data: bytes::Bytes::new() }) - 1,
            reject: len(PeerMessage::Reject { file, index: 1, count: 1 }) - 1,
            count: len(PeerMessage::Request { file, index: 1, count: 2 }) - request - 2,
        }
    }

    /// The bytes of an envelope with this message, a block in a binary frame.
    pub(crate) fn len(&self, message: &PeerMessage) -> u64 {
        let run = |index: u32, count: u32| digits(index) + if count == 1 { 0 } else { self.count + digits(count) };
        let frame = match message {
            PeerMessage::GetManifest { .. }
            | PeerMessage::Manifest { .. }
            | PeerMessage::NoManifest { .. }
            | PeerMessage::Signal { .. } => {
                encode_envelope(PeerId::from_bytes([0; 8]), message.clone(), true).len() as u64
            }
            PeerMessage::Bitfield { blocks, begin, .. } => {
                self.bitfield + (blocks.len() as u64).div_ceil(3) * 4 + if *begin { self.begin } else { 0 }
            }
            PeerMessage::Have { blocks, .. } => {
                let runs: u64 = blocks.iter().map(|run| digits(run.0) + digits(run.1) + 3).sum();
                self.have + runs + (blocks.len() as u64).saturating_sub(1)
            }
            PeerMessage::Interested { .. } => self.interested,
            PeerMessage::NotInterested { .. } => self.not_interested,
            PeerMessage::Choke { .. } => self.choke,
            PeerMessage::Unchoke { .. } => self.unchoke,
            PeerMessage::Request { index, count, .. } => self.request + run(*index, *count),
            PeerMessage::Cancel { index, count, .. } => self.cancel + run(*index, *count),
            PeerMessage::Reject { index, count, .. } => self.reject + run(*index, *count),
            PeerMessage::Block { index, count, data, .. } => self.block + run(*index, *count) + data.len() as u64,
        };
        frame + HEADERS[usize::from(frame >= 126) + usize::from(frame >= 65_536)]
    }
}

fn digits(number: u32) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::HaveRun;

    #[test]
    fn the_size_is_that_of_the_encoded_message() {
        let file = FileTag::from_bytes([7; 8]);
        let wire = Wire::new();
        let mut messages = vec![PeerMessage::Interested { file }, PeerMessage::Unchoke { file }];
        for index in [0, 9, 10, 99, 12_345] {
            for count in [1, 2, 10, 300] {
                messages.push(PeerMessage::Request { file, index, count });
                messages.push(PeerMessage::Cancel { file, index, count });
                messages.push(PeerMessage::Reject { file, index, count });
                messages.push(PeerMessage::Have { file, blocks: vec![HaveRun(index, count); index as usize % 7] });
                let data = vec![0; 1 + (index * count) as usize % 100_000].into();
                messages.push(PeerMessage::Block { file, index, count, data });
                let blocks = vec![0; index as usize % 1_000].into();
                messages.push(PeerMessage::Bitfield { file, blocks, begin: count == 1 });
            }
        }
        for message in messages {
            let frame = encode_envelope(PeerId::from_bytes([9; 8]), message.clone(), true).len();
            let header = if frame < 126 {
                6
            } else if frame < 65_536 {
                8
            } else {
                14
            };
            assert_eq!(wire.len(&message), (frame + header) as u64, "{message:?}");
        }
    }
}
