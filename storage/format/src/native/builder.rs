//! Builds native batches.

use rkyv::rancor::{Failure, Strategy};
use rkyv::ser::Serializer;
use rkyv::ser::allocator::SubAllocator;
use rkyv::util::AlignedVec;

use super::columns::{ArchivedColumns, COLUMNS_VERSION, Columns, NULL};
use super::error::NativeBuildError;
use super::header::{NATIVE_ALIGNMENT, NATIVE_HEADER_BYTES, NativeBatchHeader};
use crate::checksum::crc32c;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::kafka::varint::{nullable_size, put_nullable};
use crate::kafka::{Attributes, Compression, Record};

/// Collects records and archives them as one native batch.
///
/// Settings stay until they are changed; [`NativeBatchBuilder::clear`] drops the records and keeps the memory, so a
/// builder that is reused allocates nothing once it has seen its largest batch.
#[derive(Debug)]
pub struct NativeBatchBuilder {
    header: NativeBatchHeader,
    columns: Columns,
    archive: AlignedVec<NATIVE_ALIGNMENT>,
    /// Whether base timestamp and last offset delta were taken over from another batch, and the max timestamp with them.
    imitating: bool,
    /// Whether the base timestamp of a batch that is being filtered stays as it is.
    keeps_base: bool,
    /// Whether the last offset delta of a batch that is being filtered stays as it is.
    keeps_range: bool,
}

impl Default for NativeBatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl NativeBatchBuilder {
    /// An empty builder: no producer, base offset 0, unknown leader epoch.
    pub fn new() -> Self {
        Self {
            header: NativeBatchHeader::EMPTY,
            columns: Columns {
                version: COLUMNS_VERSION,
                ..Columns::default()
            },
            archive: AlignedVec::new(),
            imitating: false,
            keeps_base: false,
            keeps_range: false,
        }
    }

    /// Drops the records; keeps settings and memory.
    pub fn clear(&mut self) {
        self.columns.clear();
        self.imitating = false;
        self.keeps_base = false;
        self.keeps_range = false;
        self.header = NativeBatchHeader {
            attributes: self.header.attributes,
            base_offset: self.header.base_offset,
            leader_epoch: self.header.leader_epoch,
            producer_id: self.header.producer_id,
            producer_epoch: self.header.producer_epoch,
            base_sequence: self.header.base_sequence,
            ..NativeBatchHeader::EMPTY
        };
    }

    /// The idempotent producer and the sequence of the batch's first record.
    pub fn producer(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> &mut Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Kind of timestamps, transaction and control bits; a codec in them is dropped.
    pub fn attributes(&mut self, attributes: Attributes) -> &mut Self {
        self.header.attributes = attributes.with_compression(Compression::None);
        self
    }

    /// The base offset, which a producer leaves at 0.
    pub fn base_offset(&mut self, offset: Offset) -> &mut Self {
        self.header.base_offset = offset;
        self
    }

    /// The leader epoch, which a producer leaves unknown.
    pub fn leader_epoch(&mut self, epoch: LeaderEpoch) -> &mut Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Takes over base and max timestamp and last offset delta as they are, until [`NativeBatchBuilder::clear`].
    /// The records must be appended afterwards.
    pub(super) fn imitate(
        &mut self,
        base_timestamp: TimestampMs,
        max_timestamp: TimestampMs,
        last_offset_delta: i32,
    ) {
        self.clear();
        self.imitating = true;
        self.header.base_timestamp = base_timestamp;
        self.header.max_timestamp = max_timestamp;
        self.header.last_offset_delta = last_offset_delta;
    }

    /// Makes the next batch what compaction leaves of the one with `header`, as Kafka's builder does. The records must be
    /// appended afterwards.
    pub(super) fn retain(
        &mut self,
        header: &NativeBatchHeader,
        delete_horizon: Option<TimestampMs>,
    ) {
        self.clear();
        self.keeps_range = true;
        self.keeps_base = delete_horizon.is_some();
        self.header = NativeBatchHeader {
            attributes: header
                .attributes
                .with_delete_horizon(delete_horizon.is_some()),
            base_timestamp: delete_horizon.unwrap_or(header.base_timestamp),
            ..*header
        };
    }

    /// Number of records so far.
    #[inline]
    pub fn records_count(&self) -> i32 {
        self.columns.timestamps.len() as i32
    }

    /// Whether there are no records yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.columns.timestamps.is_empty()
    }

    /// An upper bound on the size of the batch so far.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        let per_record = size_of::<i64>() + 4 * size_of::<u32>();
        // Each of the six columns may be preceded by padding.
        NATIVE_HEADER_BYTES
            + size_of::<ArchivedColumns>()
            + 6 * NATIVE_ALIGNMENT
            + per_record * self.columns.timestamps.len()
            + self.columns.blob.len()
    }

    /// Adds a record at the next offset. On an error the builder is as it was before.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), NativeBuildError> {
        let headers_size = headers
            .iter()
            .map(|(key, value)| nullable_size(Some(key)) + nullable_size(*value))
            .sum();
        let offset_delta = self.last_offset_delta() + 1;
        self.begin_record(offset_delta, timestamp, key, value, headers_size)?;
        for (key, value) in headers {
            put_nullable(&mut self.columns.blob, Some(key));
            put_nullable(&mut self.columns.blob, *value);
        }
        self.end_record();
        Ok(())
    }

    /// Adds a record that was read from a batch, at its own offset delta. On an error the builder is as it was before.
    pub fn append_record(&mut self, record: &Record<'_>) -> Result<(), NativeBuildError> {
        let last = self.last_offset_delta();
        if record.offset_delta <= last {
            return Err(NativeBuildError::OffsetDelta {
                got: record.offset_delta,
                last,
            });
        }
        let headers = record.headers.encoded();
        self.begin_record(
            record.offset_delta,
            record.timestamp,
            record.key,
            record.value,
            headers.len(),
        )?;
        self.columns.blob.extend_from_slice(headers);
        self.end_record();
        Ok(())
    }

    /// Delta of the last record appended, or -1.
    fn last_offset_delta(&self) -> i32 {
        match self.columns.offset_deltas.last() {
            Some(delta) => *delta as i32,
            None => self.records_count() - 1,
        }
    }

    #[inline]
    fn begin_record(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers_size: usize,
    ) -> Result<(), NativeBuildError> {
        let payload = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers_size;
        let size_bytes = self.size_bytes().saturating_add(payload).saturating_add(64);
        if size_bytes > i32::MAX as usize {
            return Err(NativeBuildError::TooLarge { size_bytes });
        }
        if !self.imitating {
            let first = self.is_empty();
            if first && !self.keeps_base {
                self.header.base_timestamp = timestamp;
            }
            if first || timestamp > self.header.max_timestamp {
                self.header.max_timestamp = timestamp;
            }
        }
        let columns = &mut self.columns;
        let index = columns.timestamps.len();
        if columns.offset_deltas.is_empty() && offset_delta as usize != index {
            // The first gap: from here on deltas are written out.
            columns.offset_deltas.extend(0..index as u32);
            columns.offset_deltas.push(offset_delta as u32);
        } else if !columns.offset_deltas.is_empty() {
            columns.offset_deltas.push(offset_delta as u32);
        }
        columns.timestamps.push(timestamp.get());
        for (field, ends) in [
            (key, &mut columns.key_ends),
            (value, &mut columns.value_ends),
        ] {
            columns.blob.extend_from_slice(field.unwrap_or_default());
            let null = if field.is_none() { NULL } else { 0 };
            // Fits: the size of the whole batch was checked above.
            ends.push(columns.blob.len() as u32 | null);
        }
        Ok(())
    }

    #[inline]
    fn end_record(&mut self) {
        self.columns
            .header_ends
            .push(self.columns.blob.len() as u32);
    }

    /// Archives the batch. The bytes are aligned and stay until the builder is used again; the records stay until
    /// [`NativeBatchBuilder::clear`].
    pub fn finish(&mut self) -> Result<&[u8], NativeBuildError> {
        if self.is_empty() {
            return Err(NativeBuildError::Empty);
        }
        self.archive()
    }

    /// Archives a batch that has lost all of its records.
    pub(super) fn finish_empty(&mut self) -> Result<&[u8], NativeBuildError> {
        self.archive()
    }

    fn archive(&mut self) -> Result<&[u8], NativeBuildError> {
        self.archive.clear();
        self.archive.reserve(self.size_bytes());
        self.archive.extend_from_slice(&[0; NATIVE_HEADER_BYTES]);
        // Columns of plain numbers are copied as they are and need no scratch space.
        let mut serializer = Serializer::new(&mut self.archive, SubAllocator::empty(), ());
        rkyv::api::serialize_using::<_, Failure>(
            &self.columns,
            Strategy::<_, Failure>::wrap(&mut serializer),
        )
        .map_err(|_| NativeBuildError::Archive {
            max_timestamp: self.header.max_timestamp,
        })?;
        let size_bytes = self.archive.len();
        // Ours to get right, and the reader's to rely on.
        assert!(
            size_bytes.is_multiple_of(NATIVE_ALIGNMENT),
            "a native batch of {size_bytes} bytes"
        );

        let last_offset_delta = self.last_offset_delta();
        let header = NativeBatchHeader {
            size_bytes: size_bytes as u32,
            last_offset_delta: if self.imitating || self.keeps_range {
                self.header.last_offset_delta.max(last_offset_delta)
            } else {
                last_offset_delta
            },
            records_count: self.records_count(),
            body_checksum: crc32c(&self.archive[NATIVE_HEADER_BYTES..]),
            ..self.header
        };
        header.encode_into(&mut self.archive);
        Ok(&self.archive)
    }
}
