//! gzip (RFC 1952), several members in a row included.
//!
//! The format does not declare its size in a place that can be trusted, so the output grows as it comes.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Failure, reserve};

/// What a first guess at the output never exceeds.
const FIRST_BYTES_MAX: usize = 256 << 10;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(input).ok()?;
    encoder.finish().ok()?;
    Some(())
}

pub(super) fn decompress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut decoder = MultiGzDecoder::new(input);
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // One byte beyond the limit, to tell an output that ends there from one that goes on.
            let next = (filled * 2).max(input.len().saturating_mul(4).clamp(512, FIRST_BYTES_MAX));
            let next = next.min(limit + 1);
            reserve(out, next - filled)?;
            out.resize(next, 0);
        }
        match decoder.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(_) => return Err(Failure::Damaged("not a gzip stream")),
        }
        if filled > limit {
            return Err(Failure::TooLarge);
        }
    }
    out.truncate(filled);
    Ok(())
}
