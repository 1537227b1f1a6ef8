//! A lane of the server, without its listener: the real handlers, logs, flusher, journal and disk on one pinned thread.
//!
//! It has one topic, [`TOPIC`], with one partition, and nothing else runs on it: no housekeeping, no other lane.

use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;

use anyhow::{Context, anyhow};
use corelane_engine::clock::SystemClock;
use corelane_engine::config::SettingsOverrides;
use corelane_engine::lane::runtime::{LaneRuntimeConfig, spawn_lane};
use corelane_engine::lane::{Lane, mesh};
use corelane_engine::metadata::{AdvertisedNode, MetadataRecord};
use corelane_engine::server::cluster::{Cluster, FetchSessionLimits};
use corelane_engine::server::{data_directory, journals};
use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, TopicId};
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::{LaneLogs, LaneLogsConfig};
use glommio::ExecutorJoinHandle;

use corelane_benches::requests::TOPIC;

/// A lane on its thread.
pub(crate) struct RunningLane<T> {
    thread: ExecutorJoinHandle<()>,
    result: mpsc::Receiver<anyhow::Result<T>>,
}

impl<T> RunningLane<T> {
    /// Waits for the work to end and the lane's logs to be closed.
    ///
    /// # Errors
    /// What went wrong on the lane.
    pub(crate) fn join(self) -> anyhow::Result<T> {
        let result = self
            .result
            .recv()
            .context("the lane ended without a result");
        self.thread
            .join()
            .map_err(|error| anyhow!("the lane's thread failed: {error}"))?;
        result?
    }
}

/// Starts a lane over `directory`, which must lie on a file system with direct I/O, and runs `work` on it.
///
/// # Errors
/// The directory cannot be used, or the thread cannot be started.
pub(crate) fn start<T, W, F>(
    directory: &Path,
    journal_bytes: u64,
    work: W,
) -> anyhow::Result<RunningLane<T>>
where
    T: Send + 'static,
    W: FnOnce(Rc<Lane>) -> F + Send + 'static,
    F: Future<Output = anyhow::Result<T>> + 'static,
{
    let settings = SettingsOverrides {
        data_dir: Some(directory.to_path_buf()),
        ..SettingsOverrides::default()
    }
    .resolve()?;
    let data = data_directory::open(directory, settings.server_id, "measured")?;
    let cluster = Cluster {
        cluster_id: data.cluster_id.clone(),
        rack: settings.rack.clone(),
        advertised: vec![AdvertisedNode {
            id: settings.node_id(0),
            host: settings.client_host(),
            port: settings.base_port,
        }],
        lanes: 1,
        data: data.paths.clone(),
        defaults: settings.metadata_defaults(),
        fetch_size_bytes_max: settings.broker.fetch_size_bytes_max(),
        group_size_bytes_max: settings.memory.lane_group_bytes,
        fetch_sessions: FetchSessionLimits {
            slots_max: settings.broker.fetch_sessions_max(),
            bytes_max: settings.memory.lane_fetch_session_bytes,
        },
    };
    let runtime = LaneRuntimeConfig {
        cpu: settings.cores.first().copied().unwrap_or_default(),
        name: "measured".to_owned(),
        spin_before_park: None,
        ring_depth: 256,
    };
    let (tell, result) = mpsc::channel();
    let thread = spawn_lane(&runtime, move || async move {
        let _locked = data;
        let _ = tell.send(run(cluster, journal_bytes, work).await);
    })?;
    Ok(RunningLane { thread, result })
}

async fn run<T, W, F>(cluster: Cluster, journal_bytes: u64, work: W) -> anyhow::Result<T>
where
    W: FnOnce(Rc<Lane>) -> F,
    F: Future<Output = anyhow::Result<T>>,
{
    let logs = LaneLogs::new(
        DirectDisk::new(FlushMode::DataSync),
        LaneLogsConfig::default(),
    );
    let (mesh, _receivers) = mesh::channels(1);
    let lane = Lane::new(0, Rc::new(cluster), mesh, logs, Rc::new(SystemClock));
    let flusher = lane.logs.clone();
    glommio::spawn_local(async move { flusher.run_flusher().await }).detach();
    let topic_id = TopicId::new([7; 16]);
    lane.apply(&[
        MetadataRecord::Lanes { count: 1 },
        MetadataRecord::Topic {
            id: topic_id,
            name: TOPIC.to_owned(),
        },
        MetadataRecord::Partition {
            topic_id,
            index: PartitionIndex::new(0),
            log_id: LogId::new(1),
            lane: 0,
            leader_epoch: LeaderEpoch::new(0),
        },
    ])
    .await?;
    journals::open(&lane, journal_bytes).await?;
    let result = work(Rc::clone(&lane)).await;
    lane.logs
        .shutdown()
        .await
        .map_err(|error| anyhow!("{error}"))?;
    result
}
