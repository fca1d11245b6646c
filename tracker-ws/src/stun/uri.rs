//! Where other STUN servers are.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The longest name in DNS.
const MAX_NAME_BYTES: usize = 253;

/// A STUN server (RFC 7064), such as `stun:stun.example.org:3478`: as strict as the strictest browser, since one that does
/// not understand it opens no direct line at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer(String);

/// A text that is no STUN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a STUN server looks like stun:stun.example.org, stun:192.0.2.1:3478 or stuns:[2001:db8::1]:5349")]
pub struct StunServerError;

impl StunServer {
    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StunServer {
    type Err = StunServerError;

    fn from_str(text: &str) -> Result<Self, StunServerError> {
        let text = text.to_ascii_lowercase();
        let rest = text.strip_prefix("stun:").or_else(|| text.strip_prefix("stuns:")).ok_or(StunServerError)?;
        let (is_host, port) = if let Some((address, rest)) = rest.strip_prefix('[').and_then(|it| it.split_once(']')) {
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(StunServerError)?) };
            (address.parse::<Ipv6Addr>().is_ok(), port)
        } else {
            let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
            (is_name_or_ipv4(host), port)
        };
        let is_port =
            |port: &str| port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0);
        if is_host && port.is_none_or(is_port) { Ok(Self(text)) } else { Err(StunServerError) }
    }
}

fn is_name_or_ipv4(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(known);
    let is_name = host.len() <= MAX_NAME_BYTES && host.split('.').all(is_label);
    // What ends in a number is an address, or nothing (as in the URL standard).
    let is_numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    is_name && (!is_numeric || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_what_every_browser_understands() {
        for text in [
            "stun:stun.example.org",
            "stun:stun.example.org:3478",
            "stuns:stun-1.example.org:5349",
            "stun:localhost:1",
            "stun:192.0.2.1:65535",
            "stun:[2001:db8::1]",
            "stun:[2001:db8::1]:3478",
        ] {
            assert_eq!(text.parse::<StunServer>().unwrap().as_str(), text);
        }
        assert_eq!("STUN:Stun.Example.ORG".parse::<StunServer>().unwrap().as_str(), "stun:stun.example.org");
        for text in [
            "",
            "stun.example.org",
            "stun:",
            "stun::3478",
            "turn:turn.example.org",
            "stun://stun.example.org",
            "stun:stun.example.org:",
            "stun:stun.example.org:0",
            "stun:stun.example.org:65536",
            "stun:stun.example.org:+1",
            "stun:stun.example.org:3478?transport=udp",
            "stun:a..b",
            "stun:me@example.org",
            "stun:a b",
            "stun:192.0.2.256",
            "stun:192.0.2",
            "stun:2001:db8::1",
            "stun:[2001:db8::1",
            "stun:[2001:db8::g]",
            "stun:[2001:db8::1]3478",
            "stun:ümlaut.example",
            &format!("stun:{}", "a.".repeat(127)),
            &format!("stun:{}a", "a.".repeat(127)),
        ] {
            assert_eq!(text.parse::<StunServer>(), Err(StunServerError), "{text}");
        }
    }
}
