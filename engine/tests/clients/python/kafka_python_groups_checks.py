"""Consumer groups of kafka-python (a client without librdkafka or Java in it) against a broker.

Usage: kafka_python_groups_checks.py BOOTSTRAP [CHECK]...
"""

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.structs import OffsetAndMetadata

from checks import Broker, eventually, run, same

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


def a_member_that_is_killed_is_replaced(broker):
    topic, group = create(broker, "killed"), broker.topic_name("group")
    command = [sys.executable, __file__, broker.bootstrap, "--member", group, topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            same(child.stdout.readline(), "4\n", "partitions that the child got")
            with working_member(broker, group, topic) as survivor:
                eventually("the child shares", lambda: len(survivor()) == 2, DEADLINE_S)
                child.send_signal(signal.SIGKILL)
                settle([survivor])
        finally:
            child.kill()


def be_a_member(broker, group, topic):
    """The child of the check above: works until it is killed."""
    with closing(consumer_of(broker, group, topic)) as consumer:
        told = False
        while True:
            consumer.poll(100)
            if not told and len(consumer.assignment()) == 4:
                told = True
                print(4, flush=True)


def members_seek_and_pause(broker):
    topic, group = create(broker, "seek", 2), broker.topic_name("group")
    fill(broker, topic, 20, 2)
    zero = TopicPartition(topic, 0)
    with closing(consumer_of(broker, group, topic)) as consumer:
        same(sorted(receive(consumer, 20)), list(range(20)), "records")
        consumer.seek(zero, 8)
        same(receive(consumer, 2), [16, 18], "records of partition 0 from offset 8")
        consumer.pause(zero)
        fill(broker, topic, 10, 2)
        same(receive(consumer, 5), [1, 3, 5, 7, 9], "records while partition 0 is paused")
        consumer.resume(zero)
        same(receive(consumer, 5), [0, 2, 4, 6, 8], "records of partition 0 after it")
        consumer.seek_to_beginning(zero)
        same(len(receive(consumer, 15)), 15, "records from the beginning")


def topics_are_subscribed_by_pattern(broker):
    prefix = broker.topic_name("pattern")
    with closing(consumer_of(broker, broker.topic_name("group"))) as consumer:
        consumer.subscribe(pattern=f"^{re.escape(prefix)}-.*")
        for name in (f"{prefix}-one", f"{prefix}-two"):
            with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
                admin.create_topics([NewTopic(name, 1, 1)])
            fill(broker, name, 10, 1)
            same(receive(consumer, 10), list(range(10)), f"records of {name}")
            consumer.commit()


def an_offset_that_is_not_there_is_reset(broker):
    topic, group = create(broker, "reset", 1), broker.topic_name("group")
    fill(broker, topic, 20, 1)
    place = TopicPartition(topic, 0)
    with closing(consumer_of(broker, group)) as consumer:
        consumer.assign([place])
        consumer.commit({place: OffsetAndMetadata(5, "", -1)})
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.delete_records({place: 12})
    with closing(consumer_of(broker, group, topic)) as consumer:
        same(receive(consumer, 8), list(range(12, 20)), "records from the first that is left")


def lag_is_told(broker):
    topic, group = create(broker, "lag", 1), broker.topic_name("group")
    fill(broker, topic, 30, 1)
    place = TopicPartition(topic, 0)
    with closing(consumer_of(broker, group, topic)) as consumer:
        receive(consumer, 30)
        consumer.commit({place: OffsetAndMetadata(10, "kept", -1)})
        same(consumer.end_offsets([place])[place] - consumer.committed(place), 20, "lag")
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        offsets = admin.list_group_offsets([group]) if hasattr(admin, "list_group_offsets") else None
        offsets = offsets[group] if offsets is not None else admin.list_consumer_group_offsets(group)
        same((offsets[place].offset, offsets[place].metadata), (10, "kept"), "what an administrator sees")


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


if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[2] == "--member":
    be_a_member(Broker(sys.argv[1]), *sys.argv[3:])
elif __name__ == "__main__":
    run(
        [
            what_is_committed_is_where_the_next_one_begins,
            members_come_and_go,
            a_member_that_is_killed_is_replaced,
            a_static_member_comes_back_in_its_place,
            members_seek_and_pause,
            topics_are_subscribed_by_pattern,
            an_offset_that_is_not_there_is_reset,
            lag_is_told,
            groups_are_listed_and_described,
        ],
        f"kafka-python {kafka.__version__}, groups",
    )
