//! Checks all files of a log: header pages, chains of blocks, batches, records if asked, sidecars, the log start, the mark of
//! an unfinished truncation.
//!
//! What a gap means is decided as at a start, by [`crate::recovery::judge`]: the base of the next segment, the blocks'
//! flushed offsets and the sidecar tell what was durable. One segment is in memory a window at a time.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use corelane_format::{LogId, Offset};

use super::finding::{Finding, FindingKind};
use super::pending_cut::PendingCut;
use super::records_check::check_records;
use super::sidecar_check::SidecarCheck;
use super::walk::{SegmentWalk, WalkError, WalkItem, WalkedBlock, WalkedGap};
use crate::disk::{Disk, DiskFile, PAGE_BYTES, read_small_file};
use crate::names::{CUT, LOG_START, LogFile, TRASH_SUFFIX, segment_path, sidecar_path};
use crate::recovery::{Gap, judge};
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader, SegmentHeaderError};
use crate::sidecar::{SIDECAR_BYTES_MAX, Sidecar, decode_log_start};

/// Damage in more places than these counts as one from there on: what is kept of it must stay small.
const GAPS_MAX: usize = 10_000;

/// How much is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Read every record too, not only the batches' checksums.
    pub records: bool,
}

/// Takes what a check finds while it goes on.
pub trait VerifySink {
    /// Something is not as it should be.
    fn finding(&mut self, finding: Finding);
    /// So many more bytes were read.
    fn bytes_read(&mut self, size_bytes: u64);
}

/// What a log holds, as far as it is sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSummary {
    /// Segments.
    pub segments: u64,
    /// Bytes of their sound blocks, headers included.
    pub block_bytes: u64,
    /// Sound blocks.
    pub blocks: u64,
    /// Batches in them.
    pub batches: u64,
    /// Records in them: as the batches' headers say, or as they were read.
    pub records: u64,
    /// Sidecars that fit.
    pub sidecars: u64,
    /// First offset.
    pub log_start_offset: Offset,
    /// Where the log would go on; exclusive.
    pub log_end_offset: Offset,
    /// Offsets that a start would quarantine.
    pub offsets_damaged: u64,
}

/// D of one segment file, for which `walk` is a walk that has not begun: the offset (exclusive) up to which records were
/// durable. `next` is the base of the segment after it.
///
/// # Errors
/// The file cannot be read.
pub async fn durable_end<D: Disk>(
    disk: &D,
    path: &Path,
    mut walk: SegmentWalk<'_, D>,
    next: Option<Offset>,
) -> io::Result<Offset> {
    if let Some(next) = next {
        return Ok(next);
    }
    let header = *walk.header();
    let sidecar = read_small_file(disk, &path.with_extension("index"), SIDECAR_BYTES_MAX).await;
    let vouched = sidecar
        .ok()
        .and_then(|bytes| Sidecar::decode_whole(&bytes))
        .filter(|sidecar| sidecar.meta.header == header)
        .map_or(header.base_offset, |sidecar| sidecar.meta.end_offset);
    while walk.next().await?.is_some() {}
    Ok(walk.flushed_offset().max(vouched))
}

/// What stands in a log's directory.
#[derive(Default)]
struct Listing {
    bases: Vec<Offset>,
    sidecars: Vec<Offset>,
    has_log_start: bool,
    has_cut: bool,
    temporary: Vec<PathBuf>,
}

/// One check: what it gathers on its way.
struct Check<'a, D: Disk> {
    disk: &'a D,
    directory: &'a Path,
    /// Whose files these must be; the first file says so if the caller does not.
    log_id: Option<LogId>,
    options: VerifyOptions,
    sink: &'a mut dyn VerifySink,
    summary: LogSummary,
}

/// Checks the log in `directory`, or one segment of it (`only`, its base offset).
///
/// # Errors
/// The directory cannot be listed. What cannot be read within it is a finding.
pub async fn verify_log<D: Disk>(
    disk: &D,
    directory: &Path,
    log_id: Option<LogId>,
    only: Option<Offset>,
    options: VerifyOptions,
    sink: &mut dyn VerifySink,
) -> io::Result<LogSummary> {
    let mut listing = list(disk, directory).await?;
    let mut check = Check {
        disk,
        directory,
        log_id,
        options,
        sink,
        summary: LogSummary::default(),
    };
    let cut_end = if listing.has_cut {
        check.pending_cut(&mut listing, only).await
    } else {
        None
    };
    let wanted = |base: Offset| only.is_none_or(|only| only == base);
    for (index, base) in listing.bases.iter().copied().enumerate() {
        if wanted(base) {
            let next = listing.bases.get(index + 1).copied();
            check.segment(base, next.or(cut_end)).await;
        }
    }
    if only.is_none() {
        if let (true, Some(end)) = (listing.bases.is_empty(), cut_end) {
            check.summary.log_end_offset = end;
        }
        let first = listing.bases.first().copied().or(cut_end);
        check.summary.log_start_offset = first.unwrap_or(Offset::ZERO);
        if listing.has_log_start {
            check.log_start().await;
        }
        check.leftovers(&listing);
    }
    Ok(check.summary)
}

async fn list<D: Disk>(disk: &D, directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in disk.list(directory).await? {
        if entry.is_directory {
            continue;
        }
        match LogFile::parse(&entry.name) {
            LogFile::Segment(base) => listing.bases.push(base),
            LogFile::Sidecar(base) => listing.sidecars.push(base),
            LogFile::LogStart => listing.has_log_start = true,
            LogFile::Temporary => listing.temporary.push(directory.join(&entry.name)),
            LogFile::Cut => listing.has_cut = true,
            LogFile::Unknown => {}
        }
    }
    listing.bases.sort_unstable();
    Ok(listing)
}

/// The base offset that a file's name says, if it is named as a segment.
pub fn segment_base(path: &Path) -> Option<Offset> {
    match LogFile::parse(path.file_name()?.to_str()?) {
        LogFile::Segment(base) => Some(base),
        _ => None,
    }
}

/// The log id that a partition's directory names, `TOPIC-INDEX.LOGID`; `None` for other names.
pub fn directory_log_id(directory: &Path) -> Option<LogId> {
    let (partition, id) = directory.file_name()?.to_str()?.rsplit_once('.')?;
    let (_, index) = partition.rsplit_once('-')?;
    index.parse::<u32>().ok()?;
    u64::from_str_radix(id, 16).ok().map(LogId::new)
}

/// Whether a directory is what is left of a deleted log.
pub fn is_deleted(directory: &Path) -> bool {
    directory
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.ends_with(TRASH_SUFFIX))
}

/// What a walk through one segment has found.
struct Survey {
    gaps: Vec<WalkedGap>,
    flushed: Offset,
    end: Offset,
    end_position: u64,
}

impl<D: Disk> Check<'_, D> {
    fn find(&mut self, kind: FindingKind, path: &Path, detail: impl Into<String>) {
        self.sink.finding(Finding {
            kind,
            path: path.to_path_buf(),
            position: None,
            until: None,
            offsets: None,
            detail: detail.into(),
        });
    }

    /// Takes from `listing` what a truncation that was not finished has cut off; gives where the log ends by it.
    async fn pending_cut(&mut self, listing: &mut Listing, only: Option<Offset>) -> Option<Offset> {
        let path = self.directory.join(CUT);
        let cut = match PendingCut::read(self.disk, self.directory, &listing.bases).await {
            Ok(cut) => cut,
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::InvalidData => FindingKind::CutMark,
                    _ => FindingKind::Unreadable,
                };
                self.find(kind, &path, error.to_string());
                return None;
            }
        };
        let expected = *self.log_id.get_or_insert(cut.log_id);
        if cut.log_id != expected {
            let detail = format!(
                "it belongs to log {}, the directory to log {expected}",
                cut.log_id
            );
            self.find(FindingKind::ForeignFile, &path, detail);
            return None;
        }
        cut.apply(&mut listing.bases);
        let removed = |base: &Offset| cut.removed.binary_search(base).is_ok();
        listing.sidecars.retain(|base| !removed(base));
        if only.is_none() {
            let detail = if cut.ends_log {
                format!(
                    "a truncation was interrupted: the log ends at offset {}",
                    cut.at
                )
            } else {
                format!("the truncation to offset {} is complete", cut.at)
            };
            self.find(FindingKind::Leftover, &path, detail);
        }
        for base in &cut.removed {
            if only.is_none_or(|only| only == *base) {
                let path = segment_path(self.directory, *base);
                let detail = format!("the log was cut at offset {}", cut.at);
                self.find(FindingKind::Leftover, &path, detail);
            }
        }
        cut.end()
    }

    async fn segment(&mut self, base: Offset, next: Option<Offset>) {
        self.summary.segments += 1;
        let path = segment_path(self.directory, base);
        let checked = match self.disk.open(&path).await {
            Ok(file) => self.segment_file(&path, &file, base, next).await,
            Err(error) => Err(error),
        };
        if let Err(error) = checked {
            self.find(FindingKind::Unreadable, &path, error.to_string());
            // What lies in it is not known; what the next one begins with is.
            self.summary.log_end_offset = next.unwrap_or(base);
        }
    }

    async fn segment_file(
        &mut self,
        path: &Path,
        file: &D::File,
        base: Offset,
        next: Option<Offset>,
    ) -> io::Result<()> {
        let recorded = self.sidecar(base).await;
        let walk = match SegmentWalk::<D>::new(file).await {
            Ok(walk) if walk.header().base_offset == base => {
                if !walk.header_is_whole() {
                    self.header_finding(path, "one of its two copies is damaged".to_owned());
                }
                walk
            }
            Err(WalkError::Io(error)) => return Err(error),
            Err(WalkError::Header(error @ SegmentHeaderError::Version { .. })) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, error));
            }
            other => {
                let detail = match other {
                    Ok(walk) => format!(
                        "the header page says base offset {}, the name {base}",
                        walk.header().base_offset
                    ),
                    Err(error) => error.to_string(),
                };
                self.header_finding(path, detail);
                let recorded = recorded.as_ref().map(|sidecar| sidecar.meta.header);
                self.walk_without_header(file, base, next, recorded).await?
            }
        };
        let got = walk.header().log_id;
        let expected = *self.log_id.get_or_insert(got);
        if got != expected {
            self.find(
                FindingKind::ForeignFile,
                path,
                format!("it belongs to log {got}, the directory to log {expected}"),
            );
            self.summary.log_end_offset = next.unwrap_or(base);
            return Ok(());
        }
        let limit = next.unwrap_or(Offset::new(i64::MAX));
        let mut sidecar = self.fitting(base, recorded, walk.header(), limit);
        let vouched = sidecar.as_ref().map(SidecarCheck::end_offset);
        let walk = walk.up_to(limit);
        let survey = self.walk(path, walk, sidecar.as_mut()).await?;
        let flushed = match next {
            Some(next) => next,
            None => survey.flushed.max(vouched.unwrap_or(base)).max(base),
        };
        let end = self.judge(path, &survey, flushed);
        self.summary.log_end_offset = next.unwrap_or(end);
        if let Some(sidecar) = sidecar {
            self.finish_sidecar(base, sidecar);
        }
        Ok(())
    }

    async fn walk(
        &mut self,
        path: &Path,
        mut walk: SegmentWalk<'_, D>,
        mut sidecar: Option<&mut SidecarCheck>,
    ) -> io::Result<Survey> {
        let mut gaps: Vec<WalkedGap> = Vec::new();
        let mut end_position = 0;
        let mut reported = 0;
        while let Some(item) = walk.next().await? {
            match item {
                WalkItem::Block(block) => {
                    self.block(path, &mut walk, &block).await?;
                    if let Some(sidecar) = sidecar.as_deref_mut() {
                        sidecar.block(&block);
                    }
                    end_position = block.end_position;
                }
                WalkItem::Gap(gap) => {
                    if let Some(sidecar) = sidecar.as_deref_mut() {
                        sidecar.gap(&gap);
                    }
                    let is_full = gaps.len() >= GAPS_MAX;
                    match gaps.last_mut() {
                        Some(last) if is_full => {
                            (last.until, last.end) = (gap.until, gap.end);
                        }
                        _ => gaps.push(gap),
                    }
                }
                WalkItem::End { position, .. } => end_position = position,
            }
            let read = walk.bytes_read();
            self.sink.bytes_read(read - reported);
            reported = read;
        }
        Ok(Survey {
            gaps,
            flushed: walk.flushed_offset(),
            end: walk.end_offset(),
            end_position,
        })
    }

    async fn block(
        &mut self,
        path: &Path,
        walk: &mut SegmentWalk<'_, D>,
        block: &WalkedBlock,
    ) -> io::Result<()> {
        self.summary.blocks += 1;
        self.summary.block_bytes += block.end_position - block.position;
        self.summary.batches += block.batches.len() as u64;
        if !self.options.records {
            let records = block.batches.iter();
            self.summary.records += records
                .map(|batch| u64::try_from(batch.records_count).unwrap_or(0))
                .sum::<u64>();
            return Ok(());
        }
        let mut at = block.position + corelane_format::COMMIT_BLOCK_HEADER_BYTES as u64;
        for batch in &block.batches {
            let bytes = walk.bytes(at, batch.size_bytes()).await?;
            match check_records(bytes) {
                Ok(records) => self.summary.records += records,
                Err(detail) => self.sink.finding(Finding {
                    kind: FindingKind::UnreadableRecords,
                    path: path.to_path_buf(),
                    position: Some(at),
                    until: Some(at + batch.size_bytes() as u64),
                    offsets: Some(batch.base_offset..batch.next_offset()),
                    detail,
                }),
            }
            at += batch.size_bytes() as u64;
        }
        Ok(())
    }

    /// Reports what the gaps mean; gives where the log would end.
    fn judge(&mut self, path: &Path, survey: &Survey, flushed: Offset) -> Offset {
        let gaps: Vec<Gap> = survey
            .gaps
            .iter()
            .map(|gap| Gap {
                start: gap.start,
                end: gap.end,
                position: gap.position,
                detail: gap.detail.clone(),
            })
            .collect();
        let verdict = judge(&gaps, survey.end, flushed);
        // The quarantined ranges are the first gaps, in order; one more is what is missing at the end.
        for (index, range) in verdict.quarantine.iter().enumerate() {
            self.summary.offsets_damaged += range.end.minus(range.start).unsigned_abs();
            let gap = survey.gaps.get(index);
            self.sink.finding(Finding {
                kind: FindingKind::DamagedRecords,
                path: path.to_path_buf(),
                position: Some(gap.map_or(survey.end_position, |gap| gap.position)),
                until: gap.and_then(|gap| gap.until),
                offsets: Some(range.clone()),
                detail: gap.map_or_else(
                    || "the segment ends before the records that were durable do".to_owned(),
                    |gap| gap.detail.clone(),
                ),
            });
        }
        if let Some(cut) = &verdict.cut {
            self.sink.finding(Finding {
                kind: FindingKind::TornTail,
                path: path.to_path_buf(),
                position: Some(cut.position),
                until: None,
                offsets: None,
                detail: format!("the log ends before offset {}: {}", cut.start, cut.detail),
            });
            return cut.start;
        }
        survey.end.max(flushed)
    }

    fn header_finding(&mut self, path: &Path, detail: String) {
        self.sink.finding(Finding {
            kind: FindingKind::SegmentHeader,
            path: path.to_path_buf(),
            position: Some(0),
            until: Some(PAGE_BYTES as u64),
            offsets: None,
            detail,
        });
    }

    async fn walk_without_header<'f>(
        &mut self,
        file: &'f D::File,
        base: Offset,
        next: Option<Offset>,
        recorded: Option<SegmentHeader>,
    ) -> io::Result<SegmentWalk<'f, D>> {
        let recorded = recorded.filter(|header| header.base_offset == base);
        let log_id = self.log_id.or(recorded.map(|header| header.log_id));
        let log_id = log_id.unwrap_or(LogId::new(0));
        let known = SegmentWalk::<D>::without_header(file, log_id, base, recorded).await?;
        if let Some(walk) = known {
            return Ok(walk);
        }
        let size = file.size().await?;
        if next.is_none() && size > FIRST_BLOCK_POSITION {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "neither the header page nor a first block nor a sidecar says whose segment this is: the log will not be opened",
            ));
        }
        // No block is of such a segment, so all of it is lost.
        let header = SegmentHeader {
            log_id,
            generation: 0,
            base_offset: base,
            history: 0,
        };
        Ok(SegmentWalk::of(file, size, header))
    }

    /// The sidecar of the segment from `base` on, whoever that is.
    async fn sidecar(&mut self, base: Offset) -> Option<Sidecar> {
        let path = sidecar_path(self.directory, base);
        let bytes = match read_small_file(self.disk, &path, SIDECAR_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.find(FindingKind::Unreadable, &path, error.to_string());
                return None;
            }
        };
        let sidecar = Sidecar::decode_whole(&bytes);
        if sidecar.is_none() {
            self.find(
                FindingKind::Sidecar,
                &path,
                "its checksum or its structure is wrong",
            );
        }
        sidecar
    }

    /// The sidecar, if it says to be of this segment.
    fn fitting(
        &mut self,
        base: Offset,
        sidecar: Option<Sidecar>,
        header: &SegmentHeader,
        limit: Offset,
    ) -> Option<SidecarCheck> {
        let sidecar = sidecar?;
        let told = sidecar.meta.header;
        if told != *header {
            self.find(
                FindingKind::StaleSidecar,
                &sidecar_path(self.directory, base),
                format!(
                    "it is of log {} generation {}, the segment of log {} generation {}",
                    told.log_id, told.generation, header.log_id, header.generation
                ),
            );
            return None;
        }
        if sidecar.meta.end_offset > limit {
            // A truncation has cut off what it covers: a start does without it.
            self.find(
                FindingKind::StaleSidecar,
                &sidecar_path(self.directory, base),
                format!(
                    "it reaches up to offset {}, the next segment begins at {limit}",
                    sidecar.meta.end_offset
                ),
            );
            return None;
        }
        Some(SidecarCheck::new(sidecar, limit))
    }

    fn finish_sidecar(&mut self, base: Offset, sidecar: SidecarCheck) {
        let path = sidecar_path(self.directory, base);
        let (faults, sound_again) = sidecar.finish();
        if faults.is_empty() {
            self.summary.sidecars += 1;
        }
        for fault in faults {
            self.find(FindingKind::Sidecar, &path, fault);
        }
        for range in sound_again {
            self.sink.finding(Finding {
                kind: FindingKind::SoundAgain,
                path: path.clone(),
                position: None,
                until: None,
                offsets: Some(range),
                detail: "it is on record as damaged, and its blocks are sound".to_owned(),
            });
        }
    }

    async fn log_start(&mut self) {
        let path = self.directory.join(LOG_START);
        let bytes = match read_small_file(self.disk, &path, PAGE_BYTES as u64).await {
            Ok(bytes) => bytes,
            Err(error) => return self.find(FindingKind::Unreadable, &path, error.to_string()),
        };
        let Some((log_id, offset)) = decode_log_start(&bytes) else {
            return self.find(
                FindingKind::LogStart,
                &path,
                "its checksum or its structure is wrong",
            );
        };
        match self.log_id {
            Some(expected) if expected != log_id => self.find(
                FindingKind::ForeignFile,
                &path,
                format!("it belongs to log {log_id}, the directory to log {expected}"),
            ),
            _ => {
                let summary = &mut self.summary;
                summary.log_start_offset = summary.log_start_offset.max(offset);
                // A log whose records were all deleted goes on from there.
                summary.log_end_offset = summary.log_end_offset.max(offset);
            }
        }
    }

    fn leftovers(&mut self, listing: &Listing) {
        for path in &listing.temporary {
            self.find(FindingKind::Leftover, path, "it was never finished");
        }
        for base in &listing.sidecars {
            if listing.bases.binary_search(base).is_err() {
                let path = sidecar_path(self.directory, *base);
                self.find(FindingKind::StaleSidecar, &path, "its segment is gone");
            }
        }
    }
}

/// The segments of a log's directory, in order of their base offsets, each with where the next one begins. What an
/// unfinished truncation has cut off is left out; a mark that cannot be read is not heeded.
pub async fn segments_of<D: Disk>(
    disk: &D,
    directory: &Path,
) -> io::Result<Vec<(PathBuf, Range<Offset>)>> {
    let Listing {
        mut bases, has_cut, ..
    } = list(disk, directory).await?;
    let mut cut_end = None;
    if has_cut && let Ok(cut) = PendingCut::read(disk, directory, &bases).await {
        cut.apply(&mut bases);
        cut_end = cut.end();
    }
    Ok(bases
        .iter()
        .enumerate()
        .map(|(index, base)| {
            let next = bases.get(index + 1).copied().or(cut_end);
            (
                segment_path(directory, *base),
                *base..next.unwrap_or(Offset::new(i64::MAX)),
            )
        })
        .collect())
}
