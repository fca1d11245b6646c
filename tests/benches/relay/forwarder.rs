//! What the same bytes cost without any protocol: each byte of one TCP connection is written to another.

use anyhow::{Context as _, Result};
use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// Joins each connection with the one after it.
pub(crate) async fn run(listener: TcpListener) -> Result<()> {
    loop {
        let first = accept(&listener).await?;
        let second = accept(&listener).await?;
        let (first_read, first_write) = first.into_split();
        let (second_read, second_write) = second.into_split();
        tokio::spawn(forward(first_read, second_write));
        tokio::spawn(forward(second_read, first_write));
    }
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await.context("cannot accept")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
