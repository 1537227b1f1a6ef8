//! What every client command shares: the executor, the connection, and words for what went wrong.

use std::future::Future;
use std::net::ToSocketAddrs;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use corelane_engine::lane::runtime::run_in_lane_queue;
use corelane_net::ErrorCode;
use corelane_net::client::{Cluster, ClusterConfig, ClusterError, TopicMetadata};
use glommio::{LocalExecutorBuilder, Placement};
use kafka_wire::RequestResponsePair;
use thiserror::Error;

use super::Outcome;

/// How long a server may take over a request.
pub(crate) const REQUEST_TIMEOUT_MS: i32 = 30_000;
/// Kafka's number for a topic as the owner of settings.
pub(crate) const RESOURCE_TOPIC: i8 = 2;

const CLIENT_ID: &str = "corelane-cli";
const PORT_DEFAULT: u16 = 9092;
/// How long a connection may take: a server on the same network answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries of each of the executor's rings. A client has a handful of sockets.
const RING_DEPTH: usize = 32;
/// Registered memory for direct I/O, which a client does not do: the least there can be.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// How a client command reaches its server, and how it answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// Servers to ask first, as HOST:PORT[,HOST:PORT...]; one that answers is enough.
    #[arg(
        long,
        short,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        value_delimiter = ','
    )]
    pub(crate) bootstrap: Vec<Address>,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A host, and the port if it is not Kafka's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected HOST:PORT, got {got:?}")]
pub(crate) struct AddressError {
    got: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || AddressError {
            got: text.to_owned(),
        };
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without brackets, and so without a port.
            Some((before, _)) if before.contains(':') && !before.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.map_or(Ok(PORT_DEFAULT), |port| port.parse().map_err(|_| refused()))?;
        if host.is_empty() || host.contains(['[', ']', '/', ' ']) || port == 0 {
            return Err(refused());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Runs a client command in an executor of its own on this thread.
///
/// # Errors
/// The command's, or that this machine cannot run an executor.
pub(crate) fn run<F>(command: F) -> anyhow::Result<Outcome>
where
    F: Future<Output = anyhow::Result<Outcome>> + 'static,
{
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("client")
        .ring_depth(RING_DEPTH)
        .io_memory(IO_MEMORY_BYTES)
        .make()
        .map_err(|error| {
            anyhow!(
                "cannot start asynchronous I/O: {error}; `corelane doctor` tells what is missing"
            )
        })?;
    executor.run(run_in_lane_queue(command))
}

/// A connection to a cluster.
pub(crate) struct Client {
    pub(crate) cluster: Cluster,
}

impl Client {
    /// Connects to the first server that answers.
    pub(crate) async fn connect(arguments: &ClientArgs) -> anyhow::Result<Self> {
        let asked = arguments
            .bootstrap
            .iter()
            .map(Address::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let mut addresses = Vec::new();
        let mut unresolved = None;
        for address in &arguments.bootstrap {
            // A name may stand for several addresses, only some of which are listened on: localhost does.
            match (address.host.as_str(), address.port).to_socket_addrs() {
                Ok(resolved) => addresses.extend(resolved.map(|address| address.to_string())),
                Err(error) => unresolved = Some((address, error)),
            }
        }
        if let (true, Some((address, error))) = (addresses.is_empty(), unresolved) {
            return Err(anyhow!(
                "cannot find the host of {address}: {error}; check --bootstrap"
            ));
        }
        let mut config = ClusterConfig::new(addresses, CLIENT_ID);
        config.connect.timeout = CONNECT_TIMEOUT;
        // A little more than the server may take, so that its own answer comes first.
        config.call_timeout = Duration::from_millis(REQUEST_TIMEOUT_MS as u64) + CONNECT_TIMEOUT;
        let cluster = Cluster::connect(config).await.map_err(|error| match error {
            ClusterError::Connect(error) => anyhow!(
                "no server answers at {asked} ({error}); is one running there? Start one with `corelane serve`, \
                 or name another with --bootstrap HOST:PORT"
            ),
            error => anyhow!("the server at {asked} does not answer as a Kafka server does: {error}"),
        })?;
        Ok(Self { cluster })
    }

    /// Makes a call to whichever server answers, in the highest version both sides know.
    pub(crate) async fn call<R: RequestResponsePair>(
        &mut self,
        build: impl Fn(i16) -> R,
    ) -> anyhow::Result<R::Response> {
        let version = self
            .cluster
            .common_version::<R>()
            .await
            .with_context(|| asking::<R>())?;
        self.cluster
            .call_any(&build(version))
            .await
            .with_context(|| asking::<R>())
    }

    /// Asks for these topics. Each is known afterwards, or an error stands in its place.
    pub(crate) async fn topics(&mut self, names: &[String]) -> anyhow::Result<Vec<TopicMetadata>> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.cluster
            .refresh(&names)
            .await
            .context("cannot ask for topics")?;
        Ok(names
            .iter()
            .filter_map(|name| self.cluster.topic(name))
            .cloned()
            .collect())
    }

    /// Asks for one topic that must be there and whole.
    pub(crate) async fn topic(&mut self, name: &str) -> anyhow::Result<TopicMetadata> {
        let topic = self.topics(&[name.to_owned()]).await?.into_iter().next();
        let topic =
            topic.with_context(|| format!("the server does not answer for topic {name}"))?;
        if !topic.error.is_none() {
            return Err(refused(&format!("use topic {name}"), topic.error, None));
        }
        Ok(topic)
    }
}

fn asking<R: RequestResponsePair>() -> String {
    format!(
        "cannot ask the server ({})",
        R::NAME.trim_end_matches("Request")
    )
}

/// The server's refusal, with what can be done about it.
pub(crate) fn refused(action: &str, code: ErrorCode, message: Option<&str>) -> anyhow::Error {
    let mut text = format!("cannot {action}: {code}");
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        text.push_str(": ");
        text.push_str(message.trim_end_matches('.'));
    }
    if let Some(remedy) = remedy(code) {
        text.push_str("; ");
        text.push_str(remedy);
    }
    anyhow!(text)
}

fn remedy(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "`corelane topic list` shows what there is, `corelane topic create` makes more"
        }
        ErrorCode::TopicAlreadyExists => "with --if-not-exists that is no error",
        ErrorCode::InvalidTopicException => {
            "a name has up to 249 letters, digits, dots, hyphens and underscores"
        }
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            "the topic's max.message.bytes limits the size of a batch"
        }
        ErrorCode::KafkaStorageError => "the server's log tells what its disk said",
        ErrorCode::GroupIdNotFound => "`corelane group list` shows what there is",
        ErrorCode::NonEmptyGroup => {
            "stop its consumers first; `corelane group describe` shows where they run"
        }
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => {
            "ask whoever runs the server for the right to do so"
        }
        _ => return None,
    })
}

/// Tells all `failures`; the outcome is a failure if there are any.
pub(crate) fn report_all(failures: &[anyhow::Error]) -> Outcome {
    for failure in failures {
        super::complain(&format!("{failure:#}"));
    }
    if failures.is_empty() {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_mostly_a_port() {
        let table = [
            (
                "127.0.0.1:9093",
                Some(("127.0.0.1", 9093, "127.0.0.1:9093")),
            ),
            ("localhost", Some(("localhost", 9092, "localhost:9092"))),
            ("[::1]:9093", Some(("::1", 9093, "[::1]:9093"))),
            ("[::1]", Some(("::1", 9092, "[::1]:9092"))),
            ("::1", Some(("::1", 9092, "[::1]:9092"))),
            (
                "broker.example:1",
                Some(("broker.example", 1, "broker.example:1")),
            ),
            ("", None),
            (":9092", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:kafka", None),
            ("http://host:9092", None),
        ];
        for (text, expected) in table {
            let got = text.parse::<Address>().ok();
            let shown = got.as_ref().map(Address::to_string);
            let got = got
                .as_ref()
                .map(|address| (address.host.as_str(), address.port));
            assert_eq!(
                got,
                expected.map(|(host, port, _)| (host, port)),
                "{text:?}"
            );
            assert_eq!(
                shown.as_deref(),
                expected.map(|(_, _, shown)| shown),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_was_tried_what_the_server_said_and_what_to_do() {
        let table = [
            (
                refused("use topic t", ErrorCode::UnknownTopicOrPartition, None),
                "cannot use topic t: UNKNOWN_TOPIC_OR_PARTITION; `corelane topic list` shows what there is, \
                 `corelane topic create` makes more",
            ),
            (
                refused("do so", ErrorCode::InvalidConfig, Some("No such thing.")),
                "cannot do so: INVALID_CONFIG: No such thing",
            ),
            (
                refused("do so", ErrorCode::InvalidConfig, Some("")),
                "cannot do so: INVALID_CONFIG",
            ),
        ];
        for (error, expected) in table {
            assert_eq!(error.to_string(), expected);
        }
    }
}
