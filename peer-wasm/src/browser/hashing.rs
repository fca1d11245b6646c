//! Making the manifest of a chosen file, with progress.

use super::store::read_piece;
use crate::{page::Problem, swarm::StorageError};
use protocol::{BlockSize, FileName, Geometry, MAX_FILE_SIZE, Manifest, ManifestHasher, MediaType};
use web_sys::File;

/// Bytes read at a time: enough that asking for them costs little, few enough to show progress.
const PIECE: u64 = 4 << 20;

/// The name that a file is shared under.
pub(super) fn name_of(file: &File) -> FileName {
    FileName::nearest(&file.name())
}

/// Reads and hashes a file, telling how many bytes are done. `None` if `progress` says that it is not wanted any more.
///
/// # Errors
/// If the file is too large, or cannot be read to its end.
pub(super) async fn hash(file: &File, progress: impl Fn(u64) -> bool) -> Result<Option<Manifest>, Problem> {
    let total = file.size() as u64;
    let too_large = || Problem::FileTooLarge { max: MAX_FILE_SIZE };
    let geometry = Geometry::new(total, BlockSize::for_file(total)).map_err(|_| too_large())?;
    let name = name_of(file);
    let mut hasher = ManifestHasher::new(geometry);
    while hasher.total() < total {
        let done = hasher.total();
        if !progress(done) {
            return Ok(None);
        }
        hasher.update(&read_piece(file, done..total.min(done + PIECE)).await.map_err(Problem::Storage)?.to_vec());
    }
    let media_type = file.type_().parse().unwrap_or_else(|_| MediaType::default());
    hasher.finish(name, media_type).map(Some).map_err(|_| Problem::Storage(StorageError::Unreadable))
}
