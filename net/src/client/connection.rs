//! One socket to one broker.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use glommio::net::TcpStream;
use kafka_wire::{ApiVersionsRequest, ApiVersionsResponse, KafkaRequest, RequestResponsePair};
use kafka_wire_core::{ApiVersion, KafkaDecode};

use super::deadline::within;
use super::error::{CallError, ConnectError, ReceiveError, SendError};
use super::stream::{Receiver, Sender, Sent, split};
use crate::api::{self, control_limits};
use crate::error_code::ErrorCode;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// What this client calls itself.
    pub client_id: String,
    /// For the socket, and again for the exchange of versions.
    pub timeout: Duration,
    /// Most bytes of a response. Memory grows only as they arrive.
    pub response_bytes_max: usize,
}

impl ConnectOptions {
    /// Ten seconds, and responses of up to 256 MiB.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            timeout: Duration::from_secs(10),
            response_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// The versions a broker offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRanges {
    ranges: Vec<(i16, i16, i16)>,
}

impl ApiRanges {
    fn new(response: &ApiVersionsResponse) -> Self {
        let keys = response.api_keys.iter();
        Self {
            ranges: keys
                .map(|key| (key.api_key, key.min_version, key.max_version))
                .collect(),
        }
    }

    /// The broker's lowest and highest version of an API.
    pub fn range(&self, api_key: i16) -> Option<(i16, i16)> {
        self.ranges
            .iter()
            .find(|range| range.0 == api_key)
            .map(|range| (range.1, range.2))
    }

    /// Every API with its lowest and highest version.
    pub fn iter(&self) -> impl Iterator<Item = (i16, i16, i16)> {
        self.ranges.iter().copied()
    }

    /// The highest version within the broker's range and `client`.
    pub fn highest(&self, api_key: i16, client: (i16, i16)) -> Result<i16, SendError> {
        let broker = self.range(api_key);
        let common = broker.map(|broker| (broker.0.max(client.0), broker.1.min(client.1)));
        match common {
            Some((lowest, highest)) if lowest <= highest => Ok(highest),
            _ => Err(SendError::NoCommonVersion {
                api_key,
                broker,
                client,
            }),
        }
    }

    /// The highest stable version of a control message that both sides have.
    pub fn common<R: KafkaRequest>(&self) -> Result<i16, SendError> {
        self.common_up_to::<R>(i16::MAX)
    }

    /// Like [`ApiRanges::common`], and not above `version_max`, where later versions mean something else.
    pub fn common_up_to<R: KafkaRequest>(&self, version_max: i16) -> Result<i16, SendError> {
        let lowest = R::SUPPORTED_VERSIONS.min().value();
        let highest = R::API_DESCRIPTOR
            .latest_stable_version()
            .map_or(lowest, ApiVersion::value);
        self.highest(R::API_KEY.value(), (lowest, highest.min(version_max)))
    }
}

/// A connection to one broker, whose versions are known.
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    /// Connects to `address` (`host:port`), sets the socket to send without delay, and asks for the versions.
    pub async fn connect(address: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let refused = |error: glommio::GlommioError<()>| ConnectError::Connect {
            address: address.to_owned(),
            error: error.into(),
        };
        let stream = TcpStream::connect_timeout(address, options.timeout)
            .await
            .map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let (sender, receiver) = split(stream, &options.client_id, options.response_bytes_max);
        let mut connection = Self { sender, receiver };
        let versions = |error| ConnectError::Versions {
            address: address.to_owned(),
            error,
        };
        let response = match within(options.timeout, connection.ask_versions()).await {
            Some(response) => response.map_err(versions)?,
            None => {
                return Err(versions(CallError::Timeout {
                    limit: options.timeout,
                }));
            }
        };
        if let Err(error) = ErrorCode::from_wire(response.error_code).into_result() {
            return Err(ConnectError::Refused {
                address: address.to_owned(),
                error,
            });
        }
        connection.sender.ranges = Rc::new(ApiRanges::new(&response));
        Ok(connection)
    }

    async fn ask_versions(&mut self) -> Result<ApiVersionsResponse, CallError> {
        let mut version = 4;
        loop {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = "corelane".into();
                request.client_software_version = env!("CARGO_PKG_VERSION").into();
            }
            let sent = self.sender.send_request_in(&request, version).await?;
            let incoming = self.receiver.receive().await?;
            let body = incoming.body_of(&sent)?;
            let unsupported = body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
            // A broker that does not know the version says so in version 0.
            let response: ApiVersionsResponse =
                decode(body, if unsupported { 0 } else { version })?;
            if !unsupported || version == 0 {
                return Ok(response);
            }
            let highest = ApiRanges::new(&response)
                .range(api::API_VERSIONS)
                .map_or(0, |range| range.1);
            version = highest.clamp(0, version - 1);
        }
    }

    /// The versions the broker offered.
    pub fn ranges(&self) -> &ApiRanges {
        self.sender.ranges()
    }

    /// Whether an operation was given up half-way, so that nothing sound can be read any more.
    pub fn is_broken(&self) -> bool {
        self.sender.shared().is_broken()
    }

    /// The two halves, for pipelining from two tasks. Responses come in the order of the requests.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Puts the halves of one connection together again. No response may be outstanding.
    pub fn join(sender: Sender, receiver: Receiver) -> Self {
        Self { sender, receiver }
    }

    /// The two halves, borrowed.
    pub fn halves(&mut self) -> (&mut Sender, &mut Receiver) {
        (&mut self.sender, &mut self.receiver)
    }

    /// Makes a control call in the highest version both sides have. Calls are made one at a time, with no
    /// pipelined response outstanding. After an error other than [`SendError::NoCommonVersion`] or
    /// [`SendError::Encode`] the connection is broken.
    pub async fn call<R: RequestResponsePair>(
        &mut self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let version = self.ranges().common::<R>()?;
        self.call_in(request, version, timeout).await
    }

    /// Like [`Connection::call`], in a version that the caller chose.
    pub async fn call_in<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        self.exchange(
            timeout,
            async |sender| sender.send_request_in(request, version).await,
            decode,
        )
        .await
    }

    /// Sends one request and reads the response to it.
    pub(super) async fn exchange<T>(
        &mut self,
        timeout: Duration,
        send: impl AsyncFnOnce(&mut Sender) -> Result<Sent, SendError>,
        read: impl FnOnce(&[u8], i16) -> Result<T, ReceiveError>,
    ) -> Result<T, CallError> {
        if self.is_broken() {
            return Err(SendError::Broken.into());
        }
        let Self { sender, receiver } = self;
        let exchanged = within(timeout, async {
            let sent = send(sender).await?;
            let incoming = receiver.receive().await?;
            Ok(read(incoming.body_of(&sent)?, sent.version)?)
        });
        let result = exchanged
            .await
            .unwrap_or(Err(CallError::Timeout { limit: timeout }));
        let harmless = matches!(
            result,
            Ok(_)
                | Err(CallError::Send(
                    SendError::NoCommonVersion { .. } | SendError::Encode(_) | SendError::Wire(_)
                ))
        );
        if !harmless {
            self.sender.shared().set_broken();
        }
        result
    }
}

pub(super) fn decode<R: KafkaDecode>(body: &[u8], version: i16) -> Result<R, ReceiveError> {
    let limits = control_limits(body.len());
    Ok(R::decode_from_bytes(
        Bytes::copy_from_slice(body),
        ApiVersion::new(version),
        limits,
    )?)
}
