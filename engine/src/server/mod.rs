//! Start and stop of a server: sockets first, then the data directory, then the lanes.
//!
//! A start that cannot work fails before it has made anything, wherever that can be known. The `ready` line comes after
//! every lane accepts connections.

pub mod cluster;
pub mod connections;
pub mod controller;
pub mod data_directory;
pub mod journals;
pub mod listener;
pub mod orphans;
pub mod producer_ids;
pub mod spares;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use corelane_net::frame::FrameLimits;
use corelane_net::server::{ConnectionLimits, serve_connection};
use corelane_storage::disk::direct::{DirectDisk, FlushMode};
use corelane_storage::{LaneLogs, LaneLogsConfig};
use glommio::ExecutorJoinHandle;

use crate::admin_http::AdminHttp;
use crate::clock::SystemClock;
use crate::config::{AdminListen, FlushChoice, ListenMode, PollMode, ServerSettings};
use crate::coordinator;
use crate::handlers::KafkaService;
use crate::headroom::Room;
use crate::headroom::watch::{HeadroomWatch, WatchedDisk};
use crate::lane::mesh::{self, Mesh, MeshReceiver};
use crate::lane::runtime::{LaneRuntimeConfig, spawn_lane};
use crate::lane::watchdog::Watchdog;
use crate::lane::{Lane, compaction, housekeeping};
use crate::metadata::{AdvertisedNode, MetadataRecord};
use crate::metrics::{LaneCounters, ServerCells, ServerMetrics};
use cluster::Cluster;
use connections::{ConnectionCaps, Connections};
use controller::{CONTROLLER_LANE, Controller};
use data_directory::OpenDataDirectory;
use listener::Listeners;

/// Entries of each submission ring of a lane.
const RING_DEPTH: usize = 256;
/// How long a lane in busy mode spins before it parks: for ever, in effect.
const BUSY_SPIN: Duration = Duration::from_hours(1);
/// How long to wait before accepting again after the system ran out of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How often refused connections are logged at most.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A server that accepts connections.
pub struct Server {
    cluster: Arc<Cluster>,
    mesh: Mesh<Lane>,
    lanes: Vec<ExecutorJoinHandle<()>>,
    ended: flume::Receiver<LaneEnd>,
    metrics: Arc<ServerMetrics>,
    admin: Option<AdminHttp>,
    headroom: Option<HeadroomWatch>,
    _watchdog: Watchdog,
    _data: OpenDataDirectory,
}

/// How a lane's life ended.
type LaneEnd = Result<(), String>;

/// What a lane's thread needs to start.
struct LaneStart {
    index: usize,
    cluster: Arc<Cluster>,
    mesh: Mesh<Lane>,
    receiver: MeshReceiver<Lane>,
    socket: std::net::TcpListener,
    disk: DirectDisk,
    logs: LaneLogsConfig,
    limits: ConnectionLimits,
    caps: ConnectionCaps,
    retention_check_interval: Duration,
    metrics: Arc<ServerMetrics>,
    room: Room,
    journal_bytes: u64,
    offsets_retention_check_interval: Duration,
    compaction: compaction::CompactionBudget,
    opened: flume::Sender<Result<(), String>>,
    image: flume::Receiver<crate::metadata::MetadataImage>,
    images: Vec<flume::Sender<crate::metadata::MetadataImage>>,
    ended: flume::Sender<LaneEnd>,
}

impl Server {
    /// Starts a server and waits until all its lanes accept connections.
    ///
    /// # Errors
    /// Why it cannot start, and what to do about it.
    pub fn start(settings: &ServerSettings) -> anyhow::Result<Self> {
        let lanes = settings.cores.len();
        if lanes == 0 {
            bail!("no core to run on; name some with --cores");
        }
        let base = SocketAddr::new(settings.host, settings.base_port);
        let listeners = Listeners::bind(base, lanes, settings.listen).map_err(|(address, error)| {
            anyhow!("cannot listen on {address}: {error}; stop what uses it, or choose other ports with --base-port")
        })?;
        let addresses = listeners
            .addresses()
            .context("cannot read the bound addresses")?;
        let metrics = Arc::new(ServerMetrics::new(lanes));
        let admin_socket = admin_socket(settings)?;
        let data = data_directory::open(
            &settings.data_dir,
            settings.server_id,
            &crate::metadata::random_cluster_id(),
        )?;
        let shown = if settings.listen == ListenMode::Shared {
            1
        } else {
            lanes
        };
        let nodes = addresses
            .iter()
            .take(shown)
            .enumerate()
            .map(|(lane, address)| AdvertisedNode {
                id: settings.node_id(lane),
                host: settings.client_host(),
                port: address.port(),
            })
            .collect();
        let cluster = Arc::new(Cluster {
            cluster_id: data.cluster_id.clone(),
            rack: settings.rack.clone(),
            advertised: nodes,
            lanes,
            data: data.paths.clone(),
            defaults: settings.metadata_defaults(),
            fetch_size_bytes_max: settings.broker.fetch_size_bytes_max(),
            group_size_bytes_max: settings.memory.lane_group_bytes,
            fetch_sessions: cluster::FetchSessionLimits {
                slots_max: settings.broker.fetch_sessions_max(),
                bytes_max: settings.memory.lane_fetch_session_bytes,
            },
        });

        let admin = admin_socket
            .map(|socket| AdminHttp::start(socket, Arc::clone(&metrics)))
            .transpose()
            .context("cannot start the admin listener")?;
        if let Some(admin) = &admin {
            tracing::info!("metrics at http://{}/metrics", admin.address());
        }
        let watched = WatchedDisk::new(
            data.paths.root(),
            &data.paths.ballast(),
            settings.reserve,
            Arc::clone(&metrics),
        );

        spares::remove_foreign(&data.paths, lanes);
        let spare_bytes =
            spares::lane_bytes(settings.spare_segments_bytes, &data.paths.logs(), lanes);
        let (mesh, receivers) = mesh::channels(lanes);
        let (opened, all_opened) = flume::unbounded();
        let (ended, all_ended) = flume::unbounded();
        let (images, image_receivers): (Vec<_>, Vec<_>) =
            (0..lanes).map(|_| flume::bounded(1)).unzip();
        let (watchdog, heartbeats) = Watchdog::start(lanes).context("cannot start the watchdog")?;
        let mut threads = Vec::with_capacity(lanes);
        for ((((index, receiver), socket), image), heartbeat) in receivers
            .into_iter()
            .enumerate()
            .zip(listeners.into_sockets())
            .zip(image_receivers)
            .zip(heartbeats)
        {
            let start = LaneStart {
                index,
                cluster: Arc::clone(&cluster),
                mesh: mesh.clone(),
                receiver,
                socket,
                disk: disk(settings),
                logs: LaneLogsConfig {
                    spares: Some(spares::config(&data.paths, index, spare_bytes)),
                    ..lane_logs_config(settings)
                },
                limits: connection_limits(settings),
                caps: ConnectionCaps {
                    connections_max: settings.broker.connections_max(),
                    per_address_max: settings.broker.connections_per_address_max(),
                },
                retention_check_interval: Duration::from_millis(
                    settings.broker.retention_check_interval_ms(),
                ),
                metrics: Arc::clone(&metrics),
                room: watched.room(),
                journal_bytes: settings.lane_journal_bytes,
                offsets_retention_check_interval: Duration::from_millis(
                    settings.broker.offsets_retention_check_interval_ms(),
                ),
                compaction: compaction_budget(settings, lanes),
                opened: opened.clone(),
                image,
                images: if index == CONTROLLER_LANE {
                    images.clone()
                } else {
                    Vec::new()
                },
                ended: ended.clone(),
            };
            let runtime = LaneRuntimeConfig {
                cpu: settings.cores[index],
                name: format!("lane-{index}"),
                spin_before_park: (settings.poll == PollMode::Busy).then_some(BUSY_SPIN),
                ring_depth: RING_DEPTH,
            };
            let thread = spawn_lane(&runtime, move || async move {
                heartbeat.beat();
                run_lane(start).await;
            })
            .with_context(|| {
                format!(
                    "cannot start lane {index} on core {}; `corelane doctor` tells what is missing",
                    settings.cores[index]
                )
            })?;
            threads.push(thread);
        }
        drop((opened, ended, images));
        let headroom = HeadroomWatch::start(watched, mesh.clone())
            .context("cannot start to watch the disk's free space")?;
        let server = Self {
            cluster,
            mesh,
            lanes: threads,
            ended: all_ended,
            metrics,
            admin,
            headroom: Some(headroom),
            _watchdog: watchdog,
            _data: data,
        };
        for _ in 0..lanes {
            match all_opened.recv() {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => {
                    let _ = server.stop();
                    bail!(reason);
                }
                Err(_) => {
                    let outcome = server.stop();
                    bail!(
                        "a lane ended while it started ({}); `corelane doctor` tells what is missing",
                        outcome
                            .err()
                            .map_or_else(|| "no reason given".into(), |e| e.to_string())
                    );
                }
            }
        }
        ServerCells::set(&server.metrics.server.ready, 1);
        Ok(server)
    }

    /// Where the admin listener is, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminHttp::address)
    }

    /// Bootstrap addresses as `HOST:PORT`, one per node.
    pub fn bootstrap(&self) -> Vec<String> {
        self.cluster
            .advertised
            .iter()
            .map(|node| format!("{}:{}", node.host, node.port))
            .collect()
    }

    /// A handle that asks the server to stop, from any thread.
    pub fn stopper(&self) -> impl Fn() + Send + 'static + use<> {
        let mesh = self.mesh.clone();
        move || mesh.shut_down()
    }

    /// Waits until a lane has ended, which is after a stop was asked for, or when a lane failed.
    ///
    /// # Errors
    /// Why the lane ended, if that was not by a stop.
    pub fn wait(&self) -> anyhow::Result<()> {
        match self.ended.recv() {
            Ok(end) => end.map_err(|reason| anyhow!(reason)),
            Err(_) => Err(anyhow!("every lane ended without a reason")),
        }
    }

    /// Stops: accepted data is flushed, files are closed. Blocks until every lane has ended.
    ///
    /// # Errors
    /// The first lane that could not close in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        ServerCells::set(&self.metrics.server.ready, 0);
        // Nobody needs to hear of room any more.
        drop(self.headroom.take());
        self.mesh.shut_down();
        let mut outcome = Ok(());
        for thread in self.lanes {
            if let Err(error) = thread.join() {
                outcome = Err(anyhow!("a lane's thread failed: {error}"));
            }
        }
        for end in self.ended.try_iter() {
            if let Err(reason) = end {
                outcome = Err(anyhow!(reason));
            }
        }
        outcome
    }
}

/// The admin listener's socket. What only the default asks for is no reason not to start.
fn admin_socket(settings: &ServerSettings) -> anyhow::Result<Option<TcpListener>> {
    let (address, is_wanted) = match settings.admin {
        AdminListen::Off => return Ok(None),
        AdminListen::Default => (crate::config::ADMIN_ADDRESS, false),
        AdminListen::At(address) => (address, true),
    };
    match TcpListener::bind(address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if is_wanted => Err(anyhow!(
            "cannot listen on {address} for metrics: {error}; stop what uses it, or choose another --admin-address"
        )),
        Err(error) => {
            tracing::warn!(
                "no metrics over HTTP: cannot listen on {address}: {error}; choose another --admin-address, or off"
            );
            Ok(None)
        }
    }
}

fn disk(settings: &ServerSettings) -> DirectDisk {
    DirectDisk::new(match settings.flush_mode {
        FlushChoice::Dsync => FlushMode::DataSync,
        FlushChoice::Fdatasync => FlushMode::Fdatasync,
    })
}

fn lane_logs_config(settings: &ServerSettings) -> LaneLogsConfig {
    LaneLogsConfig {
        tail_budget_bytes: settings.memory.lane_tail_bytes,
        read_budget_bytes: settings.memory.lane_read_bytes,
        unflushed_budget_bytes: settings.memory.lane_unflushed_bytes,
        // The standard library's hash keys come from the operating system's randomness.
        seed: RandomState::new().hash_one(std::process::id()),
        ..LaneLogsConfig::default()
    }
}

/// A lane's part of what the server's compactions may take.
fn compaction_budget(settings: &ServerSettings, lanes: usize) -> compaction::CompactionBudget {
    let broker = &settings.broker;
    compaction::CompactionBudget {
        backoff: Duration::from_millis(broker.cleaner_backoff_ms()),
        map_bytes: broker.cleaner_map_bytes() / lanes.max(1),
        bytes_per_second_max: broker.cleaner_bytes_per_second_max() / lanes.max(1) as f64,
    }
}

fn connection_limits(settings: &ServerSettings) -> ConnectionLimits {
    ConnectionLimits {
        frame: FrameLimits {
            frame_bytes_max: settings.broker.request_size_bytes_max(),
            ..FrameLimits::default()
        },
        requests_in_flight_max: settings.connection_requests_max,
        response_bytes_queued_max: settings.memory.connection_response_bytes,
        frame_deadline_ms: settings.frame_deadline_ms,
        idle_ms_max: settings.broker.connection_idle_ms_max(),
    }
}

async fn run_lane(start: LaneStart) {
    let ended = start.ended.clone();
    let opened = start.opened.clone();
    let outcome = match open_lane(&start).await {
        Ok(lane) => {
            let _ = opened.send(Ok(()));
            drop(opened);
            serve_lane(lane, start).await
        }
        Err(error) => {
            let reason = format!("{error:#}");
            let _ = opened.send(Err(reason.clone()));
            Err(reason)
        }
    };
    let _ = ended.send(outcome);
}

async fn open_lane(start: &LaneStart) -> anyhow::Result<Rc<Lane>> {
    let logs = LaneLogs::new(start.disk, start.logs.clone());
    let lane = Lane::new(
        start.index,
        Rc::new(Cluster::clone(&start.cluster)),
        start.mesh.clone(),
        logs,
        Rc::new(SystemClock),
    );
    lane.set_room(start.room);
    let flusher = lane.logs.clone();
    glommio::spawn_local(async move { flusher.run_flusher().await }).detach();
    spares::open(&lane).await;
    let image = if start.index == CONTROLLER_LANE {
        journals::replay(&lane).await?;
        let image = open_controller(&lane, &start.metrics).await?;
        for other in &start.images {
            let _ = other.send(image.clone());
        }
        image
    } else {
        start
            .image
            .recv_async()
            .await
            .map_err(|_| anyhow!("lane {CONTROLLER_LANE} could not read the metadata"))?
    };
    lane.install(image).await?;
    journals::open(&lane, start.journal_bytes).await?;
    Ok(lane)
}

/// Opens the metadata log and moves partitions off lanes that this start does not have.
async fn open_controller(
    lane: &Rc<Lane>,
    metrics: &ServerMetrics,
) -> anyhow::Result<crate::metadata::MetadataImage> {
    let (controller, mut image) = Controller::open(lane, &lane.cluster.data.metadata())
        .await
        .context("cannot open the metadata")?;
    let moves = crate::metadata::placement::reassign(&image, lane.cluster.lanes);
    if moves
        .iter()
        .any(|record| matches!(record, MetadataRecord::PartitionLane { .. }))
    {
        tracing::info!(
            lanes = lane.cluster.lanes,
            "moving partitions to this start's lanes"
        );
    }
    if !moves.is_empty() {
        controller.append(lane, &moves).await?;
        for record in &moves {
            image.apply(record)?;
        }
    }
    let data = &lane.cluster.data;
    match orphans::move_to_trash(&data.logs(), &data.trash(), &image, lane.clock.now()) {
        Ok(directories) => {
            ServerCells::set(&metrics.server.trash_directories, directories);
        }
        Err(error) => {
            tracing::warn!(%error, "cannot move directories without a topic to the trash");
        }
    }
    // What a crash left of deletions; nothing else is open yet. Leaving it costs space only.
    match lane.logs.purge_trash(&lane.cluster.data.logs()).await {
        Ok(0) => {}
        Ok(logs) => tracing::info!(logs, "removed what was left of deleted partitions"),
        Err(error) => tracing::warn!(%error, "cannot remove what is left of deleted partitions"),
    }
    lane.set_controller(controller);
    Ok(image)
}

async fn serve_lane(lane: Rc<Lane>, start: LaneStart) -> LaneEnd {
    let publishing = Connections::new(start.caps);
    let connections = Rc::clone(&publishing);
    let publishing = glommio::spawn_local(housekeeping::publish(
        Rc::clone(&lane),
        publishing,
        Arc::clone(&start.metrics),
    ));
    let listener = listener::attach(start.socket);
    let counting = Rc::clone(&lane);
    let service = Rc::new(KafkaService::new(Rc::clone(&lane)));
    let limits = start.limits;
    let accepting = glommio::spawn_local(async move {
        let mut refused_at = None;
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    let Some(place) = stream
                        .peer_addr()
                        .ok()
                        .and_then(|peer| connections.take(peer.ip()))
                    else {
                        LaneCounters::add(&counting.counters.connections_refused, 1);
                        // Said once a second at most: whoever floods must not fill the disk with it.
                        if refused_at.is_none_or(|at: Instant| at.elapsed() > REFUSAL_LOG_INTERVAL)
                        {
                            refused_at = Some(Instant::now());
                            tracing::warn!(
                                "refused a connection: max.connections or max.connections.per.ip is reached"
                            );
                        }
                        continue;
                    };
                    let service = Rc::clone(&service);
                    glommio::spawn_local(async move {
                        serve_connection(stream, service, limits).await;
                        drop(place);
                    })
                    .detach();
                }
                Err(error) => {
                    // Out of descriptors or memory: existing connections go on, new ones wait.
                    tracing::warn!(%error, "cannot accept a connection");
                    glommio::timer::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    });
    let housekeeping = glommio::spawn_local(housekeeping::run(
        Rc::clone(&lane),
        start.retention_check_interval,
    ));
    let alarms = glommio::spawn_local(coordinator::run_alarms(Rc::clone(&lane)));
    let expiring = glommio::spawn_local(coordinator::remove_expired(
        Rc::clone(&lane),
        start.offsets_retention_check_interval,
    ));
    let maintaining = glommio::spawn_local(housekeeping::maintain_logs(Rc::clone(&lane)));
    let compacting = glommio::spawn_local(compaction::run(Rc::clone(&lane), start.compaction));
    mesh::receive(Rc::clone(&lane), start.receiver).await;
    accepting.cancel().await;
    alarms.cancel().await;
    expiring.cancel().await;
    maintaining.cancel().await;
    compacting.cancel().await;
    housekeeping.cancel().await;
    publishing.cancel().await;
    lane.logs
        .shutdown()
        .await
        .map_err(|error| format!("lane {} could not close its logs: {error}", lane.index))
}
