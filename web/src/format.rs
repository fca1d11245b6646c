//! Numbers, sizes, rates and durations as people of the language write them.

use crate::texts::{Texts, fill};

/// Between a number and its unit; a line is never broken there.
const SPACE: char = '\u{a0}';

/// A whole number with its thousands grouped.
pub(crate) fn integer(number: u64, texts: &Texts) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(texts.number.group);
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in decimal units, as discs and networks are sold and file managers show.
pub(crate) fn size(bytes: u64, texts: &Texts) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut length = 1;
    // 999.5 of a unit would round to 1000 of it and is 1 of the next.
    while unit + 1 < UNITS.len() && u128::from(bytes) * 2 >= length * 1_999 {
        length *= 1_000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + length / 2) / length;
    let unit = UNITS[unit];
    if tenths >= 1_000 || tenths % 10 == 0 {
        let whole = u64::try_from((u128::from(bytes) + length / 2) / length).unwrap_or(u64::MAX);
        format!("{}{SPACE}{unit}", integer(whole, texts))
    } else {
        format!("{}{}{}{SPACE}{unit}", tenths / 10, texts.number.decimal, tenths % 10)
    }
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, texts: &Texts) -> String {
    format!("{}/s", size(bytes, texts))
}

/// A duration in its two largest units.
pub(crate) fn duration(seconds: u64, texts: &Texts) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = UNITS.iter().position(|&(length, _)| seconds >= length).unwrap_or(UNITS.len() - 1);
    let mut parts = Vec::with_capacity(2);
    let mut rest = seconds;
    for &(length, unit) in UNITS.iter().skip(first).take(2) {
        let count = rest / length;
        rest %= length;
        if count > 0 || parts.is_empty() {
            parts.push(format!("{}{SPACE}{unit}", integer(count, texts)));
        }
    }
    parts.join(" ")
}

/// The whole percent that are done; 100 only when all is.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    let done = done.min(total);
    u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(100)
}

/// What a file is called whose name nobody has told yet.
pub(crate) fn unknown_file(id: &str, texts: &Texts) -> String {
    fill(&texts.files.unknown, &[("id", &format!("{id:.8}…"))])
}

/// A percentage as text.
pub(crate) fn percentage(percent: u64) -> String {
    format!("{percent}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;

    fn check(format: fn(u64, &Texts) -> String, cases: &[(u64, &str, &str)]) {
        for &(value, english, portuguese) in cases {
            let plain = |locale: Locale| format(value, locale.texts()).replace(SPACE, " ");
            assert_eq!(plain(Locale::English), english);
            assert_eq!(plain(Locale::BrazilianPortuguese), portuguese);
        }
    }

    #[test]
    fn thousands_are_grouped() {
        check(integer, &[(0, "0", "0"), (999, "999", "999"), (32_768, "32,768", "32.768")]);
        check(integer, &[(1_234_567, "1,234,567", "1.234.567"), (100_000, "100,000", "100.000")]);
    }

    #[test]
    fn sizes_have_two_or_three_digits_and_never_a_thousand_of_a_unit() {
        check(size, &[(0, "0 B", "0 B"), (999, "999 B", "999 B"), (1_000, "1 kB", "1 kB")]);
        check(size, &[(1_549, "1.5 kB", "1,5 kB"), (52_428_800, "52.4 MB", "52,4 MB")]);
        check(size, &[(999_499, "999 kB", "999 kB"), (999_500, "1 MB", "1 MB"), (524_288_000, "524 MB", "524 MB")]);
        check(size, &[(2_147_483_648, "2.1 GB", "2,1 GB"), (123_456_789_000_000, "123 TB", "123 TB")]);
        check(rate, &[(47_000_000, "47 MB/s", "47 MB/s")]);
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        check(duration, &[(0, "0 s", "0 s"), (59, "59 s", "59 s"), (60, "1 min", "1 min")]);
        check(duration, &[(200, "3 min 20 s", "3 min 20 s"), (7_500, "2 h 5 min", "2 h 5 min")]);
        check(duration, &[(86_400 * 1_234, "1,234 d", "1.234 d"), (3_605, "1 h", "1 h")]);
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(percent(0, 10), 0);
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(10, 10), 100);
        assert_eq!(percent(11, 10), 100);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
