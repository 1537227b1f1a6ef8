//! How a native connection begins.

/// Bytes of the preface.
pub const PREFACE_BYTES: usize = 16;

/// The first bytes of a native connection. As a Kafka frame's length they would be negative; the line end shows a path that
/// rewrites text.
pub const PREFACE: [u8; PREFACE_BYTES] = *b"\xC0RELANE native\r\n";

/// Whether a connection that begins with `bytes` may be a native one: they agree with the preface as far as both go.
pub fn could_be_preface(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .zip(&PREFACE)
        .all(|(got, wanted)| got == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kafka_frame_begins_like_it() {
        let length = i32::from_be_bytes(*PREFACE.first_chunk().unwrap());
        assert!(length < 0, "{length}");
        // Nor does a TLS handshake or an HTTP request.
        for other in [&[0x16, 0x03][..], b"GET ", b"\0\0\0\x10"] {
            assert!(!could_be_preface(other));
        }
    }

    #[test]
    fn it_is_told_from_any_part_of_it() {
        for end in 0..=PREFACE_BYTES {
            assert!(could_be_preface(&PREFACE[..end]));
        }
        for at in 0..PREFACE_BYTES {
            let mut other = PREFACE;
            other[at] ^= 0x20;
            assert!(!could_be_preface(&other), "byte {at}");
        }
    }
}
