//! Sizes, rates and times as people write them, in both directions.

use std::{fmt::Write as _, time::Duration};

const SIZES: [(&str, f64); 9] = [
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("KB", 1e3),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
    ("", 1.0),
];
/// In bytes per second.
const RATES: [(&str, f64); 7] = [
    ("kbit/s", 125.0),
    ("Mbit/s", 125e3),
    ("Gbit/s", 125e6),
    ("kbit", 125.0),
    ("Mbit", 125e3),
    ("Gbit", 125e6),
    ("", 125e3),
];
const TIMES: [(&str, f64); 3] = [("ms", 1e-3), ("s", 1.0), ("min", 60.0)];
/// The most of anything, so that it fits into every type it becomes.
const MOST: f64 = 1e15;

/// Bytes, as in `64MiB`.
///
/// # Errors
/// What was expected.
pub fn size(text: &str) -> Result<u64, String> {
    Ok(parsed(text, &SIZES, "a size such as 64MiB")? as u64)
}

/// Bytes per second, as in `10Mbit/s`; a number alone is in Mbit/s.
///
/// # Errors
/// What was expected.
pub fn rate(text: &str) -> Result<u64, String> {
    Ok(parsed(text, &RATES, "a rate such as 10Mbit/s")? as u64)
}

/// A time, as in `25ms`.
///
/// # Errors
/// What was expected.
pub fn time(text: &str) -> Result<Duration, String> {
    let wanted = "a time such as 25ms or 10s";
    Duration::try_from_secs_f64(parsed(text, &TIMES, wanted)?).map_err(|_| format!("expected {wanted}"))
}

/// A share from 0 to 1, as in `0.3` or `30%`.
///
/// # Errors
/// What was expected.
pub fn share(text: &str) -> Result<f64, String> {
    let share = parsed(text, &[("%", 0.01), ("", 1.0)], "a share such as 0.3 or 30%")?;
    if share <= 1.0 { Ok(share) } else { Err("a share is at most 1, or 100%".to_owned()) }
}

fn parsed(text: &str, units: &[(&str, f64)], wanted: &str) -> Result<f64, String> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| factor);
    match (number.parse::<f64>(), factor) {
        (Ok(number), Some(factor)) if number * factor <= MOST => Ok(number * factor),
        (Ok(_), Some(_)) => Err("that is too much".to_owned()),
        _ => Err(format!("expected {wanted}")),
    }
}

/// Bytes with a unit.
pub fn shown_size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, factor)| bytes >= *factor);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, factor)| format!("{} {name}", shown(bytes as f64 / factor as f64)),
    )
}

/// Bytes per second as bits per second.
pub fn shown_rate(bytes_per_second: u64) -> String {
    let bits = bytes_per_second as f64 * 8.0;
    if bits < 1e6 { format!("{} kbit/s", shown(bits / 1e3)) } else { format!("{} Mbit/s", shown(bits / 1e6)) }
}

/// A time in seconds, or in what it is a few of.
pub fn shown_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1e-3 {
        format!("{} µs", shown(seconds * 1e6))
    } else if seconds < 1.0 {
        format!("{} ms", shown(seconds * 1e3))
    } else {
        format!("{} s", shown(seconds))
    }
}

/// So many of a thing, in groups of three digits.
pub fn counted(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", shown_count(count), if count == 1 { "" } else { "s" })
}

fn shown_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        let separator = if place > 0 && (digits.len() - place).is_multiple_of(3) { "," } else { "" };
        let _ = write!(text, "{separator}{digit}");
    }
    text
}

/// A number with one decimal, unless it is whole.
fn shown(number: f64) -> String {
    let number = (number * 10.0).round() / 10.0;
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("1000"), Ok(1_000));
        assert_eq!(rate("10"), Ok(1_250_000));
        assert_eq!(rate("800kbit/s"), Ok(100_000));
        assert_eq!(time("25ms"), Ok(Duration::from_millis(25)));
        assert_eq!(share("30%"), Ok(0.3));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "MiB", "-1MiB", "1e400", "NaN", "64 parsecs", "9999999999999GiB", "1.2.3MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(rate("10Mbit/h").is_err());
        assert!(time("25").is_err(), "no unit");
        assert!(share("1.1").is_err());
        assert!(share("120%").is_err());
    }

    #[test]
    fn quantities_are_shown_as_people_write_them() {
        assert_eq!(shown_size(64 << 20), "64 MiB");
        assert_eq!(shown_size(1_536), "1.5 KiB");
        assert_eq!(shown_rate(1_250_000), "10 Mbit/s");
        assert_eq!(shown_time(Duration::from_millis(25)), "25 ms");
        assert_eq!(shown_time(Duration::from_micros(2)), "2 µs");
        assert_eq!(counted(1_234_567, "peer"), "1,234,567 peers");
        assert_eq!(counted(1, "peer"), "1 peer");
    }
}
