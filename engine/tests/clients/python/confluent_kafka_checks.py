"""confluent-kafka (librdkafka) against a broker: administration, producing, consuming by assignment.

Usage: confluent_kafka_checks.py BOOTSTRAP [CHECK]...
"""

import threading

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from checks import eventually, run, same
from samples import CODECS, FIRST_TIMESTAMP_MS, MEBIBYTE, Sample, assert_all_same, pseudo_random, varied

DEADLINE_S = 30.0


def admin_of(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def producer_of(broker, **settings):
    plain = {"bootstrap.servers": broker.bootstrap, "linger.ms": 5}
    plain.update({name.replace("_", "."): value for name, value in settings.items()})
    return Producer(plain)


def consumer_of(broker, **settings):
    plain = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": "never-joined",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 20,
    }
    plain.update({name.replace("_", "."): value for name, value in settings.items()})
    return Consumer(plain)


def create(broker, purpose, partitions=1, **config):
    name = broker.topic_name(purpose)
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    admin = admin_of(broker)
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(DEADLINE_S)
    eventually(f"{name} in the metadata", lambda: partition_count(admin, name) == partitions)
    return name


def partition_count(admin, name):
    topic = admin.list_topics(name, timeout=DEADLINE_S).topics[name]
    return 0 if topic.error else len(topic.partitions)


def send(producer, topic, samples, partition=0):
    """Produces and waits; gives the offsets that were acknowledged, in order of sending."""
    offsets, errors = {}, []

    def delivered(index, error, message):
        if error:
            errors.append(error)
        else:
            offsets[index] = message.offset()

    for index, sample in enumerate(samples):
        producer.produce(
            topic,
            value=sample.value,
            key=sample.key,
            headers=sample.headers,
            partition=partition,
            timestamp=sample.timestamp_ms,
            on_delivery=lambda error, message, index=index: delivered(index, error, message),
        )
        producer.poll(0)
    left = producer.flush(DEADLINE_S)
    if errors:
        raise KafkaException(errors[0])
    same(left, 0, "records still unsent")
    return [offsets[index] for index in range(len(samples))]


def receive_messages(broker, topic, offset, partition=0, **settings):
    """Everything from `offset` to the end of the partition."""
    consumer = consumer_of(broker, **settings)
    messages = []
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        while True:
            message = consumer.poll(DEADLINE_S)
            assert message is not None, f"nothing within {DEADLINE_S} s after {len(messages)} records of {topic}"
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    return messages
                raise KafkaException(message.error())
            messages.append(message)
    finally:
        consumer.close()


def as_sample(message):
    return Sample(message.key(), message.value(), message.headers() or [], message.timestamp()[1])


def error_code(call):
    """The Kafka error that `call` raises."""
    try:
        call()
    except KafkaException as exception:
        return exception.args[0].code()
    raise AssertionError("no error was raised")


def topics_are_created_listed_and_deleted(broker):
    admin = admin_of(broker)
    name = create(broker, "admin", 3, retention_ms=3_600_000)
    described = admin.describe_topics(TopicCollection([name]))[name].result(DEADLINE_S)
    same(described.name, name, "described name")
    same([partition.id for partition in described.partitions], [0, 1, 2], "described partitions")
    assert all(partition.leader is not None for partition in described.partitions), "a partition without a leader"
    assert name in admin.list_topics(timeout=DEADLINE_S).topics
    same(
        error_code(lambda: admin.create_topics([NewTopic(name, 1, 1)])[name].result(DEADLINE_S)),
        KafkaError.TOPIC_ALREADY_EXISTS,
        "creating twice",
    )
    admin.delete_topics([name])[name].result(DEADLINE_S)
    eventually("the topic is gone", lambda: name not in admin.list_topics(timeout=DEADLINE_S).topics)
    same(
        error_code(lambda: admin.delete_topics([name])[name].result(DEADLINE_S)),
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        "deleting twice",
    )


def a_deleted_topic_comes_back_empty(broker):
    admin = admin_of(broker)
    name = create(broker, "again")
    send(producer_of(broker), name, [Sample(None, b"old", [], FIRST_TIMESTAMP_MS)])
    admin.delete_topics([name])[name].result(DEADLINE_S)
    eventually("the topic is gone", lambda: name not in admin.list_topics(timeout=DEADLINE_S).topics)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(DEADLINE_S)
    eventually("the topic is back", lambda: partition_count(admin, name) == 1)
    same(send(producer_of(broker), name, [Sample(None, b"new", [], FIRST_TIMESTAMP_MS)]), [0], "first offset")
    same([message.value() for message in receive_messages(broker, name, 0)], [b"new"], "values")


def impossible_topics_are_refused_as_kafka_does(broker):
    admin = admin_of(broker)

    def creating(name, partitions=1, replication=1, config=None, validate_only=False):
        topic = NewTopic(name, partitions, replication, config=config or {})
        return admin.create_topics([topic], validate_only=validate_only)[name].result(DEADLINE_S)

    name = broker.topic_name("refused")
    same(error_code(lambda: creating("not a name")), KafkaError.TOPIC_EXCEPTION, "a space in the name")
    same(error_code(lambda: creating("x" * 250)), KafkaError.TOPIC_EXCEPTION, "a name of 250 characters")
    same(error_code(lambda: creating("..")), KafkaError.TOPIC_EXCEPTION, "two dots")
    same(error_code(lambda: creating(name, 0)), KafkaError.INVALID_PARTITIONS, "no partitions")
    same(error_code(lambda: creating(name, 1, 30)), KafkaError.INVALID_REPLICATION_FACTOR, "30 replicas")
    same(error_code(lambda: creating(name, config={"no.such": "1"})), KafkaError.INVALID_CONFIG, "unknown config")
    same(error_code(lambda: creating(name, config={"segment.bytes": "x"})), KafkaError.INVALID_CONFIG, "bad number")
    creating(name, validate_only=True)
    assert name not in admin.list_topics(timeout=DEADLINE_S).topics, "validate-only made a topic"


def partitions_are_added(broker):
    admin = admin_of(broker)
    name = create(broker, "grow", 1)
    admin.create_partitions([NewPartitions(name, 4)])[name].result(DEADLINE_S)
    eventually("four partitions", lambda: partition_count(admin, name) == 4)
    same(send(producer_of(broker), name, varied(10), partition=3), list(range(10)), "offsets in a new partition")
    same(
        error_code(lambda: admin.create_partitions([NewPartitions(name, 2)])[name].result(DEADLINE_S)),
        KafkaError.INVALID_PARTITIONS,
        "fewer partitions",
    )


def topic_configs_are_described_and_altered(broker):
    admin = admin_of(broker)
    name = create(broker, "config", retention_ms=7_200_000)
    resource = ConfigResource(ResourceType.TOPIC, name)

    def config():
        return admin.describe_configs([resource])[resource].result(DEADLINE_S)

    before = config()
    same(before["retention.ms"].value, "7200000", "retention.ms at creation")
    same(before["retention.ms"].is_default, False, "retention.ms is default")
    same(before["cleanup.policy"].value, "delete", "cleanup.policy")
    same(before["max.message.bytes"].value, "1048588", "max.message.bytes")
    for known in ("segment.bytes", "retention.bytes", "flush.messages", "flush.ms", "message.timestamp.type"):
        assert known in before, f"{known} is not described"

    def alter(operation, key, value=None):
        change = ConfigEntry(key, value, incremental_operation=operation)
        altered = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[change])
        admin.incremental_alter_configs([altered])[altered].result(DEADLINE_S)

    alter(AlterConfigOpType.SET, "max.message.bytes", "2097152")
    alter(AlterConfigOpType.APPEND, "cleanup.policy", "compact")
    alter(AlterConfigOpType.DELETE, "retention.ms")
    eventually("the last change is seen", lambda: config()["retention.ms"].value == "604800000")
    after = config()
    same(after["max.message.bytes"].value, "2097152", "max.message.bytes after set")
    same(after["cleanup.policy"].value, "delete,compact", "cleanup.policy after append")
    same(
        error_code(lambda: alter(AlterConfigOpType.SET, "no.such.config", "1")),
        KafkaError.INVALID_CONFIG,
        "an unknown config",
    )


def the_broker_describes_itself_and_its_configs(broker):
    admin = admin_of(broker)
    cluster = admin.describe_cluster(request_timeout=DEADLINE_S).result(DEADLINE_S)
    assert cluster.cluster_id, "no cluster id"
    assert cluster.nodes and cluster.controller is not None, "no nodes or no controller"
    resource = ConfigResource(ResourceType.BROKER, str(cluster.nodes[0].id))
    configs = admin.describe_configs([resource])[resource].result(DEADLINE_S)
    same(configs["default.replication.factor"].value, "1", "default.replication.factor")
    same(configs["num.partitions"].value, "1", "num.partitions")


def every_codec_carries_every_kind_of_record(broker):
    for codec in CODECS:
        name = create(broker, f"codec-{codec}")
        samples = varied()
        offsets = send(producer_of(broker, compression_type=codec), name, samples)
        same(offsets, list(range(len(samples))), f"offsets with {codec}")
        messages = receive_messages(broker, name, OFFSET_BEGINNING, check_crcs=True)
        same([message.offset() for message in messages], offsets, f"offsets read with {codec}")
        assert_all_same([as_sample(message) for message in messages], samples)


def every_level_of_acknowledgement_works(broker):
    for acks in ("0", "1", "all"):
        name = create(broker, f"acks-{acks}")
        samples = varied(50)
        send(producer_of(broker, acks=acks), name, samples)
        eventually("all records", lambda: len(receive_messages(broker, name, 0)) == len(samples))
        assert_all_same([as_sample(message) for message in receive_messages(broker, name, 0)], samples)


def an_idempotent_producer_keeps_order_with_five_batches_in_flight(broker):
    name = create(broker, "idempotent", 2)
    producer = producer_of(broker, enable_idempotence=True, batch_num_messages=7, linger_ms=0)
    samples = [Sample(b"%d" % i, b"%d" % i, [], FIRST_TIMESTAMP_MS + i) for i in range(3000)]
    for partition in (0, 1):
        same(send(producer, name, samples, partition), list(range(len(samples))), "offsets")
    for partition in (0, 1):
        values = [message.value() for message in receive_messages(broker, name, 0, partition)]
        same(values, [sample.value for sample in samples], "values in order")


def records_of_a_mebibyte_are_taken_where_allowed(broker):
    samples = [Sample(b"k", pseudo_random(MEBIBYTE, seed), [], FIRST_TIMESTAMP_MS + seed) for seed in range(8)]
    refusing = create(broker, "large-refused")
    generous = {"message_max_bytes": 4 * MEBIBYTE}
    same(
        error_code(lambda: send(producer_of(broker, **generous), refusing, samples[:1])),
        KafkaError.MSG_SIZE_TOO_LARGE,
        "a mebibyte and its overhead against the default of 1048588",
    )
    taking = create(broker, "large-taken", max_message_bytes=2 * MEBIBYTE)
    for codec in CODECS:
        send(producer_of(broker, compression_type=codec, **generous), taking, samples)
    messages = receive_messages(broker, taking, 0)
    assert_all_same([as_sample(message) for message in messages], samples * len(CODECS))
    # A record larger than what the consumer asks for is given all the same, alone.
    small = receive_messages(broker, taking, 35, fetch_message_max_bytes=1000)
    same([message.offset() for message in small], [35, 36, 37, 38, 39], "with a small fetch size")


def consuming_starts_at_any_offset(broker):
    name = create(broker, "offsets")
    samples = varied(500)
    send(producer_of(broker, batch_num_messages=37, compression_type="lz4"), name, samples)
    for start in (0, 1, 36, 37, 38, 250, 498, 499, 500):
        messages = receive_messages(broker, name, start)
        same([message.offset() for message in messages], list(range(start, 500)), f"offsets from {start}")
        assert_all_same([as_sample(message) for message in messages], samples[start:])
    same(receive_messages(broker, name, OFFSET_END), [], "from the end")
    same(
        error_code(lambda: receive_messages(broker, name, 501)),
        KafkaError._AUTO_OFFSET_RESET,
        "beyond the end",
    )


def offsets_are_found_by_timestamp(broker):
    name = create(broker, "times", 2)
    samples = varied(300)
    send(producer_of(broker, batch_num_messages=50, compression_type="zstd"), name, samples)
    consumer = consumer_of(broker)
    try:
        for timestamp, expected in (
            (0, 0),
            (FIRST_TIMESTAMP_MS, 0),
            (FIRST_TIMESTAMP_MS + 1, 1),
            (FIRST_TIMESTAMP_MS + 10, 1),
            (FIRST_TIMESTAMP_MS + 1234, 124),
            (FIRST_TIMESTAMP_MS + 2990, 299),
            (FIRST_TIMESTAMP_MS + 2991, OFFSET_END),
        ):
            found = consumer.offsets_for_times([TopicPartition(name, 0, timestamp)], timeout=DEADLINE_S)
            same(found[0].offset, expected, f"offset at timestamp {timestamp}")
        empty = consumer.offsets_for_times([TopicPartition(name, 1, FIRST_TIMESTAMP_MS)], timeout=DEADLINE_S)
        same(empty[0].offset, OFFSET_END, "in an empty partition")
    finally:
        consumer.close()


def offsets_are_listed(broker):
    name = create(broker, "listed", 2)
    shuffled = [Sample(None, b"v", [], FIRST_TIMESTAMP_MS + delta) for delta in (5, 90, 17, 90, 3)]
    send(producer_of(broker), name, shuffled)
    consumer = consumer_of(broker)
    try:
        same(consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S), (0, 5), "watermarks")
        same(consumer.get_watermark_offsets(TopicPartition(name, 1), timeout=DEADLINE_S), (0, 0), "empty watermarks")
    finally:
        consumer.close()
    admin, partition = admin_of(broker), TopicPartition(name, 0)
    for spec, expected in (
        (OffsetSpec.earliest(), 0),
        (OffsetSpec.latest(), 5),
        (OffsetSpec.max_timestamp(), 1),
        (OffsetSpec.for_timestamp(FIRST_TIMESTAMP_MS + 6), 1),
    ):
        found = admin.list_offsets({partition: spec}, request_timeout=DEADLINE_S)[partition]
        same(found.result(DEADLINE_S).offset, expected, f"offset of {spec}")


def records_are_deleted_below_an_offset(broker):
    admin = admin_of(broker)
    name = create(broker, "trimmed", 2)
    send(producer_of(broker, batch_num_messages=10), name, varied(100))
    deleted = admin.delete_records([TopicPartition(name, 0, 42)])
    same([future.result(DEADLINE_S).low_watermark for future in deleted.values()], [42], "low watermark")
    consumer = consumer_of(broker)
    try:
        same(consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S), (42, 100), "watermarks")
    finally:
        consumer.close()
    offsets = [message.offset() for message in receive_messages(broker, name, OFFSET_BEGINNING)]
    same(offsets, list(range(42, 100)), "offsets left")
    same(error_code(lambda: receive_messages(broker, name, 41)), KafkaError._AUTO_OFFSET_RESET, "below the start")
    everything = admin.delete_records([TopicPartition(name, 0, OFFSET_END)])
    same([future.result(DEADLINE_S).low_watermark for future in everything.values()], [100], "all deleted")
    beyond = admin.delete_records([TopicPartition(name, 0, 101)])
    same(
        error_code(lambda: [future.result(DEADLINE_S) for future in beyond.values()]),
        KafkaError.OFFSET_OUT_OF_RANGE,
        "deleting beyond the end",
    )
    same(send(producer_of(broker), name, varied(1)), [100], "the next offset")


def a_waiting_consumer_is_woken_by_a_new_record(broker):
    name = create(broker, "tail")
    consumer = consumer_of(broker, fetch_wait_max_ms=20_000, enable_partition_eof=False)
    received, ready = [], threading.Event()

    def follow():
        consumer.assign([TopicPartition(name, 0, 0)])
        ready.set()
        while len(received) < 50:
            message = consumer.poll(DEADLINE_S)
            if message is None or message.error():
                return
            received.append(message.value())

    follower = threading.Thread(target=follow)
    follower.start()
    ready.wait(DEADLINE_S)
    producer = producer_of(broker, linger_ms=0)
    for i in range(50):
        send(producer, name, [Sample(None, b"%d" % i, [], FIRST_TIMESTAMP_MS)])
    follower.join(DEADLINE_S)
    consumer.close()
    same(received, [b"%d" % i for i in range(50)], "values followed")


def a_topic_is_made_by_its_first_use(broker):
    name = broker.topic_name("auto")
    same(send(producer_of(broker), name, varied(3)), [0, 1, 2], "offsets")
    same(len(receive_messages(broker, name, 0)), 3, "records")


def the_broker_stamps_where_the_topic_says_so(broker):
    name = create(broker, "stamped", message_timestamp_type="LogAppendTime")
    send(producer_of(broker, compression_type="gzip"), name, varied(20))
    messages = receive_messages(broker, name, 0, check_crcs=True)
    same(len(messages), 20, "records")
    for message in messages:
        kind, timestamp = message.timestamp()
        same(kind, 2, "kind of timestamp (2 is LogAppendTime)")
        assert timestamp > FIRST_TIMESTAMP_MS + 10_000_000, f"timestamp {timestamp} is the producer's"


def an_unknown_topic_is_an_error_where_it_may_not_be_made(broker):
    consumer = consumer_of(broker, allow_auto_create_topics=False)
    try:
        missing = broker.topic_name("missing")
        code = error_code(lambda: consumer.get_watermark_offsets(TopicPartition(missing, 0), timeout=DEADLINE_S))
        unknown = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
        assert code in unknown, f"code {code}"
    finally:
        consumer.close()
    admin = admin_of(broker)
    name = create(broker, "one-partition")
    missing_partition = TopicPartition(name, 7, 0)
    found = admin.delete_records([missing_partition])
    code = error_code(lambda: [future.result(DEADLINE_S) for future in found.values()])
    unknown = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._NOENT)
    assert code in unknown, f"code {code}"


CHECKS = [
    topics_are_created_listed_and_deleted,
    a_deleted_topic_comes_back_empty,
    impossible_topics_are_refused_as_kafka_does,
    partitions_are_added,
    topic_configs_are_described_and_altered,
    the_broker_describes_itself_and_its_configs,
    every_codec_carries_every_kind_of_record,
    every_level_of_acknowledgement_works,
    an_idempotent_producer_keeps_order_with_five_batches_in_flight,
    records_of_a_mebibyte_are_taken_where_allowed,
    consuming_starts_at_any_offset,
    offsets_are_found_by_timestamp,
    offsets_are_listed,
    records_are_deleted_below_an_offset,
    a_waiting_consumer_is_woken_by_a_new_record,
    a_topic_is_made_by_its_first_use,
    the_broker_stamps_where_the_topic_says_so,
    an_unknown_topic_is_an_error_where_it_may_not_be_made,
]

if __name__ == "__main__":
    run(CHECKS, f"confluent-kafka (Python) {confluent_kafka.__version__} over librdkafka {confluent_kafka.libversion()[0]}")
