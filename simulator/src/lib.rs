//! Swarms in virtual time: thousands of the production core, and lines with a capacity and a latency between them.
//!
//! # What is real
//! Every peer is a [`Swarm`](peer_wasm::swarm::Swarm) as tabs and terminals run it. Nothing here chooses a block or a
//! peer; messages are carried, blocks are stored, and time passes.
//!
//! # What stands in
//! [`Network`] jumps from one happening to the next and never ticks. A message waits for its sender's line (control
//! before data, one message at a time), travels to the relay, waits for the receiver's line and travels on. All peers
//! share one copy of the [`File`], whose blocks are told apart by a stamp where hashing them a thousand times would take
//! too long ([`check_stamps`]); what is stored is compared with the file. The tracker introduces peers at random.
//! What goes wrong is told to it: the relay refuses or loses messages ([`Fate`]), lines break and come back
//! ([`Network::interrupt`]), a [`Disk`] is slow or fails, and peers that are no `Swarm` say what a test makes them say.
//!
//! # What is measured
//! [`experiment`] describes a swarm, runs it, and compares it with what is possible. `benches/swarm` makes the table in
//! `FIGURES.md` of it, and the `sim` command draws one run.

mod copies;
mod disk;
pub mod experiment;
mod file;
mod line;
mod network;
mod node;
mod queue;
mod relay;
pub mod units;
mod wire;

pub use copies::Copies;
pub use disk::Disk;
pub use file::{File, check_stamps};
pub use line::Line;
pub use network::{Network, id_of};
pub use node::{Behaviour, Node, Record};
pub use relay::Fate;
