//! The worker of a browser tab; `trunk` builds it for wasm32.

fn main() {
    #[cfg(target_arch = "wasm32")]
    peer_wasm::browser::start();
}
