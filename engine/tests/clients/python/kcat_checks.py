"""kcat, as Debian ships it (with a librdkafka from 2022), against a broker.

Usage: kcat_checks.py BOOTSTRAP [CHECK]...
"""

import json
import re
import signal
import subprocess
import threading
from contextlib import contextmanager

from checks import eventually, run, same
from samples import CODECS, FIRST_TIMESTAMP_MS, MEBIBYTE, pseudo_random

DEADLINE_S = 60


def kcat(broker, *arguments, feed=b"", fails=False):
    command = ["kcat", "-b", broker.bootstrap, "-m", "30", *map(str, arguments)]
    done = subprocess.run(command, input=feed, capture_output=True, timeout=DEADLINE_S, check=False)
    failed = done.returncode != 0
    assert failed == fails, f"{command} exited with {done.returncode}: {done.stderr.decode(errors='replace')}"
    return done.stdout if not fails else done.stderr


def consumed(broker, topic, start, *arguments):
    """What kcat reads from `start` to the end of partition 0, as its JSON says it."""
    printed = kcat(broker, "-C", "-t", topic, "-p", 0, "-o", start, "-e", "-q", "-J", *arguments)
    return [json.loads(line) for line in printed.splitlines()]


def made(broker, purpose):
    """kcat makes no topics itself: asking for one makes it."""
    name = broker.topic_name(purpose)
    eventually(f"{name} is made", lambda: metadata(broker, name)["partitions"])
    return name


def metadata(broker, name):
    listed = json.loads(kcat(broker, "-L", "-J", "-t", name))
    (topic,) = listed["topics"]
    same(topic["topic"], name, "listed topic")
    return topic


def the_cluster_is_listed(broker):
    name = made(broker, "kcat-list")
    listed = json.loads(kcat(broker, "-L", "-J"))
    assert listed["brokers"], "no brokers listed"
    nodes = {each["id"] for each in listed["brokers"]}
    (topic,) = (each for each in listed["topics"] if each["topic"] == name)
    assert all(part["leader"] in nodes for part in topic["partitions"]), f"leaders {topic!r} of nodes {nodes}"


def every_codec_carries_keys_and_headers(broker):
    for codec in CODECS:
        name = made(broker, f"kcat-{codec}")
        lines = b"".join(b"key-%d:value-%d\n" % (i, i) for i in range(500))
        headers = ("-H", "same=1", "-H", "same=2", "-H", "empty=", "-H", "null")
        kcat(broker, "-P", "-t", name, "-p", 0, "-K", ":", "-z", codec, *headers, feed=lines)
        records = consumed(broker, name, "beginning")
        same([record["offset"] for record in records], list(range(500)), f"offsets with {codec}")
        same([record["key"] for record in records], [f"key-{i}" for i in range(500)], "keys")
        same([record["payload"] for record in records], [f"value-{i}" for i in range(500)], "values")
        for record in records:
            same(record["headers"], ["same", "1", "same", "2", "empty", "", "null", None], "headers")


def null_keys_and_values_stay_null(broker):
    name = made(broker, "kcat-null")
    kcat(broker, "-P", "-t", name, "-p", 0, "-K", ":", "-Z", feed=b"key:\n:value\nboth:here\n")
    records = consumed(broker, name, "beginning")
    pairs = [(record["key"], record["payload"]) for record in records]
    same(pairs, [("key", None), (None, "value"), ("both", "here")], "keys and values")


def consuming_starts_at_any_offset_or_time(broker):
    name = made(broker, "kcat-offsets")
    kcat(broker, "-P", "-t", name, "-p", 0, "-z", "snappy", feed=b"".join(b"%d\n" % i for i in range(100)))
    for start, expected in ((0, range(100)), (57, range(57, 100)), (-3, range(97, 100)), ("end", range(0))):
        got = [record["payload"] for record in consumed(broker, name, start)]
        same(got, [str(i) for i in expected], f"from {start}")
    same(len(consumed(broker, name, 10, "-c", 5)), 5, "with a limit of five")
    records = consumed(broker, name, 0)
    time = records[40]["ts"]
    first = next(record["offset"] for record in records if record["ts"] >= time)
    same(consumed(broker, name, f"s@{time}")[0]["offset"], first, "from a timestamp")
    same(len(consumed(broker, name, f"s@{FIRST_TIMESTAMP_MS}", "-o", f"e@{records[-1]['ts'] + 1}")), 100, "a span of time")
    answer = kcat(broker, "-Q", "-t", f"{name}:0:{time}").decode()
    assert answer.strip().endswith(f"[0] offset {first}"), answer
    later = kcat(broker, "-Q", "-t", f"{name}:0:{records[-1]['ts'] + 1000}").decode()
    assert later.strip().endswith("[0] offset -1"), later


def idempotent_and_large_records_are_produced(broker):
    name = made(broker, "kcat-large")
    # Without line breaks, and small enough for the default of 1048588 with its overhead.
    value = pseudo_random(MEBIBYTE - 4096).replace(b"\n", b" ")
    settings = ("-X", "enable.idempotence=true", "-X", f"message.max.bytes={2 * MEBIBYTE}")
    for _ in range(3):
        kcat(broker, "-P", "-t", name, "-p", 0, *settings, feed=value)
    for offset in range(3):
        got = kcat(broker, "-C", "-t", name, "-p", 0, "-o", offset, "-c", 1, "-q", "-D", "")
        same(got == value, True, f"the large value at {offset}")


class Member:
    """kcat as a member of a group, until it is told to end: what it received and what it was assigned last."""

    def __init__(self, broker, group, *topics):
        settings = ("auto.offset.reset=earliest", "session.timeout.ms=6000", "heartbeat.interval.ms=300",
                    "topic.metadata.refresh.interval.ms=500", "partition.assignment.strategy=roundrobin")
        options = [part for setting in settings for part in ("-X", setting)]
        command = ["kcat", "-b", broker.bootstrap, "-u", "-f", "%t %p %o\\n", *options, "-G", group, *topics]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.received, self.assigned, self.errors = [], [], []
        self.readers = [threading.Thread(target=read) for read in (self.read_records, self.read_changes)]
        for reader in self.readers:
            reader.start()

    def read_records(self):
        for line in self.process.stdout:
            topic, partition, offset = line.split()
            self.received.append((topic, int(partition), int(offset)))

    def read_changes(self):
        for line in self.process.stderr:
            # `% Group NAME rebalanced (memberid ...): assigned: topic [0], topic [1]`
            if "rebalanced" in line:
                _, _, change = line.partition("): ")
                kind, _, places = change.partition(":")
                found = [(topic, int(index)) for topic, index in re.findall(r"(\S+) \[(\d+)\]", places)]
                self.assigned = sorted(found) if kind == "assigned" else []
            elif "ERROR" in line:
                self.errors.append(line)

    def end(self, how):
        how()
        self.process.wait(DEADLINE_S)
        for reader in self.readers:
            reader.join()


@contextmanager
def member(broker, group, *topics):
    one = Member(broker, group, *topics)
    try:
        yield one
        same(one.errors, [], "errors of a member")
    finally:
        # On SIGINT it leaves its group and commits.
        one.end(lambda: one.process.poll() is None and one.process.send_signal(signal.SIGINT))


def filled(broker, name, partitions, count=20):
    for index in range(partitions):
        kcat(broker, "-P", "-t", name, "-p", index, feed=b"x\n" * count)
    return [(name, index, offset) for index in range(partitions) for offset in range(count)]


def a_group_resumes_where_its_member_left(broker):
    name, group = broker.topic_name("kcat-group"), broker.topic_name("group")
    eventually("the topic is made", lambda: metadata(broker, name)["partitions"])
    partitions = len(metadata(broker, name)["partitions"])
    everything = [(name, index) for index in range(partitions)]
    expected = filled(broker, name, partitions)
    with member(broker, group, name) as first:
        eventually("the records come", lambda: sorted(first.received) == expected, DEADLINE_S)
        same(first.assigned, everything, "what the only member has")
    # It has committed as it left.
    filled(broker, name, partitions, 5)
    later = [(name, index, offset) for index in range(partitions) for offset in range(20, 25)]
    with member(broker, group, name) as second:
        eventually("the new records come", lambda: sorted(second.received) == later, DEADLINE_S)


def a_group_follows_a_pattern_and_replaces_who_is_killed(broker):
    prefix, group = broker.topic_name("kcat-pattern"), broker.topic_name("group")
    names = [f"{prefix}-one", f"{prefix}-two"]
    for name in names:
        eventually("the topic is made", lambda name=name: metadata(broker, name)["partitions"])
    everything = [(name, index) for name in names for index in range(len(metadata(broker, name)["partitions"]))]
    pattern = f"^{prefix}-.*"
    with member(broker, group, pattern) as stays:
        eventually("it has both topics", lambda: stays.assigned == everything, DEADLINE_S)
        killed = Member(broker, group, pattern)
        try:
            shared = lambda: killed.assigned and sorted(killed.assigned + stays.assigned) == everything  # noqa: E731
            eventually("the second has its share", shared, DEADLINE_S)
        finally:
            killed.end(killed.process.kill)
        eventually("it has both topics again", lambda: stays.assigned == everything, DEADLINE_S)


CHECKS = [
    the_cluster_is_listed,
    every_codec_carries_keys_and_headers,
    null_keys_and_values_stay_null,
    consuming_starts_at_any_offset_or_time,
    idempotent_and_large_records_are_produced,
    a_group_resumes_where_its_member_left,
    a_group_follows_a_pattern_and_replaces_who_is_killed,
]

if __name__ == "__main__":
    version = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
    kcat_version, librdkafka = re.search(r"Version ([\d.]+).*librdkafka ([\d.]+)", version, re.DOTALL).groups()
    run(CHECKS, f"kcat {kcat_version} over librdkafka {librdkafka}")
