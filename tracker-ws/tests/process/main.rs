//! The tracker as a process of its own: its signals, and its sudden end.
#![cfg(unix)]

mod restart;
mod signals;
mod tracker;
