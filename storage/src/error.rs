//! What can go wrong, one enum an operation.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use corelane_format::{LogId, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::segment_header::SegmentHeaderError;

/// A log that takes no more writes: one of them failed, or it was closed. What was flushed stays readable; recovery
/// means opening it again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("log {log_id} is fenced: {reason}")]
pub struct LogFenced {
    /// Which log.
    pub log_id: LogId,
    /// Why.
    pub reason: FenceReason,
}

/// Why a log is fenced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FenceReason {
    /// A write, reservation or creation failed; nothing was retried.
    #[error("{operation} failed: {error}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        error: Rc<io::Error>,
    },
    /// It was shut down.
    #[error("closed")]
    Closed,
    /// It was deleted.
    #[error("deleted")]
    Deleted,
}

/// Why a batch was not appended. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The producer sent it before; it is in the log at these offsets. Not durable until they are flushed.
    #[error("duplicate of the batch at {base_offset}..={last_offset}")]
    DuplicateSequence {
        /// First offset of the original.
        base_offset: Offset,
        /// Last offset of the original.
        last_offset: Offset,
    },
    /// The producer's sequence does not follow.
    #[error("producer {producer_id} epoch {epoch} sent sequence {got}, after {last}")]
    OutOfOrderSequence {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's.
        epoch: ProducerEpoch,
        /// The batch's first.
        got: Sequence,
        /// The last known.
        last: Sequence,
    },
    /// A newer incarnation of the producer has written already.
    #[error("producer {producer_id} sent epoch {got}, current is {current}")]
    InvalidProducerEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// The batch's.
        got: ProducerEpoch,
        /// The epoch known.
        current: ProducerEpoch,
    },
    /// The batch is larger than the log takes.
    #[error("batch of {got} bytes, at most {limit} allowed")]
    TooLarge {
        /// Size of the batch.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk is full. The log goes on by itself when there is room.
    #[error("no space left for log {log_id}")]
    NoSpace {
        /// Which log.
        log_id: LogId,
    },
    /// A truncation or deletion is under way.
    #[error("log {log_id} is being changed")]
    Busy {
        /// Which log.
        log_id: LogId,
    },
    /// The log takes no more writes.
    #[error(transparent)]
    Fenced(#[from] LogFenced),
}

/// Why nothing was read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {requested} is outside of {log_start}..{log_end}")]
    OutOfRange {
        /// Asked for.
        requested: Offset,
        /// The first there is.
        log_start: Offset,
        /// The first there is not.
        log_end: Offset,
    },
    /// The stored bytes of these offsets are damaged; they are kept, not served, and what lies around them is readable.
    #[error("log {log_id} is corrupt in {start}..{end}: {detail}")]
    Corrupt {
        /// Which log.
        log_id: LogId,
        /// First offset of the damage.
        start: Offset,
        /// First offset after it.
        end: Offset,
        /// What is wrong.
        detail: String,
    },
    /// The disk failed.
    #[error("log {log_id} cannot be read: {error}")]
    Io {
        /// Which log.
        log_id: LogId,
        /// What the system said.
        error: Rc<io::Error>,
    },
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("{path}: {operation} failed: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The directory holds another log's segments.
    #[error("{path} belongs to log {got}, expected {expected}")]
    ForeignLog {
        /// Where.
        path: PathBuf,
        /// Found.
        got: LogId,
        /// Expected.
        expected: LogId,
    },
    /// The file that holds the log start offset is damaged; guessing it could bring deleted records back or hide others.
    #[error("{path} is damaged")]
    LogStartCorrupt {
        /// Where.
        path: PathBuf,
    },
    /// The segment was written by another version of the format.
    #[error("{path}: {error}")]
    Version {
        /// Where.
        path: PathBuf,
        /// Which.
        error: SegmentHeaderError,
    },
    /// The log's last segment has records, and neither its header page nor its first block nor its index tells whose they
    /// are: where the log ends cannot be known.
    #[error("{path} has lost its header page, its first block and its index")]
    HeaderLost {
        /// Where.
        path: PathBuf,
    },
    /// It is open already.
    #[error("log {log_id} is open already")]
    AlreadyOpen {
        /// Which log.
        log_id: LogId,
    },
}

/// Why a change of a log's extent failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The offset is not in the log, or not readable yet.
    #[error("offset {requested} is outside of {log_start}..={end}")]
    OutOfRange {
        /// Asked for.
        requested: Offset,
        /// The first there is.
        log_start: Offset,
        /// The last allowed.
        end: Offset,
    },
    /// The log takes no more writes.
    #[error(transparent)]
    Fenced(#[from] LogFenced),
    /// The disk failed; the change may or may not survive a crash.
    #[error("log {log_id}: {operation} failed: {error}")]
    Io {
        /// Which log.
        log_id: LogId,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        error: Rc<io::Error>,
    },
    /// What is stored cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
