//! Connections of a real browser, as the worker would have them.

use super::*;
use crate::locale::Locale;
use leptos::reactive::owner::Owner;
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::RtcDataChannel;

/// A page whose words to the worker are kept.
struct Page {
    lines: Lines,
    told: Rc<RefCell<Vec<(Id, LineEvent)>>>,
    channels: Rc<RefCell<Vec<RtcDataChannel>>>,
    _owner: Owner,
}

fn page() -> Page {
    let owner = Owner::new();
    let model = owner.with(|| Model::new(Locale::English));
    let (told, channels) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    owner.with(|| {
        let (told, channels) = (told.clone(), channels.clone());
        model.set_outbox(move |command, attachment| {
            if let Command::Line { session, line, event } = command {
                told.borrow_mut().push(((session, line), event));
            }
            channels.borrow_mut().extend(attachment.dyn_ref::<RtcDataChannel>().cloned());
        });
    });
    Page { lines: Lines::new(model), told, channels, _owner: owner }
}

impl Page {
    /// What it tells of a line next that `wanted` takes, however long that lasts.
    async fn told<T>(&self, id: Id, wanted: impl Fn(&LineEvent) -> Option<T>) -> T {
        loop {
            let found = self.told.borrow().iter().position(|(of, event)| *of == id && wanted(event).is_some());
            if let Some(place) = found
                && let Some(wanted) = wanted(&self.told.borrow_mut().remove(place).1)
            {
                return wanted;
            }
            turn().await;
        }
    }

    async fn closed(&self, id: Id) {
        self.told(id, |event| (*event == LineEvent::Closed).then_some(())).await;
    }

    async fn offer(&self, id: Id) -> String {
        self.lines.perform(id, LineTask::Offer { stun: Vec::new() });
        self.told(id, |event| if let LineEvent::Offered { offer } = event { Some(offer.clone()) } else { None }).await
    }

    fn answer(&self, id: Id, offer: &str) {
        self.lines.perform(id, LineTask::Answer { offer: offer.to_owned(), stun: Vec::new() });
    }
}

/// Lets the browser do something else.
async fn turn() {
    let turned =
        js_sys::Promise::new(&mut |resolve, _| set_timeout(move || _ = resolve.call0(&JsValue::NULL), Duration::ZERO));
    JsFuture::from(turned).await.expect("a timer");
}

fn id(number: u32) -> Id {
    (1, LineId::for_test(number))
}

#[wasm_bindgen_test]
async fn two_pages_agree_on_a_connection_and_each_hands_over_its_channel() {
    let (first, second) = (page(), page());
    let offer = first.offer(id(1)).await;
    assert!(matches!(first.told.borrow()[..], [(_, LineEvent::Channel), ..]), "before anything else");
    second.answer(id(7), &offer);
    let answer =
        |event: &LineEvent| if let LineEvent::Answered { answer } = event { Some(answer.clone()) } else { None };
    let answer = second.told(id(7), answer).await;
    first.lines.perform(id(1), LineTask::Accept { answer });
    first.lines.perform(id(1), LineTask::Candidate { candidate: "{}".to_owned() });
    for page in [&first, &second] {
        let channels = page.channels.borrow();
        let [channel] = &channels[..] else { panic!("{} channels", channels.len()) };
        let says = |name: &str| Reflect::get(channel, &name.into()).ok();
        assert_eq!(says("negotiated"), Some(true.into()));
        assert_eq!((says("ordered"), says("id")), (Some(true.into()), Some(CHANNEL.into())));
    }
    for _ in 0..10 {
        turn().await;
    }
    let is_closed = |page: &Page| page.told.borrow().iter().any(|(_, event)| *event == LineEvent::Closed);
    assert!(!is_closed(&first) && !is_closed(&second), "both wait for each other");
    first.lines.perform(id(1), LineTask::Close);
    assert!(first.lines.connection(id(1)).is_none() && second.lines.connection(id(7)).is_some());
}

#[wasm_bindgen_test]
async fn what_is_no_offer_or_no_answer_closes_the_line() {
    let page = page();
    let audio = signals::write(&Description {
        r#type: DescriptionType::Offer,
        sdp: "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".to_owned(),
    });
    let broken = signals::write(&Description {
        r#type: DescriptionType::Offer,
        sdp: "v=0\r\nm=application what\r\n".to_owned(),
    });
    for (number, offer) in (1..).zip(["", "{}", &audio, &broken]) {
        page.answer(id(number), offer);
        page.closed(id(number)).await;
    }
    let offer = page.offer(id(9)).await;
    page.lines.perform(id(9), LineTask::Accept { answer: offer });
    page.closed(id(9)).await;
    page.lines.perform(id(9), LineTask::Accept { answer: "of nothing".to_owned() });
    assert!(page.lines.state.borrow().connections.is_empty());
}

#[wasm_bindgen_test]
async fn a_page_makes_only_so_many_connections_in_its_life() {
    let page = page();
    for number in 0..MOST_IN_LIFE {
        page.lines.perform(id(number), LineTask::Offer { stun: Vec::new() });
        page.lines.perform(id(number), LineTask::Close);
    }
    assert_eq!(page.channels.borrow().len(), MOST_IN_LIFE as usize);
    page.lines.perform(id(MOST_IN_LIFE), LineTask::Offer { stun: Vec::new() });
    page.closed(id(MOST_IN_LIFE)).await;
    assert_eq!(page.channels.borrow().len(), MOST_IN_LIFE as usize);
}
