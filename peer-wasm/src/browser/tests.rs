//! The storage and the hashing in a real worker of a real browser.

use super::{
    ahead::Reading,
    disk::Disk,
    hashing,
    store::{Saved, Store, file_of, read_piece},
};
use crate::{
    client::StoreId,
    page::Storage,
    swarm::{ReadId, StorageError},
};
use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use protocol::{Geometry, Manifest, ManifestHasher, MediaType};
use std::rc::Rc;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::File;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SIZE: usize = 3 * 4_096 + 100;

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i / 7) as u8).collect()
}

fn manifest() -> Manifest {
    let geometry = Geometry::new(SIZE as u64, 4_096.try_into().expect("a block size")).expect("a geometry");
    let mut hasher = ManifestHasher::new(geometry);
    hasher.update(&content());
    hasher.finish("piece.bin".parse().expect("a name"), MediaType::default()).expect("the same size")
}

fn chosen_file() -> File {
    let parts = Array::of1(&Uint8Array::from(content().as_slice()));
    File::new_with_u8_array_sequence(&parts, "a/b.bin").expect("a file")
}

/// Writes the blocks out of order, reads them back, and saves the whole.
async fn holds_a_file(disk: Option<Rc<Disk>>, kind: Storage) {
    let manifest = manifest();
    let geometry = *manifest.geometry();
    let mut store = Store::create(disk.clone(), StoreId::for_test(1), geometry).await.expect("room");
    assert_eq!(store.kind(), kind);
    for (index, count) in [(2, 2), (0, 2)] {
        let run = geometry.run(index, count).expect("a run");
        let offset = geometry.offset(index);
        let bytes = &content()[offset as usize..(offset + geometry.run_len(run)) as usize];
        store.write(run, offset, bytes).expect("written");
    }
    assert_eq!(read(&mut store, 4_096, 8_192).await.expect("read"), content()[4_096..12_288]);
    assert_eq!(read(&mut store, 3 * 4_096, 100).await.expect("read"), content()[3 * 4_096..]);
    // Peers ask for parts of blocks.
    for (offset, len) in [(0, 1), (5, 4_091), (4_095, 2), (4_100, 8_192), (8_000, 4_388), (SIZE - 1, 1), (0, SIZE)] {
        let part = read(&mut store, offset as u64, len as u32).await.expect("read");
        assert_eq!(part, content()[offset..offset + len], "{len} bytes from {offset}");
    }
    assert!(read(&mut store, SIZE as u64 - 1, 2).await.is_err(), "there is no more");
    let saved = match store.saved(manifest.facts()) {
        Saved::Now(file) => file.expect("a file"),
        Saved::Later(handle) => file_of(handle).await.expect("a file"),
    };
    assert_eq!(read_piece(&saved, 0..SIZE as u64).await.expect("read").to_vec(), content());
    store.discard(disk.as_deref());
}

/// Reads as the worker does.
async fn read(store: &mut Store, offset: u64, len: u32) -> Result<Bytes, StorageError> {
    let id = ReadId::for_test(offset);
    match store.read(id, offset, len) {
        Reading::Done(result) => result,
        Reading::Later => panic!("nothing is being read"),
        Reading::Begin(file, piece) => {
            assert!(
                matches!(store.read(ReadId::for_test(u64::MAX), offset, len), Reading::Later),
                "it is coming already"
            );
            let bytes = read_piece(&file, piece.clone()).await;
            let mut answers = store.take_piece(piece, bytes);
            assert_eq!(answers.len(), 2);
            assert_eq!(answers[0].0, id);
            answers.remove(0).1
        }
    }
}

#[wasm_bindgen_test]
async fn a_file_is_held_on_disk() {
    let disk = Disk::open().await.expect("localhost is a secure context");
    holds_a_file(Some(Rc::new(disk)), Storage::Disk).await;
}

#[wasm_bindgen_test]
async fn a_file_is_held_in_memory_where_there_is_no_disk() {
    holds_a_file(None, Storage::Memory).await;
}

#[wasm_bindgen_test]
async fn a_file_too_large_for_memory_is_refused_before_the_tab_dies() {
    let geometry = Geometry::new(2 << 30, (1 << 20).try_into().expect("a block size")).expect("a geometry");
    assert!(Store::create(None, StoreId::for_test(1), geometry).await.is_err());
}

#[wasm_bindgen_test]
async fn two_tabs_hold_the_same_file_and_the_folder_of_a_dead_one_is_removed() {
    let [one, two] = [Disk::open().await.expect("a disk"), Disk::open().await.expect("a disk")];
    one.create("1", SIZE as u64).await.expect("room");
    two.create("1", SIZE as u64).await.expect("a folder of its own");

    let folder = Disk::abandon_one_for_test().await.expect("a folder");
    assert!(Disk::exists_for_test(&folder).await);
    Disk::open().await.expect("a disk");
    assert!(!Disk::exists_for_test(&folder).await);
}

#[wasm_bindgen_test]
async fn a_chosen_file_is_hashed_and_read_from_where_it_is() {
    let file = chosen_file();
    let hashed = hashing::hash(&file, |_| true).await.expect("hashed").expect("wanted");
    assert_eq!(hashed.file(), manifest().file());
    assert_eq!(hashed.facts().name.as_str(), "a_b.bin");
    let mut store = Store::of_source(file);
    for offset in [4_096, 8_192, 0] {
        let bytes = read(&mut store, offset, 4_096).await.expect("read");
        assert_eq!(bytes, content()[offset as usize..offset as usize + 4_096]);
    }
    assert!(read(&mut store, SIZE as u64 - 10, 11).await.is_err(), "a file that became shorter cannot be read");
}

#[wasm_bindgen_test]
async fn an_empty_file_can_be_hashed() {
    let file = File::new_with_u8_array_sequence(&Array::new(), "empty").expect("a file");
    let hashed = hashing::hash(&file, |_| true).await.expect("hashed").expect("wanted");
    assert_eq!(hashed.geometry().blocks(), 0);
}
