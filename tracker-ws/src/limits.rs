//! What a tracker allows, in one value: every flag's meaning and default stands here.

use clap::{Args, ValueEnum, builder::RangedI64ValueParser, value_parser};
use std::time::Duration;

/// The limits of a tracker. Each is a flag of the command line.
///
/// A limit "per address" is for an IPv4 address, or for the /56 network of an IPv6 address, which is what one customer
/// gets.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Bytes of one message.
    #[arg(skip = DEFAULT.message_bytes)]
    pub message_bytes: u32,
    /// WebSocket connections
    #[arg(long, default_value_t = DEFAULT.max_connections, value_name = "COUNT", value_parser = clap_count)]
    pub max_connections: usize,
    /// WebSocket connections from one address
    #[arg(long, default_value_t = DEFAULT.address_connections, value_name = "COUNT", value_parser = clap_count)]
    pub address_connections: usize,
    /// Connections that speak HTTP at one time; others wait for their turn
    #[arg(long, default_value_t = DEFAULT.http_connections, value_name = "COUNT", value_parser = clap_at_least_one)]
    pub http_connections: usize,
    /// Connections from one address that speak HTTP at one time; others are dropped
    #[arg(long, default_value_t = DEFAULT.address_http_connections, value_name = "COUNT", value_parser = clap_count)]
    pub address_http_connections: usize,
    /// Bytes of the head of an HTTP request
    #[arg(long, default_value_t = DEFAULT.head_bytes, value_name = "BYTES", value_parser = clap_head_bytes)]
    pub head_bytes: usize,
    /// Milliseconds for the head of an HTTP request, and for the TLS handshake
    #[arg(long, default_value_t = DEFAULT.head_ms, value_name = "MS", value_parser = value_parser!(u32).range(1..))]
    pub head_ms: u32,
    /// Milliseconds from the handshake to `register`
    #[arg(long, default_value_t = DEFAULT.register_ms, value_name = "MS", value_parser = value_parser!(u32).range(1..))]
    pub register_ms: u32,
    /// Milliseconds between two pings to a silent client, which is closed after three
    #[arg(long, default_value_t = DEFAULT.heartbeat_ms, value_name = "MS", value_parser = value_parser!(u32).range(1..))]
    pub heartbeat_ms: u32,
    /// Milliseconds after which a receiver that takes no byte is closed; lines below 100 kbit/s need more
    #[arg(long, default_value_t = DEFAULT.stall_ms, value_name = "MS", value_parser = value_parser!(u32).range(1..))]
    pub stall_ms: u32,
    /// Messages that cannot be understood, after which a client is closed
    #[arg(long, default_value_t = DEFAULT.malformed_messages, value_name = "COUNT", value_parser = count())]
    pub malformed_messages: u32,
    /// Messages a second from one connection. A request to the tracker counts as 20 and a refused message as 100, and
    /// both as more if they, or the answers, are large. Whoever sends more is read more slowly; 0 for no limit
    #[arg(long, default_value_t = DEFAULT.messages_per_second, value_name = "COUNT", value_parser = count())]
    pub messages_per_second: u32,
    /// The same for all connections from one address together; 0 for no limit
    #[arg(long, default_value_t = DEFAULT.address_messages_per_second, value_name = "COUNT", value_parser = count())]
    pub address_messages_per_second: u32,
    /// Bytes a second from one connection; 0 for no limit
    #[arg(long, default_value_t = DEFAULT.bytes_per_second, value_name = "BYTES")]
    pub bytes_per_second: u32,
    /// The same for all connections from one address together; 0 for no limit
    #[arg(long, default_value_t = DEFAULT.address_bytes_per_second, value_name = "BYTES")]
    pub address_bytes_per_second: u32,
    /// Bytes of data waiting for one receiver; one sender may use half of what is free
    #[arg(long, default_value_t = DEFAULT.queue_bytes, value_name = "BYTES")]
    pub queue_bytes: u32,
    /// Bytes of data waiting for all receivers, of which one may use half of what is free; and as many again for
    /// messages that are coming in, of which one address may
    #[arg(long, default_value_t = DEFAULT.memory_bytes, value_name = "BYTES")]
    pub memory_bytes: usize,
    /// Unanswered requests of one peer; the oldest are forgotten
    #[arg(long, default_value_t = DEFAULT.open_requests, value_name = "COUNT", value_parser = count())]
    pub open_requests: u32,
    /// Peers in one room
    #[arg(long, default_value_t = DEFAULT.peers_per_room, value_name = "COUNT", value_parser = count())]
    pub peers_per_room: u32,
    /// Files in one room; one of which people claim several sizes or block sizes counts for each
    #[arg(long, default_value_t = DEFAULT.files_per_room, value_name = "COUNT", value_parser = count())]
    pub files_per_room: u32,
    /// Files that one peer may announce
    #[arg(long, default_value_t = DEFAULT.files_per_peer, value_name = "COUNT", value_parser = count())]
    pub files_per_peer: u32,
    /// Peers in one answer
    #[arg(long, default_value_t = DEFAULT.peers_per_answer, value_name = "COUNT", value_parser = count())]
    pub peers_per_answer: u32,
    /// Which peers are told that they may talk without the tracker, for which they tell each other their addresses
    #[arg(long, value_enum, default_value_t = DEFAULT.direct, value_name = "WHO")]
    pub direct: Direct,
}

/// Which peers may have direct lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direct {
    /// Those of one network, as far as their addresses show
    Near,
    /// All
    Any,
    /// None: everything goes through the tracker
    Off,
}

/// The most of anything that is counted: more than a machine can have, and far less than what its counters can hold.
const MAX_COUNT: i64 = 1_000_000;
/// The fewest bytes of a head: the HTTP library takes no smaller buffer.
const MIN_HEAD_BYTES: usize = 8 << 10;
/// The most bytes of a head; each connection that speaks HTTP may take as many.
const MAX_HEAD_BYTES: usize = 1 << 20;

const DEFAULT: Limits = Limits {
    message_bytes: protocol::MAX_MESSAGE_BYTES,
    max_connections: 20_000,
    // A class behind one router, with several tabs each.
    address_connections: 512,
    // More than a few addresses can fill.
    http_connections: 4_096,
    // Browsers open six.
    address_http_connections: 256,
    head_bytes: 16 << 10,
    head_ms: 10_000,
    register_ms: 10_000,
    heartbeat_ms: 15_000,
    stall_ms: 10_000,
    malformed_messages: 20,
    // 16 KiB blocks at 300 MB/s.
    messages_per_second: 20_000,
    address_messages_per_second: 200_000,
    bytes_per_second: 0,
    address_bytes_per_second: 0,
    queue_bytes: 64 << 20,
    memory_bytes: 512 << 20,
    // Twice the 32 MiB that a peer has on its way, in segments of 16 KiB.
    open_requests: 4_096,
    peers_per_room: 10_000,
    files_per_room: 1_000,
    files_per_peer: 256,
    peers_per_answer: 50,
    direct: Direct::Near,
};

impl Default for Limits {
    fn default() -> Self {
        DEFAULT
    }
}

impl Limits {
    /// What concerns a client, which is told to it at `registered`.
    pub fn told(&self) -> protocol::Limits {
        protocol::Limits {
            message_bytes: self.message_bytes,
            span_bytes: protocol::MAX_SPAN_BYTES,
            queue_bytes: self.queue_bytes,
            open_requests: self.open_requests,
            messages_per_second: self.messages_per_second,
            bytes_per_second: self.bytes_per_second,
            files_per_peer: self.files_per_peer,
            peers_per_room: self.peers_per_room,
            files_per_room: self.files_per_room,
            peers_per_answer: self.peers_per_answer,
            heartbeat_ms: self.heartbeat_ms,
        }
    }

    pub(crate) fn register_timeout(&self) -> Duration {
        Duration::from_millis(self.register_ms.into())
    }

    pub(crate) fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_ms.into())
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_ms.into())
    }
}

fn count() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(..=MAX_COUNT)
}

fn clap_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MAX_COUNT as usize);
    count.ok_or_else(|| format!("a number up to {MAX_COUNT}"))
}

fn clap_at_least_one(text: &str) -> Result<usize, String> {
    clap_count(text).ok().filter(|count| *count > 0).ok_or_else(|| format!("a number from 1 to {MAX_COUNT}"))
}

fn clap_head_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (MIN_HEAD_BYTES..=MAX_HEAD_BYTES).contains(bytes));
    bytes.ok_or_else(|| format!("a number from {MIN_HEAD_BYTES} to {MAX_HEAD_BYTES}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Flags {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn a_limit_that_no_machine_could_keep_is_refused() {
        let parsed = |flag: &str| Flags::try_parse_from(["tracker-ws", flag]).map(|flags| flags.limits);
        assert_eq!(parsed("--http-connections=1000000").unwrap().http_connections, 1_000_000);
        assert_eq!(parsed("--messages-per-second=0").unwrap().messages_per_second, 0);
        for wrong in [
            "--http-connections=1000001",
            "--http-connections=0",
            "--max-connections=18446744073709551615",
            "--open-requests=4294967295",
            "--head-bytes=1048577",
            "--head-bytes=8191",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_specification_tells_the_defaults() {
        let example = format!(r#""limits":{}"#, serde_json::to_string(&Limits::default().told()).unwrap());
        assert!(include_str!("../../protocol/PROTOCOL.md").contains(&example), "PROTOCOL.md must say {example}");
    }
}
