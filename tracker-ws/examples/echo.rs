//! Listens on a free port of this machine, prints the address of its WebSocket, and echoes until its standard input
//! ends.

use std::io::{self, Read as _, Write as _};
use tokio::task::spawn_blocking;
use tracker_ws::{Config, Limits, Tracker};

/// The largest messages of the test; the tracker's own limit is below those of one group.
const MESSAGE_BYTES: u32 = 16 << 20;
/// The test does not register, and some of its cases may take longer than the tracker waits for that.
const REGISTER_MS: u32 = 600_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let limits = Limits { message_bytes: MESSAGE_BYTES, register_ms: REGISTER_MS, ..Limits::default() };
    let tracker = Tracker::bind(Config { port: 0, limits, ..Config::default() }).await?.echoing();
    writeln!(io::stdout(), "ws://{}/ws", tracker.local_addr())?;
    let input = spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    tracker.run(async { drop(input.await) }).await?;
    Ok(())
}
