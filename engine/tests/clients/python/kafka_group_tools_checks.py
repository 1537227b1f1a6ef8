"""Apache Kafka's `kafka-consumer-groups`, its console consumer in a group and its verifiable consumer, against a broker.

Usage: kafka_group_tools_checks.py BOOTSTRAP [CHECK]...      with the jars' folder in CORELANE_TEST_JARS
"""

import json
import os
import subprocess

from checks import eventually, run, same
from kafka_tools_checks import QUIET, tool, topics, version


def groups(broker, *arguments, **options):
    return tool("consumer.group.ConsumerGroupCommand", "--bootstrap-server", broker.bootstrap, *arguments, **options)


def rows(printed):
    """Topic, partition, offset and lag of each line."""
    found = []
    for line in printed.splitlines():
        words = line.split()
        if len(words) >= 6 and words[2].isdigit():
            found.append((words[1], int(words[2]), words[3], words[5]))
    return sorted(found)


def documents(printed):
    """The JSON documents in what was printed, which come without anything between them."""
    found, at, decoder = [], printed.find("{"), json.JSONDecoder()
    while at >= 0:
        document, end = decoder.raw_decode(printed, at)
        found.append(document)
        at = printed.find("{", end)
    return found


def filled(broker, purpose, count=40, partitions=2):
    name = broker.topic_name(purpose)
    topics(broker, "--create", "--topic", name, "--partitions", partitions, "--replication-factor", 1)
    lines = "".join(f"{number}\n" for number in range(count))
    tool("ConsoleProducer", "--bootstrap-server", broker.bootstrap, "--topic", name, feed=lines)
    return name


def a_group_is_consumed_described_reset_and_deleted(broker):
    topic, group = filled(broker, "tools", partitions=1), broker.topic_name("group")
    printed = tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--group", group, "--from-beginning"),
        *("--max-messages", 40, "--timeout-ms", 30_000),
    )
    same(sorted(map(int, printed.split())), list(range(40)), "records consumed")
    assert group in groups(broker, "--list").split()
    described = rows(groups(broker, "--describe", "--group", group))
    same(described, [(topic, 0, "40", "0")], "offset and lag")
    assert "Empty" in groups(broker, "--describe", "--group", group, "--state")
    groups(broker, "--group", group, "--topic", topic, "--reset-offsets", "--to-offset", 3, "--execute")
    described = rows(groups(broker, "--describe", "--group", group))
    same(described, [(topic, 0, "3", "37")], "offset and lag after the reset")
    groups(broker, "--group", group, "--delete-offsets", "--topic", f"{topic}:0")
    same(rows(groups(broker, "--describe", "--group", group)), [], "offsets that are left")
    groups(broker, "--group", group, "--delete")
    assert group not in groups(broker, "--list").split()


def verifiable_consumers_share_and_one_is_killed(broker):
    topic, group = filled(broker, "verifiable", 400), broker.topic_name("group")
    command = [
        *("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", f"-Dlog4j2.configurationFile={QUIET}"),
        *("-cp", f"{os.environ['CORELANE_TEST_JARS']}/*", "org.apache.kafka.tools.VerifiableConsumer"),
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--group-id", group),
        *("--session-timeout", "6000", "--reset-policy", "earliest", "--group-protocol", "classic"),
    ]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    second = None
    try:
        events = (json.loads(line) for line in first.stdout if line.startswith("{"))
        consumed = 0
        for event in events:
            if event["name"] == "records_consumed":
                consumed += event["count"]
            if event["name"] == "offsets_committed":
                assert event["success"], event
                if consumed >= 400:
                    break
        same(consumed, 400, "records, each once")
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        theirs = (json.loads(line) for line in second.stdout if line.startswith("{"))
        share = next(event for event in theirs if event["name"] == "partitions_assigned" and event["partitions"])
        same(len(share["partitions"]), 1, "partitions of the second")
        first.kill()
        assigned = (event for event in theirs if event["name"] == "partitions_assigned")
        everything = next(event for event in assigned if len(event["partitions"]) == 2)
        same({one["topic"] for one in everything["partitions"]}, {topic}, "what the survivor gets")
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait()


def state_is_read_from_the_internal_topic_by_kafkas_own_code(broker):
    topic, group = filled(broker, "internal"), broker.topic_name("group")
    tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--group", group, "--from-beginning"),
        *("--max-messages", 40, "--timeout-ms", 30_000),
    )

    def read(formatter, wanted):
        printed = tool(
            "consumer.ConsoleConsumer",
            *("--bootstrap-server", broker.bootstrap, "--topic", "__consumer_offsets", "--from-beginning"),
            *("--formatter", f"org.apache.kafka.tools.consumer.{formatter}", "--timeout-ms", 8_000),
        )
        records = documents(printed)
        return [record for record in records if record["key"]["data"]["group"] == group and wanted(record)]

    offsets = read("OffsetsMessageFormatter", lambda record: record["value"] is not None)
    last = {record["key"]["data"]["partition"]: record["value"]["data"]["offset"] for record in offsets}
    same(sum(last.values()), 40, "offsets")
    same({record["key"]["data"]["topic"] for record in offsets}, {topic}, "topics")
    metadata = read("GroupMetadataMessageFormatter", lambda record: record["value"] is not None)
    same([len(record["value"]["data"]["members"]) for record in metadata], [1, 0], "members in each generation")
    same({record["value"]["data"]["protocolType"] for record in metadata}, {"consumer"}, "protocol type")
    eventually("the topic is internal", lambda: "__consumer_offsets" not in topics(broker, "--list", "--exclude-internal"))


if __name__ == "__main__":
    run(
        [
            a_group_is_consumed_described_reset_and_deleted,
            verifiable_consumers_share_and_one_is_killed,
            state_is_read_from_the_internal_topic_by_kafkas_own_code,
        ],
        f"Kafka's own programs {version()}, groups",
    )
