//! Clients that leave in the middle of things, and things that leave in the middle of a client's wait.

mod support;

use support::{
    admin::{create_topic, metadata},
    server::{Listen, Server, is_kafka},
    wire::{Connection, frame, put_string, request},
};

const FETCH: i16 = 1;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// CreateTopics version 2 for one topic of one partition.
fn create_body(name: &str) -> Vec<u8> {
    let mut body = 1_i32.to_be_bytes().to_vec();
    put_string(name, &mut body);
    body.extend(1_i32.to_be_bytes());
    body.extend(1_i16.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    body.push(0);
    body
}

/// A decision that is durable but was not applied would be contradicted by the next one, and the metadata could not be
/// read at the next start.
#[test]
fn a_client_that_leaves_while_its_topic_is_made_leaves_sound_metadata() {
    let mut server = Server::start_with("abandoned", Listen::PerCore, 1, &[]);
    for round in 0..40 {
        let name = format!("abandoned-{round}");
        let mut leaving = Connection::open(server.address());
        leaving.send_raw(&frame(&request(CREATE_TOPICS, 2, 1, &create_body(&name))));
        drop(leaving);
        // The same again, by somebody who stays: it is there, or it is made now.
        let mut staying = Connection::open(server.address());
        let body = staying.ask(CREATE_TOPICS, 2, &create_body(&name)).body();
        assert!(body.len() > 8, "{name}: no answer");
    }
    server.kill_9();
    server.start_again();
    let topics = metadata(server.bootstrap()).topics().len();
    assert_eq!(topics, 40, "topics after a restart");
    server.stop();
}

/// Fetch version 4 from the start of a partition, waiting for a minute.
fn patient_fetch_body(topic: &str) -> Vec<u8> {
    let mut body = (-1_i32).to_be_bytes().to_vec();
    body.extend(60_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend((1_i32 << 20).to_be_bytes());
    body.push(0);
    body.extend(1_i32.to_be_bytes());
    put_string(topic, &mut body);
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(0_i64.to_be_bytes());
    body.extend((1_i32 << 20).to_be_bytes());
    body
}

/// The wait ends with the topic, and the lane goes on serving: a wait that finds its log closed must not spin.
#[test]
fn a_long_poll_ends_when_its_topic_is_deleted() {
    if is_kafka() {
        // Kafka answers at the end of the wait.
        return;
    }
    let mut server = Server::start_with("deleted-under-poll", Listen::PerCore, 1, &[]);
    create_topic(server.bootstrap(), "short-lived", 1, &[]);
    let mut waiting = Connection::open(server.address());
    waiting.send_raw(&frame(&request(
        FETCH,
        4,
        1,
        &patient_fetch_body("short-lived"),
    )));
    let mut deleting = Connection::open(server.address());
    let mut body = 1_i32.to_be_bytes().to_vec();
    put_string("short-lived", &mut body);
    body.extend(30_000_i32.to_be_bytes());
    deleting.ask(DELETE_TOPICS, 1, &body).body();
    let answer = waiting.receive(1).body();
    // Throttle time, topics, name, partitions, index, then the error.
    let at = 4 + 4 + 2 + "short-lived".len() + 4 + 4;
    let error_code = i16::from_be_bytes([answer[at], answer[at + 1]]);
    assert_eq!(error_code, UNKNOWN_TOPIC_OR_PARTITION);
    server.stop();
}
