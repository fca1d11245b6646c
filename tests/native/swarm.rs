//! Native peers and JSON-only clients on a real tracker, with real files.

use anyhow::Context as _;
use data_encoding::BASE64;
use peer_native::{Peer, PeerConfig, Stage, State};
use protocol::{BlockSize, FileId, Geometry, Manifest, ManifestHasher, MediaType};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tests::{
    client::{Client, DEADLINE},
    json_peer::{JsonPeer, bits},
    noise::noise,
    tracker::TestTracker,
};
use tokio::time::timeout;

/// A folder with one file in it.
struct Sample {
    folder: TempDir,
    path: PathBuf,
    content: Vec<u8>,
    manifest: Manifest,
}

impl Sample {
    fn new(size: usize) -> anyhow::Result<Self> {
        Self::cut(size, BlockSize::for_file(size as u64))
    }

    fn cut(size: usize, block_size: BlockSize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sample.bin");
        let content = noise(1, size);
        fs::write(&path, &content)?;
        let mut hasher = ManifestHasher::new(Geometry::new(size as u64, block_size)?);
        hasher.update(&content);
        let manifest = hasher.finish("sample.bin".parse()?, MediaType::default())?;
        Ok(Self { folder, path, content, manifest })
    }

    fn file(&self) -> FileId {
        self.manifest.file()
    }

    /// A peer that fetches into a folder of its own.
    fn peer(&self, tracker: &TestTracker, name: &str, binary: bool) -> Peer {
        Peer::start(PeerConfig { binary, ..PeerConfig::new(tracker.ws_url(), self.folder.path().join(name)) })
    }

    fn is_at(&self, path: &Path) -> anyhow::Result<bool> {
        Ok(fs::read(path)? == self.content)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_shares_and_four_fetch_it_with_and_without_binary_frames() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(5_000_001)?;
    let seed = sample.peer(&tracker, "seed", true);
    assert_eq!(seed.share(&sample.path).await?, sample.file());
    let peers: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .zip([true, false, true, false])
        .map(|(name, binary)| sample.peer(&tracker, name, binary))
        .collect();
    for peer in &peers {
        let path = fetched(peer, sample.file()).await?;
        assert!(sample.is_at(&path)?);
        assert_eq!(path.file_name().context("a name")?, "sample.bin");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_odd_size_arrive() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    for size in [0, 1, 16_383, 16_384, 16_385, 49_153, 1 << 20] {
        let sample = Sample::new(size)?;
        let seed = sample.peer(&tracker, "seed", true);
        seed.share(&sample.path).await?;
        let peer = sample.peer(&tracker, "peer", true);
        assert!(sample.is_at(&fetched(&peer, sample.file()).await?)?, "{size}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_only_json_fetches_from_and_serves_native_peers() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(100_000)?;
    let seed = sample.peer(&tracker, "seed", true);
    seed.share(&sample.path).await?;
    let mut stranger = JsonPeer::join(&tracker, &sample.manifest, false).await?;
    assert_eq!(stranger.fetch(sample.content.len(), 1).await?, sample.content);
    drop((seed, stranger));

    fetches_from_stranger(&tracker, &sample).await
}

/// A native peer fetches a file from a stranger's client.
async fn fetches_from_stranger(tracker: &TestTracker, sample: &Sample) -> anyhow::Result<()> {
    let mut stranger = JsonPeer::join(tracker, &sample.manifest, true).await?;
    let peer = sample.peer(tracker, "peer", true);
    let (served, path) = tokio::join!(stranger.serve_one(&sample.content), fetched(&peer, sample.file()));
    served?;
    assert!(sample.is_at(&path?)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_larger_than_a_request_needs_to_be_go_in_parts() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    // 5 blocks of 4 segments, and one of 2.
    let block_size = BlockSize::try_from(64 << 10)?;
    let sample = Sample::cut(350_001, block_size)?;
    let seed = sample.peer(&tracker, "seed", true);
    assert_eq!(seed.share_in_blocks(&sample.path, Some(block_size)).await?, sample.file());
    for step in [1, 3, 4, 5, 22] {
        let mut stranger = JsonPeer::join(&tracker, &sample.manifest, false).await?;
        assert_eq!(stranger.fetch(sample.content.len(), step).await?, sample.content, "{step} segments at a time");
    }
    drop(seed);

    fetches_from_stranger(&tracker, &sample).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_begun_before_anyone_has_the_file_completes_when_somebody_shares_it() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(300_000)?;
    let peer = sample.peer(&tracker, "peer", true);
    let late = async {
        until(&peer, |state| state.transfers.get(&sample.file()).is_some_and(|it| it.stage == Stage::Searching))
            .await?;
        let seed = sample.peer(&tracker, "seed", true);
        seed.share(&sample.path).await?;
        anyhow::Ok(seed)
    };
    let (path, _seed) = tokio::try_join!(fetched(&peer, sample.file()), late)?;
    assert!(sample.is_at(&path)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_a_corrupted_block_is_dropped_and_the_file_completes() -> anyhow::Result<()> {
    lie_to_a_fetching_peer(async |liar, victim| {
        liar.tell(victim, "bitfield", json!({ "blocks": bits(7, true) })).await?;
        liar.tell(victim, "unchoke", json!({})).await?;
        let (_, request) = liar.expect(&["request"]).await?;
        let data = BASE64.encode(&vec![0; 16_384 * request["count"].as_u64().unwrap_or(1) as usize]);
        let block = json!({ "index": request["index"], "count": request["count"].as_u64().unwrap_or(1), "data": data });
        liar.tell(victim, "block", block).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_bitfield_has_the_wrong_length_is_dropped_and_the_file_completes() -> anyhow::Result<()> {
    lie_to_a_fetching_peer(async |liar, victim| liar.tell(victim, "bitfield", json!({ "blocks": bits(9, true) })).await)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_nobody_asked_for_does_not_arrive_and_the_file_completes() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(100_000)?;
    let mut liar = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let victim = sample.peer(&tracker, "victim", true);
    let lie_and_share = async {
        let (victim_id, _) = liar.expect(&["bitfield"]).await?;
        let data = BASE64.encode(&[0; 16_384]);
        liar.tell(&victim_id, "block", json!({ "index": 3, "data": data })).await?;
        assert_eq!(liar.client.expect_error("not_requested").await?["to"], victim_id);
        let seed = sample.peer(&tracker, "seed", true);
        seed.share(&sample.path).await?;
        anyhow::Ok(seed)
    };
    let (path, _seed) = tokio::try_join!(fetched(&victim, sample.file()), lie_and_share)?;
    assert!(sample.is_at(&path)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_manifest_is_not_believed_and_another_peer_is_asked() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(100_000)?;
    let mut liar = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let victim = sample.peer(&tracker, "victim", true);
    let lie_and_share = async {
        let mut envelope = liar.client.expect("get_manifest", |it| it["message"]["type"] == "get_manifest").await?;
        let to = envelope["from"].take();
        let facts = json!({
            "type": "manifest", "file": sample.file().to_string(), "name": "x", "size": 100_000, "block_size": 16_384,
            "hashes": BASE64.encode(&[7; 7 * 32]), "tail": BASE64.encode(&[7; 500]),
        });
        liar.client.tell(to.as_str().context("an id")?, facts).await?;
        let seed = sample.peer(&tracker, "seed", true);
        seed.share(&sample.path).await?;
        anyhow::Ok(seed)
    };
    let (path, _seed) = tokio::try_join!(fetched(&victim, sample.file()), lie_and_share)?;
    assert!(sample.is_at(&path)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lies_first_about_a_files_size_keeps_nobody_from_it() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(100_000)?;
    let mut liar = Client::join(&tracker, "lobby").await?;
    let lie = json!({
        "type": "announce", "file": sample.file().to_string(), "name": "x", "size": 100_001, "block_size": 4_096,
        "blocks": bits(25, true),
    });
    assert_eq!(liar.ask(lie).await?["type"], "announced");
    let seed = sample.peer(&tracker, "seed", true);
    seed.share(&sample.path).await?;
    let victim = sample.peer(&tracker, "victim", true);
    let path = fetched(&victim, sample.file()).await?;
    assert!(sample.is_at(&path)?);
    Ok(())
}

/// Lets a liar be the only source of a file, lie, and be dropped; then an honest peer shares the file.
async fn lie_to_a_fetching_peer(
    lie: impl AsyncFnOnce(&mut JsonPeer, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let sample = Sample::new(100_000)?;
    let mut liar = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let victim = sample.peer(&tracker, "victim", true);
    let id = liar.client.id().parse()?;
    let knows_liar = |state: &State| {
        state
            .transfers
            .get(&sample.file())
            .is_some_and(|transfer| transfer.peers.iter().any(|peer| peer.status.peer == id))
    };
    let lie_then_share = async {
        let (victim_id, _) = liar.expect(&["bitfield"]).await?;
        until(&victim, knows_liar).await?;
        lie(&mut liar, &victim_id).await?;
        until(&victim, |state| !knows_liar(state)).await?;
        let seed = sample.peer(&tracker, "seed", true);
        seed.share(&sample.path).await?;
        anyhow::Ok(seed)
    };
    let (path, _seed) = tokio::try_join!(fetched(&victim, sample.file()), lie_then_share)?;
    assert!(sample.is_at(&path)?);
    Ok(())
}

async fn fetched(peer: &Peer, file: FileId) -> anyhow::Result<PathBuf> {
    Ok(timeout(DEADLINE, peer.fetch(file)).await.context("not fetched in time")??)
}

/// Waits until what a peer knows is as wanted.
async fn until(peer: &Peer, wanted: impl Fn(&State) -> bool) -> anyhow::Result<()> {
    let mut state = peer.state();
    timeout(DEADLINE, state.wait_for(wanted)).await.context("it did not come in time")??;
    Ok(())
}
