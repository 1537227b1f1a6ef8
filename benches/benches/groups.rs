//! What members of groups ask all the time, in the groups' pure machine: heartbeats and commits of offsets.
//!
//! `cargo bench -p corelane-benches --bench groups`; with `-- --test` each runs once, which is what CI does.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::rc::Rc;

use corelane_engine::group::classic::Client;
use corelane_engine::group::{
    Budget, GroupAnswer, GroupConfig, GroupRecord, Journal, Now, ReplyId, Shard, Step,
};
use corelane_engine::metadata::{MetadataImage, MetadataRecord};
use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, TopicId};
use corelane_net::error_code::ErrorCode;
use criterion::{Criterion, criterion_group, criterion_main};
use kafka_wire::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::{HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest};

const PARTITIONS: i32 = 16;
/// Before members are asked for an id of their own first.
const JOIN_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 8;

/// Encodes what it is given, as the log's shell does, and keeps nothing.
struct Encoder;

impl Journal for Encoder {
    fn append(&mut self, records: &[GroupRecord]) -> Result<(), ErrorCode> {
        for record in records {
            black_box(record.encode());
        }
        Ok(())
    }
}

struct Groups {
    shard: Shard,
    image: MetadataImage,
    now: Now,
    member_id: String,
    generation: i32,
}

impl Groups {
    fn step<T>(
        &mut self,
        work: impl FnOnce(&mut Shard, &mut Step<'_>, &MetadataImage) -> T,
    ) -> (T, Vec<(ReplyId, GroupAnswer)>) {
        let mut random = || 7;
        let mut journal = Encoder;
        let mut step = Step::new(self.now, &mut journal, &mut random);
        let outcome = work(&mut self.shard, &mut step, &self.image);
        (outcome, step.answers)
    }

    /// One stable group of one member.
    fn new() -> Self {
        let config = GroupConfig::default();
        let topic_id = TopicId::new([7; 16]);
        let mut image = MetadataImage::default();
        let mut records = vec![
            MetadataRecord::Lanes { count: 1 },
            MetadataRecord::Topic {
                id: topic_id,
                name: "measured".to_owned(),
            },
        ];
        records.extend((0..PARTITIONS).map(|index| MetadataRecord::Partition {
            topic_id,
            index: PartitionIndex::new(index),
            log_id: LogId::new(index as u64 + 1),
            lane: 0,
            leader_epoch: LeaderEpoch::new(0),
        }));
        for record in &records {
            image.apply(record).expect("sound records");
        }
        let mut groups = Self {
            shard: Shard::new(Rc::new(config.clone()), Budget::new(64 << 20)),
            image,
            now: Now {
                monotonic_ms: 1_000,
                wall_ms: 1_700_000_000_000,
            },
            member_id: String::new(),
            generation: 0,
        };
        let mut join = JoinGroupRequest::default();
        join.group_id = "g".into();
        join.protocol_type = "consumer".into();
        join.session_timeout_ms = 30_000;
        join.rebalance_timeout_ms = 30_000;
        let mut protocol = JoinGroupRequestProtocol::default();
        protocol.name = "range".into();
        join.protocols.push(protocol);
        let client = Client {
            id: "client".into(),
            host: "/127.0.0.1".into(),
        };
        let ((), mut answers) = groups.step(|shard, step, image| {
            shard.join(step, &join, JOIN_VERSION, &client, image, ReplyId(1));
        });
        if answers.is_empty() {
            groups.now.monotonic_ms += config.initial_rebalance_delay_ms;
            answers = groups.step(Shard::elapse).1;
        }
        let Some((_, GroupAnswer::Join(joined))) = answers.first() else {
            panic!("a member that is alone joins: {answers:?}");
        };
        joined.member_id.as_str().clone_into(&mut groups.member_id);
        groups.generation = joined.generation_id;
        let mut sync = SyncGroupRequest::default();
        sync.group_id = "g".into();
        sync.member_id = groups.member_id.as_str().into();
        sync.generation_id = groups.generation;
        groups.step(|shard, step, image| shard.sync(step, &sync, image, ReplyId(2)));
        groups
    }
}

fn members(criterion: &mut Criterion) {
    let mut groups = Groups::new();
    let mut heartbeat = HeartbeatRequest::default();
    heartbeat.group_id = "g".into();
    heartbeat.member_id = groups.member_id.as_str().into();
    heartbeat.generation_id = groups.generation;
    criterion.bench_function("group_heartbeat", |bencher| {
        bencher.iter(|| {
            let (code, _) =
                groups.step(|shard, step, image| shard.heartbeat(step, &heartbeat, image));
            assert_eq!(code, ErrorCode::None);
        });
    });
    let mut commit = OffsetCommitRequest::default();
    commit.group_id = "g".into();
    commit.member_id = groups.member_id.as_str().into();
    commit.generation_id_or_member_epoch = groups.generation;
    commit.retention_time_ms = -1;
    let mut topic = OffsetCommitRequestTopic::default();
    topic.name = "measured".into();
    topic.partitions = (0..PARTITIONS)
        .map(|index| {
            let mut partition = OffsetCommitRequestPartition::default();
            partition.partition_index = index;
            partition.committed_offset = 1;
            partition.committed_leader_epoch = 0;
            partition.committed_metadata = Some("".into());
            partition
        })
        .collect();
    commit.topics.push(topic);
    criterion.bench_function("offset_commit_of_16_partitions", |bencher| {
        bencher.iter(|| {
            commit.topics[0].partitions[0].committed_offset += 1;
            let (response, _) = groups
                .step(|shard, step, image| shard.commit(step, &commit, COMMIT_VERSION, image));
            assert!(
                response.topics[0]
                    .partitions
                    .iter()
                    .all(|partition| partition.error_code == 0)
            );
        });
    });
}

criterion_group!(groups, members);
criterion_main!(groups);
