//! A cursor over one message that borrows everything it hands out.

use super::WireError;

/// Reads Kafka's primitive types from a borrowed message.
///
/// A failed read leaves the cursor where the field began; the message is then of no further use.
#[derive(Clone, Copy, Debug)]
pub struct WireReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> WireReader<'a> {
    /// A cursor at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// Takes `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let truncated = WireError::Truncated {
            offset: self.position,
            needed: count,
            remaining: self.remaining(),
        };
        let end = self.position.checked_add(count).ok_or(truncated)?;
        let taken = self.bytes.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let truncated = WireError::Truncated {
            offset: self.position,
            needed: N,
            remaining: self.remaining(),
        };
        let taken = self.rest().first_chunk::<N>().ok_or(truncated)?;
        self.position += N;
        Ok(*taken)
    }

    /// One signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A big-endian 16-bit integer.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// A big-endian 32-bit integer.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A big-endian 64-bit integer.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Sixteen bytes of a UUID.
    #[inline]
    pub fn uuid(&mut self) -> Result<[u8; 16], WireError> {
        self.array()
    }

    /// An unsigned integer in groups of seven bits, least significant first.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, WireError> {
        let offset = self.position;
        let mut value = 0_u32;
        for shift in [0_u32, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(WireError::MalformedVarint { offset });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::MalformedVarint { offset })
    }

    /// A compact length or count: the value plus one, 0 for null.
    fn compact_len(&mut self) -> Result<Option<usize>, WireError> {
        Ok(self
            .unsigned_varint()?
            .checked_sub(1)
            .map(|length| length as usize))
    }

    fn length(offset: usize, got: i64) -> Result<Option<usize>, WireError> {
        match got {
            -1 => Ok(None),
            _ => usize::try_from(got)
                .map(Some)
                .map_err(|_| WireError::NegativeLength { offset, got }),
        }
    }

    /// A string that may be null; compact in flexible versions.
    #[inline]
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, WireError> {
        let offset = self.position;
        let length = if flexible {
            self.compact_len()?
        } else {
            let got = i64::from(self.i16()?);
            Self::length(offset, got)?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let offset = self.position;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| WireError::InvalidUtf8 { offset })
    }

    /// A string that is not null.
    #[inline]
    pub fn string(&mut self, flexible: bool) -> Result<&'a str, WireError> {
        let offset = self.position;
        self.nullable_string(flexible)?
            .ok_or(WireError::UnexpectedNull { offset })
    }

    /// Bytes that may be null.
    #[inline]
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, WireError> {
        let offset = self.position;
        let length = if flexible {
            self.compact_len()?
        } else {
            let got = i64::from(self.i32()?);
            Self::length(offset, got)?
        };
        length.map(|length| self.take(length)).transpose()
    }

    /// The count of an array that may be null. `element_bytes_min` is the least one element can take, so a
    /// count that the message cannot hold is refused before anyone reserves memory for it.
    #[inline]
    pub fn nullable_array_len(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, WireError> {
        let offset = self.position;
        let count = if flexible {
            self.compact_len()?
        } else {
            let got = i64::from(self.i32()?);
            Self::length(offset, got)?
        };
        let Some(count) = count else {
            return Ok(None);
        };
        let remaining = self.remaining();
        match count.checked_mul(element_bytes_min) {
            Some(bytes) if bytes <= remaining => Ok(Some(count)),
            _ => Err(WireError::CountTooLarge {
                offset,
                count,
                remaining,
            }),
        }
    }

    /// The count of an array that is not null.
    #[inline]
    pub fn array_len(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<usize, WireError> {
        let offset = self.position;
        self.nullable_array_len(flexible, element_bytes_min)?
            .ok_or(WireError::UnexpectedNull { offset })
    }

    /// The tagged fields that end a structure in flexible versions; nothing in others. `known` reads the value
    /// of a tag it knows and says so with `true`; the others are passed over.
    #[inline]
    pub fn tagged_fields(
        &mut self,
        flexible: bool,
        mut known: impl FnMut(u32, &mut WireReader<'a>) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        if !flexible {
            return Ok(());
        }
        let offset = self.position;
        let count = self.unsigned_varint()? as usize;
        let remaining = self.remaining();
        // A field takes two bytes at least: its tag and its size.
        if count > remaining / 2 {
            return Err(WireError::CountTooLarge {
                offset,
                count,
                remaining,
            });
        }
        let mut previous: Option<u32> = None;
        for _ in 0..count {
            let offset = self.position;
            let got = self.unsigned_varint()?;
            if let Some(previous) = previous
                && got <= previous
            {
                return Err(WireError::TagOrder {
                    offset,
                    previous,
                    got,
                });
            }
            previous = Some(got);
            let size = self.unsigned_varint()? as usize;
            let offset = self.position;
            let mut value = WireReader::new(self.take(size)?);
            if known(got, &mut value)? && value.remaining() != 0 {
                return Err(WireError::TagSize {
                    offset,
                    tag: got,
                    remaining: value.remaining(),
                });
            }
        }
        Ok(())
    }

    /// Passes over the tagged fields of a flexible version.
    #[inline]
    pub fn skip_tagged_fields(&mut self, flexible: bool) -> Result<(), WireError> {
        self.tagged_fields(flexible, |_, _| Ok(false))
    }

    /// Ends the message: nothing may be left.
    pub fn finish(self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(WireError::TrailingBytes {
                offset: self.position,
                remaining,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WireError, WireReader};

    #[test]
    fn unsigned_varints_by_table() {
        let table: &[(&[u8], Result<u32, ()>)] = &[
            (&[0x00], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(())),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Err(())),
            (&[0x80], Err(())),
        ];
        for (bytes, expected) in table {
            assert_eq!(
                WireReader::new(bytes).unsigned_varint().map_err(|_| ()),
                *expected,
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_count_is_believed_only_if_the_bytes_can_hold_it() {
        let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let error = WireReader::new(&bytes).array_len(false, 1).unwrap_err();
        assert!(matches!(
            error,
            WireError::CountTooLarge {
                count: 0x7fff_ffff,
                remaining: 4,
                ..
            }
        ));
        let mut reader = WireReader::new(&[0, 0, 0, 2, 9, 9]);
        assert_eq!(reader.array_len(false, 1), Ok(2));
    }

    #[test]
    fn tagged_fields_must_ascend_and_fit() {
        // Two fields: tag 1 with one byte, tag 0 with none.
        let error = WireReader::new(&[2, 1, 1, 7, 0, 0])
            .skip_tagged_fields(true)
            .unwrap_err();
        assert!(matches!(
            error,
            WireError::TagOrder {
                previous: 1,
                got: 0,
                ..
            }
        ));
        let error = WireReader::new(&[1, 0, 9, 7])
            .skip_tagged_fields(true)
            .unwrap_err();
        assert!(matches!(error, WireError::Truncated { .. }));
        let error = WireReader::new(&[1, 0, 2, 7, 7])
            .tagged_fields(true, |_, value| value.i8().map(|_| true))
            .unwrap_err();
        assert!(matches!(
            error,
            WireError::TagSize {
                tag: 0,
                remaining: 1,
                ..
            }
        ));
    }

    #[test]
    fn lengths_below_null_are_refused() {
        assert!(matches!(
            WireReader::new(&[0xff, 0xfe]).nullable_string(false),
            Err(WireError::NegativeLength { got: -2, .. })
        ));
        assert_eq!(
            WireReader::new(&[0xff, 0xff]).nullable_string(false),
            Ok(None)
        );
        assert!(matches!(
            WireReader::new(&[0xff, 0xff]).string(false),
            Err(WireError::UnexpectedNull { offset: 0 })
        ));
    }
}
