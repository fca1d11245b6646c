//! What two ends of a direct line tell each other to open it, as browsers write it.

use serde::{Deserialize, Serialize};

/// A session description (RTCSessionDescriptionInit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) r#type: DescriptionType,
    pub(crate) sdp: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DescriptionType {
    Offer,
    Answer,
}

/// A way to reach one end (RTCIceCandidateInit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Candidate {
    pub(crate) candidate: String,
    #[serde(default)]
    pub(crate) sdp_mid: Option<String>,
    #[serde(default)]
    pub(crate) sdp_m_line_index: Option<u16>,
}

/// The most candidates of another peer, in its description and beside it.
pub(crate) const MOST_CANDIDATES: usize = 16;

/// Reads a description of a wanted type from another peer. One that describes anything but data is none: nobody is to send this
/// page sound or pictures.
pub(crate) fn read_description(text: &str, wanted: DescriptionType) -> Option<Description> {
    let mut description: Description = serde_json::from_str(text).ok()?;
    description.sdp = with_few_candidates(&description.sdp);
    let mut media = description.sdp.lines().filter(|line| line.starts_with("m="));
    let is_data = media.next().is_some_and(|line| line.starts_with("m=application ")) && media.next().is_none();
    (is_data && description.r#type == wanted).then_some(description)
}

/// Reads a candidate of another peer.
pub(crate) fn read_candidate(text: &str) -> Option<Candidate> {
    let candidate: Candidate = serde_json::from_str(text).ok()?;
    is_by_datagrams(&candidate.candidate).then_some(candidate)
}

/// The same description with no more candidates than may be, and with those alone by which nothing can be connected to that
/// does not want it.
fn with_few_candidates(sdp: &str) -> String {
    let mut candidates = 0;
    let mut is_kept = |line: &&str| {
        let Some(candidate) = line.strip_prefix("a=").filter(|line| line.starts_with("candidate:")) else {
            return true;
        };
        candidates += 1;
        candidates <= MOST_CANDIDATES && is_by_datagrams(candidate)
    };
    sdp.lines().filter(|line| is_kept(line)).flat_map(|line| [line, "\r\n"]).collect()
}

/// Whether a candidate is reached by UDP; by TCP a browser would connect to any program (RFC 8839 section 5.1).
fn is_by_datagrams(candidate: &str) -> bool {
    candidate.split(' ').nth(2).is_some_and(|transport| transport.eq_ignore_ascii_case("udp"))
}

/// For another peer to read.
pub(crate) fn write(words: &impl Serialize) -> String {
    // They have string keys and no fallible serializers.
    serde_json::to_string(words).expect("descriptions and candidates always serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";

    #[test]
    fn what_is_written_is_read() {
        let offer = Description { r#type: DescriptionType::Offer, sdp: format!("v=0\r\n{DATA}\r\na=mid:0\r\n") };
        let text = write(&offer);
        assert!(text.starts_with(r#"{"type":"offer","sdp":"v=0\r\nm="#), "{text}");
        assert_eq!(read_description(&text, DescriptionType::Offer), Some(offer));
        assert_eq!(read_description(&text, DescriptionType::Answer), None);
        let text = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 7 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x"}"#;
        let candidate = read_candidate(text).unwrap();
        assert_eq!((candidate.sdp_mid.as_deref(), candidate.sdp_m_line_index), (Some("0"), Some(0)));
        assert!(write(&candidate).ends_with(r#""sdpMid":"0","sdpMLineIndex":0}"#));
        assert!(read_candidate(r#"{"sdpMid":"0"}"#).is_none());
    }

    #[test]
    fn a_description_brings_few_candidates_and_none_by_tcp() {
        let candidate =
            |transport: &str, number: usize| format!("candidate:{number} 1 {transport} 1 192.0.2.1 7 typ host");
        let lines: String = (0..50)
            .map(|number| format!("a={}\r\n", candidate(if number % 2 == 0 { "UDP" } else { "tcp" }, number)))
            .collect();
        let sdp = format!("v=0\r\n{DATA}\r\n{lines}a=mid:0\r\n");
        let text = write(&Description { r#type: DescriptionType::Offer, sdp });
        let read = read_description(&text, DescriptionType::Offer).unwrap().sdp;
        assert_eq!(read.matches("candidate:").count(), MOST_CANDIDATES / 2);
        assert!(!read.contains("tcp") && read.ends_with("a=mid:0\r\n"));
        for (transport, is_read) in [("udp", true), ("UDP", true), ("tcp", false), ("TCP", false)] {
            let text = write(&Candidate { candidate: candidate(transport, 1), sdp_mid: None, sdp_m_line_index: None });
            assert_eq!(read_candidate(&text).is_some(), is_read, "{transport}");
        }
    }

    #[test]
    fn nothing_but_data_is_taken() {
        for media in ["", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "m=application"] {
            for sdp in [format!("v=0\r\n{media}\r\n"), format!("v=0\r\n{DATA}\r\n{media}x\r\n")] {
                let text = write(&Description { r#type: DescriptionType::Offer, sdp: sdp.clone() });
                let is_read = read_description(&text, DescriptionType::Offer).is_some();
                assert_eq!(is_read, media.is_empty() && sdp.contains(DATA), "{sdp}");
            }
        }
    }
}
