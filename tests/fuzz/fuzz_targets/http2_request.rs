//! `outrigger_proxy::fuzzing::http2_request`, where what must hold is written.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_proxy::fuzzing::http2_request(data));
