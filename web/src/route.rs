//! What the address of the page names: a room, and perhaps a file in it.

use protocol::{FileId, RoomName};
use std::fmt;

/// Where the address points: `#/<room>` or `#/<room>/<file id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The room; the default one where the address names none or a wrong one.
    pub(crate) room: RoomName,
    /// The file that the link is about.
    pub(crate) file: Option<FileId>,
    /// What is wrong with the address.
    pub(crate) error: Option<RouteError>,
}

/// An address that names less than it should; each with the text that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// It has another form.
    Form(String),
    /// The room is none.
    Room(String),
    /// The file is none.
    File(String),
}

/// The most characters of a wrong address that are shown.
const MAX_SHOWN: usize = 80;

impl Route {
    /// The link to a file, or to a room.
    pub(crate) fn to(room: RoomName, file: Option<FileId>) -> Self {
        Self { room, file, error: None }
    }

    /// Reads the fragment of an address, with or without its `#`. Never fails: what is wrong is told in `error`.
    pub(crate) fn parse(hash: &str) -> Self {
        let text = hash.strip_prefix('#').unwrap_or(hash);
        let mut route = Self::to(RoomName::default(), None);
        if text.is_empty() || text == "/" {
            return route;
        }
        let wrong = |part: &str| part.chars().take(MAX_SHOWN).collect();
        let Some(path) = text.strip_prefix('/') else {
            route.error = Some(RouteError::Form(wrong(text)));
            return route;
        };
        let (room, file) = path.split_once('/').unwrap_or((path, ""));
        match room.parse() {
            Ok(room) => route.room = room,
            Err(_) => {
                route.error = Some(RouteError::Room(wrong(room)));
                return route;
            }
        }
        if !file.is_empty() {
            match file.to_ascii_lowercase().parse() {
                Ok(file) => route.file = Some(file),
                Err(_) => route.error = Some(RouteError::File(wrong(file))),
            }
        }
        route
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) => write!(f, "#/{}/{file}", self.room),
            None => write!(f, "#/{}", self.room),
        }
    }
}

/// The tracker's token in the query of the page's address, as it stands there: it needs no escapes.
pub(crate) fn token(query: &str) -> Option<&str> {
    query.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// The query of an address that carries these, with its `?`; empty without any.
pub(crate) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.extend([name, "=", value]);
    }
    query
}

/// The tracker's WebSocket address beside the page at `protocol` (such as `https:`), `host` and `path`, with the
/// `token` of the page's own, or `None` where the page does not come from a web server.
pub(crate) fn tracker_address(protocol: &str, host: &str, path: &str, token: Option<&str>) -> Option<String> {
    let scheme = match protocol {
        "http:" => "ws",
        "https:" => "wss",
        _ => return None,
    };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{host}{folder}/ws{}", query(&[("token", token)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_what_it_writes() {
        let file = FileId::from_bytes([0xab; 32]);
        for route in [
            Route::to(RoomName::default(), None),
            Route::to("Sala-3".parse().unwrap(), None),
            Route::to("a.b_c".parse().unwrap(), Some(file)),
        ] {
            assert_eq!(Route::parse(&route.to_string()), route);
        }
        assert_eq!(Route::parse(&format!("#/x/{}", "AB".repeat(32))).file, Some(file));
    }

    #[test]
    fn no_address_means_the_lobby() {
        for hash in ["", "#", "#/"] {
            assert_eq!(Route::parse(hash), Route::to(RoomName::default(), None));
        }
        assert_eq!(Route::parse("#/r/"), Route::to("r".parse().unwrap(), None));
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong_and_keeps_what_is_right() {
        let error = |hash| Route::parse(hash).error;
        assert_eq!(error("#lobby"), Some(RouteError::Form("lobby".into())));
        assert_eq!(error("#/a%20b/x"), Some(RouteError::Room("a%20b".into())));
        assert_eq!(error("#/r/12"), Some(RouteError::File("12".into())));
        assert_eq!(error("#/r/12/3"), Some(RouteError::File("12/3".into())));
        assert_eq!(Route::parse("#/r/12").room.as_str(), "r");
        let Some(RouteError::Form(shown)) = error(&"x".repeat(1_000)) else { panic!("a wrong form") };
        assert_eq!(shown.len(), MAX_SHOWN);
    }

    #[test]
    fn the_tracker_is_beside_the_page() {
        let address = |protocol, path| tracker_address(protocol, "host:9000", path, None);
        assert_eq!(address("http:", "/").as_deref(), Some("ws://host:9000/ws"));
        assert_eq!(address("https:", "/index.html").as_deref(), Some("wss://host:9000/ws"));
        assert_eq!(address("https:", "/bit/").as_deref(), Some("wss://host:9000/bit/ws"));
        assert_eq!(address("file:", "/"), None);
        let address = tracker_address("http:", "host:9000", "/", Some("let-us-in"));
        assert_eq!(address.as_deref(), Some("ws://host:9000/ws?token=let-us-in"));
    }

    #[test]
    fn a_token_is_found_beside_the_language_and_written_again() {
        for found in ["?token=let-us-in", "?lang=en&token=let-us-in", "?token=let-us-in&lang=pt-BR"] {
            assert_eq!(token(found), Some("let-us-in"), "{found}");
        }
        assert_eq!(token("?lang=en"), None);
        assert_eq!(token(""), None);
        assert_eq!(query(&[("lang", Some("en")), ("token", Some("let-us-in"))]), "?lang=en&token=let-us-in");
        assert_eq!(query(&[("lang", Some("en")), ("token", None)]), "?lang=en");
        assert_eq!(query(&[("token", None)]), "");
    }
}
