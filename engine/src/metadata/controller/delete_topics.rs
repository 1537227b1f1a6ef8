//! `DeleteTopics` (v1 to v6): by name, and since v6 by id.

use std::collections::{HashMap, HashSet};

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;
use kafka_wire::delete_topics_response::DeletableTopicResult;
use kafka_wire::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::{Decision, Defaults, Rejection};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;

/// How an entry of the request names its topic.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Naming {
    name: Option<StrBytes>,
    id: Uuid,
}

/// Decides on a `DeleteTopics` request of this version.
pub fn delete_topics(
    request: &DeleteTopicsRequest,
    version: i16,
    image: &MetadataImage,
    defaults: &Defaults,
) -> Decision<DeleteTopicsResponse> {
    let by_name = request.topic_names.iter().map(|name| Naming {
        name: Some(name.clone()),
        id: Uuid::ZERO,
    });
    let by_either = request.topics.iter().map(|topic| Naming {
        name: topic.name.clone(),
        id: topic.topic_id,
    });
    let mut distinct = Vec::new();
    let mut times: HashMap<Naming, usize> = HashMap::new();
    for naming in by_name.chain(by_either) {
        let count = times.entry(naming.clone()).or_default();
        *count += 1;
        if *count == 1 {
            distinct.push(naming);
        }
    }
    let resolved: Vec<(Naming, Result<TopicId, Rejection>)> = distinct
        .into_iter()
        .map(|naming| {
            let outcome = resolve(&naming, times[&naming], image);
            (naming, outcome)
        })
        .collect();
    let mut seen = HashSet::new();
    let named_twice: HashSet<TopicId> = resolved
        .iter()
        .filter_map(|(_, outcome)| outcome.as_ref().ok())
        .filter(|id| !seen.insert(**id))
        .copied()
        .collect();

    let mut records = Vec::new();
    let mut response = DeleteTopicsResponse::default();
    for (naming, outcome) in resolved {
        let outcome = outcome.and_then(|id| {
            if !defaults.broker.delete_topics() {
                Err(deletion_disabled(version))
            } else if named_twice.contains(&id) {
                Err(Rejection::invalid_request(
                    "The provided topic name maps to an ID that was already supplied.",
                ))
            } else {
                Ok(id)
            }
        });
        let mut result = DeletableTopicResult::default();
        match outcome {
            Ok(id) => {
                result.name = image
                    .topic_by_id(id)
                    .map(|topic| StrBytes::from(topic.name.as_str()));
                result.topic_id = Uuid::from_bytes(id.get());
                records.push(MetadataRecord::RemoveTopic { topic_id: id });
            }
            Err(rejection) => {
                result.name = naming.name;
                result.topic_id = naming.id;
                result.error_code = rejection.code.code();
                result.error_message = Some(rejection.text());
            }
        }
        response.responses.push(result);
    }
    (records, response)
}

fn resolve(naming: &Naming, times: usize, image: &MetadataImage) -> Result<TopicId, Rejection> {
    let found = match (&naming.name, naming.id.is_zero()) {
        (None, true) => {
            return Err(Rejection::invalid_request(
                "Neither topic name nor id were specified.",
            ));
        }
        (Some(_), false) => {
            return Err(Rejection::invalid_request(
                "You may not specify both topic name and topic id.",
            ));
        }
        (Some(_), true) if times > 1 => {
            return Err(Rejection::invalid_request("Duplicate topic name."));
        }
        (None, false) if times > 1 => {
            return Err(Rejection::invalid_request("Duplicate topic id."));
        }
        (Some(name), true) => image.topic(name).ok_or_else(Rejection::unknown_topic),
        (None, false) => image
            .topic_by_id(TopicId::new(naming.id.to_bytes()))
            .ok_or_else(Rejection::unknown_topic_id),
    };
    found.map(|topic| topic.id)
}

fn deletion_disabled(version: i16) -> Rejection {
    let code = if version < 3 {
        ErrorCode::InvalidRequest
    } else {
        ErrorCode::TopicDeletionDisabled
    };
    Rejection::new(code, "Topic deletion is disabled.")
}

#[cfg(test)]
mod tests {
    use kafka_wire::delete_topics_request::DeleteTopicState;

    use super::*;
    use crate::metadata::test_support::{applied, image_of, topic_id};

    fn entry(name: Option<&str>, id: Option<usize>) -> DeleteTopicState {
        let mut entry = DeleteTopicState::default();
        entry.name = name.map(StrBytes::from);
        entry.topic_id = id.map_or(Uuid::ZERO, |number| {
            Uuid::from_bytes(topic_id(number).get())
        });
        entry
    }

    fn image() -> MetadataImage {
        image_of(Some(1), &[("a", &[0, 0]), ("b", &[0]), ("c", &[])])
    }

    fn answers(response: &DeleteTopicsResponse) -> Vec<(Option<&str>, i16)> {
        response
            .responses
            .iter()
            .map(|result| {
                (
                    result.name.as_ref().map(StrBytes::as_str),
                    result.error_code,
                )
            })
            .collect()
    }

    #[test]
    fn topics_are_deleted_by_name_and_by_id() {
        let mut request = DeleteTopicsRequest::default();
        request.topics = vec![entry(Some("a"), None), entry(None, Some(1))];
        let image = image();
        let (records, response) = delete_topics(&request, 6, &image, &Defaults::default());
        assert_eq!(answers(&response), [(Some("a"), 0), (Some("b"), 0)]);
        assert!(
            response
                .responses
                .iter()
                .all(|result| result.error_message.is_none())
        );
        assert_eq!(response.responses[0].topic_id.to_bytes(), topic_id(0).get());
        let after = applied(&image, &records);
        assert_eq!(
            after
                .topics()
                .map(|topic| topic.name.as_str())
                .collect::<Vec<_>>(),
            ["c"]
        );
    }

    #[test]
    fn old_versions_name_their_topics_and_always_get_names_back() {
        let mut request = DeleteTopicsRequest::default();
        request.topic_names = ["a", "nosuch", "b", "b"].map(StrBytes::from).to_vec();
        let (records, response) = delete_topics(&request, 1, &image(), &Defaults::default());
        assert_eq!(
            answers(&response),
            [
                (Some("a"), 0),
                (Some("nosuch"), ErrorCode::UnknownTopicOrPartition.code()),
                (Some("b"), ErrorCode::InvalidRequest.code()),
            ]
        );
        assert_eq!(
            records,
            [MetadataRecord::RemoveTopic {
                topic_id: topic_id(0)
            }]
        );
    }

    #[test]
    fn what_is_named_wrongly_or_twice_is_refused_and_kept() {
        type Case<'a> = (Vec<DeleteTopicState>, Vec<(Option<&'a str>, i16)>);
        let invalid = ErrorCode::InvalidRequest.code();
        let table: Vec<Case<'_>> = vec![
            (vec![entry(None, None)], vec![(None, invalid)]),
            (vec![entry(Some("a"), Some(0))], vec![(Some("a"), invalid)]),
            (
                vec![entry(None, Some(0)), entry(None, Some(0))],
                vec![(None, invalid)],
            ),
            (
                vec![entry(Some("a"), None), entry(None, Some(0))],
                vec![(Some("a"), invalid), (None, invalid)],
            ),
            (
                vec![entry(None, Some(9))],
                vec![(None, ErrorCode::UnknownTopicId.code())],
            ),
            (vec![], vec![]),
        ];
        for (topics, expected) in table {
            let mut request = DeleteTopicsRequest::default();
            request.topics = topics;
            let (records, response) = delete_topics(&request, 6, &image(), &Defaults::default());
            assert_eq!(answers(&response), expected);
            assert_eq!(records, []);
        }
    }

    #[test]
    fn a_server_without_deletion_says_so() {
        let mut defaults = Defaults::default();
        defaults.broker.set("delete.topic.enable", "false").unwrap();
        let mut request = DeleteTopicsRequest::default();
        request.topic_names = vec![StrBytes::from("a")];
        for (version, code) in [
            (2, ErrorCode::InvalidRequest),
            (3, ErrorCode::TopicDeletionDisabled),
        ] {
            let (records, response) = delete_topics(&request, version, &image(), &defaults);
            assert_eq!(
                (records.len(), answers(&response)),
                (0, vec![(Some("a"), code.code())])
            );
        }
    }
}
