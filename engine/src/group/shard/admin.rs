//! `ListGroups`, `DescribeGroups` and `DeleteGroups`.

use corelane_net::error_code::ErrorCode;
use kafka_wire::ListGroupsRequest;
use kafka_wire::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use kafka_wire::describe_groups_response::DescribedGroup;
use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire_core::StrBytes;

use super::{Group, Shard};
use crate::group::classic::{CONSUMER, ClassicState};
use crate::group::step::Step;
use crate::metadata::MetadataImage;

/// The state of a group that does not exist.
const DEAD: &str = "Dead";
/// From this version on, a group that does not exist is an error to describe.
const NOT_FOUND_SINCE: i16 = 6;
/// Read, delete, describe, describe configs and alter configs: all that may be done with a group, as a set of bits.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// "Not asked for."
const NO_OPERATIONS: i32 = i32::MIN;

impl Shard {
    /// The groups that a `ListGroups` asks for.
    pub fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let wanted = |filter: &[StrBytes], name: &str| {
            filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(name))
        };
        self.groups
            .iter()
            .filter(|(_, entry)| {
                wanted(&request.states_filter, entry.group.state_name())
                    && wanted(&request.types_filter, entry.group.type_name())
            })
            .map(|(id, entry)| {
                let mut listed = ListedGroup::default();
                listed.group_id = StrBytes::from(&**id);
                listed.group_state = StrBytes::from(entry.group.state_name());
                listed.group_type = StrBytes::from(entry.group.type_name());
                listed.protocol_type = match &entry.group {
                    Group::Classic(group) => {
                        StrBytes::from(group.protocol_type().unwrap_or_default())
                    }
                    Group::Consumer(_) => StrBytes::from(CONSUMER),
                };
                listed
            })
            .collect()
    }

    /// One group as `DescribeGroups` tells it.
    pub fn describe(&self, group_id: &str, version: i16, with_operations: bool) -> DescribedGroup {
        let mut described = DescribedGroup::default();
        described.group_id = StrBytes::from(group_id);
        described.authorized_operations = if with_operations {
            GROUP_OPERATIONS
        } else {
            NO_OPERATIONS
        };
        match self.groups.get(group_id).map(|entry| &entry.group) {
            Some(Group::Classic(group)) => {
                described.group_state = StrBytes::from(group.state().name());
                described.protocol_type = StrBytes::from(group.protocol_type().unwrap_or_default());
                if group.state() == ClassicState::Stable {
                    described.protocol_data = StrBytes::from(group.protocol().unwrap_or_default());
                }
                described.members = group.described_members();
            }
            other => {
                described.group_state = StrBytes::from(DEAD);
                if version >= NOT_FOUND_SINCE {
                    let reason = match other {
                        Some(_) => "is not a classic group",
                        None => "not found",
                    };
                    described.error_code = ErrorCode::GroupIdNotFound.code();
                    described.error_message =
                        Some(StrBytes::from(format!("Group {group_id} {reason}.")));
                }
            }
        }
        described
    }

    /// One group as `ConsumerGroupDescribe` tells it.
    pub fn describe_consumer_group(
        &self,
        group_id: &str,
        version: i16,
        with_operations: bool,
        image: &MetadataImage,
    ) -> DescribedConsumerGroup {
        let mut described = match self.groups.get(group_id).map(|entry| &entry.group) {
            Some(Group::Consumer(group)) => group.describe(version, &self.config, image),
            other => {
                let reason = match other {
                    Some(_) => "is not a consumer group",
                    None => "not found",
                };
                let mut described = DescribedConsumerGroup::default();
                described.group_id = StrBytes::from(group_id);
                described.error_code = ErrorCode::GroupIdNotFound.code();
                described.error_message =
                    Some(StrBytes::from(format!("Group {group_id} {reason}.")));
                described
            }
        };
        described.authorized_operations = if with_operations && described.error_code == 0 {
            GROUP_OPERATIONS
        } else {
            NO_OPERATIONS
        };
        described
    }

    /// Deletes a group with its offsets.
    pub fn delete_group(&mut self, step: &mut Step<'_>, group_id: &str) -> Result<(), ErrorCode> {
        let entry = self
            .groups
            .get(group_id)
            .ok_or(ErrorCode::GroupIdNotFound)?;
        match &entry.group {
            Group::Classic(group) => group.admit_delete()?,
            Group::Consumer(group) => group.admit_delete()?,
        }
        let mut records = entry.offsets.tombstones(group_id, |_, _, _| true);
        records.extend(entry.group.tombstones(group_id));
        self.append_apart(step, &records)
    }
}
