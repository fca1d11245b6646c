//! The socket at which datagrams come in.

use super::{MAX_REQUEST_BYTES, Responder};
use crate::hub::Hub;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{net::UdpSocket, time::sleep};
use tracing::trace;

/// A socket that has yet to [`Server::serve`].
#[derive(Debug)]
pub(crate) struct Server {
    socket: UdpSocket,
    responder: Responder,
}

impl Server {
    /// Listens on this address. `key` must be unpredictable.
    ///
    /// # Errors
    /// If another program has the port, or the system gives none.
    pub(crate) async fn bind(addr: SocketAddr, key: [u8; 32]) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::bind(addr).await?, responder: Responder::new(addr, key) })
    }

    /// Answers what comes; never returns.
    pub(crate) async fn serve(mut self, hub: Arc<Hub>) {
        // Of a longer datagram the rest is cut off, and what remains is too long as well.
        let mut datagram = [0; MAX_REQUEST_BYTES + 1];
        loop {
            let is_answered = match self.socket.recv_from(&mut datagram).await {
                Ok((len, from)) => match self.responder.handle(&datagram[..len], from, hub.now()) {
                    Some(answer) => self.socket.send_to(&answer, from).await.is_ok(),
                    None => false,
                },
                Err(error) => {
                    // Some systems say so of a datagram that was too long, or of an answer that reached nobody.
                    trace!(%error, "cannot read a datagram");
                    self.responder.miss(hub.now());
                    false
                }
            };
            hub.count_stun(is_answered);
            let pause = self.responder.pause(hub.now());
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
}
