"""Consumer groups of aiokafka against a broker.

Usage: aiokafka_groups_checks.py BOOTSTRAP [CHECK]...
"""

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from aiokafka_checks import DEADLINE_S, admin_of, create, plain, started
from checks import run, same

PARTITIONS = 4


async def eventually(what, probe):
    """Asks `probe`, which may be a coroutine function, until it gives something truthy."""
    async with asyncio.timeout(DEADLINE_S) as limit:
        try:
            while True:
                result = probe()
                result = await result if asyncio.iscoroutine(result) else result
                if result:
                    return result
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            assert not limit.expired(), f"not within {DEADLINE_S} s: {what}"
            raise


async def fill(broker, topic, count=100, partitions=PARTITIONS):
    async with started(AIOKafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
        futures = [
            await producer.send(topic, str(number).encode(), partition=number % partitions) for number in range(count)
        ]
        for future in futures:
            await future


class Member(ConsumerRebalanceListener):
    """A member that reads in a task of its own, and keeps what it received and how often it had to rebalance."""

    def __init__(self, bootstrap, group, settings):
        plain_settings = {
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 300,
            "metadata_max_age_ms": 500,
            "fetch_max_wait_ms": 50,
        }
        self.consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, **plain_settings | settings)
        self.values = []
        self.rebalances = 0

    def on_partitions_revoked(self, revoked):
        self.rebalances += 1

    def on_partitions_assigned(self, assigned):
        pass

    async def work(self):
        async for record in self.consumer:
            self.values.append(int(record.value))

    def share(self, topic):
        return sorted(place.partition for place in self.consumer.assignment() if place.topic == topic)

    async def receive(self, count):
        """Waits for so many records, gives their numbers in order, and forgets them."""
        await eventually(f"{count} records", lambda: len(self.values) >= count)
        received, self.values[:] = sorted(self.values), []
        return received


@asynccontextmanager
async def member(broker, group, topic, **settings):
    """A member of a group that is subscribed to a topic, or to the topics of a pattern; it leaves at the end."""
    one = Member(broker.bootstrap, group, settings)
    if isinstance(topic, re.Pattern):
        one.consumer.subscribe(pattern=topic.pattern, listener=one)
    else:
        one.consumer.subscribe([topic], listener=one)
    await one.consumer.start()
    task = asyncio.create_task(one.work())
    try:
        yield one
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await one.consumer.stop()


async def settle(topic, *members, partitions=PARTITIONS):
    def shared():
        shares = [each.share(topic) for each in members]
        return all(shares) and sorted(sum(shares, [])) == list(range(partitions))

    await eventually(f"{topic} is shared by {len(members)}", shared)


async def what_is_committed_is_where_the_next_one_begins(broker):
    topic, group = await create(broker, "aio-resume", PARTITIONS), broker.topic_name("group")
    for count in (40, 60):
        await fill(broker, topic, count)
        async with member(broker, group, topic) as one:
            same(await one.receive(count), list(range(count)), "records, each once")
            await one.consumer.commit()
    async with admin_of(broker) as admin:
        offsets = await admin.list_consumer_group_offsets(group)
        same({place.partition: found.offset for place, found in offsets.items()}, dict.fromkeys(range(4), 25), "offsets")


async def what_is_consumed_is_committed_by_itself(broker):
    topic, group = await create(broker, "aio-automatic", PARTITIONS), broker.topic_name("group")
    await fill(broker, topic)
    async with member(broker, group, topic, enable_auto_commit=True, auto_commit_interval_ms=100) as one:
        await one.receive(100)

        async def committed():
            return [await one.consumer.committed(TopicPartition(topic, index)) for index in range(4)] == [25] * 4

        await eventually("all is committed", committed)


async def members_come_and_go(broker):
    for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor):
        topic, group = await create(broker, "aio-members", PARTITIONS), broker.topic_name("group")
        settings = {"partition_assignment_strategy": [assignor]}
        async with member(broker, group, topic, **settings) as first:
            await settle(topic, first)
            async with member(broker, group, topic, **settings) as second:
                await settle(topic, first, second)
                async with member(broker, group, topic, **settings) as third:
                    await settle(topic, first, second, third)
                await settle(topic, first, second)
            await settle(topic, first)


async def a_member_that_is_killed_is_replaced(broker):
    topic, group = await create(broker, "aio-killed", PARTITIONS), broker.topic_name("group")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, broker.bootstrap, "--member", group, topic), stdout=asyncio.subprocess.PIPE
    )
    try:
        same(await child.stdout.readline(), b"4\n", "partitions that the child got")
        async with member(broker, group, topic) as survivor:
            await eventually("the child shares", lambda: len(survivor.share(topic)) == 2)
            child.send_signal(signal.SIGKILL)
            await settle(topic, survivor)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def be_a_member(bootstrap, group, topic):
    """The child of the check above: works until it is killed."""
    one = Member(bootstrap, group, {})
    one.consumer.subscribe([topic], listener=one)
    await one.consumer.start()
    await settle(topic, one)
    print(len(one.share(topic)), flush=True)
    await one.work()


async def a_static_member_comes_back_in_its_place(broker):
    topic, group = await create(broker, "aio-static", PARTITIONS), broker.topic_name("group")
    of = lambda name: {"group_instance_id": name, "session_timeout_ms": 30_000}  # noqa: E731
    async with member(broker, group, topic, **of("a")) as stays:
        async with member(broker, group, topic, **of("b")) as goes:
            await settle(topic, stays, goes)
            before, rebalances = goes.share(topic), stays.rebalances
        async with member(broker, group, topic, **of("b")) as back:
            await settle(topic, stays, back)
            same(back.share(topic), before, "what it owns again")
            same(stays.rebalances, rebalances, "rebalances of the one that stayed")


async def a_commit_of_an_earlier_generation_is_refused(broker):
    topic, group = await create(broker, "aio-stale", PARTITIONS), broker.topic_name("group")
    async with member(broker, group, topic) as first:
        await settle(topic, first)
        async with member(broker, group, topic) as second:
            await settle(topic, first, second)
            (lost,) = second.share(topic)[:1]
            try:
                await first.consumer.commit({TopicPartition(topic, lost): 1})
                raise AssertionError("a commit for a partition of another member was taken")
            except aiokafka.errors.IllegalStateError:
                pass
    # A commit without a membership is refused while there are members, and taken afterwards.
    async with started(AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False)) as one:
        place = TopicPartition(topic, 0)
        one.assign([place])
        await one.commit({place: OffsetAndMetadata(3, "three")})
        same(await one.committed(place), 3, "the offset")
        async with member(broker, group, topic) as other:
            await settle(topic, other)
            try:
                await one.commit({place: 4})
                raise AssertionError("a commit without a membership was taken")
            except CommitFailedError:
                pass


async def members_seek_and_pause(broker):
    topic = await create(broker, "aio-seek", 2)
    await fill(broker, topic, 20, 2)
    zero = TopicPartition(topic, 0)
    async with member(broker, broker.topic_name("group"), topic) as one:
        same(await one.receive(20), list(range(20)), "records")
        one.consumer.seek(zero, 8)
        same(await one.receive(2), [16, 18], "records of partition 0 from offset 8")
        one.consumer.pause(zero)
        await fill(broker, topic, 10, 2)
        same(await one.receive(5), [1, 3, 5, 7, 9], "records while partition 0 is paused")
        one.consumer.resume(zero)
        same(await one.receive(5), [0, 2, 4, 6, 8], "records of partition 0 after it")
        await one.consumer.seek_to_beginning(zero)
        same(len(await one.receive(15)), 15, "records from the beginning")


async def topics_are_subscribed_by_pattern(broker):
    prefix = broker.topic_name("aio-pattern")
    async with member(broker, broker.topic_name("group"), re.compile(f"^{prefix}-.*")) as one:
        for name in (f"{prefix}-one", f"{prefix}-two"):
            async with admin_of(broker) as admin:
                await admin.create_topics([aiokafka.admin.NewTopic(name, 1, 1)])
            await fill(broker, name, 10, 1)
            same(await one.receive(10), list(range(10)), f"records of {name}")
            await one.consumer.commit()


async def an_offset_that_is_not_there_is_reset(broker):
    topic, group = await create(broker, "aio-reset", 1), broker.topic_name("group")
    await fill(broker, topic, 20, 1)
    place = TopicPartition(topic, 0)
    async with started(AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False)) as one:
        one.assign([place])
        await one.commit({place: 5})
    async with admin_of(broker) as admin:
        await admin.delete_records({place: aiokafka.admin.RecordsToDelete(12)})
    async with member(broker, group, topic) as one:
        same(await one.receive(8), list(range(12, 20)), "records from the first that is left")


async def groups_and_lag_are_told(broker):
    topic, group = await create(broker, "aio-told", 1), broker.topic_name("group")
    await fill(broker, topic, 30, 1)
    place = TopicPartition(topic, 0)
    async with admin_of(broker) as admin, member(broker, group, topic, max_poll_records=10) as one:
        await one.receive(30)
        await one.consumer.commit({place: 10})
        offsets = await admin.list_consumer_group_offsets(group)
        ends = await one.consumer.end_offsets([place])
        same(ends[place] - offsets[place].offset, 20, "lag")
        assert any(group == found[0] for found in await admin.list_consumer_groups()), "the group is listed"
        (described,) = await admin.describe_consumer_groups([group])
        assert "Stable" in str(described), described


if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[2] == "--member":
    asyncio.run(be_a_member(sys.argv[1], *sys.argv[3:]))

CHECKS = [
    plain(check)
    for check in (
        what_is_committed_is_where_the_next_one_begins,
        what_is_consumed_is_committed_by_itself,
        members_come_and_go,
        a_member_that_is_killed_is_replaced,
        a_static_member_comes_back_in_its_place,
        a_commit_of_an_earlier_generation_is_refused,
        members_seek_and_pause,
        topics_are_subscribed_by_pattern,
        an_offset_that_is_not_there_is_reset,
        groups_and_lag_are_told,
    )
]

if __name__ == "__main__":
    run(CHECKS, f"aiokafka {aiokafka.__version__}, groups")
