//! Putting a rewritten segment in the place of those that it was made of.
//!
//! 1. It takes its place in memory: readers find it from here on. Whoever has planned to read an old one still has its file.
//! 2. It is renamed over the first of them, and the directory is synced.
//! 3. The others are deleted or become spares, lowest first, and the directory is synced after each.
//!
//! A crash before 2 leaves a temporary file. A crash after 2 leaves the new segment and some of the others behind it: each
//! of these bounds what is before it, so every offset is read from one file, the new one or the old one. They are deleted
//! lowest first so that what is left behind the new one is always gapless.

use std::io;
use std::rc::Rc;

use super::rewrite::NewSegment;
use super::{Part, Stop};
use crate::disk::{Disk, sync_parent};
use crate::error::ChangeError;
use crate::log::index::read_sidecar;
use crate::log::{PartitionLog, Segment, SegmentFile};
use crate::names::{compacted_path, segment_path, sidecar_path};
use crate::producer_state::ProducerState;
use crate::seeded_bugs::seeded_bug;

impl<D: Disk> PartitionLog<D> {
    /// Whether the group was replaced: not if retention has deleted some of it meanwhile. `history` is the log's when the
    /// keys were mapped: after a cut, what superseded the records that went may be gone itself.
    pub(super) async fn swap(
        &self,
        group: &mut [Part<D>],
        new: NewSegment<D>,
        history: u64,
    ) -> Result<bool, Stop> {
        let base = new.meta.base_offset();
        let generation = new.meta.header.generation;
        let temporary = compacted_path(self.directory(), base);
        let path = segment_path(self.directory(), base);
        let producers = match group.last() {
            Some(last) => self.producers_at_end(last).await,
            None => None,
        };
        let _guard = self.changing.lock().await;
        let is_cut = self.state.borrow().history != history && !seeded_bug("swapped-after-a-cut");
        let check = match self.check_going_on() {
            Ok(()) if is_cut => Err(Stop::Abandoned),
            Ok(()) => self.find_group(group),
            Err(stop) => Err(stop),
        };
        let at = match check {
            Ok(Some(at)) => at,
            other => {
                drop(self.lane.disk.delete(&temporary).await);
                return other.map(|_| false);
            }
        };
        let new = Segment {
            meta: new.meta,
            file: SegmentFile::replacing(path.clone(), new.file, new.size_bytes),
            closed: true,
            checkpoint_position: 0,
            sealed_producers: producers,
        };
        let replaced = self.replace_in_memory(at, group.len(), new);
        // The pass needs them no more. Whoever else has one of these files keeps it from being overwritten.
        for part in group {
            part.file = None;
        }
        let result = self.replace_on_disk(&temporary, &path, replaced).await;
        if let Err((operation, error)) = result {
            // Memory and disk may disagree from here on.
            let error = Rc::new(error);
            self.fail_compaction(operation, &error);
            return Err(Stop::Error(ChangeError::Io {
                log_id: self.log_id(),
                operation,
                error,
            }));
        }
        self.write_sidecar(generation).await;
        // Descriptors are for the segments in use.
        if let Some(segment) = self.state.borrow_mut().segment_of(generation) {
            *segment.file.handle.borrow_mut() = None;
        }
        self.lane.space.notify();
        Ok(true)
    }

    fn fail_compaction(&self, operation: &'static str, error: &Rc<io::Error>) {
        tracing::error!(log_id = %self.log_id(), operation, %error, "log fenced: a compacted segment may not have taken its place");
        self.lane.count(|metrics| metrics.failures += 1);
        self.fence(crate::error::FenceReason::Io {
            operation,
            error: error.clone(),
        });
    }

    /// Where the group stands among the segments; `None` if some of it was deleted from the log's front.
    fn find_group(&self, group: &[Part<D>]) -> Result<Option<usize>, Stop> {
        let state = self.state.borrow();
        let first = group.first().map_or(0, |part| part.header.generation);
        let at = state
            .segments
            .iter()
            .position(|segment| segment.meta.header.generation == first);
        let Some(at) = at else {
            let log_start = state.offsets.log_start();
            let below = group
                .first()
                .is_some_and(|part| part.segment.end <= log_start);
            return if below {
                Ok(None)
            } else {
                Err(Stop::Abandoned)
            };
        };
        let same = state.segments.len() > at + group.len()
            && state.segments[at..]
                .iter()
                .zip(group)
                .all(|(segment, part)| {
                    segment.meta.header == part.header
                        && segment.meta.end_offset == part.segment.end
                        && segment.meta.gaps.is_empty()
                });
        if same {
            Ok(Some(at))
        } else {
            Err(Stop::Abandoned)
        }
    }

    fn replace_in_memory(&self, at: usize, count: usize, new: Segment<D>) -> Vec<Segment<D>> {
        let mut state = self.state.borrow_mut();
        let range = new.meta.base_offset()..new.meta.end_offset;
        let replaced = state.segments.splice(at..at + count, [new]).collect();
        // What is in memory of the old ones would be given out beside the new one.
        if !seeded_bug("replaced-batches-stay-in-memory") {
            state.regions.retain(|first, _| !range.contains(first));
            state.tail.retain(|first, _| !range.contains(first));
        }
        replaced
    }

    async fn replace_on_disk(
        &self,
        temporary: &std::path::Path,
        path: &std::path::Path,
        replaced: Vec<Segment<D>>,
    ) -> Result<(), (&'static str, io::Error)> {
        let disk = &self.lane.disk;
        disk.rename(temporary, path)
            .await
            .map_err(|error| ("name segment", error))?;
        sync_parent(disk, path)
            .await
            .map_err(|error| ("sync log directory", error))?;
        let mut retired = Vec::new();
        let mut others: Vec<Segment<D>> = replaced.into_iter().skip(1).collect();
        if seeded_bug("replaced-from-the-end") {
            others.reverse();
        }
        for segment in others {
            let deleted = self.delete_segments(vec![segment]).await;
            let deleted =
                deleted.map_err(|error| ("delete segment", io::Error::other(error.to_string())))?;
            retired.extend(deleted);
            sync_parent(disk, path)
                .await
                .map_err(|error| ("sync log directory", error))?;
        }
        self.lane.spares.make_available(disk, retired).await;
        Ok(())
    }

    /// The producers as of a segment's end, for the sidecar of what replaces it. Without them there is none, and the next
    /// start scans the segment.
    async fn producers_at_end(&self, part: &Part<D>) -> Option<ProducerState> {
        let pending = {
            let mut state = self.state.borrow_mut();
            state
                .segment_of(part.header.generation)
                .and_then(|segment| segment.sealed_producers.clone())
        };
        if pending.is_some() {
            return pending;
        }
        let path = sidecar_path(self.directory(), part.segment.base);
        read_sidecar(&self.lane.disk, &path)
            .await
            .map(|(sidecar, _)| sidecar)
            .filter(|sidecar| sidecar.meta.header == part.header)
            .map(|sidecar| sidecar.producers)
    }
}

impl<D: Disk> SegmentFile<D> {
    /// A file that is open and about to get its final name.
    fn replacing(path: std::path::PathBuf, file: Rc<D::File>, size_bytes: u64) -> Rc<Self> {
        let replacing = Self::new(path, true);
        *replacing.handle.borrow_mut() = Some(file);
        replacing.reserved_bytes.set(size_bytes);
        replacing
    }
}
