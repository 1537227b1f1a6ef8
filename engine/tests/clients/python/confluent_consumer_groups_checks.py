"""Groups of the consumer protocol (KIP-848) with confluent-kafka (librdkafka), seen by Apache Kafka's own programs too.

Usage: confluent_consumer_groups_checks.py BOOTSTRAP [CHECK]...      with the jars' folder in CORELANE_TEST_JARS
"""

import signal
import subprocess
import sys
from contextlib import closing, contextmanager

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupType, KafkaError
from confluent_kafka.admin import NewTopic

from checks import eventually, run, same
from confluent_groups_checks import DEADLINE_S, admin_of, committed, create, fill, receive, settle, state_of
from kafka_group_tools_checks import groups, rows


def consumer_of(broker, group, **settings):
    plain = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": group,
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 500,
    }
    return Consumer(plain | settings)


def classic_of(broker, group, **settings):
    plain = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
    }
    return Consumer(plain | settings)


@contextmanager
def member(broker, group, topics, make=consumer_of, **settings):
    """A member of a group, subscribed; it leaves at the end."""
    consumer = make(broker, group, **settings)
    try:
        consumer.subscribe(topics)
        yield consumer
    finally:
        consumer.close()


def type_of(broker, group):
    listed = admin_of(broker).list_consumer_groups().result(DEADLINE_S)
    same(listed.errors, [], "errors")
    (found,) = [one for one in listed.valid if one.group_id == group]
    return found.type


def what_is_committed_is_where_the_next_one_begins(broker):
    topic, group = create(broker, "resume"), broker.topic_name("group")
    fill(broker, topic)
    with member(broker, group, [topic]) as consumer:
        first = receive([consumer], 40)
        consumer.commit(asynchronous=False)
    with member(broker, group, [topic]) as consumer:
        rest = receive([consumer], 60)
        same(sorted(first + rest), list(range(100)), "records, each once")
        consumer.commit(asynchronous=False)
        same(committed(consumer, topic), [25] * 4, "offsets committed")


def members_come_and_go(broker):
    for assignor in ("uniform", "range"):
        topic, group = create(broker, "members"), broker.topic_name("group")
        settings = {"group.remote.assignor": assignor}
        with member(broker, group, [topic], **settings) as first:
            settle([first], topic)
            with member(broker, group, [topic], **settings) as second:
                settle([first, second], topic)
                with member(broker, group, [topic], **settings) as third:
                    settle([first, second, third], topic)
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
    with closing(consumer_of(broker, group, **{"group.instance.id": "a"})) as stays:
        stays.subscribe([topic], on_assign=lambda consumer, places: rebalances.append(len(places)))
        with closing(consumer_of(broker, group, **{"group.instance.id": "b"})) as goes:
            goes.subscribe([topic])
            before = settle([stays, goes], topic)
        rebalances.clear()
        with closing(consumer_of(broker, group, **{"group.instance.id": "b"})) as back:
            back.subscribe([topic])
            same(settle([stays, back], topic), before, "shares")
            same(rebalances, [], "rebalances of the one that stayed")


def a_second_member_of_one_instance_is_refused(broker):
    topic, group = create(broker, "twice"), broker.topic_name("group")
    settings = {"group.instance.id": "same"}
    with closing(consumer_of(broker, group, **settings)) as first:
        first.subscribe([topic])
        settle([first], topic)
        with closing(consumer_of(broker, group, **settings)) as second:
            second.subscribe([topic])

            def told():
                first.poll(0.05)
                message = second.poll(0.05)
                return message is not None and message.error() and message.error().code() == KafkaError._FATAL

            eventually("the second is told to end", told)
        settle([first], topic)


def topics_are_subscribed_by_pattern(broker):
    prefix = broker.topic_name("pattern")
    admin = admin_of(broker)
    with member(broker, broker.topic_name("group"), [f"^{prefix}-.*"]) as consumer:
        for name in (f"{prefix}-one", f"{prefix}-two"):
            (made,) = admin.create_topics([NewTopic(name, 1, 1)]).values()
            made.result(DEADLINE_S)
            fill(broker, name, 10, 1)
            same(receive([consumer], 10), list(range(10)), f"records of {name}")
            consumer.commit(asynchronous=False)
        same(len(consumer.assignment()), 2, "topics")


def a_group_changes_its_protocol_while_members_live(broker):
    topic, group = create(broker, "migrate"), broker.topic_name("group")
    fill(broker, topic)
    with member(broker, group, [topic], make=classic_of) as old:
        settle([old], topic)
        same(type_of(broker, group), ConsumerGroupType.CLASSIC, "type before")
        with member(broker, group, [topic]) as young:
            settle([old, young], topic)
            same(type_of(broker, group), ConsumerGroupType.CONSUMER, "type after the upgrade")
        settle([old], topic)
        same(type_of(broker, group), ConsumerGroupType.CLASSIC, "type after the downgrade")
        fill(broker, topic, 8)
        receive([old], 8)


def kafkas_programs_see_the_group(broker):
    topic, group = create(broker, "seen"), broker.topic_name("group")
    fill(broker, topic, 40)
    with member(broker, group, [topic], **{"group.instance.id": "instance"}) as consumer:
        receive([consumer], 40)
        consumer.commit(asynchronous=False)
        described = rows(groups(broker, "--describe", "--group", group))
        same(described, [(topic, partition, "10", "0") for partition in range(4)], "offsets and lags")
        state = groups(broker, "--describe", "--group", group, "--state")
        assert "Stable" in state and "uniform" in state, state
        members = groups(broker, "--describe", "--group", group, "--members", "--verbose")
        assert f"{topic}:0,1,2,3" in members and "instance" in members, members
        assert group in groups(broker, "--list", "--type", "consumer").split()


if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[2] == "--member":
    be_a_member(sys.argv[1], *sys.argv[3:])

if __name__ == "__main__":
    run(
        [
            what_is_committed_is_where_the_next_one_begins,
            members_come_and_go,
            a_member_that_is_killed_is_replaced,
            static_members_keep_what_they_own,
            a_second_member_of_one_instance_is_refused,
            topics_are_subscribed_by_pattern,
            a_group_changes_its_protocol_while_members_live,
            kafkas_programs_see_the_group,
        ],
        f"confluent-kafka (Python) {confluent_kafka.__version__} over librdkafka {confluent_kafka.libversion()[0]},"
        " consumer protocol",
    )
