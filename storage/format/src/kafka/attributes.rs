//! The attribute bits of a batch: its codec, its kind of timestamps, and whether it is transactional or control.

use std::fmt;
use std::str::FromStr;

use super::error::BatchError;

/// How the records of a batch are compressed. The numbers are those of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in Xerial's framing when the Java client wrote it.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl Compression {
    /// Every codec, in the order of the wire's ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a wire id.
    #[inline]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The wire id.
    #[inline]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name, as in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {got:?}, expected none, gzip, snappy, lz4 or zstd")]
pub struct ParseCompressionError {
    got: String,
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| ParseCompressionError {
                got: text.to_owned(),
            })
    }
}

/// Whose clock the timestamps of a batch come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The broker's: every record has the batch's `max_timestamp`.
    LogAppendTime,
}

impl TimestampType {
    /// Kafka's name, as in `message.timestamp.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The attribute bits of a batch. Unknown bits are kept and ignored, as Kafka does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Attributes(i16);

impl Attributes {
    const COMPRESSION: i16 = 0b111;
    pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Wraps the bits of the wire.
    #[inline]
    pub const fn new(bits: i16) -> Self {
        Self(bits)
    }

    /// The bits of the wire.
    #[inline]
    pub const fn get(self) -> i16 {
        self.0
    }

    /// The codec of the records section.
    #[inline]
    pub const fn compression(self) -> Result<Compression, BatchError> {
        let id = (self.0 & Self::COMPRESSION) as u8;
        match Compression::from_id(id) {
            Some(codec) => Ok(codec),
            None => Err(BatchError::UnknownCompression { got: id }),
        }
    }

    /// Whose clock the timestamps come from.
    #[inline]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the records belong to a transaction.
    #[inline]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, such as the end of a transaction, and no data.
    #[inline]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `base_timestamp` holds the time after which compaction may drop the batch's tombstones.
    #[inline]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits with another codec.
    #[inline]
    #[must_use]
    pub const fn with_compression(self, codec: Compression) -> Self {
        Self(self.0 & !Self::COMPRESSION | codec as i16)
    }

    /// The same bits with another kind of timestamp.
    #[inline]
    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        self.with(
            Self::LOG_APPEND_TIME,
            matches!(kind, TimestampType::LogAppendTime),
        )
    }

    /// The same bits, transactional or not.
    #[inline]
    #[must_use]
    pub const fn with_transactional(self, yes: bool) -> Self {
        self.with(Self::TRANSACTIONAL, yes)
    }

    /// The same bits, control batch or not.
    #[inline]
    #[must_use]
    pub const fn with_control(self, yes: bool) -> Self {
        self.with(Self::CONTROL, yes)
    }

    /// The same bits, with or without a delete horizon in `base_timestamp`.
    #[inline]
    #[must_use]
    pub const fn with_delete_horizon(self, yes: bool) -> Self {
        self.with(Self::DELETE_HORIZON, yes)
    }

    const fn with(self, mask: i16, set: bool) -> Self {
        if set {
            Self(self.0 | mask)
        } else {
            Self(self.0 & !mask)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_named_as_in_kafka() {
        for codec in Compression::ALL {
            assert_eq!(codec.to_string().parse(), Ok(codec));
            assert_eq!(Compression::from_id(codec.id()), Some(codec));
            assert_eq!(
                Attributes::new(-1).with_compression(codec).compression(),
                Ok(codec)
            );
        }
        assert!("LZ4".parse::<Compression>().is_err());
        for got in 5..8 {
            assert_eq!(
                Attributes::new(i16::from(got)).compression(),
                Err(BatchError::UnknownCompression { got })
            );
        }
    }

    #[test]
    fn attribute_bits_are_those_of_kafka() {
        let none = Attributes::default();
        for (attributes, bits) in [
            (none.with_timestamp_type(TimestampType::LogAppendTime), 0x08),
            (none.with_transactional(true), 0x10),
            (none.with_control(true), 0x20),
            (none.with_compression(Compression::Zstd), 0x04),
        ] {
            assert_eq!(attributes.get(), bits);
        }
        assert!(Attributes::new(0x40).has_delete_horizon());
        assert!(!Attributes::new(0x3F).has_delete_horizon());
        assert_eq!(Attributes::new(0x18).with_transactional(false).get(), 0x08);
    }
}
