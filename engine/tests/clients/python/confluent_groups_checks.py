"""Consumer groups of confluent-kafka (librdkafka) against a broker.

Usage: confluent_groups_checks.py BOOTSTRAP [CHECK]...
"""

import functools
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka import ConsumerGroupTopicPartitions as GroupOffsets
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from checks import eventually, run, same

DEADLINE_S = 30


@functools.cache
def admin_of(broker):
    """One for all checks: what a client that goes was asked for is not answered."""
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def create(broker, purpose, partitions=4):
    name = broker.topic_name(purpose)
    (made,) = admin_of(broker).create_topics([NewTopic(name, partitions, 1)]).values()
    made.result(DEADLINE_S)
    return name


def fill(broker, topic, count=100, partitions=4):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=number % partitions)
    same(producer.flush(DEADLINE_S), 0, "records not delivered")


def consumer_of(broker, group, **settings):
    plain = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "topic.metadata.refresh.interval.ms": 500,
    }
    return Consumer(plain | settings)


@contextmanager
def member(broker, group, topics, **settings):
    """A member of a group, subscribed; it leaves at the end."""
    consumer = consumer_of(broker, group, **settings)
    try:
        consumer.subscribe(topics)
        yield consumer
    finally:
        consumer.close()


def receive(consumers, count):
    """So many records, by whichever of the consumers they come."""
    values = []
    end = time.monotonic() + DEADLINE_S
    while len(values) < count:
        assert time.monotonic() < end, f"{len(values)} of {count} records within {DEADLINE_S} s"
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None:
                assert message.error() is None, message.error()
                values.append(int(message.value()))
    return values


def settle(consumers, topic, partitions=4):
    """Polls until every partition has one owner, and every consumer something."""

    def owned():
        for consumer in consumers:
            message = consumer.poll(0.05)
            assert message is None or message.error() is None, message.error()
        shares = [{place.partition for place in consumer.assignment()} for consumer in consumers]
        everything = sorted(partition for share in shares for partition in share)
        return all(shares) and everything == list(range(partitions)) and shares

    return eventually(f"{topic} is shared by {len(consumers)}", owned, DEADLINE_S)


def committed(consumer, topic, partitions=4):
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    return [place.offset for place in consumer.committed(places, timeout=DEADLINE_S)]


def state_of(broker, group):
    described = admin_of(broker).describe_consumer_groups([group])[group].result(DEADLINE_S)
    return described.state


def what_is_committed_is_where_the_next_one_begins(broker):
    topic, group = create(broker, "resume"), broker.topic_name("group")
    fill(broker, topic)
    with member(broker, group, [topic]) as consumer:
        first = receive([consumer], 40)
        places = consumer.commit(asynchronous=False)
        assert all(place.error is None for place in places), places
    with member(broker, group, [topic]) as consumer:
        rest = receive([consumer], 60)
        same(sorted(first + rest), list(range(100)), "records, each once")
        consumer.commit(asynchronous=False)
        same(committed(consumer, topic), [25] * 4, "offsets committed")


def members_come_and_go(broker):
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        topic, group = create(broker, "members"), broker.topic_name("group")
        settings = {"partition.assignment.strategy": strategy}
        with member(broker, group, [topic], **settings) as first:
            settle([first], topic)
            with member(broker, group, [topic], **settings) as second:
                settle([first, second], topic)
                with member(broker, group, [topic], **settings) as third:
                    settle([first, second, third], topic)
                fill(broker, topic)
                settle([first, second], topic)
            settle([first], topic)
        eventually("the group is empty", lambda: state_of(broker, group) == ConsumerGroupState.EMPTY)


def a_member_that_is_killed_is_replaced(broker):
    topic, group = create(broker, "killed"), broker.topic_name("group")
    child = subprocess.Popen(
        [sys.executable, __file__, broker.bootstrap, "--member", group, topic], stdout=subprocess.PIPE
    )
    try:
        same(child.stdout.readline(), b"4\n", "partitions that the child got")
        with member(broker, group, [topic]) as survivor:
            eventually("the child shares", lambda: (survivor.poll(0.05), len(survivor.assignment()) == 2)[1])
            child.send_signal(signal.SIGKILL)
            settle([survivor], topic)
    finally:
        child.kill()
        child.wait()


def be_a_member(bootstrap, group, topic):
    """The child of the check above: works until it is killed."""
    consumer = consumer_of(type("Broker", (), {"bootstrap": bootstrap}), group)
    told = 0
    consumer.subscribe([topic])
    while True:
        consumer.poll(0.05)
        if len(consumer.assignment()) > told:
            told = len(consumer.assignment())
            print(told, flush=True)


def static_members_keep_what_they_own(broker):
    topic, group = create(broker, "static"), broker.topic_name("group")
    rebalances = []
    of = lambda name: {"group.instance.id": name, "session.timeout.ms": 30_000}  # noqa: E731
    with closing(consumer_of(broker, group, **of("a"))) as stays:
        stays.subscribe([topic], on_assign=lambda consumer, places: rebalances.append(len(places)))
        with closing(consumer_of(broker, group, **of("b"))) as goes:
            goes.subscribe([topic])
            before = settle([stays, goes], topic)
        rebalances.clear()
        with closing(consumer_of(broker, group, **of("b"))) as back:
            back.subscribe([topic])
            same(settle([stays, back], topic), before, "shares")
            same(rebalances, [], "rebalances of the one that stayed")
            described = admin_of(broker).describe_consumer_groups([group])[group].result(DEADLINE_S)
            same(sorted(one.group_instance_id for one in described.members), ["a", "b"], "instances")


def a_second_member_of_one_instance_fences_the_first(broker):
    topic, group = create(broker, "fenced"), broker.topic_name("group")
    settings = {"group.instance.id": "same"}
    with closing(consumer_of(broker, group, **settings)) as first:
        first.subscribe([topic])
        settle([first], topic)
        with member(broker, group, [topic], **settings) as second:
            settle([second], topic)

            def told():
                message = first.poll(0.05)
                return message is not None and message.error() and message.error().code() == KafkaError._FATAL

            eventually("the first is told to end", told)


def members_seek_and_pause(broker):
    topic = create(broker, "seek", 2)
    fill(broker, topic, 20, 2)
    with member(broker, broker.topic_name("group"), [topic]) as consumer:
        same(sorted(receive([consumer], 20)), list(range(20)), "records")
        consumer.seek(TopicPartition(topic, 0, 8))
        same(receive([consumer], 2), [16, 18], "records of partition 0 from offset 8")
        consumer.pause([TopicPartition(topic, 0)])
        fill(broker, topic, 10, 2)
        same(receive([consumer], 5), [1, 3, 5, 7, 9], "records while partition 0 is paused")
        consumer.resume([TopicPartition(topic, 0)])
        same(receive([consumer], 5), [0, 2, 4, 6, 8], "records of partition 0 after it")


def topics_are_subscribed_by_pattern(broker):
    prefix = broker.topic_name("pattern")
    admin = admin_of(broker)
    with member(broker, broker.topic_name("group"), [f"^{prefix}-.*"]) as consumer:
        for name in (f"{prefix}-one", f"{prefix}-two"):
            (made,) = admin.create_topics([NewTopic(name, 1, 1)]).values()
            made.result(DEADLINE_S)
            fill(broker, name, 10, 1)
            same(receive([consumer], 10), list(range(10)), f"records of {name}")
            # So that the next assignment does not begin at the start again.
            consumer.commit(asynchronous=False)
        same(len(consumer.assignment()), 2, "topics")


def offsets_are_reset_listed_altered_and_deleted_by_an_administrator(broker):
    topic, group = create(broker, "administered"), broker.topic_name("group")
    fill(broker, topic)
    admin = admin_of(broker)
    with member(broker, group, [topic]) as consumer:
        receive([consumer], 100)
        consumer.commit(asynchronous=False)
        listed = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(DEADLINE_S)
        same(listed.errors, [], "errors")
        assert group in {one.group_id for one in listed.valid}, listed.valid
        refused = admin.alter_consumer_group_offsets([GroupOffsets(group, [TopicPartition(topic, 0, 3)])])
        (place,) = refused[group].result(DEADLINE_S).topic_partitions
        same(place.error and place.error.name(), "UNKNOWN_MEMBER_ID", "the refusal while there is a member")
        try:
            admin.delete_consumer_groups([group])[group].result(DEADLINE_S)
            raise AssertionError("a group was deleted under its member")
        except KafkaException as error:
            same(error.args[0].name(), "NON_EMPTY_GROUP", "the refusal")
    eventually("the group is empty", lambda: state_of(broker, group) == ConsumerGroupState.EMPTY)
    asked = [GroupOffsets(group, [TopicPartition(topic, partition) for partition in range(4)])]
    found = admin.list_consumer_group_offsets(asked)[group].result(DEADLINE_S)
    same([one.offset for one in found.topic_partitions], [25] * 4, "offsets listed")
    ends = admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(4)})
    same(sum(future.result(DEADLINE_S).offset for future in ends.values()), 100, "ends: no lag is left")
    moved = [TopicPartition(topic, partition, 5) for partition in range(4)]
    admin.alter_consumer_group_offsets([GroupOffsets(group, moved)])[group].result(DEADLINE_S)
    with member(broker, group, [topic]) as consumer:
        same(len(receive([consumer], 80)), 80, "records from the offsets that were set")
    eventually("the group is empty", lambda: state_of(broker, group) == ConsumerGroupState.EMPTY)
    admin.delete_consumer_groups([group])[group].result(DEADLINE_S)
    with member(broker, group, [topic]) as consumer:
        same(len(receive([consumer], 100)), 100, "records from the beginning")


def a_consumer_without_subscription_commits_for_its_group(broker):
    topic, group = create(broker, "simple", 1), broker.topic_name("group")
    fill(broker, topic, 10, 1)
    with closing(consumer_of(broker, group)) as consumer:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        same(receive([consumer], 10), list(range(10)), "records")
        place = TopicPartition(topic, 0, 7, metadata="seven")
        consumer.commit(offsets=[place], asynchronous=False)
        (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=DEADLINE_S)
        same((found.offset, found.metadata), (7, "seven"), "the offset and its text")
    # A deleted topic takes its offsets along.
    admin_of(broker).delete_topics([topic])[topic].result(DEADLINE_S)
    (made,) = admin_of(broker).create_topics([NewTopic(topic, 1, 1)]).values()
    made.result(DEADLINE_S)
    with closing(consumer_of(broker, group)) as consumer:
        same(committed(consumer, topic, 1), [-1001], "offsets in the new topic of that name")


if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[2] == "--member":
    be_a_member(sys.argv[1], *sys.argv[3:])

if __name__ == "__main__":
    run(
        [
            what_is_committed_is_where_the_next_one_begins,
            members_come_and_go,
            a_member_that_is_killed_is_replaced,
            static_members_keep_what_they_own,
            a_second_member_of_one_instance_fences_the_first,
            members_seek_and_pause,
            topics_are_subscribed_by_pattern,
            offsets_are_reset_listed_altered_and_deleted_by_an_administrator,
            a_consumer_without_subscription_commits_for_its_group,
        ],
        f"confluent-kafka (Python) {confluent_kafka.__version__} over librdkafka {confluent_kafka.libversion()[0]}, groups",
    )
