//! `OffsetCommitKey` and `OffsetCommitValue` (versions 0 to 4).

use bytes::BufMut;
use corelane_net::wire::{
    WireError, WireReader, put_empty_tags, put_string, put_tag_header, put_unsigned_varint,
};

use super::RecordError;

const WHAT: &str = "OffsetCommitValue";
/// The first version with tagged fields.
const FLEXIBLE_SINCE: i16 = 4;
/// The one version that holds a time of its own to expire at.
const WITH_EXPIRY: i16 = 1;
/// The tag of the topic's id.
const TOPIC_ID: u32 = 0;

/// Whose offset it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitKey {
    /// The group.
    pub group_id: String,
    /// The topic.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

impl OffsetCommitKey {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, false, &self.group_id);
        put_string(out, false, &self.topic);
        out.put_i32(self.partition);
    }

    pub(super) fn decode(reader: &mut WireReader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            group_id: reader.string(false)?.to_owned(),
            topic: reader.string(false)?.to_owned(),
            partition: reader.i32()?,
        })
    }
}

/// Where a group is in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The next offset to consume.
    pub offset: i64,
    /// The leader epoch of the last record consumed, or -1.
    pub leader_epoch: i32,
    /// What the client wants to keep with it.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it expires whatever the group does; clients before 2.1 could ask for that.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id; zeros if it is not known.
    pub topic_id: [u8; 16],
}

impl OffsetCommitValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let version = match self.expire_timestamp_ms {
            Some(_) => WITH_EXPIRY,
            None => FLEXIBLE_SINCE,
        };
        let flexible = version >= FLEXIBLE_SINCE;
        let mut out = Vec::with_capacity(48 + self.metadata.len());
        out.put_i16(version);
        out.put_i64(self.offset);
        if version >= 3 {
            out.put_i32(self.leader_epoch);
        }
        put_string(&mut out, flexible, &self.metadata);
        out.put_i64(self.commit_timestamp_ms);
        if let Some(expire_timestamp_ms) = self.expire_timestamp_ms {
            out.put_i64(expire_timestamp_ms);
        }
        if flexible && self.topic_id != [0; 16] {
            put_unsigned_varint(&mut out, 1);
            put_tag_header(&mut out, TOPIC_ID, self.topic_id.len());
            out.put_slice(&self.topic_id);
        } else {
            put_empty_tags(&mut out, flexible);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = |error| RecordError::Malformed { what: WHAT, error };
        let mut reader = WireReader::new(bytes);
        match reader.i16().map_err(malformed)? {
            version @ 0..=4 => Self::decode_version(&mut reader, version).map_err(malformed),
            got => Err(RecordError::UnknownVersion { what: WHAT, got }),
        }
    }

    fn decode_version(reader: &mut WireReader<'_>, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_SINCE;
        let offset = reader.i64()?;
        let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
        let metadata = reader.string(flexible)?.to_owned();
        let commit_timestamp_ms = reader.i64()?;
        let expire_timestamp_ms = match version {
            WITH_EXPIRY => Some(reader.i64()?).filter(|at| *at != -1),
            _ => None,
        };
        let mut topic_id = [0; 16];
        reader.tagged_fields(flexible, |tag, value| {
            if tag == TOPIC_ID {
                topic_id = value.uuid()?;
            }
            Ok(tag == TOPIC_ID)
        })?;
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms,
            topic_id,
        })
    }
}
