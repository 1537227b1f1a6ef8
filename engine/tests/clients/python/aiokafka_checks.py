"""aiokafka (an asynchronous client with a wire protocol of its own) against a broker.

Usage: aiokafka_checks.py BOOTSTRAP [CHECK]...
"""

import asyncio
from contextlib import asynccontextmanager

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from checks import run, same
from samples import CODECS, FIRST_TIMESTAMP_MS, Sample, assert_all_same, varied

DEADLINE_S = 30


@asynccontextmanager
async def started(client):
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if hasattr(client, "close") else client.stop())


def admin_of(broker):
    return started(AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap))


def producer_of(broker, **settings):
    return started(AIOKafkaProducer(bootstrap_servers=broker.bootstrap, **settings))


def consumer_of(broker, **settings):
    plain = {"enable_auto_commit": False, "auto_offset_reset": "none", "fetch_max_wait_ms": 20}
    return started(AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=None, **plain | settings))


async def create(broker, purpose, partitions=1, **config):
    name = broker.topic_name(purpose)
    async with admin_of(broker) as admin:
        config = {key.replace("_", "."): str(value) for key, value in config.items()}
        made = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        same([error[1] for error in made.topic_errors], [0], "error of the creation")
    return name


async def send(producer, topic, samples, partition=0):
    """Produces and waits; gives the offsets that were acknowledged, in order of sending."""
    futures = [
        await producer.send(
            topic,
            value=sample.value,
            key=sample.key,
            headers=sample.headers,
            partition=partition,
            timestamp_ms=sample.timestamp_ms,
        )
        for sample in samples
    ]
    return [(await asyncio.wait_for(future, DEADLINE_S)).offset for future in futures]


async def receive(broker, topic, offset, partition=0, **settings):
    """Everything from `offset` to the end of the partition."""
    place = TopicPartition(topic, partition)
    records = []
    async with consumer_of(broker, **settings) as consumer:
        consumer.assign([place])
        consumer.seek(place, offset)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            polled = await consumer.getmany(place, timeout_ms=DEADLINE_S * 1000)
            assert polled, f"nothing within {DEADLINE_S} s after {len(records)} records of {topic}"
            records.extend(polled[place])
    return records


def as_sample(record):
    return Sample(record.key, record.value, [tuple(header) for header in record.headers], record.timestamp)


def sendable(count=120):
    """This client sends no record that has neither key nor value, and no header without a value."""
    adapted = []
    for sample in varied(count):
        key = b"tombstone" if sample.key is None and sample.value is None else sample.key
        headers = [(name, b"none" if value is None else value) for name, value in sample.headers]
        adapted.append(sample._replace(key=key, headers=headers))
    return adapted


async def topics_are_managed(broker):
    name = await create(broker, "aio-admin", 2, retention_ms=3_600_000)
    async with admin_of(broker) as admin:
        assert name in await admin.list_topics()
        again = await admin.create_topics([NewTopic(name, 1, 1)])
        same(again.topic_errors[0][1], errors.TopicAlreadyExistsError.errno, "error of a second creation")
        await admin.create_partitions({name: NewPartitions(4)})
        (described,) = await admin.describe_topics([name])
        same(sorted(part["partition"] for part in described["partitions"]), [0, 1, 2, 3], "partitions")
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        configs = {config[0]: config[1] for config in response.resources[0][4]}
        same(configs["retention.ms"], "3600000", "retention.ms")
        wanted = ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "7200000"})
        (response,) = await admin.alter_configs([wanted])
        same(response.resources[0][0], 0, "error of AlterConfigs")
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        configs = {config[0]: config[1] for config in response.resources[0][4]}
        same(configs["retention.ms"], "7200000", "retention.ms altered")
        await admin.delete_topics([name])
        assert name not in await admin.list_topics()


async def every_codec_carries_every_kind_of_record(broker):
    for codec in CODECS:
        name = await create(broker, f"aio-{codec}")
        settings = {} if codec == "none" else {"compression_type": codec}
        async with producer_of(broker, **settings) as producer:
            same(await send(producer, name, sendable()), list(range(120)), f"offsets with {codec}")
        assert_all_same([as_sample(record) for record in await receive(broker, name, 0)], sendable())


async def the_idempotent_producer_keeps_order(broker):
    name = await create(broker, "aio-idempotent")
    samples = [Sample(b"k", b"%d" % i, [], FIRST_TIMESTAMP_MS + i) for i in range(2000)]
    async with producer_of(broker, enable_idempotence=True, max_batch_size=300) as producer:
        same(await send(producer, name, samples), list(range(2000)), "offsets")
    assert_all_same([as_sample(record) for record in await receive(broker, name, 0)], samples)


async def consuming_starts_at_any_offset_or_time(broker):
    name = await create(broker, "aio-offsets")
    samples = sendable(100)
    async with producer_of(broker) as producer:
        await send(producer, name, samples)
    for start in (0, 1, 50, 99, 100):
        records = await receive(broker, name, start)
        same([record.offset for record in records], list(range(start, 100)), f"offsets from {start}")
    place = TopicPartition(name, 0)
    async with consumer_of(broker) as consumer:
        consumer.assign([place])
        found = await consumer.offsets_for_times({place: samples[42].timestamp_ms})
        same(found[place].offset, 42, "offset by time")
        same(await consumer.beginning_offsets([place]), {place: 0}, "beginning")


async def many_partitions_are_consumed_together(broker):
    name = await create(broker, "aio-many", 40)
    places = [TopicPartition(name, partition) for partition in range(40)]
    async with producer_of(broker) as producer, consumer_of(broker) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        for round_ in range(3):
            for partition in (round_, 20 + round_):
                await send(producer, name, sendable(10), partition)
            counts = {}
            while sum(counts.values()) < 20:
                polled = await asyncio.wait_for(consumer.getmany(timeout_ms=1000), DEADLINE_S)
                for place, records in polled.items():
                    counts[place.partition] = counts.get(place.partition, 0) + len(records)
            same(counts, {round_: 10, 20 + round_: 10}, "records by partition")


def plain(check):
    """A check for the runner, which knows no event loop."""

    def checked(broker):
        asyncio.run(asyncio.wait_for(check(broker), 4 * DEADLINE_S))

    checked.__name__ = check.__name__
    return checked


CHECKS = [
    plain(check)
    for check in (
        topics_are_managed,
        every_codec_carries_every_kind_of_record,
        the_idempotent_producer_keeps_order,
        consuming_starts_at_any_offset_or_time,
        many_partitions_are_consumed_together,
    )
]

if __name__ == "__main__":
    run(CHECKS, f"aiokafka {aiokafka.__version__}")
