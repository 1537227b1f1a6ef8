//! Making and deleting segments' files, anew or by way of the lane's pool of spares ([`crate::spares`]).

use std::path::Path;
use std::rc::Rc;

use corelane_format::{FilePosition, Offset};

use super::commit::{StepResult, step};
use super::cut::Cut;
use super::space::is_full;
use super::{PartitionLog, Segment, SegmentFile};
use crate::disk::{
    Disk, DiskFile, PAGE_BYTES, make_directories_durably, short_write, sync_parent, write_padded,
};
use crate::error::{ChangeError, FenceReason};
use crate::names::{sidecar_path, temporary_path};
use crate::reserve::reserve_target;
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::SegmentHeader;
use crate::spares::Retired;

/// Space that a sealed segment does not use goes back if it is more than this,
const UNUSED_BYTES_MIN: u64 = 1 << 20;
/// and more than this part of what it uses.
const UNUSED_PART: u64 = 4;

impl<D: Disk> PartitionLog<D> {
    /// Makes the segment's file, durably; it is named and has its header page on return. On a full disk the lane's spares
    /// go first.
    pub(crate) async fn create_segment(
        &self,
        segment_file: &SegmentFile<D>,
        header: SegmentHeader,
    ) -> StepResult<()> {
        match self.try_create_segment(segment_file, header).await {
            Err((_, error)) if is_full(&error) && self.lane.release_spares().await > 0 => {
                self.try_create_segment(segment_file, header).await
            }
            result => result,
        }
    }

    /// Temporary name, space, header page, flush, rename, sync the directory; the mark of a cut goes.
    async fn try_create_segment(
        &self,
        segment_file: &SegmentFile<D>,
        header: SegmentHeader,
    ) -> StepResult<()> {
        let disk = &self.lane.disk;
        let temporary = temporary_path(&segment_file.path);
        // A deleted log's directory must not come back.
        if !self.directory_is_durable.get() && self.fenced().is_none() {
            make_directories_durably(disk, self.directory())
                .await
                .map_err(step("make log directory"))?;
            self.directory_is_durable.set(true);
        }
        let (expected_bytes, size_bytes_max) = self.size_to_expect(header.base_offset);
        let spare = self
            .lane
            .spares
            .take(disk, &temporary, expected_bytes, size_bytes_max)
            .await;
        let is_recycled = spare.is_some();
        let (file, reserved) = match spare {
            Some(spare) => {
                if seeded_bug("spare-named-before-its-header") {
                    let named = disk.rename(&temporary, &segment_file.path).await;
                    named.map_err(step("name segment"))?;
                }
                write_first_pages(disk, &spare.file, header).await?;
                (spare.file, spare.size_bytes)
            }
            None => self.fresh_file(&temporary, header, size_bytes_max).await?,
        };
        file.flush().await.map_err(step("flush segment"))?;
        if !(is_recycled && seeded_bug("spare-named-before-its-header")) {
            disk.rename(&temporary, &segment_file.path)
                .await
                .map_err(step("name segment"))?;
        }
        if is_recycled {
            let synced = self.lane.spares.sync(disk).await;
            synced.map_err(step("sync spare segments"))?;
            self.lane.count(|metrics| metrics.spares_taken += 1);
        }
        if !seeded_bug("segment-name-not-synced") {
            sync_parent(disk, &segment_file.path)
                .await
                .map_err(step("sync log directory"))?;
        }
        // Before anything in the segment is acknowledged: a start may take what stands above a marked cut for what was cut.
        if self.cut_is_marked.get() && !seeded_bug("mark-outlives-its-cut") {
            Cut::remove(disk, self.directory())
                .await
                .map_err(step("remove the mark of the cut"))?;
            self.cut_is_marked.set(false);
        }
        segment_file.reserved_bytes.set(reserved);
        *segment_file.handle.borrow_mut() = Some(Rc::new(file));
        segment_file.exists.set(true);
        self.lane.count(|metrics| metrics.segments_created += 1);
        self.save_sealed_index(header);
        Ok(())
    }

    async fn fresh_file(
        &self,
        temporary: &Path,
        header: SegmentHeader,
        size_bytes_max: u64,
    ) -> StepResult<(D::File, u64)> {
        let disk = &self.lane.disk;
        let file = disk
            .create(temporary)
            .await
            .map_err(step("create segment"))?;
        let reserved = reserve_target(2 * PAGE_BYTES as u64, size_bytes_max);
        file.reserve(reserved)
            .await
            .map_err(step("reserve segment"))?;
        write_padded(disk, &file, &header.encode(), FilePosition::ZERO)
            .await
            .map_err(step("write segment header"))?;
        Ok((file, reserved))
    }

    /// How much of a new segment's space will probably be used, by the one before it, and how large it may be.
    fn size_to_expect(&self, base_offset: Offset) -> (u64, u64) {
        let state = self.state.borrow();
        let at = state
            .segments
            .partition_point(|segment| segment.meta.base_offset() < base_offset);
        let before = at.checked_sub(1).and_then(|at| state.segments.get(at));
        (
            before.map_or(0, |segment| segment.meta.end_position),
            state
                .config
                .segment_size_bytes
                .next_multiple_of(PAGE_BYTES as u64),
        )
    }

    /// Saves the index of the segment before the one that has just been created: it is complete and durable.
    fn save_sealed_index(&self, created: SegmentHeader) {
        let sealed = {
            let state = self.state.borrow();
            let at = state
                .segments
                .partition_point(|segment| segment.meta.base_offset() < created.base_offset);
            at.checked_sub(1)
                .map(|before| state.segments[before].meta.header.generation)
        };
        if let (Some(generation), Some(log)) = (sealed, self.weak().upgrade()) {
            self.lane.spawn(Box::pin(async move {
                log.write_sidecar(generation).await;
                log.give_back_unused(generation).await;
                // It is written no more, and readers open it again: descriptors are for the segments in use.
                let file = {
                    let mut state = log.state.borrow_mut();
                    let segment = state.segment_of(generation);
                    segment.map(|segment| segment.file.clone())
                };
                drop(file.and_then(|file| file.handle.borrow_mut().take()));
            }));
        }
    }

    /// Cuts a sealed segment's file where it ends, if much of it is unused: it may have been made over a larger spare.
    async fn give_back_unused(&self, generation: u64) {
        let segment = {
            let mut state = self.state.borrow_mut();
            state.segment_of(generation).map(|segment| {
                let end = segment.meta.end_position;
                (
                    segment.file.clone(),
                    end.next_multiple_of(PAGE_BYTES as u64),
                )
            })
        };
        let Some((file, end)) = segment else { return };
        let unused = file.reserved_bytes.get().saturating_sub(end);
        if unused < UNUSED_BYTES_MIN.max(end / UNUSED_PART) || file.reserving.get() {
            return;
        }
        // No more than space is at stake.
        let opened = file.open(&self.lane.disk).await;
        // Compaction gives a segment's name to another file.
        if self.state.borrow_mut().segment_of(generation).is_none() {
            return;
        }
        if let Ok(handle) = opened
            && handle.truncate(end).await.is_ok()
        {
            file.reserved_bytes.set(end);
            self.lane.space.notify();
        }
    }

    /// Deletes segments in the given order, each first its sidecar, or moves their files to the pool: pass what is returned
    /// to [`Spares::make_available`](crate::spares::Spares::make_available) after the log's directory is synced.
    pub(super) async fn delete_segments(
        &self,
        segments: Vec<Segment<D>>,
    ) -> Result<Vec<Retired>, ChangeError> {
        let lane = &self.lane;
        let mut kept = Vec::new();
        for segment in segments {
            self.delete_sidecar(segment.meta.base_offset()).await?;
            let retired = match reusable_size(&segment) {
                Some(size_bytes) => {
                    let path = &segment.file.path;
                    lane.spares.retire(&lane.disk, path, size_bytes).await
                }
                None => None,
            };
            if let Some(retired) = retired {
                kept.push(retired);
                lane.count(|metrics| metrics.spares_kept += 1);
            } else {
                match lane.disk.delete(&segment.file.path).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(self.io("delete segment")(error));
                    }
                    _ => {}
                }
            }
            lane.count(|metrics| metrics.segments_deleted += 1);
        }
        Ok(kept)
    }

    pub(super) async fn delete_sidecar(&self, base: Offset) -> Result<(), ChangeError> {
        let path = sidecar_path(self.directory(), base);
        match self.lane.disk.delete(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.io("delete index")(error))
            }
            _ => Ok(()),
        }
    }

    /// Moves files of this log, which is deleted and whose directory is `trash` now, durably to the pool. The
    /// others stay.
    pub(crate) async fn keep_spares_of(&self, trash: &Path) -> std::io::Result<()> {
        let lane = &self.lane;
        // Nobody can open them any more; who has one open is seen here.
        let files: Vec<_> = {
            let state = self.state.borrow();
            if !matches!(state.fenced, Some(FenceReason::Deleted)) {
                return Ok(());
            }
            state
                .segments
                .iter()
                .filter_map(|segment| {
                    let size_bytes = reusable_size(segment)?;
                    segment.file.handle.borrow_mut().take();
                    Some((segment.file.path.file_name()?.to_owned(), size_bytes))
                })
                .collect()
        };
        let mut kept = Vec::new();
        for (name, size_bytes) in files {
            let path = trash.join(name);
            let retired = lane.spares.retire(&lane.disk, &path, size_bytes).await;
            if let Some(retired) = retired {
                kept.push(retired);
                lane.count(|metrics| metrics.spares_kept += 1);
            }
        }
        if !kept.is_empty() {
            lane.disk.sync_directory(trash).await?;
            lane.spares.make_available(&lane.disk, kept).await;
        }
        Ok(())
    }
}

/// The header page and a page of zeros behind it, so that where the first block is looked for there is none of the file's
/// earlier life.
async fn write_first_pages<D: Disk>(
    disk: &D,
    file: &D::File,
    header: SegmentHeader,
) -> StepResult<()> {
    let mut buffer = disk.allocate(2 * PAGE_BYTES);
    let size_bytes = buffer.as_ref().len();
    let encoded = header.encode();
    buffer.as_mut().fill(0);
    buffer.as_mut()[..encoded.len()].copy_from_slice(&encoded);
    let written = file
        .write_at(Rc::new(buffer), FilePosition::ZERO)
        .await
        .map_err(step("write segment header"))?;
    if written != size_bytes {
        return Err(("write segment header", short_write(written, size_bytes)));
    }
    Ok(())
}

/// The size of a segment's file if it may be overwritten once it is renamed: nobody reads or writes it, now or later, and
/// no damage was found in it.
fn reusable_size<D: Disk>(segment: &Segment<D>) -> Option<u64> {
    let file = &segment.file;
    let in_use = !seeded_bug("file-in-use-kept-as-spare")
        && (Rc::strong_count(file) > 1
            || file
                .handle
                .borrow()
                .as_ref()
                .is_some_and(|handle| Rc::strong_count(handle) > 1));
    (file.exists.get() && !in_use && segment.meta.gaps.is_empty())
        .then(|| file.reserved_bytes.get())
}
