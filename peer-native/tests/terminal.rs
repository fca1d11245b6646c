//! `minibit` as a script runs it: no terminal to draw a bar on, so that it says in lines what it waits for.

mod minibit;

use minibit::{Minibit, Sample};
use peer_native::{Peer, PeerConfig};
use serde_json::json;
use std::{
    fs::{self, File},
    net::TcpListener,
};
use tests::{
    client::Client,
    json_peer::{JsonPeer, bits},
    tracker::TestTracker,
};

const NOBODY: &str = "nobody in the room has what is missing";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tracker_every_command_says_so() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    // Nobody listens on a port that was free a moment ago.
    let tracker = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let shared = sample.path.display().to_string();
    let commands = [["get", &sample.id()], ["get", "sample.bin"], ["share", &shared]];
    for command in commands.map(|command| Minibit::run(&tracker, sample.folder.path(), &command)) {
        command?.says("the tracker cannot be reached").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_without_a_tracker_is_there_when_it_comes() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    let tracker = TestTracker::start().await?;
    let (address, port) = (tracker.http_url(), tracker.addr().port());
    tracker.stop().await?;
    let mut share = Minibit::run(&address, sample.folder.path(), &["share", &sample.path.display().to_string()])?;
    share.says("the tracker cannot be reached").await?;
    let tracker = TestTracker::start_at(port).await?;
    share.says("going on").await?;
    let mut get = Minibit::run(&tracker.http_url(), &sample.folder.path().join("got"), &["get", "sample.bin"])?;
    assert_eq!(fs::read(get.fetched().await?)?, sample.content);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shared_in_blocks_of_the_size_that_was_asked_for() -> anyhow::Result<()> {
    let sample = Sample::new(200_000)?;
    let tracker = TestTracker::start().await?;
    let shared = sample.path.display().to_string();
    let share = ["share", &shared, "--block-size", "64KiB"];
    let _share = Minibit::run(&tracker.http_url(), sample.folder.path(), &share)?;
    let mut get = sample.get(&tracker)?;
    assert_eq!(fs::read(get.fetched().await?)?, sample.content);
    let files = Client::join(&tracker, "lobby").await?.ask(json!({ "type": "list_files" })).await?;
    assert_eq!(files["files"][0]["block_size"], 64 << 10, "{files}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_of_blocks_that_cannot_be_is_refused_with_what_to_do() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("large.bin");
    // Without content: it is refused before it is read.
    File::create(&path)?.set_len((128 << 20) + 1)?;
    let large = path.display().to_string();
    for (size, part) in [
        ("48KiB", "a power of two from 4KiB to 1MiB, such as 64KiB"),
        ("2MiB", "a power of two from 4KiB to 1MiB, such as 64KiB"),
        ("small", "a power of two from 4KiB to 1MiB, such as 64KiB"),
        ("4KiB", "more than 32768 blocks of 4096 bytes; give a larger --block-size, or none, for 131072 bytes"),
    ] {
        let mut share = Minibit::run("nowhere", folder.path(), &["share", &large, "--block-size", size])?;
        share.says_at_last(part).await?;
        share.ends_badly().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_has_is_waited_for_by_its_id_or_its_name() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    let tracker = TestTracker::start().await?;
    let mut by_id = Minibit::run(&tracker.http_url(), &sample.folder.path().join("id"), &["get", &sample.id()])?;
    let mut by_name = Minibit::run(&tracker.http_url(), &sample.folder.path().join("name"), &["get", "sample.bin"])?;
    by_id.says(NOBODY).await?;
    by_name.says("nobody in room lobby shares a file called sample.bin").await?;
    let peer = Peer::start(PeerConfig::new(tracker.ws_url(), sample.folder.path()));
    peer.share(&sample.path).await?;
    assert_eq!(fs::read(by_id.fetched().await?)?, sample.content);
    assert_eq!(fs::read(by_name.fetched().await?)?, sample.content);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_no_manifest_is_told_of() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    let tracker = TestTracker::start().await?;
    let _silent = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let mut get = sample.get(&tracker)?;
    get.says("have not told yet what it consists of").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_chokes_is_told_of_once_and_so_is_that_it_serves() -> anyhow::Result<()> {
    // More than is asked for at first.
    let sample = Sample::new(5_000_000)?;
    let tracker = TestTracker::start().await?;
    let mut peer = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let mut get = sample.get(&tracker)?;
    let asker = greet(&mut peer).await?;
    peer.expect(&["interested"]).await?;
    get.says("serve others first").await?;

    peer.tell(&asker, "unchoke", json!({})).await?;
    peer.serve_request(&sample.content).await?;
    get.says("going on: sample.bin from 1 peer").await?;
    peer.serve_one(&sample.content).await?;
    assert_eq!(fs::read(get.fetched().await?)?, sample.content);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_rejects_is_told_of() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    let tracker = TestTracker::start().await?;
    let mut peer = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let mut get = sample.get(&tracker)?;
    let reject = async {
        let asker = greet(&mut peer).await?;
        peer.tell(&asker, "unchoke", json!({})).await?;
        loop {
            let (_, request) = peer.expect(&["request"]).await?;
            let fields = json!({ "index": request["index"], "count": request["count"].as_u64().unwrap_or(1) });
            peer.tell(&asker, "reject", fields).await?;
        }
    };
    tokio::select! {
        // When it is asked again, an answer is waited for, for a moment.
        said = get.says_at_last("refused to send it") => said,
        ended = reject => ended,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_answer_is_told_of() -> anyhow::Result<()> {
    let sample = Sample::new(5_000)?;
    let tracker = TestTracker::start().await?;
    let mut peer = JsonPeer::join(&tracker, &sample.manifest, true).await?;
    let mut get = sample.get(&tracker)?;
    let asker = greet(&mut peer).await?;
    peer.tell(&asker, "unchoke", json!({})).await?;
    peer.expect(&["request"]).await?;
    get.says("do not answer").await
}

/// Meets the one that fetches, and says that all is here; tells its id.
async fn greet(peer: &mut JsonPeer) -> anyhow::Result<String> {
    let (asker, _) = peer.expect(&["bitfield"]).await?;
    let blocks = peer.blocks();
    peer.tell(&asker, "bitfield", json!({ "blocks": bits(blocks, true) })).await?;
    Ok(asker)
}
