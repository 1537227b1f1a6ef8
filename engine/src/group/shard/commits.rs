//! `OffsetCommit`, `OffsetFetch` and `OffsetDelete`.

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::offset_commit_request::OffsetCommitRequestPartition;
use kafka_wire::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_wire::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_wire::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_wire::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};
use kafka_wire_core::StrBytes;

use super::{Group, Shard};
use crate::group::classic::{ClassicGroup, Committer};
use crate::group::offsets::{Committed, GroupOffsets};
use crate::group::record::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::group::step::Step;
use crate::metadata::{MetadataImage, TopicMeta};

/// From this version on, a commit of a member to a group that is gone says so.
const GROUP_NOT_FOUND_SINCE: i16 = 9;
/// "As long as offsets are kept."
const DEFAULT_RETENTION: i64 = -1;

impl Shard {
    /// Takes an `OffsetCommit`. Partitions that are answered without error are durable when the answer is.
    pub fn commit(
        &mut self,
        step: &mut Step<'_>,
        request: &OffsetCommitRequest,
        version: i16,
        image: &MetadataImage,
    ) -> OffsetCommitResponse {
        let mut records = Vec::new();
        let mut response = OffsetCommitResponse::default();
        for topic in &request.topics {
            let known = image.topic(&topic.name);
            let mut answered = OffsetCommitResponseTopic::default();
            answered.name = topic.name.clone();
            for partition in &topic.partitions {
                let verdict = match known {
                    Some(known) if has_partition(known, partition.partition_index) => {
                        self.check_metadata(partition)
                    }
                    _ => Err(ErrorCode::UnknownTopicOrPartition),
                };
                if let (Ok(()), Some(known)) = (verdict, known) {
                    records.push(commit_record(
                        request,
                        &topic.name,
                        partition,
                        known.id.get(),
                        step.now.wall_ms,
                    ));
                }
                answered
                    .partitions
                    .push(commit_answer(partition.partition_index, verdict));
            }
            response.topics.push(answered);
        }
        // Who only names topics that do not exist is not told anything about the group.
        let names_any = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .any(|one| one.error_code != ErrorCode::UnknownTopicOrPartition.code());
        if !names_any {
            return response;
        }
        if let Err(code) = self.take_commit(step, request, version, &records, image) {
            for partition in response
                .topics
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions)
            {
                if partition.error_code != ErrorCode::UnknownTopicOrPartition.code() {
                    partition.error_code = code.code();
                }
            }
        }
        response
    }

    fn check_metadata(&self, partition: &OffsetCommitRequestPartition) -> Result<(), ErrorCode> {
        let text = partition.committed_metadata.as_deref().unwrap_or_default();
        // Kafka counts Java's characters.
        if text.encode_utf16().count() > self.config.offset_metadata_length_max {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        Ok(())
    }

    fn take_commit(
        &mut self,
        step: &mut Step<'_>,
        request: &OffsetCommitRequest,
        version: i16,
        records: &[GroupRecord],
        image: &MetadataImage,
    ) -> Result<(), ErrorCode> {
        let committer = Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
        };
        let group_id = request.group_id.as_str();
        let admitted = self.with_group(step, image, group_id, |entry, context| {
            match &mut entry.group {
                Group::Classic(group) => group.admit_commit(context, committer),
                Group::Consumer(group) => group.admit_commit(committer, version),
            }
        });
        match admitted {
            Some(admitted) => admitted?,
            // An administrator, or a consumer without a group: its offsets make the group.
            None if committer.generation < 0 => {}
            None if version >= GROUP_NOT_FOUND_SINCE => return Err(ErrorCode::GroupIdNotFound),
            None => return Err(ErrorCode::IllegalGeneration),
        }
        if records.is_empty() {
            return Ok(());
        }
        if !self.budget.has_room(self.added_bytes(group_id, records)) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        step.journal.append(records)?;
        for record in records {
            self.replay(record);
        }
        Ok(())
    }

    /// What a group's offsets would take more.
    fn added_bytes(&self, group_id: &str, records: &[GroupRecord]) -> usize {
        let entry = self.groups.get(group_id);
        let group = entry.map_or(ClassicGroup::size_bytes(group_id), |_| 0);
        let offsets = records.iter().map(|record| match record {
            GroupRecord::OffsetCommit {
                key,
                value: Some(value),
            } => {
                let current = entry.and_then(|entry| entry.offsets.get(&key.topic, key.partition));
                match current {
                    Some(current) => value.metadata.len().saturating_sub(current.metadata.len()),
                    None => GroupOffsets::size_bytes(&value.metadata),
                }
            }
            _ => 0,
        });
        group + offsets.sum::<usize>()
    }

    /// Answers for one group of an `OffsetFetch`. A group that does not exist has no offsets, which is no error.
    pub fn fetch_offsets(
        &self,
        request: &OffsetFetchRequestGroup,
        image: &MetadataImage,
    ) -> OffsetFetchResponseGroup {
        let entry = self.groups.get(request.group_id.as_str());
        let offsets = entry.map(|entry| &entry.offsets);
        let mut response = OffsetFetchResponseGroup::default();
        response.group_id = request.group_id.clone();
        if let Some(Group::Consumer(group)) = entry.map(|entry| &entry.group)
            && let Err(code) = group.admit_fetch(request.member_id.as_deref(), request.member_epoch)
        {
            response.error_code = code.code();
            return response;
        }
        response.topics = match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    let mut answered = OffsetFetchResponseTopics::default();
                    answered.name = topic.name.clone();
                    answered.partitions = topic
                        .partition_indexes
                        .iter()
                        .map(|index| {
                            let found = offsets
                                .and_then(|offsets| offsets.get(&topic.name, *index))
                                .filter(|found| found.is_of(&topic.name, image));
                            fetch_answer(*index, found)
                        })
                        .collect();
                    answered
                })
                .collect(),
            None => offsets
                .into_iter()
                .flat_map(GroupOffsets::topics)
                .map(|(name, partitions)| {
                    let mut answered = OffsetFetchResponseTopics::default();
                    answered.name = StrBytes::from(name);
                    answered.partitions = partitions
                        .iter()
                        .filter(|(_, found)| found.is_of(name, image))
                        .map(|(index, found)| fetch_answer(*index, Some(found)))
                        .collect();
                    answered
                })
                .filter(|topic| !topic.partitions.is_empty())
                .collect(),
        };
        response
    }

    /// Takes an `OffsetDelete`.
    pub fn delete_offsets(
        &mut self,
        step: &mut Step<'_>,
        request: &OffsetDeleteRequest,
        image: &MetadataImage,
    ) -> OffsetDeleteResponse {
        let mut response = OffsetDeleteResponse::default();
        match self.plan_offset_delete(request, image) {
            Ok((topics, records)) => match self.append_apart(step, &records) {
                Ok(()) => response.topics = topics,
                Err(code) => response.error_code = code.code(),
            },
            Err(code) => response.error_code = code.code(),
        }
        response
    }

    fn plan_offset_delete(
        &self,
        request: &OffsetDeleteRequest,
        image: &MetadataImage,
    ) -> Result<(Vec<OffsetDeleteResponseTopic>, Vec<GroupRecord>), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let entry = self
            .groups
            .get(request.group_id.as_str())
            .ok_or(ErrorCode::GroupIdNotFound)?;
        match &entry.group {
            Group::Classic(group) => group.admit_offset_delete()?,
            Group::Consumer(_) => {}
        }
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let known = image.topic(&topic.name);
            let mut answered = OffsetDeleteResponseTopic::default();
            answered.name = topic.name.clone();
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let code = if !known.is_some_and(|known| has_partition(known, index)) {
                    ErrorCode::UnknownTopicOrPartition
                } else if entry.group.is_subscribed_to(&topic.name) {
                    ErrorCode::GroupSubscribedToTopic
                } else {
                    if entry.offsets.get(&topic.name, index).is_some() {
                        records.push(GroupRecord::OffsetCommit {
                            key: OffsetCommitKey {
                                group_id: request.group_id.to_string(),
                                topic: topic.name.to_string(),
                                partition: index,
                            },
                            value: None,
                        });
                    }
                    ErrorCode::None
                };
                let mut one = OffsetDeleteResponsePartition::default();
                one.partition_index = index;
                one.error_code = code.code();
                answered.partitions.push(one);
            }
            topics.push(answered);
        }
        Ok((topics, records))
    }
}

fn has_partition(topic: &TopicMeta, index: i32) -> bool {
    topic.partition(PartitionIndex::new(index)).is_some()
}

fn commit_record(
    request: &OffsetCommitRequest,
    topic: &str,
    partition: &OffsetCommitRequestPartition,
    topic_id: [u8; 16],
    wall_ms: i64,
) -> GroupRecord {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    GroupRecord::OffsetCommit {
        key: OffsetCommitKey {
            group_id: request.group_id.to_string(),
            topic: topic.to_owned(),
            partition: partition.partition_index,
        },
        value: Some(OffsetCommitValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: metadata.to_owned(),
            commit_timestamp_ms: wall_ms,
            expire_timestamp_ms: match request.retention_time_ms {
                DEFAULT_RETENTION => None,
                retention_ms => Some(wall_ms.saturating_add(retention_ms)),
            },
            topic_id,
        }),
    }
}

fn commit_answer(index: i32, verdict: Result<(), ErrorCode>) -> OffsetCommitResponsePartition {
    let mut answer = OffsetCommitResponsePartition::default();
    answer.partition_index = index;
    answer.error_code = verdict.err().unwrap_or(ErrorCode::None).code();
    answer
}

fn fetch_answer(index: i32, found: Option<&Committed>) -> OffsetFetchResponsePartitions {
    let mut answer = OffsetFetchResponsePartitions::default();
    answer.partition_index = index;
    answer.committed_offset = found.map_or(-1, |found| found.offset);
    answer.committed_leader_epoch = found.map_or(-1, |found| found.leader_epoch);
    answer.metadata =
        Some(found.map_or_else(StrBytes::default, |found| StrBytes::from(&*found.metadata)));
    answer
}
