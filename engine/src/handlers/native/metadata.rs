//! Nodes, and topics with their owners.

use std::rc::Rc;

use corelane_net::error_code::ErrorCode;
use corelane_net::native::message::{Metadata, MetadataAnswer, Node, Topic};
use corelane_net::native::session::Violation;
use corelane_net::native::{Frame, MESSAGE_VERSION, Message, frame_of};
use corelane_net::server::native::NativePending;

use super::Pending;
use crate::config::RecordFormat;
use crate::lane::Lane;
use crate::metadata::image::{MetadataImage, TopicMeta};
use crate::metadata::nodes::Nodes;
use crate::metadata::topic_name;

/// Answers from this lane's own image. Topics are not created on demand.
pub(super) fn handle(lane: &Rc<Lane>, frame: Frame<'_>) -> Result<Pending, Violation> {
    let asked = Metadata::access(frame.archive)?;
    let (image, nodes) = (lane.image(), lane.nodes());
    let topics = if asked.topics.is_empty() {
        image
            .topics()
            .map(|topic| known(topic, &image, &nodes))
            .collect()
    } else {
        let names = asked.topics.iter();
        names
            .map(|name| match image.topic(name) {
                Some(topic) => known(topic, &image, &nodes),
                None => unknown(name),
            })
            .collect()
    };
    let answer = MetadataAnswer {
        version: MESSAGE_VERSION,
        nodes: nodes
            .nodes
            .iter()
            .map(|node| Node {
                id: node.id,
                port: node.port,
                host: node.host.clone(),
            })
            .collect(),
        topics,
    };
    Ok(NativePending::Ready(frame_of(
        frame.header.correlation,
        &answer,
    )))
}

fn known(topic: &TopicMeta, image: &MetadataImage, nodes: &Nodes) -> Topic {
    Topic {
        error: 0,
        is_native: image.topic_config(topic.id).record_format == RecordFormat::Rkyv,
        id: topic.id.get(),
        name: topic.name.clone(),
        owners: topic
            .partitions
            .iter()
            .map(|partition| nodes.id_of_lane(partition.lane))
            .collect(),
    }
}

fn unknown(name: &str) -> Topic {
    let error = match topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    Topic {
        error: error.code(),
        is_native: false,
        id: [0; 16],
        name: name.to_owned(),
        owners: Vec::new(),
    }
}
