//! `GroupMetadataValue` (versions 0 to 4).

use bytes::BufMut;
use corelane_net::wire::{
    WireError, WireReader, put_array_len, put_bytes_len, put_nullable_string, put_string,
};

use super::RecordError;

const WHAT: &str = "GroupMetadataValue";
/// The version written: what Kafka writes, for the sake of older readers.
const WRITTEN: i16 = 3;
/// The first version with tagged fields.
const FLEXIBLE_SINCE: i16 = 4;
/// The fewest bytes that a member takes in any version.
const MEMBER_BYTES_MIN: usize = 9;

/// A classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// What its members are, as `consumer` or `connect`; empty for a group that had none yet.
    pub protocol_type: String,
    /// Its generation.
    pub generation: i32,
    /// The protocol that its members agreed on.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<String>,
    /// When its state changed last.
    pub state_timestamp_ms: Option<i64>,
    /// Its members.
    pub members: Vec<MemberMetadata>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: String,
    /// The id that a static member keeps.
    pub group_instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where its client is.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it told the leader; opaque.
    pub subscription: Vec<u8>,
    /// What the leader gave it; opaque.
    pub assignment: Vec<u8>,
}

impl GroupMetadataValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.put_i16(WRITTEN);
        put_string(&mut out, false, &self.protocol_type);
        out.put_i32(self.generation);
        put_nullable_string(&mut out, false, self.protocol.as_deref());
        put_nullable_string(&mut out, false, self.leader.as_deref());
        out.put_i64(self.state_timestamp_ms.unwrap_or(-1));
        put_array_len(&mut out, false, self.members.len());
        for member in &self.members {
            put_string(&mut out, false, &member.member_id);
            put_nullable_string(&mut out, false, member.group_instance_id.as_deref());
            put_string(&mut out, false, &member.client_id);
            put_string(&mut out, false, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes_len(&mut out, false, Some(member.subscription.len()));
            out.put_slice(&member.subscription);
            put_bytes_len(&mut out, false, Some(member.assignment.len()));
            out.put_slice(&member.assignment);
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
        let protocol_type = reader.string(flexible)?.to_owned();
        let generation = reader.i32()?;
        let protocol = reader.nullable_string(flexible)?.map(str::to_owned);
        let leader = reader.nullable_string(flexible)?.map(str::to_owned);
        let state_timestamp_ms = match version {
            2.. => Some(reader.i64()?).filter(|at| *at != -1),
            _ => None,
        };
        let count = reader.array_len(flexible, MEMBER_BYTES_MIN)?;
        let members = (0..count)
            .map(|_| MemberMetadata::decode(reader, version))
            .collect::<Result<_, _>>()?;
        reader.skip_tagged_fields(flexible)?;
        Ok(Self {
            protocol_type,
            generation,
            protocol,
            leader,
            state_timestamp_ms,
            members,
        })
    }
}

impl MemberMetadata {
    fn decode(reader: &mut WireReader<'_>, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_SINCE;
        let member_id = reader.string(flexible)?.to_owned();
        let group_instance_id = match version {
            3.. => reader.nullable_string(flexible)?.map(str::to_owned),
            _ => None,
        };
        let client_id = reader.string(flexible)?.to_owned();
        let client_host = reader.string(flexible)?.to_owned();
        let rebalance_timeout_ms = match version {
            1.. => reader.i32()?,
            _ => -1,
        };
        let session_timeout_ms = reader.i32()?;
        let subscription = bytes_of(reader, flexible)?;
        let assignment = bytes_of(reader, flexible)?;
        reader.skip_tagged_fields(flexible)?;
        Ok(Self {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            // Before there was a timeout of its own, members had the session's time to join again.
            rebalance_timeout_ms: match rebalance_timeout_ms {
                -1 => session_timeout_ms,
                given => given,
            },
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}

fn bytes_of(reader: &mut WireReader<'_>, flexible: bool) -> Result<Vec<u8>, WireError> {
    Ok(reader
        .nullable_bytes(flexible)?
        .unwrap_or_default()
        .to_vec())
}
