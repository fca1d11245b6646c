//! The parts in which a manifest travels, each of which proves itself, and the last one the file's size.

use super::{BlockHash, FileFacts, HASH_LEN, Manifest, ManifestError, left_len, merge, merge_inner};
use crate::{FileId, Geometry, encoding};
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of one chunk, the leaf of a BLAKE3 tree.
const CHUNK_LEN: usize = 1_024;
/// The most blocks whose hashes travel together: 8 KiB of hashes cross a line of 100 kbit/s within a second. A power of
/// two, so that they are a subtree.
pub const PART_BLOCKS: u32 = 256;

/// The hashes of up to 256 blocks, with what proves that they belong to the file.
///
/// Part `p` holds the blocks from `p × 256` on, so that it is a subtree of the file's tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// Which part.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub part: u32,
    /// 32 bytes per block.
    #[serde(with = "encoding")]
    pub hashes: Bytes,
    /// The hashes of the other subtrees on the way from the root to this part, 32 bytes each, the topmost first.
    #[serde(default, with = "encoding", skip_serializing_if = "Bytes::is_empty")]
    pub proof: Bytes,
    /// Of the last part only, the proof of the file's size: the hashes of the left subtrees on the way from the last
    /// block's root to its last chunk, the topmost first, and the bytes of that chunk.
    #[serde(default, with = "encoding", skip_serializing_if = "Bytes::is_empty")]
    pub tail: Bytes,
}

/// A manifest of which some parts are here, each of them proved.
#[derive(Debug, Clone)]
pub struct PartialManifest {
    facts: FileFacts,
    geometry: Geometry,
    parts: Vec<Option<ManifestPart>>,
    missing: u32,
}

impl PartialManifest {
    /// Begins with the last part, which proves the size.
    ///
    /// # Errors
    /// If it is not the last part of a file of this id and size.
    pub fn begin(facts: FileFacts, last: ManifestPart) -> Result<Self, ManifestError> {
        let geometry = facts.geometry()?;
        let parts = parts_of(&geometry);
        if last.part != parts - 1 {
            return Err(ManifestError::Form(last.part));
        }
        check_tail(facts.file, &geometry, &last)?;
        let mut manifest = Self { facts, geometry, parts: vec![None; parts as usize], missing: parts };
        manifest.add(last)?;
        Ok(manifest)
    }

    /// Takes a part from anybody; tells whether it is new.
    ///
    /// # Errors
    /// If it does not belong to the file.
    pub fn add(&mut self, part: ManifestPart) -> Result<bool, ManifestError> {
        check_part(self.facts.file, &self.geometry, &part)?;
        let place = &mut self.parts[part.part as usize];
        let is_new = place.is_none();
        if is_new {
            // The size is proved already, and whoever gave a middle part may have put anything here.
            let is_last = part.part + 1 == parts_of(&self.geometry);
            let tail = if is_last { part.tail } else { Bytes::new() };
            *place = Some(ManifestPart { tail, ..part });
            self.missing -= 1;
        }
        Ok(is_new)
    }

    /// The file's facts.
    pub const fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// How the file is cut.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The parts that are not here, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.parts).filter(|(_, part)| part.is_none()).map(|(number, _)| number)
    }

    /// A part that is here, the last one if it is not said which.
    pub fn part(&self, part: Option<u32>) -> Option<&ManifestPart> {
        let part = part.map_or(self.parts.len() - 1, |part| part as usize);
        self.parts.get(part)?.as_ref()
    }

    /// The manifest, if every part is here.
    pub fn complete(&self) -> Option<Manifest> {
        if self.missing > 0 {
            return None;
        }
        let parts = self.parts.iter().flatten();
        let hashes =
            parts.flat_map(|part| part.hashes.as_chunks::<HASH_LEN>().0).map(|hash| BlockHash(*hash)).collect();
        let tail = self.part(None).map(|last| last.tail.clone()).unwrap_or_default();
        Some(Manifest::new(self.facts.clone(), self.geometry, hashes, tail))
    }
}

/// How many parts a manifest has; one of a file without blocks too.
pub(super) const fn parts_of(geometry: &Geometry) -> u32 {
    let parts = geometry.blocks().div_ceil(PART_BLOCKS);
    if parts == 0 { 1 } else { parts }
}

/// The blocks of a part; `None` if there is no such part.
pub(super) fn part_blocks(geometry: &Geometry, part: u32) -> Option<Range<usize>> {
    let start = (part < parts_of(geometry)).then(|| part * PART_BLOCKS)?;
    Some(start as usize..(start + PART_BLOCKS).min(geometry.blocks()) as usize)
}

/// Collects the hashes of the subtrees beside the way from the root of all parts to this one.
pub(super) fn prove(parts: &[BlockHash], part: usize, proof: &mut Vec<u8>) {
    if parts.len() > 1 {
        let (left, right) = parts.split_at(left_len(parts.len()));
        if part < left.len() {
            proof.extend(merge_inner(right));
            prove(left, part, proof);
        } else {
            proof.extend(merge_inner(left));
            prove(right, part - left.len(), proof);
        }
    }
}

/// Checks that a part's hashes and its proof merge to the file's id.
fn check_part(file: FileId, geometry: &Geometry, part: &ManifestPart) -> Result<(), ManifestError> {
    let form = || ManifestError::Form(part.part);
    let blocks = part_blocks(geometry, part.part).ok_or_else(form)?;
    let (hashes, rest) = part.hashes.as_chunks::<HASH_LEN>();
    let (proof, proof_rest) = part.proof.as_chunks::<HASH_LEN>();
    if hashes.len() != blocks.len() || !rest.is_empty() || !proof_rest.is_empty() {
        return Err(form());
    }
    let hashes: Vec<_> = hashes.iter().map(|hash| BlockHash(*hash)).collect();
    let total = geometry.blocks() as usize;
    let root = match proof {
        [] if hashes.len() == total => merge(&hashes),
        [beside, proof @ ..] if hashes.len() < total => {
            let left = left_len(total);
            let is_left = blocks.start < left;
            let (total, start) = if is_left { (left, blocks.start) } else { (total - left, blocks.start - left) };
            let own = climb(&hashes, start, total, proof).ok_or_else(form)?;
            let (left, right) = if is_left { (&own, beside) } else { (beside, &own) };
            FileId::from_bytes(*merge_subtrees_root(left, right, Mode::Hash).as_bytes())
        }
        _ => return Err(form()),
    };
    if root == file { Ok(()) } else { Err(ManifestError::WrongHashes(part.part)) }
}

/// The hash of a subtree of `total` blocks from that of the part at `start` in it; `None` if the proof has another length.
fn climb(part: &[BlockHash], start: usize, total: usize, proof: &[[u8; HASH_LEN]]) -> Option<[u8; HASH_LEN]> {
    if total <= PART_BLOCKS as usize {
        return proof.is_empty().then(|| merge_inner(part));
    }
    let (beside, proof) = proof.split_first()?;
    let left = left_len(total);
    if start < left {
        let own = climb(part, start, left, proof)?;
        Some(merge_subtrees_non_root(&own, beside, Mode::Hash))
    } else {
        let own = climb(part, start - left, total - left, proof)?;
        Some(merge_subtrees_non_root(beside, &own, Mode::Hash))
    }
}

/// Checks that the last block ends where the size says: a chunk's hash depends on its place and its length, so the last
/// chunk of the last block proves both.
fn check_tail(file: FileId, geometry: &Geometry, last: &ManifestPart) -> Result<(), ManifestError> {
    if geometry.size() == 0 {
        return if last.tail.is_empty() { Ok(()) } else { Err(ManifestError::Form(last.part)) };
    }
    let index = geometry.blocks() - 1;
    let len = geometry.block_len(index) as usize;
    let chunks = len.div_ceil(CHUNK_LEN);
    let chunk_len = len - (chunks - 1) * CHUNK_LEN;
    let start = last.tail.len().checked_sub(chunk_len).ok_or(ManifestError::WrongSize)?;
    let (beside, chunk) = last.tail.split_at(start);
    let (beside, rest) = beside.as_chunks::<HASH_LEN>();
    if !rest.is_empty() {
        return Err(ManifestError::WrongSize);
    }
    let is_root = geometry.blocks() == 1;
    let offset = geometry.offset(index) + ((chunks - 1) * CHUNK_LEN) as u64;
    let hash = climb_right(beside, chunks, chunk, offset, is_root).ok_or(ManifestError::WrongSize)?;
    let expected = if is_root { Some(file.as_bytes()) } else { last.hashes.last_chunk::<HASH_LEN>() };
    if expected == Some(&hash) { Ok(()) } else { Err(ManifestError::WrongSize) }
}

/// The hash of a subtree of `chunks` chunks, from the left subtrees beside the way to its last chunk.
fn climb_right(
    beside: &[[u8; HASH_LEN]],
    chunks: usize,
    chunk: &[u8],
    offset: u64,
    is_root: bool,
) -> Option<[u8; HASH_LEN]> {
    if chunks == 1 {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset).update(chunk);
        let hash = if is_root { *hasher.finalize().as_bytes() } else { hasher.finalize_non_root() };
        return beside.is_empty().then_some(hash);
    }
    let (left, beside) = beside.split_first()?;
    let right = climb_right(beside, chunks - left_len(chunks), chunk, offset, false)?;
    Some(if is_root {
        *merge_subtrees_root(left, &right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, &right, Mode::Hash)
    })
}

/// The tail of a last block that begins at `offset` in the file.
pub(super) fn tail_of(block: &[u8], offset: u64) -> Bytes {
    let mut tail = Vec::new();
    let (mut rest, mut offset) = (block, offset);
    while rest.len() > CHUNK_LEN {
        let (left, right) = rest.split_at(left_len(rest.len().div_ceil(CHUNK_LEN)) * CHUNK_LEN);
        tail.extend(blake3::Hasher::new().set_input_offset(offset).update(left).finalize_non_root());
        offset += left.len() as u64;
        rest = right;
    }
    tail.extend_from_slice(rest);
    tail.into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(part: &u32) -> bool {
    *part == 0
}
