//! Builds record batches: for producers, for compaction and for what the broker itself writes.

use super::attributes::{Attributes, Compression};
use super::compression::{CompressionError, compress};
use super::header::{BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, BatchHeader, MAGIC};
use super::record::Record;
use super::stamp::stamp_crc;
use super::varint::{
    nullable_size, put_nullable, put_varint, put_varlong, varint_size, varlong_size,
};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Why a batch cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A batch has at least one record.
    #[error("a record batch cannot be empty")]
    Empty,
    /// A record or the batch would exceed what the format's 32-bit lengths can say.
    #[error("a record batch of {size_bytes} bytes exceeds the format's limit of 2 GiB")]
    TooLarge {
        /// The size that it would have.
        size_bytes: usize,
    },
    /// Offset deltas must rise.
    #[error("offset delta {got} does not follow {last}")]
    OffsetDelta {
        /// The delta given.
        got: i32,
        /// The delta of the record before.
        last: i32,
    },
    /// The timestamp lies too far from the first record's.
    #[error("timestamp {got} is too far from the base timestamp {base}")]
    Timestamp {
        /// The timestamp given.
        got: TimestampMs,
        /// The first record's.
        base: TimestampMs,
    },
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Collects records and writes them as one batch.
///
/// Settings stay until they are changed; [`BatchBuilder::clear`] drops the records and keeps the memory, so a builder
/// that is reused allocates nothing once it has seen its largest batch (codecs aside).
#[derive(Debug)]
pub struct BatchBuilder {
    /// What the batch's header will say; lengths, counts, timestamps and CRC are filled in at the end.
    template: BatchHeader,
    compression: Compression,
    records: Vec<u8>,
    records_count: i32,
    last_offset_delta: i32,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    /// What comes from the template and not from the records.
    taken: Taken,
}

/// What a batch takes over from the one that it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    base_timestamp: bool,
    max_timestamp: bool,
    last_offset_delta: bool,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty builder: no compression, no producer, base offset 0, unknown leader epoch.
    pub const fn new() -> Self {
        Self {
            template: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                partition_leader_epoch: LeaderEpoch::UNKNOWN,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::new(0),
                last_offset_delta: 0,
                base_timestamp: TimestampMs::NONE,
                max_timestamp: TimestampMs::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: Sequence::NONE,
                records_count: 0,
            },
            compression: Compression::None,
            records: Vec::new(),
            records_count: 0,
            last_offset_delta: -1,
            base_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
            taken: Taken {
                base_timestamp: false,
                max_timestamp: false,
                last_offset_delta: false,
            },
        }
    }

    /// Drops the records; keeps settings and memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.records_count = 0;
        self.last_offset_delta = -1;
        self.base_timestamp = TimestampMs::NONE;
        self.max_timestamp = TimestampMs::NONE;
        self.taken = Taken::default();
    }

    /// The codec of the batch.
    pub fn compression(&mut self, codec: Compression) -> &mut Self {
        self.compression = codec;
        self
    }

    /// The idempotent producer and the sequence of the batch's first record.
    pub fn producer(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> &mut Self {
        self.template.producer_id = id;
        self.template.producer_epoch = epoch;
        self.template.base_sequence = base_sequence;
        self
    }

    /// Whether the records belong to a transaction.
    pub fn transactional(&mut self, yes: bool) -> &mut Self {
        self.template.attributes = self.template.attributes.with_transactional(yes);
        self
    }

    /// Whether this is a control batch.
    pub fn control(&mut self, yes: bool) -> &mut Self {
        self.template.attributes = self.template.attributes.with_control(yes);
        self
    }

    /// The base offset, which a producer leaves at 0.
    pub fn base_offset(&mut self, offset: Offset) -> &mut Self {
        self.template.base_offset = offset;
        self
    }

    /// The leader epoch, which a producer leaves unknown.
    pub fn leader_epoch(&mut self, epoch: LeaderEpoch) -> &mut Self {
        self.template.partition_leader_epoch = epoch;
        self
    }

    /// Makes the next batch carry the same header as `header` but for what follows from its bytes, codec excepted.
    ///
    /// Timestamps and last offset delta are taken over as they are.
    /// The records must be appended afterwards. Ends with [`BatchBuilder::clear`], which keeps the producer and the bits.
    pub fn imitate(&mut self, header: &BatchHeader) -> &mut Self {
        self.clear();
        self.template = *header;
        self.taken = Taken {
            base_timestamp: true,
            max_timestamp: true,
            last_offset_delta: true,
        };
        self.base_timestamp = header.base_timestamp;
        self.max_timestamp = header.max_timestamp;
        self
    }

    /// Makes the next batch what compaction leaves of the one with `header`: everything but codec and timestamps is taken
    /// over, the last offset delta too. With a delete horizon that becomes the base timestamp, as the attributes then say.
    ///
    /// The records must be appended afterwards. Ends with [`BatchBuilder::clear`], which keeps the producer and the bits.
    pub(super) fn retain(
        &mut self,
        header: &BatchHeader,
        delete_horizon: Option<TimestampMs>,
    ) -> &mut Self {
        self.clear();
        self.template = *header;
        self.template.attributes = header
            .attributes
            .with_delete_horizon(delete_horizon.is_some());
        self.taken = Taken {
            base_timestamp: delete_horizon.is_some(),
            max_timestamp: false,
            last_offset_delta: true,
        };
        self.base_timestamp = delete_horizon.unwrap_or(TimestampMs::NONE);
        self
    }

    /// Number of records so far.
    #[inline]
    pub const fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Whether there are no records yet.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// Size of the batch so far, before compression.
    #[inline]
    pub const fn size_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records.len()
    }

    /// Adds a record at the next offset. On an error the builder is as it was before.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BuildError> {
        let headers_size = headers
            .iter()
            .map(|(key, value)| nullable_size(Some(key)) + nullable_size(*value))
            .sum();
        let offset_delta = self.next_offset_delta()?;
        let body = self.begin_record(
            offset_delta,
            timestamp,
            key,
            value,
            headers.len(),
            headers_size,
        )?;
        for (key, value) in headers {
            put_nullable(&mut self.records, Some(key));
            put_nullable(&mut self.records, *value);
        }
        debug_assert_eq!(
            self.records.len(),
            body,
            "sizes are computed before writing"
        );
        Ok(())
    }

    /// Adds a record that was read from a batch, at its own offset delta. On an error the builder is as it was before.
    pub fn append_record(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        if record.offset_delta <= self.last_offset_delta {
            return Err(BuildError::OffsetDelta {
                got: record.offset_delta,
                last: self.last_offset_delta,
            });
        }
        let headers = record.headers;
        let end = self.begin_record(
            record.offset_delta,
            record.timestamp,
            record.key,
            record.value,
            headers.len(),
            headers.encoded().len(),
        )?;
        self.records.extend_from_slice(headers.encoded());
        debug_assert_eq!(self.records.len(), end, "sizes are computed before writing");
        Ok(())
    }

    fn next_offset_delta(&self) -> Result<i32, BuildError> {
        self.last_offset_delta
            .checked_add(1)
            .ok_or(BuildError::OffsetDelta {
                got: i32::MAX,
                last: self.last_offset_delta,
            })
    }

    /// Writes a record up to its header count; returns where the record will end.
    #[inline]
    fn begin_record(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers_count: usize,
        headers_size: usize,
    ) -> Result<usize, BuildError> {
        let first = self.records_count == 0;
        let base = if first && !self.taken.base_timestamp {
            timestamp
        } else {
            self.base_timestamp
        };
        let timestamp_delta =
            timestamp
                .get()
                .checked_sub(base.get())
                .ok_or(BuildError::Timestamp {
                    got: timestamp,
                    base,
                })?;
        let length = 1
            + varlong_size(timestamp_delta)
            + varint_size(offset_delta)
            + nullable_size(key)
            + nullable_size(value)
            + varlong_size(headers_count as i64)
            + headers_size;
        let size_bytes = self.size_bytes().saturating_add(length).saturating_add(5);
        // Slices in memory are far from overflowing this sum, and it bounds every single length too.
        if size_bytes > i32::MAX as usize {
            return Err(BuildError::TooLarge { size_bytes });
        }

        self.base_timestamp = base;
        if !self.taken.max_timestamp {
            let max = if first {
                timestamp
            } else {
                self.max_timestamp.max(timestamp)
            };
            self.max_timestamp = max;
        }
        self.last_offset_delta = offset_delta;
        self.records_count += 1;

        let out = &mut self.records;
        out.reserve(length + 5);
        put_varint(out, length as i32);
        let end = out.len() + length;
        out.push(0); // attributes
        put_varlong(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, headers_count as i32);
        Ok(end)
    }

    /// Appends the batch to `out` and returns its header. The records stay until [`BatchBuilder::clear`].
    ///
    /// On an error `out` is as it was before.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) -> Result<BatchHeader, BuildError> {
        if self.records_count == 0 {
            return Err(BuildError::Empty);
        }
        let start = out.len();
        out.reserve(self.size_bytes());
        out.resize(start + BATCH_HEADER_BYTES, 0);
        if let Err(error) = compress(self.compression, &self.records, out) {
            out.truncate(start);
            return Err(error.into());
        }
        let size_bytes = out.len() - start;
        let Ok(batch_length) = i32::try_from(size_bytes - BATCH_PREFIX_BYTES) else {
            out.truncate(start);
            return Err(BuildError::TooLarge { size_bytes });
        };
        let last_offset_delta = if self.taken.last_offset_delta {
            self.template.last_offset_delta.max(self.last_offset_delta)
        } else {
            self.last_offset_delta
        };
        let header = BatchHeader {
            batch_length,
            attributes: self.template.attributes.with_compression(self.compression),
            last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            records_count: self.records_count,
            ..self.template
        };
        let batch = &mut out[start..];
        header.encode_into(batch);
        let crc = stamp_crc(batch);
        Ok(BatchHeader { crc, ..header })
    }
}
