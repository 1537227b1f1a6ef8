//! Writers of Kafka's primitive types that `bytes::BufMut` does not have.

use bytes::BufMut;

/// Writes an unsigned integer in groups of seven bits, least significant first.
#[inline]
pub fn put_unsigned_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_unsigned_varint`] takes for `value`.
pub const fn unsigned_varint_bytes(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

fn put_compact_len(out: &mut Vec<u8>, length: usize) {
    // A frame is limited to i32::MAX bytes, so a length inside one fits.
    put_unsigned_varint(out, u32::try_from(length + 1).unwrap_or(u32::MAX));
}

/// Writes a string; compact in flexible versions. A string too long for the protocol is cut at a character.
#[inline]
pub fn put_string(out: &mut Vec<u8>, flexible: bool, value: &str) {
    let value = &value[..value.floor_char_boundary(i16::MAX as usize)];
    if flexible {
        put_compact_len(out, value.len());
    } else {
        out.put_i16(value.len() as i16);
    }
    out.put_slice(value.as_bytes());
}

/// Writes a string or null.
#[inline]
pub fn put_nullable_string(out: &mut Vec<u8>, flexible: bool, value: Option<&str>) {
    match value {
        Some(value) => put_string(out, flexible, value),
        None if flexible => out.push(0),
        None => out.put_i16(-1),
    }
}

/// Writes the count of an array that is not null.
#[inline]
pub fn put_array_len(out: &mut Vec<u8>, flexible: bool, count: usize) {
    put_bytes_len(out, flexible, Some(count));
}

/// Writes the length of a byte field, or the count of an array, or null. The two look the same on the wire.
#[inline]
pub fn put_bytes_len(out: &mut Vec<u8>, flexible: bool, length: Option<usize>) {
    match length {
        Some(length) if flexible => put_compact_len(out, length),
        Some(length) => out.put_i32(i32::try_from(length).unwrap_or(i32::MAX)),
        None if flexible => out.push(0),
        None => out.put_i32(-1),
    }
}

/// Ends a structure without tagged fields.
#[inline]
pub fn put_empty_tags(out: &mut Vec<u8>, flexible: bool) {
    if flexible {
        out.push(0);
    }
}

/// Starts one tagged field: its tag and the size of the value that follows.
pub fn put_tag_header(out: &mut Vec<u8>, tag: u32, size_bytes: usize) {
    put_unsigned_varint(out, tag);
    put_unsigned_varint(out, u32::try_from(size_bytes).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::{put_string, put_unsigned_varint, unsigned_varint_bytes};
    use crate::wire::WireReader;

    #[test]
    fn varints_read_back_at_every_width() {
        for shift in 0..32 {
            for value in [
                (1_u32 << shift) - 1,
                1 << shift,
                (1 << shift) + 1,
                u32::MAX >> shift,
            ] {
                let mut out = Vec::new();
                put_unsigned_varint(&mut out, value);
                assert_eq!(out.len(), unsigned_varint_bytes(value));
                assert_eq!(WireReader::new(&out).unsigned_varint(), Ok(value));
            }
        }
    }

    #[test]
    fn an_overlong_string_is_cut_at_a_character() {
        let long = "é".repeat(20_000);
        for flexible in [false, true] {
            let mut out = Vec::new();
            put_string(&mut out, flexible, &long);
            let read = WireReader::new(&out).string(flexible).unwrap();
            assert_eq!(read.len(), 32_766);
        }
    }
}
