//! kill -9 under groups: members stay members of their generation, and no offset that was acknowledged is lost or goes back.

mod support;

use std::{sync::mpsc, thread};

use kafka_wire::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};
use support::{
    admin::create_topic,
    groups::{
        commit, commit_request, connect, fetch_offset, heartbeat_request, join, join_request, sync,
        when_loaded,
    },
    seed::Random,
    server::{Listen, Server},
    wire::Connection,
};

const SETTINGS: &[&str] = &["group.initial.rebalance.delay.ms=0"];
const CYCLES: u64 = 12;

fn members_and_offsets_survive(listen: Listen) {
    let mut server = Server::start_with("group-crash", listen, 2, SETTINGS);
    create_topic(server.bootstrap(), "t", 1, &[]);
    let mut connection = connect(&server, "g");
    let joined = join(&mut connection, &join_request("g", ""));
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let assigned = sync(&mut connection, "g", &joined);
    assert_eq!(assigned.error_code, 0);
    let mut seed = Random::from_environment("CORELANE_CRASH_SEED");
    let mut acknowledged = -1;
    let mut sent = -1;
    for cycle in 0..CYCLES {
        let mut connection = connect(&server, "g");
        let found = fetch_offset(&mut connection, "g", "t");
        assert!(
            (acknowledged..=sent).contains(&found),
            "cycle {cycle}: {acknowledged} was acknowledged, {sent} was sent, {found} is there"
        );
        acknowledged = found;
        let heartbeat = heartbeat_request("g", &joined);
        let alive = when_loaded(
            || connection.exchange(&heartbeat, 4).error_code,
            |code| *code,
        );
        assert_eq!(
            alive, 0,
            "cycle {cycle}: the member is one of its generation"
        );
        let again = sync(&mut connection, "g", &joined);
        assert_eq!(again.assignment, assigned.assignment, "cycle {cycle}");
        // Commits without a pause, so that the kill meets one under way.
        let commits = seed.within(1, 40) as i64;
        let (progress, counted) = mpsc::channel();
        let member = joined.clone();
        let worker = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for offset in found + 1.. {
                let request = commit_request("g", "t", offset, Some(&member));
                let id = connection.put(&request, 9);
                let _ = progress.send(offset);
                match connection.take::<kafka_wire::OffsetCommitRequest>(id, 9) {
                    Some(response) if response.topics[0].partitions[0].error_code == 0 => {
                        acknowledged.push(offset);
                    }
                    _ => return (acknowledged, offset),
                }
            }
            unreachable!("the server is killed")
        });
        let enough = found + commits;
        while counted.recv().expect("the worker commits") < enough {}
        server.kill_9();
        let (done, last) = worker.join().expect("the worker ends");
        acknowledged = done.last().copied().unwrap_or(acknowledged);
        sent = last;
        server.start_again();
    }
    let mut connection = connect(&server, "g");
    assert!(fetch_offset(&mut connection, "g", "t") >= acknowledged);
    assert_eq!(
        commit(&mut connection, "g", "t", sent + 1, Some(&joined)),
        0
    );
}

/// What a member of a consumer group tells when it joins, or when it is not sure what the server knows.
fn consumer_heartbeat(member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let mut request = ConsumerGroupHeartbeatRequest::default();
    request.group_id = "g".into();
    request.member_id = member_id.into();
    request.member_epoch = epoch;
    request.rebalance_timeout_ms = 30_000;
    request.subscribed_topic_names = Some(vec!["t".into()]);
    request.topic_partitions = Some(Vec::new());
    request
}

#[test]
fn members_of_a_consumer_group_keep_their_epochs_assignments_and_offsets() {
    let mut server = Server::start_with("consumer-group-crash", Listen::PerCore, 2, SETTINGS);
    create_topic(server.bootstrap(), "t", 4, &[]);
    let mut connection = connect(&server, "g");
    // Two members: the second one takes what the first one says that it has given up.
    let mut epochs = [0, 0];
    for round in 0..3 {
        for (epoch, id) in epochs.iter_mut().zip(["a", "b"]) {
            let request = consumer_heartbeat(id, *epoch);
            let answer = when_loaded(
                || connection.exchange(&request, 1),
                |answer| answer.error_code,
            );
            assert_eq!(answer.error_code, 0, "round {round}: {answer:?}");
            *epoch = answer.member_epoch;
        }
    }
    let mut describe = ConsumerGroupDescribeRequest::default();
    describe.group_ids = vec!["g".into()];
    let before = connection.exchange(&describe, 1);
    assert_eq!(&*before.groups[0].group_state, "Stable");
    let mut member = kafka_wire::JoinGroupResponse::default();
    member.member_id = "a".into();
    member.generation_id = epochs[0];
    for cycle in 0..CYCLES {
        let offset = i64::try_from(cycle).expect("few cycles");
        assert_eq!(
            commit(&mut connection, "g", "t", offset, Some(&member)),
            0,
            "cycle {cycle}"
        );
        server.kill_9();
        server.start_again();
        connection = connect(&server, "g");
        let after = when_loaded(
            || connection.exchange(&describe, 1),
            |answer| answer.groups[0].error_code,
        );
        assert_eq!(after, before, "cycle {cycle}");
        assert_eq!(fetch_offset(&mut connection, "g", "t"), offset);
        for (epoch, id) in epochs.iter().zip(["a", "b"]) {
            let mut request = ConsumerGroupHeartbeatRequest::default();
            request.group_id = "g".into();
            request.member_id = id.into();
            request.member_epoch = *epoch;
            request.rebalance_timeout_ms = -1;
            let answer = connection.exchange(&request, 1);
            assert_eq!((answer.error_code, answer.member_epoch), (0, *epoch));
            assert_eq!(answer.assignment, None, "nothing changed for it");
        }
    }
}

#[test]
fn members_and_offsets_survive_with_a_node_per_core() {
    members_and_offsets_survive(Listen::PerCore);
}

#[test]
fn members_and_offsets_survive_with_one_port_for_all_cores() {
    members_and_offsets_survive(Listen::Shared);
}

#[test]
fn groups_are_where_they_were_with_another_number_of_cores() {
    let mut server = Server::start_with("group-cores", Listen::PerCore, 2, SETTINGS);
    create_topic(server.bootstrap(), "t", 1, &[]);
    for number in 0..20 {
        let group = format!("g{number}");
        let mut connection = connect(&server, &group);
        assert_eq!(commit(&mut connection, &group, "t", number, None), 0);
    }
    for (listen, cores) in [
        (Listen::Shared, 1),
        (Listen::PerCore, 2),
        (Listen::PerCore, 1),
    ] {
        server.stop();
        server.start_again_with(listen, cores);
        for number in 0..20 {
            let group = format!("g{number}");
            let mut connection = connect(&server, &group);
            assert_eq!(fetch_offset(&mut connection, &group, "t"), number);
        }
    }
}

#[test]
fn every_node_answers_for_every_group() {
    let server = Server::start_with("group-forwarding", Listen::PerCore, 2, SETTINGS);
    create_topic(server.bootstrap(), "t", 1, &[]);
    drop(connect(&server, "any"));
    for (number, address) in (0..8).zip(server.bootstrap().split(',').cycle()) {
        let group = format!("g{number}");
        let mut connection = Connection::open(address);
        let joined = join(&mut connection, &join_request(&group, ""));
        assert_eq!(joined.error_code, 0, "{address}");
        assert_eq!(sync(&mut connection, &group, &joined).error_code, 0);
        assert_eq!(
            commit(&mut connection, &group, "t", number, Some(&joined)),
            0
        );
        for address in server.bootstrap().split(',') {
            let mut other = Connection::open(address);
            assert_eq!(fetch_offset(&mut other, &group, "t"), number);
        }
    }
}
