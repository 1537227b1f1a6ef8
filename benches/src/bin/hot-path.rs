//! Takes the hot steps a given number of times, for a profiler to count what that takes: `hot-path produce|fetch REQUESTS`.
//!
//! Requests of 100-byte records in batches of 16 KiB. Prints how many records and bytes a request has. The difference of
//! two runs with different REQUESTS is what the requests cost, whatever start and end take.

use anyhow::{Context, bail, ensure};
use corelane_benches::requests::{batch, fetch_frame, produce_frame, records_of};
use corelane_benches::steps::HotSteps;
use corelane_format::ids::Offset;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORD_SIZE_BYTES: usize = 100;
const BATCH_SIZE_BYTES: usize = 16 << 10;
/// Batches that a fetch finds in memory.
const FETCHED_BATCHES: usize = 4;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [step, requests] = &arguments[..] else {
        bail!("usage: hot-path produce|fetch REQUESTS");
    };
    let requests: usize = requests.parse().context("REQUESTS is a number")?;
    let records = records_of(BATCH_SIZE_BYTES, RECORD_SIZE_BYTES);
    let produced = produce_frame(batch(records, RECORD_SIZE_BYTES))?;
    let mut steps = HotSteps::new()?;
    match step.as_str() {
        "produce" => {
            for _ in 0..requests {
                steps.produce(&produced)?;
            }
            let expected = Offset::new(i64::try_from(requests * records)?);
            ensure!(
                steps.log().readable_offset() == expected,
                "not everything was appended"
            );
            println!("records {records} bytes {}", produced.len());
        }
        "fetch" => {
            for _ in 0..FETCHED_BATCHES {
                steps.produce(&produced)?;
            }
            let frame = fetch_frame(Offset::ZERO, i32::MAX)?;
            let mut size_bytes = 0;
            for _ in 0..requests {
                size_bytes = steps.fetch(&frame)?;
            }
            println!("records {} bytes {size_bytes}", FETCHED_BATCHES * records);
        }
        _ => bail!("the steps are produce and fetch"),
    }
    Ok(())
}
