//! A consumer group as `ConsumerGroupDescribe` tells it.

use kafka_wire::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions as WirePartitions,
};
use kafka_wire_core::{StrBytes, Uuid};

use super::{ConsumerGroup, ConsumerMember};
use crate::group::config::GroupConfig;
use crate::group::topic_partitions::TopicPartitions;
use crate::metadata::MetadataImage;

/// From this version on, members say which protocol they speak.
const MEMBER_TYPE_SINCE: i16 = 1;
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

impl ConsumerGroup {
    /// The group with its members.
    pub fn describe(
        &self,
        version: i16,
        config: &GroupConfig,
        image: &MetadataImage,
    ) -> DescribedGroup {
        let mut described = DescribedGroup::default();
        described.group_id = StrBytes::from(&*self.id);
        described.group_state = StrBytes::from(self.state().name());
        described.group_epoch = self.epoch();
        described.assignment_epoch = self.target_epoch;
        described.assignor_name = StrBytes::from(self.preferred_assignor(config).name());
        described.members = self
            .members
            .values()
            .map(|member| describe_member(member, version, image))
            .collect();
        described
    }
}

fn describe_member(member: &ConsumerMember, version: i16, image: &MetadataImage) -> Member {
    let text = |text: &Option<String>| text.as_deref().map(StrBytes::from);
    let details = &member.details;
    let mut described = Member::default();
    described.member_id = StrBytes::from(&*member.id);
    described.instance_id = text(&details.instance_id);
    described.rack_id = text(&details.rack_id);
    described.member_epoch = member.current.epoch;
    described.client_id = StrBytes::from(details.client_id.as_str());
    described.client_host = StrBytes::from(details.client_host.as_str());
    described.subscribed_topic_names = details
        .topics
        .iter()
        .map(|topic| StrBytes::from(topic.as_str()))
        .collect();
    described.subscribed_topic_regex = text(&details.pattern);
    described.assignment = assignment_of(&member.current.assigned, image);
    described.target_assignment = assignment_of(&member.target, image);
    if version >= MEMBER_TYPE_SINCE {
        described.member_type = if member.is_classic() {
            CLASSIC
        } else {
            CONSUMER
        };
    }
    described
}

/// Topics that are gone have no name, so they are left out.
fn assignment_of(partitions: &TopicPartitions, image: &MetadataImage) -> Assignment {
    let mut assignment = Assignment::default();
    assignment.topic_partitions = partitions
        .topics()
        .filter_map(|(id, indexes)| {
            let mut topic = WirePartitions::default();
            topic.topic_id = Uuid::from_bytes(id.get());
            topic.topic_name = StrBytes::from(image.topic_by_id(id)?.name.as_str());
            topic.partitions = indexes.iter().copied().collect();
            Some(topic)
        })
        .collect();
    assignment
}
