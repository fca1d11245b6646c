//! A file to share, of which all peers hold one copy together.

use bytes::Bytes;
use protocol::{BlockSize, Geometry, Manifest, ManifestHasher, MediaType, Run};
use std::sync::Arc;

/// Bytes of a segment's stamp.
const STAMP: usize = 8;

/// A file and its manifest.
#[derive(Debug, Clone)]
pub struct File {
    /// Its bytes.
    pub content: Bytes,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
}

impl File {
    /// Makes a file whose every segment begins with its index, so that [`check_stamps`] tells them apart: whatever a message
    /// carries begins with one.
    ///
    /// # Panics
    /// If a file of this size cannot have blocks of this size.
    pub fn new(size: u64, block_size: u32) -> Self {
        let block_size = BlockSize::try_from(block_size).expect("a power of two from 4 KiB to 1 MiB");
        let geometry = Geometry::new(size, block_size).expect("not too many blocks");
        let mut content = vec![0; size as usize];
        for (segment, index) in content.chunks_mut(geometry.segment_size() as usize).zip(0u64..) {
            let len = segment.len().min(STAMP);
            segment[..len].copy_from_slice(&index.to_le_bytes()[..len]);
        }
        let mut hasher = ManifestHasher::new(geometry);
        hasher.update(&content);
        let name = "file.bin".parse().expect("a file name");
        let manifest = hasher.finish(name, MediaType::default()).expect("all bytes were hashed");
        Self { content: content.into(), manifest: Arc::new(manifest) }
    }

    pub(crate) fn slice(&self, offset: u64, len: u64) -> Bytes {
        self.content.slice(offset as usize..(offset + len) as usize)
    }
}

/// Checks blocks by their stamps: what hashing is in a real peer, in a thousandth of the time. For
/// [`Config::check`](peer_wasm::swarm::Config::check).
pub fn check_stamps(manifest: &Manifest, run: Run, data: &[u8]) -> Vec<bool> {
    let geometry = manifest.geometry();
    let segment_size = geometry.segment_size() as usize;
    let first = geometry.block_segments(run.index()).start;
    let is_stamped = |segment: u32| {
        let start = (segment - first) as usize * segment_size;
        let stamp = u64::from(segment).to_le_bytes();
        let len = (data.len() - start).min(STAMP);
        data[start..start + len] == stamp[..len]
    };
    let is_right = |index: u32| geometry.block_segments(index).all(is_stamped);
    if data.len() as u64 == geometry.run_len(run) {
        run.blocks().map(is_right).collect()
    } else {
        vec![false; run.count() as usize]
    }
}
