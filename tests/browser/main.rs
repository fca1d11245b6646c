//! Real tabs, a real tracker and the built page, used as a person would.

mod leaving;
mod page;
mod sharing;
