//! The smallest relay that one would write: a map of senders, each message parsed just enough for `to`, no checks, no
//! limits, no order but the one in which things come. Peers of a room are told of each other, and nothing else is kept.

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedSender,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

#[derive(Default)]
struct Peers {
    last_id: u64,
    by_id: BTreeMap<String, (String, UnboundedSender<Message>)>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    to: &'a str,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// Serves whoever connects.
pub(crate) async fn run(listener: TcpListener) -> Result<()> {
    let peers = Arc::default();
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true)?;
        // That a connection ends with an error is not worth a word here.
        tokio::spawn(serve(stream, Arc::clone(&peers)));
    }
}

async fn serve(stream: TcpStream, peers: Arc<Mutex<Peers>>) -> Result<()> {
    let (mut sink, mut stream) = accept_async(stream).await?.split();
    #[expect(clippy::disallowed_methods, reason = "that is what one would write")]
    let (own, mut queue) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut id = String::new();
    let served = async {
        while let Some(message) = stream.next().await {
            match message? {
                Message::Text(text) => match serde_json::from_str::<Envelope<'_>>(&text) {
                    Ok(Envelope { to, message }) => pass(&peers, to, Message::text(addressed(&id, message)))?,
                    Err(_) => {
                        let answer = answer(&peers, &mut id, &own, serde_json::from_str(&text)?)?;
                        own.send(Message::text(answer.to_string()))?;
                    }
                },
                Message::Binary(bytes) => {
                    let (len, rest) = bytes.split_first_chunk().context("no length")?;
                    let (head, data) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).context("no head")?;
                    let Envelope { to, message } = serde_json::from_slice(head)?;
                    let head = addressed(&id, message);
                    let len = (head.len() as u32).to_be_bytes();
                    pass(&peers, to, Message::binary([&len, head.as_bytes(), data].concat()))?;
                }
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        anyhow::Ok(())
    };
    let served = served.await;
    lock(&peers).by_id.remove(&id);
    served
}

fn addressed(from: &str, message: &RawValue) -> String {
    format!(r#"{{"from":"{from}","message":{message}}}"#)
}

fn pass(peers: &Mutex<Peers>, to: &str, message: Message) -> Result<()> {
    let sender = lock(peers).by_id.get(to).map(|(_, sender)| sender.clone());
    Ok(sender.context("unknown peer")?.send(message)?)
}

fn answer(peers: &Mutex<Peers>, id: &mut String, own: &UnboundedSender<Message>, request: Value) -> Result<Value> {
    let mut peers = lock(peers);
    let mut answer = match request["type"].as_str() {
        Some("register") => {
            peers.last_id += 1;
            *id = format!("{:016x}", peers.last_id);
            let room = request["room"].as_str().unwrap_or("lobby").to_owned();
            peers.by_id.insert(id.clone(), (room, own.clone()));
            json!({ "type": "registered", "id": id })
        }
        Some("announce") => json!({ "type": "announced", "file": request["file"] }),
        Some("get_peers") => {
            let room = &peers.by_id.get(id).context("not registered")?.0;
            let others = peers.by_id.iter().filter(|(other, (in_room, _))| *other != id && in_room == room);
            let others: Vec<_> = others.map(|(id, _)| json!({ "id": id })).collect();
            json!({ "type": "peers", "file": request["file"], "peers": others })
        }
        _ => bail!("not understood: {request}"),
    };
    answer["seq"] = request["seq"].clone();
    Ok(answer)
}

fn lock(peers: &Mutex<Peers>) -> std::sync::MutexGuard<'_, Peers> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}
