//! What a compacted topic asks of every record: a key.
//!
//! Only such topics pay for the walk over a batch's records.

use corelane_format::kafka::{
    CompressionError, DecompressLimits, RecordError, ValidatedBatch, compression::decompressed,
    records,
};

/// How many records are named at most, however many lack a key.
const NAMED_MAX: usize = 100;

/// Why a batch is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Records without a key.
    #[error("{count} of its records lack a key, which every record of a compacted topic needs")]
    Keyless {
        /// How many.
        count: u32,
        /// Their indexes in the batch, the first [`NAMED_MAX`] of them.
        indexes: Vec<i32>,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Checks that every record of a batch has a key, and that all of them can be read: what cannot be read cannot be
/// compacted.
pub fn check_keys(batch: &ValidatedBatch<'_>, limits: DecompressLimits) -> Result<(), KeyError> {
    let section = decompressed(batch.compression(), batch.records_section(), limits)?;
    let mut count = 0;
    let mut indexes = Vec::new();
    for (index, record) in (0..).zip(records(batch.header(), &section)) {
        if record?.key.is_none() {
            count += 1;
            if indexes.len() < NAMED_MAX {
                indexes.push(index);
            }
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(KeyError::Keyless { count, indexes })
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::TimestampMs;
    use corelane_format::kafka::{BatchBuilder, BatchLimits, Compression, validate_batch};

    use super::*;

    fn check(keys: &[Option<&[u8]>], codec: Compression) -> Result<(), KeyError> {
        let mut builder = BatchBuilder::new();
        builder.compression(codec);
        for key in keys {
            builder
                .append(TimestampMs::new(1), *key, Some(b"v"), &[])
                .unwrap();
        }
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes).unwrap();
        let batch = validate_batch(&bytes, &BatchLimits::NONE).unwrap();
        check_keys(&batch, DecompressLimits::default())
    }

    #[test]
    fn records_without_a_key_are_named() {
        for codec in Compression::ALL {
            assert_eq!(check(&[Some(b"a"), Some(b"")], codec), Ok(()));
            assert_eq!(
                check(&[Some(b"a"), None, Some(b"b"), None], codec),
                Err(KeyError::Keyless {
                    count: 2,
                    indexes: vec![1, 3]
                })
            );
        }
        let Err(KeyError::Keyless { count, indexes }) = check(&[None; 250], Compression::None)
        else {
            panic!("refused");
        };
        assert_eq!((count, indexes.len()), (250, NAMED_MAX));
    }
}
