//! The MiniBit peer: a core for every target, and the worker that runs it in a browser tab.
//!
//! # Finding
//! A [`client::Client`] registers with the tracker and watches the files of its room. To fetch one it asks the tracker
//! who has it, asks those for the parts of its manifest, several at once, and believes each only if its block hashes merge
//! to the file's id.
//!
//! # Asking
//! Each file has a [`swarm::Swarm`]. Neighbours exchange bitfields and say whether they are interested. One that
//! unchoked us is asked for the blocks that the fewest neighbours have; ties are broken at random, and a run of equally
//! rare blocks travels as one. As much is asked of it as it answers without letting requests wait long; one that waits
//! while another neighbour is idle is taken there. Whoever delivers nothing is snubbed, and others are asked. Near the
//! end a late request is repeated elsewhere and taken back when it is answered.
//!
//! # Checking
//! A block that arrives is hashed before anything else. A wrong one drops its sender; a right one goes to the storage,
//! and is announced when it is stored. The core keeps no block.
//!
//! # Serving
//! Every two seconds those neighbours get four places to whom this peer owes most, and one more is tried (tit-for-tat).
//! A place that becomes free is given at once, a newcomer waits for none, and a line that would be idle serves one more.
//! The rarest block that is asked for is sent first, and no faster than the line takes it. The seed of a new file gives
//! every block once before it gives any twice.

#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod client;
pub mod page;
pub mod swarm;
mod time;

pub use time::Instant;
