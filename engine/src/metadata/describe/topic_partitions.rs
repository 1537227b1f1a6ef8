//! `DescribeTopicPartitions` (v0): topics page by page, with a cursor.

use std::collections::BTreeSet;

use corelane_net::error_code::ErrorCode;
use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_wire::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use kafka_wire_core::{StrBytes, Uuid};

use super::TOPIC_OPERATIONS;
use crate::metadata::image::{MetadataImage, TopicMeta};
use crate::metadata::nodes::Nodes;
use crate::metadata::topic_name;

/// Answers a `DescribeTopicPartitions` request with at most `partitions_max` partitions.
///
/// Topics come in the order of their names. Where the answer ends early it has a cursor to go on from.
pub fn describe_topic_partitions(
    request: &DescribeTopicPartitionsRequest,
    partitions_max: usize,
    image: &MetadataImage,
    nodes: &Nodes,
) -> DescribeTopicPartitionsResponse {
    let (from, first_index) = match &request.cursor {
        None => ("", 0),
        Some(cursor) => match usize::try_from(cursor.partition_index) {
            Ok(index) => (cursor.topic_name.as_str(), index),
            Err(_) => return refused(request),
        },
    };
    let mut page = Page {
        response: DescribeTopicPartitionsResponse::default(),
        remaining: usize::try_from(request.response_partition_limit)
            .unwrap_or(0)
            .min(partitions_max)
            .max(1),
    };
    let start_of = |name: &str| if name == from { first_index } else { 0 };
    if request.topics.is_empty() {
        for topic in image.topics_from(from) {
            if !page.add(topic, start_of(&topic.name), nodes) {
                break;
            }
        }
        return page.response;
    }
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|name| *name >= from)
        .collect();
    if request.cursor.is_some() && !names.contains(from) {
        return refused(request);
    }
    for name in names {
        let goes_on = match image.topic(name) {
            Some(topic) => page.add(topic, start_of(name), nodes),
            None => page.add_unknown(name),
        };
        if !goes_on {
            break;
        }
    }
    page.response
}

/// One answer as it fills.
struct Page {
    response: DescribeTopicPartitionsResponse,
    remaining: usize,
}

impl Page {
    /// Adds a topic's partitions from `start` on; `false` if the page is full.
    fn add(&mut self, topic: &TopicMeta, start: usize, nodes: &Nodes) -> bool {
        if self.remaining == 0 {
            self.set_cursor(&topic.name, 0);
            return false;
        }
        let end = start
            .saturating_add(self.remaining)
            .min(topic.partitions.len());
        let partitions = topic.partitions.get(start..end).unwrap_or_default();
        let mut answer = DescribeTopicPartitionsResponseTopic::default();
        answer.name = Some(StrBytes::from(topic.name.as_str()));
        answer.topic_id = Uuid::from_bytes(topic.id.get());
        answer.is_internal = topic_name::is_internal(&topic.name);
        answer.topic_authorized_operations = TOPIC_OPERATIONS;
        answer.partitions = (start..)
            .zip(partitions)
            .map(|(index, meta)| {
                let leader = nodes.id_of_lane(meta.lane);
                let mut partition = DescribeTopicPartitionsResponsePartition::default();
                partition.partition_index = i32::try_from(index).unwrap_or(i32::MAX);
                partition.leader_id = leader;
                partition.leader_epoch = meta.leader_epoch.get();
                partition.replica_nodes = vec![leader];
                partition.isr_nodes = vec![leader];
                partition.eligible_leader_replicas = Some(Vec::new());
                partition.last_known_elr = Some(Vec::new());
                partition
            })
            .collect();
        self.remaining -= partitions.len();
        self.response.topics.push(answer);
        if end < topic.partitions.len() {
            self.set_cursor(&topic.name, end);
            return false;
        }
        true
    }

    fn add_unknown(&mut self, name: &str) -> bool {
        if self.remaining == 0 {
            self.set_cursor(name, 0);
            return false;
        }
        let code = match topic_name::validate(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        let mut answer = DescribeTopicPartitionsResponseTopic::default();
        answer.error_code = code.code();
        answer.name = Some(StrBytes::from(name));
        answer.is_internal = topic_name::is_internal(name);
        self.response.topics.push(answer);
        true
    }

    fn set_cursor(&mut self, topic: &str, index: usize) {
        let mut cursor = Cursor::default();
        cursor.topic_name = StrBytes::from(topic);
        cursor.partition_index = i32::try_from(index).unwrap_or(i32::MAX);
        self.response.next_cursor = Some(cursor);
    }
}

/// A cursor that cannot be: every topic asked for is answered so, as there is no other place for an error.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    response.topics = request
        .topics
        .iter()
        .map(|topic| {
            let mut answer = DescribeTopicPartitionsResponseTopic::default();
            answer.error_code = ErrorCode::InvalidRequest.code();
            answer.name = Some(topic.name.clone());
            answer
        })
        .collect();
    response
}

#[cfg(test)]
mod tests {
    use kafka_wire::describe_topic_partitions_request::{Cursor as RequestCursor, TopicRequest};
    use kafka_wire_core::{ApiVersion, KafkaEncode};
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::test_support::{image_of, nodes};

    fn request(
        topics: &[&str],
        limit: i32,
        cursor: Option<(&str, i32)>,
    ) -> DescribeTopicPartitionsRequest {
        let mut request = DescribeTopicPartitionsRequest::default();
        request.topics = topics
            .iter()
            .map(|name| {
                let mut topic = TopicRequest::default();
                topic.name = StrBytes::from(*name);
                topic
            })
            .collect();
        request.response_partition_limit = limit;
        request.cursor = cursor.map(|(name, index)| {
            let mut cursor = RequestCursor::default();
            cursor.topic_name = StrBytes::from(name);
            cursor.partition_index = index;
            cursor
        });
        request
    }

    fn image() -> MetadataImage {
        image_of(Some(2), &[("c", &[0, 1, 0]), ("a", &[1, 1]), ("b", &[])])
    }

    /// A page as text: each topic with its error and partitions, then the cursor.
    fn page(request: &DescribeTopicPartitionsRequest, partitions_max: usize) -> String {
        let response = describe_topic_partitions(request, partitions_max, &image(), &nodes(2));
        response.encoded_len(ApiVersion::new(0)).unwrap();
        let mut text: Vec<String> = response
            .topics
            .iter()
            .map(|topic| {
                let partitions: Vec<String> = topic
                    .partitions
                    .iter()
                    .map(|p| p.partition_index.to_string())
                    .collect();
                let error = if topic.error_code == 0 {
                    String::new()
                } else {
                    format!("!{}", topic.error_code)
                };
                format!(
                    "{}{error}[{}]",
                    topic.name.as_deref().unwrap_or("-"),
                    partitions.join(" ")
                )
            })
            .collect();
        text.extend(
            response
                .next_cursor
                .map(|cursor| format!("> {}:{}", cursor.topic_name, cursor.partition_index)),
        );
        text.join(" ")
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        type Case<'a> = (&'a [&'a str], i32, Option<(&'a str, i32)>, &'a str);
        let table: &[Case<'_>] = &[
            (&[], 2000, None, "a[0 1] b[] c[0 1 2]"),
            (&[], 1, None, "a[0] > a:1"),
            (&[], 2, None, "a[0 1] > b:0"),
            (&[], 3, None, "a[0 1] b[] c[0] > c:1"),
            (&[], 2000, Some(("c", 1)), "c[1 2]"),
            (&[], 1, Some(("c", 1)), "c[1] > c:2"),
            (&[], 1, Some(("c", 2)), "c[2]"),
            (&[], 9, Some(("c", 3)), "c[]"),
            (&[], 9, Some(("c", i32::MAX)), "c[]"),
            (&[], 9, Some(("bb", 7)), "c[0 1 2]"),
            (&[], 9, Some(("z", 0)), ""),
            (&[], 0, None, "a[0] > a:1"),
            (&[], -5, None, "a[0] > a:1"),
            (&["c", "a", "c"], 9, None, "a[0 1] c[0 1 2]"),
            (
                &["c", "nosuch", "a/"],
                9,
                None,
                "a/!17[] c[0 1 2] nosuch!3[]",
            ),
            (&["c", "nosuch"], 3, None, "c[0 1 2] > nosuch:0"),
            (&["c", "a"], 9, Some(("c", 2)), "c[2]"),
            (&["c", "a"], 9, Some(("b", 0)), "c!42[] a!42[]"),
            (&["c"], 9, Some(("c", -1)), "c!42[]"),
            (&[], 9, Some(("c", -1)), ""),
        ];
        for (topics, limit, cursor, expected) in table {
            assert_eq!(
                page(&request(topics, *limit, *cursor), 2000),
                *expected,
                "{topics:?} {limit} {cursor:?}"
            );
        }
        assert_eq!(page(&request(&[], 2000, None), 3), "a[0 1] b[] c[0] > c:1");
    }

    proptest! {
        #[test]
        fn pages_of_any_size_add_up_to_everything(limit in 1..8_i32) {
            let mut cursor: Option<(String, i32)> = None;
            let mut seen = Vec::new();
            for _ in 0..20 {
                let asked = request(&[], limit, cursor.as_ref().map(|(name, index)| (name.as_str(), *index)));
                let response = describe_topic_partitions(&asked, 2000, &image(), &nodes(2));
                for topic in &response.topics {
                    let name = topic.name.as_deref().unwrap_or_default();
                    seen.extend(topic.partitions.iter().map(|p| format!("{name}{}", p.partition_index)));
                }
                cursor = response.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(cursor, None);
            prop_assert_eq!(seen, ["a0", "a1", "c0", "c1", "c2"]);
        }
    }
}
