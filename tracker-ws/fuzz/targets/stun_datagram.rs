#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracker_ws::fuzzing::stun_datagram(data));
