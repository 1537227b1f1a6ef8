//! Reads native batches in place.

use rkyv::rancor::Failure;
use rkyv::rend::{i64_le, u32_le};

use super::columns::{ArchivedColumns, COLUMNS_VERSION, NULL};
use super::error::{NativeError, NativeRecordError};
use super::header::{NATIVE_ALIGNMENT, NATIVE_HEADER_BYTES, NativeBatchHeader};
use crate::checksum::crc32c;
use crate::ids::TimestampMs;
use crate::kafka::{BatchLimits, Compression, Headers, Record};

/// A native batch whose header, checksums and columns were checked; its records borrow from the bytes.
#[derive(Clone, Copy, Debug)]
pub struct NativeBatch<'a> {
    bytes: &'a [u8],
    header: NativeBatchHeader,
    columns: Columns<'a>,
}

/// The columns as plain slices.
#[derive(Clone, Copy, Debug)]
struct Columns<'a> {
    timestamps: &'a [i64_le],
    offset_deltas: &'a [u32_le],
    key_ends: &'a [u32_le],
    value_ends: &'a [u32_le],
    header_ends: &'a [u32_le],
    blob: &'a [u8],
}

impl<'a> NativeBatch<'a> {
    /// Opens `bytes`, which must be exactly one batch and start at a multiple of [`NATIVE_ALIGNMENT`].
    ///
    /// This is the only way from untrusted bytes to a native batch. The cost is a pass of CRC32C and a constant; single
    /// records are checked when they are read, or all at once by [`NativeBatch::validate_records`].
    pub fn open(bytes: &'a [u8], limits: &BatchLimits) -> Result<Self, NativeError> {
        Self::open_with(bytes, limits, 1)
    }

    /// As [`NativeBatch::open`], for a batch out of a log: compaction may have left it without any record.
    pub fn open_stored(bytes: &'a [u8], limits: &BatchLimits) -> Result<Self, NativeError> {
        Self::open_with(bytes, limits, 0)
    }

    fn open_with(
        bytes: &'a [u8],
        limits: &BatchLimits,
        records_min: i32,
    ) -> Result<Self, NativeError> {
        let header = NativeBatchHeader::decode(bytes)?;
        let size_bytes = header.size_bytes as usize;
        if size_bytes > limits.size_bytes_max {
            return Err(NativeError::TooLarge {
                got: size_bytes,
                limit: limits.size_bytes_max,
            });
        }
        if size_bytes > bytes.len() {
            return Err(NativeError::TooShort {
                got: bytes.len(),
                expected: size_bytes,
            });
        }
        if size_bytes < bytes.len() {
            return Err(NativeError::TrailingBytes {
                got: bytes.len() - size_bytes,
            });
        }
        let misalignment = bytes.as_ptr().addr() % NATIVE_ALIGNMENT;
        if misalignment != 0 {
            return Err(NativeError::Misaligned { got: misalignment });
        }
        check_header(&header, limits, records_min)?;
        let body = &bytes[NATIVE_HEADER_BYTES..];
        let got = crc32c(body);
        if got != header.body_checksum {
            return Err(NativeError::BodyChecksum {
                got,
                expected: header.body_checksum,
            });
        }
        let columns = open_columns(body, &header)?;
        Ok(Self {
            bytes,
            header,
            columns,
        })
    }

    /// The whole batch, header included.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The parsed header.
    #[inline]
    pub const fn header(&self) -> &NativeBatchHeader {
        &self.header
    }

    /// Iterates over the records.
    #[inline]
    pub fn records(&self) -> NativeRecordIter<'a> {
        NativeRecordIter {
            columns: self.columns,
            record: 0,
            position: 0,
            offset_delta_min: 0,
            last_offset_delta: self.header.last_offset_delta,
            log_append_time: self.header.log_append_time(),
        }
    }

    /// Reads every record and throws it away: for a broker that protects its consumers from broken producers.
    pub fn validate_records(&self) -> Result<(), NativeRecordError> {
        self.records().try_for_each(|record| record.map(|_| ()))
    }
}

fn check_header(
    header: &NativeBatchHeader,
    limits: &BatchLimits,
    records_min: i32,
) -> Result<(), NativeError> {
    let attributes = header.attributes;
    if attributes.compression() != Ok(Compression::None) {
        return Err(NativeError::Attributes {
            got: attributes.get(),
        });
    }
    // Compaction removes records and keeps the range of offsets, so there may be fewer.
    let records_max = i64::from(header.last_offset_delta) + 1;
    if header.records_count < records_min
        || i64::from(header.records_count) > records_max
        || header.records_count > limits.records_max
    {
        return Err(NativeError::Count {
            got: header.records_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    if header.base_offset.checked_plus(records_max).is_none() {
        return Err(NativeError::Offset {
            base_offset: header.base_offset.get(),
            last_offset_delta: header.last_offset_delta,
        });
    }
    let sound = if header.producer_id.is_some() {
        header.producer_epoch.get() >= 0
            && (header.base_sequence.get() >= 0 || attributes.is_control())
    } else {
        !attributes.is_transactional()
    };
    if sound {
        Ok(())
    } else {
        Err(NativeError::Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        })
    }
}

fn open_columns<'a>(
    body: &'a [u8],
    header: &NativeBatchHeader,
) -> Result<Columns<'a>, NativeError> {
    let archived =
        rkyv::access::<ArchivedColumns, Failure>(body).map_err(|_| NativeError::Archive)?;
    if archived.version != COLUMNS_VERSION {
        return Err(NativeError::Version {
            got: u16::from(archived.version),
        });
    }
    let columns = Columns {
        timestamps: archived.timestamps.as_slice(),
        offset_deltas: archived.offset_deltas.as_slice(),
        key_ends: archived.key_ends.as_slice(),
        value_ends: archived.value_ends.as_slice(),
        header_ends: archived.header_ends.as_slice(),
        blob: archived.blob.as_slice(),
    };
    let expected = header.records_count as usize;
    for (column, got, may_be_absent) in [
        ("timestamps", columns.timestamps.len(), false),
        // Deltas without gaps may be left out, also when the last offsets of the range have lost their records.
        ("offset_deltas", columns.offset_deltas.len(), true),
        ("key_ends", columns.key_ends.len(), false),
        ("value_ends", columns.value_ends.len(), false),
        ("header_ends", columns.header_ends.len(), false),
    ] {
        if got != expected && !(may_be_absent && got == 0) {
            return Err(NativeError::ColumnLength {
                column,
                got,
                expected,
            });
        }
    }
    let end = columns
        .header_ends
        .last()
        .map_or(0, |end| end.to_native() as usize);
    if end != columns.blob.len() {
        return Err(NativeError::ColumnLength {
            column: "blob",
            got: columns.blob.len(),
            expected: end,
        });
    }
    Ok(columns)
}

/// Iterates over the records of a native batch. Ends after the first error.
#[derive(Clone, Debug)]
pub struct NativeRecordIter<'a> {
    columns: Columns<'a>,
    /// Index of the next record.
    record: usize,
    /// Where it starts in the blob.
    position: usize,
    offset_delta_min: u32,
    last_offset_delta: i32,
    log_append_time: Option<TimestampMs>,
}

impl<'a> NativeRecordIter<'a> {
    #[inline]
    fn read(&self, timestamp: i64_le) -> Result<(Record<'a>, usize), NativeRecordError> {
        let index = self.record;
        let record = index as u32;
        let columns = &self.columns;
        let bad_ends = NativeRecordError::Ends { record };
        let end_of =
            |ends: &'a [u32_le]| ends.get(index).map(|end| end.to_native()).ok_or(bad_ends);

        let (key, key_end) =
            field(columns.blob, self.position, end_of(columns.key_ends)?).ok_or(bad_ends)?;
        let (value, value_end) =
            field(columns.blob, key_end, end_of(columns.value_ends)?).ok_or(bad_ends)?;
        let header_end = end_of(columns.header_ends)? as usize;
        let headers = columns.blob.get(value_end..header_end).ok_or(bad_ends)?;
        let headers = Headers::parse(headers).map_err(|_| NativeRecordError::Headers { record })?;

        let offset_delta = match columns.offset_deltas.get(index) {
            Some(delta) => delta.to_native(),
            None => record,
        };
        if offset_delta < self.offset_delta_min
            || i64::from(offset_delta) > i64::from(self.last_offset_delta)
        {
            return Err(NativeRecordError::OffsetDelta {
                record,
                got: offset_delta,
            });
        }
        let timestamp = self
            .log_append_time
            .unwrap_or(TimestampMs::new(timestamp.to_native()));
        let offset_delta = offset_delta as i32;
        Ok((
            Record {
                offset_delta,
                timestamp,
                key,
                value,
                headers,
            },
            header_end,
        ))
    }
}

/// The bytes from `start` to the end that `raw` holds, and that end; `None` if there is no such range.
#[inline]
fn field(blob: &[u8], start: usize, raw: u32) -> Option<(Option<&[u8]>, usize)> {
    let end = (raw & !NULL) as usize;
    let bytes = blob.get(start..end)?;
    match (raw & NULL != 0, bytes.is_empty()) {
        (false, _) => Some((Some(bytes), end)),
        (true, true) => Some((None, end)),
        // A null that has bytes.
        (true, false) => None,
    }
}

impl<'a> Iterator for NativeRecordIter<'a> {
    type Item = Result<Record<'a>, NativeRecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let timestamp = *self.columns.timestamps.get(self.record)?;
        match self.read(timestamp) {
            Ok((record, end)) => {
                self.record += 1;
                self.position = end;
                self.offset_delta_min = record.offset_delta as u32 + 1;
                Some(Ok(record))
            }
            Err(error) => {
                self.record = usize::MAX;
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Fewer if one of them is damaged.
        (
            0,
            Some(self.columns.timestamps.len().saturating_sub(self.record)),
        )
    }
}

impl std::iter::FusedIterator for NativeRecordIter<'_> {}

/// What [`split_first_native`] found.
#[derive(Clone, Copy, Debug)]
pub enum SplitNative<'a> {
    /// A whole batch, and the bytes after it.
    Whole {
        /// The parsed header.
        header: NativeBatchHeader,
        /// The whole batch, its body not yet checked: see [`NativeBatch::open`].
        batch: &'a [u8],
        /// What follows it.
        rest: &'a [u8],
    },
    /// There is no whole batch.
    Incomplete {
        /// How many bytes it takes at least, as far as can be told.
        needed_bytes: usize,
    },
}

/// Splits the first batch off a sequence of native batches.
///
/// Fails on bytes that cannot be the start of a batch; merely missing bytes are no error.
pub fn split_first_native(bytes: &[u8]) -> Result<SplitNative<'_>, NativeError> {
    if bytes.len() < NATIVE_HEADER_BYTES {
        return Ok(SplitNative::Incomplete {
            needed_bytes: NATIVE_HEADER_BYTES,
        });
    }
    let header = NativeBatchHeader::decode(bytes)?;
    let needed_bytes = header.size_bytes as usize;
    match bytes.split_at_checked(needed_bytes) {
        Some((batch, rest)) => Ok(SplitNative::Whole {
            header,
            batch,
            rest,
        }),
        None => Ok(SplitNative::Incomplete { needed_bytes }),
    }
}
