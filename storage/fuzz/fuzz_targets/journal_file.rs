//! See `corelane_storage::fuzzing::fuzz_journal_file`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| corelane_storage::fuzzing::fuzz_journal_file(data));
