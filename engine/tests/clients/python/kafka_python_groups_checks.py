"""Consumer groups of kafka-python (a client without librdkafka or Java in it) against a broker.

Usage: kafka_python_groups_checks.py BOOTSTRAP [CHECK]...
"""

import threading
import time
from contextlib import closing, contextmanager

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from checks import eventually, run, same

DEADLINE_S = 60


def create(broker, purpose, partitions=4):
    name = broker.topic_name(purpose)
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, partitions, 1)])
    return name


def fill(broker, topic, count=100, partitions=4):
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
        sent = [
            producer.send(topic, str(number).encode(), partition=number % partitions) for number in range(count)
        ]
        for future in sent:
            future.get(DEADLINE_S)


def consumer_of(broker, group, *topics, **settings):
    plain = {
        "bootstrap_servers": broker.bootstrap,
        "group_id": group,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500,
        "metadata_max_age_ms": 1000,
    }
    return KafkaConsumer(*topics, **plain | settings)


def receive(consumer, count):
    values = []
    end = time.monotonic() + DEADLINE_S
    while len(values) < count:
        assert time.monotonic() < end, f"{len(values)} of {count} records within {DEADLINE_S} s"
        for records in consumer.poll(200).values():
            values += [int(record.value) for record in records]
    return values


@contextmanager
def working_member(broker, group, topic, **settings):
    """A member that polls in a thread of its own, as its rebalances block it; gives a function for what it owns."""
    stop = threading.Event()
    owned = []
    ended = []

    def work():
        try:
            with closing(consumer_of(broker, group, topic, **settings)) as consumer:
                while not stop.is_set():
                    consumer.poll(100)
                    owned[:] = [place.partition for place in consumer.assignment()]
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: list(owned)
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not ended, ended


def settle(members, partitions=4):
    def shared():
        shares = [member() for member in members]
        return all(shares) and sorted(sum(shares, [])) == list(range(partitions))

    eventually(f"{partitions} partitions are shared by {len(members)}", shared, DEADLINE_S)


def what_is_committed_is_where_the_next_one_begins(broker):
    topic, group = create(broker, "resume"), broker.topic_name("group")
    fill(broker, topic)
    with closing(consumer_of(broker, group, topic, max_poll_records=40)) as consumer:
        first = receive(consumer, 40)
        consumer.commit()
    with closing(consumer_of(broker, group, topic)) as consumer:
        rest = receive(consumer, 60)
        same(sorted(first + rest), list(range(100)), "records, each once")
        consumer.commit()
        same([consumer.committed(TopicPartition(topic, index)) for index in range(4)], [25] * 4, "committed")


def members_come_and_go(broker):
    for assignor in (RoundRobinPartitionAssignor, StickyPartitionAssignor):
        topic, group = create(broker, "members"), broker.topic_name("group")
        settings = {"partition_assignment_strategy": [assignor]}
        with working_member(broker, group, topic, **settings) as first:
            settle([first])
            with working_member(broker, group, topic, **settings) as second:
                settle([first, second])
            settle([first])


def a_static_member_comes_back_in_its_place(broker):
    topic, group = create(broker, "static"), broker.topic_name("group")
    with working_member(broker, group, topic, group_instance_id="a", session_timeout_ms=30_000) as stays:
        settings = {"group_instance_id": "b", "session_timeout_ms": 30_000}
        with working_member(broker, group, topic, **settings) as goes:
            settle([stays, goes])
            before = stays()
        with working_member(broker, group, topic, **settings) as back:
            settle([stays, back])
            same(stays(), before, "what the one that stayed owns")


def groups_are_listed_and_described(broker):
    topic, group = create(broker, "admin"), broker.topic_name("group")
    fill(broker, topic)
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        with working_member(broker, group, topic) as member:
            settle([member])
            assert group in str(admin.list_groups()), "the group is listed"
            assert "Stable" in str(admin.describe_groups([group])), "its state"
        eventually("the group is empty", lambda: "Empty" in str(admin.describe_groups([group])))
        admin.delete_groups([group])
        assert group not in str(admin.list_groups()), "the group is gone"


if __name__ == "__main__":
    run(
        [
            what_is_committed_is_where_the_next_one_begins,
            members_come_and_go,
            a_static_member_comes_back_in_its_place,
            groups_are_listed_and_described,
        ],
        f"kafka-python {kafka.__version__}, groups",
    )
