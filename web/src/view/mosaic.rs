//! The block mosaic on a canvas.

use crate::{
    format,
    model::Model,
    mosaic::{self, Layout, Square},
    texts::fill,
};
use leptos::{html, prelude::*};
use peer_wasm::page::Transfer;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlElement, ResizeObserver};

/// The colours of the squares, from the style sheet.
struct Palette {
    missing: String,
    requested: String,
    storing: String,
    verified: String,
    surface: String,
}

/// One square per block or per few blocks, with a legend and the same in words.
#[component]
pub(crate) fn Mosaic(model: Model, transfer: RwSignal<Transfer>) -> impl IntoView {
    let canvas = NodeRef::<html::Canvas>::new();
    let width = RwSignal::new(0_u32);
    follow_width(canvas, width);
    Effect::new(move || {
        model.scheme.track();
        let (Some(canvas), width) = (canvas.get(), width.get()) else { return };
        if width > 0
            && let Err(error) = transfer.with(|transfer| draw(&canvas, &transfer.mosaic, width))
        {
            super::report(&error);
        }
    });
    let words = move || {
        let texts = model.texts();
        let (done, total) = transfer.with(|transfer| mosaic::verified(&transfer.mosaic));
        if total == 0 {
            return texts.transfers.no_mosaic.clone();
        }
        let (done, total) = (format::integer(done, texts), format::integer(total, texts));
        fill(&texts.transfers.mosaic, &[("done", &done), ("total", &total)])
    };
    let scale = Memo::new(move |_| {
        let blocks = transfer.with(|transfer| u32::try_from(transfer.mosaic.len()).unwrap_or(u32::MAX));
        Layout::fit(blocks, width.get()).blocks_per_square
    });
    let unknown = Memo::new(move |_| transfer.with(|transfer| transfer.mosaic.is_empty()));
    let legend = move |kind: &'static str, text: fn(&'static crate::texts::Texts) -> &'static String| {
        view! { <span><i class=kind></i>{model.text(text)}</span> }
    };
    view! {
        <div class="mosaic" hidden=unknown>
            <canvas role="img" aria-label=words node_ref=canvas></canvas>
            <p class="legend quiet" aria-hidden="true">
                {legend("missing", |texts| &texts.transfers.legend_missing)}
                {legend("requested", |texts| &texts.transfers.legend_requested)}
                {legend("storing", |texts| &texts.transfers.legend_storing)}
                {legend("verified", |texts| &texts.transfers.legend_verified)}
                <span>{move || {
                    let texts = model.texts();
                    texts.transfers.square.of(scale.get().into(), texts)
                }}</span>
            </p>
        </div>
    }
}

/// Keeps `width` at the canvas's width in CSS pixels.
fn follow_width(canvas: NodeRef<html::Canvas>, width: RwSignal<u32>) {
    Effect::new(move || {
        let Some(canvas) = canvas.get() else { return };
        let measure = {
            let canvas = canvas.clone();
            move || {
                let now = u32::try_from(canvas.client_width()).unwrap_or(0);
                if width.try_get_untracked().is_some_and(|before| before != now) {
                    width.set(now);
                }
            }
        };
        // Not at once: the drawing sets the canvas's height, which an observer must not do while it is called.
        let callback = Closure::<dyn FnMut()>::new(move || request_animation_frame(measure.clone()));
        match ResizeObserver::new(callback.as_ref().unchecked_ref()) {
            Ok(observer) => {
                observer.observe(&canvas);
                let kept = StoredValue::new_local(Some((observer, callback)));
                on_cleanup(move || {
                    if let Some(Some((observer, callback))) = kept.try_update_value(Option::take) {
                        observer.disconnect();
                        drop(callback);
                    }
                });
            }
            Err(error) => super::report(&error),
        }
    });
}

fn draw(canvas: &HtmlCanvasElement, blocks: &str, width: u32) -> Result<(), JsValue> {
    let layout = Layout::fit(u32::try_from(blocks.len()).unwrap_or(u32::MAX), width);
    let height = layout.height();
    let ratio = window().device_pixel_ratio();
    let scaled = |length: u32| (f64::from(length) * ratio).round() as u32;
    if (canvas.width(), canvas.height()) != (scaled(width), scaled(height)) {
        canvas.set_width(scaled(width));
        canvas.set_height(scaled(height));
        HtmlElement::style(canvas).set_property("height", &format!("{height}px"))?;
    }
    let Some(context) = canvas.get_context("2d")? else { return Ok(()) };
    let context: CanvasRenderingContext2d = context.unchecked_into();
    let palette = palette(canvas)?;
    context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0)?;
    context.clear_rect(0.0, 0.0, width.into(), height.into());
    for (square, index) in layout.squares(blocks).zip(0_u32..) {
        let (left, top) = layout.position(index);
        paint(&context, &palette, square, f64::from(left), f64::from(top), f64::from(layout.side));
    }
    Ok(())
}

/// Paints one square. The states differ by shape too: verified blocks fill it from the bottom, those being stored lie
/// on them as a paler layer, and a ringed dot in the middle is as large as the part that is requested.
fn paint(context: &CanvasRenderingContext2d, palette: &Palette, square: Square, left: f64, top: f64, side: f64) {
    let part = |count: u32| side * f64::from(count) / f64::from(square.blocks.max(1));
    let (verified, storing) = (part(square.verified), part(square.storing));
    context.set_fill_style_str(&palette.missing);
    context.fill_rect(left, top, side, side);
    if verified > 0.0 {
        context.set_fill_style_str(&palette.verified);
        context.fill_rect(left, top + side - verified, side, verified);
    }
    if storing > 0.0 {
        context.set_fill_style_str(&palette.storing);
        context.fill_rect(left, top + side - verified - storing, side, storing);
    }
    if square.requested > 0 {
        let part = f64::from(square.requested) / f64::from(square.blocks.max(1));
        let dot = (side * part.sqrt()).clamp(2.0, side / 2.0);
        let centred = |size: f64| context.fill_rect(left + (side - size) / 2.0, top + (side - size) / 2.0, size, size);
        context.set_fill_style_str(&palette.surface);
        centred(dot + 2.0);
        context.set_fill_style_str(&palette.requested);
        centred(dot);
    }
}

fn palette(canvas: &HtmlCanvasElement) -> Result<Palette, JsValue> {
    let style = window().get_computed_style(canvas)?.ok_or("the canvas has no style")?;
    let colour = |name: &str| style.get_property_value(name).map(|value| value.trim().to_owned());
    Ok(Palette {
        missing: colour("--block-missing")?,
        requested: colour("--block-requested")?,
        storing: colour("--block-storing")?,
        verified: colour("--block-verified")?,
        surface: colour("--surface")?,
    })
}
