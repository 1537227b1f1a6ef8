//! What is answered when the disk's reserve is reached, whatever the disk: here the reserve is more than any disk has. And what
//! operators are told of it over HTTP.

mod support;

use std::{net::TcpListener, sync::mpsc};

use rdkafka::{
    ClientContext,
    error::RDKafkaErrorCode,
    message::DeliveryResult,
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};
use support::{
    admin::{self, create_topic, watermarks},
    batch::Batch,
    http, ports,
    server::{Listen, Server, is_kafka},
    wire::{Answer, Connection, PRODUCE, produce_body},
};

const KAFKA_STORAGE_ERROR: i16 = 56;

/// Tells why each record was not delivered.
struct Outcomes(mpsc::Sender<Option<RDKafkaErrorCode>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let error = result.as_ref().err();
        let _ = self
            .0
            .send(error.and_then(|(error, _)| error.rdkafka_error_code()));
    }
}

#[test]
fn produces_are_refused_with_kafkas_error_and_the_rest_is_served() {
    if is_kafka() {
        return;
    }
    let admin_address = format!("127.0.0.1:{}", ports::free_in_a_row(1));
    let listen = format!("admin_address={admin_address}");
    let settings = ["reserve_bytes=1000TiB", &listen];
    let mut server = Server::start_with("no-room", Listen::PerCore, 2, &settings);
    create_topic(server.bootstrap(), "t", 2, &[]);
    let batch = Batch::of(&[b"a record"]).encode();
    for address in server.bootstrap().split(',') {
        let mut connection = Connection::open(address);
        for partition in 0..2 {
            let produced = connection.produce("t", partition, &batch);
            assert_eq!(produced.error_code, KAFKA_STORAGE_ERROR, "{address}");
            assert_eq!(connection.fetch("t", partition, 0), (0, 0, Vec::new()));
        }
        // Kafka's way to tell who wants no answer.
        let unanswered = connection.ask(PRODUCE, 3, &produce_body("t", 0, 0, &batch));
        assert_eq!(unanswered, Answer::Closed);
    }
    assert_eq!(watermarks(server.bootstrap(), "t", 0), (0, 0));

    // A client tries again until its own time is over.
    let (outcomes, outcome) = mpsc::channel();
    let client: ThreadedProducer<Outcomes> = admin::settings(server.bootstrap())
        .set("message.timeout.ms", "1500")
        .create_with_context(Outcomes(outcomes))
        .expect("a producer");
    let record = BaseRecord::<(), str>::to("t").partition(0).payload("x");
    client
        .send(record)
        .map_err(|(error, _)| error)
        .expect("queued");
    let error = outcome.recv_timeout(admin::DEADLINE).expect("an outcome");
    assert_eq!(error, Some(RDKafkaErrorCode::MessageTimedOut));
    drop(client);

    let metric = |name: &str| http::metric(&admin_address, &format!("corelane_{name}"));
    admin::wait_until("refusals are counted", || {
        metric("produces_refused_total") >= 7
    });
    assert_eq!(metric("disk_room"), 2, "nothing but metadata");
    assert_eq!(metric("disk_shortages_total"), 1);
    assert_eq!(metric("disk_ballast_bytes"), 0);
    assert!(metric("partitions") >= 2);
    let (status, body) = http::get(&admin_address, "/readyz");
    assert!(status == 200 && body.contains("short of space"), "{body}");

    server.stop();
    server.set("reserve_bytes=0");
    server.start_again();
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.produce("t", 0, &batch).error_code, 0);
    admin::wait_until("the batch is counted", || {
        metric("appended_batches_total") > 0
    });
    assert_eq!(
        http::get(&admin_address, "/readyz"),
        (200, "ready\n".to_owned())
    );
    assert_eq!(http::get(&admin_address, "/healthz").0, 200);
    assert_eq!(metric("disk_room"), 0);
    assert_eq!(metric("disk_reserve_bytes"), 0);
    assert!(metric("connections") > 0);

    // An address that is asked for must be free.
    server.stop();
    let _taken = TcpListener::bind(&admin_address).expect("free again");
    assert!(server.fails_to_start().contains("--admin-address"));
}
