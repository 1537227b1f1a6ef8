//! Why the server's settings cannot be used. Every message says what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a configuration file.
    File(PathBuf),
    /// As an option of its own.
    Flag,
    /// As `--set KEY=VALUE`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "in {}", path.display()),
            Self::Flag => formatter.write_str("on the command line"),
            Self::Set => formatter.write_str("in --set"),
        }
    }
}

/// Why the server's settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error(
        "cannot read the configuration file {path}: {source}; check the path given with --config"
    )]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration file is no TOML.
    #[error("the configuration file {path} is not valid TOML: {reason}")]
    FileInvalid {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the place.
        reason: String,
    },
    /// A value of a type that no setting has.
    #[error("{key} {origin} is {got}; give a string, a number, true, false or a list of those")]
    ValueType {
        /// The setting.
        key: String,
        /// Where.
        origin: Origin,
        /// What it is.
        got: &'static str,
    },
    /// No such setting.
    #[error("unknown setting {key} {origin}{}", suggest(.suggestion.as_deref()))]
    UnknownKey {
        /// The setting.
        key: String,
        /// Where.
        origin: Origin,
        /// The setting that was probably meant.
        suggestion: Option<String>,
    },
    /// `--set` without `=`.
    #[error("--set {got}: give KEY=VALUE, as in --set num.partitions=4")]
    NotAPair {
        /// The text.
        got: String,
    },
    /// A value that does not suit.
    #[error("{key} {origin}: {reason}")]
    InvalidValue {
        /// The setting.
        key: String,
        /// Where.
        origin: Origin,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Listening where others could connect, without protection.
    #[error(
        "refusing to listen on {host}: others could connect, and nothing would be encrypted or authenticated. \
         Listen on a loopback address (--host 127.0.0.1), or accept that with --insecure (`insecure = true`)"
    )]
    NotLoopback {
        /// The address.
        host: std::net::IpAddr,
    },
    /// An address that nobody can connect to would be given to clients.
    #[error(
        "clients cannot connect to {host}; name this server as they reach it with advertised_host, \
         as in --set advertised_host=kafka1.example.org"
    )]
    NoAdvertisedHost {
        /// The address.
        host: std::net::IpAddr,
    },
    /// The ports do not fit.
    #[error(
        "{lanes} lanes from port {base_port} on end above 65535; choose a lower base_port, fewer cores, \
         or one port for all with --listen shared"
    )]
    NotEnoughPorts {
        /// The first port.
        base_port: u16,
        /// Lanes, one port each.
        lanes: usize,
    },
    /// A core that the process may not run on.
    #[error(
        "core {core} is not among the cores this process may run on ({allowed}); choose among those with --cores, \
         or widen the process' CPU set"
    )]
    CoreNotAllowed {
        /// The core.
        core: usize,
        /// The allowed ones, as a list.
        allowed: String,
    },
    /// No core to choose from.
    #[error("cannot tell which cores this process may run on: {source}; name them with --cores")]
    CoresUnknown {
        /// What the system said.
        source: io::Error,
    },
    /// Settings of topics that contradict each other.
    #[error(
        "{reason}; change one of the two settings behind them, log.cleaner.min.compaction.lag.ms or log.cleaner.max.compaction.lag.ms"
    )]
    Conflict {
        /// Kafka's words for it.
        reason: String,
    },
}

fn suggest(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean {name}?"),
        None => "; no setting has a name like it".to_owned(),
    }
}
