//! What comes before HTTP on a port that speaks TLS.

use super::Certificate;
use std::{io, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

/// The first byte of TLS: a record with a handshake in it (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// How a client began.
#[derive(Debug)]
pub(crate) enum Front {
    /// With TLS, which stands.
    Tls(Box<TlsStream<TcpStream>>),
    /// With something else, probably HTTP; nothing was read of it.
    Plain(TcpStream),
}

/// Waits for the beginning, and shakes hands if it is TLS.
///
/// # Errors
/// If the two cannot agree, or not in time.
pub(crate) async fn accept(stream: TcpStream, certificate: &Certificate, limit: Duration) -> io::Result<Front> {
    let begin = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            return Ok(Front::Plain(stream));
        }
        certificate.acceptor().accept(stream).await.map(|stream| Front::Tls(Box::new(stream)))
    };
    timeout(limit, begin).await?
}
