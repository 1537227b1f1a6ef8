"""Apache Kafka's own command-line programs (`kafka-topics` and the like) against a broker.

Usage: kafka_tools_checks.py BOOTSTRAP [CHECK]...      with the jars' folder in CORELANE_TEST_JARS
"""

import json
import os
import re
import subprocess
from pathlib import Path

from checks import eventually, run, same

DEADLINE_S = 60
QUIET = Path(__file__).parent.parent / "java" / "log4j2.properties"


def tool(name, *arguments, feed=None, fails=False):
    """Runs one of the programs and gives what it printed. `feed` goes to its standard input."""
    jars = os.environ["CORELANE_TEST_JARS"]
    command = [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx256m",
        f"-Dlog4j2.configurationFile={QUIET}",
        "-cp",
        f"{jars}/*",
        f"org.apache.kafka.tools.{name}",
        *map(str, arguments),
    ]
    done = subprocess.run(command, input=feed, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    failed = done.returncode != 0
    assert failed == fails, f"{name} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if fails else "")


def version():
    """The version of the programs."""
    (jar,) = Path(os.environ["CORELANE_TEST_JARS"]).glob("kafka-tools-[0-9]*.jar")
    return jar.stem.removeprefix("kafka-tools-")


def topics(broker, *arguments, **options):
    return tool("TopicCommand", "--bootstrap-server", broker.bootstrap, *arguments, **options)


def topics_are_managed_by_command(broker):
    name = broker.topic_name("command")
    made = ("--topic", name, "--partitions", 3, "--replication-factor", 1, "--config", "retention.ms=3600000")
    topics(broker, "--create", *made)
    assert name in topics(broker, "--list").split()
    described = topics(broker, "--describe", "--topic", name)
    assert "PartitionCount: 3" in described and "retention.ms=3600000" in described, described
    same(len(re.findall(r"Partition: \d+\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)), 3, "partitions")
    topics(broker, "--alter", "--topic", name, "--partitions", 5)
    assert "PartitionCount: 5" in topics(broker, "--describe", "--topic", name)
    again = topics(broker, "--create", *made, fails=True)
    assert "TopicExistsException" in again, again
    topics(broker, "--delete", "--topic", name)
    eventually("the topic is gone", lambda: name not in topics(broker, "--list").split())


def lines_pass_from_console_to_console(broker):
    name = broker.topic_name("console")
    topics(broker, "--create", "--topic", name, "--partitions", 2, "--replication-factor", 1)
    lines = [f"h1:{i},h2:x\tkey-{i % 2}\tvalue {i}" for i in range(200)]
    tool(
        "ConsoleProducer",
        *("--bootstrap-server", broker.bootstrap, "--topic", name, "--compression-codec", "zstd"),
        *("--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"),
        feed="\n".join(lines) + "\n",
    )
    ends = dict(
        line.rsplit(":", 2)[1:] for line in offsets(broker, name).splitlines() if line.startswith(f"{name}:")
    )
    same(sum(map(int, ends.values())), 200, "end offsets together")
    read = []
    for partition, end in ends.items():
        if int(end) == 0:
            continue
        printed = tool(
            "consumer.ConsoleConsumer",
            *("--bootstrap-server", broker.bootstrap, "--topic", name, "--partition", partition),
            *("--offset", "0", "--max-messages", end, "--timeout-ms", 30_000),
            *("--formatter-property", "print.key=true", "--formatter-property", "print.headers=true"),
            *("--formatter-property", "print.offset=true"),
        )
        rows = [row.split("\t", 1) for row in printed.splitlines() if row]
        same([row[0] for row in rows], [f"Offset:{offset}" for offset in range(int(end))], "offsets read")
        read.extend(row[1] for row in rows)
    same(sorted(read), sorted(lines), "lines read")


def offsets(broker, name, when="latest"):
    return tool("GetOffsetShell", "--bootstrap-server", broker.bootstrap, "--topic", name, "--time", when)


def offsets_are_shown_and_records_deleted_by_command(broker):
    name = broker.topic_name("shell")
    topics(broker, "--create", "--topic", name, "--partitions", 1, "--replication-factor", 1)
    performance = tool(
        "ProducerPerformance",
        *("--topic", name, "--num-records", 5000, "--record-size", 100, "--throughput", -1),
        *("--command-property", f"bootstrap.servers={broker.bootstrap}"),
    )
    assert "5000 records sent" in performance, performance
    same(offsets(broker, name).strip(), f"{name}:0:5000", "the end")
    wanted = {"version": 1, "partitions": [{"topic": name, "partition": 0, "offset": 1234}]}
    request = Path(os.environ["CORELANE_TEST_FOLDER"]) / f"{name}.json"
    request.write_text(json.dumps(wanted))
    deleted = tool(
        "DeleteRecordsCommand", "--bootstrap-server", broker.bootstrap, "--offset-json-file", request
    )
    assert "low_watermark: 1234" in deleted, deleted
    same(offsets(broker, name, "earliest").strip(), f"{name}:0:1234", "the beginning")
    tail = tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", broker.bootstrap, "--topic", name, "--partition", 0, "--offset", "4990"),
        *("--max-messages", 10, "--timeout-ms", 30_000),
    )
    same([len(line) for line in tail.splitlines()], [100] * 10, "records read from offset 4990")


def every_record_of_the_verifiable_producer_is_acknowledged(broker):
    name = broker.topic_name("verifiable")
    topics(broker, "--create", "--topic", name, "--partitions", 3, "--replication-factor", 1)
    printed = tool(
        "VerifiableProducer",
        *("--bootstrap-server", broker.bootstrap, "--topic", name, "--max-messages", 1000, "--acks", -1),
    )
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    acknowledged = [event for event in events if event["name"] == "producer_send_success"]
    same(len(acknowledged), 1000, "acknowledged")
    same(len({(event["partition"], event["offset"]) for event in acknowledged}), 1000, "places")
    same({event["value"] for event in acknowledged}, {str(i) for i in range(1000)}, "values")
    (summary,) = (event for event in events if event["name"] == "tool_data")
    same(summary["acked"], 1000, "acknowledged by its own count")


CHECKS = [
    topics_are_managed_by_command,
    lines_pass_from_console_to_console,
    offsets_are_shown_and_records_deleted_by_command,
    every_record_of_the_verifiable_producer_is_acknowledged,
]

if __name__ == "__main__":
    run(CHECKS, f"Kafka's own programs {version()}")
