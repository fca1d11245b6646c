// Starts the worker's wasm. A failure is thrown again outside the promise, where it becomes the worker's `error` event.
importScripts("worker.js");
wasm_bindgen({ module_or_path: "worker_bg.wasm" }).catch((error) => setTimeout(() => { throw error; }));
