//! What goes on between this tab and a peer, in words.

use crate::{
    format,
    texts::{Texts, fill},
};
use peer_wasm::swarm::NeighbourStatus;

/// One thing said of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phrase {
    pub(crate) text: String,
    /// Whether blocks may flow, for its colour.
    pub(crate) active: bool,
}

/// Says whether a peer serves us, unless `finished` means that we need nothing, and whether we serve it.
pub(crate) fn phrases(peer: &NeighbourStatus, finished: bool, texts: &Texts) -> Vec<Phrase> {
    let words = &texts.peers;
    let with_rate = |plain: &str, rated: &str, rate: u64| match rate {
        0 => plain.to_owned(),
        rate => fill(rated, &[("rate", &format::rate(rate, texts))]),
    };
    let mut phrases = Vec::with_capacity(2);
    if !finished {
        let (text, active) = if peer.serves_us && peer.snubbed {
            (words.snubbed.clone(), false)
        } else if !peer.wanted_by_us {
            (words.nothing_for_us.clone(), false)
        } else if peer.serves_us {
            (with_rate(&words.serves_us, &words.serves_us_rate, peer.down_rate), true)
        } else {
            (words.choked.clone(), false)
        };
        phrases.push(Phrase { text, active });
    }
    let (text, active) = if !peer.wants_from_us {
        (words.wants_nothing.clone(), false)
    } else if peer.served_by_us {
        (with_rate(&words.served, &words.served_rate, peer.up_rate), true)
    } else {
        (words.not_served.clone(), false)
    };
    phrases.push(Phrase { text, active });
    phrases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;
    use protocol::PeerId;

    fn said(change: fn(&mut NeighbourStatus), finished: bool) -> String {
        let mut peer = NeighbourStatus {
            peer: PeerId::from_bytes([1; 8]),
            blocks: 1,
            serves_us: false,
            wanted_by_us: true,
            served_by_us: false,
            wants_from_us: true,
            snubbed: false,
            in_flight: 0,
            down_rate: 0,
            up_rate: 0,
        };
        change(&mut peer);
        let phrases = phrases(&peer, finished, Locale::English.texts());
        phrases.into_iter().map(|phrase| phrase.text).collect::<Vec<_>>().join("; ").replace('\u{a0}', " ")
    }

    #[test]
    fn the_choke_state_is_told_in_words() {
        assert_eq!(said(|_| {}, false), "does not serve us yet (choked); we do not serve it yet (choked)");
        let both = said(|peer| (peer.serves_us, peer.served_by_us, peer.down_rate) = (true, true, 2_000_000), false);
        assert_eq!(both, "serves us 2 MB/s; we serve it");
        let idle = said(|peer| (peer.wanted_by_us, peer.wants_from_us) = (false, false), false);
        assert_eq!(idle, "has nothing we need; wants nothing from us");
        let snubbed = said(|peer| (peer.serves_us, peer.snubbed) = (true, true), false);
        assert_eq!(snubbed, "serves us, but has sent nothing for a while; we do not serve it yet (choked)");
    }

    #[test]
    fn who_has_all_needs_no_service() {
        assert_eq!(said(|peer| peer.wants_from_us = false, true), "wants nothing from us");
    }
}
