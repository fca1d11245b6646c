//! The picture of a run: three panels, one below the other.

mod curves;
mod givers;

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};
use simulator::experiment::{Outcome, Scenario};
use std::fmt::Display;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels of the whole picture, of its title, and of each panel.
const WIDTH: u32 = 960;
const TITLE_HEIGHT: u32 = 70;
const CURVES_HEIGHT: u32 = 360;
const GIVERS_HEIGHT: u32 = 780;

/// Colours that stay apart for every kind of colour vision (Okabe and Ito 2008).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";

/// Draws the run as an SVG document.
///
/// # Errors
/// Drawing into memory fails only by a bug.
pub(crate) fn draw(title: &[String; 2], scenario: &Scenario, outcome: &Outcome) -> Result<String> {
    let mut svg = String::new();
    let height = TITLE_HEIGHT + 2 * CURVES_HEIGHT + GIVERS_HEIGHT;
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (head, rest) = root.split_vertically(TITLE_HEIGHT);
        let (completion, rest) = rest.split_vertically(CURVES_HEIGHT);
        let (rarity, who) = rest.split_vertically(CURVES_HEIGHT);
        head.draw(&Text::new(title[0].as_str(), (20, 16), text(24))).map_err(failed)?;
        head.draw(&Text::new(title[1].as_str(), (20, 47), text(14))).map_err(failed)?;
        curves::completion(&completion, scenario, outcome)?;
        curves::rarity(&rarity, scenario, outcome)?;
        givers::draw(&who, scenario, outcome)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

fn failed(error: impl Display) -> anyhow::Error {
    anyhow!("{error}")
}
