//! Takes the client through its paces against any broker of the Kafka protocol and says what it saw.
//!
//! `cargo run -p corelane-net --example probe -- 127.0.0.1:9092`

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corelane_format::kafka::{BatchBuilder, stored_batches};
use corelane_format::{Offset, PartitionIndex, TimestampMs};
use corelane_net::client::{Acks, Cluster, ClusterConfig, NewTopic, OffsetSpec, ProduceOptions};
use corelane_net::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use corelane_net::gather::Gathered;
use corelane_net::produce::{PartitionRecords, TopicRecords, visit_response};
use corelane_net::topic::TopicRef;
use glommio::{LocalExecutorBuilder, Placement};

const TIMEOUT: Duration = Duration::from_secs(10);
const PIPELINED: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).ok_or("usage: probe HOST:PORT")?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .spawn(|| async move { probe(bootstrap).await.map_err(|error| error.to_string()) });
    let outcome = executor?.join();
    Ok(outcome.map_err(|error| error.to_string())??)
}

fn now() -> TimestampMs {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimestampMs::new(since_epoch.as_millis() as i64)
}

async fn probe(bootstrap: String) -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::connect(ClusterConfig::new([bootstrap], "corelane-probe")).await?;
    println!(
        "cluster {:?}, brokers {:?}",
        cluster.cluster_id(),
        cluster.brokers().collect::<Vec<_>>()
    );
    let name = format!("probe-{}", now().get());
    cluster
        .ensure_topic(&NewTopic::new(&name, 2).config("max.message.bytes", "2000000"))
        .await?;
    let topic = cluster.topic(&name).ok_or("the topic is gone")?.clone();
    println!(
        "topic {} {} with {} partitions",
        topic.name,
        topic.id,
        topic.partitions.len()
    );

    let mut builder = BatchBuilder::new();
    for record in 0..100_u32 {
        builder.append(now(), Some(&record.to_be_bytes()), Some(&[7; 100]), &[])?;
    }
    let mut batch = Vec::new();
    builder.finish_into(&mut batch)?;

    let refs = [TopicRef::Name(&name), TopicRef::Id(topic.id)];
    let connection = cluster.leader_connection(&name, 0).await?;
    println!("broker's ranges {:?}", connection.ranges());
    let partitions = [PartitionRecords {
        index: PartitionIndex::new(0),
        records: &batch[..],
    }];
    for topic in refs {
        let (sender, _) = connection.halves();
        let version = sender.produce_version(matches!(topic, TopicRef::Id(_)));
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let options = ProduceOptions {
                acks,
                ..ProduceOptions::default()
            };
            let topics = [TopicRecords {
                topic,
                partitions: &partitions,
            }];
            let response = connection.produce(&options, &topics, TIMEOUT).await?;
            let outcome = response
                .as_ref()
                .map(|response| response.partitions[0].1.outcome);
            println!("produce {version:?} by {topic} {acks:?}: {outcome:?}");
        }
    }

    let (sender, receiver) = connection.halves();
    let mut message = Gathered::default();
    let mut sent = Vec::new();
    for _ in 0..PIPELINED {
        let topics = [TopicRecords {
            topic: refs[0],
            partitions: &partitions,
        }];
        sent.push(sender.encode_produce(&mut message, &ProduceOptions::default(), &topics)?);
    }
    sender.send(&message).await?;
    let mut last = Offset::new(-1);
    for sent in sent {
        let incoming = receiver.receive().await?;
        visit_response(incoming.body_of(&sent)?, sent.version, |_, partition| {
            last = partition.outcome.base_offset;
        })?;
    }
    println!("{PIPELINED} pipelined requests, the last at offset {last}");

    let mut response = FetchResponse::default();
    for topic in refs {
        let mut offset = Offset::ZERO;
        let mut requests = 0;
        let mut records = 0;
        loop {
            let partition = FetchPartition::new(PartitionIndex::new(0), offset, 1 << 20);
            let request = FetchRequest {
                topics: vec![FetchTopic {
                    topic: topic.to_key(),
                    partitions: vec![partition],
                }],
                ..FetchRequest::default()
            };
            let body = connection.fetch(&request, &mut response, TIMEOUT).await?;
            requests += 1;
            let partition = response
                .partitions
                .first()
                .ok_or("no partition in the response")?;
            if !partition.data.error.is_none() {
                return Err(partition.data.error.into());
            }
            for stored in stored_batches(&body[partition.records.clone()]) {
                let header = *stored?.header();
                records += header.records_count;
                offset = header.last_offset().plus(1);
            }
            if offset >= partition.data.high_watermark {
                break;
            }
        }
        println!("fetched {records} records up to {offset} by {topic} in {requests} requests");
    }
    let specs = [
        OffsetSpec::Earliest,
        OffsetSpec::Latest,
        OffsetSpec::MaxTimestamp,
        OffsetSpec::Timestamp(now()),
    ];
    for spec in specs {
        println!("{spec:?}: {:?}", cluster.list_offset(&name, 0, spec).await?);
    }
    cluster.delete_topic(&name).await?;
    let error = cluster.create_topic(&NewTopic::new("bad name", 1)).await;
    println!(
        "deleted; a bad name is {:?}",
        error.map_err(|error| error.to_string())
    );
    Ok(())
}
