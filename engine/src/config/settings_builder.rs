//! How settings come together: built-in defaults, then the configuration file, then options, then `--set KEY=VALUE`.
//!
//! Every value takes the same way, as text under a key, whatever it was given in. A key is one of the server's own
//! (`data_dir`; `-` and `.` are as good as `_`) or a Kafka broker setting by its exact name (`num.partitions`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::affinity;
use super::broker::BrokerConfig;
use super::cores::parse_cores;
use super::definition::{ConfigError, echo};
use super::nearest::nearest;
use super::settings::{AdminListen, SERVER_ID_MAX, ServerSettings};
use super::settings_error::{Origin, SettingsError};
use super::settings_file;
use super::units::{parse_duration_ms, parse_size_bytes};
use crate::headroom::ReserveChoice;

/// The least journal that goes round sensibly.
const JOURNAL_BYTES_MIN: u64 = 2 << 20;
/// More is never waited for.
const JOURNAL_BYTES_MAX: u64 = 16 << 30;

/// What was given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsOverrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--host`.
    pub host: Option<String>,
    /// `--base-port`.
    pub base_port: Option<u16>,
    /// `--cores`, as text.
    pub cores: Option<String>,
    /// `--listen`, as text.
    pub listen: Option<String>,
    /// `--insecure`.
    pub insecure: bool,
    /// `--set KEY=VALUE`, in the order given.
    pub set: Vec<String>,
}

impl SettingsOverrides {
    /// Reads the configuration file and the process' cores, and puts the settings together.
    ///
    /// # Errors
    /// The first thing that cannot be read or used, and what to do about it.
    pub fn resolve(&self) -> Result<ServerSettings, SettingsError> {
        let file = self
            .config
            .as_ref()
            .map(|path| settings_file::read(path).map(|text| (path.clone(), text)));
        let allowed =
            affinity::process_cores().map_err(|source| SettingsError::CoresUnknown { source })?;
        self.resolve_with(file.transpose()?, &allowed)
    }

    /// Puts the settings together from the text of a configuration file and the cores that the process may run on.
    ///
    /// # Errors
    /// The first thing that cannot be used, and what to do about it.
    pub fn resolve_with(
        &self,
        file: Option<(PathBuf, String)>,
        allowed_cores: &[usize],
    ) -> Result<ServerSettings, SettingsError> {
        let mut draft = Draft::new(allowed_cores);
        if let Some((path, text)) = file {
            for (key, value) in settings_file::entries(&path, &text)? {
                draft.set(&key, &value, &Origin::File(path.clone()))?;
            }
        }
        for (key, value) in self.flags() {
            draft.set(key, &value, &Origin::Flag)?;
        }
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| SettingsError::NotAPair { got: echo(pair) })?;
            draft.set(key.trim(), value.trim(), &Origin::Set)?;
        }
        let settings = draft.finish();
        settings.validate(allowed_cores)?;
        Ok(settings)
    }

    fn flags(&self) -> Vec<(&'static str, String)> {
        let data_dir = self
            .data_dir
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned());
        [
            ("data_dir", data_dir),
            ("host", self.host.clone()),
            ("base_port", self.base_port.map(|port| port.to_string())),
            ("cores", self.cores.clone()),
            ("listen", self.listen.clone()),
            ("insecure", self.insecure.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .collect()
    }
}

/// Settings on the way.
struct Draft {
    settings: ServerSettings,
    rack_given: bool,
}

/// How a text becomes a setting; the error says what would be right.
type Apply = fn(&mut Draft, &str) -> Result<(), String>;

/// The server's own settings.
const OWN_SETTINGS: &[(&str, Apply)] = &[
    ("admin_address", |draft, text| {
        draft.settings.admin = match text {
            "off" => AdminListen::Off,
            _ => AdminListen::At(admin_address(text)?),
        };
        Ok(())
    }),
    ("advertised_host", |draft, text| {
        draft.settings.advertised_host = Some(host_name(text)?);
        Ok(())
    }),
    ("base_port", |draft, text| {
        draft.settings.base_port = text
            .parse()
            .map_err(|_| format!("{} is no port from 0 to 65535", echo(text)))?;
        Ok(())
    }),
    ("connection_requests_max", |draft, text| {
        draft.settings.connection_requests_max = count(text, 1, 65_536)?;
        Ok(())
    }),
    ("connection_response_bytes", |draft, text| {
        draft.settings.memory.connection_response_bytes = size(text, 64 << 10)?;
        Ok(())
    }),
    ("cores", |draft, text| {
        draft.settings.cores = parse_cores(text).map_err(|error| error.to_string())?;
        Ok(())
    }),
    ("data_dir", |draft, text| {
        if text.is_empty() {
            return Err("name a directory".to_owned());
        }
        draft.settings.data_dir = PathBuf::from(text);
        Ok(())
    }),
    ("flush_mode", |draft, text| {
        draft.settings.flush_mode = text.parse()?;
        Ok(())
    }),
    ("frame_deadline_ms", |draft, text| {
        draft.settings.frame_deadline_ms = match parse_duration_ms(text) {
            Ok(duration @ 1..) => duration,
            Ok(0) => return Err("give more than 0, as in 30s".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        Ok(())
    }),
    ("host", |draft, text| {
        draft.settings.host = listen_address(text)?;
        Ok(())
    }),
    ("insecure", |draft, text| {
        draft.settings.insecure = match text {
            "true" => true,
            "false" => false,
            _ => return Err(format!("{} is neither true nor false", echo(text))),
        };
        Ok(())
    }),
    ("lane_fetch_session_bytes", |draft, text| {
        draft.settings.memory.lane_fetch_session_bytes = size(text, 1 << 20)?;
        Ok(())
    }),
    ("lane_group_bytes", |draft, text| {
        draft.settings.memory.lane_group_bytes = size(text, 1 << 20)?;
        Ok(())
    }),
    ("lane_journal_bytes", |draft, text| {
        draft.settings.lane_journal_bytes = match parse_size_bytes(text) {
            Ok(0) => 0,
            Ok(bytes @ JOURNAL_BYTES_MIN..=JOURNAL_BYTES_MAX) => bytes,
            Ok(_) => return Err("give 0 for no journal, or from 2MiB to 16GiB".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        Ok(())
    }),
    ("lane_read_bytes", |draft, text| {
        draft.settings.memory.lane_read_bytes = size(text, 4 << 20)?;
        Ok(())
    }),
    ("lane_tail_bytes", |draft, text| {
        draft.settings.memory.lane_tail_bytes = size(text, 1 << 20)?;
        Ok(())
    }),
    ("lane_unflushed_bytes", |draft, text| {
        draft.settings.memory.lane_unflushed_bytes = size(text, 4 << 20)?;
        Ok(())
    }),
    ("listen", |draft, text| {
        draft.settings.listen = text.parse()?;
        Ok(())
    }),
    ("partitions_max", |draft, text| {
        draft.settings.limits.partitions_max = count(text, 1, 10_000_000)?;
        Ok(())
    }),
    ("partitions_per_request_max", |draft, text| {
        draft.settings.limits.partitions_per_request_max = count(text, 1, 1_000_000)?;
        Ok(())
    }),
    ("poll", |draft, text| {
        draft.settings.poll = text.parse()?;
        Ok(())
    }),
    ("rack", |draft, text| {
        if text.is_empty() || text.len() > 249 {
            return Err("a rack has from 1 to 249 bytes".to_owned());
        }
        text.clone_into(&mut draft.settings.rack);
        draft.rack_given = true;
        Ok(())
    }),
    ("reserve_bytes", |draft, text| {
        draft.settings.reserve = match text {
            "auto" => ReserveChoice::Auto,
            _ => ReserveChoice::Bytes(parse_size_bytes(text).map_err(|error| error.to_string())?),
        };
        Ok(())
    }),
    ("server_id", |draft, text| {
        let id = text
            .parse::<i32>()
            .ok()
            .filter(|id| (0..=SERVER_ID_MAX).contains(id));
        draft.settings.server_id =
            id.ok_or_else(|| format!("{} is no number from 0 to {SERVER_ID_MAX}", echo(text)))?;
        Ok(())
    }),
    ("spare_segments_bytes", |draft, text| {
        draft.settings.spare_segments_bytes =
            parse_size_bytes(text).map_err(|error| error.to_string())?;
        Ok(())
    }),
];

impl Draft {
    fn new(allowed_cores: &[usize]) -> Self {
        let defaults = ServerSettings::default();
        let cores = if allowed_cores.is_empty() {
            defaults.cores.clone()
        } else {
            allowed_cores
                .iter()
                .copied()
                .take(super::cores::CORES_MAX)
                .collect()
        };
        Self {
            settings: ServerSettings { cores, ..defaults },
            rack_given: false,
        }
    }

    fn set(&mut self, key: &str, text: &str, origin: &Origin) -> Result<(), SettingsError> {
        let invalid = |reason: String| SettingsError::InvalidValue {
            key: key.to_owned(),
            origin: origin.clone(),
            reason,
        };
        match self.settings.broker.set(key, text) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(ConfigError::InvalidValue { value, reason, .. }) => {
                return Err(invalid(format!("{value} does not do: {reason}")));
            }
            Err(error) => return Err(invalid(error.to_string())),
        }
        let own = key.replace(['-', '.'], "_");
        match OWN_SETTINGS.iter().find(|(name, _)| *name == own) {
            Some((_, apply)) => apply(self, text).map_err(invalid),
            None => Err(SettingsError::UnknownKey {
                key: echo(key),
                origin: origin.clone(),
                suggestion: nearest(key, known_settings()).map(str::to_owned),
            }),
        }
    }

    fn finish(mut self) -> ServerSettings {
        if !self.rack_given {
            self.settings.rack = format!("server-{}", self.settings.server_id);
        }
        self.settings
    }
}

/// The names of all settings that a configuration file or `--set` may hold.
pub fn known_settings() -> impl Iterator<Item = &'static str> {
    OWN_SETTINGS
        .iter()
        .map(|(name, _)| *name)
        .chain(BrokerConfig::names())
}

fn listen_address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map_err(|_| {
        format!(
            "{} is no IP address to listen on; clients can be told a name with advertised_host",
            echo(text)
        )
    })
}

fn admin_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is neither off nor an IP address with a port, as 127.0.0.1:8092",
            echo(text)
        )
    })
}

fn host_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || text.len() > 253 || !text.chars().all(is_plain) {
        return Err(format!("{:?} is no host name or IP address", echo(text)));
    }
    Ok(text.to_owned())
}

fn count(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let number = text
        .parse::<usize>()
        .ok()
        .filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("{} is no number from {min} to {max}", echo(text)))
}

fn size(text: &str, min: usize) -> Result<usize, String> {
    let size = parse_size_bytes(text).map_err(|error| error.to_string())?;
    let size = usize::try_from(size).map_err(|_| format!("{} is too large", echo(text)))?;
    if size < min {
        Err(format!("at least {} KiB are needed", min >> 10))
    } else {
        Ok(size)
    }
}
