//! The marker of a truncation: what makes it happen wholly or not at all.
//!
//! A truncation removes segments and begins one with the next history. Before the first of them goes, the marker says
//! where the log ends and which history begins. A start that finds it removes what is left above the cut, and takes the log
//! to end there. It goes, durably, when the new segment is durable and before anything in it is acknowledged: so what stands
//! above a cut that is still marked was never acknowledged since.

use std::io;
use std::path::Path;

use corelane_format::checksum::crc32c;
use corelane_format::{FilePosition, LogId, Offset};

use crate::bytes::{Reader, put_i64, put_u32, put_u64};
use crate::disk::{Disk, DiskFile, PAGE_BYTES, read_small_file, replace_file_durably};
use crate::names::{CUT, segment_path, sidecar_path};
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::{SegmentHeader, SegmentHeaderError};

const MAGIC: u32 = u32::from_le_bytes(*b"CLct");
const VERSION: u32 = 1;
const COVERED_BYTES: usize = 4 + 4 + 8 + 8 + 8;

/// Where a log is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) log_id: LogId,
    /// The log's new end.
    pub(crate) end: Offset,
    /// Of the segment that begins there.
    pub(crate) history: u64,
}

impl Cut {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COVERED_BYTES + 4);
        put_u32(&mut out, MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.log_id.get());
        put_i64(&mut out, self.end.get());
        put_u64(&mut out, self.history);
        let checksum = crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let is_known = reader.u32()? == MAGIC && reader.u32()? == VERSION;
        let cut = Self {
            log_id: LogId::new(reader.u64()?),
            end: Offset::new(reader.i64()?),
            history: reader.u64()?,
        };
        let is_sound = reader.u32()? == crc32c(&bytes[..COVERED_BYTES]);
        // A log that is cut there must be able to go on, and to be cut again.
        let is_possible =
            (Offset::ZERO..Offset::new(i64::MAX)).contains(&cut.end) && cut.history < u64::MAX;
        (is_known && is_sound && is_possible).then_some(cut)
    }

    /// Leaves the marker, durably.
    pub(crate) async fn leave<D: Disk>(&self, disk: &D, directory: &Path) -> io::Result<()> {
        replace_file_durably(disk, &directory.join(CUT), &self.encode()).await
    }

    /// Takes the marker away, durably, when the new segment is durable: a crash must not bring it back.
    pub(crate) async fn remove<D: Disk>(disk: &D, directory: &Path) -> io::Result<()> {
        match disk.delete(&directory.join(CUT)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if seeded_bug("removed-mark-not-synced") {
            return Ok(());
        }
        disk.sync_directory(directory).await
    }

    /// Reads the marker.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged: where the log ends cannot be guessed.
    pub(crate) async fn read<D: Disk>(disk: &D, directory: &Path) -> io::Result<Self> {
        let bytes = read_small_file(disk, &directory.join(CUT), PAGE_BYTES as u64).await?;
        Self::decode(&bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the marker of a truncation is damaged",
            )
        })
    }

    /// The segments above the cut, by their bases, and whether each began after it. Those from before it are gone for good
    /// before the first one after it begins; so a damaged header page is that of a segment like the others.
    ///
    /// # Errors
    /// One cannot be read, or is of another version.
    pub(crate) async fn segments_above<D: Disk>(
        &self,
        disk: &D,
        directory: &Path,
        bases: &[Offset],
    ) -> io::Result<Vec<(Offset, bool)>> {
        let first = bases.partition_point(|base| *base < self.end);
        let mut found = Vec::new();
        for base in bases.get(first..).unwrap_or(&[]) {
            let file = disk.open(&segment_path(directory, *base)).await?;
            let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await?;
            let is_new = match SegmentHeader::decode(page.as_ref()) {
                Ok(header) => Some(header.history >= self.history),
                Err(error @ SegmentHeaderError::Version { .. }) => {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, error));
                }
                Err(_) => None,
            };
            found.push((*base, is_new));
        }
        let has_begun = found.iter().any(|(_, is_new)| *is_new == Some(true));
        Ok(found
            .into_iter()
            .map(|(base, is_new)| (base, is_new.unwrap_or(has_begun)))
            .collect())
    }

    /// Completes what a crash interrupted: removes the segments above the cut that are older than it, newest first, from the
    /// disk and from `bases`. Returns whether the new segment is there, so that the marker has no more meaning.
    pub(crate) async fn complete<D: Disk>(
        &self,
        disk: &D,
        directory: &Path,
        bases: &mut Vec<Offset>,
    ) -> io::Result<bool> {
        let above = self.segments_above(disk, directory, bases).await?;
        for (base, _) in above.iter().rev().filter(|(_, is_new)| !is_new) {
            disk.delete(&segment_path(directory, *base)).await?;
            match disk.delete(&sidecar_path(directory, *base)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        disk.sync_directory(directory).await?;
        bases.retain(|base| above.binary_search(&(*base, false)).is_err());
        Ok(above.iter().any(|(_, is_new)| *is_new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let cut = Cut {
            log_id: LogId::new(7),
            end: Offset::new(1234),
            history: 3,
        };
        let good = cut.encode();
        assert_eq!(Cut::decode(&good), Some(cut));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Cut::decode(&bad), None, "bit {bit}");
        }
    }
}
