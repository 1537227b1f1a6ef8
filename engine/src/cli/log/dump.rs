//! `corelane log dump`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use corelane_format::ids::{FilePosition, Offset};
use corelane_format::kafka::{BatchHeader, SplitBatch, split_first_batch};
use corelane_format::{COMMIT_BLOCK_HEADER_BYTES, CommitBlockHeader};
use corelane_storage::disk::{Disk, DiskFile};
use corelane_storage::dump::{DumpError, DumpItem, SegmentDump};

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
        sound: true,
    };
    for path in segments(&arguments.path)? {
        // No operation of this disk waits.
        futures_lite::future::block_on(dumper.segment(&path))?;
    }
    dumper.out.flush()?;
    Ok(if dumper.sound {
        Outcome::Success
    } else {
        Outcome::Failure
    })
}

/// The files that `path` stands for, by base offset, which their names begin with.
fn segments(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read {}", path.display());
    let metadata = std::fs::metadata(path).with_context(cannot_read)?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(path).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == SEGMENT_EXTENSION)
        {
            segments.push(path);
        }
    }
    if segments.is_empty() {
        bail!(
            "there is no segment (*.log) in {}; name a partition's directory, as DATA-DIRECTORY/logs/TOPIC-PARTITION.ID",
            path.display()
        );
    }
    segments.sort_unstable();
    Ok(segments)
}

struct Dumper {
    out: Stdout,
    records: bool,
    json: bool,
    /// Whether everything so far was as it should be.
    sound: bool,
}

impl Dumper {
    async fn segment(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display().to_string();
        let cannot_read = || format!("cannot read {shown}");
        let file = ReadOnlyDisk.open(path).await.with_context(cannot_read)?;
        let mut dump = match SegmentDump::<ReadOnlyDisk>::new(&file).await {
            Ok(dump) => dump,
            Err(DumpError::Io(error)) => return Err(error).with_context(cannot_read),
            Err(DumpError::Header(error)) => {
                let detail = format!("{shown} has no valid header page: {error}");
                return self.damage(FilePosition::new(0), None, &detail);
            }
        };
        let header = *dump.header();
        self.print(Entry::Segment {
            path: &shown,
            header: &header,
        })?;
        let mut after_damage = false;
        while let Some(item) = dump.next().await.with_context(cannot_read)? {
            match item {
                DumpItem::Block {
                    position,
                    header,
                    in_chain,
                    batches,
                } => {
                    if !in_chain && !after_damage {
                        self.damage(
                            position,
                            Some(position),
                            "the next block does not follow the one before it",
                        )?;
                    }
                    after_damage = false;
                    self.block(&file, position, &header, &batches).await?;
                }
                DumpItem::Damage {
                    position,
                    until,
                    detail,
                } => {
                    after_damage = true;
                    self.damage(position, until, &detail)?;
                }
                DumpItem::End { position } => self.print(Entry::End { position })?,
            }
        }
        Ok(())
    }

    async fn block(
        &mut self,
        file: &ReadOnlyFile,
        position: FilePosition,
        header: &CommitBlockHeader,
        batches: &[BatchHeader],
    ) -> anyhow::Result<()> {
        self.print(Entry::Block {
            position,
            header,
            batches: batches.len(),
        })?;
        let mut at = FilePosition::new(position.get() + COMMIT_BLOCK_HEADER_BYTES as u64);
        for batch in batches {
            self.print(Entry::Batch {
                position: at,
                header: batch,
            })?;
            if self.records {
                let bytes = file
                    .read_at(at, batch.size_bytes())
                    .await
                    .context("cannot read a batch")?;
                self.records(at, &bytes)?;
            }
            at = FilePosition::new(at.get() + batch.size_bytes() as u64);
        }
        Ok(())
    }

    fn records(&mut self, position: FilePosition, bytes: &[u8]) -> anyhow::Result<()> {
        let Ok(SplitBatch::Whole { batch, .. }) = split_first_batch(bytes) else {
            return self.damage(position, None, "the file has changed while it was read");
        };
        let visited = visit_records::<RecordError>(&batch, Offset::ZERO, |record| {
            self.print(Entry::Record(&record))?;
            Ok(true)
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
