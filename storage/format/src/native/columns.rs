//! The archive behind a native batch's header: flat columns over one blob.

use rkyv::{Archive, Serialize};

/// The version that this code writes, and the only one that it reads.
pub(super) const COLUMNS_VERSION: u8 = 1;

/// In an end: the field is null, and not merely empty.
pub(super) const NULL: u32 = 1 << 31;

/// The columns of a batch: entry `i` of each belongs to record `i`.
///
/// An end is a position in `blob`, exclusive. Record `i` starts where record `i - 1` ends; its key goes up to
/// `key_ends[i]`, its value from there to `value_ends[i]`, its headers from there to `header_ends[i]`. The top bit of a
/// key's or value's end says that it is null.
///
/// The headers of a record are encoded as in Kafka's format, without their count.
#[derive(Debug, Default, Archive, Serialize)]
#[rkyv(attr(repr(align(16))))]
pub(super) struct Columns {
    /// [`COLUMNS_VERSION`].
    pub(super) version: u8,
    /// Milliseconds since the Unix epoch.
    pub(super) timestamps: Vec<i64>,
    /// Empty if the deltas are 0, 1, 2, ..., as they are until a compaction removes records.
    pub(super) offset_deltas: Vec<u32>,
    /// Where each key ends.
    pub(super) key_ends: Vec<u32>,
    /// Where each value ends.
    pub(super) value_ends: Vec<u32>,
    /// Where each record's headers, and so the record, end.
    pub(super) header_ends: Vec<u32>,
    /// Keys, values and headers.
    pub(super) blob: Vec<u8>,
}

// The root is the last thing in a batch, so its size and alignment make batches end at multiples of 16.
const _: () = {
    assert!(size_of::<ArchivedColumns>() == 112);
    assert!(align_of::<ArchivedColumns>() == 16);
    assert!(std::mem::offset_of!(ArchivedColumns, version) == 0);
    assert!(std::mem::offset_of!(ArchivedColumns, timestamps) == 8);
    assert!(std::mem::offset_of!(ArchivedColumns, blob) == 88);
};

impl Columns {
    pub(super) fn clear(&mut self) {
        self.timestamps.clear();
        self.offset_deltas.clear();
        self.key_ends.clear();
        self.value_ends.clear();
        self.header_ends.clear();
        self.blob.clear();
    }
}
