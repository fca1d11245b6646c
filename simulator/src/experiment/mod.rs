//! A swarm described, run, and what came of it.
//!
//! | file | what it owns |
//! |---|---|
//! | `scenario` | the description: who is there, with which lines, and what they do |
//! | `check` | what a description may ask for |
//! | `anywhere` | descriptions drawn by number, of whatever may be |
//! | `described` | a description in a line of words |
//! | `plan` | what is drawn from the seed before the run: lines, roles, joins and leaves |
//! | `run` | the run |
//! | `outcome` | what came of it, peer by peer and second by second, and the figures made of that |
//! | `bounds` | how fast it can be at best |

mod anywhere;
mod bounds;
mod check;
mod described;
mod outcome;
mod plan;
mod run;
mod scenario;

pub use check::Unusable;
pub use outcome::{At95, Fetcher, FirstCopy, Outcome, Sample};
pub use plan::Role;
pub use scenario::{Afterwards, Arrivals, Breaks, Newcomers, Scenario, View, mbit};

#[cfg(test)]
mod tests;
