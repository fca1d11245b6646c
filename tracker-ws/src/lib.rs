//! The MiniBit tracker: it knows which peers are in a room and which files they have, and passes messages between
//! them.
//!
//! A client opens a WebSocket at `/ws` and registers. What it asks of the tracker goes to the registry, which is plain
//! state without IO; the messages that follow are put into the outboxes of those whom they concern. What it says to
//! another peer goes straight into that peer's outbox: the tracker reads who it is for, writes who it is from, and
//! shares the bytes of the rest. Each outbox is bounded and is emptied by a task of its own, so that a slow receiver
//! hurts nobody else.
//!
//! The same port serves the page and what whoever runs the tracker wants to know, and over UDP it answers STUN.
//! `protocol/PROTOCOL.md` specifies the wire.

mod address;
mod budget;
mod config;
#[cfg(feature = "conformance")]
mod conformance;
mod connection;
mod door;
mod envelope;
mod fair;
#[cfg(fuzzing)]
pub mod fuzzing;
mod half;
mod http;
mod hub;
mod limits;
mod outbox;
mod rate;
mod reader;
mod refusals;
mod registry;
mod server;
mod space;
mod status;
mod stream;
mod stun;
mod summary;
mod tls;
mod token;
mod wire;

pub use config::Config;
pub use http::{AllowedOrigin, Origin, OriginError};
pub use limits::{Direct, Limits};
pub use server::{BindError, StartError, Tracker};
pub use stun::{StunServer, StunServerError};
pub use tls::{Certificate, Tls, TlsError};
pub use token::{Token, TokenError};
