//! `corelane serve`: settings, checks, the server, and its end.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use corelane_engine::config::SettingsOverrides;
use corelane_engine::doctor::raise_open_files_limit;
use corelane_engine::server::Server;

use super::key_value::KeyValue;
use super::signals::SignalThread;
use super::stdout::Stdout;
use super::{Outcome, doctor, logging};

const EXAMPLES: &str = "\
Examples:
  corelane serve
  corelane serve --data-dir /var/lib/corelane --cores 2-5 --base-port 19092
  corelane serve --config /etc/corelane.toml --set num.partitions=4 --set log.retention.hours=24
  corelane serve --listen shared --set advertised_host=kafka.example.org --host 0.0.0.0 --insecure

Wait for it in a script: the first line on standard output is `ready HOST:PORT[,HOST:PORT...]`.

The configuration file is TOML; a setting has the same name there as with --set:
  data_dir = \"/var/lib/corelane\"
  cores = \"2-5\"
  num.partitions = 4

Stop it with SIGTERM or SIGINT (Ctrl-C): what was accepted is flushed first. A second signal ends it at once, which loses
nothing that was acknowledged.";

/// Runs a server.
///
/// No option is needed: it then keeps its data in ./corelane-data, listens on 127.0.0.1 from port 9092 up, and uses every
/// core it may run on. An option beats the configuration file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept; made if it is not there. [default: ./corelane-data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The IP address to listen on. [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port of the first core; the others follow. 0 lets the system choose. [default: 9092]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// The cores to use, one lane each, as 0,2-5. [default: all]
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// A port for each core, so that clients talk to the core that owns a partition, or one port for all. [default: per-core]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(["per-core", "shared"]))]
    listen: Option<String>,
    /// Sleep when there is nothing to do, or spin: the lowest latency, for whole cores. [default: park]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(["park", "busy"]))]
    poll: Option<String>,
    /// Disk space in which each core keeps retired segments for new ones to overwrite, as 1GiB; 0 for none. [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    spare_segments_bytes: Option<String>,
    /// Allow an address that others can reach, without encryption and authentication.
    #[arg(long)]
    insecure: bool,
    /// Where to tell metrics and health over HTTP, as 127.0.0.1:8092, or off. [default: 127.0.0.1:8092, if it is free]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_address: Option<String>,
    /// Refuse produces when less than this is free on the disk, as 10GiB; 0 never. [default: 1 GiB or 2 % of the disk, whichever
    /// is more, at most 10 %]
    #[arg(long, value_name = "SIZE")]
    reserve_bytes: Option<String>,
    /// Any other setting, by Kafka's broker name where it has one. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<KeyValue>,
    /// What to log to standard error: error, warn, info, debug or trace. [default: that of the variable `CORELANE_LOG`, or info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl ServeArgs {
    fn overrides(&self) -> SettingsOverrides {
        let options = [
            ("poll", &self.poll),
            ("admin_address", &self.admin_address),
            ("reserve_bytes", &self.reserve_bytes),
            ("spare_segments_bytes", &self.spare_segments_bytes),
        ];
        let options = options
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        let set = self
            .set
            .iter()
            .map(|KeyValue { key, value }| format!("{key}={value}"));
        SettingsOverrides {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            host: self.host.clone(),
            base_port: self.base_port,
            cores: self.cores.clone(),
            listen: self.listen.clone(),
            insecure: self.insecure,
            set: options.chain(set).collect(),
        }
    }
}

/// Runs a server until it is told to stop.
pub(crate) fn run(arguments: &ServeArgs) -> anyhow::Result<Outcome> {
    logging::start(arguments.log_level.as_deref())?;
    let settings = arguments.overrides().resolve()?;
    doctor::refuse_if_hopeless(&settings)?;
    if let Err(error) = raise_open_files_limit() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let signals = SignalThread::start().context("cannot handle signals")?;
    let server = Server::start(&settings)?;
    signals.on_first(server.stopper());
    say_ready(&server);
    let ended = server.wait();
    let asked_by = signals.received();
    if let Some(signal) = asked_by {
        tracing::info!("stopping on {signal}; a second signal ends at once");
    }
    let stopped = server.stop();
    if asked_by.is_none() {
        ended.context("a lane ended by itself, and the server with it")?;
        bail!("a lane ended by itself, and the server with it; its log tells more");
    }
    stopped.context("did not stop in order")?;
    tracing::info!("stopped in order");
    Ok(Outcome::Success)
}

/// The one line on standard output. A script that has gone away meanwhile does not stop the server.
fn say_ready(server: &Server) {
    let addresses: Vec<String> = server.bootstrap().iter().map(ToString::to_string).collect();
    let mut out = Stdout::lock();
    let said = writeln!(out, "ready {}", addresses.join(",")).and_then(|()| out.flush());
    if let Err(error) = said {
        tracing::warn!(%error, "cannot say that the server is ready");
    }
    tracing::info!(addresses = addresses.join(","), "ready");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ServeArgs,
    }

    fn overrides(words: &str) -> SettingsOverrides {
        let words = std::iter::once("serve").chain(words.split_whitespace());
        Line::try_parse_from(words)
            .unwrap_or_else(|error| panic!("{error}"))
            .arguments
            .overrides()
    }

    #[test]
    fn options_become_settings() {
        assert_eq!(overrides(""), SettingsOverrides::default());
        let expected = SettingsOverrides {
            config: Some("a.toml".into()),
            data_dir: Some("d".into()),
            host: Some("::1".to_owned()),
            base_port: Some(0),
            cores: Some("0,2-5".to_owned()),
            listen: Some("shared".to_owned()),
            insecure: true,
            set: [
                "poll=busy",
                "admin_address=off",
                "reserve_bytes=1GiB",
                "spare_segments_bytes=2GiB",
                "a=b=c",
                "d=",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let words = "--config a.toml --data-dir d --host ::1 --base-port 0 --cores 0,2-5 --listen shared --poll busy \
                     --insecure --reserve-bytes 1GiB --spare-segments-bytes 2GiB --admin-address off --set a=b=c --set d=";
        assert_eq!(overrides(words), expected);
    }
}
