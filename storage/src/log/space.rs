//! Waiting for room: a full disk, or no descriptor or memory left, before a commit has written anything.
//!
//! Such a commit waits and tries again, at a hint that there may be room; the log refuses appends as long as one waits. A
//! log that is being closed waits no more: what cannot be written then fences it.

use std::io;

use corelane_format::TimestampMs;

use super::PartitionLog;
use super::commit::StepResult;
use crate::disk::Disk;

/// A commit that waits for room, until it has got past what it waited for.
pub(super) struct SpaceWait<'a, D: Disk>(&'a PartitionLog<D>);

impl<D: Disk> Drop for SpaceWait<'_, D> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().space_waiters -= 1;
    }
}

impl<D: Disk> PartitionLog<D> {
    /// Waits until there may be room again; holds no place among the lane's writes meanwhile. `waiting` is the caller's
    /// for as long as it tries.
    pub(super) async fn wait_for_space<'a>(
        &'a self,
        waiting: &mut Option<SpaceWait<'a, D>>,
    ) -> StepResult<()> {
        let full = || ("wait for space", io::Error::from_raw_os_error(libc::ENOSPC));
        let room = self.lane.space.wait();
        {
            let mut state = self.state.borrow_mut();
            if state.closing || state.fenced.is_some() {
                return Err(full());
            }
            if waiting.is_none() {
                if state.space_waiters == 0 {
                    tracing::warn!(log_id = %self.log_id(), "no space left: appends are refused until there is room");
                    state.space_asked_at = TimestampMs::new(i64::MIN / 2);
                }
                state.space_waiters += 1;
                *waiting = Some(SpaceWait(self));
            }
        }
        self.lane.write_finished();
        room.await;
        self.lane.write_started();
        if self.state.borrow().fenced.is_some() {
            return Err(full());
        }
        Ok(())
    }
}

/// Whether trying again later may help.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

/// Whether the disk is full: giving spare segments back may help at once.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::pin;
    use std::rc::Rc;

    use corelane_format::kafka::{BatchBuilder, BatchLimits, validate_batch};
    use corelane_format::{LeaderEpoch, LogId};
    use futures_lite::future::{block_on, or, poll_once, yield_now};

    use super::*;
    use crate::config::{LaneLogsConfig, LogConfig};
    use crate::disk::memory::{Fault, MemoryDisk};
    use crate::lane::LaneLogs;

    type Log = Rc<PartitionLog<MemoryDisk>>;

    async fn with_log<F: Future<Output = ()>>(
        disk: &MemoryDisk,
        test: impl FnOnce(LaneLogs<MemoryDisk>, Log) -> F,
    ) {
        let logs = LaneLogs::new(
            disk.clone(),
            LaneLogsConfig {
                ..LaneLogsConfig::default()
            },
        );
        let config = LogConfig {
            segment_size_bytes: 12 << 10,
            ..LogConfig::default()
        };
        let opened = logs.open_log(Path::new("/a-0"), LogId::new(1), config);
        let (log, _) = opened.await.expect("opens");
        let flusher = logs.clone();
        or(test(logs, log), async {
            flusher.run_flusher().await;
            std::future::pending::<()>().await;
        })
        .await;
    }

    fn append(log: &Log, size_bytes: usize) {
        let mut bytes = Vec::new();
        let mut builder = BatchBuilder::new();
        builder
            .append(TimestampMs::new(1), None, Some(&vec![7; size_bytes]), &[])
            .expect("a record");
        builder.finish_into(&mut bytes).expect("a batch");
        let batch = validate_batch(&bytes, &BatchLimits::NONE).expect("valid");
        log.append(&batch, LeaderEpoch::new(0), TimestampMs::new(1))
            .expect("appended");
    }

    async fn settle() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    #[test]
    fn a_clean_shutdown_goes_on_when_a_reservation_in_the_background_ends() {
        let disk = MemoryDisk::new();
        block_on(with_log(&disk, async |logs, log| {
            append(&log, 10);
            log.wait_flushed(log.log_end_offset())
                .await
                .expect("flushed");
            let file = log.state.borrow().segments[0].file.clone();
            file.reserving.set(true);
            let mut shutdown = pin!(logs.shutdown());
            assert!(poll_once(shutdown.as_mut()).await.is_none());
            settle().await;
            let ends = async {
                log.clone().reserve_in_background(file, 1 << 20).await;
                std::future::pending().await
            };
            or(shutdown, ends).await.expect("clean");
        }));
    }

    #[test]
    fn appends_are_taken_again_when_a_reservation_in_the_background_made_room() {
        let disk = MemoryDisk::new();
        block_on(with_log(&disk, async |_logs, log| {
            append(&log, 10);
            log.wait_flushed(log.log_end_offset())
                .await
                .expect("flushed");
            disk.fail_writes(Fault::Error(libc::ENOSPC));
            log.state.borrow_mut().config.segment_size_bytes = 1 << 30;
            append(&log, 400_000);
            settle().await;
            assert_eq!(log.state.borrow().space_waiters, 1);
            disk.heal();
            let file = log.state.borrow().segments[0].file.clone();
            log.clone().reserve_in_background(file, 1 << 20).await;
            log.wait_flushed(log.log_end_offset())
                .await
                .expect("flushed");
            assert_eq!(log.state.borrow().space_waiters, 0);
            append(&log, 10);
        }));
    }

    #[test]
    fn sealed_segments_keep_no_descriptor() {
        let disk = MemoryDisk::new();
        block_on(with_log(&disk, async |_logs, log| {
            for _ in 0..10 {
                append(&log, 4000);
                log.wait_flushed(log.log_end_offset())
                    .await
                    .expect("flushed");
            }
            settle().await;
            let state = log.state.borrow();
            let (last, sealed) = state.segments.split_last().expect("segments");
            assert!(sealed.len() > 2);
            assert!(last.file.handle.borrow().is_some());
            for segment in sealed {
                assert!(segment.file.handle.borrow().is_none());
            }
        }));
    }
}
