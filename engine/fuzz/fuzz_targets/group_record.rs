//! See `corelane_engine::fuzzing::fuzz_group_record`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_engine::fuzzing::fuzz_group_record(data));
