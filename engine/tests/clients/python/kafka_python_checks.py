"""kafka-python (a client without librdkafka or Java in it) against a broker.

Usage: kafka_python_checks.py BOOTSTRAP [CHECK]...
"""

import threading
from contextlib import closing

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic, OffsetSpec

from checks import eventually, run, same
from samples import CODECS, FIRST_TIMESTAMP_MS, MEBIBYTE, Sample, assert_all_same, pseudo_random
from samples import varied as varied_for_any_client

DEADLINE_MS = 30_000
DEADLINE_S = DEADLINE_MS / 1000


def varied(count=120):
    """This client sends no record that has neither key nor value, and no header without a value."""

    def adapted(sample):
        key = b"tombstone" if sample.key is None and sample.value is None else sample.key
        headers = [(name, b"none" if value is None else value) for name, value in sample.headers]
        return sample._replace(key=key, headers=headers)

    return [adapted(sample) for sample in varied_for_any_client(count)]


def admin_of(broker):
    return closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap))


def producer_of(broker, **settings):
    return closing(KafkaProducer(bootstrap_servers=broker.bootstrap, **{"linger_ms": 5} | settings))


def consumer_of(broker, **settings):
    plain = {"enable_auto_commit": False, "auto_offset_reset": "none", "fetch_max_wait_ms": 20}
    return closing(KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=None, **plain | settings))


def create(broker, purpose, partitions=1, **config):
    name = broker.topic_name(purpose)
    with admin_of(broker) as admin:
        config = {key.replace("_", "."): str(value) for key, value in config.items()}
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        eventually(f"{name} in the metadata", lambda: partition_count(admin, name) == partitions)
    return name


def partition_count(admin, name):
    (topic,) = admin.describe_topics([name])
    return 0 if topic["error_code"] else len(topic["partitions"])


def send(producer, topic, samples, partition=0):
    """Produces and waits; gives the offsets that were acknowledged, in order of sending."""
    futures = [
        producer.send(
            topic,
            value=sample.value,
            key=sample.key,
            headers=sample.headers,
            partition=partition,
            timestamp_ms=sample.timestamp_ms,
        )
        for sample in samples
    ]
    producer.flush(DEADLINE_S)
    return [future.get(DEADLINE_S).offset for future in futures]


def receive(broker, topic, offset, partition=0, **settings):
    """Everything from `offset` to the end of the partition."""
    place = TopicPartition(topic, partition)
    records = []
    with consumer_of(broker, **settings) as consumer:
        consumer.assign([place])
        consumer.seek(place, offset)
        end = consumer.end_offsets([place])[place]
        while consumer.position(place) < end:
            polled = consumer.poll(timeout_ms=DEADLINE_MS)
            assert polled, f"nothing within {DEADLINE_S} s after {len(records)} records of {topic}"
            records.extend(polled[place])
    return records


def as_sample(record):
    return Sample(record.key, record.value, [tuple(header) for header in record.headers], record.timestamp)


def error_of(call):
    """The class of the Kafka error that `call` raises."""
    try:
        call()
    except errors.KafkaError as exception:
        return type(exception)
    raise AssertionError("no error was raised")


def topics_are_created_listed_and_deleted(broker):
    name = create(broker, "admin", 3, retention_ms=3_600_000)
    with admin_of(broker) as admin:
        (described,) = admin.describe_topics([name])
        same(sorted(part["partition_index"] for part in described["partitions"]), [0, 1, 2], "partitions")
        paged = admin.describe_topic_partitions([name])["topics"][0]
        same([part["partition_index"] for part in paged["partitions"]], [0, 1, 2], "described by pages")
        same(str(paged["topic_id"]), str(described["topic_id"]), "topic id in two answers")
        assert name in admin.list_topics()
        twice = error_of(lambda: admin.create_topics([NewTopic(name, 1, 1)]))
        same(twice, errors.TopicAlreadyExistsError, "creating twice")
        admin.delete_topics([name])
        eventually("the topic is gone", lambda: name not in admin.list_topics())
        same(error_of(lambda: admin.delete_topics([name])), errors.UnknownTopicOrPartitionError, "deleting twice")
        cluster = admin.describe_cluster()
        assert cluster["cluster_id"] and cluster["brokers"], f"cluster {cluster!r}"


def impossible_topics_are_refused_as_kafka_does(broker):
    with admin_of(broker) as admin:
        for what, topic, expected in (
            ("a space", NewTopic("not a name", 1, 1), errors.InvalidTopicError),
            ("no partitions", NewTopic(broker.topic_name("none"), 0, 1), errors.InvalidPartitionsError),
            ("30 replicas", NewTopic(broker.topic_name("many"), 1, 30), errors.InvalidReplicationFactorError),
            (
                "an unknown config",
                NewTopic(broker.topic_name("odd"), 1, 1, topic_configs={"no.such": "1"}),
                errors.InvalidConfigurationError,
            ),
        ):
            same(error_of(lambda: admin.create_topics([topic])), expected, what)
        name = broker.topic_name("validated")
        admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)
        assert name not in admin.list_topics(), "validate-only made a topic"


def partitions_are_added(broker):
    name = create(broker, "grow", 1)
    with admin_of(broker) as admin, producer_of(broker) as producer:
        admin.create_partitions({name: 4})
        eventually("four partitions", lambda: partition_count(admin, name) == 4)
        same(send(producer, name, varied(10), partition=3), list(range(10)), "offsets in a new partition")
        fewer = error_of(lambda: admin.create_partitions({name: 2}))
        same(fewer, errors.InvalidPartitionsError, "fewer partitions")


def topic_configs_are_described_and_altered(broker):
    name = create(broker, "config", retention_ms=7_200_000)
    with admin_of(broker) as admin:

        def config(filtered="all"):
            resource = ConfigResource(ConfigResourceType.TOPIC, name)
            return admin.describe_configs([resource], config_filter=filtered)["topic"][name]

        same(config()["retention.ms"]["value"], "7200000", "retention.ms at creation")
        same(set(config("modified")), {"retention.ms"}, "what differs from the defaults")
        change = {"segment.bytes": "16777216", "retention.ms": "3600000"}
        done = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, change)])
        same(done["topic"][name], "OK", "altering")
        eventually("segment.bytes set", lambda: config()["segment.bytes"]["value"] == "16777216")
        same(config()["retention.ms"]["value"], "3600000", "retention.ms altered")
        admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, name, ["retention.ms"])])
        eventually("retention.ms reset", lambda: config()["retention.ms"]["value"] == "604800000")


def every_codec_carries_every_kind_of_record(broker):
    samples = varied()
    for codec in CODECS:
        name = create(broker, f"codec-{codec}")
        with producer_of(broker, compression_type=None if codec == "none" else codec) as producer:
            same(send(producer, name, samples), list(range(len(samples))), f"offsets with {codec}")
        records = receive(broker, name, 0, check_crcs=True)
        same([record.offset for record in records], list(range(len(samples))), f"offsets read with {codec}")
        assert_all_same([as_sample(record) for record in records], samples)


def every_level_of_acknowledgement_works(broker):
    samples = varied(50)
    for acks in (0, 1, "all"):
        name = create(broker, f"acks-{acks}")
        with producer_of(broker, acks=acks, enable_idempotence=False) as producer:
            send(producer, name, samples)
        eventually("all records", lambda: len(receive(broker, name, 0)) == len(samples))
        assert_all_same([as_sample(record) for record in receive(broker, name, 0)], samples)


def an_idempotent_producer_keeps_order_with_five_batches_in_flight(broker):
    name = create(broker, "idempotent", 2)
    samples = [Sample(b"%d" % i, b"%d" % i, [], FIRST_TIMESTAMP_MS + i) for i in range(2000)]
    with producer_of(broker, enable_idempotence=True, batch_size=300, linger_ms=0) as producer:
        for partition in (0, 1):
            same(send(producer, name, samples, partition), list(range(len(samples))), "offsets")
    for partition in (0, 1):
        values = [record.value for record in receive(broker, name, 0, partition)]
        same(values, [sample.value for sample in samples], "values in order")


def records_of_a_mebibyte_are_taken_where_allowed(broker):
    samples = [Sample(b"k", pseudo_random(MEBIBYTE, seed), [], FIRST_TIMESTAMP_MS + seed) for seed in range(3)]
    generous = {"max_request_size": 4 * MEBIBYTE}
    refusing = create(broker, "large-refused")
    with producer_of(broker, **generous) as producer:
        refused = error_of(lambda: send(producer, refusing, samples[:1]))
        same(refused, errors.MessageSizeTooLargeError, "a mebibyte against the default of 1048588")
    taking = create(broker, "large-taken", max_message_bytes=2 * MEBIBYTE)
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        with producer_of(broker, compression_type=codec, **generous) as producer:
            send(producer, taking, samples)
    records = receive(broker, taking, 0, max_partition_fetch_bytes=1000)
    assert_all_same([as_sample(record) for record in records], samples * len(CODECS))


def consuming_starts_at_any_offset(broker):
    name = create(broker, "offsets")
    samples = varied(300)
    with producer_of(broker, batch_size=2000, compression_type="gzip") as producer:
        send(producer, name, samples)
    for start in (0, 1, 42, 150, 298, 299, 300):
        records = receive(broker, name, start)
        same([record.offset for record in records], list(range(start, 300)), f"offsets from {start}")
        assert_all_same([as_sample(record) for record in records], samples[start:])


def offsets_are_found(broker):
    name = create(broker, "times", 2)
    place, empty = TopicPartition(name, 0), TopicPartition(name, 1)
    with producer_of(broker, batch_size=3000, compression_type="lz4") as producer:
        send(producer, name, varied(300))
    with consumer_of(broker) as consumer:
        for timestamp, expected in ((0, 0), (FIRST_TIMESTAMP_MS + 1, 1), (FIRST_TIMESTAMP_MS + 1234, 124)):
            found = consumer.offsets_for_times({place: timestamp})[place]
            same((found.offset, found.timestamp), (expected, FIRST_TIMESTAMP_MS + expected * 10), f"at {timestamp}")
        same(consumer.offsets_for_times({place: FIRST_TIMESTAMP_MS + 2991})[place], None, "after the last")
        same(consumer.beginning_offsets([place, empty]), {place: 0, empty: 0}, "beginnings")
        same(consumer.end_offsets([place, empty]), {place: 300, empty: 0}, "ends")
    with admin_of(broker) as admin:
        for spec, expected in ((OffsetSpec.EARLIEST, 0), (OffsetSpec.LATEST, 300), (OffsetSpec.MAX_TIMESTAMP, 299)):
            same(admin.list_partition_offsets({place: spec})[place].offset, expected, f"{spec}")


def records_are_deleted_below_an_offset(broker):
    name = create(broker, "trimmed")
    place = TopicPartition(name, 0)
    with producer_of(broker) as producer, admin_of(broker) as admin, consumer_of(broker) as consumer:
        send(producer, name, varied(100))
        same(admin.delete_records({place: 42})[place]["low_watermark"], 42, "low watermark")
        same(consumer.beginning_offsets([place])[place], 42, "beginning")
        same([record.offset for record in receive(broker, name, 42)], list(range(42, 100)), "offsets left")
        below = error_of(lambda: receive(broker, name, 41))
        same(below, errors.OffsetOutOfRangeError, "reading below the start")
        same(admin.delete_records({place: -1})[place]["low_watermark"], 100, "all deleted")


def a_waiting_consumer_is_woken_by_a_new_record(broker):
    name = create(broker, "tail")
    place = TopicPartition(name, 0)
    received, ready = [], threading.Event()

    def follow():
        with consumer_of(broker, fetch_max_wait_ms=20_000) as consumer:
            consumer.assign([place])
            consumer.seek(place, 0)
            ready.set()
            while len(received) < 30:
                polled = consumer.poll(timeout_ms=DEADLINE_MS)
                if not polled:
                    return
                received.extend(record.value for record in polled[place])

    follower = threading.Thread(target=follow)
    follower.start()
    ready.wait(DEADLINE_S)
    with producer_of(broker, linger_ms=0) as producer:
        for i in range(30):
            send(producer, name, [Sample(None, b"%d" % i, [], FIRST_TIMESTAMP_MS)])
    follower.join(DEADLINE_S)
    same(received, [b"%d" % i for i in range(30)], "values followed")


def a_topic_is_made_by_its_first_use(broker):
    name = broker.topic_name("auto")
    with producer_of(broker) as producer:
        same(send(producer, name, varied(3)), [0, 1, 2], "offsets")
    same(len(receive(broker, name, 0)), 3, "records")


CHECKS = [
    topics_are_created_listed_and_deleted,
    impossible_topics_are_refused_as_kafka_does,
    partitions_are_added,
    topic_configs_are_described_and_altered,
    every_codec_carries_every_kind_of_record,
    every_level_of_acknowledgement_works,
    an_idempotent_producer_keeps_order_with_five_batches_in_flight,
    records_of_a_mebibyte_are_taken_where_allowed,
    consuming_starts_at_any_offset,
    offsets_are_found,
    records_are_deleted_below_an_offset,
    a_waiting_consumer_is_woken_by_a_new_record,
    a_topic_is_made_by_its_first_use,
]

if __name__ == "__main__":
    run(CHECKS, f"kafka-python {kafka.__version__}")
