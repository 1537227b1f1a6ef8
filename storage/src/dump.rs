//! Walking a segment file for a person: every block and batch, sound or not.
//!
//! Read-only, and independent of an open log: it believes nothing but the bytes. After a damaged block it goes on at the
//! next sound one.

use std::io;
use std::path::Path;

use corelane_format::kafka::BatchHeader;
use corelane_format::{CommitBlockHeader, FilePosition, Offset};

use crate::disk::{Disk, DiskFile, PAGE_BYTES};
use crate::log::scan::BlockReader;
use crate::region::candidates;
use crate::segment_header::{FIRST_BLOCK_POSITION, SegmentHeader, SegmentHeaderError};

/// One thing found in a segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpItem {
    /// A sound block and the headers of its batches, all checked.
    Block {
        /// Where it starts.
        position: FilePosition,
        /// Its header.
        header: CommitBlockHeader,
        /// Whether it follows the block before it: offset and previous checksum.
        in_chain: bool,
        /// Its batches, in order.
        batches: Vec<BatchHeader>,
    },
    /// Bytes that should be a block and are not.
    Damage {
        /// Where they start.
        position: FilePosition,
        /// Where the next sound block starts, if there is one.
        until: Option<FilePosition>,
        /// What is wrong.
        detail: String,
    },
    /// Nothing but zeros from here on, or what an earlier use of the file left.
    End {
        /// Where the last block ends.
        position: FilePosition,
    },
}

/// A segment file being walked.
pub struct SegmentDump<'a, D: Disk> {
    reader: BlockReader<'a, D>,
    header: SegmentHeader,
    position: u64,
    next_offset: Offset,
    chain: u32,
    done: bool,
}

/// Why a file cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its header page is damaged, so no block of it can be told from a stale one.
    #[error(transparent)]
    Header(#[from] SegmentHeaderError),
}

/// Opens a segment file for [`SegmentDump::new`].
pub async fn open_segment<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    disk.open(path).await
}

impl<'a, D: Disk> SegmentDump<'a, D> {
    /// Begins at the first block.
    pub async fn new(file: &'a D::File) -> Result<Self, DumpError> {
        let page = file.read_at(FilePosition::ZERO, PAGE_BYTES).await?;
        let header = SegmentHeader::decode(page.as_ref())?;
        let size = file.size().await?;
        Ok(Self {
            reader: BlockReader::new(file, size),
            header,
            position: FIRST_BLOCK_POSITION,
            next_offset: header.base_offset,
            chain: header.chain_seed(),
            done: false,
        })
    }

    /// Who the segment is.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The next thing in the file, or `None` after its end.
    pub async fn next(&mut self) -> io::Result<Option<DumpItem>> {
        if self.done {
            return Ok(None);
        }
        let mut failure = None;
        let mut batches = Vec::new();
        for position in candidates(self.position) {
            match self
                .reader
                .block(position, &self.header, &mut batches)
                .await?
            {
                Ok(header) => return Ok(Some(self.found(position, header, batches))),
                Err(error) => {
                    failure.get_or_insert(error.to_string());
                }
            }
        }
        let from = self.position;
        let before = Offset::new(self.next_offset.get() - 1);
        let (next, behind) = self
            .reader
            .find_block(from, u64::MAX, &self.header, before)
            .await?;
        let detail = failure.unwrap_or_default();
        if let Some((position, _)) = next {
            self.position = position;
            let until = Some(FilePosition::new(position));
            return Ok(Some(DumpItem::Damage {
                position: FilePosition::new(from),
                until,
                detail,
            }));
        }
        self.done = true;
        let position = FilePosition::new(from);
        if behind.zeros || behind.is_stale() {
            return Ok(Some(DumpItem::End { position }));
        }
        Ok(Some(DumpItem::Damage {
            position,
            until: None,
            detail,
        }))
    }

    fn found(
        &mut self,
        position: u64,
        header: CommitBlockHeader,
        batches: Vec<BatchHeader>,
    ) -> DumpItem {
        let in_chain =
            header.first_offset == self.next_offset.get() && header.previous_checksum == self.chain;
        self.position = position
            + corelane_format::COMMIT_BLOCK_HEADER_BYTES as u64
            + u64::from(header.body_length);
        self.next_offset = Offset::new(header.last_offset().saturating_add(1));
        self.chain = header.body_checksum;
        DumpItem::Block {
            position: FilePosition::new(position),
            header,
            in_chain,
            batches,
        }
    }
}
