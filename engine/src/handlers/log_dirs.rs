//! `DescribeLogDirs`: a node's one log directory, with the partitions of its lanes.

use std::collections::BTreeMap;
use std::rc::Rc;

use corelane_format::ids::PartitionIndex;
use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_wire_core::StrBytes;

use crate::doctor::syscalls::disk_space;
use crate::lane::{Lane, Route};

/// The partitions of one lane: topic, partition, bytes of its segments.
type Sizes = Vec<(String, i32, u64)>;

/// Topics and their partitions; `None` asks for all.
type Wanted = Option<BTreeMap<String, Vec<i32>>>;

/// Answers the request for the node of this lane: with the lane's own partitions, or with those of all lanes behind one port.
pub(super) async fn describe(
    lane: Rc<Lane>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted: Wanted = request.topics.map(|topics| {
        let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for topic in topics {
            let partitions = wanted.entry(topic.topic.to_string()).or_default();
            partitions.extend(topic.partitions);
        }
        wanted
    });
    let node = lane.nodes().id_of_lane(lane.index);
    let answers: Vec<_> = (0..lane.mesh.lanes())
        .filter(|other| lane.nodes().id_of_lane(*other) == node)
        .map(|other| {
            let wanted = wanted.clone();
            lane.mesh.call(other, move |lane: Rc<Lane>| async move {
                sizes(&lane, wanted.as_ref())
            })
        })
        .collect();
    let mut result = DescribeLogDirsResult::default();
    let directory = lane.cluster.data.logs();
    result.log_dir = StrBytes::from(directory.display().to_string());
    match disk_space(&directory) {
        Ok(space) => {
            result.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
            result.usable_bytes = i64::try_from(space.free_bytes).unwrap_or(i64::MAX);
        }
        Err(error) => {
            tracing::warn!(%error, "cannot tell the space of the log directory");
            (result.total_bytes, result.usable_bytes) = (-1, -1);
        }
    }
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for answer in answers {
        let Ok(sizes) = answer.await else {
            result.error_code = ErrorCode::KafkaStorageError.code();
            continue;
        };
        for (name, index, size_bytes) in sizes {
            let mut partition = DescribeLogDirsPartition::default();
            partition.partition_index = index;
            partition.partition_size = i64::try_from(size_bytes).unwrap_or(i64::MAX);
            topics.entry(name).or_default().push(partition);
        }
    }
    result.topics = topics
        .into_iter()
        .map(|(name, mut partitions)| {
            partitions.sort_unstable_by_key(|partition| partition.partition_index);
            let mut topic = DescribeLogDirsTopic::default();
            topic.name = StrBytes::from(name);
            topic.partitions = partitions;
            topic
        })
        .collect();
    let mut response = DescribeLogDirsResponse::default();
    response.results = vec![result];
    response
}

fn sizes(lane: &Lane, wanted: Option<&BTreeMap<String, Vec<i32>>>) -> Sizes {
    let Some(wanted) = wanted else {
        let image = lane.image();
        return lane
            .local_partitions()
            .iter()
            .filter_map(|partition| {
                let name = image.topic_by_id(partition.topic)?.name.clone();
                Some((name, partition.index.get(), partition.log.size_bytes()))
            })
            .collect();
    };
    let mut sizes = Vec::new();
    for (name, indexes) in wanted {
        let Some(routes) = lane.topic(name) else {
            continue;
        };
        for index in indexes {
            if let Some(Route::Local(partition)) = routes.partition(PartitionIndex::new(*index)) {
                sizes.push((name.clone(), *index, partition.log.size_bytes()));
            }
        }
    }
    sizes
}
