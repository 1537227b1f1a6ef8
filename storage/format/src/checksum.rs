//! The one checksum: CRC32C (Castagnoli), as Kafka's record batch prescribes.
//!
//! Batches, commit blocks and native batches all call these two functions, so the implementation can be exchanged in
//! one place. Checksums of consecutive parts are chained with [`crc32c_append`] and never merged afterwards: merging two
//! finished checksums costs more than hashing the bytes again.

/// CRC32C of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC32C of the concatenation of what `crc` was computed over and `bytes`.
///
/// `crc32c_append(0, bytes)` is [`crc32c`]`(bytes)`.
#[inline]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::{crc32c, crc32c_append};

    /// Vectors of RFC 3720, appendix B.4.
    #[test]
    fn matches_published_vectors() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (b"123456789".as_slice(), 0xE306_9283),
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (b"", 0),
        ] {
            assert_eq!(crc32c(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn appending_equals_hashing_at_once() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for cut in [0, 1, 7, 8, 63, 64, 1024, 4999, 5000] {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(
                crc32c_append(crc32c(left), right),
                crc32c(&bytes),
                "cut at {cut}"
            );
        }
    }
}
