//! What the tests of the log share: a driver that notices when nothing can go on, batches that say who they are, and
//! reading a whole log back.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod keyed;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use corelane_format::kafka::{
    BatchBuilder, BatchLimits, Compression, records, stored_batches, validate_batch,
};
use corelane_format::{
    LeaderEpoch, LogId, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use corelane_storage::disk::Disk;
use corelane_storage::disk::memory::MemoryDisk;
use corelane_storage::{
    AppendError, Appended, JournalConfig, LaneLogs, LaneLogsConfig, LogConfig, PartitionLog,
    ReadError, RecoveryReport, ReplayReport, replay_journals,
};

pub mod compacted_history;
pub mod history;

pub type Logs = LaneLogs<MemoryDisk>;
pub type Log = Rc<PartitionLog<MemoryDisk>>;

pub const LOG: LogId = LogId::new(7);

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs the lane's flusher and `test` until `test` is done, or until neither can go on.
pub fn run_until_stalled<T>(logs: &Logs, test: impl Future<Output = T>) -> Option<T> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut flusher = pin!(logs.run_flusher());
    let mut flushing = true;
    let mut test = pin!(test);
    loop {
        flag.0.store(false, Ordering::Release);
        if let Poll::Ready(value) = test.as_mut().poll(&mut context) {
            return Some(value);
        }
        if flushing && flusher.as_mut().poll(&mut context).is_ready() {
            flushing = false;
        }
        if !flag.0.load(Ordering::Acquire) {
            return None;
        }
    }
}

/// Runs `test` to its end.
pub fn run<T>(logs: &Logs, test: impl Future<Output = T>) -> T {
    run_until_stalled(logs, test).expect("the test must not stall")
}

pub fn small_lane() -> LaneLogsConfig {
    LaneLogsConfig {
        read_size_bytes: 16 << 10,
        ..LaneLogsConfig::default()
    }
}

pub fn lane(disk: &MemoryDisk, config: LaneLogsConfig) -> Logs {
    LaneLogs::new(disk.clone(), config)
}

pub fn directory() -> PathBuf {
    PathBuf::from("/data/topic-0")
}

pub async fn try_open(
    logs: &Logs,
    config: LogConfig,
) -> Result<(Log, RecoveryReport), corelane_storage::OpenError> {
    logs.open_log(&directory(), LOG, config).await
}

/// A small ring, so that it goes round soon.
pub const JOURNAL: JournalConfig = JournalConfig {
    files: 4,
    file_size_bytes: 32 << 10,
    block_size_bytes_max: 16 << 10,
};

/// Replays the lane's journal into the one log there may be, and gives the lane its ring.
pub async fn start_journal(logs: &Logs) -> ReplayReport {
    let journals = Path::new("/data/journal");
    let locate = |log_id| (log_id == LOG).then(directory);
    let report = replay_journals(logs, journals, locate)
        .await
        .expect("the journal is replayed");
    logs.open_journal(journals, 0, JOURNAL)
        .await
        .expect("the journal opens");
    report
}

pub async fn open(logs: &Logs, config: LogConfig) -> (Log, RecoveryReport) {
    try_open(logs, config).await.expect("the log opens")
}

/// A batch of `count` records whose values are `<name>/<index>` and padding up to `value_bytes`.
pub struct Batch {
    pub name: String,
    pub count: usize,
    pub value_bytes: usize,
    pub timestamp: i64,
    pub producer: Option<(i64, i16, i32)>,
    pub compression: Compression,
}

impl Batch {
    pub fn new(name: impl Into<String>, count: usize) -> Self {
        Self {
            name: name.into(),
            count,
            value_bytes: 0,
            timestamp: 1000,
            producer: None,
            compression: Compression::None,
        }
    }

    pub fn sized(mut self, value_bytes: usize) -> Self {
        self.value_bytes = value_bytes;
        self
    }

    pub fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    pub fn by(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = Some((id, epoch, sequence));
        self
    }

    pub fn compressed(mut self, codec: Compression) -> Self {
        self.compression = codec;
        self
    }

    /// Record `index`'s value.
    pub fn value(name: &str, index: usize, value_bytes: usize) -> Vec<u8> {
        let mut value = format!("{name}/{index}").into_bytes();
        let mut filler = value
            .iter()
            .fold(17_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        while value.len() < value_bytes {
            filler = filler.wrapping_mul(109).wrapping_add(89);
            value.push(filler);
        }
        value
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.compression(self.compression);
        if let Some((id, epoch, sequence)) = self.producer {
            builder.producer(
                ProducerId::new(id),
                ProducerEpoch::new(epoch),
                Sequence::new(sequence),
            );
        }
        for index in 0..self.count {
            let value = Self::value(&self.name, index, self.value_bytes);
            let timestamp = TimestampMs::new(self.timestamp + index as i64);
            builder
                .append(timestamp, None, Some(&value), &[])
                .expect("a record");
        }
        let mut out = Vec::new();
        builder.finish_into(&mut out).expect("a batch");
        out
    }
}

pub fn append_bytes<D: Disk>(
    log: &PartitionLog<D>,
    bytes: &[u8],
    now: i64,
) -> Result<Appended, AppendError> {
    let batch = validate_batch(bytes, &BatchLimits::NONE).expect("a valid batch");
    log.append(&batch, LeaderEpoch::new(3), TimestampMs::new(now))
}

pub fn append<D: Disk>(log: &PartitionLog<D>, batch: &Batch) -> Appended {
    append_bytes(log, &batch.bytes(), batch.timestamp).expect("appended")
}

/// Appends and waits until it is durable.
pub async fn append_durably<D: Disk>(log: &PartitionLog<D>, batch: &Batch) -> Appended {
    let appended = append(log, batch);
    log.wait_readable(appended.end_offset())
        .await
        .expect("durable");
    appended
}

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub value: Vec<u8>,
}

impl Stored {
    pub fn name(&self) -> String {
        let end = self
            .value
            .iter()
            .position(|byte| !(32..127).contains(byte))
            .unwrap_or(self.value.len());
        let text = String::from_utf8_lossy(&self.value[..end]).into_owned();
        text.split('/').next().unwrap_or_default().to_owned()
    }
}

/// The records of whole stored batches, every checksum verified.
pub fn decode(bytes: &[u8], out: &mut Vec<Stored>) {
    let mut walked = 0;
    for batch in stored_batches(bytes) {
        let batch = batch.expect("a stored batch");
        batch.verify_crc().expect("a sound batch");
        walked += batch.bytes().len();
        let header = batch.header();
        assert_eq!(header.partition_leader_epoch, LeaderEpoch::new(3));
        let codec = header.attributes.compression().expect("a codec");
        let section = corelane_format::kafka::decompress(
            codec,
            batch.records_section(),
            corelane_format::kafka::DecompressLimits::default(),
        )
        .expect("decompresses");
        for record in records(header, &section) {
            let record = record.expect("a record");
            out.push(Stored {
                offset: header
                    .base_offset
                    .plus(i64::from(record.offset_delta))
                    .get(),
                value: record.value.unwrap_or_default().to_vec(),
            });
        }
    }
    assert_eq!(walked, bytes.len(), "slices hold whole batches");
}

/// Everything readable from `from` to `end`.
pub async fn read_range<D: Disk>(
    log: &PartitionLog<D>,
    from: i64,
    end: Offset,
    size_bytes_max: usize,
) -> Result<Vec<Stored>, ReadError> {
    let mut records = Vec::new();
    let mut at = Offset::new(from);
    while at < end {
        let read = log.read(at, end, size_bytes_max, true).await?;
        assert!(
            read.next_offset > at,
            "a read makes progress at {at} below {end}"
        );
        let sum: usize = read
            .slices
            .iter()
            .map(corelane_storage::LogSlice::len)
            .sum();
        assert_eq!(sum, read.size_bytes);
        for slice in &read.slices {
            decode(slice.as_ref(), &mut records);
        }
        at = read.next_offset;
    }
    records.retain(|record| record.offset >= from);
    Ok(records)
}

/// Everything readable; offsets must be contiguous.
pub async fn read_all<D: Disk>(log: &PartitionLog<D>) -> Vec<Stored> {
    let (start, end) = (log.log_start_offset(), log.readable_offset());
    let records = read_range(log, start.get(), end, 8 << 10)
        .await
        .expect("readable");
    let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
    let expected: Vec<i64> = (start.get()..end.get()).collect();
    assert_eq!(offsets, expected, "every offset once and in order");
    records
}

/// The names of the batches that `records` came from, once each.
pub fn names(records: &[Stored]) -> Vec<String> {
    let mut names: Vec<String> = records.iter().map(Stored::name).collect();
    names.dedup();
    names
}

pub fn segment(base: i64) -> PathBuf {
    directory().join(format!("{base:020}.log"))
}

pub fn exists(disk: &MemoryDisk, path: &Path) -> bool {
    disk.content(path).is_some()
}

/// The positions of commit blocks in a segment's bytes.
pub fn block_positions(content: &[u8]) -> Vec<usize> {
    (4096..content.len())
        .step_by(64)
        .filter(|at| corelane_format::CommitBlockHeader::decode(&content[*at..]).is_ok())
        .collect()
}
