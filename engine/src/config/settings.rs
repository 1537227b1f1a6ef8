//! The server's settings, checked as a whole.
//!
//! Made once at start by [`SettingsOverrides::resolve`](super::SettingsOverrides::resolve); every lane has a copy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::broker::BrokerConfig;
use super::cores::show_cores;
use super::settings_error::SettingsError;
use super::topic::{TopicConfig, validate_overrides};
use crate::headroom::ReserveChoice;
use crate::metadata::{Defaults, Limits};

/// The first port, Kafka's own.
pub const BASE_PORT: u16 = 9092;
/// Where metrics are told over HTTP unless it is said otherwise: below the lanes' ports.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8092);
/// Node ids are `server_id * NODES_PER_SERVER + lane`.
pub const NODES_PER_SERVER: i32 = 1000;
/// The highest server id whose node ids fit into Kafka's 32 bits.
pub const SERVER_ID_MAX: i32 = i32::MAX / NODES_PER_SERVER - 1;

/// What a lane keeps of retired segments, unless the disk is small.
pub const SPARE_SEGMENTS_BYTES: u64 = 4 << 30;

/// How lanes are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenMode {
    /// Every lane has a port and is a Kafka node of its own.
    #[default]
    PerCore,
    /// All lanes share one port and are one Kafka node.
    Shared,
}

/// What a lane does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PollMode {
    /// Sleeps until something comes.
    #[default]
    Park,
    /// Spins: the lowest latency for a whole core.
    Busy,
}

/// How data is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushChoice {
    /// Every write is durable by itself (`O_DSYNC`).
    #[default]
    Dsync,
    /// Writes, then `fdatasync`.
    Fdatasync,
}

/// Where operators ask for metrics and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminListen {
    /// At [`ADMIN_ADDRESS`], unless something else is there.
    #[default]
    Default,
    /// Here, or the server does not start; port 0 lets the system choose.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

macro_rules! named_choice {
    ($type:ident { $($variant:ident = $name:literal),* } $expected:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $name,)* })
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!(concat!("{} is neither ", $expected), super::definition::echo(text))),
                }
            }
        }
    };
}

named_choice!(ListenMode { PerCore = "per-core", Shared = "shared" } "per-core nor shared");
named_choice!(PollMode { Park = "park", Busy = "busy" } "park nor busy");
named_choice!(FlushChoice { Dsync = "dsync", Fdatasync = "fdatasync" } "dsync nor fdatasync");

/// Memory that each lane may use beyond its fixed needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudgets {
    /// Recently written data, kept for consumers at the tail.
    pub lane_tail_bytes: usize,
    /// Data read from disk for consumers that catch up.
    pub lane_read_bytes: usize,
    /// Accepted data that is not flushed yet; producers wait above it.
    pub lane_unflushed_bytes: usize,
    /// Fetch sessions of consumers.
    pub lane_fetch_session_bytes: usize,
    /// What groups and their offsets take.
    pub lane_group_bytes: usize,
    /// Responses of one connection that wait for its socket.
    pub connection_response_bytes: usize,
}

/// The server's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The address to listen on.
    pub host: IpAddr,
    /// The host that clients are told; that of [`ServerSettings::host`] unless set.
    pub advertised_host: Option<String>,
    /// The port of lane 0 (lane i listens on `base_port + i`), or of all; 0 lets the system choose.
    pub base_port: u16,
    /// The cores, one lane each, in the order of the lanes.
    pub cores: Vec<usize>,
    /// How lanes are reached.
    pub listen: ListenMode,
    /// This server among others; its nodes are `server_id * 1000 + lane`.
    pub server_id: i32,
    /// The rack of this server's nodes.
    pub rack: String,
    /// What an idle lane does.
    pub poll: PollMode,
    /// Whether to listen beyond loopback without protection.
    pub insecure: bool,
    /// Where operators ask for metrics and health.
    pub admin: AdminListen,
    /// How much of the disk is kept free.
    pub reserve: ReserveChoice,
    /// How data is made durable.
    pub flush_mode: FlushChoice,
    /// Disk space in which each lane keeps retired segments for new ones to overwrite; 0: none.
    pub spare_segments_bytes: u64,
    /// Size of each lane's journal; 0: none.
    pub lane_journal_bytes: u64,
    /// Memory budgets.
    pub memory: MemoryBudgets,
    /// Requests of one connection that are not answered yet.
    pub connection_requests_max: usize,
    /// A request that has begun to arrive must be whole within this time.
    pub frame_deadline_ms: u64,
    /// Bounds on what one request may create, and on what there may be in all.
    pub limits: Limits,
    /// Settings by Kafka's broker names.
    pub broker: BrokerConfig,
}

impl Default for ServerSettings {
    /// The settings without any configuration, on one core.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./corelane-data"),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertised_host: None,
            base_port: BASE_PORT,
            cores: vec![0],
            listen: ListenMode::PerCore,
            server_id: 1,
            rack: "server-1".to_owned(),
            poll: PollMode::Park,
            insecure: false,
            admin: AdminListen::Default,
            reserve: ReserveChoice::Auto,
            flush_mode: FlushChoice::Dsync,
            spare_segments_bytes: SPARE_SEGMENTS_BYTES,
            lane_journal_bytes: 64 << 20,
            memory: MemoryBudgets {
                lane_tail_bytes: 64 << 20,
                lane_read_bytes: 32 << 20,
                lane_unflushed_bytes: 64 << 20,
                lane_fetch_session_bytes: 64 << 20,
                lane_group_bytes: 256 << 20,
                connection_response_bytes: 16 << 20,
            },
            connection_requests_max: 128,
            frame_deadline_ms: 30_000,
            limits: Limits::default(),
            broker: BrokerConfig::default(),
        }
    }
}

impl ServerSettings {
    /// The host that clients are told to connect to.
    pub fn client_host(&self) -> String {
        self.advertised_host
            .clone()
            .unwrap_or_else(|| self.host.to_string())
    }

    /// The Kafka node id of a lane; in shared mode all lanes are the first one's node.
    pub fn node_id(&self, lane: usize) -> i32 {
        let lane = if self.listen == ListenMode::Shared {
            0
        } else {
            lane
        };
        self.server_id * NODES_PER_SERVER + i32::try_from(lane).unwrap_or(0)
    }

    /// What topics have that do not say otherwise.
    pub fn topic_defaults(&self) -> TopicConfig {
        TopicConfig::server_defaults(&self.broker)
    }

    /// What decisions on metadata depend on.
    pub fn metadata_defaults(&self) -> Defaults {
        Defaults {
            broker: self.broker.clone(),
            topics: self.topic_defaults(),
            limits: self.limits,
        }
    }

    /// Checks the settings against each other and against the cores that the process may run on.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self, allowed_cores: &[usize]) -> Result<(), SettingsError> {
        if !self.host.is_loopback() && !self.insecure {
            return Err(SettingsError::NotLoopback { host: self.host });
        }
        if let AdminListen::At(address) = self.admin
            && !address.ip().is_loopback()
            && !self.insecure
        {
            return Err(SettingsError::NotLoopback { host: address.ip() });
        }
        if self.host.is_unspecified() && self.advertised_host.is_none() {
            return Err(SettingsError::NoAdvertisedHost { host: self.host });
        }
        if let Some(core) = self.cores.iter().find(|core| !allowed_cores.contains(core)) {
            return Err(SettingsError::CoreNotAllowed {
                core: *core,
                allowed: show_cores(allowed_cores),
            });
        }
        let last_port = usize::from(self.base_port) + self.cores.len() - 1;
        if self.listen == ListenMode::PerCore
            && self.base_port != 0
            && last_port > usize::from(u16::MAX)
        {
            return Err(SettingsError::NotEnoughPorts {
                base_port: self.base_port,
                lanes: self.cores.len(),
            });
        }
        validate_overrides(&self.topic_defaults(), &std::collections::BTreeMap::new()).map_err(
            |error| SettingsError::Conflict {
                reason: error.to_string(),
            },
        )
    }
}
