//! `outrigger_proxy::fuzzing::hpack`, where what must hold is written.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_proxy::fuzzing::hpack(data));
