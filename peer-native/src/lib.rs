//! The MiniBit peer for terminals and tests: the core of `peer-wasm` on tokio, with files on disk.
//!
//! [`Peer`] is the handle; behind it one task (`driver`) gives the core its inputs and does what it asks for.

mod direct;
mod disk;
mod driver;
mod line;
mod store;
mod tls;

pub use peer_wasm::{
    client::WaitsFor,
    page::{Connection, Problem, RoomFile, Stage, Transfer},
    swarm::{Config, StorageError},
};

pub use tls::{Fingerprint, FingerprintError};

use driver::{Command, Driver};
use protocol::{
    BlockSize, FileId, FileName, Geometry, LineKind, MAX_BLOCKS, MAX_FILE_SIZE, Manifest, ManifestHasher, MediaType,
    PeerName, RoomName,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};
use store::Store;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Commands that may wait for the driver.
const COMMANDS: usize = 64;
/// Bytes read at a time while hashing.
const HASH_PIECE: usize = 1 << 20;

/// What a peer is told at the start.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The tracker's WebSocket address, such as `ws://127.0.0.1:9000/ws`.
    pub url: String,
    /// The certificate that the tracker has to show at a `wss` address; without it one that the system trusts.
    pub fingerprint: Option<Fingerprint>,
    /// The room to join.
    pub room: RoomName,
    /// A name for people to read.
    pub name: Option<PeerName>,
    /// Whether to receive blocks as binary frames.
    pub binary: bool,
    /// The kinds of lines by which to talk with peers that are near without the tracker, which tells them the addresses of this
    /// machine; with none of them everything goes through the tracker.
    pub direct: BTreeSet<LineKind>,
    /// The ports that such lines may use, of TCP and of UDP, where a firewall lets only some through; any if there are none. A
    /// line to a browser tab takes one at each address of this machine.
    pub direct_ports: Option<RangeInclusive<u16>>,
    /// The folder for what is fetched.
    pub folder: PathBuf,
    /// The settings of every swarm.
    pub swarm: Config,
}

impl PeerConfig {
    /// A peer in the room `lobby` that takes binary frames and fetches into `folder`.
    pub fn new(url: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            fingerprint: None,
            room: RoomName::default(),
            name: None,
            binary: true,
            direct: BTreeSet::from([LineKind::Tcp, LineKind::WebRtc]),
            direct_ports: None,
            folder: folder.into(),
            swarm: Config::default(),
        }
    }
}

/// What a peer knows at a moment.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The connection to the tracker; none before the first try.
    pub connection: Option<Connection>,
    /// Why the last line broke, or could not be opened; none once there is one again.
    pub trouble: Option<String>,
    /// The files of the room, once the tracker listed them.
    pub room: Option<Vec<RoomFile>>,
    /// Every file that is fetched or shared.
    pub transfers: BTreeMap<FileId, Transfer>,
    /// Where files are that are here whole.
    pub finished: BTreeMap<FileId, PathBuf>,
    /// Why the tracker did not let this peer in the last time, if it said so; none once it did, or cannot be reached.
    pub problem: Option<Problem>,
}

/// Why a file could not be shared or fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than MiniBit shares.
    #[error("{path} is larger than the largest file that can be shared, {MAX_FILE_SIZE} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is too large for the size of blocks that was asked for.
    #[error(
        "{path} would have more than {MAX_BLOCKS} blocks of {asked} bytes; give a larger --block-size, or none, for \
         {usual} bytes"
    )]
    TooManyBlocks {
        /// The file.
        path: PathBuf,
        /// The size that was asked for, in bytes.
        asked: u32,
        /// The size by default.
        usual: u32,
    },
    /// The file changed while it was hashed.
    #[error("{path} changed while it was read; share it again when nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The transfer failed.
    #[error("{}", explain(.0))]
    Failed(Problem),
    /// The peer has stopped.
    #[error("the peer has stopped")]
    Stopped,
}

/// A running peer. It stops when this handle is dropped.
#[derive(Debug)]
pub struct Peer {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    driver: JoinHandle<()>,
}

impl Peer {
    /// Starts a peer; it connects, and connects again, by itself. Must be called inside a tokio runtime.
    pub fn start(config: PeerConfig) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (sender, state) = watch::channel(State::default());
        let driver = tokio::spawn(Driver::new(config, sender).run(receiver));
        Self { commands, state, driver }
    }

    /// Hashes a file and shares it, as long as the peer runs.
    ///
    /// # Errors
    /// If the file cannot be read, is too large, or changes meanwhile.
    pub async fn share(&self, path: impl Into<PathBuf>) -> Result<FileId, Error> {
        self.share_in_blocks(path, None).await
    }

    /// The same in blocks of a size of one's choice, or of the default one for the file.
    ///
    /// # Errors
    /// As [`Peer::share`], and if the file would have too many blocks.
    pub async fn share_in_blocks(
        &self,
        path: impl Into<PathBuf>,
        block_size: Option<BlockSize>,
    ) -> Result<FileId, Error> {
        let path = path.into();
        let hashed = tokio::task::spawn_blocking({
            let path = path.clone();
            move || hash(&path, block_size)
        });
        let (manifest, store) = hashed.await.map_err(|_| Error::Stopped)??;
        let file = manifest.file();
        let (done, wait) = oneshot::channel();
        self.command(Command::Share { path, manifest: Arc::new(manifest), store, done }).await?;
        wait.await.map_err(|_| Error::Stopped)?;
        Ok(file)
    }

    /// Fetches a file and tells where it is; at once if it is here. It is served on as long as the peer runs.
    ///
    /// # Errors
    /// If the transfer fails, or if the tracker does not let this peer in for good. While nobody has the file, it waits.
    pub async fn fetch(&self, file: FileId) -> Result<PathBuf, Error> {
        let (done, begun) = oneshot::channel();
        self.command(Command::Fetch { file, done }).await?;
        begun.await.map_err(|_| Error::Stopped)?;
        let mut state = self.state.clone();
        loop {
            {
                let state = state.borrow_and_update();
                if let Some(path) = state.finished.get(&file) {
                    return Ok(path.clone());
                }
                if let Some(Connection::Ended { problem }) = &state.connection {
                    return Err(Error::Failed(problem.clone()));
                }
                if let Some(Transfer { stage: Stage::Failed { problem }, .. }) = state.transfers.get(&file) {
                    return Err(Error::Failed(problem.clone()));
                }
            }
            state.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    /// Watches what the peer knows.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Stopped)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Says for people what went wrong and what to do.
pub fn explain(problem: &Problem) -> String {
    match problem {
        Problem::FileTooLarge { max } => format!("the file is larger than {max} bytes, the most that can be shared"),
        Problem::Storage(StorageError::Unreadable) => {
            "the file changed or is gone since it was shared; share it again".to_owned()
        }
        Problem::Storage(StorageError::Full) => "the disk is full; make room and fetch the file again".to_owned(),
        Problem::Storage(StorageError::Failed { detail }) => format!("the disk failed: {detail}"),
        Problem::Refused { code } => format!("the tracker refused ({code}); try another room, or ask who runs it"),
        Problem::TagTaken => "its id begins like that of another file here; fetch it when that one is done".to_owned(),
        Problem::TrackerFull => "the tracker has all the connections it may have; it is tried again".to_owned(),
        Problem::AddressFull => {
            "the tracker has all the connections it may have from this network; end some, it is tried again".to_owned()
        }
        Problem::TooSlow => "the tracker closed the connection because this peer read too slowly".to_owned(),
        Problem::WrongToken => {
            "the tracker wants a token; give the whole link as --tracker, or the token as --token".to_owned()
        }
        Problem::Removed => "whoever runs the tracker removed this peer; ask them why".to_owned(),
        Problem::BadAddress => "the tracker's address is none; it looks like ws://127.0.0.1:9000/ws".to_owned(),
    }
}

fn hash(path: &Path, block_size: Option<BlockSize>) -> Result<(Manifest, Store), Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(read(io::ErrorKind::IsADirectory.into()));
    }
    let size = metadata.len();
    let usual = BlockSize::for_file(size);
    let too_large = |_| Error::TooLarge { path: path.to_owned() };
    let mut geometry = Geometry::new(size, usual).map_err(too_large)?;
    if let Some(asked) = block_size {
        let too_many = |_| Error::TooManyBlocks { path: path.to_owned(), asked: asked.bytes(), usual: usual.bytes() };
        geometry = Geometry::new(size, asked).map_err(too_many)?;
    }
    let mut hasher = ManifestHasher::new(geometry);
    let mut piece = vec![0; HASH_PIECE];
    loop {
        match file.read(&mut piece).map_err(read)? {
            0 => break,
            len => hasher.update(&piece[..len]),
        }
    }
    let name = FileName::nearest(&path.file_name().unwrap_or_default().to_string_lossy());
    let changed = |_| Error::Changed { path: path.to_owned() };
    let manifest = hasher.finish(name, MediaType::default()).map_err(changed)?;
    Ok((manifest, Store::shared(file).map_err(read)?))
}
