//! Metadata, DescribeTopicPartitions and DescribeCluster: answered from this lane's own image.

use std::rc::Rc;

use kafka_wire::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};

use super::errors;
use crate::lane::Lane;
use crate::metadata::RandomTopicIds;
use crate::metadata::controller::auto_create::auto_create_topics;
use crate::metadata::describe;

/// Answers Metadata, creating missing topics first if both the client and the server allow it.
pub(super) async fn metadata(
    lane: Rc<Lane>,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let answer = describe::topics::describe_topics(&request, version, &lane.image(), &lane.nodes());
    if answer.missing.is_empty() || !lane.cluster.defaults.broker.auto_create_topics() {
        return answer.response;
    }
    let missing = answer.missing;
    let names = missing.clone();
    let decided = lane
        .decide(move |known| {
            let mut ids = RandomTopicIds::default();
            auto_create_topics(&missing, known.image, known.defaults, known.nodes, &mut ids)
        })
        .await;
    let refused = decided.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot create topics on demand");
        let code = errors::of_controller(&error);
        names.into_iter().map(|name| (name, code)).collect()
    });
    let mut response =
        describe::topics::describe_topics(&request, version, &lane.image(), &lane.nodes()).response;
    describe::topics::note_refusals(&mut response, &refused);
    response
}

/// Answers DescribeTopicPartitions.
pub(super) fn describe_topic_partitions(
    lane: &Lane,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let partitions_max = lane.cluster.defaults.broker.described_partitions_max();
    describe::topic_partitions::describe_topic_partitions(
        request,
        partitions_max,
        &lane.image(),
        &lane.nodes(),
    )
}

/// Answers DescribeCluster.
pub(super) fn describe_cluster(
    lane: &Lane,
    request: &DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    describe::cluster::describe_cluster(request, version, &lane.nodes())
}
