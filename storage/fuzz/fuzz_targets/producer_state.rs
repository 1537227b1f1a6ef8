//! See `corelane_storage::fuzzing::fuzz_producer_state`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_storage::fuzzing::fuzz_producer_state(data));
