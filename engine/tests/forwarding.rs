//! A request that reaches the wrong lane is forwarded, never refused: every node serves every partition.

mod support;

use support::{
    admin::create_topic,
    batch::Batch,
    server::{Listen, Server, is_kafka},
    wire::{Connection, Produced},
};

const PARTITIONS: i32 = 6;

fn every_connection_serves_every_partition(listen: Listen) {
    if is_kafka() {
        // Kafka refuses instead (NOT_LEADER_OR_FOLLOWER): there is nothing to compare with.
        return;
    }
    let server = Server::start("forwarding", listen);
    create_topic(server.bootstrap(), "spread", PARTITIONS, &[]);
    // Where all cores share a port, the kernel chooses the core: several connections meet several.
    for (offset, address) in (0..8).zip(server.bootstrap().split(',').cycle()) {
        let mut connection = Connection::open(address);
        let batch = Batch::of(&[format!("{offset} through {address}").as_bytes()]).encode();
        for partition in 0..PARTITIONS {
            let produced = connection.produce("spread", partition, &batch);
            assert_eq!(produced, Produced::at(offset), "{address}, {partition}");
            let (error_code, high_watermark, records) =
                connection.fetch("spread", partition, offset);
            assert_eq!(
                (error_code, high_watermark),
                (0, offset + 1),
                "{address}, {partition}"
            );
            // All but what the server stamps: base offset and leader epoch.
            assert_eq!(
                records[16..],
                batch[16..],
                "{address}, {partition}: the batch read"
            );
            assert_eq!(
                connection.list_offset("spread", partition, -1),
                (0, -1, offset + 1),
                "{address}, {partition}"
            );
        }
    }
}

#[test]
fn every_node_serves_every_partition() {
    every_connection_serves_every_partition(Listen::PerCore);
}

#[test]
fn every_connection_to_the_shared_port_serves_every_partition() {
    every_connection_serves_every_partition(Listen::Shared);
}
