//! The sockets of a line.

use super::Place;
use socket2::SockRef;
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    task::Poll,
};
use str0m::net::Transmit;
use tokio::{io::ReadBuf, net::UdpSocket};

/// Bytes that a socket keeps of what has come while the driver is busy, where the system lets it.
const RECEIVE_BUFFER: usize = 1 << 20;

/// One socket at each address of this machine: a socket at all of them would not tell at which one a datagram came.
#[derive(Debug)]
pub(super) struct Sockets(Vec<(SocketAddr, UdpSocket)>);

impl Sockets {
    /// Opens them.
    ///
    /// # Errors
    /// If not even one can be had.
    pub(super) fn open(place: &Place) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        let mut trouble = None;
        for ip in place.addresses()? {
            match place.bind(|port| open(ip, port)) {
                Ok(socket) => sockets.push(socket),
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(Self(sockets)),
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }

    /// Sends a datagram. What cannot leave is lost, as on any other part of the way.
    pub(super) async fn send(&self, datagram: &Transmit) {
        let from = self.0.iter().find(|(address, _)| *address == datagram.source);
        if let Some((_, socket)) = from
            && let Err(error) = socket.send_to(&datagram.contents, datagram.destination).await
        {
            tracing::trace!(%error, to = %datagram.destination, "a datagram did not leave");
        }
    }

    /// The next datagram of any of them: where it came, from where, and how long it is.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> (SocketAddr, SocketAddr, usize) {
        poll_fn(|context| {
            for (at, socket) in &self.0 {
                let mut read = ReadBuf::new(buffer);
                match socket.poll_recv_from(context, &mut read) {
                    Poll::Ready(Ok(source)) => return Poll::Ready((*at, source, read.filled().len())),
                    // Some systems tell here what became of something that was sent.
                    Poll::Ready(Err(_)) => return Poll::Ready((*at, *at, 0)),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn open(ip: IpAddr, port: u16) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = std::net::UdpSocket::bind((ip, port))?;
    socket.set_nonblocking(true)?;
    // Less is slower, but good enough.
    _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok((socket.local_addr()?, UdpSocket::from_std(socket)?))
}
