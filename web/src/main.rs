//! The page's entry point; `trunk` builds it for wasm32.

fn main() {
    #[cfg(target_arch = "wasm32")]
    web::start();
}
