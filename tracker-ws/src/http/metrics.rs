//! The figures for Prometheus, in its text format 0.0.4.

use crate::status::Status;
use std::fmt::{Display, Write as _};

pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Writes the figures. No label names a peer, a file, a room or an address, so that there are never many.
pub(super) fn render(status: &Status) -> String {
    use Kind::{Counter, Gauge};
    let mut page = Page(String::new());
    page.family("build_info", Gauge, "The version that runs; always 1.");
    page.sample("build_info", Some(("version", &status.version)), 1);
    page.single("uptime_seconds", Gauge, "Seconds since the tracker started.", status.uptime_seconds);
    page.single("connections", Gauge, "Open WebSockets.", status.connections);
    page.single("connections_max", Gauge, "WebSockets that may be open.", status.max_connections);
    page.single("peers", Gauge, "Registered peers.", status.census.peers);
    page.single("files", Gauge, "Files of all rooms.", status.census.files);
    page.family("rooms", Gauge, "Rooms by how many peers they have.");
    for (class, count) in &status.rooms_by_size {
        page.sample("rooms", Some(("peers", class)), count);
    }
    page.single("relayed_messages_total", Counter, "Envelopes passed on.", status.relayed_messages);
    page.single("relayed_bytes_total", Counter, "Bytes of the envelopes passed on.", status.relayed_bytes);
    page.single(
        "told_direct_bytes_total",
        Counter,
        "Bytes that went by direct lines, in the words of those who received them.",
        status.census.told_direct_bytes,
    );
    page.single("waiting_bytes", Gauge, "Bytes of data that wait for receivers.", status.waiting_bytes);
    page.single("incoming_bytes", Gauge, "Bytes of large messages that are coming in.", status.incoming_bytes);
    page.single("waiting_bytes_max", Gauge, "Bytes of data that may wait.", status.memory_bytes);
    page.single(
        "pauses_total",
        Counter,
        "Times that a client sent too much and was not read for a while.",
        status.pauses,
    );
    page.single("stun_answers_total", Counter, "STUN requests answered.", status.stun_answers);
    page.single(
        "stun_dropped_total",
        Counter,
        "Datagrams not answered: no requests, or too many.",
        status.stun_dropped,
    );
    page.family("refused_total", Counter, "Messages, connections and HTTP requests refused, by reason.");
    for (reason, count) in &status.refused {
        page.sample("refused_total", Some(("reason", reason)), count);
    }
    page.0
}

struct Page(String);

impl Page {
    /// The two lines before a family's samples. `help` has no `\` and no line break, which would need escapes.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a `String` cannot fail.
        _ = writeln!(self.0, "# HELP minibit_{name} {help}\n# TYPE minibit_{name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &dyn Display)>, value: impl Display) {
        let label = label.map(|(label, value)| format!("{{{label}=\"{}\"}}", escaped(&value.to_string())));
        _ = writeln!(self.0, "minibit_{name}{} {value}", label.unwrap_or_default());
    }

    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, None, value);
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_two_lines_of_comment_and_its_samples() {
        let mut page = Page(String::new());
        page.family("rooms", Kind::Gauge, "Rooms.");
        page.sample("rooms", Some(("peers", &"1")), 7);
        page.sample("rooms", Some(("peers", &"a\"b\\c\nd")), 0);
        page.single("peers", Kind::Counter, "Peers.", 3);
        let expected = "# HELP minibit_rooms Rooms.\n# TYPE minibit_rooms gauge\nminibit_rooms{peers=\"1\"} 7\n\
                        minibit_rooms{peers=\"a\\\"b\\\\c\\nd\"} 0\n\
                        # HELP minibit_peers Peers.\n# TYPE minibit_peers counter\nminibit_peers 3\n";
        assert_eq!(page.0, expected);
    }
}
