//! Real tabs, a real tracker and the built page, used as a person would.

mod direct;
mod foreign;
mod leaving;
mod page;
mod sharing;
