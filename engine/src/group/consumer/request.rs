//! What a `ConsumerGroupHeartbeat` tells.

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::ConsumerGroupHeartbeatRequest;
use kafka_wire::consumer_group_heartbeat_request::TopicPartitions as RequestPartitions;
use kafka_wire_core::StrBytes;

use super::Refusal;
use super::heartbeat::{JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH};
use crate::group::classic::Client;
use crate::group::config::GroupConfig;
use crate::group::record::MemberDetails;
use crate::group::topic_partitions::TopicPartitions;

/// From this version on, members choose their ids.
const OWN_ID_SINCE: i16 = 1;
/// "Not told."
pub(super) const UNSET: i32 = -1;

/// Checks what needs no group.
///
/// # Errors
/// `INVALID_REQUEST`, or `UNSUPPORTED_ASSIGNOR`.
pub fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &GroupConfig,
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(StrBytes::is_empty);
    let epoch = request.member_epoch;
    let names_itself = version >= OWN_ID_SINCE || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH;
    if names_itself && request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if epoch == JOIN_EPOCH {
        if request.rebalance_timeout_ms == UNSET {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request
            .topic_partitions
            .as_ref()
            .is_none_or(|owned| !owned.is_empty())
        {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == LEAVE_STATIC_EPOCH && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < LEAVE_STATIC_EPOCH {
        return invalid("MemberEpoch is invalid.");
    }
    match request.server_assignor.as_deref() {
        Some(name)
            if !config
                .consumer_assignors
                .iter()
                .any(|one| one.name() == name) =>
        {
            let known: Vec<&str> = config
                .consumer_assignors
                .iter()
                .map(|one| one.name())
                .collect();
            Err(Refusal::new(
                ErrorCode::UnsupportedAssignor,
                format!(
                    "ServerAssignor {name} is not supported. Supported assignors: {}.",
                    known.join(", ")
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Whether it tells nothing that is not known.
pub(super) fn tells_nothing(
    request: &ConsumerGroupHeartbeatRequest,
    client: &Client,
    details: &MemberDetails,
) -> bool {
    request.subscribed_topic_names.is_none()
        && request.subscribed_topic_regex.is_none()
        && request.server_assignor.is_none()
        && request.rack_id.is_none()
        && request.rebalance_timeout_ms == UNSET
        && request.instance_id.as_deref() == details.instance_id.as_deref()
        && client.id == details.client_id
        && client.host == details.client_host
        && details.classic.is_none()
}

/// Takes over what a request tells; what it does not tell stays.
pub(super) fn tell(
    details: &mut MemberDetails,
    request: &ConsumerGroupHeartbeatRequest,
    client: &Client,
) {
    let text = |told: &Option<StrBytes>| told.as_deref().map(str::to_owned);
    if let Some(names) = &request.subscribed_topic_names {
        details.topics = names.iter().map(ToString::to_string).collect();
        details.topics.sort_unstable();
        details.topics.dedup();
    }
    let told = [
        (&mut details.instance_id, &request.instance_id),
        (&mut details.rack_id, &request.rack_id),
        (&mut details.pattern, &request.subscribed_topic_regex),
        (&mut details.server_assignor, &request.server_assignor),
    ];
    for (own, told) in told {
        if told.is_some() {
            *own = text(told);
        }
    }
    if request.rebalance_timeout_ms != UNSET {
        details.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    details.client_id.clone_from(&client.id);
    details.client_host.clone_from(&client.host);
    details.classic = None;
}

/// The partitions that it names.
pub(super) fn partitions_of(told: &[RequestPartitions]) -> TopicPartitions {
    told.iter()
        .flat_map(|topic| {
            let id = TopicId::new(topic.topic_id.to_bytes());
            topic
                .partitions
                .iter()
                .map(move |partition| (id, *partition))
        })
        .collect()
}
