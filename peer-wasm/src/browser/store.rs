//! One file's bytes.

use super::{describe, disk::Disk, storage_problem};
use crate::page::{Problem, Storage};
use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use protocol::{FileFacts, FileId, Geometry, Run};
use std::{collections::VecDeque, rc::Rc};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, File, FilePropertyBag, FileReaderSync, FileSystemFileHandle, FileSystemReadWriteOptions,
    FileSystemSyncAccessHandle,
};

/// The largest file that is kept in memory, in bytes: more would end the tab.
const MAX_IN_MEMORY: u64 = 1 << 30;
/// How many times what was asked for is read of a chosen file.
const READ_AHEAD: u64 = 4;
/// The most such pieces kept of one file: at most one for each peer that is served. They are outside the memory of wasm.
const MAX_PIECES: usize = 5;

pub(super) enum Store {
    /// The file that the person chose; read from there, never copied.
    Source { file: File, ahead: ReadAhead },
    /// A file in the tab's folder.
    Disk { handle: FileSystemFileHandle, access: FileSystemSyncAccessHandle },
    /// One piece per block, outside the memory of wasm, which never shrinks.
    Memory { blocks: Vec<Option<Uint8Array>>, geometry: Geometry },
}

impl Store {
    /// Reads from a file that the person chose.
    pub(super) const fn of_source(file: File) -> Self {
        Self::Source { file, ahead: ReadAhead { pieces: VecDeque::new() } }
    }

    /// Makes room for a file: on disk, or in memory where there is no disk.
    ///
    /// # Errors
    /// If there is no room.
    pub(super) async fn create(disk: Option<Rc<Disk>>, file: FileId, geometry: Geometry) -> Result<Self, Problem> {
        if let Some(disk) = disk {
            let created = disk.create(file, geometry.size()).await;
            return created
                .map(|(handle, access)| Self::Disk { handle, access })
                .map_err(|error| storage_problem(&error));
        }
        if geometry.size() > MAX_IN_MEMORY {
            return Err(Problem::StorageFull);
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

    /// Reads `len` bytes from `offset`, which are whole blocks.
    ///
    /// # Errors
    /// If the person's file changed, or the browser fails.
    pub(super) fn read(&mut self, offset: u64, len: u32) -> Result<Bytes, Problem> {
        match self {
            Self::Source { file, ahead } => ahead.read(file, offset, len),
            Self::Disk { access, .. } => read_disk(access, offset, len),
            Self::Memory { blocks, geometry } => {
                let block_size = u64::from(geometry.block_size().bytes());
                let range = (offset / block_size) as usize..(offset + u64::from(len)).div_ceil(block_size) as usize;
                let pieces = blocks.get(range).into_iter().flatten().flatten();
                Ok(pieces.flat_map(Uint8Array::to_vec).collect())
            }
        }
    }

    /// Writes the blocks of `run`, which begin at `offset`.
    ///
    /// # Errors
    /// If there is no room, or the browser fails.
    pub(super) fn write(&mut self, run: Run, offset: u64, data: &[u8]) -> Result<(), Problem> {
        match self {
            Self::Source { .. } => {}
            Self::Disk { access, .. } => {
                let written = access.write_with_u8_array_and_options(data, &at(offset));
                if written.map_err(|error| storage_problem(&error))? as usize != data.len() {
                    return Err(Problem::StorageFull);
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
            Self::Disk { handle, access } => match access.flush() {
                Ok(()) => Saved::Later(handle.clone()),
                Err(error) => Saved::Now(Err(storage_problem(&error))),
            },
            Self::Memory { blocks, .. } => {
                let parts: js_sys::Array = blocks.iter().flatten().collect();
                let options = FilePropertyBag::new();
                options.set_type(facts.media_type.as_str());
                let file = File::new_with_u8_array_sequence_and_options(&parts, facts.name.as_str(), &options);
                Saved::Now(file.map_err(|error| storage_problem(&error)))
            }
        }
    }

    /// Gives back what the file holds.
    pub(super) fn discard(self, disk: Option<&Disk>, file: FileId) {
        if let Self::Disk { access, .. } = self {
            access.close();
            if let Some(disk) = disk {
                disk.remove(file);
            }
        }
    }
}

/// A file to save: here, or to be had from a handle.
pub(super) enum Saved {
    Now(Result<File, Problem>),
    Later(FileSystemFileHandle),
}

/// The file behind a handle.
///
/// # Errors
/// If the browser fails.
pub(super) async fn file_of(handle: FileSystemFileHandle) -> Result<File, Problem> {
    let file = JsFuture::from(handle.get_file()).await.map_err(|error| storage_problem(&error))?;
    file.dyn_into().map_err(|other| Problem::StorageFailed { detail: describe(&other) })
}

/// Reads a piece of a file that the person chose, without holding up the worker.
///
/// # Errors
/// If it changed on disk or is gone.
pub(super) async fn read_piece(file: &File, offset: u64, len: u64) -> Result<Bytes, Problem> {
    let slice = slice(file, offset, len)?;
    Ok(whole(JsFuture::from(slice.array_buffer()).await, len)?.to_vec().into())
}

/// Pieces read lately of a file that the person chose, each somewhat longer than was asked for: receivers ask for what
/// follows, and the browser takes almost as long for a quarter of a megabyte as for a whole one.
pub(super) struct ReadAhead {
    pieces: VecDeque<(u64, Uint8Array)>,
}

impl ReadAhead {
    fn read(&mut self, file: &File, offset: u64, len: u32) -> Result<Bytes, Problem> {
        let end = offset + u64::from(len);
        let holds = |(start, piece): &&(u64, Uint8Array)| *start <= offset && end <= start + u64::from(piece.length());
        if let Some((start, piece)) = self.pieces.iter().find(holds) {
            return Ok(piece.subarray((offset - start) as u32, (end - start) as u32).to_vec().into());
        }
        // Up to the next multiple: there a receiver that goes on asking for what follows turns elsewhere.
        let stretch = u64::from(len) * READ_AHEAD;
        let stretch_end = (offset / stretch + 1) * stretch;
        let piece = read_now(file, offset, stretch_end.min(file.size() as u64).max(end) - offset)?;
        let bytes = piece.subarray(0, len).to_vec().into();
        if self.pieces.len() == MAX_PIECES {
            self.pieces.pop_front();
        }
        self.pieces.push_back((offset, piece));
        Ok(bytes)
    }
}

/// Reads part of a file at once: for so few bytes that costs half of what a promise does.
fn read_now(file: &File, offset: u64, len: u64) -> Result<Uint8Array, Problem> {
    let reader = FileReaderSync::new().map_err(|_| Problem::FileUnreadable)?;
    let buffer = reader.read_as_array_buffer(&slice(file, offset, len)?);
    whole(buffer.map(JsValue::from), len)
}

fn slice(file: &File, offset: u64, len: u64) -> Result<Blob, Problem> {
    file.slice_with_f64_and_f64(offset as f64, (offset + len) as f64).map_err(|_| Problem::FileUnreadable)
}

/// What was read, if it is all that was asked for.
fn whole(read: Result<JsValue, JsValue>, len: u64) -> Result<Uint8Array, Problem> {
    let buffer: ArrayBuffer = read.and_then(JsValue::dyn_into).map_err(|_| Problem::FileUnreadable)?;
    if u64::from(buffer.byte_length()) == len { Ok(Uint8Array::new(&buffer)) } else { Err(Problem::FileUnreadable) }
}

fn read_disk(access: &FileSystemSyncAccessHandle, offset: u64, len: u32) -> Result<Bytes, Problem> {
    let mut bytes = vec![0; len as usize];
    let read =
        access.read_with_u8_array_and_options(&mut bytes, &at(offset)).map_err(|error| storage_problem(&error))?;
    if read as u32 != len {
        return Err(Problem::StorageFailed { detail: format!("read {read} of {len} bytes") });
    }
    Ok(bytes.into())
}

fn at(offset: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at_f64(offset as f64);
    options
}
