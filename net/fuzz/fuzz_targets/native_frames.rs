//! See `corelane_net::fuzzing::fuzz_native_frames`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_net::fuzzing::fuzz_native_frames(data));
