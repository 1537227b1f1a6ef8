import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache Kafka's own Java clients against a broker: administration, producing, consuming by assignment.
 *
 * <p>Usage: {@code java -cp 'JARS/*' KafkaClientsChecks.java BOOTSTRAP [CHECK]...}. Every check uses topics of its own;
 * all failures of one run are reported, and the exit status is 1 if there were any.
 */
public final class KafkaClientsChecks {
    private static final Duration DEADLINE = Duration.ofSeconds(30);
    /** Hours ago, so that it cannot be confused with the time of the broker; not so long that retention takes the records. */
    private static final long FIRST_TIMESTAMP_MS = System.currentTimeMillis() - 6 * 3_600_000L;
    private static final int MEBIBYTE = 1024 * 1024;
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private final String bootstrap;
    private final Admin admin;

    private KafkaClientsChecks(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "checks"));
    }

    private interface Check {
        void run() throws Exception;
    }

    private Map<String, Check> checks() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("topicsAreCreatedListedDescribedAndDeleted", this::topicsAreCreatedListedDescribedAndDeleted);
        checks.put("impossibleTopicsAreRefusedAsKafkaDoes", this::impossibleTopicsAreRefusedAsKafkaDoes);
        checks.put("partitionsAreAdded", this::partitionsAreAdded);
        checks.put("topicConfigsAreDescribedAndAltered", this::topicConfigsAreDescribedAndAltered);
        checks.put("theClusterIsDescribed", this::theClusterIsDescribed);
        checks.put("everyCodecCarriesEveryKindOfRecord", this::everyCodecCarriesEveryKindOfRecord);
        checks.put("everyLevelOfAcknowledgementWorks", this::everyLevelOfAcknowledgementWorks);
        checks.put("theIdempotentProducerKeepsOrder", this::theIdempotentProducerKeepsOrder);
        checks.put("recordsOfAMebibyteAreTakenWhereAllowed", this::recordsOfAMebibyteAreTakenWhereAllowed);
        checks.put("consumingStartsAtAnyOffset", this::consumingStartsAtAnyOffset);
        checks.put("manyPartitionsAreConsumedTogether", this::manyPartitionsAreConsumedTogether);
        checks.put("newsOfFewAmongManyPartitionsArrives", this::newsOfFewAmongManyPartitionsArrives);
        checks.put("offsetsAreFoundByTimestamp", this::offsetsAreFoundByTimestamp);
        checks.put("offsetsAreListed", this::offsetsAreListed);
        checks.put("recordsAreDeletedBelowAnOffset", this::recordsAreDeletedBelowAnOffset);
        checks.put("aDeletedTopicComesBackEmptyWithAnotherId", this::aDeletedTopicComesBackEmptyWithAnotherId);
        checks.put("theBrokerStampsWhereTheTopicSaysSo", this::theBrokerStampsWhereTheTopicSaysSo);
        checks.put("aTopicIsMadeByItsFirstUse", this::aTopicIsMadeByItsFirstUse);
        return checks;
    }

    // ---- administration

    private void topicsAreCreatedListedDescribedAndDeleted() throws Exception {
        String topic = create("admin", 3, Map.of("retention.ms", "3600000"));
        TopicDescription description = describe(topic);
        same(description.name(), topic, "name");
        same(description.partitions().stream().map(each -> each.partition()).toList(), List.of(0, 1, 2), "partitions");
        check(description.partitions().stream().allMatch(each -> each.leader() != null), "a partition has no leader");
        check(description.partitions().stream().allMatch(each -> each.isr().size() == 1), "isr is not one broker");
        check(admin.listTopics().names().get().contains(topic), "not listed");
        TopicDescription byId = admin.describeTopics(
            org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(description.topicId()))
        ).topicIdValues().get(description.topicId()).get();
        same(byId.name(), topic, "name found by id");
        fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
        admin.deleteTopics(List.of(topic)).all().get();
        eventually("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
        fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
        fails(UnknownTopicOrPartitionException.class, () -> describe(topic));
    }

    private void impossibleTopicsAreRefusedAsKafkaDoes() throws Exception {
        String topic = fresh("refused");
        fails(InvalidTopicException.class, () -> make(new NewTopic("not a name", 1, (short) 1)));
        fails(InvalidTopicException.class, () -> make(new NewTopic("x".repeat(250), 1, (short) 1)));
        fails(InvalidPartitionsException.class, () -> make(new NewTopic(topic, 0, (short) 1)));
        fails(InvalidReplicationFactorException.class, () -> make(new NewTopic(topic, 1, (short) 30)));
        fails(InvalidConfigurationException.class,
            () -> make(new NewTopic(topic, 1, (short) 1).configs(Map.of("no.such.config", "1"))));
        fails(InvalidConfigurationException.class,
            () -> make(new NewTopic(topic, 1, (short) 1).configs(Map.of("segment.bytes", "many"))));
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get();
        check(!admin.listTopics().names().get().contains(topic), "validate-only made a topic");
    }

    private void partitionsAreAdded() throws Exception {
        String topic = create("grow", 1, Map.of());
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        eventually("four partitions", () -> describe(topic).partitions().size() == 4);
        same(send(topic, 3, varied(10), Map.of()), offsets(0, 10), "offsets in a new partition");
        fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
    }

    private void topicConfigsAreDescribedAndAltered() throws Exception {
        String topic = create("config", 1, Map.of("retention.ms", "7200000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Callable<Config> config = () -> admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Config before = config.call();
        same(before.get("retention.ms").value(), "7200000", "retention.ms at creation");
        same(before.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
        same(before.get("segment.bytes").value(), "1073741824", "segment.bytes");
        same(before.get("segment.bytes").isDefault(), true, "segment.bytes is the default");
        same(before.get("cleanup.policy").value(), "delete", "cleanup.policy");
        Collection<AlterConfigOp> changes = List.of(
            new AlterConfigOp(new ConfigEntry("max.message.bytes", "2097152"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE));
        admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        eventually("max.message.bytes set", () -> config.call().get("max.message.bytes").value().equals("2097152"));
        Config after = config.call();
        same(after.get("cleanup.policy").value(), "delete,compact", "cleanup.policy after append");
        same(after.get("retention.ms").value(), "604800000", "retention.ms after delete");
        Collection<AlterConfigOp> unknown =
            List.of(new AlterConfigOp(new ConfigEntry("no.such.config", "1"), AlterConfigOp.OpType.SET));
        fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource, unknown)).all().get());
    }

    private void theClusterIsDescribed() throws Exception {
        var cluster = admin.describeCluster();
        check(!cluster.clusterId().get().isEmpty(), "no cluster id");
        check(!cluster.nodes().get().isEmpty(), "no nodes");
        check(cluster.controller().get() != null, "no controller");
        String node = cluster.nodes().get().iterator().next().idString();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, node);
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        same(config.get("default.replication.factor").value(), "1", "default.replication.factor");
    }

    // ---- producing and consuming

    private void everyCodecCarriesEveryKindOfRecord() throws Exception {
        for (String codec : CODECS) {
            String topic = create("codec-" + codec, 1, Map.of());
            List<Sample> samples = varied(120);
            same(send(topic, 0, samples, Map.of("compression.type", codec)), offsets(0, 120), "offsets with " + codec);
            allSame(receive(topic, 0, 0, Map.of()), samples, 0);
        }
    }

    private void everyLevelOfAcknowledgementWorks() throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String topic = create("acks-" + acks, 1, Map.of());
            send(topic, 0, varied(50), Map.of("acks", acks, "enable.idempotence", "false"));
            eventually("all records", () -> receive(topic, 0, 0, Map.of()).size() == 50);
            allSame(receive(topic, 0, 0, Map.of()), varied(50), 0);
        }
    }

    private void theIdempotentProducerKeepsOrder() throws Exception {
        String topic = create("idempotent", 2, Map.of());
        List<Sample> samples = new ArrayList<>();
        for (int i = 0; i < 3000; i++) {
            samples.add(new Sample(bytes("k" + i), bytes("v" + i), List.of(), FIRST_TIMESTAMP_MS + i));
        }
        for (int partition = 0; partition < 2; partition++) {
            same(send(topic, partition, samples, Map.of("batch.size", 300, "linger.ms", 0)), offsets(0, 3000), "offsets");
            allSame(receive(topic, partition, 0, Map.of()), samples, 0);
        }
    }

    private void recordsOfAMebibyteAreTakenWhereAllowed() throws Exception {
        Map<String, Object> generous = Map.of("max.request.size", 4 * MEBIBYTE);
        List<Sample> samples = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            byte[] value = new byte[MEBIBYTE];
            new Random(i).nextBytes(value);
            samples.add(new Sample(bytes("k"), value, List.of(), FIRST_TIMESTAMP_MS + i));
        }
        String refusing = create("large-refused", 1, Map.of());
        fails(RecordTooLargeException.class, () -> send(refusing, 0, samples.subList(0, 1), generous));
        String taking = create("large-taken", 1, Map.of("max.message.bytes", "2097152"));
        List<Sample> expected = new ArrayList<>();
        for (String codec : CODECS) {
            send(taking, 0, samples, Map.of("max.request.size", 4 * MEBIBYTE, "compression.type", codec));
            expected.addAll(samples);
        }
        // A record larger than what the consumer asks for is given all the same.
        allSame(receive(taking, 0, 0, Map.of("max.partition.fetch.bytes", 1000, "fetch.max.bytes", 1000)), expected, 0);
    }

    private void consumingStartsAtAnyOffset() throws Exception {
        String topic = create("offsets", 1, Map.of());
        List<Sample> samples = varied(300);
        send(topic, 0, samples, Map.of("batch.size", 3000, "compression.type", "lz4"));
        for (int start : List.of(0, 1, 42, 150, 298, 299, 300)) {
            allSame(receive(topic, 0, start, Map.of()), samples.subList(start, 300), start);
            allSame(receive(topic, 0, start, Map.of("isolation.level", "read_committed")), samples.subList(start, 300), start);
        }
        TopicPartition place = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(place));
            consumer.seek(place, 301);
            fails(OffsetOutOfRangeException.class, () -> consumer.poll(DEADLINE));
        }
    }

    private void manyPartitionsAreConsumedTogether() throws Exception {
        String topic = create("together", 8, Map.of());
        List<TopicPartition> places = new ArrayList<>();
        for (int partition = 0; partition < 8; partition++) {
            send(topic, partition, varied(100), Map.of("compression.type", CODECS.get(partition % 5)));
            places.add(new TopicPartition(topic, partition));
        }
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> received = new LinkedHashMap<>();
        try (var consumer = consumer(Map.of("fetch.max.bytes", 20_000))) {
            consumer.assign(places);
            consumer.seekToBeginning(places);
            long end = System.nanoTime() + DEADLINE.toNanos();
            int count = 0;
            while (count < 800) {
                check(System.nanoTime() < end, "only " + count + " records of 800");
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    received.computeIfAbsent(new TopicPartition(topic, record.partition()), key -> new ArrayList<>()).add(record);
                    count++;
                }
            }
        }
        for (TopicPartition place : places) {
            allSame(received.get(place), varied(100), 0);
        }
    }

    /** The consumer keeps fetch sessions: partitions that change, are paused and come back must all be told. */
    private void newsOfFewAmongManyPartitionsArrives() throws Exception {
        String topic = create("few-of-many", 120, Map.of());
        List<TopicPartition> places = new ArrayList<>();
        for (int partition = 0; partition < 120; partition++) {
            places.add(new TopicPartition(topic, partition));
        }
        try (var consumer = consumer(Map.of("fetch.max.wait.ms", 500))) {
            consumer.assign(places);
            consumer.seekToBeginning(places);
            same(consumer.poll(Duration.ofMillis(300)).count(), 0, "records of empty partitions");
            for (int round = 0; round < 4; round++) {
                TopicPartition paused = places.get(round);
                TopicPartition open = places.get(100 + round);
                consumer.pause(List.of(paused));
                send(topic, paused.partition(), varied(3), Map.of());
                send(topic, open.partition(), varied(3), Map.of());
                same(counts(consumer, 3), Map.of(open, 3), "records while one partition is paused");
                consumer.resume(List.of(paused));
                same(counts(consumer, 3), Map.of(paused, 3), "records of the partition that came back");
            }
        }
    }

    /** Polls until {@code wanted} records have come, and tells how many came of each partition. */
    private static Map<TopicPartition, Integer> counts(KafkaConsumer<byte[], byte[]> consumer, int wanted) {
        Map<TopicPartition, Integer> counts = new LinkedHashMap<>();
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (counts.values().stream().mapToInt(Integer::intValue).sum() < wanted) {
            check(System.nanoTime() < end, "only " + counts + " after " + DEADLINE);
            for (var record : consumer.poll(Duration.ofMillis(500))) {
                counts.merge(new TopicPartition(record.topic(), record.partition()), 1, Integer::sum);
            }
        }
        return counts;
    }

    private void offsetsAreFoundByTimestamp() throws Exception {
        String topic = create("times", 2, Map.of());
        TopicPartition place = new TopicPartition(topic, 0);
        TopicPartition empty = new TopicPartition(topic, 1);
        send(topic, 0, varied(300), Map.of("batch.size", 3000, "compression.type", "zstd"));
        try (var consumer = consumer(Map.of())) {
            for (long[] row : new long[][] {{0, 0}, {1, 1}, {10, 1}, {1234, 124}, {2990, 299}}) {
                var found = consumer.offsetsForTimes(Map.of(place, FIRST_TIMESTAMP_MS + row[0])).get(place);
                same(found.offset(), row[1], "offset at +" + row[0]);
                same(found.timestamp(), FIRST_TIMESTAMP_MS + row[1] * 10, "timestamp at +" + row[0]);
            }
            same(consumer.offsetsForTimes(Map.of(place, FIRST_TIMESTAMP_MS + 2991)).get(place), null, "after the last");
            same(consumer.offsetsForTimes(Map.of(empty, FIRST_TIMESTAMP_MS)).get(empty), null, "in an empty partition");
        }
    }

    private void offsetsAreListed() throws Exception {
        String topic = create("listed", 2, Map.of());
        TopicPartition place = new TopicPartition(topic, 0);
        TopicPartition empty = new TopicPartition(topic, 1);
        List<Sample> samples = new ArrayList<>();
        for (int delta : List.of(5, 90, 17, 90, 3)) {
            samples.add(new Sample(null, bytes("v"), List.of(), FIRST_TIMESTAMP_MS + delta));
        }
        send(topic, 0, samples, Map.of());
        try (var consumer = consumer(Map.of())) {
            same(consumer.beginningOffsets(List.of(place, empty)), Map.of(place, 0L, empty, 0L), "beginnings");
            same(consumer.endOffsets(List.of(place, empty)), Map.of(place, 5L, empty, 0L), "ends");
        }
        same(listed(place, OffsetSpec.earliest()), 0L, "earliest");
        same(listed(place, OffsetSpec.latest()), 5L, "latest");
        same(listed(place, OffsetSpec.maxTimestamp()), 1L, "maximum timestamp");
        same(listed(place, OffsetSpec.forTimestamp(FIRST_TIMESTAMP_MS + 6)), 1L, "by timestamp");
        same(listed(empty, OffsetSpec.maxTimestamp()), -1L, "maximum timestamp of nothing");
    }

    private void recordsAreDeletedBelowAnOffset() throws Exception {
        String topic = create("trimmed", 1, Map.of());
        TopicPartition place = new TopicPartition(topic, 0);
        send(topic, 0, varied(100), Map.of());
        same(trim(place, 42), 42L, "low watermark");
        same(listed(place, OffsetSpec.earliest()), 42L, "earliest");
        allSame(receive(topic, 0, 42, Map.of()), varied(100).subList(42, 100), 42);
        fails(OffsetOutOfRangeException.class, () -> receive(topic, 0, 41, Map.of()));
        same(trim(place, 10), 42L, "low watermark never falls");
        same(trim(place, -1), 100L, "all deleted");
        fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, () -> trim(place, 101));
        same(send(topic, 0, varied(1), Map.of()), List.of(100L), "the next offset");
    }

    private void aDeletedTopicComesBackEmptyWithAnotherId() throws Exception {
        String topic = create("again", 1, Map.of());
        var firstId = describe(topic).topicId();
        send(topic, 0, varied(5), Map.of());
        admin.deleteTopics(List.of(topic)).all().get();
        eventually("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
        make(new NewTopic(topic, 1, (short) 1));
        eventually("the topic is back", () -> admin.listTopics().names().get().contains(topic));
        check(!describe(topic).topicId().equals(firstId), "the topic id was used again");
        same(send(topic, 0, varied(2), Map.of()), offsets(0, 2), "offsets");
        allSame(receive(topic, 0, 0, Map.of()), varied(2), 0);
    }

    private void theBrokerStampsWhereTheTopicSaysSo() throws Exception {
        String topic = create("stamped", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        send(topic, 0, varied(20), Map.of("compression.type", "gzip"));
        long after = System.currentTimeMillis();
        for (var record : receive(topic, 0, 0, Map.of())) {
            same(record.timestampType(), TimestampType.LOG_APPEND_TIME, "kind of timestamp");
            check(record.timestamp() >= before && record.timestamp() <= after, "timestamp " + record.timestamp());
        }
    }

    private void aTopicIsMadeByItsFirstUse() throws Exception {
        String topic = fresh("auto");
        same(send(topic, 0, varied(3), Map.of()), offsets(0, 3), "offsets");
        same(receive(topic, 0, 0, Map.of()).size(), 3, "records");
    }

    // ---- what the checks are made of

    private record Sample(byte[] key, byte[] value, List<Header> headers, long timestampMs) {}

    /** Null, empty, binary and repetitive keys and values; no headers, duplicate headers, null and empty headers. */
    private static List<Sample> varied(int count) {
        byte[] binary = new byte[256];
        for (int i = 0; i < binary.length; i++) {
            binary[i] = (byte) i;
        }
        List<List<Header>> headerSets = List.of(
            List.of(),
            List.of(new RecordHeader("trace", bytes("1"))),
            List.of(new RecordHeader("same", bytes("first")), new RecordHeader("same", bytes("second")), new RecordHeader("same", bytes("first"))),
            List.of(new RecordHeader("null", null), new RecordHeader("empty", new byte[0]), new RecordHeader("binary", binary)),
            List.of(new RecordHeader("größe", bytes("höhe"))));
        List<byte[]> keys = Arrays.asList(null, bytes("key"), new byte[0], binary, bytes("schlüssel"));
        List<Sample> samples = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] value = switch (i % 5) {
                case 0 -> null;
                case 1 -> new byte[0];
                case 2 -> bytes("value-" + i);
                case 3 -> filled(700, (byte) i);
                default -> bytes("repeat me ".repeat(90));
            };
            samples.add(new Sample(keys.get((i / 5) % 5), value, headerSets.get((i / 3) % 5), FIRST_TIMESTAMP_MS + i * 10L));
        }
        return samples;
    }

    private static byte[] filled(int size, byte with) {
        byte[] filled = new byte[size];
        Arrays.fill(filled, with);
        return filled;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static List<Long> offsets(long from, long end) {
        List<Long> offsets = new ArrayList<>();
        for (long offset = from; offset < end; offset++) {
            offsets.add(offset);
        }
        return offsets;
    }

    private static String fresh(String purpose) {
        return purpose + "-" + UUID.randomUUID().toString().substring(0, 13);
    }

    private void make(NewTopic topic) throws Exception {
        admin.createTopics(List.of(topic)).all().get();
    }

    private String create(String purpose, int partitions, Map<String, String> config) throws Exception {
        String topic = fresh(purpose);
        make(new NewTopic(topic, partitions, (short) 1).configs(config));
        eventually(topic + " is listed", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    private TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private long listed(TopicPartition place, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(place, spec)).all().get().get(place).offset();
    }

    private long trim(TopicPartition place, long offset) throws Exception {
        return admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(offset))).lowWatermarks().get(place).get().lowWatermark();
    }

    private List<Long> send(String topic, int partition, List<Sample> samples, Map<String, ?> settings) throws Exception {
        Map<String, Object> all = new LinkedHashMap<>(Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 30_000, "request.timeout.ms", 20_000));
        all.putAll(settings);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (Sample sample : samples) {
                sent.add(producer.send(new ProducerRecord<>(
                    topic, partition, sample.timestampMs(), sample.key(), sample.value(), sample.headers())));
            }
            producer.flush();
        }
        List<Long> offsets = new ArrayList<>();
        for (var future : sent) {
            offsets.add(future.get().offset());
        }
        return offsets;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, ?> settings) {
        Map<String, Object> all = new LinkedHashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "auto.offset.reset", "none", "enable.auto.commit", false, "fetch.max.wait.ms", 20));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Everything from {@code offset} to the end of the partition. */
    private List<ConsumerRecord<byte[], byte[]>> receive(String topic, int partition, long offset, Map<String, ?> settings) {
        TopicPartition place = new TopicPartition(topic, partition);
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (var consumer = consumer(settings)) {
            consumer.assign(List.of(place));
            consumer.seek(place, offset);
            long end = consumer.endOffsets(List.of(place)).get(place);
            long deadline = System.nanoTime() + DEADLINE.toNanos();
            while (consumer.position(place) < end) {
                check(System.nanoTime() < deadline, "at " + consumer.position(place) + " of " + end + " after " + DEADLINE);
                consumer.poll(Duration.ofMillis(500)).forEach(records::add);
            }
        }
        return records;
    }

    private static void allSame(List<ConsumerRecord<byte[], byte[]>> records, List<Sample> samples, long firstOffset) {
        same(records == null ? 0 : records.size(), samples.size(), "number of records");
        for (int i = 0; i < samples.size(); i++) {
            ConsumerRecord<byte[], byte[]> record = records.get(i);
            Sample sample = samples.get(i);
            same(record.offset(), firstOffset + i, "offset");
            check(Arrays.equals(record.key(), sample.key()), "key at " + record.offset());
            check(Arrays.equals(record.value(), sample.value()), "value at " + record.offset());
            same(List.of(record.headers().toArray()), sample.headers(), "headers at " + record.offset());
            same(record.timestamp(), sample.timestampMs(), "timestamp at " + record.offset());
        }
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    private static void same(Object got, Object expected, String what) {
        check(Objects.equals(got, expected), what + ": got " + got + ", expected " + expected);
    }

    private static void fails(Class<? extends Exception> expected, Check call) throws Exception {
        try {
            call.run();
        } catch (Exception exception) {
            Throwable cause = exception instanceof ExecutionException ? exception.getCause() : exception;
            if (expected.isInstance(cause)) {
                return;
            }
            throw new AssertionError("expected " + expected.getSimpleName() + ", got " + cause, cause);
        }
        throw new AssertionError("expected " + expected.getSimpleName() + ", and nothing was thrown");
    }

    private static void eventually(String what, Callable<Boolean> probe) throws Exception {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (!probe.call()) {
            check(System.nanoTime() < end, "not within " + DEADLINE + ": " + what);
            Thread.sleep(50);
        }
    }

    public static void main(String[] arguments) {
        if (arguments.length < 1) {
            System.err.println("usage: KafkaClientsChecks BOOTSTRAP [CHECK]...");
            System.exit(2);
        }
        Set<String> wanted = Set.of(Arrays.copyOfRange(arguments, 1, arguments.length));
        System.out.println("client kafka-clients (Java) " + org.apache.kafka.common.utils.AppInfoParser.getVersion());
        List<String> failed = new ArrayList<>();
        KafkaClientsChecks subject = new KafkaClientsChecks(arguments[0]);
        subject.checks().forEach((name, check) -> {
            if (!wanted.isEmpty() && !wanted.contains(name)) {
                return;
            }
            long start = System.nanoTime();
            String verdict = "ok      ";
            try {
                check.run();
            } catch (Throwable problem) {
                verdict = "FAILED  ";
                failed.add(name);
                problem.printStackTrace(System.out);
            }
            System.out.printf("%s%s (%.2f s)%n", verdict, name, (System.nanoTime() - start) / 1e9);
        });
        subject.admin.close();
        if (!failed.isEmpty()) {
            System.out.println(failed.size() + " failed: " + String.join(", ", failed));
            System.exit(1);
        }
    }
}
