//! The connections of direct lines, which only a window can have. The worker says what to do; the channels are its own.

#[cfg(test)]
mod tests;

use crate::{
    model::Model,
    signals::{self, Candidate, Description, DescriptionType, MOST_CANDIDATES},
};
use js_sys::{Array, Reflect};
use leptos::prelude::set_timeout;
use peer_wasm::{
    client::LineId,
    page::{Command, LineEvent, LineTask},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Event, MessageChannel, RtcConfiguration, RtcDataChannelInit, RtcIceCandidateInit, RtcIceServer, RtcPeerConnection,
    RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

/// How many connections a page makes in its life: a browser has 500 for a page, and takes its time to give one back.
const MOST_IN_LIFE: u32 = 300;
/// How long a connection may be without contact. The browser itself waits for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number that both ends give the only channel.
const CHANNEL: u16 = 0;

/// Names a line over all sessions of the worker.
type Id = (u32, LineId);

/// All connections of this page. A handle: copies are of the same.
#[derive(Clone)]
pub(crate) struct Lines {
    model: Model,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    made: u32,
    connections: BTreeMap<Id, Connection>,
}

/// A connection; closed when this is dropped.
struct Connection {
    connection: RtcPeerConnection,
    /// How many candidates the other end may tell yet.
    may_tell: usize,
    /// One closure of each kind for the connection's whole life.
    _on_candidate: Closure<dyn FnMut(RtcPeerConnectionIceEvent)>,
    _on_state: Closure<dyn FnMut(Event)>,
    _on_channel: Closure<dyn FnMut(Event)>,
}

impl Lines {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, state: Rc::default() }
    }

    /// Whether this browser has connections whose channels a worker can have.
    pub(crate) fn are_possible() -> bool {
        thread_local! {
            static POSSIBLE: bool = try_to_hand_on().is_ok();
        }
        POSSIBLE.with(|possible| *possible)
    }

    /// Does what the worker says.
    pub(crate) fn perform(&self, id: Id, task: LineTask) {
        match task {
            LineTask::Offer { stun } => {
                let Some(connection) = self.open(id, &stun) else { return };
                self.follow(id, async move |lines| {
                    let offer = Description::of(&JsFuture::from(connection.create_offer()).await?)?;
                    // Before any candidate is found.
                    lines.tell(id, LineEvent::Offered { offer: signals::write(&offer) });
                    JsFuture::from(connection.set_local_description(&offer.to_js())).await
                });
            }
            LineTask::Answer { offer, stun } => {
                let Some(offer) = signals::read_description(&offer, DescriptionType::Offer) else {
                    return self.tell(id, LineEvent::Closed);
                };
                let Some(connection) = self.open(id, &stun) else { return };
                self.follow(id, async move |lines| {
                    JsFuture::from(connection.set_remote_description(&offer.to_js())).await?;
                    let answer = Description::of(&JsFuture::from(connection.create_answer()).await?)?;
                    lines.tell(id, LineEvent::Answered { answer: signals::write(&answer) });
                    JsFuture::from(connection.set_local_description(&answer.to_js())).await
                });
            }
            LineTask::Accept { answer } => {
                let Some(connection) = self.connection(id) else { return };
                match signals::read_description(&answer, DescriptionType::Answer) {
                    Some(answer) => self.follow(id, async move |_| {
                        JsFuture::from(connection.set_remote_description(&answer.to_js())).await
                    }),
                    None => self.end(id),
                }
            }
            LineTask::Candidate { candidate } => self.add_candidate(id, &candidate),
            LineTask::Close => _ = self.state.borrow_mut().connections.remove(&id),
        }
    }

    /// Makes a connection and hands its channel to the worker.
    fn open(&self, id: Id, stun: &[String]) -> Option<RtcPeerConnection> {
        let opened = self.try_open(id, stun).map_err(|error| web_sys::console::warn_1(&error)).ok().flatten();
        if opened.is_none() {
            self.tell(id, LineEvent::Closed);
        }
        opened
    }

    /// The same; `None` if this page may not have more.
    fn try_open(&self, id: Id, stun: &[String]) -> Result<Option<RtcPeerConnection>, JsValue> {
        if self.state.borrow().made >= MOST_IN_LIFE {
            // Others need not try either.
            self.model.give_up_lines();
            return Ok(None);
        }
        let config = RtcConfiguration::new();
        if !stun.is_empty() {
            let server = RtcIceServer::new();
            server.set_urls(&stun.iter().map(|uri| JsValue::from_str(uri)).collect::<Array>());
            config.set_ice_servers(&Array::of1(&server));
        }
        let connection = RtcPeerConnection::new_with_configuration(&config)?;
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(CHANNEL);
        let channel = connection.create_data_channel_with_data_channel_dict("blocks", &init);
        // It can be handed on only now, in the task that made it.
        self.model.send_with(Command::Line { session: id.0, line: id.1, event: LineEvent::Channel }, &channel);
        let kept = self.watch(id, connection.clone());
        let mut state = self.state.borrow_mut();
        state.made += 1;
        state.connections.insert(id, kept);
        Ok(Some(connection))
    }

    /// Listens to a connection.
    fn watch(&self, id: Id, connection: RtcPeerConnection) -> Connection {
        let (lines, mut told) = (self.clone(), 0);
        let on_candidate = Closure::new(move |event: RtcPeerConnectionIceEvent| {
            // The last one is empty, or none.
            let Some(found) = event.candidate().filter(|found| !found.candidate().is_empty()) else { return };
            told += 1;
            if told <= MOST_CANDIDATES {
                let candidate = Candidate {
                    candidate: found.candidate(),
                    sdp_mid: found.sdp_mid(),
                    sdp_m_line_index: found.sdp_m_line_index(),
                };
                lines.tell(id, LineEvent::Candidate { candidate: signals::write(&candidate) });
            }
        });
        let lines = self.clone();
        let on_state = Closure::new(move |_: Event| {
            let Some(connection) = lines.connection(id) else { return };
            match connection.connection_state() {
                RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => lines.end(id),
                RtcPeerConnectionState::Disconnected => {
                    let lines = lines.clone();
                    let look_again = move || {
                        if connection.connection_state() == RtcPeerConnectionState::Disconnected {
                            lines.end(id);
                        }
                    };
                    set_timeout(look_again, PATIENCE);
                }
                // Besides, it is on its way or well.
                RtcPeerConnectionState::New
                | RtcPeerConnectionState::Connecting
                | RtcPeerConnectionState::Connected
                | _ => {}
            }
        });
        let lines = self.clone();
        // Both have the one channel without asking; nobody is to open others.
        let on_channel = Closure::new(move |_: Event| lines.end(id));
        connection.set_onicecandidate(Some(on_candidate.as_ref().unchecked_ref()));
        connection.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));
        connection.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));
        Connection {
            connection,
            may_tell: MOST_CANDIDATES,
            _on_candidate: on_candidate,
            _on_state: on_state,
            _on_channel: on_channel,
        }
    }

    fn connection(&self, id: Id) -> Option<RtcPeerConnection> {
        self.state.borrow().connections.get(&id).map(|kept| kept.connection.clone())
    }

    fn add_candidate(&self, id: Id, text: &str) {
        let mut state = self.state.borrow_mut();
        let Some(kept) = state.connections.get_mut(&id).filter(|kept| kept.may_tell > 0) else { return };
        kept.may_tell -= 1;
        let Some(candidate) = signals::read_candidate(text) else { return };
        let init = RtcIceCandidateInit::new(&candidate.candidate);
        init.set_sdp_mid(candidate.sdp_mid.as_deref());
        init.set_sdp_m_line_index(candidate.sdp_m_line_index);
        let added = kept.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
        // One that is of no use is not needed, if another is.
        spawn_local(async move { _ = JsFuture::from(added).await });
    }

    /// Follows the steps of opening a line; one that fails ends it.
    fn follow<T>(&self, id: Id, steps: impl AsyncFnOnce(Self) -> Result<T, JsValue> + 'static) {
        let lines = self.clone();
        spawn_local(async move {
            if let Err(error) = steps(lines.clone()).await {
                web_sys::console::debug_2(&"no direct line:".into(), &error);
                lines.end(id);
            }
        });
    }

    /// A line is over, or cannot be opened.
    fn end(&self, id: Id) {
        if self.state.borrow_mut().connections.remove(&id).is_some() {
            self.tell(id, LineEvent::Closed);
        }
    }

    fn tell(&self, (session, line): Id, event: LineEvent) {
        self.model.send(Command::Line { session, line, event });
    }
}

/// Makes a channel and hands it on, which older browsers cannot.
fn try_to_hand_on() -> Result<(), JsValue> {
    if !Reflect::has(&js_sys::global(), &"RTCPeerConnection".into())? {
        return Err(JsValue::NULL);
    }
    let (connection, ports) = (RtcPeerConnection::new()?, MessageChannel::new()?);
    let channel = connection.create_data_channel("to try");
    let handed_on = ports.port1().post_message_with_transferable(&channel, &Array::of1(&channel));
    ports.port1().close();
    connection.close();
    handed_on
}

impl Description {
    /// What the browser made.
    fn of(made: &JsValue) -> Result<Self, JsValue> {
        let made: &RtcSessionDescriptionInit = made.unchecked_ref();
        let r#type = match made.get_type() {
            RtcSdpType::Answer => DescriptionType::Answer,
            RtcSdpType::Offer | RtcSdpType::Pranswer | RtcSdpType::Rollback | _ => DescriptionType::Offer,
        };
        let sdp = made.get_sdp().ok_or("a description without words")?;
        Ok(Self { r#type, sdp })
    }

    fn to_js(&self) -> RtcSessionDescriptionInit {
        let description = RtcSessionDescriptionInit::new(match self.r#type {
            DescriptionType::Offer => RtcSdpType::Offer,
            DescriptionType::Answer => RtcSdpType::Answer,
        });
        description.set_sdp(&self.sdp);
        description
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connection.set_onicecandidate(None);
        self.connection.set_onconnectionstatechange(None);
        self.connection.set_ondatachannel(None);
        self.connection.close();
    }
}
