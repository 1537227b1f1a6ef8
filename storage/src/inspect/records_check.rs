//! Whether the records of a sound batch can be read: they decompress, and each is whole, in order, and counted. Pure.

use std::borrow::Cow;

use corelane_format::kafka::{
    BatchHeader, Compression, DecompressLimits, SplitBatch, decompress, records, split_first_batch,
};

/// What a batch may decompress to. More than any client would take at once, and a bound on this check's memory.
const LIMITS: DecompressLimits = DecompressLimits {
    size_bytes_max: 256 << 20,
    ratio_max: 4096,
};

/// Reads every record of the batch at the start of `bytes` and counts them.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check_records(bytes: &[u8]) -> Result<u64, String> {
    let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(bytes) else {
        return Err("the file has changed while it was read".to_owned());
    };
    let header = batch.header();
    let section = section(header, batch.records_section())?;
    let mut count = 0;
    for record in records(header, &section) {
        record.map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

fn section<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    match header.attributes.compression() {
        Ok(Compression::None) => Ok(bytes.into()),
        Ok(codec) => decompress(codec, bytes, LIMITS)
            .map(Cow::Owned)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::TimestampMs;
    use corelane_format::checksum::crc32c;
    use corelane_format::kafka::BatchBuilder;

    use super::*;

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.compression(codec);
        for _ in 0..3 {
            builder
                .append(TimestampMs::new(1), None, Some(&[7; 40]), &[])
                .unwrap();
        }
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn records_are_read_to_their_end() {
        for codec in Compression::ALL {
            let mut bytes = batch(codec);
            assert_eq!(check_records(&bytes), Ok(3), "{codec}");
            // The checksum is right, as if a producer had sent it so.
            bytes[57..61].copy_from_slice(&9_i32.to_be_bytes());
            let crc = crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            assert!(check_records(&bytes).is_err(), "{codec}: nine are declared");
        }
        assert!(check_records(&[0; 100]).is_err());
    }
}
