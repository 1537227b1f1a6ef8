//! See `corelane_format::fuzzing::fuzz_validate_batch`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_format::fuzzing::fuzz_validate_batch(data));
