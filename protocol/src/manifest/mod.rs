//! What a file is: its id, its name, and the hash of each block.
//!
//! A block's hash is the BLAKE3 chaining value of its subtree (BLAKE3 specification, section 2.1), so that merging
//! all of them gives the hash of the whole file, which is its id. A manifest from a stranger is therefore checked
//! against the id before a byte is believed. A file of at most one block has no inner subtree: its one hash is the
//! id itself, and an empty file has none.
//!
//! It travels in parts, because a slow line needs minutes for the hashes of a large file. A part brings the hashes
//! beside its way to the root, so that each can be checked alone and come from somebody else. The number of chunks in
//! the last block is not bound by that block's hash alone, so the last part brings the way to the file's last chunk.

mod parts;
#[cfg(test)]
mod tests;

pub use parts::{ManifestPart, PART_BLOCKS, PartialManifest};

use crate::{BlockSize, FileId, FileName, Geometry, GeometryError, MediaType, Run};
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
use parts::{part_blocks, parts_of, prove, tail_of};
use serde::{Deserialize, Serialize};

/// Bytes of one block's hash.
const HASH_LEN: usize = 32;

/// The hash of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHash([u8; HASH_LEN]);

/// The short facts about a file, as the tracker's catalogue holds them. Nothing here is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// BLAKE3 hash of the content.
    pub file: FileId,
    /// The name its sharer gave it.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    #[serde(default)]
    pub media_type: MediaType,
    /// The size of its blocks in bytes.
    pub block_size: BlockSize,
}

impl FileFacts {
    /// How the file is cut.
    ///
    /// # Errors
    /// [`GeometryError::TooManyBlocks`].
    pub fn geometry(&self) -> Result<Geometry, GeometryError> {
        Geometry::new(self.size, self.block_size)
    }
}

/// Why a manifest, or a part of one, is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Its size and block size do not go together.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// There is no such part, or it has not as many hashes as its blocks, or its proof or tail has another length.
    #[error("part {0} of the manifest has not the form that the file's size gives it")]
    Form(u32),
    /// Its hashes do not merge to the file's id.
    #[error("the hashes of part {0} do not belong to this file id")]
    WrongHashes(u32),
    /// The last block is not as long as the size says.
    #[error("the file has another size")]
    WrongSize,
}

/// A file's facts and block hashes, known to belong to its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    facts: FileFacts,
    geometry: Geometry,
    hashes: Vec<BlockHash>,
    /// The hash of each part's subtree, of which proofs are made.
    subtrees: Vec<BlockHash>,
    tail: Bytes,
}

impl Manifest {
    fn new(facts: FileFacts, geometry: Geometry, hashes: Vec<BlockHash>, tail: Bytes) -> Self {
        let subtrees = hashes.chunks(PART_BLOCKS as usize).map(|part| BlockHash(merge_inner(part))).collect();
        Self { facts, geometry, hashes, subtrees, tail }
    }

    /// The file's id.
    pub const fn file(&self) -> FileId {
        self.facts.file
    }

    /// The file's facts.
    pub const fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// How the file is cut.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// A part as it travels, the last one if it is not said which; `None` if there is no such part.
    pub fn part(&self, part: Option<u32>) -> Option<ManifestPart> {
        let last = parts_of(&self.geometry) - 1;
        let part = part.unwrap_or(last);
        let blocks = part_blocks(&self.geometry, part)?;
        let mut proof = Vec::new();
        prove(&self.subtrees, part as usize, &mut proof);
        let hashes = self.hashes[blocks].iter().flat_map(|hash| hash.0).collect::<Vec<_>>();
        let tail = if part == last { self.tail.clone() } else { Bytes::new() };
        Some(ManifestPart { part, hashes: hashes.into(), proof: proof.into(), tail })
    }

    /// Whether `data` is exactly block `index` of the file.
    pub fn is_block(&self, index: u32, data: &[u8]) -> bool {
        data.len() == self.geometry.block_len(index) as usize
            && self.hashes.get(index as usize).is_some_and(|hash| *hash == hash_block(&self.geometry, index, data))
    }

    /// Which blocks of `run` `data` really holds, in order. All are `false` if `data` has the wrong length.
    pub fn check_run(&self, run: Run, data: &[u8]) -> Vec<bool> {
        if data.len() as u64 != self.geometry.run_len(run) {
            return vec![false; run.count() as usize];
        }
        run.blocks()
            .zip(data.chunks(self.geometry.block_size().bytes() as usize))
            .map(|(index, block)| self.is_block(index, block))
            .collect()
    }
}

/// The file ended before, or went on after, the size that it had at the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes but read {actual}: the file changed while it was read")]
pub struct SizeChanged {
    expected: u64,
    actual: u64,
}

/// Makes the manifest of a file from its bytes, handed over in order in pieces of any size.
#[derive(Debug)]
pub struct ManifestHasher {
    geometry: Geometry,
    /// The block that is being hashed, and how many of its bytes are.
    current: blake3::Hasher,
    current_len: u32,
    hashes: Vec<BlockHash>,
    /// The bytes of the last block.
    last: Vec<u8>,
    total: u64,
}

impl ManifestHasher {
    /// Starts on a file of this geometry.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            current: blake3::Hasher::new(),
            current_len: 0,
            hashes: Vec::new(),
            last: Vec::new(),
            total: 0,
        }
    }

    /// The bytes hashed so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Hashes the next piece. Bytes past the geometry's size are counted, not hashed.
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let index = self.hashes.len() as u32;
            let wanted = (self.geometry.block_len(index) - self.current_len) as usize;
            if wanted == 0 {
                self.total += piece.len() as u64;
                return;
            }
            let (now, later) = piece.split_at(piece.len().min(wanted));
            self.current.update(now);
            if index + 1 == self.geometry.blocks() {
                self.last.extend_from_slice(now);
            }
            self.current_len += now.len() as u32;
            self.total += now.len() as u64;
            if now.len() == wanted {
                self.hashes.push(finish_block(&self.geometry, &self.current));
                self.current = blake3::Hasher::new();
                self.current.set_input_offset(self.geometry.offset(index + 1));
                self.current_len = 0;
            }
            piece = later;
        }
    }

    /// The manifest, with the id that the content has.
    ///
    /// # Errors
    /// [`SizeChanged`] if the bytes were fewer or more than the geometry says.
    pub fn finish(self, name: FileName, media_type: MediaType) -> Result<Manifest, SizeChanged> {
        let Self { geometry, hashes, last, total, .. } = self;
        if total != geometry.size() {
            return Err(SizeChanged { expected: geometry.size(), actual: total });
        }
        let facts = FileFacts {
            file: merge(&hashes),
            name,
            size: geometry.size(),
            media_type,
            block_size: geometry.block_size(),
        };
        let tail = tail_of(&last, geometry.offset(geometry.blocks().saturating_sub(1)));
        Ok(Manifest::new(facts, geometry, hashes, tail))
    }
}

fn hash_block(geometry: &Geometry, index: u32, data: &[u8]) -> BlockHash {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(geometry.offset(index)).update(data);
    finish_block(geometry, &hasher)
}

fn finish_block(geometry: &Geometry, hasher: &blake3::Hasher) -> BlockHash {
    BlockHash(if geometry.blocks() == 1 { *hasher.finalize().as_bytes() } else { hasher.finalize_non_root() })
}

/// The hash of a file from those of its blocks.
fn merge(hashes: &[BlockHash]) -> FileId {
    FileId::from_bytes(match hashes {
        [] => *blake3::hash(b"").as_bytes(),
        [only] => only.0,
        _ => {
            let (left, right) = hashes.split_at(left_len(hashes.len()));
            *merge_subtrees_root(&merge_inner(left), &merge_inner(right), Mode::Hash).as_bytes()
        }
    })
}

fn merge_inner(hashes: &[BlockHash]) -> [u8; HASH_LEN] {
    match hashes {
        [only] => only.0,
        _ => {
            let (left, right) = hashes.split_at(left_len(hashes.len()));
            merge_subtrees_non_root(&merge_inner(left), &merge_inner(right), Mode::Hash)
        }
    }
}

/// The left subtree of `len` blocks holds the largest power of two that leaves something for the right.
fn left_len(len: usize) -> usize {
    len.div_ceil(2).next_power_of_two()
}
