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

use crate::{BlockSize, FileId, FileName, Geometry, GeometryError, MediaType, Run, encoding};
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes of one block's hash.
const HASH_LEN: usize = 32;
/// Bytes of one chunk, the leaf of a BLAKE3 tree.
const CHUNK_LEN: usize = 1_024;
/// The most blocks whose hashes travel together: 8 KiB of hashes cross a line of 100 kbit/s within a second. A power of
/// two, so that they are a subtree.
pub const PART_BLOCKS: u32 = 256;

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
const fn parts_of(geometry: &Geometry) -> u32 {
    let parts = geometry.blocks().div_ceil(PART_BLOCKS);
    if parts == 0 { 1 } else { parts }
}

/// The blocks of a part; `None` if there is no such part.
fn part_blocks(geometry: &Geometry, part: u32) -> Option<Range<usize>> {
    let start = (part < parts_of(geometry)).then(|| part * PART_BLOCKS)?;
    Some(start as usize..(start + PART_BLOCKS).min(geometry.blocks()) as usize)
}

/// Collects the hashes of the subtrees beside the way from the root of all parts to this one.
fn prove(parts: &[BlockHash], part: usize, proof: &mut Vec<u8>) {
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
fn tail_of(block: &[u8], offset: u64) -> Bytes {
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(part: &u32) -> bool {
    *part == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    fn manifest_of(content: &[u8], piece: usize) -> Manifest {
        let size = content.len() as u64;
        let mut hasher = ManifestHasher::new(Geometry::new(size, BlockSize::for_file(size)).unwrap());
        content.chunks(piece).for_each(|piece| hasher.update(piece));
        hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap()
    }

    #[test]
    fn the_id_is_the_blake3_hash_of_the_content() {
        for size in [0, 1, 1_024, 4_095, 4_096, 4_097, 8_192, 12_288, 20_481, 100_000, 1 << 20] {
            let content = bytes(size);
            let manifest = manifest_of(&content, 1_000);
            assert_eq!(manifest.file().as_bytes(), blake3::hash(&content).as_bytes(), "{size}");
            assert_eq!(received(&manifest), manifest);
        }
    }

    #[test]
    fn a_known_file_has_the_id_that_b3sum_prints() {
        let manifest = manifest_of(b"abc", 3);
        let printed = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(manifest.file().to_string(), printed);
    }

    #[test]
    fn every_block_is_recognised_and_no_other_bytes_are() {
        let content = bytes(10_000);
        let manifest = manifest_of(&content, 10_000);
        for (index, block) in content.chunks(4_096).enumerate() {
            let index = index as u32;
            assert!(manifest.is_block(index, block));
            assert!(!manifest.is_block(index + 1, block));
            let mut damaged = block.to_vec();
            damaged[17] ^= 1;
            assert!(!manifest.is_block(index, &damaged));
            assert!(!manifest.is_block(index, &block[..block.len() - 1]));
        }
        let run = manifest.geometry().run(1, 2).unwrap();
        assert_eq!(manifest.check_run(run, &content[4_096..]), [true, true]);
        assert_eq!(manifest.check_run(run, &content[4_095..9_999]), [false, false]);
    }

    /// The manifest as somebody gets it who is sent its parts.
    fn received(manifest: &Manifest) -> Manifest {
        let mut partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
        let missing: Vec<_> = partial.missing().collect();
        for part in missing {
            assert!(partial.complete().is_none());
            assert_eq!(partial.part(Some(part)), None);
            let sent = manifest.part(Some(part)).unwrap();
            assert_eq!(partial.add(sent.clone()), Ok(true));
            assert_eq!(partial.add(sent.clone()), Ok(false));
            assert_eq!(partial.part(Some(part)), Some(&sent));
        }
        partial.complete().unwrap()
    }

    fn of_blocks(blocks: u32, last: usize) -> Manifest {
        manifest_of_size(&bytes((blocks as usize - 1) * 4_096 + last))
    }

    fn manifest_of_size(content: &[u8]) -> Manifest {
        let geometry = Geometry::new(content.len() as u64, BlockSize::try_from(4_096).unwrap()).unwrap();
        let mut hasher = ManifestHasher::new(geometry);
        hasher.update(content);
        hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap()
    }

    #[test]
    fn each_part_of_a_manifest_proves_itself() {
        for blocks in [1, 255, 256, 257, 511, 512, 513, 1_000, 1_793] {
            let manifest = of_blocks(blocks, 1_500);
            assert_eq!(received(&manifest), manifest, "{blocks}");
            let parts = blocks.div_ceil(256);
            assert_eq!(manifest.part(Some(parts)), None);
            assert_eq!(manifest.part(Some(u32::MAX)), None);
            let partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
            assert_eq!(partial.missing().collect::<Vec<_>>(), (0..parts - 1).collect::<Vec<_>>());
            for part in 0..parts {
                let right = manifest.part(Some(part)).unwrap();
                let check = |wrong: ManifestPart| partial.clone().add(wrong).unwrap_err();
                for place in [0, right.hashes.len() - 1] {
                    let mut hashes = right.hashes.to_vec();
                    hashes[place] ^= 1;
                    assert_eq!(
                        check(ManifestPart { hashes: hashes.into(), ..right.clone() }),
                        ManifestError::WrongHashes(part)
                    );
                }
                for step in 0..right.proof.len() / HASH_LEN {
                    let mut proof = right.proof.to_vec();
                    proof[step * HASH_LEN] ^= 1;
                    assert_eq!(
                        check(ManifestPart { proof: proof.into(), ..right.clone() }),
                        ManifestError::WrongHashes(part)
                    );
                }
                for len in (0..right.proof.len())
                    .step_by(HASH_LEN)
                    .chain([right.proof.len() + HASH_LEN, right.proof.len() + 1])
                {
                    let mut proof = right.proof.to_vec();
                    proof.resize(len, 0);
                    assert_eq!(check(ManifestPart { proof: proof.into(), ..right.clone() }), ManifestError::Form(part));
                }
                let fewer = right.hashes.slice(HASH_LEN..);
                assert_eq!(check(ManifestPart { hashes: fewer, ..right.clone() }), ManifestError::Form(part));
                let cut = right.hashes.slice(1..);
                assert_eq!(check(ManifestPart { hashes: cut, ..right.clone() }), ManifestError::Form(part));
                assert_eq!(check(ManifestPart { part: parts, ..right.clone() }), ManifestError::Form(parts));
            }
        }
    }

    #[test]
    fn a_manifest_begins_with_its_last_part_and_no_other() {
        let manifest = of_blocks(600, 1);
        let begin = |part| PartialManifest::begin(manifest.facts().clone(), manifest.part(part).unwrap()).map(|_| ());
        assert_eq!(begin(None), Ok(()));
        assert_eq!(begin(Some(2)), Ok(()));
        assert_eq!(begin(Some(1)), Err(ManifestError::Form(1)));
    }

    #[test]
    fn the_size_is_proved_to_the_byte() {
        for size in [1, 31, 32, 33, 1_023, 1_024, 1_025, 3_000, 4_096, 4_097, 10_000, 12_288, 12_289, 3_000_000] {
            let manifest = manifest_of_size(&bytes(size));
            let last = manifest.part(None).unwrap();
            let begin = |size: u64, last: &ManifestPart| {
                let facts = FileFacts { size, ..manifest.facts().clone() };
                PartialManifest::begin(facts, last.clone()).map(|_| ())
            };
            let size = size as u64;
            assert_eq!(begin(size, &last), Ok(()), "{size}");
            for other in (1..8_300).map(|more| size + more).chain((1..size.min(8_300)).map(|less| size - less)) {
                assert!(begin(other, &last).is_err(), "{size} is taken for {other}");
                // Whoever lies about the size cannot make the tail fit either.
                let mut longer = last.tail.to_vec();
                longer.resize((last.tail.len() as u64 + other).saturating_sub(size) as usize, 0);
                let lied = ManifestPart { tail: longer.into(), ..last.clone() };
                assert!(begin(other, &lied).is_err(), "{size} is taken for {other}");
            }
            let mut damaged = last.tail.to_vec();
            damaged[0] ^= 1;
            assert!(begin(size, &ManifestPart { tail: damaged.into(), ..last.clone() }).is_err(), "{size}");
        }
        let empty = manifest_of_size(&[]);
        let last = empty.part(None).unwrap();
        let tailed = ManifestPart { tail: Bytes::from_static(b"x"), ..last };
        assert!(PartialManifest::begin(empty.facts().clone(), tailed).is_err());
    }

    #[test]
    fn a_middle_part_brings_no_tail_along() {
        let manifest = of_blocks(600, 1);
        let mut partial = PartialManifest::begin(manifest.facts().clone(), manifest.part(None).unwrap()).unwrap();
        let padded = ManifestPart { tail: Bytes::from_static(b"anything"), ..manifest.part(Some(0)).unwrap() };
        assert_eq!(partial.add(padded), Ok(true));
        assert_eq!(partial.part(Some(0)), manifest.part(Some(0)).as_ref());
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_has_no_manifest() {
        for actual in [9_999, 10_001, 20_000] {
            let mut hasher = ManifestHasher::new(Geometry::new(10_000, BlockSize::for_file(0)).unwrap());
            hasher.update(&bytes(actual));
            assert_eq!(hasher.total(), actual as u64);
            let error = hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap_err();
            assert_eq!(error, SizeChanged { expected: 10_000, actual: actual as u64 });
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_manifest(size in 0usize..50_000, piece in 1usize..9_000) {
            let content = bytes(size);
            prop_assert_eq!(manifest_of(&content, piece), manifest_of(&content, 50_000));
        }
    }
}
