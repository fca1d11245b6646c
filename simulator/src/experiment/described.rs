//! A description in a line of words.

use super::{Breaks, Scenario};
use crate::units::{counted, shown_rate, shown_size, shown_time};

impl Scenario {
    /// What is there and what goes wrong, in one line; what is as usual is left out.
    pub fn described(&self) -> String {
        let mut parts = vec![
            format!("{}, {}", counted(self.seeds as u64, "seed"), counted(self.peers as u64, "peer")),
            format!(
                "{} in {} of {}",
                shown_size(self.size),
                counted(self.blocks(), "block"),
                shown_size(self.block_size().bytes().into())
            ),
            format!("{} up, {} down, seed {} up", shown_rate(self.up), shown_rate(self.down), shown_rate(self.seed_up)),
            format!("{} ± {}", shown_time(self.latency), shown_time(self.jitter)),
        ];
        if self.classes.len() > 1 {
            let classes: Vec<_> = self.classes.iter().map(f64::to_string).collect();
            parts.push(format!("classes {}", classes.join(" ")));
        }
        parts.extend(self.relay.map(|relay| format!("relay {}", shown_rate(relay))));
        if !self.joins_within.is_zero() {
            parts.push(format!("joining within {}", shown_time(self.joins_within)));
        }
        for (share, what) in [(self.leavers, "leave"), (self.free_riders, "ride free"), (self.liars, "lie")] {
            if share > 0.0 {
                parts.push(format!("{:.0} % {what}", share * 100.0));
            }
        }
        if let Some(Breaks { most, shortest, longest, .. }) = self.breaks {
            let times = counted(most.into(), "time");
            parts.push(format!("lines break up to {times} for {} to {}", shown_time(shortest), shown_time(longest)));
        }
        if self.refused > 0 {
            parts.push(format!("{:.1} % refused", f64::from(self.refused) / 10.0));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_usual_is_left_out() {
        let usual = "1 seed, 1,000 peers; 64 MiB in 1,024 blocks of 64 KiB; 10 Mbit/s up, 40 Mbit/s down, seed 10 Mbit/s up; \
                     25 ms ± 10 ms";
        assert_eq!(Scenario::default().described(), usual);
        let scenario = Scenario { leavers: 0.3, refused: 5, classes: vec![1.0, 0.2], ..Scenario::default() };
        assert_eq!(scenario.described(), format!("{usual}; classes 1 0.2; 30 % leave; 0.5 % refused"));
    }
}
