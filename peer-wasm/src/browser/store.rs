//! One file's bytes.

use super::{
    ahead::{ReadAhead, Reading},
    describe,
    disk::Disk,
    storage_error,
};
use crate::{
    client::StoreId,
    page::Storage,
    swarm::{ReadId, StorageError},
};
use bytes::Bytes;
use js_sys::Uint8Array;
use protocol::{FileFacts, Geometry, Run};
use std::{ops::Range, rc::Rc};
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, FilePropertyBag, FileSystemFileHandle, FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

/// The largest file that is kept in memory, in bytes: more would end the tab.
const MAX_IN_MEMORY: u64 = 1 << 30;

pub(super) enum Store {
    /// The file that the person chose; read from there, never copied.
    Source { file: File, ahead: ReadAhead },
    /// A file in the tab's folder.
    Disk { name: String, handle: FileSystemFileHandle, access: FileSystemSyncAccessHandle },
    /// One piece per block, outside the memory of wasm, which never shrinks.
    Memory { blocks: Vec<Option<Uint8Array>>, geometry: Geometry },
}

impl Store {
    /// Reads from a file that the person chose.
    pub(super) fn of_source(file: File) -> Self {
        Self::Source { file, ahead: ReadAhead::default() }
    }

    /// Makes room for a file: on disk, or in memory where there is no disk.
    ///
    /// # Errors
    /// If there is no room.
    pub(super) async fn create(
        disk: Option<Rc<Disk>>,
        store: StoreId,
        geometry: Geometry,
    ) -> Result<Self, StorageError> {
        if let Some(disk) = disk {
            // Not the file's: an older storage of the same file may still be on its way out.
            let name = store.to_string();
            let created = disk.create(&name, geometry.size()).await;
            return created
                .map(|(handle, access)| Self::Disk { name, handle, access })
                .map_err(|error| storage_error(&error));
        }
        if geometry.size() > MAX_IN_MEMORY {
            return Err(StorageError::Full);
        }
        Ok(Self::Memory { blocks: vec![None; geometry.blocks() as usize], geometry })
    }

    pub(super) const fn kind(&self) -> Storage {
        match self {
            Self::Source { .. } => Storage::Source,
            Self::Disk { .. } => Storage::Disk,
            Self::Memory { .. } => Storage::Memory,
        }
    }

    /// Reads `len` bytes from `offset`, wherever in a block they begin and end. `id` is for an answer that comes later.
    pub(super) fn read(&mut self, id: ReadId, offset: u64, len: u32) -> Reading {
        match self {
            Self::Source { file, ahead } => ahead.read(file, id, offset, len),
            Self::Disk { access, .. } => Reading::Done(read_disk(access, offset, len)),
            Self::Memory { blocks, geometry } => {
                Reading::Done(read_memory(blocks, geometry.block_size().bytes(), offset, len))
            }
        }
    }

    /// Takes what [`Reading::Begin`] asked for, and gives the answers that waited for it.
    pub(super) fn take_piece(
        &mut self,
        piece: Range<u64>,
        read: Result<Uint8Array, StorageError>,
    ) -> Vec<(ReadId, Result<Bytes, StorageError>)> {
        if let Self::Source { ahead, .. } = self { ahead.take(piece, read) } else { Vec::new() }
    }

    /// Writes the blocks of `run`, which begin at `offset`.
    ///
    /// # Errors
    /// If there is no room, or the browser fails.
    pub(super) fn write(&mut self, run: Run, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        match self {
            Self::Source { .. } => {}
            Self::Disk { access, .. } => {
                let written = access.write_with_u8_array_and_options(data, &at(offset));
                if written.map_err(|error| storage_error(&error))? as usize != data.len() {
                    return Err(StorageError::Full);
                }
            }
            Self::Memory { blocks, geometry } => {
                for (index, piece) in run.blocks().zip(data.chunks(geometry.block_size().bytes() as usize)) {
                    if let Some(block) = blocks.get_mut(index as usize) {
                        *block = Some(Uint8Array::from(piece));
                    }
                }
            }
        }
        Ok(())
    }

    /// The whole file, to be saved. `None` for one that is still being read from where the person has it.
    pub(super) fn saved(&self, facts: &FileFacts) -> Saved {
        match self {
            Self::Source { file, .. } => Saved::Now(Ok(file.clone())),
            Self::Disk { handle, access, .. } => match access.flush() {
                Ok(()) => Saved::Later(handle.clone()),
                Err(error) => Saved::Now(Err(storage_error(&error))),
            },
            Self::Memory { blocks, .. } => {
                let parts: js_sys::Array = blocks.iter().flatten().collect();
                let options = FilePropertyBag::new();
                options.set_type(facts.media_type.as_str());
                let file = File::new_with_u8_array_sequence_and_options(&parts, facts.name.as_str(), &options);
                Saved::Now(file.map_err(|error| storage_error(&error)))
            }
        }
    }

    /// Gives back what the file holds.
    pub(super) fn discard(self, disk: Option<&Disk>) {
        if let Self::Disk { name, access, .. } = self {
            access.close();
            if let Some(disk) = disk {
                disk.remove(&name);
            }
        }
    }
}

/// A file to save: here, or to be had from a handle.
pub(super) enum Saved {
    Now(Result<File, StorageError>),
    Later(FileSystemFileHandle),
}

/// The file behind a handle.
///
/// # Errors
/// If the browser fails.
pub(super) async fn file_of(handle: FileSystemFileHandle) -> Result<File, StorageError> {
    let file = JsFuture::from(handle.get_file()).await.map_err(|error| storage_error(&error))?;
    file.dyn_into().map_err(|other| StorageError::Failed { detail: describe(&other) })
}

/// Reads a piece of a file that the person chose, without holding up the worker.
///
/// # Errors
/// If it changed on disk or is gone.
pub(super) async fn read_piece(file: &File, piece: Range<u64>) -> Result<Uint8Array, StorageError> {
    let unreadable = |_| StorageError::Unreadable;
    let slice = file.slice_with_f64_and_f64(piece.start as f64, piece.end as f64).map_err(unreadable)?;
    let buffer = JsFuture::from(slice.array_buffer()).await.map_err(unreadable)?;
    let bytes = Uint8Array::new(&buffer);
    if u64::from(bytes.length()) == piece.end - piece.start { Ok(bytes) } else { Err(StorageError::Unreadable) }
}

fn read_memory(blocks: &[Option<Uint8Array>], block_size: u32, offset: u64, len: u32) -> Result<Bytes, StorageError> {
    let mut bytes = vec![0; len as usize];
    let (mut block, mut start) = ((offset / u64::from(block_size)) as usize, (offset % u64::from(block_size)) as u32);
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let Some(held) = blocks.get(block).and_then(Option::as_ref).filter(|held| held.length() > start) else {
            return Err(StorageError::Failed { detail: format!("block {block} is not here") });
        };
        let part = (held.length() - start).min(rest.len() as u32);
        let (here, after) = rest.split_at_mut(part as usize);
        held.subarray(start, start + part).copy_to(here);
        (block, start, rest) = (block + 1, 0, after);
    }
    Ok(bytes.into())
}

fn read_disk(access: &FileSystemSyncAccessHandle, offset: u64, len: u32) -> Result<Bytes, StorageError> {
    let mut bytes = vec![0; len as usize];
    let read = access.read_with_u8_array_and_options(&mut bytes, &at(offset)).map_err(|error| storage_error(&error))?;
    if read as u32 != len {
        return Err(StorageError::Failed { detail: format!("read {read} of {len} bytes") });
    }
    Ok(bytes.into())
}

fn at(offset: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at_f64(offset as f64);
    options
}
