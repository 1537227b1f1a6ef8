//! What sidecars have on record as damaged, and what stands there now.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use corelane_format::Offset;

use super::verify::segments_of;
use super::walk::{SegmentWalk, WalkError, WalkItem};
use crate::disk::{Disk, read_small_file};
use crate::names::sidecar_path;
use crate::segment_header::FIRST_BLOCK_POSITION;
use crate::sidecar::{SIDECAR_BYTES_MAX, Sidecar};

/// A range that reads are answered with an error for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedRange {
    /// The segment's file.
    pub path: PathBuf,
    /// Half-open.
    pub offsets: Range<Offset>,
    /// Where in the file the damage starts, unless it cannot be found any more.
    pub position: Option<u64>,
    /// Where the next sound block starts; `None` is the file's end.
    pub until: Option<u64>,
    /// What stands there.
    pub detail: String,
}

/// The ranges that the sidecars of the log in `directory` (or of one of its segments) have on record. A server may run
/// meanwhile: sidecars are replaced as a whole, and what they cover does not change.
///
/// # Errors
/// The directory cannot be listed, or a segment cannot be read.
pub async fn quarantined_ranges<D: Disk>(
    disk: &D,
    directory: &Path,
    only: Option<Offset>,
) -> io::Result<Vec<QuarantinedRange>> {
    let mut ranges = Vec::new();
    for (path, offsets) in segments_of(disk, directory).await? {
        if only.is_some_and(|only| only != offsets.start) {
            continue;
        }
        let sidecar = sidecar_path(directory, offsets.start);
        // One that is not there, or not sound, has nothing on record.
        let Ok(bytes) = read_small_file(disk, &sidecar, SIDECAR_BYTES_MAX).await else {
            continue;
        };
        // Without its index it still knows its ranges.
        let sidecar = Sidecar::decode_whole(&bytes).or_else(|| Sidecar::decode(&bytes));
        let Some(Sidecar { meta, .. }) = sidecar else {
            continue;
        };
        for gap in &meta.gaps {
            let place = meta
                .seek_offset(gap.start, &[])
                .unwrap_or((FIRST_BLOCK_POSITION, meta.base_offset()));
            let mut range = QuarantinedRange {
                path: path.clone(),
                offsets: gap.clone(),
                position: None,
                until: None,
                detail: String::new(),
            };
            match look(disk, &path, place, gap).await {
                Ok(Some((position, until, detail))) => {
                    (range.position, range.until, range.detail) = (Some(position), until, detail);
                }
                Ok(None) => "its blocks are sound now".clone_into(&mut range.detail),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => range.detail = error.to_string(),
            }
            ranges.push(range);
        }
    }
    Ok(ranges)
}

/// Finds what is wrong in `gap`, starting with the block at `from`: position, end, and words.
async fn look<D: Disk>(
    disk: &D,
    path: &Path,
    from: (u64, Offset),
    gap: &Range<Offset>,
) -> io::Result<Option<(u64, Option<u64>, String)>> {
    let file = disk.open(path).await?;
    let walk = match SegmentWalk::<D>::new(&file).await {
        Ok(walk) => walk,
        Err(WalkError::Io(error)) => return Err(error),
        Err(WalkError::Header(error)) => return Ok(Some((0, None, error.to_string()))),
    };
    let mut walk = walk.from(from.0, from.1).up_to(gap.end);
    while let Some(item) = walk.next().await? {
        match item {
            WalkItem::Gap(found) if found.end.is_none_or(|end| end > gap.start) => {
                return Ok(Some((found.position, found.until, found.detail)));
            }
            WalkItem::End { position, .. } if walk.end_offset() <= gap.start => {
                let detail = "the segment ends before the records that were durable do";
                return Ok(Some((position, None, detail.to_owned())));
            }
            _ => {}
        }
    }
    Ok(None)
}
