//! `corelane log dump`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use corelane_format::COMMIT_BLOCK_HEADER_BYTES;
use corelane_format::ids::{FilePosition, Offset};
use corelane_format::kafka::{SplitBatch, split_first_batch};
use corelane_storage::disk::Disk;
use corelane_storage::inspect::verify::{durable_end, segment_base};
use corelane_storage::inspect::{SegmentWalk, WalkError, WalkItem, WalkedBlock, WalkedGap};

use super::DumpArgs;
use super::entry::Entry;
use super::read_only_disk::{ReadOnlyDisk, ReadOnlyFile};
use crate::cli::Outcome;
use crate::cli::batch_records::{UnreadableBatch, visit_records};
use crate::cli::stdout::Stdout;

/// What the name of a segment ends in.
const SEGMENT_EXTENSION: &str = "log";

/// Runs the command.
pub(super) fn run(arguments: &DumpArgs) -> anyhow::Result<Outcome> {
    let mut dumper = Dumper {
        out: Stdout::lock(),
        records: arguments.records,
        json: arguments.json,
        from: Offset::new(arguments.offset.unwrap_or(i64::MIN)),
        left: arguments.limit.unwrap_or(u64::MAX),
        sound: true,
    };
    for (path, next) in segments(&arguments.path)? {
        // All of it lies below what is asked for.
        if next.is_some_and(|next| next <= dumper.from) {
            continue;
        }
        if dumper.left == 0 {
            break;
        }
        // No operation of this disk waits.
        futures_lite::future::block_on(dumper.segment(&path, next))?;
    }
    dumper.out.flush()?;
    Ok(if dumper.sound {
        Outcome::Success
    } else {
        Outcome::Failure
    })
}

/// The files that `path` stands for, by base offset, which their names begin with, each with where the next one begins.
fn segments(path: &Path) -> anyhow::Result<Vec<(PathBuf, Option<Offset>)>> {
    let cannot_read = || format!("cannot read {}", path.display());
    let metadata = std::fs::metadata(path).with_context(cannot_read)?;
    let directory = match path.parent() {
        _ if metadata.is_dir() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == SEGMENT_EXTENSION)
        {
            segments.push(path);
        }
    }
    segments.sort_unstable();
    let next_of = |path: &Path| {
        let base = segment_base(path)?;
        segments
            .iter()
            .filter_map(|other| segment_base(other))
            .find(|other| *other > base)
    };
    if !metadata.is_dir() {
        return Ok(vec![(path.to_owned(), next_of(path))]);
    }
    if segments.is_empty() {
        bail!(
            "there is no segment (*.log) in {}; name a partition's directory, as DATA-DIRECTORY/logs/TOPIC-PARTITION.ID",
            path.display()
        );
    }
    Ok(segments
        .iter()
        .map(|path| (path.clone(), next_of(path)))
        .collect())
}

struct Dumper {
    out: Stdout,
    records: bool,
    json: bool,
    /// Nothing below it is shown, but what is damaged.
    from: Offset,
    /// Batches, or records, that may still be shown.
    left: u64,
    /// Whether nothing so far was damaged.
    sound: bool,
}

impl Dumper {
    async fn segment(&mut self, path: &Path, next: Option<Offset>) -> anyhow::Result<()> {
        let shown = path.display().to_string();
        let cannot_read = || format!("cannot read {shown}");
        let file = ReadOnlyDisk.open(path).await.with_context(cannot_read)?;
        let walk = match SegmentWalk::<ReadOnlyDisk>::new(&file).await {
            Ok(walk) => walk,
            Err(WalkError::Io(error)) => return Err(error).with_context(cannot_read),
            Err(WalkError::Header(error)) => {
                let detail = format!("{shown} has no valid header page: {error}");
                return self.damage(FilePosition::ZERO, None, &detail);
            }
        };
        let header = *walk.header();
        let mut walk = walk.up_to(next.unwrap_or(Offset::new(i64::MAX)));
        self.print(Entry::Segment {
            path: &shown,
            header: &header,
        })?;
        let mut durable = None;
        while self.left > 0
            && let Some(item) = walk.next().await.with_context(cannot_read)?
        {
            match item {
                WalkItem::Block(block) => self.block(&mut walk, &block).await?,
                WalkItem::Gap(gap) => {
                    // Only what was durable can be damaged; all of the file tells what was.
                    let durable = match durable {
                        Some(durable) => durable,
                        None => *durable.insert(
                            durable_below(&file, path, next)
                                .await
                                .with_context(cannot_read)?,
                        ),
                    };
                    self.gap(&gap, durable)?;
                }
                WalkItem::End { position, is_stale } => {
                    let position = FilePosition::new(position);
                    self.print(if is_stale {
                        Entry::Tail {
                            position,
                            until: None,
                            detail: "what an earlier use of the file left",
                        }
                    } else {
                        Entry::End { position }
                    })?;
                }
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &WalkedGap, durable: Offset) -> anyhow::Result<()> {
        let position = FilePosition::new(gap.position);
        if gap.start < durable {
            return self.damage(position, gap.until.map(FilePosition::new), &gap.detail);
        }
        self.print(Entry::Tail {
            position,
            until: gap.until.map(FilePosition::new),
            detail: &gap.detail,
        })
    }

    async fn block(
        &mut self,
        walk: &mut SegmentWalk<'_, ReadOnlyDisk>,
        block: &WalkedBlock,
    ) -> anyhow::Result<()> {
        if block.header.last_offset() < self.from.get() {
            return Ok(());
        }
        self.print(Entry::Block {
            position: FilePosition::new(block.position),
            header: &block.header,
            batches: block.batches.len(),
        })?;
        let mut at = block.position + COMMIT_BLOCK_HEADER_BYTES as u64;
        for batch in &block.batches {
            let size_bytes = batch.size_bytes();
            if batch.last_offset() >= self.from && self.left > 0 {
                let position = FilePosition::new(at);
                self.print(Entry::Batch {
                    position,
                    header: batch,
                })?;
                if self.records {
                    let bytes = walk.bytes(at, size_bytes).await;
                    let bytes = bytes.context("cannot read a batch")?;
                    self.records(position, bytes.get(..size_bytes).unwrap_or(bytes))?;
                } else {
                    self.left -= 1;
                }
            }
            at += size_bytes as u64;
        }
        Ok(())
    }

    fn records(&mut self, position: FilePosition, bytes: &[u8]) -> anyhow::Result<()> {
        let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(bytes) else {
            return self.damage(position, None, "the file has changed while it was read");
        };
        let visited = visit_records::<RecordError>(&batch, self.from, |record| {
            self.print(Entry::Record(&record))?;
            self.left -= 1;
            Ok(self.left > 0)
        });
        match visited {
            Ok(_) => Ok(()),
            Err(RecordError::Unreadable(error)) => {
                let end = FilePosition::new(position.get() + bytes.len() as u64);
                self.damage(position, Some(end), &error.to_string())
            }
            Err(RecordError::Output(error)) => Err(error),
        }
    }

    fn damage(
        &mut self,
        position: FilePosition,
        until: Option<FilePosition>,
        detail: &str,
    ) -> anyhow::Result<()> {
        self.sound = false;
        self.print(Entry::Damage {
            position,
            until,
            detail,
        })
    }

    fn print(&mut self, entry: Entry<'_>) -> anyhow::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, &entry).map_err(std::io::Error::from)?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{entry}")?;
        }
        Ok(())
    }
}

/// D of a segment whose walk has met something that is no block.
async fn durable_below(
    file: &ReadOnlyFile,
    path: &Path,
    next: Option<Offset>,
) -> std::io::Result<Offset> {
    match SegmentWalk::<ReadOnlyDisk>::new(file).await {
        Ok(walk) => durable_end(&ReadOnlyDisk, path, walk, next).await,
        Err(WalkError::Io(error)) => Err(error),
        // It was sound a moment ago.
        Err(WalkError::Header(error)) => {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        }
    }
}

/// Why a batch was not printed to its end.
enum RecordError {
    Unreadable(UnreadableBatch),
    Output(anyhow::Error),
}

impl From<UnreadableBatch> for RecordError {
    fn from(error: UnreadableBatch) -> Self {
        Self::Unreadable(error)
    }
}

impl From<anyhow::Error> for RecordError {
    fn from(error: anyhow::Error) -> Self {
        Self::Output(error)
    }
}
