//! One file on disk.

use bytes::Bytes;
use peer_wasm::swarm::StorageError;
use protocol::{FileFacts, FileName};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};
use tempfile::{Builder, TempPath};

/// The most names tried for a finished file before giving up.
const MAX_NAMES: u32 = 1_000;

/// A file that is shared, or that is being fetched.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// A person's own file, as it was when it was hashed.
    Shared { size: u64, modified: Option<SystemTime> },
    /// A file of ours, under a temporary name until it is complete; it is removed if that never comes.
    Fetched { part: Option<TempPath>, folder: PathBuf, name: FileName },
}

impl Store {
    /// A file that the person shares.
    ///
    /// # Errors
    /// If its metadata cannot be read.
    pub(crate) fn shared(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let origin = Origin::Shared { size: metadata.len(), modified: metadata.modified().ok() };
        Ok(Self { file, origin })
    }

    /// Makes room for a file in `folder`, under a temporary name.
    ///
    /// # Errors
    /// If there is no room, or the folder cannot be written to.
    pub(crate) fn create(folder: &Path, facts: &FileFacts) -> Result<Self, StorageError> {
        let create = || {
            fs::create_dir_all(folder)?;
            let mut builder = Builder::new();
            builder.prefix(".minibit-").suffix(".part");
            // As any new file of this person's, not for their eyes only.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            let (file, part) = builder.tempfile_in(folder)?.into_parts();
            file.set_len(facts.size)?;
            let origin = Origin::Fetched { part: Some(part), folder: folder.to_owned(), name: facts.name.clone() };
            Ok(Self { file, origin })
        };
        create().map_err(|error: io::Error| storage_error(&error))
    }

    /// Reads `len` bytes from `offset`.
    ///
    /// # Errors
    /// If a shared file changed since it was hashed, or the disk fails.
    pub(crate) fn read(&mut self, offset: u64, len: u32) -> Result<Bytes, StorageError> {
        if let Origin::Shared { size, modified } = &self.origin {
            let metadata = self.file.metadata().map_err(|_| StorageError::Unreadable)?;
            if metadata.len() != *size || metadata.modified().ok() != *modified {
                return Err(StorageError::Unreadable);
            }
        }
        let mut bytes = vec![0; len as usize];
        let result = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut bytes));
        result.map(|()| bytes.into()).map_err(|error| storage_error(&error))
    }

    /// Writes at `offset`.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let written = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(data));
        written.map_err(|error| storage_error(&error))
    }

    /// Gives a complete file its own name in the folder, or the next one free; tells where it is.
    ///
    /// # Errors
    /// If the disk fails, or this is no file of ours that waits for its name.
    pub(crate) fn finish(&mut self) -> Result<PathBuf, StorageError> {
        let finished = || StorageError::Failed { detail: "the file has its name already".to_owned() };
        let Origin::Fetched { part, folder, name } = &mut self.origin else { return Err(finished()) };
        let part = part.take().ok_or_else(finished)?;
        self.file.sync_all().and_then(|()| persist(part, folder, name)).map_err(|error| storage_error(&error))
    }
}

/// Renames a file to the first name that is free; never over another file.
fn persist(mut part: TempPath, folder: &Path, name: &FileName) -> io::Result<PathBuf> {
    let name = Path::new(name.as_str());
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let extension = name.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    for number in 0..MAX_NAMES {
        let candidate = if number == 0 { name.to_owned() } else { format!("{stem} ({number}){extension}").into() };
        let path = folder.join(candidate);
        match part.persist_noclobber(&path) {
            Ok(()) => return Ok(path),
            Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => part = taken.path,
            Err(failed) => return Err(failed.error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn storage_error(error: &io::Error) -> StorageError {
    if error.kind() == ErrorKind::StorageFull {
        StorageError::Full
    } else {
        StorageError::Failed { detail: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, FileId, MediaType};

    fn facts(size: u64) -> FileFacts {
        FileFacts {
            file: FileId::from_bytes([7; 32]),
            name: "a.txt".parse().unwrap(),
            size,
            media_type: MediaType::default(),
            block_size: BlockSize::for_file(size),
        }
    }

    #[test]
    fn a_finished_file_never_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "mine").unwrap();
        let mut store = Store::create(folder.path(), &facts(5)).unwrap();
        store.write(2, b"llo").unwrap();
        store.write(0, b"he").unwrap();
        let path = store.finish().unwrap();
        assert_eq!(path, folder.path().join("a (1).txt"));
        assert_eq!(fs::read(path).unwrap(), b"hello");
        assert_eq!(fs::read(folder.path().join("a.txt")).unwrap(), b"mine");
        assert_eq!(store.read(1, 3).unwrap(), "ell");
    }

    #[test]
    fn a_shared_file_that_changed_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        fs::write(&path, "before").unwrap();
        let mut store = Store::shared(File::open(&path).unwrap()).unwrap();
        assert_eq!(store.read(0, 6).unwrap(), "before");
        fs::write(&path, "afterwards").unwrap();
        assert_eq!(store.read(0, 6), Err(StorageError::Unreadable));
    }

    #[test]
    fn two_that_fetch_the_same_file_into_one_folder_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut two] = [1, 2].map(|_| Store::create(folder.path(), &facts(5)).unwrap());
        one.write(0, b"hello").unwrap();
        two.write(0, b"hel").unwrap();
        let path = one.finish().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"hello");
    }

    #[test]
    fn what_is_stopped_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::create(folder.path(), &facts(5)).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
