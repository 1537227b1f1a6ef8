//! A classic group as a consumer group, and back, while members are in it.

use corelane_net::error_code::ErrorCode;

use super::{ConsumerGroup, Refusal};
use crate::group::classic::ClassicGroup;
use crate::group::consumer_protocol::{Subscription, decode_assignment};
use crate::group::record::{
    ClassicDetails, ConsumerRecord, CurrentAssignment, GroupEpoch, MemberDetails, MemberState,
};
use crate::group::step::Context;

/// The records of the consumer group that a classic one becomes: its members keep their ids and what they have, and its
/// generation becomes the epoch of all.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND`, as Kafka has it: the policy forbids it, its members are no consumers or too many, or what they told
/// cannot be read.
pub fn upgrade(
    classic: &ClassicGroup,
    context: &Context<'_, '_>,
) -> Result<Vec<ConsumerRecord>, Refusal> {
    let refuse = |reason: &str| {
        let message = format!(
            "Cannot upgrade classic group {} to consumer group because {reason}.",
            classic.id()
        );
        Refusal::new(ErrorCode::GroupIdNotFound, message)
    };
    if !context.config.migration.allows_upgrade() {
        return Err(refuse("online upgrade is disabled"));
    }
    if !classic.is_of_consumers() {
        return Err(refuse(
            "the group does not use the consumer embedded protocol",
        ));
    }
    if classic.members().count() > context.config.consumer_members_max {
        return Err(refuse(
            "the group size exceeds the consumer group maximum size",
        ));
    }
    let epoch = classic.generation();
    let mut details = Vec::new();
    let mut targets = Vec::new();
    let mut currents = Vec::new();
    // Before their first generation members know nothing of each other: they join the consumer group.
    let protocol = classic.protocol();
    for member in protocol.into_iter().flat_map(|_| classic.members()) {
        let malformed = |_| refuse("the embedded consumer protocol is malformed");
        let metadata = protocol.and_then(|protocol| member.metadata(protocol));
        let subscription = metadata.map_or(&[][..], |bytes| &bytes[..]);
        let subscription = Subscription::decode(subscription).map_err(malformed)?;
        let assigned = decode_assignment(&member.assignment, context.image).map_err(malformed)?;
        let member_id = member.id.to_string();
        details.push(ConsumerRecord::Member {
            member_id: member_id.clone(),
            value: Some(MemberDetails {
                instance_id: member.instance_id.as_deref().map(str::to_owned),
                rack_id: subscription.rack_id,
                client_id: member.client.id.clone(),
                client_host: member.client.host.clone(),
                topics: subscription.topics,
                pattern: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                server_assignor: None,
                classic: Some(ClassicDetails {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member
                        .protocols
                        .iter()
                        .map(|offered| (offered.name.to_string(), offered.metadata.to_vec()))
                        .collect(),
                }),
            }),
        });
        targets.push(ConsumerRecord::Target {
            member_id: member_id.clone(),
            value: Some(assigned.clone()),
        });
        currents.push(ConsumerRecord::Current {
            member_id,
            value: Some(CurrentAssignment {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                assigned,
                ..CurrentAssignment::default()
            }),
        });
    }
    let mut records = details;
    records.push(ConsumerRecord::Epoch(Some(GroupEpoch {
        epoch,
        metadata_hash: 0,
    })));
    records.extend(targets);
    records.push(ConsumerRecord::TargetEpoch(Some(epoch)));
    records.extend(currents);
    Ok(records)
}

impl ConsumerGroup {
    /// The members that speak the classic protocol, with the version of what they told.
    pub fn classic_members(
        &self,
    ) -> impl Iterator<Item = (&super::ConsumerMember, &ClassicDetails)> {
        self.members()
            .filter_map(|member| Some((member, member.details.classic.as_ref()?)))
    }
}
