//! The controller's shell on lane 0: one decision at a time, durable before it is applied, applied before it is answered.
//!
//! A decision is pure (`metadata::controller`): from the image to records and an answer. The shell appends the records to
//! the metadata log as one batch (so a crash leaves all or none of them), waits for the flush, has every lane apply
//! them, and gives the answer.

use std::path::Path;
use std::rc::Rc;

use corelane_format::ids::{LeaderEpoch, LogId, Offset};
use corelane_format::kafka::{BatchBuilder, BatchLimits, records, stored_batches, validate_batch};
use corelane_storage::LogConfig;
use glommio::sync::Semaphore;
use thiserror::Error;

use crate::lane::Lane;
use crate::lane::mesh::LaneGone;
use crate::metadata::{Defaults, MetadataImage, MetadataRecord, Nodes};
use crate::partition::Log;

/// Largest batch of metadata records, in bytes: what one decision may change.
const BATCH_SIZE_BYTES_MAX: usize = 64 << 20;
/// The metadata log of a single server has one leader for ever.
const METADATA_LEADER_EPOCH: LeaderEpoch = LeaderEpoch::new(0);
/// How much of the metadata log is read at once at start, in bytes.
const REPLAY_READ_BYTES: usize = 1 << 20;

/// Why a decision did not take effect, or the metadata could not be read.
#[derive(Debug, Error)]
pub enum ControllerError {
    /// The metadata log failed; it stays closed to changes until the server restarts.
    #[error("the metadata log failed: {reason}")]
    Log {
        /// What the log said.
        reason: String,
    },
    /// The decision is larger than one batch may be.
    #[error("a change of {got} metadata bytes is above the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        got: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A record in the metadata log cannot be read.
    #[error("metadata record at offset {offset} cannot be read: {reason}")]
    Unreadable {
        /// Where.
        offset: Offset,
        /// Why.
        reason: String,
    },
    /// A lane ended before it applied the change.
    #[error(transparent)]
    Lane(#[from] LaneGone),
    /// A lane could not carry the change out on its disk.
    #[error("the change is recorded, but a lane could not carry it out: {reason}")]
    Apply {
        /// What the lane said.
        reason: String,
    },
}

/// What a decision may depend on.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The metadata, with every earlier decision applied.
    pub image: &'a MetadataImage,
    /// Settings.
    pub defaults: &'a Defaults,
    /// The nodes that clients know.
    pub nodes: &'a Nodes,
}

/// The metadata log and the order of decisions.
pub struct Controller {
    log: Rc<Log>,
    one_at_a_time: Semaphore,
}

impl Controller {
    /// Opens the metadata log in `directory` and replays it.
    ///
    /// # Errors
    /// The log cannot be opened, or holds a record that this build cannot read.
    pub async fn open(
        lane: &Rc<Lane>,
        directory: &Path,
    ) -> Result<(Rc<Self>, MetadataImage), ControllerError> {
        let log_failed = |reason: String| ControllerError::Log { reason };
        let config = LogConfig {
            message_size_bytes_max: BATCH_SIZE_BYTES_MAX,
            ..LogConfig::default()
        };
        let (log, report) = lane
            .logs
            .open_log(directory, LogId::METADATA, config)
            .await
            .map_err(|error| log_failed(error.to_string()))?;
        lane.note_recovery("the metadata log", &report);
        let mut image = MetadataImage::new(lane.cluster.defaults.topics.clone());
        let mut next = log.log_start_offset();
        let end = log.log_end_offset();
        while next < end {
            let read = log
                .read(next, end, REPLAY_READ_BYTES, true)
                .await
                .map_err(|error| log_failed(error.to_string()))?;
            for slice in &read.slices {
                replay(slice.as_ref(), &mut image)?;
            }
            if read.next_offset <= next {
                return Err(log_failed(format!("no progress at offset {next}")));
            }
            next = read.next_offset;
        }
        Ok((
            Rc::new(Self {
                log,
                one_at_a_time: Semaphore::new(1),
            }),
            image,
        ))
    }

    /// Exclusive end of the metadata log's durable records.
    pub fn end_offset(&self) -> Offset {
        self.log.readable_offset()
    }

    /// Decides on the current image, makes the decision durable and has every lane apply it.
    ///
    /// On return all records are durable and every lane serves by them. A decision without records costs no write.
    /// Must not be cancelled: a decision that is durable but not applied everywhere would be contradicted by the next one.
    /// [`Lane::decide`] sees to it.
    ///
    /// # Errors
    /// See [`ControllerError`]. After an error of the log the change may or may not be found after a restart.
    pub async fn decide<T>(
        &self,
        lane: &Rc<Lane>,
        decision: impl FnOnce(Known<'_>) -> (Vec<MetadataRecord>, T),
    ) -> Result<T, ControllerError> {
        let _turn = self
            .one_at_a_time
            .acquire_permit(1)
            .await
            .map_err(|error| ControllerError::Log {
                reason: format!("the controller has stopped: {error}"),
            })?;
        let (records, answer) = decision(Known {
            image: &lane.image(),
            defaults: &lane.defaults(),
            nodes: &lane.nodes(),
        });
        if !records.is_empty() {
            self.append(lane, &records).await?;
            apply_everywhere(lane, &records).await?;
        }
        Ok(answer)
    }

    /// Appends records as one batch; durable on return.
    pub(super) async fn append(
        &self,
        lane: &Rc<Lane>,
        records: &[MetadataRecord],
    ) -> Result<(), ControllerError> {
        let log_failed = |reason: String| ControllerError::Log { reason };
        let now = lane.clock.now();
        let mut builder = BatchBuilder::new();
        for record in records {
            builder
                .append(now, None, Some(&record.encode()), &[])
                .map_err(|error| log_failed(error.to_string()))?;
        }
        let mut bytes = Vec::new();
        builder
            .finish_into(&mut bytes)
            .map_err(|error| log_failed(error.to_string()))?;
        if bytes.len() > BATCH_SIZE_BYTES_MAX {
            return Err(ControllerError::TooLarge {
                got: bytes.len(),
                limit: BATCH_SIZE_BYTES_MAX,
            });
        }
        let limits = BatchLimits {
            size_bytes_max: BATCH_SIZE_BYTES_MAX,
            records_max: i32::MAX,
        };
        let batch =
            validate_batch(&bytes, &limits).map_err(|error| log_failed(error.to_string()))?;
        let appended = self
            .log
            .append(&batch, METADATA_LEADER_EPOCH, now)
            .map_err(|error| log_failed(error.to_string()))?;
        self.log
            .wait_readable(appended.last_offset.plus(1))
            .await
            .map_err(|error| log_failed(error.to_string()))
    }
}

/// Has every lane apply records that are durable, and waits for all of them.
async fn apply_everywhere(
    lane: &Rc<Lane>,
    records: &[MetadataRecord],
) -> Result<(), ControllerError> {
    let others: Vec<_> = (0..lane.mesh.lanes())
        .filter(|other| *other != lane.index)
        .map(|other| {
            let records = records.to_vec();
            lane.mesh.call(other, move |lane: Rc<Lane>| async move {
                lane.apply(&records)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
        .collect();
    let mut outcome = lane.apply(records).await.map_err(|error| error.to_string());
    for other in others {
        if let Err(reason) = other.await? {
            outcome = Err(reason);
        }
    }
    outcome.map_err(|reason| ControllerError::Apply { reason })
}

fn replay(bytes: &[u8], image: &mut MetadataImage) -> Result<(), ControllerError> {
    for batch in stored_batches(bytes) {
        let unreadable =
            |offset: Offset, reason: String| ControllerError::Unreadable { offset, reason };
        let batch = batch.map_err(|error| unreadable(Offset::ZERO, error.to_string()))?;
        let base = batch.header().base_offset;
        for record in records(batch.header(), batch.records_section()) {
            let record = record.map_err(|error| unreadable(base, error.to_string()))?;
            let record = MetadataRecord::decode(record.value.unwrap_or_default())
                .map_err(|error| unreadable(base, error.to_string()))?;
            image
                .apply(&record)
                .map_err(|error| unreadable(base, error.to_string()))?;
        }
    }
    Ok(())
}

impl Lane {
    /// Has the controller decide, wherever it is; see [`Controller::decide`].
    ///
    /// The decision runs as a task of the controller's lane: once this is polled it is carried through to the last lane,
    /// whatever becomes of the connection that asked for it, and no connection holds up the next decision.
    pub async fn decide<T: Send + 'static>(
        self: &Rc<Self>,
        decision: impl FnOnce(Known<'_>) -> (Vec<MetadataRecord>, T) + Send + 'static,
    ) -> Result<T, ControllerError> {
        self.mesh
            .call(CONTROLLER_LANE, move |lane: Rc<Lane>| async move {
                match lane.controller() {
                    Some(controller) => controller.decide(&lane, decision).await,
                    None => Err(ControllerError::Lane(LaneGone {
                        lane: CONTROLLER_LANE,
                    })),
                }
            })
            .await?
    }
}

/// The lane that has the metadata log.
pub const CONTROLLER_LANE: usize = 0;
