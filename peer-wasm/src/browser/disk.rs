//! The tab's own folder in the origin private file system.
//!
//! All tabs of the tracker's page share that file system, and a sync access handle locks its file. So each tab has a
//! folder of its own, and holds a Web Lock of the same name while it lives: a folder without a lock belongs to a tab
//! that is gone, and the next tab removes it.

use super::port::scope;
use js_sys::{Array, Function, Object, Promise, Reflect};
use std::collections::BTreeSet;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemRemoveOptions, FileSystemSyncAccessHandle,
};

/// The folder of all tabs.
const FOLDER: &str = "minibit";

#[derive(Debug, Clone)]
pub(super) struct Disk {
    folder: FileSystemDirectoryHandle,
}

impl Disk {
    /// Opens this tab's folder, and removes those of tabs that are gone.
    ///
    /// # Errors
    /// If the browser withholds its file system: on plain http, and in some private windows.
    pub(super) async fn open() -> Result<Self, JsValue> {
        let navigator = scope().navigator();
        if Reflect::get(&navigator, &"storage".into())?.is_undefined() {
            return Err("there is no file system in an insecure context".into());
        }
        let root: FileSystemDirectoryHandle = JsFuture::from(navigator.storage().get_directory()).await?.dyn_into()?;
        let all = folder(&root, FOLDER).await?;
        let locks = Reflect::get(&navigator, &"locks".into())?;
        let name = lock_new_name(&locks).await?;
        remove_abandoned(&all, &locks).await?;
        Ok(Self { folder: folder(&all, &name).await? })
    }

    /// Makes a file of this name, `size` bytes long.
    ///
    /// # Errors
    /// If there is no room, or the browser fails.
    pub(super) async fn create(
        &self,
        name: &str,
        size: u64,
    ) -> Result<(FileSystemFileHandle, FileSystemSyncAccessHandle), JsValue> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle = self.folder.get_file_handle_with_options(name, &options);
        let handle: FileSystemFileHandle = JsFuture::from(handle).await?.dyn_into()?;
        let access: FileSystemSyncAccessHandle =
            JsFuture::from(handle.create_sync_access_handle()).await?.dyn_into()?;
        // Its whole size at once: a file that grows with each write asks the browser for room each time.
        access.truncate_with_f64(size as f64)?;
        Ok((handle, access))
    }

    /// Removes a file whose access handle is closed.
    pub(super) fn remove(&self, name: &str) {
        // Should it fail, the folder is removed when the tab is gone.
        let removed = JsFuture::from(self.folder.remove_entry(name));
        wasm_bindgen_futures::spawn_local(async move { _ = removed.await });
    }
}

async fn folder(parent: &FileSystemDirectoryHandle, name: &str) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    JsFuture::from(parent.get_directory_handle_with_options(name, &options)).await?.dyn_into()
}

/// Takes a Web Lock under a new random name and keeps it as long as this worker lives.
async fn lock_new_name(locks: &JsValue) -> Result<String, JsValue> {
    let random = getrandom::u64().map_err(|error| JsValue::from_str(&error.to_string()))?;
    let name = format!("{random:016x}");
    let request: Function = Reflect::get(locks, &"request".into())?.dyn_into()?;
    let granted = Promise::new(&mut |granted, refused| {
        // The lock is held until the promise that the callback returns is settled, which is never.
        let hold = Closure::once_into_js(move || {
            _ = granted.call0(&JsValue::UNDEFINED);
            Promise::new(&mut |_, _| {})
        });
        if let Err(error) = request.call2(locks, &lock_name(&name).into(), &hold) {
            _ = refused.call1(&JsValue::UNDEFINED, &error);
        }
    });
    JsFuture::from(granted).await?;
    Ok(name)
}

/// Removes every folder whose tab holds no lock any more.
async fn remove_abandoned(all: &FileSystemDirectoryHandle, locks: &JsValue) -> Result<(), JsValue> {
    // Folders first: one that is made after this is not looked at, and each has its lock before it is made.
    let mut folders = Vec::new();
    let keys = all.keys();
    loop {
        let next: Object = JsFuture::from(keys.next_iterator()?).await?.dyn_into()?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            break;
        }
        folders.extend(Reflect::get(&next, &"value".into())?.as_string());
    }
    let query: Function = Reflect::get(locks, &"query".into())?.dyn_into()?;
    let state = JsFuture::from(query.call0(locks)?.dyn_into::<Promise>()?).await?;
    let held: Array = Reflect::get(&state, &"held".into())?.dyn_into()?;
    let held: BTreeSet<String> =
        held.iter().filter_map(|lock| Reflect::get(&lock, &"name".into()).ok()?.as_string()).collect();
    for name in folders.iter().filter(|name| !held.contains(&lock_name(name))) {
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        // Another tab may remove it at the same time.
        _ = JsFuture::from(all.remove_entry_with_options(name, &options)).await;
    }
    Ok(())
}

fn lock_name(folder: &str) -> String {
    format!("{FOLDER}/{folder}")
}

#[cfg(test)]
impl Disk {
    /// Makes a folder as of a tab that is gone, and tells its name.
    pub(super) async fn abandon_one_for_test() -> Result<String, JsValue> {
        let name = format!("{:016x}", getrandom::u64().unwrap_or_default());
        let folder = folder(&Self::all_for_test().await?, &name).await?;
        Self { folder }.create("1", 100).await?.1.close();
        Ok(name)
    }

    /// Whether a tab's folder is there.
    pub(super) async fn exists_for_test(name: &str) -> bool {
        let Ok(all) = Self::all_for_test().await else { return false };
        JsFuture::from(all.get_directory_handle(name)).await.is_ok()
    }

    async fn all_for_test() -> Result<FileSystemDirectoryHandle, JsValue> {
        let root = JsFuture::from(scope().navigator().storage().get_directory()).await?.dyn_into()?;
        folder(&root, FOLDER).await
    }
}
