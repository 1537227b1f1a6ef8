//! What a server accepts in which order, and what it may push: pure.
//!
//! # A connection's phases
//! | phase | what may come | then |
//! |---|---|---|
//! | preface | [`super::PREFACE`] | hello |
//! | hello | [`super::message::Hello`] that shares a version with the server and does not authenticate | open |
//! | open | every request but `Hello` | open |
//!
//! Whatever else comes ends the connection, after a [`super::message::Goodbye`] that says why.

use thiserror::Error;

use super::message::{Hello, HelloAnswer, Message, MessageError};
use super::{NativeFrameError, PROTOCOL_VERSIONS};
use crate::error_code::ErrorCode;

/// Why a native connection is ended by this side.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// The first bytes are not the preface.
    #[error("the connection does not begin with the preface")]
    Preface,
    /// A frame header that cannot be.
    #[error("{0}")]
    Frame(#[from] NativeFrameError),
    /// An archive that cannot be.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// A message of this kind is not known or not expected now.
    #[error("a message of kind {kind:#04x} is not expected now")]
    Unexpected {
        /// The kind.
        kind: u8,
    },
    /// No version of the protocol is spoken by both sides.
    #[error("protocol versions {min} to {max} are not spoken here")]
    Protocol {
        /// The client's oldest.
        min: u16,
        /// The client's newest.
        max: u16,
    },
    /// A way to authenticate that is not known.
    #[error("authentication by {mechanism} is not served")]
    Mechanism {
        /// Its name.
        mechanism: String,
    },
    /// A subscription's number that is not free, or too many of them.
    #[error("subscription {subscription} cannot be had")]
    Subscription {
        /// The number.
        subscription: u32,
    },
    /// A produce that wants no answer was refused.
    #[error("a produce without acks was refused: {}", code.name())]
    Unanswered {
        /// Why.
        code: ErrorCode,
    },
}

impl Violation {
    /// Kafka's code for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Frame(
                NativeFrameError::ArchiveTooLarge { .. } | NativeFrameError::PayloadTooLarge { .. },
            ) => ErrorCode::MessageTooLarge,
            Self::Message(MessageError::Version { .. }) | Self::Protocol { .. } => {
                ErrorCode::UnsupportedVersion
            }
            Self::Preface
            | Self::Unexpected { .. }
            | Self::Subscription { .. }
            | Self::Frame(_)
            | Self::Message(MessageError::Archive { .. }) => ErrorCode::InvalidRequest,
            Self::Unanswered { code } => *code,
            Self::Mechanism { .. } => ErrorCode::UnsupportedSaslMechanism,
        }
    }
}

/// Decides what a client's first message leads to.
///
/// # Errors
/// No version is shared, or the client wants to authenticate.
pub fn greet(archive: &[u8], mut answer: HelloAnswer) -> Result<HelloAnswer, Violation> {
    let hello = Hello::read(archive)?;
    let (oldest, newest) = PROTOCOL_VERSIONS;
    let protocol = newest.min(hello.protocol_max);
    if protocol < oldest.max(hello.protocol_min) {
        return Err(Violation::Protocol {
            min: hello.protocol_min,
            max: hello.protocol_max,
        });
    }
    if !hello.mechanism.is_empty() {
        return Err(Violation::Mechanism {
            mechanism: hello.mechanism,
        });
    }
    answer.protocol = protocol;
    Ok(answer)
}

/// How many bytes a subscriber has room for.
///
/// A batch is sent while any credit is left, so the balance may fall below zero by one batch, never by more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditBalance(i64);

impl CreditBalance {
    /// What [`super::message::Subscribe`] gave.
    pub fn new(bytes: u64) -> Self {
        Self(0).plus(bytes)
    }

    fn plus(self, bytes: u64) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)),
        )
    }

    /// What [`super::message::Credit`] gives.
    pub fn grant(&mut self, bytes: u64) {
        *self = self.plus(bytes);
    }

    /// How many bytes may be pushed now; `None` if none.
    pub fn available(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|bytes| *bytes > 0)
    }

    /// Records a push.
    pub fn spend(&mut self, bytes: usize) {
        self.0 = self
            .0
            .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
