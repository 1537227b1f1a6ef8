//! The records of a group of the new consumer protocol, all of version 0: what its epochs are, what its members want, what
//! they are to have, and what they have.

use bytes::BufMut;
use corelane_format::ids::TopicId;
use corelane_net::wire::{
    WireError, WireReader, put_array_len, put_bytes_len, put_empty_tags, put_nullable_string,
    put_string, put_tag_header, put_unsigned_varint,
};

use super::RecordError;
use crate::group::topic_partitions::TopicPartitions;

pub(super) const EPOCH: i16 = 3;
pub(super) const MEMBER: i16 = 5;
pub(super) const TARGET_EPOCH: i16 = 6;
pub(super) const TARGET: i16 = 7;
pub(super) const CURRENT: i16 = 8;
pub(super) const PATTERN: i16 = 16;

/// The only version of all these values.
const VERSION: i16 = 0;
const METADATA_HASH_TAG: u32 = 0;
const CLASSIC_TAG: u32 = 0;
/// Before the bytes of a tagged structure that may be null.
const PRESENT: i8 = 1;
/// The fewest bytes that a topic with partitions takes.
const TOPIC_BYTES_MIN: usize = 18;

/// One record of such a group; a value of `None` takes its key back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// `ConsumerGroupMetadata`: the group itself.
    Epoch(Option<GroupEpoch>),
    /// `ConsumerGroupMemberMetadata`: what a member told of itself.
    Member {
        /// The member.
        member_id: String,
        /// What it told.
        value: Option<MemberDetails>,
    },
    /// `ConsumerGroupTargetAssignmentMetadata`: the epoch that the targets are for.
    TargetEpoch(Option<i32>),
    /// `ConsumerGroupTargetAssignmentMember`: what a member is to have.
    Target {
        /// The member.
        member_id: String,
        /// Its partitions.
        value: Option<TopicPartitions>,
    },
    /// `ConsumerGroupCurrentMemberAssignment`: what a member has.
    Current {
        /// The member.
        member_id: String,
        /// Where it is.
        value: Option<CurrentAssignment>,
    },
    /// `ConsumerGroupRegularExpression`: the topics that match an expression.
    Pattern {
        /// The expression.
        pattern: String,
        /// Its topics.
        value: Option<PatternTopics>,
    },
}

/// The epoch of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Grows with each change that asks for a new assignment.
    pub epoch: i32,
    /// What the subscribed topics were like when the epoch began, as a hash; 0 of none.
    pub metadata_hash: i64,
}

/// What a member told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDetails {
    /// The id that a static member keeps.
    pub instance_id: Option<String>,
    /// The rack that it is in.
    pub rack_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where its client is.
    pub client_host: String,
    /// The topics that it names, sorted.
    pub topics: Vec<String>,
    /// The expression for the topics that it wants besides; empty or `None` for none.
    pub pattern: Option<String>,
    /// How long it may take to give partitions up; -1 if it is not known.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it would like.
    pub server_assignor: Option<String>,
    /// What only a member that speaks the classic protocol has.
    pub classic: Option<ClassicDetails>,
}

/// What a member told in a `JoinGroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicDetails {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// The protocols that it offers, with what it says in each.
    pub protocols: Vec<(String, Vec<u8>)>,
}

/// How far a member has come to its target. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have in its epoch.
    #[default]
    Stable = 0,
    /// It has to give partitions up first.
    Unrevoked = 1,
    /// It waits for partitions that others have to give up.
    Unreleased = 2,
    /// A later version wrote a state that this one does not know.
    Unknown = 127,
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch that it has reached; -2 of a static member that is away.
    pub epoch: i32,
    /// The epoch before, which it may still believe to be in.
    pub previous_epoch: i32,
    /// How far it has come.
    pub state: MemberState,
    /// The partitions that it owns.
    pub assigned: TopicPartitions,
    /// The partitions that it has to give up, and owns until it says that it has.
    pub revoking: TopicPartitions,
}

/// The topics that match an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternTopics {
    /// Their names, sorted.
    pub topics: Vec<String>,
    /// The version of the metadata that this was worked out from.
    pub version: i64,
    /// When it was worked out.
    pub timestamp_ms: i64,
}

impl ConsumerRecord {
    /// Whether it takes something back.
    pub fn removes(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::Member { value, .. } => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Pattern { value, .. } => value.is_none(),
        }
    }

    /// About how many bytes it takes.
    pub fn size_bytes(&self) -> usize {
        const ROUGHLY: usize = 128;
        let partitions =
            |set: &TopicPartitions| set.topics().len() * TOPIC_BYTES_MIN + set.len() * 4;
        ROUGHLY
            + match self {
                Self::Member {
                    value: Some(value), ..
                } => value.size_bytes(),
                Self::Target {
                    value: Some(value), ..
                } => partitions(value),
                Self::Current {
                    value: Some(value), ..
                } => partitions(&value.assigned) + partitions(&value.revoking),
                Self::Pattern {
                    value: Some(value), ..
                } => value.topics.iter().map(|topic| topic.len() + 3).sum(),
                _ => 0,
            }
    }

    pub(super) fn encode(&self, group_id: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        let (kind, second) = match self {
            Self::Epoch(_) => (EPOCH, None),
            Self::Member { member_id, .. } => (MEMBER, Some(member_id)),
            Self::TargetEpoch(_) => (TARGET_EPOCH, None),
            Self::Target { member_id, .. } => (TARGET, Some(member_id)),
            Self::Current { member_id, .. } => (CURRENT, Some(member_id)),
            Self::Pattern { pattern, .. } => (PATTERN, Some(pattern)),
        };
        let mut key = Vec::with_capacity(64);
        key.put_i16(kind);
        put_string(&mut key, false, group_id);
        if let Some(second) = second {
            put_string(&mut key, false, second);
        }
        let mut out = Vec::with_capacity(self.size_bytes());
        out.put_i16(VERSION);
        let is_value = match self {
            Self::Epoch(value) => value.as_ref().map(|value| value.encode(&mut out)),
            Self::Member { value, .. } => value.as_ref().map(|value| value.encode(&mut out)),
            Self::TargetEpoch(value) => value.map(|epoch| {
                out.put_i32(epoch);
                put_empty_tags(&mut out, true);
            }),
            Self::Target { value, .. } => value.as_ref().map(|value| {
                put_partitions(&mut out, value);
                put_empty_tags(&mut out, true);
            }),
            Self::Current { value, .. } => value.as_ref().map(|value| value.encode(&mut out)),
            Self::Pattern { value, .. } => value.as_ref().map(|value| value.encode(&mut out)),
        };
        (key, is_value.map(|()| out))
    }

    /// Reads the rest of a key, behind its type and the group's id, and the value. `None` if the type is of another kind of group.
    pub(super) fn decode(
        kind: i16,
        key: &mut WireReader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<Self>, RecordError> {
        let second = |key: &mut WireReader<'_>| {
            let what = "a key of a consumer group";
            let read = key.string(false).map(str::to_owned);
            read.map_err(|error| RecordError::Malformed { what, error })
        };
        Ok(Some(match kind {
            EPOCH => Self::Epoch(read(
                value,
                "ConsumerGroupMetadataValue",
                GroupEpoch::decode,
            )?),
            MEMBER => Self::Member {
                member_id: second(key)?,
                value: read(
                    value,
                    "ConsumerGroupMemberMetadataValue",
                    MemberDetails::decode,
                )?,
            },
            TARGET_EPOCH => Self::TargetEpoch(read(
                value,
                "ConsumerGroupTargetAssignmentMetadataValue",
                |reader| with_tags(reader, WireReader::i32),
            )?),
            TARGET => Self::Target {
                member_id: second(key)?,
                value: read(
                    value,
                    "ConsumerGroupTargetAssignmentMemberValue",
                    |reader| with_tags(reader, partitions_of),
                )?,
            },
            CURRENT => Self::Current {
                member_id: second(key)?,
                value: read(
                    value,
                    "ConsumerGroupCurrentMemberAssignmentValue",
                    |reader| with_tags(reader, CurrentAssignment::decode),
                )?,
            },
            PATTERN => Self::Pattern {
                pattern: second(key)?,
                value: read(value, "ConsumerGroupRegularExpressionValue", |reader| {
                    with_tags(reader, PatternTopics::decode)
                })?,
            },
            _ => return Ok(None),
        }))
    }
}

fn read<'a, T>(
    value: Option<&'a [u8]>,
    what: &'static str,
    decode: impl FnOnce(&mut WireReader<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, RecordError> {
    let Some(bytes) = value else { return Ok(None) };
    let malformed = |error| RecordError::Malformed { what, error };
    let mut reader = WireReader::new(bytes);
    match reader.i16().map_err(malformed)? {
        VERSION => {}
        got => return Err(RecordError::UnknownVersion { what, got }),
    }
    decode(&mut reader).map(Some).map_err(malformed)
}

fn with_tags<'a, T>(
    reader: &mut WireReader<'a>,
    decode: impl FnOnce(&mut WireReader<'a>) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let value = decode(reader)?;
    reader.skip_tagged_fields(true)?;
    Ok(value)
}

impl GroupEpoch {
    fn encode(self, out: &mut Vec<u8>) {
        out.put_i32(self.epoch);
        if self.metadata_hash == 0 {
            put_empty_tags(out, true);
            return;
        }
        put_unsigned_varint(out, 1);
        put_tag_header(out, METADATA_HASH_TAG, size_of::<i64>());
        out.put_i64(self.metadata_hash);
    }

    fn decode(reader: &mut WireReader<'_>) -> Result<Self, WireError> {
        let epoch = reader.i32()?;
        let mut metadata_hash = 0;
        reader.tagged_fields(true, |tag, value| {
            if tag == METADATA_HASH_TAG {
                metadata_hash = value.i64()?;
            }
            Ok(tag == METADATA_HASH_TAG)
        })?;
        Ok(Self {
            epoch,
            metadata_hash,
        })
    }
}

impl MemberDetails {
    /// About how many bytes its texts take.
    pub fn size_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let topics: usize = self.topics.iter().map(|topic| topic.len() + 24).sum();
        let classic: usize = self.classic.iter().map(ClassicDetails::size_bytes).sum();
        optional(&self.instance_id)
            + optional(&self.rack_id)
            + self.client_id.len()
            + self.client_host.len()
            + topics
            + optional(&self.pattern)
            + optional(&self.server_assignor)
            + classic
    }

    /// The expression, if there is one.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref().filter(|text| !text.is_empty())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_nullable_string(out, true, self.instance_id.as_deref());
        put_nullable_string(out, true, self.rack_id.as_deref());
        put_string(out, true, &self.client_id);
        put_string(out, true, &self.client_host);
        put_strings(out, &self.topics);
        put_nullable_string(out, true, self.pattern.as_deref());
        out.put_i32(self.rebalance_timeout_ms);
        put_nullable_string(out, true, self.server_assignor.as_deref());
        let Some(classic) = &self.classic else {
            put_empty_tags(out, true);
            return;
        };
        let mut bytes = Vec::with_capacity(classic.size_bytes());
        bytes.put_i8(PRESENT);
        bytes.put_i32(classic.session_timeout_ms);
        put_array_len(&mut bytes, true, classic.protocols.len());
        for (name, metadata) in &classic.protocols {
            put_string(&mut bytes, true, name);
            put_bytes_len(&mut bytes, true, Some(metadata.len()));
            bytes.put_slice(metadata);
            put_empty_tags(&mut bytes, true);
        }
        put_empty_tags(&mut bytes, true);
        put_unsigned_varint(out, 1);
        put_tag_header(out, CLASSIC_TAG, bytes.len());
        out.put_slice(&bytes);
    }

    fn decode(reader: &mut WireReader<'_>) -> Result<Self, WireError> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mut details = Self {
            instance_id: owned(reader.nullable_string(true)?),
            rack_id: owned(reader.nullable_string(true)?),
            client_id: reader.string(true)?.to_owned(),
            client_host: reader.string(true)?.to_owned(),
            topics: strings_of(reader)?,
            pattern: owned(reader.nullable_string(true)?),
            rebalance_timeout_ms: reader.i32()?,
            server_assignor: owned(reader.nullable_string(true)?),
            classic: None,
        };
        reader.tagged_fields(true, |tag, value| {
            if tag == CLASSIC_TAG {
                details.classic = ClassicDetails::decode(value)?;
            }
            Ok(tag == CLASSIC_TAG)
        })?;
        Ok(details)
    }
}

impl ClassicDetails {
    fn size_bytes(&self) -> usize {
        let protocols = self.protocols.iter();
        16 + protocols
            .map(|(name, metadata)| name.len() + metadata.len() + 64)
            .sum::<usize>()
    }

    fn decode(reader: &mut WireReader<'_>) -> Result<Option<Self>, WireError> {
        if reader.i8()? < 0 {
            return Ok(None);
        }
        let session_timeout_ms = reader.i32()?;
        let count = reader.array_len(true, 3)?;
        let mut protocols = Vec::with_capacity(count);
        for _ in 0..count {
            let name = reader.string(true)?.to_owned();
            let metadata = reader.nullable_bytes(true)?.unwrap_or_default().to_vec();
            reader.skip_tagged_fields(true)?;
            protocols.push((name, metadata));
        }
        reader.skip_tagged_fields(true)?;
        Ok(Some(Self {
            session_timeout_ms,
            protocols,
        }))
    }
}

impl MemberState {
    const fn of(number: i8) -> Self {
        match number {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

impl CurrentAssignment {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.epoch);
        out.put_i32(self.previous_epoch);
        out.put_i8(self.state as i8);
        put_partitions(out, &self.assigned);
        put_partitions(out, &self.revoking);
        put_empty_tags(out, true);
    }

    fn decode(reader: &mut WireReader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            epoch: reader.i32()?,
            previous_epoch: reader.i32()?,
            state: MemberState::of(reader.i8()?),
            assigned: partitions_of(reader)?,
            revoking: partitions_of(reader)?,
        })
    }
}

impl PatternTopics {
    fn encode(&self, out: &mut Vec<u8>) {
        put_strings(out, &self.topics);
        out.put_i64(self.version);
        out.put_i64(self.timestamp_ms);
        put_empty_tags(out, true);
    }

    fn decode(reader: &mut WireReader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            topics: strings_of(reader)?,
            version: reader.i64()?,
            timestamp_ms: reader.i64()?,
        })
    }
}

fn put_strings(out: &mut Vec<u8>, texts: &[String]) {
    put_array_len(out, true, texts.len());
    for text in texts {
        put_string(out, true, text);
    }
}

fn strings_of(reader: &mut WireReader<'_>) -> Result<Vec<String>, WireError> {
    let count = reader.array_len(true, 1)?;
    (0..count)
        .map(|_| reader.string(true).map(str::to_owned))
        .collect()
}

fn put_partitions(out: &mut Vec<u8>, set: &TopicPartitions) {
    put_array_len(out, true, set.topics().len());
    for (topic, partitions) in set.topics() {
        out.put_slice(&topic.get());
        put_array_len(out, true, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
        put_empty_tags(out, true);
    }
}

fn partitions_of(reader: &mut WireReader<'_>) -> Result<TopicPartitions, WireError> {
    let mut set = TopicPartitions::default();
    for _ in 0..reader.array_len(true, TOPIC_BYTES_MIN)? {
        let topic = TopicId::new(reader.uuid()?);
        for _ in 0..reader.array_len(true, 4)? {
            set.insert(topic, reader.i32()?);
        }
        reader.skip_tagged_fields(true)?;
    }
    Ok(set)
}
