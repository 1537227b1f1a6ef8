//! The hot steps one after the other, without sockets, runtime and disk: what a profiler can count exactly.
//!
//! What `net` and `storage` do for a request, put together as the server's handlers do it; the handlers themselves need a
//! lane on its thread (`tests/request_costs`).

use std::future::Future;
use std::io::IoSlice;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, anyhow, ensure};
use corelane_format::ids::{LeaderEpoch, LogId, Offset, TimestampMs};
use corelane_format::kafka::{BatchLimits, validate_batch, validate_client_batch};
use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchRequest, FetchResponseHeader, FetchResponseWriter, PartitionData};
use corelane_net::frame::{FrameLimits, FrameReader};
use corelane_net::gather::GatherCursor;
use corelane_net::produce::{PartitionOutcome, ProduceRequest, ProduceResponseWriter};
use corelane_storage::{LaneLogs, LaneLogsConfig, LogConfig, LogSlice, PartitionLog};

use crate::null_disk::NullDisk;

/// Parts of one vectored send.
const SEND_PARTS_MAX: usize = 64;

/// One log and one connection's receive buffer.
pub struct HotSteps {
    logs: LaneLogs<NullDisk>,
    log: Rc<PartitionLog<NullDisk>>,
    flusher: Pin<Box<dyn Future<Output = ()>>>,
    reader: FrameReader,
}

/// What a future gives that waits for nothing.
///
/// # Errors
/// It waits.
pub fn at_once<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(anyhow!("a step waits for something")),
    }
}

impl HotSteps {
    /// An empty log.
    ///
    /// # Errors
    /// None over a disk that does everything.
    pub fn new() -> anyhow::Result<Self> {
        let logs = LaneLogs::new(NullDisk, LaneLogsConfig::default());
        let opened = logs.open_log(
            Path::new("/measured-0"),
            LogId::new(1),
            LogConfig::default(),
        );
        let (log, _) = at_once(opened)?.map_err(|error| anyhow!("{error}"))?;
        let flushing = logs.clone();
        Ok(Self {
            logs,
            log,
            flusher: Box::pin(async move { flushing.run_flusher().await }),
            reader: FrameReader::new(FrameLimits::default()),
        })
    }

    /// The log.
    pub fn log(&self) -> &PartitionLog<NullDisk> {
        &self.log
    }

    /// The lane's logs.
    pub fn logs(&self) -> &LaneLogs<NullDisk> {
        &self.logs
    }

    /// Lets the flusher write what is pending.
    pub fn flush(&mut self) {
        let _ = self
            .flusher
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
    }

    /// What the kernel does when a frame arrives, and the frame as the connection driver takes it out.
    fn receive(&mut self, frame: &[u8]) {
        let mut left = frame;
        while !left.is_empty() {
            let space = self.reader.space();
            let count = left.len().min(space.len());
            let (now, later) = left.split_at(count);
            space[..count].copy_from_slice(now);
            self.reader.advance(count);
            left = later;
        }
    }

    /// A produce request of one batch from its frame to the bytes of its response, committed between.
    ///
    /// # Errors
    /// The batch is not taken.
    pub fn produce(&mut self, frame: &[u8]) -> anyhow::Result<usize> {
        self.receive(frame);
        let Some(frame) = self.reader.next_frame()? else {
            return Err(anyhow!("the frame is not whole"));
        };
        let (header, body) = RequestHeader::parse(frame)?;
        let request = ProduceRequest::parse(body, header.api_version)?;
        let mut writer: ProduceResponseWriter<LogSlice> = ProduceResponseWriter::new(
            header.correlation_id,
            header.api_version,
            request.topics_count(),
        );
        let mut end = Offset::ZERO;
        for topic in request.topics() {
            writer.topic(topic.topic, topic.partitions_count);
            for partition in topic.partitions() {
                let records = partition.records.context("records")?;
                let batch = validate_batch(records, &BatchLimits::NONE)?;
                validate_client_batch(&batch)?;
                let appended = self
                    .log
                    .append(&batch, LeaderEpoch::new(0), TimestampMs::new(1))
                    .map_err(|error| anyhow!("{error}"))?;
                end = appended.end_offset();
                writer.partition(
                    partition.index,
                    PartitionOutcome {
                        error: ErrorCode::None,
                        base_offset: appended.base_offset,
                        log_append_time: TimestampMs::new(-1),
                        log_start_offset: Offset::ZERO,
                    },
                );
            }
        }
        self.flush();
        at_once(self.log.wait_readable(end))?.map_err(|error| anyhow!("{error}"))?;
        Ok(writer.finish(0, &[]).size_bytes())
    }

    /// A fetch from its frame to the parts of its response, out of memory; returns the response's bytes.
    ///
    /// # Errors
    /// There is nothing to read, or it would have to be read from the disk.
    pub fn fetch(&mut self, frame: &[u8]) -> anyhow::Result<usize> {
        self.receive(frame);
        let Some(frame) = self.reader.next_frame()? else {
            return Err(anyhow!("the frame is not whole"));
        };
        let (header, body) = RequestHeader::parse(frame)?;
        let request = FetchRequest::parse(body, header.api_version)?;
        let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
            version: header.api_version,
            correlation_id: header.correlation_id,
            throttle_time_ms: 0,
            error: ErrorCode::None,
            session_id: 0,
            topics_count: request.topics.len(),
        });
        for topic in &request.topics {
            writer.topic(topic.topic.as_topic(), topic.partitions.len());
            for asked in &topic.partitions {
                let end = self.log.readable_offset();
                let limit = usize::try_from(asked.max_bytes)?;
                let read = at_once(self.log.read(asked.fetch_offset, end, limit, true))?
                    .map_err(|error| anyhow!("{error}"))?;
                ensure!(read.size_bytes > 0, "nothing was read");
                let data = PartitionData::readable(asked.index, end, Offset::ZERO);
                writer.partition(&data, read.slices);
            }
        }
        let response = writer.finish(&[]);
        let mut parts = [IoSlice::new(&[]); SEND_PARTS_MAX];
        let count = response.parts().fill(GatherCursor::default(), &mut parts);
        Ok(parts[..count].iter().map(|part| part.len()).sum())
    }
}
