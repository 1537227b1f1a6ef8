//! CreateTopics, DeleteTopics and CreatePartitions: pure decisions of the controller, carried out wherever it is.

use std::rc::Rc;

use kafka_wire::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::errors;
use crate::lane::Lane;
use crate::metadata::RandomTopicIds;
use crate::metadata::controller::{create_partitions, create_topics, delete_topics};

/// Creates topics; those answered without error are durable and served by every lane.
pub(super) async fn create(lane: Rc<Lane>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let decided = lane
        .decide(move |known| {
            let mut ids = RandomTopicIds::default();
            create_topics::create_topics(
                &request,
                known.image,
                known.defaults,
                known.nodes,
                &mut ids,
            )
        })
        .await;
    decided.unwrap_or_else(|error| {
        let code = errors::of_controller(&error);
        let mut response = CreateTopicsResponse::default();
        response.topics = names
            .into_iter()
            .map(|name| {
                let mut topic = kafka_wire::create_topics_response::CreatableTopicResult::default();
                topic.name = name;
                topic.error_code = code.code();
                topic.error_message = Some(error.to_string().as_str().into());
                topic
            })
            .collect();
        response
    })
}

/// Deletes topics with their data; those answered without error stay deleted.
pub(super) async fn delete(
    lane: Rc<Lane>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let mut asked: Vec<_> = request
        .topic_names
        .iter()
        .map(|name| (Some(name.clone()), None))
        .collect();
    asked.extend(
        request
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), Some(topic.topic_id))),
    );
    let decided = lane
        .decide(move |known| {
            delete_topics::delete_topics(&request, version, known.image, known.defaults)
        })
        .await;
    decided.unwrap_or_else(|error| {
        let code = errors::of_controller(&error);
        let mut response = DeleteTopicsResponse::default();
        response.responses = asked
            .into_iter()
            .map(|(name, id)| {
                let mut topic = kafka_wire::delete_topics_response::DeletableTopicResult::default();
                topic.name = name;
                topic.topic_id = id.unwrap_or_default();
                topic.error_code = code.code();
                topic.error_message = Some(error.to_string().as_str().into());
                topic
            })
            .collect();
        response
    })
}

/// Adds partitions to topics.
pub(super) async fn create_partitions_of(
    lane: Rc<Lane>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let decided = lane
        .decide(move |known| {
            create_partitions::create_partitions(&request, known.image, known.defaults, known.nodes)
        })
        .await;
    decided.unwrap_or_else(|error| {
        let code = errors::of_controller(&error);
        let mut response = CreatePartitionsResponse::default();
        response.results = names
            .into_iter()
            .map(|name| {
                let mut topic =
                    kafka_wire::create_partitions_response::CreatePartitionsTopicResult::default();
                topic.name = name;
                topic.error_code = code.code();
                topic.error_message = Some(error.to_string().as_str().into());
                topic
            })
            .collect();
        response
    })
}
