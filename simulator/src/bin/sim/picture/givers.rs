//! Who gave whom.

use super::{Area, GRID, INK, failed, text};
use anyhow::Result;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use simulator::experiment::{Outcome, Role, Scenario};

/// The most rows and columns; more peers are put together in groups.
const MOST_GROUPS: usize = 60;
/// Pixels around the squares, and the largest extent of them.
const LEFT: i32 = 96;
const TOP: i32 = 84;
const EXTENT: i32 = 620;
/// From white to dark blue, even in lightness, as in ColorBrewer's Blues (Harrower and Brewer 2003).
const SHADES: [(u8, u8, u8); 6] =
    [(255, 255, 255), (198, 219, 239), (158, 202, 225), (66, 146, 198), (8, 81, 156), (8, 40, 90)];

/// What each group's members received from each group, as parts of what they received in all.
struct Matrix {
    /// The seeds' group is the first giver; `parts[giver][receiver]`.
    parts: Vec<Vec<f64>>,
    /// The first peer of each group of receivers, counted from one.
    first: Vec<usize>,
    fetchers: usize,
}

pub(super) fn draw(area: &Area<'_>, scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let order = in_order(outcome);
    let matrix = Matrix::of(&order, scenario, outcome);
    let most = matrix.parts.iter().flatten().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let side = (EXTENT / matrix.parts.len() as i32).max(1);
    let centred = |size| text(size).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new("Who gave whom", (area.dim_in_pixel().0 as i32 / 2, 24), centred(18))).map_err(failed)?;
    area.draw(&Text::new(explained(&order, &matrix, outcome), (LEFT, 48), text(13))).map_err(failed)?;

    for (row, parts) in (0..).zip(&matrix.parts) {
        // A gap sets the seeds apart.
        let y = TOP + row * side + if row > 0 { 4 } else { 0 };
        for (column, part) in (0..).zip(parts).filter(|(_, part)| **part > 0.0) {
            let x = LEFT + column * side;
            area.draw(&Rectangle::new([(x, y), (x + side, y + side)], shade(part / most).filled())).map_err(failed)?;
        }
    }
    draw_axes(area, &matrix, side)?;
    draw_scale(area, most)
}

/// The fetchers' numbers in the order of the picture: those that serve and stay, then each other kind.
fn in_order(outcome: &Outcome) -> Vec<usize> {
    let mut order: Vec<usize> = (1..=outcome.fetchers.len()).collect();
    order.sort_by_key(|&number| rank(outcome.fetchers[number - 1].role));
    order
}

const fn rank(role: Role) -> u8 {
    match role {
        Role::Contributor | Role::Newcomer | Role::Arrival => 0,
        Role::Leaver => 1,
        Role::FreeRider => 2,
        Role::Liar => 3,
    }
}

fn explained(order: &[usize], matrix: &Matrix, outcome: &Outcome) -> String {
    let mut explained = String::from("Dark: much of what the column's peer has came from the row's peer.");
    let size = order.len().div_ceil(matrix.first.len().max(1));
    if size > 1 {
        explained = format!("Dark: much of what the column's {size} peers have came from the row's.");
    }
    explained += " In order of joining";
    let kinds = [(Role::Leaver, "that left"), (Role::FreeRider, "that serve nobody"), (Role::Liar, "that lie")];
    for (role, what) in kinds {
        let count = outcome.fetchers.iter().filter(|fetcher| fetcher.role == role).count();
        if count > 0 {
            explained += &format!(", then the {count} {what}");
        }
    }
    explained + "."
}

impl Matrix {
    fn of(order: &[usize], scenario: &Scenario, outcome: &Outcome) -> Self {
        let size = order.len().div_ceil(MOST_GROUPS).max(1);
        let groups = order.len().div_ceil(size);
        let mut group_of = vec![0; order.len() + 1];
        let mut members = vec![0_u64; groups];
        for (place, &number) in order.iter().enumerate() {
            group_of[number] = place / size + 1;
            members[place / size] += 1;
        }
        let mut parts = vec![vec![0.0; groups]; groups + 1];
        for (number, fetcher) in (1..).zip(&outcome.fetchers) {
            let column = group_of[number] - 1;
            for (&giver, &bytes) in &fetcher.record.received_from {
                // The seeds have the first numbers, and one group.
                let giver = group_of[(giver + 1).saturating_sub(scenario.seeds)];
                parts[giver][column] += bytes as f64 / (scenario.size * members[column]) as f64;
            }
        }
        Self { parts, first: (0..groups).map(|group| group * size + 1).collect(), fetchers: order.len() }
    }
}

fn draw_axes(area: &Area<'_>, matrix: &Matrix, side: i32) -> Result<()> {
    let groups = matrix.first.len() as i32;
    let (right, bottom) = (LEFT + groups * side, TOP + 4 + (groups + 1) * side);
    let frame = |top, bottom| Rectangle::new([(LEFT, top), (right, bottom)], ShapeStyle::from(GRID));
    area.draw(&frame(TOP, TOP + side)).map_err(failed)?;
    area.draw(&frame(TOP + 4 + side, bottom)).map_err(failed)?;

    let beside = text(12).pos(Pos::new(HPos::Right, VPos::Center));
    let below = text(12).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new("seed", (LEFT - 8, TOP + side / 2), beside.clone())).map_err(failed)?;
    let every = matrix.first.len().div_ceil(12).max(1);
    for (group, first) in matrix.first.iter().enumerate().step_by(every) {
        let middle = group as i32 * side + side / 2;
        area.draw(&Text::new(first.to_string(), (LEFT - 8, TOP + 4 + side + middle), beside.clone()))
            .map_err(failed)?;
        area.draw(&Text::new(first.to_string(), (LEFT + middle, bottom + 6), below.clone())).map_err(failed)?;
    }
    let middle = (LEFT + right) / 2;
    let numbered = format!("peer that received, from 1 to {}", matrix.fetchers);
    area.draw(&Text::new(numbered, (middle, bottom + 26), below.clone())).map_err(failed)?;
    let upright = text(14).pos(Pos::new(HPos::Center, VPos::Top)).transform(FontTransform::Rotate270);
    area.draw(&Text::new("peer that gave", (24, (TOP + bottom) / 2), upright)).map_err(failed)
}

/// The colours and what they mean.
fn draw_scale(area: &Area<'_>, most: f64) -> Result<()> {
    const STEPS: i32 = 100;
    const STEP: i32 = 3;
    let x = LEFT + EXTENT + 40;
    let bottom = TOP + STEPS * STEP;
    for step in 0..STEPS {
        let y = bottom - (step + 1) * STEP;
        let color = shade(f64::from(step) / f64::from(STEPS - 1));
        area.draw(&Rectangle::new([(x, y), (x + 20, y + STEP)], color.filled())).map_err(failed)?;
    }
    area.draw(&Rectangle::new([(x, TOP), (x + 20, bottom)], ShapeStyle::from(INK))).map_err(failed)?;
    let style = text(12).pos(Pos::new(HPos::Left, VPos::Center));
    for quarter in 0..=4 {
        let y = bottom - STEPS * STEP * quarter / 4;
        let part = most * f64::from(quarter) / 4.0 * 100.0;
        area.draw(&Text::new(format!("{part:.1} %"), (x + 28, y), style.clone())).map_err(failed)?;
    }
    for (line, words) in (0..).zip(["of the receiver's", "file came from", "this giver"]) {
        area.draw(&Text::new(words, (x, bottom + 20 + line * 17), text(12))).map_err(failed)?;
    }
    Ok(())
}

fn shade(part: f64) -> RGBColor {
    let place = part.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64;
    let index = (place as usize).min(SHADES.len() - 2);
    let (from, to) = (SHADES[index], SHADES[index + 1]);
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * (place - index as f64)) as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulator::{Record, experiment::Fetcher};

    #[test]
    fn many_peers_are_put_together() {
        let scenario = Scenario { peers: 120, size: 100, ..Scenario::default() };
        let fetcher = |number: usize| Fetcher {
            record: Record { received_from: [(0, 40), (number % 120 + 1, 60)].into(), ..Record::default() },
            ..Fetcher::default()
        };
        let outcome = Outcome { fetchers: (1..=120).map(fetcher).collect(), ..Outcome::default() };
        let matrix = Matrix::of(&in_order(&outcome), &scenario, &outcome);
        assert_eq!((matrix.parts.len(), matrix.first[1]), (61, 3));
        assert!(matrix.parts[0].iter().all(|part| (part - 0.4).abs() < 1e-9), "the seed gave 40 % to each");
        for column in 0..60 {
            let sum: f64 = matrix.parts.iter().map(|row| row[column]).sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn more_is_darker() {
        let brightness = |part| {
            let RGBColor(red, green, blue) = shade(part);
            u32::from(red) + u32::from(green) + u32::from(blue)
        };
        assert!((0..20).all(|step| brightness(f64::from(step) / 20.0) > brightness(f64::from(step + 1) / 20.0)));
    }
}
