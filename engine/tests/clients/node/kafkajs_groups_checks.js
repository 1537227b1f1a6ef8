"use strict";
/**
 * Consumer groups of kafkajs against a broker. It has no static members.
 *
 * Usage: node kafkajs_groups_checks.js BOOTSTRAP [CHECK]...
 */

const { fork } = require("node:child_process");
const { once } = require("node:events");
const { version } = require("kafkajs/package.json");

const { eventually, refused, run, same } = require("./checks");
const { create, fill, Member, withAdmin, withMember } = require("./kafkajs_client");

const PARTITIONS = [0, 1, 2, 3];

const numbers = (records) => records.map(({ value }) => Number(value)).sort((one, other) => one - other);
const upTo = (count) => [...Array(count).keys()];

/** The offset after the last record of each partition. */
function places(records) {
  const next = new Map();
  for (const { topic, partition, offset } of records) {
    next.set(partition, { topic, partition, offset: String(Number(offset) + 1) });
  }
  return [...next.values()];
}

/** Waits until the members share all partitions of a topic. */
async function settle(topic, members) {
  await eventually(`${topic} is shared by ${members.length}`, () => {
    const shares = members.map((member) => member.partitions(topic));
    return shares.every((share) => share.length) && shares.flat().sort().join() === PARTITIONS.join();
  });
}

async function committed(broker, groupId, topic) {
  const [{ partitions }] = await withAdmin(broker, (admin) => admin.fetchOffsets({ groupId, topics: [topic] }));
  return partitions.sort((one, other) => one.partition - other.partition).map(({ offset }) => offset);
}

async function state(broker, groupId) {
  const { groups } = await withAdmin(broker, (admin) => admin.describeGroups([groupId]));
  return groups[0].state;
}

async function what_is_committed_is_where_the_next_one_begins(broker) {
  const [topic, group] = [await create(broker, "resume", 4), broker.fresh("group")];
  await fill(broker, topic, 40);
  await withMember(broker, group, [topic], async (member) => {
    const records = await member.receive(40);
    same(numbers(records), upTo(40), "records, each once");
    await member.consumer.commitOffsets(places(records));
  });
  await fill(broker, topic, 60);
  await withMember(broker, group, [topic], async (member) => {
    const records = await member.receive(60);
    same(numbers(records), upTo(60), "records that came later");
    await member.consumer.commitOffsets(places(records));
  });
  same(await committed(broker, group, topic), ["25", "25", "25", "25"], "offsets committed");
}

async function what_is_processed_is_committed_by_itself(broker) {
  const [topic, group] = [await create(broker, "automatic", 4), broker.fresh("group")];
  await fill(broker, topic);
  const member = new Member(broker, group);
  await member.start([topic], { autoCommit: true });
  await member.receive(100);
  await member.end();
  same(await committed(broker, group, topic), ["25", "25", "25", "25"], "offsets committed");
}

async function members_come_and_go(broker) {
  const [topic, group] = [await create(broker, "members", 4), broker.fresh("group")];
  await withMember(broker, group, [topic], async (first) => {
    await settle(topic, [first]);
    await withMember(broker, group, [topic], async (second) => {
      await settle(topic, [first, second]);
      await withMember(broker, group, [topic], (third) => settle(topic, [first, second, third]));
      await settle(topic, [first, second]);
    });
    await settle(topic, [first]);
  });
  await eventually("the group is empty", async () => (await state(broker, group)) === "Empty");
}

async function a_member_that_is_killed_is_replaced(broker) {
  const [topic, group] = [await create(broker, "killed", 4), broker.fresh("group")];
  const child = fork(__filename, ["--member", broker.bootstrap, group, topic]);
  try {
    same((await once(child, "message"))[0], 4, "partitions that the child got");
    await withMember(broker, group, [topic], async (survivor) => {
      await eventually("the child shares", () => survivor.partitions(topic).length === 2);
      child.kill("SIGKILL");
      await settle(topic, [survivor]);
    });
  } finally {
    child.kill("SIGKILL");
  }
}

/** The child of the check above: works until it is killed. */
async function beAMember(bootstrap, group, topic) {
  const member = new Member({ bootstrap }, group);
  member.consumer.on(member.consumer.events.GROUP_JOIN, () => process.send(member.partitions(topic).length));
  await member.start([topic]);
}

async function members_seek_and_pause(broker) {
  const topic = await create(broker, "seek", 2);
  await fill(broker, topic, 20, 2);
  await withMember(broker, broker.fresh("group"), [topic], async (member) => {
    same(numbers(await member.receive(20)), upTo(20), "records");
    member.consumer.seek({ topic, partition: 0, offset: "8" });
    same(numbers(await member.receive(2)), [16, 18], "records of partition 0 from offset 8");
    member.consumer.pause([{ topic, partitions: [0] }]);
    await fill(broker, topic, 10, 2);
    same(numbers(await member.receive(5)), [1, 3, 5, 7, 9], "records while partition 0 is paused");
    member.consumer.resume([{ topic, partitions: [0] }]);
    same(numbers(await member.receive(5)), [0, 2, 4, 6, 8], "records of partition 0 after it");
  });
}

async function topics_are_subscribed_by_pattern(broker) {
  // kafkajs looks for topics once, when it subscribes.
  const prefix = await create(broker, "pattern", 1);
  const first = `${prefix}-one`;
  await withAdmin(broker, (admin) => admin.createTopics({ topics: [{ topic: first, numPartitions: 1 }] }));
  await fill(broker, prefix, 10, 1);
  await fill(broker, first, 10, 1);
  await withMember(broker, broker.fresh("group"), [new RegExp(`^${prefix}.*`)], async (member) => {
    const records = await member.receive(20);
    same([...new Set(records.map(({ topic }) => topic))].sort(), [prefix, first], "topics");
  });
}

async function an_offset_that_is_not_there_is_reset(broker) {
  const [topic, group] = [await create(broker, "reset", 1), broker.fresh("group")];
  await fill(broker, topic, 20, 1);
  await withAdmin(broker, async (admin) => {
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: "5" }] });
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "12" }] });
  });
  await withMember(broker, group, [topic], async (member) => {
    same(numbers(await member.receive(8)), upTo(20).slice(12), "records from the first that is left");
  });
}

async function offsets_are_listed_set_reset_and_deleted_by_an_administrator(broker) {
  const [topic, group] = [await create(broker, "administered", 4), broker.fresh("group")];
  await fill(broker, topic);
  await withAdmin(broker, async (admin) => {
    const ends = await admin.fetchTopicOffsets(topic);
    const lag = async () => {
      const offsets = await committed(broker, group, topic);
      return ends.reduce((sum, { partition, high }) => sum + Number(high) - Math.max(0, Number(offsets[partition])), 0);
    };
    same(await lag(), 100, "lag before");
    await withMember(broker, group, [topic], async (member) => {
      await member.consumer.commitOffsets(places(await member.receive(100)));
      const { groups } = await admin.listGroups();
      same(groups.find(({ groupId }) => groupId === group)?.protocolType, "consumer", "the group in the list");
      same(await state(broker, group), "Stable", "state");
      await refused("NON_EMPTY_GROUP", () => admin.deleteGroups([group]).catch(({ groups: [{ error }] }) => Promise.reject(error)));
    });
    same(await lag(), 0, "lag after");
    await admin.setOffsets({ groupId: group, topic, partitions: PARTITIONS.map((partition) => ({ partition, offset: "5" })) });
    same(await lag(), 80, "lag from the offsets that were set");
    await withMember(broker, group, [topic], async (member) => {
      same(numbers(await member.receive(80)), upTo(100).slice(20), "records from there");
    });
    await admin.resetOffsets({ groupId: group, topic, earliest: true });
    await withMember(broker, group, [topic], async (member) => {
      same(numbers(await member.receive(100)), upTo(100), "records after the reset");
    });
    await eventually("the group is empty", async () => (await state(broker, group)) === "Empty");
    await admin.deleteGroups([group]);
    same(await committed(broker, group, topic), ["-1", "-1", "-1", "-1"], "offsets of a deleted group");
  });
}

if (process.argv[2] === "--member") {
  beAMember(...process.argv.slice(3));
} else {
  run(
    [
      what_is_committed_is_where_the_next_one_begins,
      what_is_processed_is_committed_by_itself,
      members_come_and_go,
      a_member_that_is_killed_is_replaced,
      members_seek_and_pause,
      topics_are_subscribed_by_pattern,
      an_offset_that_is_not_there_is_reset,
      offsets_are_listed_set_reset_and_deleted_by_an_administrator,
    ],
    `kafkajs (Node) ${version}, groups`,
  );
}
