//! Sidecars on disk: reading what stands in front, loading an index when a lookup needs it, and writing both.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use corelane_format::{FilePosition, Offset, TimestampMs};

use super::PartitionLog;
use super::scan::{BlockReader, Reach, scan_segment};
use crate::disk::{Disk, DiskFile, PAGE_BYTES, page_ceil, replace_file_durably};
use crate::error::ReadError;
use crate::lane::index_cache::LoadedIndex;
use crate::names::sidecar_path;
use crate::producer_state::ProducerState;
use crate::segment_header::SegmentHeader;
use crate::segment_meta::{IndexEntry, SegmentMeta};
use crate::sidecar::Sidecar;

/// Reads what stands in front of a sidecar's index. Derived data that cannot be read is data that is not there.
pub(super) async fn read_sidecar<D: Disk>(disk: &D, path: &Path) -> Option<(Sidecar, D::File)> {
    let file = disk.open(path).await.ok()?;
    let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await.ok()?;
    let head_bytes = Sidecar::head_bytes(page.as_ref())?;
    if head_bytes <= page.as_ref().len() {
        return Some((Sidecar::decode(page.as_ref())?, file));
    }
    let head = read_range(&file, 0..head_bytes as u64).await?;
    Some((Sidecar::decode(&head)?, file))
}

/// A page-aligned stretch of a file.
async fn read_range<F: DiskFile>(file: &F, range: Range<u64>) -> Option<Vec<u8>> {
    const PART_BYTES: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let want = page_ceil(range.end - at).min(PART_BYTES);
        let part = file.read_at(FilePosition::new(at), want as usize).await;
        let part = part.ok()?;
        bytes.extend_from_slice(part.as_ref());
        at += want;
        if (part.as_ref().len() as u64) < want {
            break;
        }
    }
    let wanted = usize::try_from(range.end - range.start).ok()?;
    bytes.truncate(wanted);
    (bytes.len() == wanted).then_some(bytes)
}

impl<D: Disk> PartitionLog<D> {
    /// Writes a sealed segment's sidecar. Derived data: a failure costs a scan at the next start and nothing else.
    pub(crate) async fn write_sidecar(&self, generation: u64) {
        let _guard = self.saving.lock().await;
        let header = {
            let mut state = self.state.borrow_mut();
            let segment = state.segment_of(generation);
            segment
                .filter(|segment| segment.sealed_producers.is_some() && !segment.meta.is_cut)
                .map(|segment| segment.meta.header)
        };
        let Some(header) = header else { return };
        let saved = match self.saved_index(header).await {
            Ok(saved) => saved,
            Err(error) => {
                tracing::warn!(log_id = %self.log_id(), %error, "index was not saved");
                return;
            }
        };
        let (content, count, end_position) = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_of(generation) else {
                return;
            };
            let (Some(producers), Some(entries)) = (
                segment.sealed_producers.take(),
                segment.meta.all_entries(&saved),
            ) else {
                return;
            };
            let content = Sidecar::encode(&segment.meta, &entries, &producers);
            (content, entries.len(), segment.meta.end_position)
        };
        let path = sidecar_path(self.directory(), header.base_offset);
        match replace_file_durably(&self.lane.disk, &path, &content).await {
            Ok(()) => self.forget_saved(generation, count, end_position),
            Err(error) => {
                tracing::warn!(log_id = %self.log_id(), path = %path.display(), %error, "index was not saved");
            }
        }
    }

    /// Lets go of the entries that a sidecar holds now, which knows the segment up to `position`.
    pub(super) fn forget_saved(&self, generation: u64, count: usize, position: u64) {
        if let Some(segment) = self.state.borrow_mut().segment_of(generation) {
            segment.meta.forget_saved(count);
            segment.checkpoint_position = position;
        }
    }

    /// The saved entries of a segment's index, as many as its facts name: from memory, from its sidecar, or, if that does
    /// not fit, by a scan of the segment. Empty if there are none, or none any more.
    pub(super) async fn saved_index(
        &self,
        segment: SegmentHeader,
    ) -> Result<LoadedIndex, ReadError> {
        let wanted = {
            let mut state = self.state.borrow_mut();
            let known = state.segment_of(segment.generation);
            known.map_or(0, |segment| segment.meta.saved_entries())
        };
        if wanted == 0 {
            return Ok(Rc::from([]));
        }
        let (log_id, generation) = (self.log_id(), segment.generation);
        let held = self.lane.indexes.borrow_mut().get(log_id, generation);
        if let Some(index) = held
            && index.len() >= wanted
        {
            return Ok(index);
        }
        let path = sidecar_path(self.directory(), segment.base_offset);
        if let Some((sidecar, file)) = read_sidecar(&self.lane.disk, &path).await
            && sidecar.meta.header == segment
            && sidecar.meta.saved_entries() >= wanted
            && let Some(bytes) = read_range(&file, sidecar.entries_range()).await
            && let Some(entries) = sidecar.decode_entries(&bytes)
        {
            let index: LoadedIndex = entries.into();
            self.lane.count(|metrics| metrics.indexes_loaded += 1);
            let mut indexes = self.lane.indexes.borrow_mut();
            indexes.insert(log_id, generation, index.clone());
            return Ok(index);
        }
        tracing::warn!(%log_id, path = %path.display(), "index does not fit its segment: it is rebuilt");
        self.rebuild_index(segment).await?;
        Ok(Rc::from([]))
    }

    /// Scans a segment for its entries, which are in memory from here on.
    async fn rebuild_index(&self, header: SegmentHeader) -> Result<(), ReadError> {
        let found = {
            let mut state = self.state.borrow_mut();
            let interval = state.config.index_interval_bytes;
            state.segment_of(header.generation).map(|segment| {
                let meta = &segment.meta;
                (
                    segment.file.clone(),
                    meta.end_position,
                    meta.end_offset,
                    interval,
                )
            })
        };
        let Some((file, end_position, end_offset, interval)) = found else {
            return Ok(());
        };
        let file = file.open(&self.lane.disk).await;
        let file = file.map_err(|error| self.io_error(error))?;
        let mut reader = BlockReader::<D>::new(&file, end_position);
        let reach = Reach {
            stop: end_offset,
            search_until: end_position,
            search_bytes: 0,
        };
        let meta = SegmentMeta::new(header);
        let scan = scan_segment(&mut reader, meta, ProducerState::default(), reach, interval).await;
        let scan = scan.map_err(|error| self.io_error(error))?;
        self.lane.count(|metrics| metrics.indexes_rebuilt += 1);
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_of(header.generation)
            && segment.meta.saved_entries() > 0
        {
            segment.meta.restore_entries(scan.meta.into_entries());
        }
        Ok(())
    }

    /// The position and first offset of a block of `segment` at or below `offset`.
    pub(super) async fn seek_offset(
        &self,
        segment: SegmentHeader,
        offset: Offset,
    ) -> Result<Option<(u64, Offset)>, ReadError> {
        self.seek(segment, |meta, saved| meta.seek_offset(offset, saved))
            .await
    }

    /// The first offset of a block of `segment` before which every batch is older than `timestamp`.
    pub(super) async fn seek_timestamp(
        &self,
        segment: SegmentHeader,
        timestamp: TimestampMs,
    ) -> Result<Option<Offset>, ReadError> {
        self.seek(segment, |meta, saved| meta.seek_timestamp(timestamp, saved))
            .await
    }

    /// `None` if the segment is gone.
    async fn seek<T>(
        &self,
        segment: SegmentHeader,
        seek: impl Fn(&SegmentMeta, &[IndexEntry]) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let mut saved: LoadedIndex = Rc::from([]);
        loop {
            {
                let mut state = self.state.borrow_mut();
                let Some(known) = state.segment_of(segment.generation) else {
                    return Ok(None);
                };
                if let Some(found) = seek(&known.meta, &saved) {
                    return Ok(Some(found));
                }
            }
            saved = self.saved_index(segment).await?;
        }
    }
}
