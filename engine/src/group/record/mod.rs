//! The records of `__consumer_offsets`, byte for byte Kafka's: `CoordinatorRecordType` and its keys and values.
//!
//! A key begins with the type of the record, a value with the version of its layout. A null value takes its key back. All
//! versions that Kafka ever wrote are read; what is written is what Kafka 4.3 writes.

mod consumer_group;
mod group_metadata;
mod offset_commit;

#[cfg(test)]
mod tests;

use bytes::BufMut;
use corelane_net::wire::{WireError, WireReader};
use thiserror::Error;

pub use consumer_group::{
    ClassicDetails, ConsumerRecord, CurrentAssignment, GroupEpoch, MemberDetails, MemberState,
    PatternTopics,
};
pub use group_metadata::{GroupMetadataValue, MemberMetadata};
pub use offset_commit::{OffsetCommitKey, OffsetCommitValue};

/// The layout of offset keys before Kafka 0.9; the same bytes.
const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// An offset of a group; `None` removes it.
    OffsetCommit {
        /// Whose.
        key: OffsetCommitKey,
        /// Where the group is.
        value: Option<OffsetCommitValue>,
    },
    /// A classic group with its members and their assignments; `None` removes it.
    GroupMetadata {
        /// The group.
        group_id: String,
        /// What it is.
        value: Option<GroupMetadataValue>,
    },
    /// A part of a group of the new consumer protocol.
    Consumer {
        /// The group.
        group_id: String,
        /// The part.
        record: ConsumerRecord,
    },
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record of this topic has a key.
    #[error("the key is missing")]
    NoKey,
    /// Written by a later version.
    #[error("version {got} of {what} is not known")]
    UnknownVersion {
        /// The kind of record.
        what: &'static str,
        /// The version found.
        got: i16,
    },
    /// Not what the type and version say.
    #[error("{what}: {error}")]
    Malformed {
        /// The part.
        what: &'static str,
        /// What is wrong.
        error: WireError,
    },
}

impl GroupRecord {
    /// Whether it takes something back.
    pub fn removes(&self) -> bool {
        match self {
            Self::OffsetCommit { value, .. } => value.is_none(),
            Self::GroupMetadata { value, .. } => value.is_none(),
            Self::Consumer { record, .. } => record.removes(),
        }
    }

    /// The key's and the value's bytes.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut key_bytes = Vec::with_capacity(64);
        match self {
            Self::OffsetCommit { key, value } => {
                key_bytes.put_i16(OFFSET_COMMIT);
                key.encode(&mut key_bytes);
                (key_bytes, value.as_ref().map(OffsetCommitValue::encode))
            }
            Self::GroupMetadata { group_id, value } => {
                key_bytes.put_i16(GROUP_METADATA);
                corelane_net::wire::put_string(&mut key_bytes, false, group_id);
                (key_bytes, value.as_ref().map(GroupMetadataValue::encode))
            }
            Self::Consumer { group_id, record } => record.encode(group_id),
        }
    }

    /// Reads a record. `None` is one of a type that this build does not know; Kafka passes over those too.
    ///
    /// # Errors
    /// The bytes are not what they claim to be.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let mut reader = WireReader::new(key.ok_or(RecordError::NoKey)?);
        let malformed = |what| move |error| RecordError::Malformed { what, error };
        Ok(match reader.i16().map_err(malformed("a key"))? {
            LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => Some(Self::OffsetCommit {
                key: OffsetCommitKey::decode(&mut reader).map_err(malformed("OffsetCommitKey"))?,
                value: value.map(OffsetCommitValue::decode).transpose()?,
            }),
            GROUP_METADATA => Some(Self::GroupMetadata {
                group_id: reader
                    .string(false)
                    .map_err(malformed("GroupMetadataKey"))?
                    .to_owned(),
                value: value.map(GroupMetadataValue::decode).transpose()?,
            }),
            kind @ (consumer_group::EPOCH
            | consumer_group::MEMBER
            | consumer_group::TARGET_EPOCH
            | consumer_group::TARGET
            | consumer_group::CURRENT
            | consumer_group::PATTERN) => {
                let group_id = reader.string(false).map(str::to_owned);
                let group_id = group_id.map_err(malformed("a key of a consumer group"))?;
                let record = ConsumerRecord::decode(kind, &mut reader, value)?;
                record.map(|record| Self::Consumer { group_id, record })
            }
            // Of groups of other kinds; and `ConsumerGroupPartitionMetadata`, which Kafka before 4.1 wrote and later takes back.
            _ => None,
        })
    }
}
