//! Opening a log: what is there, what of it is sound, where it goes on.
//!
//! Sealed segments are taken by their sidecars when these fit (their blocks are checked when they are read); the last
//! one is scanned from its last trustworthy point on. The rules are in [`crate::recovery`]. Opening writes no segment and
//! truncates nothing; it removes files with temporary names, and has the indexes of sealed segments written that it had to
//! rebuild.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, FilePosition, LogId, Offset, TimestampMs};

use super::checkpoint::CheckpointState;
use super::cut::Cut;
use super::index::read_sidecar;
use super::ride::RideState;
use super::scan::{BlockReader, Reach, SEARCH_BYTES, scan_segment};
use super::{Carry, LogState, PartitionLog, Segment, SegmentFile};
use crate::block::block_ceil;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, PAGE_BYTES, page_floor, read_small_file};
use crate::error::OpenError;
use crate::generation::counter;
use crate::lane::Lane;
use crate::names::{LOG_START, LogFile, segment_path, sidecar_path};
use crate::offsets::LogOffsets;
use crate::producer_state::ProducerState;
use crate::recovery::judge;
use crate::seeded_bugs::seeded_bug;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader, SegmentHeaderError};
use crate::segment_meta::SegmentMeta;
use crate::sidecar::{Sidecar, decode_log_start};
use crate::waiters::OffsetWaiters;

/// A smaller file is read at one go.
const WHOLE_BYTES_MAX: u64 = 64 << 10;

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments of the log.
    pub segments: usize,
    /// Those that were scanned, for want of a sidecar that fits; the last one always counts, however little was left.
    pub segments_scanned: usize,
    /// Bytes read by scans.
    pub scanned_bytes: u64,
    /// First offset.
    pub log_start_offset: Offset,
    /// Where the log goes on.
    pub log_end_offset: Offset,
    /// A torn tail: the log ends before it.
    pub torn_tail: Option<TornTail>,
    /// Damaged ranges of records that were durable. They answer reads with an error; the bytes are kept.
    pub quarantined: Vec<Range<Offset>>,
    /// Files with temporary names that were removed.
    pub temporary_files_removed: usize,
}

/// Where and why a log was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The first offset that is gone. It was never acknowledged as durable.
    pub offset: Offset,
    /// Where in the segment's file.
    pub position: u64,
    /// What stands there.
    pub detail: String,
}

/// What a log's directory holds.
#[derive(Default)]
struct Listing {
    /// The base offsets of the segments, in order.
    bases: Vec<Offset>,
    /// What `DeleteRecords` set.
    log_start: Option<Offset>,
    /// A truncation that is not complete.
    cut: Option<Cut>,
}

/// One open at a time: what it gathers on its way.
struct Opening<'a, D: Disk> {
    lane: &'a Rc<Lane<D>>,
    directory: &'a Path,
    log_id: LogId,
    config: &'a LogConfig,
    report: RecoveryReport,
    producers: ProducerState,
    /// Of the last segment so far.
    history: u64,
}

impl<D: Disk> PartitionLog<D> {
    pub(crate) async fn open(
        lane: &Rc<Lane<D>>,
        directory: &Path,
        log_id: LogId,
        config: LogConfig,
    ) -> Result<(Rc<Self>, RecoveryReport), OpenError> {
        let mut opening = Opening {
            lane,
            directory,
            log_id,
            config: &config,
            report: RecoveryReport::default(),
            producers: ProducerState::default(),
            history: 0,
        };
        let Listing {
            bases,
            log_start: recorded_start,
            cut,
        } = opening.list().await?;
        let cut_end = cut.map(|cut| cut.end);
        let mut segments: Vec<Segment<D>> = Vec::with_capacity(bases.len());
        let mut carry = Carry::None;
        for (index, base) in bases.iter().enumerate() {
            let next = bases.get(index + 1).copied().or(cut_end);
            let (segment, last_page) = opening.segment(*base, next).await?;
            opening.history = segment.meta.header.history;
            segments.push(segment);
            carry = last_page;
        }
        let Opening {
            mut report,
            mut producers,
            ..
        } = opening;
        let first = segments
            .first()
            .map_or(Offset::ZERO, |segment| segment.meta.base_offset());
        let recorded_start = recorded_start.filter(|_| !seeded_bug("log-start-forgotten"));
        let mut log_start = recorded_start.unwrap_or(Offset::ZERO).max(first);
        let mut log_end = segments
            .last()
            .map_or(Offset::ZERO, |segment| segment.meta.end_offset);
        if let Some(end) = cut_end {
            log_end = end;
            if segments.is_empty() {
                log_start = end;
            }
        }
        if log_start > log_end {
            // Everything was deleted, and what told the log's end is damaged or gone: offsets are never used again.
            log_end = log_start;
            if let Some(last) = segments.last_mut() {
                last.closed = true;
            }
        }
        producers.truncate(log_end);
        if seeded_bug("producers-forgotten") {
            producers = ProducerState::default();
        }
        report.segments = segments.len();
        report.log_start_offset = log_start;
        report.log_end_offset = log_end;
        if let Some(torn) = &report.torn_tail {
            tracing::warn!(%log_id, offset = %torn.offset, position = torn.position, detail = torn.detail, "torn tail cut off");
        }
        for range in &report.quarantined {
            tracing::error!(%log_id, start = %range.start, end = %range.end, "damaged range quarantined");
        }
        let headers = || segments.iter().map(|segment| segment.meta.header);
        let generation_counter = headers()
            .map(|header| counter(header.generation))
            .max()
            .unwrap_or(0);
        let history = headers()
            .map(|header| header.history)
            .chain(cut.map(|cut| cut.history))
            .max()
            .unwrap_or(0);
        let flush_messages = config.flush_messages;
        let mut offsets = LogOffsets::recovered(log_start, log_end, flush_messages);
        if bases.is_empty() && log_end > Offset::ZERO {
            offsets = LogOffsets::recovered(log_start, log_start, flush_messages);
        }
        let state = LogState {
            config,
            settled: offsets.log_end(),
            ride: RideState::default(),
            offsets,
            producers,
            segments,
            generation_counter,
            history,
            checkpoint: CheckpointState::default(),
            open: None,
            sealed: VecDeque::new(),
            in_flight: VecDeque::new(),
            tail: BTreeMap::new(),
            carry,
            recent_commit_bytes: 0,
            unflushed_bytes: 0,
            regions: BTreeMap::new(),
            loading: Vec::new(),
            waiters: OffsetWaiters::default(),
            fenced: None,
            frozen: false,
            closing: false,
            space_waiters: 0,
            space_asked_at: TimestampMs::new(0),
        };
        let missing: Vec<u64> = state
            .segments
            .iter()
            .filter(|segment| segment.sealed_producers.is_some())
            .map(|segment| segment.meta.header.generation)
            .collect();
        let log = Self::new(lane, directory, log_id, state);
        log.cut_is_marked.set(cut.is_some());
        if !missing.is_empty() {
            let saved = log.clone();
            lane.spawn(Box::pin(async move {
                for generation in missing {
                    saved.write_sidecar(generation).await;
                }
            }));
        }
        Ok((log, report))
    }
}

impl<D: Disk> Opening<'_, D> {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<D> {
        let path = path.to_path_buf();
        move |error| OpenError::Io {
            path,
            operation,
            error,
        }
    }

    async fn list(&mut self) -> Result<Listing, OpenError> {
        let disk = &self.lane.disk;
        let entries = match disk.list(self.directory).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(Self::io("list", self.directory)(error)),
        };
        let mut bases = Vec::new();
        let mut sidecars = Vec::new();
        let mut recorded = None;
        let mut cut = None;
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            let path: PathBuf = self.directory.join(&entry.name);
            match LogFile::parse(&entry.name) {
                LogFile::Segment(base) => bases.push(base),
                LogFile::Temporary => {
                    disk.delete(&path)
                        .await
                        .map_err(Self::io("delete", &path))?;
                    self.report.temporary_files_removed += 1;
                }
                LogFile::LogStart => {
                    let path = self.directory.join(LOG_START);
                    let bytes = read_small_file(disk, &path, PAGE_BYTES as u64)
                        .await
                        .map_err(Self::io("read", &path))?;
                    let Some((log_id, offset)) = decode_log_start(&bytes) else {
                        return Err(OpenError::LogStartCorrupt { path });
                    };
                    self.check_owner(&path, log_id)?;
                    recorded = Some(offset);
                }
                LogFile::Cut => {
                    let marker = Cut::read(disk, self.directory).await;
                    let marker = marker.map_err(Self::io("read", &path))?;
                    self.check_owner(&path, marker.log_id)?;
                    cut = Some(marker);
                }
                LogFile::Sidecar(base) => sidecars.push((base, path)),
                LogFile::Unknown => {}
            }
        }
        bases.sort_unstable();
        if let Some(marker) = cut {
            let completed = marker.complete(disk, self.directory, &mut bases).await;
            if completed.map_err(Self::io("complete the cut", self.directory))? {
                let removed = Cut::remove(disk, self.directory).await;
                removed.map_err(Self::io("remove the mark of the cut", self.directory))?;
                cut = None;
            }
            sidecars.retain(|(base, _)| *base < marker.end);
        }
        // An index that outlived its segment.
        for (base, path) in sidecars {
            if bases.binary_search(&base).is_err() {
                disk.delete(&path)
                    .await
                    .map_err(Self::io("delete", &path))?;
            }
        }
        Ok(Listing {
            bases,
            log_start: recorded,
            cut,
        })
    }

    fn check_owner(&self, path: &Path, got: LogId) -> Result<(), OpenError> {
        if got == self.log_id {
            return Ok(());
        }
        Err(OpenError::ForeignLog {
            path: path.to_path_buf(),
            got,
            expected: self.log_id,
        })
    }

    /// Opens one segment; `next` is the base of the one after it, which seals it. Also gives what a following block must
    /// repeat of the last page.
    async fn segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
    ) -> Result<(Segment<D>, Carry<D::Buffer>), OpenError> {
        let path = segment_path(self.directory, base);
        let segment_file = SegmentFile::<D>::new(path.clone(), true);
        let file = segment_file
            .open(&self.lane.disk)
            .await
            .map_err(Self::io("open", &path))?;
        let size = file.size().await.map_err(Self::io("size", &path))?;
        segment_file.reserved_bytes.set(size);
        let mut reader = BlockReader::<D>::new(&file, size);
        let decoded = if size <= WHOLE_BYTES_MAX {
            let page = reader.bytes(0, PAGE_BYTES).await;
            SegmentHeader::decode(page.map_err(Self::io("read", &path))?)
        } else {
            let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await;
            SegmentHeader::decode(page.map_err(Self::io("read", &path))?.as_ref())
        };
        if let Err(error @ SegmentHeaderError::Version { .. }) = decoded {
            return Err(OpenError::Version { path, error });
        }
        let decoded = decoded.ok().filter(|header| header.base_offset == base);
        let header_is_sound = decoded.is_some();
        let header = if let Some(header) = decoded {
            self.check_owner(&path, header.log_id)?;
            header
        } else {
            self.header_without_page(&mut reader, &path, base, next.is_some())
                .await?
        };

        let sidecar = self
            .sidecar(&mut reader, header, size)
            .await
            .map_err(Self::io("read", &path))?;
        let vouched = sidecar.as_ref().map(|(sidecar, _)| sidecar.meta.end_offset);
        let vouched_position = sidecar
            .as_ref()
            .map_or(0, |(sidecar, _)| sidecar.meta.end_position);
        let sound = sidecar.and_then(|(sidecar, is_sound)| is_sound.then_some(sidecar));
        let interval = self.config.index_interval_bytes;
        let stop = next.unwrap_or(Offset::new(i64::MAX));
        let (start, start_producers) = match sound {
            Some(sidecar) if next.is_some_and(|next| sidecar.meta.end_offset == next) => {
                self.producers = sidecar.producers;
                *segment_file.handle.borrow_mut() = None;
                self.report
                    .quarantined
                    .extend(sidecar.meta.gaps.iter().cloned());
                let segment = Segment {
                    meta: sidecar.meta,
                    file: segment_file,
                    sealed_producers: None,
                    checkpoint_position: 0,
                    closed: true,
                };
                return Ok((segment, Carry::None));
            }
            Some(sidecar) if next.is_none_or(|next| sidecar.meta.end_offset < next) => {
                (sidecar.meta, sidecar.producers)
            }
            _ => (SegmentMeta::new(header), self.producers.clone()),
        };

        let checkpoint_position = start.end_position;
        self.report.segments_scanned += 1;
        let known_gaps = start.gaps.clone();
        let reach = Reach {
            stop,
            search_until: vouched_position,
            search_bytes: if next.is_some() {
                u64::MAX
            } else {
                SEARCH_BYTES + self.config.message_size_bytes_max as u64
            },
        };
        let mut scan = scan_segment(
            &mut reader,
            start.clone(),
            start_producers.clone(),
            reach,
            interval,
        )
        .await
        .map_err(Self::io("scan", &path))?;
        let flushed = match next {
            Some(next) => next,
            None if seeded_bug("everything-counts-as-flushed") => scan.meta.end_offset,
            None => scan.flushed.max(vouched.unwrap_or(base)).max(base),
        };
        let verdict = judge(&scan.gaps, scan.meta.end_offset, flushed);
        if let Some(cut) = &verdict.cut {
            let cut_at = cut.start;
            if cut.end.is_some() {
                // What was gathered behind the cut must not count.
                let reach = Reach {
                    stop: cut_at,
                    ..reach
                };
                scan = scan_segment(&mut reader, start, start_producers, reach, interval)
                    .await
                    .map_err(Self::io("scan", &path))?;
                scan.meta.end_offset = cut_at;
            }
            self.report.torn_tail = Some(TornTail {
                offset: cut_at,
                position: cut.position,
                detail: cut.detail.clone(),
            });
        }
        self.report.scanned_bytes += reader.bytes_read();
        for range in &verdict.quarantine {
            scan.meta.quarantine(range.clone());
        }
        scan.meta.cut(stop);
        self.report.quarantined.extend(known_gaps);
        self.report
            .quarantined
            .extend(verdict.quarantine.iter().cloned());
        self.producers = scan.producers;

        let closed = next.is_some()
            || (verdict.cut.is_some() && !seeded_bug("torn-segment-goes-on"))
            || !verdict.quarantine.is_empty()
            || scan.stale
            || !header_is_sound;
        let mut carry = Carry::None;
        // Opened again when it is needed: descriptors are for the segments in use.
        *segment_file.handle.borrow_mut() = None;
        if !closed {
            let page = page_floor(block_ceil(scan.meta.end_position));
            if page < scan.meta.end_position {
                let length = (scan.meta.end_position - page) as usize;
                let bytes = reader
                    .bytes(page, length)
                    .await
                    .map_err(Self::io("read", &path))?;
                carry = Carry::Bytes(bytes.get(..length).unwrap_or(bytes).into());
            }
        }
        // An index that was missing is saved once the log is open, unless it would make damage pass for known.
        let is_missing = next.is_some() && scan.meta.gaps.is_empty() && !scan.meta.is_cut;
        let segment = Segment {
            meta: scan.meta,
            file: segment_file,
            sealed_producers: is_missing.then(|| self.producers.clone()),
            checkpoint_position,
            closed,
        };
        Ok((segment, carry))
    }

    /// Who a segment is whose header page is lost.
    async fn header_without_page(
        &self,
        reader: &mut BlockReader<'_, D>,
        path: &Path,
        base: Offset,
        is_sealed: bool,
    ) -> Result<SegmentHeader, OpenError> {
        let io = || Self::io("scan", path);
        let sidecar = self
            .read_sidecar(base)
            .await
            .map(|sidecar| sidecar.meta.header)
            .filter(|header| header.log_id == self.log_id && header.base_offset == base);
        let history = sidecar.map_or(self.history, |header| header.history);
        let inferred = reader.infer_header(self.log_id, base, history);
        let known = inferred.await.map_err(io())?.or(sidecar);
        tracing::error!(log_id = %self.log_id, path = %path.display(), known = known.is_some(), "segment header page is damaged");
        if let Some(header) = known {
            return Ok(header);
        }
        // A sealed segment is quarantined whole. Of the last one nobody knows how far it went, unless nothing was written.
        let nobody = SegmentHeader {
            log_id: self.log_id,
            generation: 0,
            base_offset: base,
            history,
        };
        let search = reader.find_block(FIRST_BLOCK_POSITION, SEARCH_BYTES, &nobody, base);
        if !is_sealed && !search.await.map_err(io())?.1.zeros {
            return Err(OpenError::HeaderLost {
                path: path.to_path_buf(),
            });
        }
        Ok(nobody)
    }

    /// The sidecar of the segment from `base` on, whoever it is. Derived data that cannot be read is data that is not
    /// there.
    async fn read_sidecar(&self, base: Offset) -> Option<Sidecar> {
        let path = sidecar_path(self.directory, base);
        let (sidecar, _) = read_sidecar(&self.lane.disk, &path).await?;
        Some(sidecar)
    }

    /// The segment's sidecar, if there is one for this very segment, and whether the segment's last block is what the
    /// sidecar says, so that a scan may begin there.
    async fn sidecar(
        &self,
        reader: &mut BlockReader<'_, D>,
        header: SegmentHeader,
        size: u64,
    ) -> io::Result<Option<(Sidecar, bool)>> {
        let sidecar = self.read_sidecar(header.base_offset).await;
        let Some(sidecar) = sidecar.filter(|sidecar| sidecar.meta.header == header) else {
            return Ok(None);
        };
        let meta = &sidecar.meta;
        if meta.end_position > size {
            return Ok(Some((sidecar, false)));
        }
        if meta.last_block_position == 0 {
            let is_sound = meta.end_position == FIRST_BLOCK_POSITION;
            return Ok(Some((sidecar, is_sound)));
        }
        let mut batches = Vec::new();
        let block = reader
            .block(meta.last_block_position, &header, &mut batches)
            .await?;
        let is_sound = seeded_bug("sidecar-believed")
            || block.is_ok_and(|block| {
                let end = meta.last_block_position
                    + COMMIT_BLOCK_HEADER_BYTES as u64
                    + u64::from(block.body_length);
                end == meta.end_position && block.body_checksum == meta.chain
            });
        Ok(Some((sidecar, is_sound)))
    }
}
