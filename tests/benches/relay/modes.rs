//! The processes of a measurement. All but the tracker are this program again, told by its first argument what to be.

use crate::{forwarder, naive, rows};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    process::{self, Command},
    thread,
};
use tests::{scale::Scale, server::Server};
use tokio::net::TcpListener;

const FORWARDER: &str = "be-forwarder";
const NAIVE: &str = "be-naive";
const HOSTILE: &str = "be-hostile";

/// The tracker with its default settings.
pub(crate) fn tracker(scale: Scale) -> Result<Server> {
    Server::tracker(scale, &[])
}

pub(crate) fn forwarder() -> Result<Server> {
    again(&[FORWARDER])
}

pub(crate) fn naive() -> Result<Server> {
    again(&[NAIVE])
}

/// So many clients that do these things to the tracker at this address and to the peers of this room, as long as the process
/// lives.
pub(crate) fn hostile(addr: SocketAddr, room: &str, clients: usize, behaviours: &[String]) -> Result<Server> {
    let (addr, clients) = (addr.to_string(), clients.to_string());
    let behaviours = behaviours.iter().map(String::as_str);
    again(&[HOSTILE, &addr, room, &clients].into_iter().chain(behaviours).collect::<Vec<_>>())
}

fn again(arguments: &[&str]) -> Result<Server> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments);
    Server::start(command)
}

/// Is what the arguments say; `false` if that is the measurement itself.
pub(crate) async fn is_other_process(arguments: &[String]) -> Result<bool> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [FORWARDER] => forwarder::run(listen().await?).await?,
        [NAIVE] => naive::run(listen().await?).await?,
        [HOSTILE, addr, room, clients, ref behaviours @ ..] => {
            let addr = addr.parse().with_context(|| format!("{addr} is no address"))?;
            say(addr)?;
            end_with_parent();
            rows::attack(addr, room, clients.parse()?, behaviours).await;
        }
        _ => return Ok(false),
    }
    bail!("it must not end by itself")
}

async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(listener.local_addr()?)?;
    end_with_parent();
    Ok(listener)
}

fn say(addr: SocketAddr) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "at http://{addr}/")?;
    Ok(out.flush()?)
}

/// Nobody writes to the standard input, so it ends when the process that started this one does, however that ends.
fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
}
