//! What changes with time.

use super::{Area, BLUE, GRID, INK, VERMILION, failed, text};
use crate::summary;
use anyhow::Result;
use peer_wasm::Instant;
use plotters::{coord::types::RangedCoordf64, element::DashedPathElement, prelude::*, series::DashedLineSeries};
use simulator::{
    experiment::{Outcome, Sample, Scenario},
    units::shown_time,
};

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Points = Vec<(f64, f64)>;

/// The share of peers that are complete, and of blocks that they hold.
pub(super) fn completion(area: &Area<'_>, scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let (bound, name) = summary::bound(scenario, outcome);
    let label = format!("{name}: {}", shown_time(bound));
    let bound = bound.as_secs_f64();
    let end = outcome.ended.since_start().as_secs_f64().max(bound) * 1.03;
    let mut chart = chart(area, "How far everyone is", "per cent", end, 105.0)?;

    let held = outcome.samples.iter().map(|sample| (seconds(sample.at), sample.held * 100.0)).collect();
    line(&mut chart, "blocks held, of all that those present need", VERMILION, held)?;
    line(&mut chart, complete_label(outcome), BLUE, completed(outcome))?;

    let upright = DashedLineSeries::new([(bound, 0.0), (bound, 105.0)], 6, 5, INK.stroke_width(2));
    let legend = |(x, y)| DashedPathElement::new([(x, y), (x + 24, y)], 6, 5, INK.stroke_width(2));
    chart.draw_series(upright).map_err(failed)?.label(label).legend(legend);
    finish(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// Copies of the rarest block, and of a block on average.
pub(super) fn rarity(area: &Area<'_>, scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let end = outcome.ended.since_start().max(summary::bound(scenario, outcome).0).as_secs_f64() * 1.03;
    let most = outcome.samples.iter().map(|sample| sample.mean_copies).fold(1.0, f64::max) * 1.05;
    let mut chart = chart(area, "How rare blocks are", "copies of a block, the seed's among them", end, most)?;
    let points = |copies: fn(&Sample) -> f64| -> Points {
        outcome.samples.iter().map(|sample| (seconds(sample.at), copies(sample))).collect()
    };
    line(&mut chart, "copies of a block on average", VERMILION, points(|sample| sample.mean_copies))?;
    line(&mut chart, "copies of the rarest block", BLUE, points(|sample| f64::from(sample.fewest_copies)))?;
    finish(&mut chart, SeriesLabelPosition::UpperLeft)
}

fn chart<'a, 'b>(area: &'a Area<'b>, title: &str, unit: &str, end: f64, most: f64) -> Result<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(24)
        .caption(title, text(18))
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end.max(f64::MIN_POSITIVE), 0.0..most)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("seconds since the seed came").y_desc(unit).label_style(text(13)).axis_desc_style(text(14));
    mesh.x_label_formatter(&shown).y_label_formatter(&shown);
    mesh.x_labels(12).y_labels(6).axis_style(INK).bold_line_style(GRID).light_line_style(TRANSPARENT);
    mesh.draw().map_err(failed)?;
    Ok(chart)
}

fn line(chart: &mut Chart<'_, '_>, label: &'static str, color: RGBColor, points: Points) -> Result<()> {
    let legend = move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3));
    let series = LineSeries::new(points, color.stroke_width(3));
    chart.draw_series(series).map_err(failed)?.label(label).legend(legend);
    Ok(())
}

fn finish<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Result<()> {
    let mut labels = chart.configure_series_labels();
    labels.position(position).margin(14).legend_area_size(32).label_font(text(14));
    labels.background_style(WHITE.mix(0.9)).border_style(GRID).draw().map_err(failed)
}

/// Steps up at every completion.
fn completed(outcome: &Outcome) -> Points {
    let awaited = outcome.survivors().count().max(1) as f64;
    let mut points = vec![(0.0, 0.0)];
    for (before, time) in outcome.completions().into_iter().enumerate() {
        points.push((seconds(time), before as f64 / awaited * 100.0));
        points.push((seconds(time), (before + 1) as f64 / awaited * 100.0));
    }
    let reached = points.last().map_or(0.0, |last| last.1);
    points.push((seconds(outcome.ended), reached));
    points
}

fn complete_label(outcome: &Outcome) -> &'static str {
    if outcome.survivors().count() == outcome.fetchers.len() {
        "peers complete"
    } else {
        "peers complete, of those that serve and stay"
    }
}

/// A label of an axis, without what binary fractions add.
fn shown(value: &f64) -> String {
    ((value * 1e3).round() / 1e3).to_string()
}

fn seconds(at: Instant) -> f64 {
    at.since_start().as_secs_f64()
}
