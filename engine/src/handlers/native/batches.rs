//! Conversions at the edge: between what a client speaks and what a topic stores, when they differ.
//!
//! Nothing is lost either way but the compression of Kafka batches, which native batches do not have. Everything here is
//! per record; topics in the format of their clients pay none of it.

use corelane_format::ids::Offset;
use corelane_format::kafka::compression::decompressed;
use corelane_format::kafka::{BatchBuilder, DecompressLimits, StoredBatch, stored_batches};
use corelane_format::native::{NativeBatch, NativeBatchBuilder, kafka_to_native, native_to_kafka};
use corelane_net::error_code::ErrorCode;

/// A stretch of converted batches.
pub(in crate::handlers) struct Converted {
    /// Whole batches.
    pub(in crate::handlers) bytes: Vec<u8>,
    /// How many.
    pub(in crate::handlers) batches: u64,
    /// The offset after the last of them.
    pub(in crate::handlers) next_offset: Offset,
}

/// Turns stored Kafka batches to native ones, one after the other until `bytes_max` would be exceeded, at least one.
/// Control batches and batches that compaction has emptied are left out; `next_offset` passes over them.
///
/// # Errors
/// A batch cannot be read.
pub(in crate::handlers) fn native_from_kafka<'a>(
    slices: impl IntoIterator<Item = &'a [u8]>,
    from: Offset,
    bytes_max: usize,
) -> Result<Converted, ErrorCode> {
    let mut builder = NativeBatchBuilder::new();
    let mut converted = Converted {
        bytes: Vec::new(),
        batches: 0,
        next_offset: from,
    };
    for slice in slices {
        for stored in stored_batches(slice) {
            let stored = stored.map_err(|_| ErrorCode::CorruptMessage)?;
            let header = stored.header();
            if !header.attributes.is_control() && header.records_count > 0 {
                let bytes = native_batch(&stored, &mut builder)?;
                let size_bytes = converted.bytes.len() + bytes.len();
                if converted.batches > 0 && size_bytes > bytes_max {
                    return Ok(converted);
                }
                converted.bytes.extend_from_slice(bytes);
                converted.batches += 1;
            }
            converted.next_offset = header.last_offset().plus(1);
        }
    }
    Ok(converted)
}

fn native_batch<'b>(
    stored: &StoredBatch<'_>,
    builder: &'b mut NativeBatchBuilder,
) -> Result<&'b [u8], ErrorCode> {
    let header = stored.header();
    let codec = header
        .attributes
        .compression()
        .map_err(|_| ErrorCode::CorruptMessage)?;
    let section = decompressed(codec, stored.records_section(), DecompressLimits::default())
        .map_err(|_| ErrorCode::CorruptMessage)?;
    kafka_to_native(header, &section, builder).map_err(|_| ErrorCode::CorruptMessage)
}

/// Turns a native batch to a Kafka one, uncompressed.
///
/// # Errors
/// A record cannot be read, or the result is too large for a Kafka batch.
pub(in crate::handlers) fn kafka_from_native(
    batch: &NativeBatch<'_>,
) -> Result<Vec<u8>, ErrorCode> {
    let mut out = Vec::with_capacity(batch.bytes().len());
    native_to_kafka(batch, &mut BatchBuilder::new(), &mut out)
        .map_err(|_| ErrorCode::InvalidRecord)?;
    Ok(out)
}
