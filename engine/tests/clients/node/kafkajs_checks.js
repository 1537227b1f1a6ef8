"use strict";
/**
 * kafkajs against a broker: administration, producing, consuming.
 *
 * Usage: node kafkajs_checks.js BOOTSTRAP [CHECK]...
 */

const assert = require("node:assert/strict");
const { CompressionTypes, ConfigResourceTypes } = require("kafkajs");
const { version } = require("kafkajs/package.json");

const { eventually, refused, run, same } = require("./checks");
const { clientOf, create, using, withAdmin, withMember } = require("./kafkajs_client");

// Hours ago, so that it cannot be confused with the time of the broker; not so long that retention takes the records.
const FIRST_TIMESTAMP_MS = Date.now() - 6 * 3_600_000;

/** Null, empty, binary and repetitive keys and values; no headers, duplicate and empty ones. */
function varied(count = 120) {
  const binary = Buffer.from([...Array(256).keys()]);
  const headers = [
    {},
    { trace: Buffer.from("1") },
    { same: [Buffer.from("first"), Buffer.from("second"), Buffer.from("first")] },
    { empty: Buffer.alloc(0), binary },
    { größe: Buffer.from("höhe") },
  ];
  const keys = [null, Buffer.from("key"), Buffer.alloc(0), binary, Buffer.from("schlüssel")];
  return [...Array(count).keys()].map((i) => {
    const values = [null, Buffer.alloc(0), Buffer.from(`value-${i}`), Buffer.alloc(700, i), Buffer.from("repeat me ".repeat(90))];
    return {
      key: keys[Math.floor(i / 5) % 5],
      value: values[i % 5],
      headers: headers[Math.floor(i / 3) % 5],
      timestamp: String(FIRST_TIMESTAMP_MS + i * 10),
    };
  });
}

async function send(broker, topic, messages, options = {}, settings = {}) {
  const addressed = messages.map((message) => ({ partition: 0, ...message }));
  return using(clientOf(broker).producer(settings), (producer) => producer.send({ topic, messages: addressed, ...options }));
}

/** Everything of a topic, `count` records in all. */
async function receive(broker, topic, count) {
  return withMember(broker, broker.fresh("group"), [topic], (member) => member.receive(count));
}

function allSame(records, samples, firstOffset = 0) {
  same(records.length, samples.length, "number of records");
  samples.forEach((sample, index) => {
    const { key, value, headers, timestamp, offset } = records[index];
    same(offset, String(firstOffset + index), "offset");
    same({ key, value, headers: { ...headers }, timestamp }, sample, `record ${index}`);
  });
}

async function topics_are_created_listed_and_deleted(broker) {
  const topic = await create(broker, "admin", 3);
  await withAdmin(broker, async (admin) => {
    assert((await admin.listTopics()).includes(topic), "not listed");
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    same(topics[0].partitions.map((each) => each.partitionId).sort(), [0, 1, 2], "partitions");
    same(await admin.createTopics({ topics: [{ topic }] }), false, "made again");
    await refused("INVALID_TOPIC_EXCEPTION", () => admin.createTopics({ topics: [{ topic: "not a name" }] }));
    await refused("INVALID_PARTITIONS", () =>
      admin.createTopics({ topics: [{ topic: broker.fresh("none"), numPartitions: 0 }] }),
    );
    await admin.deleteTopics({ topics: [topic] });
    await eventually("the topic is gone", async () => !(await admin.listTopics()).includes(topic));
  });
}

async function partitions_are_added(broker) {
  const topic = await create(broker, "grow");
  await withAdmin(broker, async (admin) => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    same(topics[0].partitions.length, 4, "partitions");
    await refused("INVALID_PARTITIONS", () => admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }));
  });
}

async function topic_configs_are_described_and_altered(broker) {
  const topic = await create(broker, "config", 1, { "retention.ms": "3600000" });
  await withAdmin(broker, async (admin) => {
    const value = async (name) => {
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [name] }];
      const described = await admin.describeConfigs({ resources, includeSynonyms: true });
      return described.resources[0].configEntries[0].configValue;
    };
    same(await value("retention.ms"), "3600000", "retention.ms");
    const configEntries = [{ name: "retention.ms", value: "7200000" }];
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] });
    await eventually("retention.ms is altered", async () => (await value("retention.ms")) === "7200000");
  });
}

async function the_cluster_is_described(broker) {
  await withAdmin(broker, async (admin) => {
    const { brokers, controller, clusterId } = await admin.describeCluster();
    const ids = brokers.map((each) => each.nodeId);
    assert(ids.includes(controller) && clusterId, `controller ${controller} of ${ids}, cluster ${clusterId}`);
  });
}

async function every_codec_carries_every_kind_of_record(broker) {
  for (const [name, compression] of Object.entries(CompressionTypes)) {
    const topic = await create(broker, `codec-${name}`);
    const [{ errorCode, baseOffset }] = await send(broker, topic, varied(), { compression });
    same([errorCode, baseOffset], [0, "0"], `answer with ${name}`);
    allSame(await receive(broker, topic, 120), varied());
  }
}

async function every_level_of_acknowledgement_works(broker) {
  for (const acks of [0, 1, -1]) {
    const topic = await create(broker, `acks${acks}`);
    await send(broker, topic, varied(50), { acks });
    allSame(await receive(broker, topic, 50), varied(50));
  }
}

async function an_idempotent_producer_keeps_order(broker) {
  const topic = await create(broker, "idempotent");
  const samples = varied(400);
  await using(clientOf(broker).producer({ idempotent: true }), async (producer) => {
    // One after the other: of two that wait, it may send the second first.
    for (let first = 0; first < 400; first += 4) {
      const messages = samples.slice(first, first + 4).map((message) => ({ partition: 0, ...message }));
      const [{ baseOffset }] = await producer.send({ topic, messages });
      same(baseOffset, String(first), "offset");
    }
  });
  allSame(await receive(broker, topic, 400), samples);
}

async function offsets_are_found(broker) {
  const topic = await create(broker, "offsets", 2);
  await send(broker, topic, varied(300));
  await withAdmin(broker, async (admin) => {
    const found = (await admin.fetchTopicOffsets(topic)).sort((one, other) => one.partition - other.partition);
    same(found.map(({ low, high }) => [low, high]), [["0", "300"], ["0", "0"]], "beginnings and ends");
    for (const [delta, offset] of [[0, "0"], [1, "1"], [1234, "124"], [2990, "299"]]) {
      const at = await admin.fetchTopicOffsetsByTimestamp(topic, FIRST_TIMESTAMP_MS + delta);
      same(at.find((each) => each.partition === 0).offset, offset, `offset at +${delta}`);
    }
  });
}

async function records_are_deleted_below_an_offset(broker) {
  const topic = await create(broker, "trimmed");
  await send(broker, topic, varied(100));
  await withAdmin(broker, async (admin) => {
    // It deletes only what it knows the leaders of.
    same((await admin.fetchTopicOffsets(topic))[0].high, "100", "the end");
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "42" }] });
    same((await admin.fetchTopicOffsets(topic))[0].low, "42", "the first offset");
  });
  allSame(await receive(broker, topic, 58), varied(100).slice(42), 42);
}

async function a_topic_is_made_by_its_first_use(broker) {
  const topic = broker.fresh("auto");
  await send(broker, topic, varied(3));
  allSame(await receive(broker, topic, 3), varied(3));
}

run(
  [
    topics_are_created_listed_and_deleted,
    partitions_are_added,
    topic_configs_are_described_and_altered,
    the_cluster_is_described,
    every_codec_carries_every_kind_of_record,
    every_level_of_acknowledgement_works,
    an_idempotent_producer_keeps_order,
    offsets_are_found,
    records_are_deleted_below_an_offset,
    a_topic_is_made_by_its_first_use,
  ],
  `kafkajs (Node) ${version}`,
);
