//! The MiniBit peer: a core for every target, and the worker that runs it in a browser tab.
//!
//! # Finding
//! A [`client::Client`] registers with the tracker and watches the files of its room. To fetch one it asks the tracker
//! who has it, asks one of those for the manifest, and believes it only if the block hashes merge to the file's id.
//!
//! # Asking
//! Each file has a [`swarm::Swarm`]. Neighbours exchange bitfields and say whether they are interested. To one that
//! unchoked us go as many requests as it delivers in about a second, for the blocks that the fewest neighbours have;
//! ties are broken at random, and a run of equally rare blocks travels as one. Whoever delivers nothing is snubbed,
//! and others are asked. Near the end a late request is repeated elsewhere and taken back when it is answered.
//!
//! # Checking
//! A block that arrives is hashed before anything else. A wrong one drops its sender; a right one goes to the storage,
//! and is announced when it is stored. The core keeps no block.
//!
//! # Serving
//! Every ten seconds the neighbours that gave most get four places, and one more is tried (tit-for-tat). A free place
//! is given at once. Requests are read from the storage in turn, and no faster than the line takes the blocks.

#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod client;
pub mod page;
pub mod swarm;
mod time;

pub use time::Instant;
