//! What the image promises, record by record.

use proptest::prelude::*;

use super::image::*;
use super::record::MetadataRecord;
use corelane_format::ids::{LeaderEpoch, LogId, PartitionIndex, ProducerId, TopicId};

fn id(seed: u8) -> TopicId {
    TopicId::new([seed; 16])
}

fn topic(seed: u8, name: &str) -> MetadataRecord {
    MetadataRecord::Topic {
        id: id(seed),
        name: name.to_owned(),
    }
}

fn partition(seed: u8, index: i32, log_id: u64, lane: usize) -> MetadataRecord {
    MetadataRecord::Partition {
        topic_id: id(seed),
        index: PartitionIndex::new(index),
        log_id: LogId::new(log_id),
        lane,
        leader_epoch: LeaderEpoch::new(0),
    }
}

fn moved(seed: u8, index: i32, lane: usize, epoch: i32) -> MetadataRecord {
    MetadataRecord::PartitionLane {
        topic_id: id(seed),
        index: PartitionIndex::new(index),
        lane,
        leader_epoch: LeaderEpoch::new(epoch),
    }
}

fn remove(seed: u8) -> MetadataRecord {
    MetadataRecord::RemoveTopic { topic_id: id(seed) }
}

fn image(records: &[MetadataRecord]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for record in records {
        image.apply(record).unwrap();
    }
    image
}

/// What is counted for each lane would take memory by a number in a record; after the last log id there would be no next.
#[test]
fn lanes_and_log_ids_that_nothing_can_follow_are_refused() {
    let sound = [topic(1, "a"), partition(1, 0, 1, 65_535)];
    for bad in [
        MetadataRecord::Lanes { count: usize::MAX },
        MetadataRecord::Lanes { count: 65_537 },
        partition(1, 1, 2, 65_536),
        partition(1, 1, 2, usize::MAX),
        moved(1, 0, usize::MAX, 1),
        partition(1, 1, u64::MAX, 0),
    ] {
        let mut image = image(&sound);
        image.apply(&bad).unwrap_err();
        assert_eq!(image.lane_loads().len(), 65_536, "{bad}");
        assert_eq!(
            image.partition(id(1), PartitionIndex::new(0)).unwrap().lane,
            65_535
        );
        assert_eq!(image.next_log_id(), LogId::new(2));
        image.apply(&partition(1, 1, 2, 0)).unwrap();
    }
}

#[test]
fn topics_are_found_by_name_and_by_id() {
    let image = image(&[
        topic(1, "b"),
        topic(2, "a"),
        partition(1, 0, 1, 3),
        partition(1, 1, 2, 0),
    ]);
    assert_eq!(image.topic("b").unwrap().id, id(1));
    assert_eq!(image.topic_by_id(id(2)).unwrap().name, "a");
    let second = image.partition(id(1), PartitionIndex::new(1)).unwrap();
    assert_eq!((second.log_id, second.lane), (LogId::new(2), 0));
    for missing in [-1, 2, i32::MAX] {
        assert_eq!(image.partition(id(1), PartitionIndex::new(missing)), None);
    }
    let names = |topics: Vec<&TopicMeta>| {
        topics
            .into_iter()
            .map(|t| t.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(image.topics().collect()), ["a", "b"]);
    assert_eq!(names(image.topics_from("aa").collect()), ["b"]);
    assert_eq!((image.topics_total(), image.partitions_total()), (2, 2));
    assert_eq!(image.lane_loads(), [1, 0, 0, 1]);
    assert_eq!(image.next_log_id(), LogId::new(3));
}

#[test]
fn a_deleted_topic_leaves_nothing_but_its_ids() {
    let mut image = image(&[topic(1, "a.b"), partition(1, 0, 5, 1), remove(1)]);
    assert!(image.topic("a.b").is_none() && image.topic_by_id(id(1)).is_none());
    assert_eq!((image.topics_total(), image.partitions_total()), (0, 0));
    assert_eq!(image.lane_loads(), [0, 0]);
    assert_eq!(image.colliding_topic("a_b"), None);
    assert!(image.knows_topic_id(id(1)));
    assert_eq!(image.next_log_id(), LogId::new(6));
    image.apply(&topic(2, "a.b")).unwrap();
    assert_eq!(image.topic("a.b").unwrap().partitions, []);
}

#[test]
fn records_that_do_not_follow_are_refused_and_change_nothing() {
    let before = [
        topic(1, "one"),
        partition(1, 0, 4, 0),
        moved(1, 0, 2, 3),
        topic(2, "two"),
        remove(2),
        MetadataRecord::ProducerIds {
            next: ProducerId::new(1000),
        },
    ];
    let table: Vec<(MetadataRecord, &str)> = vec![
        (MetadataRecord::Lanes { count: 0 }, "lanes to 0"),
        (topic(1, "other"), "is or was in use"),
        (topic(2, "other"), "is or was in use"),
        (topic(0, "other"), "is or was in use"),
        (topic(3, "one"), "name \"one\" is in use"),
        (topic(3, "a/b"), "no topic name"),
        (partition(9, 0, 9, 0), "there is no topic"),
        (partition(1, 2, 9, 0), "partition 2"),
        (partition(1, 0, 9, 0), "partition 0"),
        (partition(1, -1, 9, 0), "partition -1"),
        (partition(1, 1, 4, 0), "log id 4"),
        (partition(1, 1, 0, 0), "log id 0"),
        (moved(1, 0, 1, 2), "leader epoch 2"),
        (moved(1, 1, 1, 9), "partition 1"),
        (remove(2), "there is no topic"),
        (
            MetadataRecord::TopicConfig {
                topic_id: id(2),
                name: "x".into(),
                value: None,
            },
            "there is no topic",
        ),
        (
            MetadataRecord::ProducerIds {
                next: ProducerId::new(999),
            },
            "producer id 999 is below 1000",
        ),
    ];
    for (record, expected) in table {
        let mut image = image(&before);
        let untouched = format!("{image:?}").len();
        let message = image.apply(&record).unwrap_err().to_string();
        assert!(message.contains(expected), "{record}: {message}");
        assert_eq!(format!("{image:?}").len(), untouched, "{record}");
        assert_eq!(image.lane_loads(), [0, 0, 1]);
    }
}

#[test]
fn a_topics_settings_are_its_own_over_the_servers() {
    let mut image = image(&[topic(1, "a")]);
    let set = |value: Option<&str>| MetadataRecord::TopicConfig {
        topic_id: id(1),
        name: "retention.ms".into(),
        value: value.map(str::to_owned),
    };
    image.apply(&set(Some("5"))).unwrap();
    assert_eq!(image.topic_config(id(1)).retention_ms, Some(5));
    image.apply(&set(None)).unwrap();
    assert_eq!(image.topic_config(id(1)), *image.topic_defaults());
    assert!(image.topic("a").unwrap().configs.is_empty());
}

#[test]
fn names_that_differ_in_dots_and_underscores_collide() {
    let image = image(&[topic(1, "a.b_c"), topic(2, "plain")]);
    assert_eq!(image.colliding_topic("a_b.c"), Some("a.b_c"));
    assert_eq!(image.colliding_topic("a.b_c"), None);
    assert_eq!(image.colliding_topic("plain"), None);
}

#[derive(Clone, Debug)]
enum Step {
    Create { topic: u8, partitions: u8, lane: u8 },
    Remove { topic: u8 },
    Move { topic: u8, index: u8, lane: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..40_u8, 0..5_u8, 0..6_u8).prop_map(|(topic, partitions, lane)| Step::Create {
            topic,
            partitions,
            lane
        }),
        (1..40_u8).prop_map(|topic| Step::Remove { topic }),
        (1..40_u8, 0..5_u8, 0..6_u8).prop_map(|(topic, index, lane)| Step::Move {
            topic,
            index,
            lane
        }),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever was tried, the image counts what it holds, and a replay of what it accepted gives the same image.
    #[test]
    fn counts_agree_with_the_topics_and_a_replay_is_the_same(steps in steps()) {
        let mut image = MetadataImage::default();
        let mut accepted = Vec::new();
        let mut log_id = 0;
        for step in steps {
            let records = match step {
                Step::Create { topic: seed, partitions, lane } => {
                    let mut records = vec![topic(seed, &format!("t.{}", seed % 20))];
                    for index in 0..partitions {
                        log_id += 1;
                        records.push(partition(seed, index.into(), log_id, lane.into()));
                    }
                    records
                }
                Step::Remove { topic } => vec![remove(topic)],
                Step::Move { topic, index, lane } => {
                    let epoch = image.partition(id(topic), PartitionIndex::new(index.into()))
                        .map_or(0, |p| p.leader_epoch.get() + 1);
                    vec![moved(topic, index.into(), lane.into(), epoch)]
                }
            };
            for record in records {
                if image.apply(&record).is_ok() {
                    accepted.push(record);
                }
            }
        }
        let mut loads = vec![0; image.lane_loads().len()];
        let mut log_ids = Vec::new();
        for topic in image.topics() {
            prop_assert_eq!(image.topic(&topic.name), Some(topic));
            for partition in &topic.partitions {
                loads[partition.lane] += 1;
                log_ids.push(partition.log_id);
            }
        }
        prop_assert_eq!(&loads[..], image.lane_loads());
        prop_assert_eq!(log_ids.len(), image.partitions_total());
        log_ids.sort_unstable();
        log_ids.dedup();
        prop_assert_eq!(log_ids.len(), image.partitions_total());
        prop_assert_eq!(image.topics().count(), image.topics_total());

        let mut replayed = MetadataImage::default();
        for record in &accepted {
            let decoded = MetadataRecord::decode(&record.encode()).unwrap();
            replayed.apply(&decoded).unwrap();
        }
        let topics = |image: &MetadataImage| image.topics().cloned().collect::<Vec<_>>();
        prop_assert_eq!(topics(&replayed), topics(&image));
        prop_assert_eq!(replayed.next_log_id(), image.next_log_id());
    }
}

#[test]
fn tens_of_thousands_of_partitions_are_applied_and_cloned() {
    let mut image = MetadataImage::default();
    let mut log_id = 0;
    for number in 0..2_000_u16 {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let topic_id = TopicId::new(bytes);
        image
            .apply(&MetadataRecord::Topic {
                id: topic_id,
                name: format!("topic-{number}"),
            })
            .unwrap();
        for index in 0..20 {
            log_id += 1;
            image
                .apply(&MetadataRecord::Partition {
                    topic_id,
                    index: PartitionIndex::new(index),
                    log_id: LogId::new(log_id),
                    lane: (log_id % 8) as usize,
                    leader_epoch: LeaderEpoch::new(0),
                })
                .unwrap();
        }
    }
    let copy = image.clone();
    assert_eq!(copy.partitions_total(), 40_000);
    assert_eq!(copy.lane_loads(), [5_000; 8]);
    assert_eq!(copy.topic("topic-1999").unwrap().partitions.len(), 20);
}
