//! Asking where a partition begins and ends.

use corelane_format::{LeaderEpoch, Offset, TimestampMs};
use kafka_wire::ListOffsetsRequest;
use kafka_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::cluster::Cluster;
use super::error::ClusterError;

/// Which offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record still there.
    Earliest,
    /// One past the last record that consumers may see.
    Latest,
    /// The record with the highest timestamp.
    MaxTimestamp,
    /// The first record that is not older.
    Timestamp(TimestampMs),
}

impl OffsetSpec {
    const fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(timestamp) => timestamp.get(),
        }
    }
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 if there is no such record.
    pub offset: Offset,
    /// The record's timestamp, -1 if none was looked at.
    pub timestamp: TimestampMs,
    /// The record's leader epoch, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
}

impl Cluster {
    /// Looks up an offset of one partition at its leader, which a refresh must have told of.
    pub async fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        spec: OffsetSpec,
    ) -> Result<ListedOffset, ClusterError> {
        let leader = self.leader(topic, partition)?;
        let mut asked_partition = ListOffsetsPartition::default();
        asked_partition.partition_index = partition;
        asked_partition.timestamp = spec.to_wire();
        let mut asked_topic = ListOffsetsTopic::default();
        asked_topic.name = topic.into();
        asked_topic.partitions = vec![asked_partition];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![asked_topic];
        let response = self.call(leader, &request).await?;
        let subject = || format!("{topic}-{partition}");
        let answered = response
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        let answered = answered.ok_or_else(|| ClusterError::Missing { subject: subject() })?;
        ClusterError::broker(subject(), answered.error_code, None)?;
        Ok(ListedOffset {
            offset: Offset::new(answered.offset),
            timestamp: TimestampMs::new(answered.timestamp),
            leader_epoch: LeaderEpoch::new(answered.leader_epoch),
        })
    }
}
