//! Topics that come into being because somebody asked for their metadata.

use corelane_net::error_code::ErrorCode;
use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire_core::StrBytes;

use super::create_topics::create_topic;
use super::planner::Planner;
use super::{Decision, Defaults};
use crate::metadata::image::MetadataImage;
use crate::metadata::nodes::Nodes;
use crate::metadata::topic_id_source::TopicIdSource;

/// Decides on creating topics with the server's defaults. Internal topics get the settings they need.
///
/// Answers with the topics that were refused, and why. Topics that exist meanwhile are left as they are.
pub fn auto_create_topics(
    names: &[String],
    image: &MetadataImage,
    defaults: &Defaults,
    nodes: &Nodes,
    ids: &mut impl TopicIdSource,
) -> Decision<Vec<(String, ErrorCode)>> {
    let mut planner = Planner::new(image, defaults, nodes);
    let mut refused = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if image.topic(name).is_some() || !seen.insert(name) {
            continue;
        }
        let topic = topic_with_defaults(name, defaults);
        if let Err(rejection) = create_topic(&topic, image, defaults, &mut planner, ids) {
            refused.push((name.clone(), rejection.code));
        }
    }
    (planner.into_records(), refused)
}

fn topic_with_defaults(name: &str, defaults: &Defaults) -> CreatableTopic {
    let broker = &defaults.broker;
    let number = |setting: &str| i32::try_from(broker.integer(setting)).unwrap_or(i32::MAX);
    let (partitions, configs) = match name {
        "__consumer_offsets" => (
            number("offsets.topic.num.partitions"),
            internal_configs(broker.integer("offsets.topic.segment.bytes")),
        ),
        "__transaction_state" => (
            number("transaction.state.log.num.partitions"),
            internal_configs(broker.integer("transaction.state.log.segment.bytes")),
        ),
        _ => (-1, Vec::new()),
    };
    let mut topic = CreatableTopic::default();
    topic.name = StrBytes::from(name);
    topic.num_partitions = partitions;
    topic.replication_factor = -1;
    topic.configs = configs
        .into_iter()
        .map(|(config, value)| {
            let mut setting = CreatableTopicConfig::default();
            setting.name = StrBytes::from(config);
            setting.value = Some(StrBytes::from(value));
            setting
        })
        .collect();
    topic
}

fn internal_configs(segment_size_bytes: i64) -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", segment_size_bytes.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CleanupPolicy;
    use crate::metadata::test_support::{applied, counting_ids, image_of, nodes};

    #[test]
    fn topics_get_the_servers_defaults_and_internal_ones_what_they_need() {
        let mut defaults = Defaults::default();
        defaults.broker.set("num.partitions", "3").unwrap();
        defaults
            .broker
            .set("offsets.topic.num.partitions", "5")
            .unwrap();
        let names = ["a", "a", "__consumer_offsets"].map(str::to_owned);
        let image = image_of(Some(2), &[]);
        let (records, refused) =
            auto_create_topics(&names, &image, &defaults, &nodes(2), &mut counting_ids());
        assert_eq!(refused, []);
        let image = applied(&image, &records);
        assert_eq!(image.topics_total(), 2);
        assert_eq!(image.topic("a").unwrap().partitions.len(), 3);
        assert!(image.topic("a").unwrap().configs.is_empty());
        let offsets = image.topic("__consumer_offsets").unwrap();
        assert_eq!(offsets.partitions.len(), 5);
        let config = image.topic_config(offsets.id);
        assert_eq!(
            config.cleanup_policy,
            CleanupPolicy {
                delete: false,
                compact: true
            }
        );
        assert_eq!(config.segment_size_bytes, 104_857_600);
    }

    #[test]
    fn what_cannot_be_created_is_named_with_its_code() {
        let mut defaults = Defaults::default();
        defaults.limits.partitions_max = 2;
        let image = image_of(Some(1), &[("a.b", &[0])]);
        let names = ["a_b", "no/name", "a.b", "c", "d"].map(str::to_owned);
        let (records, refused) =
            auto_create_topics(&names, &image, &defaults, &nodes(1), &mut counting_ids());
        assert_eq!(
            refused,
            [
                ("a_b".to_owned(), ErrorCode::InvalidTopicException),
                ("no/name".to_owned(), ErrorCode::InvalidTopicException),
                ("d".to_owned(), ErrorCode::PolicyViolation),
            ]
        );
        assert_eq!(applied(&image, &records).topics_total(), 2);
    }
}
