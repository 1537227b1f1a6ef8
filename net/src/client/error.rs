//! What can go wrong in the client, one type for each operation.

use std::io;
use std::time::Duration;

use kafka_wire_core::{DecodeError, EncodeError};
use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::frame::FrameError;
use crate::wire::WireError;

/// A request could not be sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// The socket failed.
    #[error("send: {0}")]
    Io(#[from] io::Error),
    /// An earlier send was given up half-way, so the broker waits for the rest of it.
    #[error("the connection broke in an earlier send")]
    Broken,
    /// The broker and this client have no version of the API in common.
    #[error(
        "no version of API {api_key} in common: the broker has {broker:?}, this client {client:?}"
    )]
    NoCommonVersion {
        /// The API.
        api_key: i16,
        /// The broker's lowest and highest version, if it has the API at all.
        broker: Option<(i16, i16)>,
        /// The client's lowest and highest version.
        client: (i16, i16),
    },
    /// A control message cannot be said in the version agreed on.
    #[error("encode: {0}")]
    Encode(#[from] EncodeError),
    /// A Produce or Fetch request cannot be said in the version agreed on.
    #[error("encode: {0}")]
    Wire(#[from] WireError),
}

/// A response could not be received.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The socket failed.
    #[error("receive: {0}")]
    Io(#[from] io::Error),
    /// The broker closed the connection.
    #[error("closed by the broker, {held} bytes into a frame")]
    Closed {
        /// Bytes of an unfinished frame.
        held: usize,
    },
    /// A length prefix that no response may have.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A malformed header or body.
    #[error("malformed response: {0}")]
    Wire(#[from] WireError),
    /// A malformed body of a control message.
    #[error("malformed response: {0}")]
    Decode(#[from] DecodeError),
    /// A response that is not the one whose turn it was.
    #[error("response to request {got} where {expected} was due")]
    Correlation {
        /// The correlation id received.
        got: i32,
        /// The correlation id due.
        expected: i32,
    },
}

/// A call failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The response could not be received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// No response came in time. The connection is of no further use.
    #[error("no response within {limit:?}")]
    Timeout {
        /// The time it had.
        limit: Duration,
    },
}

/// A connection could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The socket could not be connected.
    #[error("connect to {address}: {error}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// The exchange of versions failed.
    #[error("versions of {address}: {error}")]
    Versions {
        /// Whose.
        address: String,
        /// Why.
        error: CallError,
    },
    /// The broker refused to tell its versions.
    #[error("versions of {address}: {error}")]
    Refused {
        /// Whose.
        address: String,
        /// Its answer.
        error: ErrorCode,
    },
}

/// An operation on a cluster failed.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A broker could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No bootstrap address was given.
    #[error("no bootstrap address")]
    NoBootstrap,
    /// The metadata at hand does not know the broker.
    #[error("unknown broker {id}")]
    UnknownBroker {
        /// Its id.
        id: i32,
    },
    /// The metadata at hand does not know the partition, or it has no leader.
    #[error("no leader known for {topic}-{partition}")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The broker answered with an error.
    #[error("{subject}: {code}{}", message.as_deref().map(|message| format!(": {message}")).unwrap_or_default())]
    Broker {
        /// What it is about.
        subject: String,
        /// The error.
        code: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
    /// The broker's answer lacks what was asked for.
    #[error("the answer lacks {subject}")]
    Missing {
        /// What was asked for.
        subject: String,
    },
    /// The cluster did not get there in time.
    #[error("{subject} not ready within {limit:?}")]
    Timeout {
        /// What was awaited.
        subject: String,
        /// The time it had.
        limit: Duration,
    },
}

impl ClusterError {
    pub(super) fn broker(
        subject: impl Into<String>,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), Self> {
        match ErrorCode::from_wire(code) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Broker {
                subject: subject.into(),
                code,
                message: message.map(str::to_owned),
            }),
        }
    }

    /// The broker's error code, if it is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }
}
