//! The few things of the browser that Leptos does not wrap.

use crate::{
    locale::Locale,
    route::{Route, query, token, tracker_address},
};
use leptos::prelude::*;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Event, EventTarget, File, FileList, HtmlAnchorElement, HtmlElement, Url};

/// Where the choice is kept that nothing goes to others directly.
const ONLY_THROUGH_TRACKER: &str = "minibit-only-through-tracker";
/// How long a saved file's address stays valid: the browser has opened the file by then.
const SAVE_ADDRESS_LIFE: Duration = Duration::from_secs(60);

/// Listens to an event until the current reactive owner is cleaned up.
pub(crate) fn listen(target: &EventTarget, name: &'static str, handler: impl FnMut(Event) + 'static) {
    let handler = Closure::<dyn FnMut(Event)>::new(handler);
    let function = handler.as_ref().unchecked_ref::<js_sys::Function>().clone();
    if let Err(error) = target.add_event_listener_with_callback(name, &function) {
        web_sys::console::error_1(&error);
    }
    let kept = StoredValue::new_local(Some((target.clone(), function, handler)));
    on_cleanup(move || {
        if let Some(Some((target, function, handler))) = kept.try_update_value(Option::take) {
            // Fails only for a listener that is not there.
            let _ = target.remove_event_listener_with_callback(name, &function);
            drop(handler);
        }
    });
}

/// The route in the address bar.
pub(crate) fn current_route() -> Route {
    Route::parse(&location().hash().unwrap_or_default())
}

/// Points the address bar at a route, which makes the browser say `hashchange` where it is another one.
pub(crate) fn go_to(route: &Route) {
    if let Err(error) = location().set_hash(&route.to_string()) {
        web_sys::console::error_1(&error);
    }
}

/// The whole link to a route: with the tracker's token, without the language of this page, as its reader has their own.
pub(crate) fn link_to(route: &Route) -> String {
    let location = location();
    let search = location.search().unwrap_or_default();
    let page = format!("{}{}", location.origin().unwrap_or_default(), location.pathname().unwrap_or_default());
    format!("{page}{}{route}", query(&[("token", token(&search))]))
}

/// The address of the tracker that served this page.
pub(crate) fn tracker() -> Option<String> {
    let location = location();
    let search = location.search().unwrap_or_default();
    tracker_address(&location.protocol().ok()?, &location.host().ok()?, &location.pathname().ok()?, token(&search))
}

/// The language that the address or the browser asks for.
pub(crate) fn preferred_locale() -> Locale {
    let languages = window().navigator().languages();
    Locale::choose(&location().search().unwrap_or_default(), languages.iter().filter_map(|tag| tag.as_string()))
}

/// Names the page's language in the address, so that it outlives a reload.
pub(crate) fn keep_locale_in_address(locale: Locale) {
    let location = location();
    let search = location.search().unwrap_or_default();
    let address = format!(
        "{}{}{}",
        location.pathname().unwrap_or_default(),
        query(&[("lang", Some(locale.tag())), ("token", token(&search))]),
        location.hash().unwrap_or_default()
    );
    let replaced =
        window().history().and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&address)));
    if let Err(error) = replaced {
        web_sys::console::error_1(&error);
    }
}

/// Whether other peers may be told this device's addresses, as was chosen on this device. A browser that keeps nothing (a private
/// window may not) has no such choice.
pub(crate) fn kept_direct() -> bool {
    let storage = window().local_storage().ok().flatten();
    storage.and_then(|storage| storage.get_item(ONLY_THROUGH_TRACKER).ok().flatten()).is_none()
}

/// Keeps that choice.
pub(crate) fn keep_direct(direct: bool) {
    let Ok(Some(storage)) = window().local_storage() else { return };
    let kept =
        if direct { storage.remove_item(ONLY_THROUGH_TRACKER) } else { storage.set_item(ONLY_THROUGH_TRACKER, "1") };
    if let Err(error) = kept {
        web_sys::console::warn_1(&error);
    }
}

/// Hands a file to the browser to save it.
pub(crate) fn save(file: &File, name: &str) -> Result<(), JsValue> {
    let address = Url::create_object_url_with_blob(file)?;
    let anchor: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    anchor.set_href(&address);
    anchor.set_download(name);
    anchor.click();
    set_timeout(
        move || {
            // Fails only for an address that was never made.
            let _ = Url::revoke_object_url(&address);
        },
        SAVE_ADDRESS_LIFE,
    );
    Ok(())
}

/// Moves the keyboard's focus, where the element with it is about to go away.
pub(crate) fn focus(element: &HtmlElement) {
    if let Err(error) = element.focus() {
        web_sys::console::error_1(&error);
    }
}

/// The files of a list.
pub(crate) fn files_of(list: &FileList) -> Vec<File> {
    (0..list.length()).filter_map(|index| list.get(index)).collect()
}
