//! The worker of a browser tab; `trunk` builds it for wasm32.

fn main() {}
