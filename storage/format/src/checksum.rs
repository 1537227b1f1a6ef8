//! The one checksum: CRC32C (Castagnoli), as Kafka's record batch prescribes.
//!
//! Batches, commit blocks and native batches all call these two functions, so the implementation can be exchanged in
//! one place. Checksums of consecutive parts are chained with [`crc32c_append`] and never merged afterwards: merging two
//! finished checksums costs more than hashing the bytes again.
//!
//! Two implementations stand behind them, chosen by what the processor has. Measured on one core of an Intel Xeon with
//! `avx512vl` and `vpclmulqdq`, bytes in cache, GB/s:
//!
//! ```text
//! bytes       64   256  1024  16 KiB  64 KiB  1 MiB
//! crc32c     7.0  18.4  19.1    19.5    21.9   23.7
//! crc-fast   9.5  21.6  61.9    89.6    90.5   85.8
//! ```
//!
//! Without wide carry-less multiplication `crc32c` was measured to be the faster one, so it stays for all other
//! processors.

/// CRC32C of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    if has_wide_multiplication() {
        crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
    } else {
        ::crc32c::crc32c(bytes)
    }
}

/// CRC32C of the concatenation of what `crc` was computed over and `bytes`.
///
/// `crc32c_append(0, bytes)` is the [`crc32c()`] of `bytes`.
#[inline]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    // Only long inputs gain enough to pay for setting a state up.
    if bytes.len() >= 256 && has_wide_multiplication() {
        // The running state is the checksum before its final inversion.
        let state = u64::from(!crc);
        let mut digest =
            crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, state);
        digest.update(bytes);
        digest.finalize() as u32
    } else {
        ::crc32c::crc32c_append(crc, bytes)
    }
}

/// Whether the processor has what makes `crc-fast` the faster one. The standard library remembers the answer.
#[inline]
fn has_wide_multiplication() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("vpclmulqdq") && std::is_x86_feature_detected!("avx512vl")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{crc32c, crc32c_append};
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn both_implementations_agree(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            start: u32,
        ) {
            prop_assert_eq!(crc32c(&bytes), ::crc32c::crc32c(&bytes));
            prop_assert_eq!(crc32c_append(start, &bytes), ::crc32c::crc32c_append(start, &bytes));
        }
    }
}
