//! See `corelane_format::fuzzing::fuzz_records`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_format::fuzzing::fuzz_records(data));
