#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| steelyard_fuzz::properties::http3_stream(data));
