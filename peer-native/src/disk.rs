//! The storages in use, and their work on other threads, because disks are slow.

use crate::store::Store;
use bytes::Bytes;
use peer_wasm::{
    client::StoreId,
    swarm::{ReadId, StorageError},
};
use protocol::{FileId, Manifest, Run};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::mpsc, task::spawn_blocking};

/// Results that may wait for the driver; beyond that the disk waits.
const RESULTS: usize = 64;

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    Created { store: StoreId, blocks: u32, result: Result<Store, StorageError> },
    Read { store: StoreId, id: ReadId, result: Result<Bytes, StorageError> },
    Written { store: StoreId, run: Run, result: Result<(), StorageError> },
    Finished { store: StoreId, file: FileId, result: Result<PathBuf, StorageError> },
}

/// The storages by their names. Each does its jobs one after another, so that a slow one holds up one thread at most.
pub(crate) struct Disk {
    stores: BTreeMap<StoreId, Arc<Mutex<Queue>>>,
    results: mpsc::Sender<Done>,
}

/// What one storage has to do; the core bounds how much.
struct Queue {
    jobs: VecDeque<Job>,
    /// None while a task works with it.
    idle: Option<Store>,
}

type Job = Box<dyn FnOnce(Result<&mut Store, StorageError>) -> Done + Send>;

impl Disk {
    /// No storages yet, and where the results of all will come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Done>) {
        let (results, receiver) = mpsc::channel(RESULTS);
        (Self { stores: BTreeMap::new(), results }, receiver)
    }

    /// Has a storage made, to be kept when it comes out.
    pub(crate) fn create(&self, store: StoreId, manifest: Arc<Manifest>, folder: PathBuf) {
        let results = self.results.clone();
        spawn_blocking(move || {
            let blocks = manifest.geometry().blocks();
            let result = Store::create(&folder, manifest.facts());
            // Nobody may wait any more.
            _ = results.blocking_send(Done::Created { store, blocks, result });
        });
    }

    pub(crate) fn keep(&mut self, id: StoreId, store: Store) {
        let queue = Queue { jobs: VecDeque::new(), idle: Some(store) };
        self.stores.insert(id, Arc::new(Mutex::new(queue)));
    }

    /// Does a job when all before it with the same storage are done. The core asks for no storage that it gave back;
    /// should one be missing, the job fails, at once.
    pub(crate) fn queue(
        &self,
        id: StoreId,
        job: impl FnOnce(Result<&mut Store, StorageError>) -> Done + Send + 'static,
    ) -> Option<Done> {
        let Some(shared) = self.stores.get(&id) else {
            return Some(job(Err(StorageError::Failed { detail: format!("there is no storage {id}") })));
        };
        let mut queue = lock(shared);
        queue.jobs.push_back(Box::new(job));
        if let Some(store) = queue.idle.take() {
            let (shared, results) = (Arc::clone(shared), self.results.clone());
            spawn_blocking(move || work(store, &shared, &results));
        }
        None
    }

    /// Lets a storage go; its jobs that have not begun need no answer.
    pub(crate) fn discard(&mut self, id: StoreId) {
        let Some(shared) = self.stores.remove(&id) else { return };
        let mut queue = lock(&shared);
        queue.jobs.clear();
        if let Some(store) = queue.idle.take() {
            // Removing a large file takes a while.
            spawn_blocking(move || drop(store));
        }
    }
}

/// Does the jobs of a storage until none is left, or nobody waits for what comes of them.
fn work(mut store: Store, queue: &Mutex<Queue>, results: &mpsc::Sender<Done>) {
    loop {
        let job = {
            let mut queue = lock(queue);
            let Some(job) = queue.jobs.pop_front() else {
                queue.idle = Some(store);
                return;
            };
            job
        };
        if results.blocking_send(job(Ok(&mut store))).is_err() {
            return;
        }
    }
}

/// Nothing panics while it holds the lock.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer_wasm::{
        Instant,
        client::{Client, ClientConfig},
        swarm::Config,
    };
    use protocol::{BlockSize, FileFacts, Geometry, ManifestHasher, MediaType, RoomName};
    use std::{
        collections::BTreeSet,
        fs,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc::{SyncSender, sync_channel},
        },
        time::Duration,
    };
    use tempfile::TempDir;
    use tokio::time::timeout;

    const FILE: FileId = FileId::from_bytes([7; 32]);
    /// How long anything may take.
    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn jobs_of_one_storage_are_done_in_order_and_one_at_a_time() {
        let mut world = World::new();
        let [slow] = world.stores();
        let at_once = Arc::new(AtomicUsize::new(0));
        let release = world.block(slow);
        for number in 0..100 {
            let at_once = Arc::clone(&at_once);
            let answered = world.disk.queue(slow, move |kept| {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                let result = kept.and_then(|kept| kept.write(number, &[number as u8]));
                at_once.fetch_sub(1, Ordering::SeqCst);
                finished(slow, result.map(|()| number.to_string().into()))
            });
            assert!(answered.is_none(), "it waits for its turn");
        }
        release.send(()).unwrap();
        assert!(world.next().await.is_ok());
        for number in 0..100 {
            assert_eq!(world.next().await, Ok(number.to_string().into()));
        }
    }

    #[tokio::test]
    async fn a_slow_storage_holds_up_no_other() {
        let mut world = World::new();
        let [slow, other] = world.stores();
        let release = world.block(slow);
        // More than there are threads for such work.
        for _ in 0..1_000 {
            world.disk.queue(slow, move |kept| finished(slow, kept.map(|_| "slow".into())));
        }
        world.disk.queue(other, move |kept| finished(other, kept.map(|_| "quick".into())));
        assert_eq!(world.next().await, Ok("quick".into()));
        release.send(()).unwrap();
        for _ in 0..1_001 {
            assert_ne!(world.next().await, Ok("quick".into()));
        }
    }

    #[tokio::test]
    async fn a_storage_that_fails_or_is_gone_answers_every_job() {
        let mut world = World::new();
        let [failing, gone] = world.stores();
        for _ in 0..10 {
            // Beyond what a file may be.
            world.disk.queue(failing, move |kept| {
                let result = kept.and_then(|kept| kept.write(u64::MAX >> 1, b"x"));
                finished(failing, result.map(|()| PathBuf::new()))
            });
        }
        for _ in 0..10 {
            assert!(matches!(world.next().await, Err(StorageError::Failed { .. })));
        }
        world.disk.discard(gone);
        let answer = world.disk.queue(gone, move |kept| finished(gone, kept.map(|_| PathBuf::new())));
        let Some(Done::Finished { result: Err(StorageError::Failed { detail }), .. }) = answer else {
            panic!("{answer:?}")
        };
        assert!(detail.contains("there is no storage"), "{detail}");
    }

    #[tokio::test]
    async fn what_is_discarded_leaves_no_file_and_does_no_more() {
        let mut world = World::new();
        let [slow, idle] = world.stores();
        let release = world.block(slow);
        let late = Arc::new(());
        let held = Arc::clone(&late);
        world.disk.queue(slow, move |kept| {
            drop(held);
            finished(slow, kept.map(|_| PathBuf::new()))
        });
        world.disk.discard(slow);
        world.disk.discard(idle);
        assert_eq!(Arc::strong_count(&late), 1, "it will not be done");
        release.send(()).unwrap();
        assert!(world.next().await.is_ok());
        drop(world.disk);
        assert!(world.results.recv().await.is_none(), "no task works any more");
        let removed = async {
            while fs::read_dir(world.folder.path()).unwrap().count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, removed).await.unwrap();
    }

    /// Some storages in a folder, and what comes of their jobs.
    struct World {
        disk: Disk,
        results: mpsc::Receiver<Done>,
        folder: TempDir,
    }

    impl World {
        fn new() -> Self {
            let (disk, results) = Disk::new();
            Self { disk, results, folder: tempfile::tempdir().unwrap() }
        }

        fn stores<const COUNT: usize>(&mut self) -> [StoreId; COUNT] {
            let facts = FileFacts {
                file: FILE,
                name: "a.txt".parse().unwrap(),
                size: 5,
                media_type: MediaType::default(),
                block_size: BlockSize::for_file(5),
            };
            // Only a client names storages.
            let config = ClientConfig {
                room: RoomName::default(),
                name: None,
                binary: true,
                direct: BTreeSet::new(),
                swarm: Config::default(),
            };
            let mut client = Client::new(config, 0, Instant::default());
            std::array::from_fn(|number| {
                let mut hasher = ManifestHasher::new(Geometry::new(1, facts.block_size).unwrap());
                hasher.update(&[number as u8]);
                let manifest = hasher.finish(facts.name.clone(), MediaType::default()).unwrap();
                let store = client.share(Arc::new(manifest), Instant::default()).unwrap();
                self.disk.keep(store, Store::create(self.folder.path(), &facts).unwrap());
                store
            })
        }

        /// Has a job begun that lasts until it is released, as on a disk that hangs.
        fn block(&self, store: StoreId) -> SyncSender<()> {
            let (release, released) = sync_channel(1);
            let (begin, begun) = sync_channel(1);
            self.disk.queue(store, move |kept| {
                begin.send(()).unwrap();
                released.recv().unwrap();
                finished(store, kept.map(|_| PathBuf::new()))
            });
            begun.recv_timeout(DEADLINE).unwrap();
            release
        }

        async fn next(&mut self) -> Result<PathBuf, StorageError> {
            match timeout(DEADLINE, self.results.recv()).await.unwrap() {
                Some(Done::Finished { result, .. }) => result,
                other => panic!("{other:?}"),
            }
        }
    }

    /// A result that can be told from others.
    fn finished(store: StoreId, result: Result<PathBuf, StorageError>) -> Done {
        Done::Finished { store, file: FILE, result }
    }
}
