//! Images and nodes for tests.

use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, TopicId};

use super::image::MetadataImage;
use super::nodes::{AdvertisedNode, Nodes};
use super::record::MetadataRecord;

/// The id that [`image_of`] gives to the topic of this number.
pub(crate) fn topic_id(number: usize) -> TopicId {
    TopicId::new((0x0100_0000_u128 + number as u128).to_be_bytes())
}

/// An image of topics, each a name and the lanes of its partitions.
pub(crate) fn image_of(lanes: Option<usize>, topics: &[(&str, &[usize])]) -> MetadataImage {
    let mut image = MetadataImage::default();
    if let Some(count) = lanes {
        image.apply(&MetadataRecord::Lanes { count }).unwrap();
    }
    let mut log_id = 0;
    for (number, (name, lanes)) in topics.iter().enumerate() {
        let id = topic_id(number);
        image
            .apply(&MetadataRecord::Topic {
                id,
                name: (*name).to_owned(),
            })
            .unwrap();
        for (index, lane) in (0..).zip(*lanes) {
            log_id += 1;
            image
                .apply(&MetadataRecord::Partition {
                    topic_id: id,
                    index: PartitionIndex::new(index),
                    log_id: LogId::new(log_id),
                    lane: *lane,
                    leader_epoch: LeaderEpoch::new(0),
                })
                .unwrap();
        }
    }
    image
}

/// The nodes of a server with id 1 and this many lanes, per core.
pub(crate) fn nodes(lanes: usize) -> Nodes {
    let nodes = (0..lanes)
        .map(|lane| AdvertisedNode {
            id: 1000 + lane as i32,
            host: "127.0.0.1".to_owned(),
            port: 9092 + lane as u16,
        })
        .collect();
    Nodes {
        cluster_id: "test-cluster".to_owned(),
        rack: Some("r1".to_owned()),
        nodes,
        lanes,
    }
}

/// As [`nodes`], behind one shared port.
pub(crate) fn shared_nodes(lanes: usize) -> Nodes {
    let per_core = nodes(lanes);
    Nodes {
        nodes: per_core.nodes[..1].to_vec(),
        ..per_core
    }
}

/// A source of ids that counts up.
pub(crate) fn counting_ids() -> impl FnMut() -> u128 {
    let mut next = 0xAAAA_0000_u128;
    move || {
        next += 1;
        next
    }
}

/// Applies records to a copy of an image.
pub(crate) fn applied(image: &MetadataImage, records: &[MetadataRecord]) -> MetadataImage {
    let mut image = image.clone();
    for record in records {
        image.apply(record).unwrap();
    }
    image
}
