//! What the two ends of a data channel say to each other before it opens, as browsers write it.

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use str0m::{
    Candidate,
    change::{SdpAnswer, SdpOffer},
    net::Protocol,
};

/// A session description: `RTCSessionDescriptionInit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Description {
    #[serde(rename = "type")]
    kind: Kind,
    sdp: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Offer,
    Answer,
}

/// One way to reach who says it: what matters here of `RTCIceCandidateInit`.
#[derive(Debug, Deserialize)]
struct CandidateInit {
    candidate: String,
}

/// How a line of a description begins that is a candidate.
const CANDIDATE: &str = "a=candidate:";

impl Description {
    pub(super) fn of_offer(offer: &SdpOffer) -> Self {
        Self { kind: Kind::Offer, sdp: offer.to_sdp_string() }
    }

    pub(super) fn of_answer(answer: &SdpAnswer) -> Self {
        Self { kind: Kind::Answer, sdp: answer.to_sdp_string() }
    }

    pub(super) fn words(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The offer that this is, without its candidates.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn offer(&self) -> anyhow::Result<SdpOffer> {
        Ok(SdpOffer::from_sdp_string(&self.bare(Kind::Offer)?)?)
    }

    /// The answer that this is, without its candidates.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn answer(&self) -> anyhow::Result<SdpAnswer> {
        Ok(SdpAnswer::from_sdp_string(&self.bare(Kind::Answer)?)?)
    }

    /// The candidates in it, as far as they can be understood.
    pub(in super::super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let lines = self.sdp.lines().filter(|line| line.starts_with(CANDIDATE));
        lines.filter_map(|line| parse(line.trim_start_matches("a=")))
    }

    /// Leaves out the candidates: each of them is looked at before it is tried, and a name in one is no reason to refuse all.
    fn bare(&self, kind: Kind) -> anyhow::Result<String> {
        ensure!(self.kind == kind, "that is another kind of description");
        let mut media = self.sdp.lines().filter(|line| line.starts_with("m="));
        let is_channel = media.next().is_some_and(|line| line.starts_with("m=application "));
        ensure!(is_channel && media.next().is_none(), "that describes something else than one data channel");
        Ok(self.sdp.split_inclusive('\n').filter(|line| !line.starts_with(CANDIDATE)).collect())
    }
}

/// The answer in what the other shell says.
///
/// # Errors
/// If it is none.
pub(super) fn answer(words: &str) -> anyhow::Result<Description> {
    serde_json::from_str(words).context("that is no answer")
}

/// The candidate in what the other shell says, if there is one that can be understood.
pub(super) fn candidate(words: &str) -> Option<Candidate> {
    parse(&serde_json::from_str::<CandidateInit>(words).ok()?.candidate)
}

/// Reads a candidate of UDP that has an address. Browsers hide theirs behind names of multicast DNS; who has one checks in its
/// turn whether it reaches this machine, and is known by that.
fn parse(words: &str) -> Option<Candidate> {
    Candidate::from_sdp_string(words).ok().filter(|candidate| candidate.proto() == Protocol::Udp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const CHANNEL: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n";
    const CANDIDATES: &str = "a=candidate:1 1 udp 2113937151 192.168.0.7 40000 typ host generation 0\r\n\
        a=candidate:2 1 udp 2113937151 0b29ad33-6a15-4a7f-b2b5-1c0a3d5e9f00.local 40001 typ host generation 0\r\n\
        a=candidate:3 1 tcp 1518280447 192.168.0.7 9 typ host tcptype active generation 0\r\n";

    fn description(kind: Kind, sdp: String) -> Description {
        Description { kind, sdp }
    }

    #[test]
    fn candidates_are_read_apart_from_a_description_and_only_addresses_of_udp_count() {
        let described = description(Kind::Offer, format!("{LEAST}{CHANNEL}{CANDIDATES}"));
        let addresses: Vec<_> = described.candidates().map(|candidate| candidate.addr().to_string()).collect();
        assert_eq!(addresses, ["192.168.0.7:40000"]);
        assert!(described.offer().is_ok());
        assert_eq!(described.bare(Kind::Offer).unwrap(), format!("{LEAST}{CHANNEL}"));
        for (words, address) in [
            (
                r#"{"candidate":"candidate:1 1 udp 2113937151 10.0.0.7 40000 typ host","sdpMid":"0"}"#,
                Some("10.0.0.7:40000"),
            ),
            (r#"{"candidate":"candidate:1 1 udp 2113937151 some.local 40000 typ host"}"#, None),
            (r#"{"candidate":""}"#, None),
            ("{}", None),
            ("", None),
        ] {
            let read = candidate(words).map(|candidate| candidate.addr().to_string());
            assert_eq!(read.as_deref(), address, "{words}");
        }
    }

    #[test]
    fn only_one_data_channel_can_be_described() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n";
        for sdp in ["garbage", LEAST, &format!("{LEAST}{audio}"), &format!("{LEAST}{CHANNEL}{audio}")] {
            assert!(description(Kind::Offer, sdp.to_owned()).offer().is_err(), "{sdp}");
        }
        assert!(description(Kind::Answer, format!("{LEAST}{CHANNEL}")).offer().is_err());
    }
}
