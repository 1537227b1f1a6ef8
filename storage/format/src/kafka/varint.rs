//! Kafka's variable-length integers: base 128, least significant group first, zigzag.

/// Why a field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    /// The bytes end inside of the field.
    Truncated,
    /// A varint with more bits than its type.
    Overlong,
    /// A length that is negative where it may not be, or beyond the end.
    Length(i32),
}

/// The largest encoded size of an `i32`.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
/// The largest encoded size of an `i64`.
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// Reads fields off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, FieldError> {
        let (&first, rest) = self.rest.split_first().ok_or(FieldError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, FieldError> {
        let raw = self.unsigned(VARINT_BYTES_MAX, 32)? as u32;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, FieldError> {
        let raw = self.unsigned(VARLONG_BYTES_MAX, 64)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    #[inline]
    fn unsigned(&mut self, bytes_max: usize, bits: u32) -> Result<u64, FieldError> {
        // Nearly every varint of a record has one or two bytes, and three are the most that a small batch needs.
        let (value, rest) = match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => (u64::from(a), rest),
            [a, b, ref rest @ ..] if b < 0x80 => (u64::from(a & 0x7F) | u64::from(b) << 7, rest),
            [a, b, c, ref rest @ ..] if c < 0x80 => (
                u64::from(a & 0x7F) | u64::from(b & 0x7F) << 7 | u64::from(c) << 14,
                rest,
            ),
            _ => return self.unsigned_long(bytes_max, bits),
        };
        self.rest = rest;
        Ok(value)
    }

    #[cold]
    fn unsigned_long(&mut self, bytes_max: usize, bits: u32) -> Result<u64, FieldError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(bytes_max).enumerate() {
            let shift = 7 * index as u32;
            let group = u64::from(byte & 0x7F);
            // The last group of a full-length varint has room for fewer than seven bits.
            if bits - shift < 7 && group >> (bits - shift) != 0 {
                return Err(FieldError::Overlong);
            }
            value |= group << shift;
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < bytes_max {
            FieldError::Truncated
        } else {
            FieldError::Overlong
        })
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: i32) -> Result<&'a [u8], FieldError> {
        let size = usize::try_from(length).map_err(|_| FieldError::Length(length))?;
        let (taken, rest) = self
            .rest
            .split_at_checked(size)
            .ok_or(FieldError::Length(length))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A varint length and as many bytes; -1 is null.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, FieldError> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.take(length).map(Some),
        }
    }
}

/// Encoded size of `value`.
#[inline]
pub(crate) const fn varint_size(value: i32) -> usize {
    varlong_size(value as i64)
}

/// Encoded size of `value`.
#[inline]
pub(crate) const fn varlong_size(value: i64) -> usize {
    let raw = zigzag(value) | 1;
    (64 - raw.leading_zeros() as usize).div_ceil(7)
}

#[inline]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Appends `value`.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    // Sign extension does not change the zigzag encoding, so both widths share one writer.
    put_varlong(out, i64::from(value));
}

/// Appends `value`.
#[inline]
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    if raw < 0x80 {
        out.push(raw as u8);
    } else if raw < 0x4000 {
        out.extend_from_slice(&[raw as u8 | 0x80, (raw >> 7) as u8]);
    } else {
        while raw >= 0x80 {
            out.push(raw as u8 | 0x80);
            raw >>= 7;
        }
        out.push(raw as u8);
    }
}

/// Appends a varint length and the bytes; null is length -1.
#[inline]
pub(crate) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        // Callers have checked that lengths fit.
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Encoded size of what [`put_nullable`] writes, as a number that cannot overflow for slices in memory.
#[inline]
pub(crate) const fn nullable_size(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => varlong_size(bytes.len() as i64) + bytes.len(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_encoded_as_kafka_encodes_them() {
        for (value, bytes) in [
            (0, b"\x00".as_slice()),
            (-1, b"\x01"),
            (1, b"\x02"),
            (63, b"\x7e"),
            (-64, b"\x7f"),
            (64, b"\x80\x01"),
            (i32::MAX, b"\xfe\xff\xff\xff\x0f"),
            (i32::MIN, b"\xff\xff\xff\xff\x0f"),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(varint_size(value), bytes.len(), "{value}");
            assert_eq!(Cursor::new(bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn overlong_and_truncated_varints_are_refused() {
        for (bytes, error) in [
            (b"".as_slice(), FieldError::Truncated),
            (b"\x80", FieldError::Truncated),
            (b"\xff\xff\xff\xff", FieldError::Truncated),
            (b"\xff\xff\xff\xff\xff", FieldError::Overlong),
            (b"\xff\xff\xff\xff\x10", FieldError::Overlong),
            (b"\x80\x80\x80\x80\x80\x00", FieldError::Overlong),
        ] {
            assert_eq!(Cursor::new(bytes).varint(), Err(error), "{bytes:?}");
        }
        assert_eq!(
            Cursor::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").varlong(),
            Err(FieldError::Overlong)
        );
    }

    #[test]
    fn padded_varints_are_read() {
        assert_eq!(Cursor::new(b"\x82\x80\x00").varint(), Ok(1));
    }

    proptest! {
        #[test]
        fn longs_survive(value: i64, shift in 0_u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            prop_assert_eq!(out.len(), varlong_size(value));
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varlong(), Ok(value));
            prop_assert!(cursor.is_empty());
            if let Ok(narrow) = i32::try_from(value) {
                prop_assert_eq!(Cursor::new(&out).varint(), Ok(narrow));
            } else {
                prop_assert_eq!(Cursor::new(&out).varint(), Err(FieldError::Overlong));
            }
        }
    }
}
