//! What a file is: its id, its name, and the hash of each block.
//!
//! A block's hash is the BLAKE3 chaining value of its subtree (BLAKE3 specification, section 2.1), so that merging
//! all of them gives the hash of the whole file, which is its id. A manifest from a stranger is therefore checked
//! against the id before a byte is believed. A file of at most one block has no inner subtree: its one hash is the
//! id itself, and an empty file has none.

use crate::{BlockSize, FileId, FileName, Geometry, GeometryError, MediaType, Run};
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
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

/// Why a manifest is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Its size and block size do not go together.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// It does not list one hash of 32 bytes per block.
    #[error("{blocks} blocks have {} bytes of hashes, not {actual}", *blocks as usize * HASH_LEN)]
    Length {
        /// Number of blocks in the file.
        blocks: u32,
        /// Bytes of hashes received.
        actual: usize,
    },
    /// Its hashes do not merge to the file's id.
    #[error("the block hashes do not belong to this file id")]
    WrongHashes,
}

/// A file's facts and block hashes, known to belong to its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    facts: FileFacts,
    geometry: Geometry,
    hashes: Vec<BlockHash>,
}

impl Manifest {
    /// Checks a manifest from the wire against the file id in its facts.
    ///
    /// # Errors
    /// If the hashes do not merge to the id, or if there is not one per block.
    pub fn verify(facts: FileFacts, hashes: &[u8]) -> Result<Self, ManifestError> {
        let geometry = facts.geometry()?;
        let (chunks, rest) = hashes.as_chunks::<HASH_LEN>();
        if !rest.is_empty() || chunks.len() != geometry.blocks() as usize {
            return Err(ManifestError::Length { blocks: geometry.blocks(), actual: hashes.len() });
        }
        let hashes: Vec<_> = chunks.iter().map(|hash| BlockHash(*hash)).collect();
        if merge(&hashes) != facts.file {
            return Err(ManifestError::WrongHashes);
        }
        Ok(Self { facts, geometry, hashes })
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

    /// The block hashes one after another, as they travel.
    pub fn hashes(&self) -> Bytes {
        self.hashes.iter().flat_map(|hash| hash.0).collect::<Vec<_>>().into()
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
    total: u64,
}

impl ManifestHasher {
    /// Starts on a file of this geometry.
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, current: blake3::Hasher::new(), current_len: 0, hashes: Vec::new(), total: 0 }
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
        let Self { geometry, hashes, total, .. } = self;
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
        Ok(Manifest { facts, geometry, hashes })
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
            assert_eq!(Manifest::verify(manifest.facts().clone(), &manifest.hashes()), Ok(manifest));
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

    #[test]
    fn a_manifest_with_a_wrong_hash_or_length_is_not_believed() {
        let manifest = manifest_of(&bytes(10_000), 10_000);
        let mut hashes = manifest.hashes().to_vec();
        assert!(matches!(
            Manifest::verify(manifest.facts().clone(), &hashes[1..]),
            Err(ManifestError::Length { blocks: 3, actual: 95 })
        ));
        hashes[40] ^= 1;
        assert_eq!(Manifest::verify(manifest.facts().clone(), &hashes), Err(ManifestError::WrongHashes));
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_has_no_manifest() {
        for actual in [9_999, 10_001, 20_000] {
            let mut hasher = ManifestHasher::new(Geometry::new(10_000, BlockSize::for_file(0)).unwrap());
            hasher.update(&bytes(actual));
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
