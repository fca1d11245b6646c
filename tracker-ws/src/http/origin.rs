//! Which pages may open a WebSocket, and read what the tracker tells over HTTP.
//!
//! A browser lets every page open a WebSocket to any address, and names the page's origin in the handshake (RFC 6455
//! section 10.2). Without a check, any site that somebody visits could use, through their browser, a tracker that only
//! they can reach. Programs that are no browser send no origin, and are not what this is about.
//!
//! By default the page's own host must be the one that was asked, as it is for the page that the tracker serves. A site
//! can also point a name of its own at the tracker's address (DNS rebinding): then both are the site's name. That is
//! refused where the tracker was reached over loopback, whose names no public one can be; elsewhere a list of origins
//! or a token keeps such sites out.
//!
//! A page of another origin may not read an answer of HTTP, but one with such a name of its own may: it has the same
//! origin and the request does not say one, so only the name that was asked for tells.

use axum::http::uri::Authority;
use std::{net::Ipv4Addr, str::FromStr};

/// The ends of names that public DNS does not hold (RFC 2606, 6762, 8375 and ICANN's `internal`).
const PRIVATE_ENDS: [&str; 5] = ["localhost", "local", "test", "internal", "home.arpa"];

/// Pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// All of them.
    Any,
    /// Those of one origin.
    Site(Origin),
}

/// Where a page comes from (RFC 6454), such as `https://share.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// In lower case, like the host.
    scheme: String,
    host: String,
    /// The scheme's own where none is given.
    port: Option<u16>,
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin looks like https://share.example.org or http://192.168.0.7:8080; * stands for any")]
pub struct OriginError;

/// Whether a page may connect that says that it is from `origin`, if it says so, and that asked for `host`.
/// `over_loopback` is whether it reached the tracker by an address that only this machine has.
pub(super) fn admits(allowed: &[AllowedOrigin], origin: Option<&str>, host: &str, over_loopback: bool) -> bool {
    let Some(origin) = origin else { return true };
    if allowed.contains(&AllowedOrigin::Any) {
        return true;
    }
    // `null`, the origin of files and of sandboxes, is none.
    let Ok(origin) = origin.parse::<Origin>() else { return false };
    if !allowed.is_empty() {
        return allowed.contains(&AllowedOrigin::Site(origin));
    }
    let Some((host, port)) = host_and_port(host, &origin.scheme) else { return false };
    if is_loopback(&host) && is_loopback(&origin.host) {
        // A development server in between keeps the origin, with a port of its own.
        return true;
    }
    (host.as_str(), port) == (origin.host.as_str(), origin.port) && !(over_loopback && is_public(&host))
}

/// Whether a request that asked for `host`, if for any, gets an answer that only own pages may read. Programs can ask
/// for whatever name is right.
pub(super) fn serves(allowed: &[AllowedOrigin], host: Option<&str>, over_loopback: bool) -> bool {
    // Every browser says it.
    let Some(host) = host else { return true };
    if allowed.contains(&AllowedOrigin::Any) || (allowed.is_empty() && !over_loopback) {
        return true;
    }
    let Some((host, _)) = host_and_port(host, "") else { return false };
    let is_named = |allowed: &AllowedOrigin| matches!(allowed, AllowedOrigin::Site(origin) if origin.host == host);
    !is_public(&host) || allowed.iter().any(is_named)
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError)?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = host_and_port(rest, &scheme).ok_or(OriginError)?;
        Ok(Self { scheme, host, port })
    }
}

impl FromStr for AllowedOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" { Ok(Self::Any) } else { text.strip_suffix('/').unwrap_or(text).parse().map(Self::Site) }
    }
}

fn host_and_port(text: &str, scheme: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    if text.contains('@') || authority.host().is_empty() {
        return None;
    }
    let own = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some((authority.host().to_ascii_lowercase(), authority.port_u16().or(own)))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// Whether anybody could own the name: it has a dot and is no address, and public DNS holds names of its end.
fn is_public(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_private = |end: &str| host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    host.contains('.') && !is_address && !PRIVATE_ENDS.into_iter().any(is_private)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the default lets a page connect.
    fn admitted(origin: &str, host: &str, over_loopback: bool) -> bool {
        admits(&[], Some(origin), host, over_loopback)
    }

    #[test]
    fn the_trackers_own_page_may_connect_and_no_other() {
        for (origin, host) in [
            ("http://192.168.0.7:9000", "192.168.0.7:9000"),
            ("http://lab", "lab"),
            ("http://lab", "LAB:80"),
            ("https://share.example.org", "share.example.org"),
            ("https://share.example.org", "Share.Example.org:443"),
            ("http://[2001:db8::1]:9000", "[2001:db8::1]:9000"),
        ] {
            assert!(admitted(origin, host, false), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "192.168.0.7:9000"),
            ("http://192.168.0.7:8080", "192.168.0.7:9000"),
            ("http://192.168.0.7", "192.168.0.7:9000"),
            ("https://lab", "lab:80"),
            ("http://lab.evil.example", "lab"),
            ("http://localhost:9000", "192.168.0.7:9000"),
            ("http://evil.example", "localhost:9000"),
            ("http://localhost.evil.example:9000", "localhost:9000"),
            ("null", "localhost:9000"),
            ("", ""),
            ("http://", ""),
            ("http://user@lab", "lab"),
        ] {
            assert!(!admitted(origin, host, false) && !admitted(origin, host, true), "{origin} at {host}");
        }
        assert!(admits(&[], None, "anything", true), "no browser");
    }

    #[test]
    fn on_this_machine_a_development_server_may_stand_between() {
        for (origin, host) in [
            // What trunk passes on: the origin as it came, the host without its port.
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://localhost:8080", "127.0.0.1"),
            ("http://minibit.localhost:1", "[::1]:9000"),
        ] {
            assert!(admitted(origin, host, true), "{origin} at {host}");
        }
    }

    #[test]
    fn a_public_name_is_not_that_of_this_machine() {
        let rebound = "evil.example.com:9000";
        assert!(!admitted("http://evil.example.com:9000", rebound, true));
        assert!(!admitted("http://evil.example.com.:9000", "evil.example.com.:9000", true));
        assert!(admitted("http://evil.example.com:9000", rebound, false), "it may be the tracker's own name");
        for own in [
            "teacher-pc",
            "teacher-pc.local",
            "minibit.test",
            "a.home.arpa",
            "127.0.1.1",
            "[::ffff:127.0.0.1]",
            "192.168.0.7",
        ] {
            assert!(admitted(&format!("http://{own}:9000"), &format!("{own}:9000"), true), "{own}");
        }
    }

    #[test]
    fn over_loopback_only_names_that_are_private_or_allowed_are_served() {
        let allowed = ["https://share.example.org".parse().unwrap()];
        for own in ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "teacher-pc.local:9000"] {
            assert!(serves(&[], Some(own), true) && serves(&allowed, Some(own), true), "{own}");
        }
        for other in ["evil.example.com:9000", "evil.example.com.", "", "user@localhost"] {
            assert!(!serves(&[], Some(other), true), "{other}");
            assert!(!serves(&allowed, Some(other), true) && !serves(&allowed, Some(other), false), "{other}");
            assert!(serves(&[], Some(other), false), "{other} may be the tracker's own name");
            assert!(serves(&["*".parse().unwrap()], Some(other), true), "{other}");
        }
        assert!(serves(&allowed, Some("Share.example.org"), true));
        assert!(serves(&[], None, true), "no browser");
    }

    #[test]
    fn a_list_takes_the_place_of_the_default() {
        let allowed = ["https://Share.example.org/", "http://lab:8080"].map(|text| text.parse().unwrap());
        let admitted = |origin: &str| admits(&allowed, Some(origin), "192.168.0.7:9000", true);
        assert!(admitted("https://share.example.org"));
        assert!(admitted("https://share.example.org:443"));
        assert!(admitted("http://lab:8080"));
        for other in ["http://share.example.org", "http://lab", "http://192.168.0.7:9000", "null"] {
            assert!(!admitted(other), "{other}");
        }
        assert!(admits(&allowed, None, "lab", false));
        assert!(admits(&["*".parse().unwrap()], Some("null"), "lab", true));
        for wrong in ["", "lab", "https://", "https://lab/page", "https://a b", "null", "**"] {
            assert_eq!(wrong.parse::<AllowedOrigin>(), Err(OriginError), "{wrong}");
        }
    }
}
