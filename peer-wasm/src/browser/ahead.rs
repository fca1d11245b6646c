//! Reading from a file that the person chose.
//!
//! The browser hands such a file over piece by piece from another process, and takes almost as long for a quarter of a
//! megabyte as for a whole one. Receivers ask for what follows, so somewhat more is read than was asked for, and while
//! one piece is on its way the worker sends another.

use crate::swarm::{ReadId, StorageError};
use bytes::Bytes;
use js_sys::Uint8Array;
use std::{collections::VecDeque, ops::Range};
use web_sys::File;

/// How many times what was asked for is read: up to the next multiple of that, where a receiver turns elsewhere.
const READ_AHEAD: u64 = 4;
/// The most pieces kept: at most one for each peer that is served. They are outside the memory of wasm.
const MAX_PIECES: usize = 5;

/// What reading gives.
pub(super) enum Reading {
    /// The answer.
    Done(Result<Bytes, StorageError>),
    /// The answer comes with a piece that is being read.
    Later,
    /// This piece of the file is to be read; the answer comes with it.
    Begin(File, Range<u64>),
}

/// Pieces read lately, and those being read with who waits for them. The core bounds how many are being read.
#[derive(Default)]
pub(super) struct ReadAhead {
    pieces: VecDeque<(u64, Uint8Array)>,
    coming: Vec<Coming>,
}

/// A piece that is being read, and which parts of it are waited for.
struct Coming {
    piece: Range<u64>,
    waiting: Vec<(ReadId, Range<u64>)>,
}

impl ReadAhead {
    pub(super) fn read(&mut self, file: &File, id: ReadId, offset: u64, len: u32) -> Reading {
        let wanted = offset..offset + u64::from(len);
        let here = self
            .pieces
            .iter()
            .find(|(start, piece)| *start <= wanted.start && wanted.end <= start + u64::from(piece.length()));
        if let Some((start, piece)) = here {
            return Reading::Done(Ok(cut(*start, piece, &wanted)));
        }
        let holds = |coming: &&mut Coming| coming.piece.start <= wanted.start && wanted.end <= coming.piece.end;
        if let Some(coming) = self.coming.iter_mut().find(holds) {
            coming.waiting.push((id, wanted));
            return Reading::Later;
        }
        let stretch = u64::from(len) * READ_AHEAD;
        let stretch_end = (offset / stretch + 1) * stretch;
        let piece = offset..stretch_end.min(file.size() as u64).max(wanted.end);
        self.coming.push(Coming { piece: piece.clone(), waiting: vec![(id, wanted)] });
        Reading::Begin(file.clone(), piece)
    }

    /// Takes a piece that was read, or could not be, and gives the answers that waited for it.
    pub(super) fn take(
        &mut self,
        piece: Range<u64>,
        read: Result<Uint8Array, StorageError>,
    ) -> Vec<(ReadId, Result<Bytes, StorageError>)> {
        let Some(place) = self.coming.iter().position(|coming| coming.piece == piece) else { return Vec::new() };
        let Coming { waiting, .. } = self.coming.remove(place);
        let answer = |wanted| read.as_ref().map(|bytes| cut(piece.start, bytes, wanted)).map_err(Clone::clone);
        let answers = waiting.iter().map(|(id, wanted)| (*id, answer(wanted))).collect();
        if let Ok(bytes) = read {
            if self.pieces.len() == MAX_PIECES {
                self.pieces.pop_front();
            }
            self.pieces.push_back((piece.start, bytes));
        }
        answers
    }
}

fn cut(start: u64, piece: &Uint8Array, wanted: &Range<u64>) -> Bytes {
    piece.subarray((wanted.start - start) as u32, (wanted.end - start) as u32).to_vec().into()
}
