//! Telling people what was measured.

use crate::rows::{Reach, Row};
use tests::figures::Figures;

/// Prints the table in Markdown.
pub(crate) fn print(rows: &[Row], figures: &Figures) {
    println!("\n| row | what | to reach | measured | |\n|---|---|---|---|---|");
    for Row { name, what, reach } in rows {
        let Some(value) = figures.get(name) else { continue };
        let wanted = match reach {
            Reach::AtLeast(limit) => format!("≥ {limit}"),
            Reach::AtMost(limit) => format!("≤ {limit}"),
            Reach::Anything => "–".to_owned(),
        };
        let verdict = if reach.is_reached(value) { "met" } else { "**missed**" };
        println!("| `{name}` | {what} | {wanted} | {value:.2} | {verdict} |");
    }
}
