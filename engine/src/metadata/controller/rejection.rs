//! A refusal: Kafka's error code with a text for people.

use corelane_net::error_code::ErrorCode;
use kafka_wire_core::StrBytes;

use crate::config::ConfigError;
use crate::metadata::topic_name::TopicNameError;

/// A refusal of one topic or resource of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What clients decide by.
    pub(crate) code: ErrorCode,
    /// What people read.
    pub(crate) message: String,
}

impl Rejection {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    pub(crate) fn unknown_topic() -> Self {
        Self::new(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        )
    }

    pub(crate) fn unknown_topic_id() -> Self {
        Self::new(
            ErrorCode::UnknownTopicId,
            "This server does not host this topic ID.",
        )
    }

    pub(crate) fn text(&self) -> StrBytes {
        StrBytes::from(self.message.as_str())
    }
}

impl From<TopicNameError> for Rejection {
    fn from(error: TopicNameError) -> Self {
        Self::new(
            ErrorCode::InvalidTopicException,
            crate::config::definition::echo(&error.to_string()),
        )
    }
}

impl From<ConfigError> for Rejection {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}
