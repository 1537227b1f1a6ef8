//! The records of a stored batch, whatever their codec.

use corelane_format::ids::Offset;
use corelane_format::kafka::{
    BatchError, BatchHeader, Compression, CompressionError, DecompressLimits, RecordError,
    StoredBatch, decompress, records,
};
use thiserror::Error;

use super::record_view::RecordView;

/// What a batch may decompress to: more than any broker accepts in a batch, and no danger to this machine.
const LIMITS: DecompressLimits = DecompressLimits {
    size_bytes_max: 1 << 30,
    ratio_max: 4096,
};

/// Why the records of a batch cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the batch at offset {base_offset} is damaged: {fault}")]
pub(crate) struct UnreadableBatch {
    base_offset: Offset,
    #[source]
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Fault {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Shows `visit` every record of `batch` at or after `from`, in order, until it says to stop by returning `false`.
///
/// The batch's checksum is checked first, each record when its turn comes: an error may follow records that were shown.
/// Returns whether all records were seen. `E` is whatever `visit` may fail with.
pub(crate) fn visit_records<E: From<UnreadableBatch>>(
    batch: &StoredBatch<'_>,
    from: Offset,
    mut visit: impl FnMut(RecordView<'_>) -> Result<bool, E>,
) -> Result<bool, E> {
    let header = batch.header();
    let unreadable = |fault: Fault| UnreadableBatch {
        base_offset: header.base_offset,
        fault,
    };
    batch
        .verify_crc()
        .map_err(|error| unreadable(error.into()))?;
    let section = section(header, batch.records_section()).map_err(unreadable)?;
    for record in records(header, &section) {
        let record = record.map_err(|error| unreadable(error.into()))?;
        let offset = header
            .base_offset
            .checked_plus(i64::from(record.offset_delta))
            .unwrap_or(Offset::new(i64::MAX));
        if offset < from {
            continue;
        }
        let go_on = visit(RecordView {
            topic: None,
            partition: None,
            offset,
            timestamp: record.timestamp,
            timestamp_type: header.attributes.timestamp_type(),
            key: record.key,
            value: record.value,
            headers: record.headers,
        })?;
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

fn section<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Fault> {
    match header.attributes.compression()? {
        Compression::None => Ok(bytes.into()),
        codec => Ok(decompress(codec, bytes, LIMITS)?.into()),
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::TimestampMs;
    use corelane_format::kafka::{BatchBuilder, stored_batches};

    use super::*;

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.compression(codec).base_offset(Offset::new(10));
        for index in 0..5_u8 {
            let value = [b'a' + index; 40];
            builder
                .append(TimestampMs::new(1), Some(&[index]), Some(&value), &[])
                .unwrap();
        }
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes).unwrap();
        bytes
    }

    fn offsets(bytes: &[u8], from: i64, stop_at: i64) -> Result<(Vec<i64>, bool), UnreadableBatch> {
        let batch = stored_batches(bytes).next().unwrap().unwrap();
        let mut seen = Vec::new();
        let all = visit_records::<UnreadableBatch>(&batch, Offset::new(from), |record| {
            seen.push(record.offset.get());
            assert_eq!(record.value.unwrap().len(), 40);
            Ok(record.offset.get() != stop_at)
        })?;
        Ok((seen, all))
    }

    #[test]
    fn records_of_every_codec_are_seen_from_the_wanted_offset_on() {
        for codec in Compression::ALL {
            let bytes = batch(codec);
            assert_eq!(
                offsets(&bytes, 0, -1),
                Ok((vec![10, 11, 12, 13, 14], true)),
                "{codec}"
            );
            assert_eq!(offsets(&bytes, 13, -1), Ok((vec![13, 14], true)), "{codec}");
            assert_eq!(
                offsets(&bytes, 11, 12),
                Ok((vec![11, 12], false)),
                "{codec}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_is_reported_and_nothing_is_shown() {
        for codec in Compression::ALL {
            let mut bytes = batch(codec);
            *bytes.last_mut().unwrap() ^= 1;
            let error = offsets(&bytes, 0, -1).unwrap_err();
            assert_eq!(error.base_offset, Offset::new(10));
            assert!(
                matches!(error.fault, Fault::Batch(BatchError::CrcMismatch { .. })),
                "{error}"
            );
        }
    }
}
