"use strict";
/** What the programs of kafkajs share: its clients with the tests' settings, its codecs, and records by a group. */

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const lz4 = require("lz4js");
const xxh32 = require("lz4js/xxh32.js");
const snappy = require("kafkajs-snappy");
const { ZstdCodec } = require("zstd-codec");

const { eventually } = require("./checks");

// kafkajs brings gzip alone; these are what its users add.
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => independent(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
const zstd = new Promise((resolve) => ZstdCodec.run((binding) => resolve(new binding.Simple())));
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
});

/** Kafka and its Java clients take only frames that say that no block refers to another; one block of 4 MiB does not. */
function independent(frame) {
  frame[4] |= 0x20;
  frame[6] = (xxh32.hash(0, frame, 4, 2) >> 8) & 0xff;
  return frame;
}

function clientOf(broker) {
  return new Kafka({ clientId: "checks", brokers: broker.bootstrap.split(","), logLevel: logLevel.NOTHING });
}

/** Gives `work` a connected admin client, producer or consumer, which is disconnected at the end. */
async function using(client, work) {
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.disconnect();
  }
}

const withAdmin = (broker, work) => using(clientOf(broker).admin(), work);

async function create(broker, purpose, partitions = 1, config = {}) {
  const topic = broker.fresh(purpose);
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
  await withAdmin(broker, (admin) =>
    admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] }),
  );
  return topic;
}

/** Records whose values are numbers, to the partitions in turn. */
async function fill(broker, topic, count = 100, partitions = 4) {
  const messages = [...Array(count).keys()].map((number) => ({
    value: String(number),
    partition: number % partitions,
  }));
  await using(clientOf(broker).producer(), (producer) => producer.send({ topic, messages }));
}

function consumerOf(broker, groupId, settings = {}) {
  return clientOf(broker).consumer({
    groupId,
    sessionTimeout: 6_000,
    heartbeatInterval: 300,
    maxWaitTimeInMs: 50,
    metadataMaxAge: 500,
    ...settings,
  });
}

/** A member of a group that keeps what it receives and what it owns. */
class Member {
  constructor(broker, groupId, settings = {}) {
    this.consumer = consumerOf(broker, groupId, settings);
    this.records = [];
    this.owned = {};
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.owned = payload.memberAssignment;
    });
  }

  async start(topics, options = {}) {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics, fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ topic, partition, message }) => {
        this.records.push({ topic, partition, ...message });
      },
      ...options,
    });
    return this;
  }

  partitions(topic) {
    return [...(this.owned[topic] ?? [])].sort((one, other) => one - other);
  }

  /** Waits until there are `count` records, which it gives and forgets. */
  async receive(count) {
    await eventually(`${count} records`, () => this.records.length >= count);
    return this.records.splice(0, this.records.length);
  }

  async end() {
    await this.consumer.disconnect();
  }
}

/** Gives `work` a started member, which leaves at the end. */
async function withMember(broker, groupId, topics, work, settings = {}) {
  const member = new Member(broker, groupId, settings);
  try {
    await member.start(topics);
    return await work(member);
  } finally {
    await member.end();
  }
}

module.exports = { clientOf, create, fill, Member, using, withAdmin, withMember };
