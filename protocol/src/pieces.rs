//! Binary frames in pieces, for data channels, whose messages may not be large.
//!
//! A piece is a byte that says whether more of the frame follows (1) or not (0), and a part of the frame.

use crate::MAX_SPAN_BYTES;
use bytes::{Bytes, BytesMut};

/// The most bytes of a piece: what any data channel takes of whose other end nothing is known (RFC 8841 section 6.1).
pub const MAX_PIECE_BYTES: usize = 64 << 10;
/// The most bytes of a frame in pieces: data, and a head.
const MAX_FRAME_BYTES: usize = MAX_SPAN_BYTES as usize + (8 << 10);

const LAST: u8 = 0;
const MORE: u8 = 1;

/// Why something is no piece of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// It begins with neither of the two bytes.
    #[error("a piece begins with the byte 0 or 1")]
    NoPiece,
    /// A piece without a part of the frame, of which there could be any number.
    #[error("a piece is empty")]
    Empty,
    /// The frame is larger than any that peers send each other.
    #[error("a frame in pieces has at most {MAX_FRAME_BYTES} bytes")]
    TooLong,
}

/// Cuts what a binary frame consists of, and hands each piece to `send`, in order. `buffer` is where they are put together.
pub fn cut(head: &[u8], payload: &[u8], buffer: &mut Vec<u8>, send: impl FnMut(&[u8])) {
    cut_to(MAX_PIECE_BYTES, head, payload, buffer, send);
}

/// The same in pieces of at most `most` bytes, of which there have to be two at least.
pub fn cut_to(most: usize, head: &[u8], payload: &[u8], buffer: &mut Vec<u8>, mut send: impl FnMut(&[u8])) {
    let total = head.len() + payload.len();
    for start in (0..total).step_by(most - 1) {
        let end = total.min(start + most - 1);
        let in_payload = |place: usize| place.saturating_sub(head.len());
        buffer.clear();
        buffer.push(if end == total { LAST } else { MORE });
        buffer.extend_from_slice(&head[start.min(head.len())..end.min(head.len())]);
        buffer.extend_from_slice(&payload[in_payload(start)..in_payload(end)]);
        send(buffer);
    }
}

/// Puts binary frames together again.
#[derive(Debug, Default)]
pub struct Assembly(BytesMut);

impl Assembly {
    /// Takes the next piece; gives the frame that it ends, if it does.
    ///
    /// # Errors
    /// If it is no piece, or the frame is too long. The line is of no use from then on.
    pub fn take(&mut self, piece: &[u8]) -> Result<Option<Bytes>, PieceError> {
        let (&first, part) = piece.split_first().ok_or(PieceError::NoPiece)?;
        if part.is_empty() {
            return Err(PieceError::Empty);
        }
        if self.0.len() + part.len() > MAX_FRAME_BYTES {
            return Err(PieceError::TooLong);
        }
        self.0.extend_from_slice(part);
        match first {
            LAST => Ok(Some(self.0.split().freeze())),
            MORE => Ok(None),
            _ => Err(PieceError::NoPiece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_into(head: usize, payload: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let bytes: Vec<_> = (0..head + payload).map(|place| (place % 251) as u8).collect();
        let (mut pieces, mut buffer) = (Vec::new(), b"what was there".to_vec());
        cut(&bytes[..head], &bytes[head..], &mut buffer, |piece| pieces.push(piece.to_vec()));
        (bytes, pieces)
    }

    #[test]
    fn frames_of_any_size_come_together_again_one_after_the_other() {
        let mut assembly = Assembly::default();
        let most = MAX_PIECE_BYTES - 1;
        for (head, payload, count) in [
            (100, 1, 1),
            (100, most - 100, 1),
            (100, most - 99, 2),
            (100, 2 * most - 100, 2),
            (100, MAX_SPAN_BYTES as usize, 17),
            (most + 5, 3, 2),
        ] {
            let (bytes, pieces) = cut_into(head, payload);
            assert_eq!(pieces.len(), count, "{head} {payload}");
            assert!(pieces.iter().all(|piece| piece.len() <= MAX_PIECE_BYTES));
            let (last, before) = pieces.split_last().unwrap();
            for piece in before {
                assert_eq!(assembly.take(piece), Ok(None));
            }
            assert_eq!(assembly.take(last), Ok(Some(bytes.into())));
        }
    }

    #[test]
    fn smaller_pieces_are_as_good() {
        let (mut pieces, mut assembly) = (Vec::new(), Assembly::default());
        cut_to(3, b"head", b"payload", &mut Vec::new(), |piece| pieces.push(piece.to_vec()));
        assert!(pieces.len() == 6 && pieces.iter().all(|piece| piece.len() <= 3), "{pieces:?}");
        let frames: Vec<_> = pieces.iter().filter_map(|piece| assembly.take(piece).unwrap()).collect();
        assert_eq!(frames, ["headpayload"]);
    }

    #[test]
    fn what_is_no_piece_is_refused_and_a_frame_does_not_grow_without_end() {
        for (piece, error) in [
            (&[][..], PieceError::NoPiece),
            (&[2, 7], PieceError::NoPiece),
            (&[LAST], PieceError::Empty),
            (&[MORE], PieceError::Empty),
        ] {
            assert_eq!(Assembly::default().take(piece), Err(error), "{piece:?}");
        }
        let mut assembly = Assembly::default();
        let piece = [&[MORE][..], &[7; 8 << 10]].concat();
        for _ in 0..MAX_FRAME_BYTES / (8 << 10) {
            assert_eq!(assembly.take(&piece), Ok(None));
        }
        assert_eq!(assembly.take(&[LAST, 7]), Err(PieceError::TooLong));
    }
}
