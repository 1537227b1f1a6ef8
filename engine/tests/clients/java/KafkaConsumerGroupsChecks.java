import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnsupportedAssignorException;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;

/**
 * Groups of the consumer protocol (KIP-848) with Apache Kafka's own Java clients.
 *
 * <p>Usage: {@code java -cp 'JARS/*' KafkaConsumerGroupsChecks.java BOOTSTRAP [CHECK]...}. Every check has topics and
 * groups of its own; all failures of one run are reported, and the exit status is 1 if there were any.
 */
public final class KafkaConsumerGroupsChecks {
    private static final Duration DEADLINE = Duration.ofSeconds(40);
    private static final Duration TURN = Duration.ofMillis(20);
    private static final int PARTITIONS = 4;

    private final String bootstrap;
    private final Admin admin;
    private final KafkaProducer<byte[], byte[]> producer;

    private KafkaConsumerGroupsChecks(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "checks"));
        this.producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap), new ByteArraySerializer(), new ByteArraySerializer()
        );
    }

    private interface Check {
        void run() throws Exception;
    }

    private Map<String, Check> checks() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("membersShareWhatTheyAreSubscribedTo", this::membersShareWhatTheyAreSubscribedTo);
        checks.put("bothAssignorsAssign", this::bothAssignorsAssign);
        checks.put("committedOffsetsAreResumedFrom", this::committedOffsetsAreResumedFrom);
        checks.put("aStaticMemberComesBackToItsPartitions", this::aStaticMemberComesBackToItsPartitions);
        checks.put("expressionsFollowTopics", this::expressionsFollowTopics);
        checks.put("addedPartitionsAreAssigned", this::addedPartitionsAreAssigned);
        checks.put("administratorsSeeGroups", this::administratorsSeeGroups);
        checks.put("kafkasOwnCodeReadsTheRecords", this::kafkasOwnCodeReadsTheRecords);
        checks.put("groupsChangeTheirProtocolWhileMembersLive", this::groupsChangeTheirProtocolWhileMembersLive);
        return checks;
    }

    // ---- members

    private void membersShareWhatTheyAreSubscribedTo() throws Exception {
        String topic = create("share");
        String group = fresh("share");
        fill(topic, 200);
        try (Member first = new Member(group, Map.of())) {
            first.subscribe(topic);
            turnsUntil("all of it", () -> first.indexes().size() == PARTITIONS, first);
            try (Member second = new Member(group, Map.of())) {
                second.subscribe(topic);
                turnsUntil("halves", () -> first.indexes().size() == 2 && second.indexes().size() == 2, first, second);
                fill(topic, 200);
                turnsUntil("all records", () -> first.records.size() + second.records.size() >= 400, first, second);
                Set<Integer> both = new TreeSet<>(first.indexes());
                both.addAll(second.indexes());
                same(both, Set.of(0, 1, 2, 3), "owned by both");
            }
            turnsUntil("all of it again", () -> first.indexes().size() == PARTITIONS, first);
            fill(topic, 10);
            int before = first.records.size();
            turnsUntil("new records", () -> first.records.size() >= before + 10, first);
        }
    }

    private void bothAssignorsAssign() throws Exception {
        String topic = create("assignors");
        for (String assignor : List.of("range", "uniform")) {
            String group = fresh(assignor);
            try (Member first = new Member(group, Map.of("group.remote.assignor", assignor));
                 Member second = new Member(group, Map.of("group.remote.assignor", assignor))) {
                first.subscribe(topic);
                second.subscribe(topic);
                turnsUntil("halves", () -> first.indexes().size() == 2 && second.indexes().size() == 2, first, second);
                if (assignor.equals("range")) {
                    Set<Set<Integer>> ranges = Set.of(Set.copyOf(first.indexes()), Set.copyOf(second.indexes()));
                    same(ranges, Set.of(Set.of(0, 1), Set.of(2, 3)), "ranges");
                }
                same(describe(group).partitionAssignor(), assignor, "assignor");
            }
        }
        try (Member member = new Member(fresh("nobody"), Map.of("group.remote.assignor", "nobody"))) {
            member.subscribe(topic);
            fails(UnsupportedAssignorException.class, member);
        }
    }

    private void committedOffsetsAreResumedFrom() throws Exception {
        String topic = create("commit");
        String group = fresh("commit");
        fill(topic, 100);
        try (Member member = new Member(group, Map.of())) {
            member.subscribe(topic);
            turnsUntil("all records", () -> member.records.size() >= 100, member);
            member.consumer.commitSync();
            check(member.consumer.committed(Set.of(new TopicPartition(topic, 0))).values().stream().allMatch(each -> each.offset() == 25),
                "what was committed is not told");
        }
        fill(topic, 20);
        try (Member member = new Member(group, Map.of("enable.auto.commit", "true", "auto.commit.interval.ms", "100"))) {
            member.subscribe(topic);
            turnsUntil("the rest", () -> member.records.size() >= 20, member);
            same(member.records.size(), 20, "records of the second member");
        }
        Map<TopicPartition, Long> committed = new HashMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((place, offset) -> committed.put(place, offset.offset()));
        same(committed.values().stream().mapToLong(Long::longValue).sum(), 120L, "sum of the offsets");
    }

    private void aStaticMemberComesBackToItsPartitions() throws Exception {
        String topic = create("static");
        String group = fresh("static");
        try (Member other = new Member(group, Map.of())) {
            other.subscribe(topic);
            Set<Integer> had;
            Map<String, String> instance = Map.of("group.instance.id", "instance");
            try (Member first = new Member(group, instance)) {
                first.subscribe(topic);
                turnsUntil("halves", () -> other.indexes().size() == 2 && first.indexes().size() == 2, other, first);
                had = first.indexes();
                try (Member twin = new Member(group, instance)) {
                    twin.subscribe(topic);
                    fails(UnreleasedInstanceIdException.class, twin, other, first);
                }
            }
            int epoch = describe(group).groupEpoch().orElseThrow();
            try (Member back = new Member(group, instance)) {
                back.subscribe(topic);
                turnsUntil("its own again", () -> back.indexes().equals(had), other, back);
                same(other.indexes().size(), 2, "what the other has");
                same(describe(group).groupEpoch().orElseThrow(), epoch, "group epoch");
            }
        }
    }

    private void expressionsFollowTopics() throws Exception {
        String prefix = fresh("regex");
        String group = fresh("regex");
        make(prefix + "-a", 2);
        make(prefix + "-b", 1);
        make("not-" + prefix, 1);
        try (Member member = new Member(group, Map.of())) {
            member.consumer.subscribe(new SubscriptionPattern(prefix + "-[a-c]"));
            turnsUntil("both topics", () -> member.owned().size() == 3, member);
            make(prefix + "-c", 3);
            turnsUntil("a new topic", () -> member.owned().size() == 6, member);
            fill(prefix + "-c", 9, 3);
            turnsUntil("its records", () -> member.records.size() >= 9, member);
            admin.deleteTopics(List.of(prefix + "-a")).all().get();
            turnsUntil("a topic less", () -> member.owned().size() == 4, member);
            member.consumer.unsubscribe();
            member.consumer.subscribe(new SubscriptionPattern("(?i)" + prefix.toUpperCase() + "-B"));
            turnsUntil("another expression", () -> member.owned().equals(Set.of(new TopicPartition(prefix + "-b", 0))), member);
        }
        try (Member member = new Member(fresh("regex"), Map.of())) {
            member.consumer.subscribe(new SubscriptionPattern("("));
            fails(InvalidRegularExpression.class, member);
        }
    }

    private void addedPartitionsAreAssigned() throws Exception {
        String topic = create("grow");
        try (Member member = new Member(fresh("grow"), Map.of())) {
            member.subscribe(topic);
            turnsUntil("all of it", () -> member.indexes().size() == PARTITIONS, member);
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(7))).all().get();
            turnsUntil("more of it", () -> member.indexes().size() == 7, member);
        }
    }

    // ---- administration

    private void administratorsSeeGroups() throws Exception {
        String topic = create("admin");
        String group = fresh("admin");
        fill(topic, 8);
        try (Member member = new Member(group, Map.of("group.instance.id", "i", "client.id", "client", "client.rack", "r1"))) {
            member.subscribe(topic);
            turnsUntil("all records", () -> member.records.size() == 8, member);
            member.consumer.commitSync();
            GroupListing listed = listed(group);
            same(listed.type().orElseThrow(), GroupType.CONSUMER, "type");
            same(listed.groupState().orElseThrow(), GroupState.STABLE, "state");
            same(listed.protocol(), "consumer", "protocol");
            check(admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC))).all().get().stream()
                .noneMatch(each -> each.groupId().equals(group)), "listed as classic");
            ConsumerGroupDescription described = describe(group);
            same(described.type(), GroupType.CONSUMER, "type");
            same(described.groupState(), GroupState.STABLE, "state");
            same(described.partitionAssignor(), "uniform", "assignor");
            same(described.targetAssignmentEpoch(), described.groupEpoch(), "epochs");
            MemberDescription one = described.members().iterator().next();
            same(one.clientId(), "client", "client");
            same(one.groupInstanceId().orElseThrow(), "i", "instance");
            same(one.host(), "/127.0.0.1", "host");
            same(one.memberEpoch(), described.groupEpoch(), "member's epoch");
            same(one.upgraded().orElseThrow(), true, "speaks the consumer protocol");
            same(one.assignment().topicPartitions(), member.owned(), "assignment");
            same(one.targetAssignment().orElseThrow().topicPartitions(), member.owned(), "target");
            failsToGet(GroupIdNotFoundException.class, () -> admin.describeClassicGroups(List.of(group)).all().get());
            failsToGet(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        }
        failsToGet(GroupIdNotFoundException.class, () -> describe(fresh("nowhere")));
    }

    private void kafkasOwnCodeReadsTheRecords() throws Exception {
        String topic = create("records");
        String group = fresh("records");
        try (Member member = new Member(group, Map.of())) {
            member.consumer.subscribe(new SubscriptionPattern(topic));
            turnsUntil("all of it", () -> member.indexes().size() == PARTITIONS, member);
        }
        Set<String> kinds = new TreeSet<>();
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "group.protocol", "classic");
        try (KafkaConsumer<byte[], byte[]> reader = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> places = reader.partitionsFor("__consumer_offsets").stream()
                .map(each -> new TopicPartition(each.topic(), each.partition())).toList();
            reader.assign(places);
            reader.seekToBeginning(places);
            Map<TopicPartition, Long> ends = reader.endOffsets(places);
            eventually("all is read", () -> {
                reader.poll(TURN).forEach(record -> {
                    ApiMessage key = serde.deserialize(
                        ByteBuffer.wrap(record.key()), record.value() == null ? null : ByteBuffer.wrap(record.value())
                    ).key();
                    if (record.value() != null && key.toString().contains("groupId='" + group + "'")) {
                        kinds.add(key.getClass().getSimpleName());
                    }
                });
                return ends.entrySet().stream().allMatch(end -> reader.position(end.getKey()) >= end.getValue());
            });
        }
        same(kinds, Set.of(
            "ConsumerGroupMetadataKey", "ConsumerGroupMemberMetadataKey", "ConsumerGroupTargetAssignmentMetadataKey",
            "ConsumerGroupTargetAssignmentMemberKey", "ConsumerGroupCurrentMemberAssignmentKey", "ConsumerGroupRegularExpressionKey"
        ), "kinds of records");
    }

    // ---- from one protocol to the other

    private void groupsChangeTheirProtocolWhileMembersLive() throws Exception {
        String topic = create("migrate");
        String group = fresh("migrate");
        fill(topic, 40);
        Map<String, String> classic = new TreeMap<>(Map.of("group.protocol", "classic", "session.timeout.ms", "6000", "heartbeat.interval.ms", "300"));
        for (String strategy : List.of("org.apache.kafka.clients.consumer.CooperativeStickyAssignor", "org.apache.kafka.clients.consumer.RangeAssignor")) {
            classic.put("partition.assignment.strategy", strategy);
            try (Member old = new Member(group, classic); Member old2 = new Member(group, classic)) {
                old.subscribe(topic);
                old2.subscribe(topic);
                turnsUntil("classic halves", () -> old.indexes().size() == 2 && old2.indexes().size() == 2, old, old2);
                same(listed(group).type().orElseThrow(), GroupType.CLASSIC, "type before");
                old.consumer.commitSync();
                old2.consumer.commitSync();
                try (Member young = new Member(group, Map.of())) {
                    young.subscribe(topic);
                    turnsUntil("three share", () -> young.indexes().size() >= 1 && disjoint(old, old2, young), old, old2, young);
                    same(listed(group).type().orElseThrow(), GroupType.CONSUMER, "type after the upgrade");
                    old2.consumer.commitSync();
                    young.consumer.commitSync();
                    int seen = old.records.size() + old2.records.size() + young.records.size();
                    fill(topic, 40);
                    turnsUntil("all records", () -> old.records.size() + old2.records.size() + young.records.size() >= seen + 40, old, old2, young);
                }
                turnsUntil("classic halves again", () -> old.indexes().size() == 2 && old2.indexes().size() == 2 && disjoint(old, old2), old, old2);
                same(listed(group).type().orElseThrow(), GroupType.CLASSIC, "type after the downgrade");
                fill(topic, 4);
                int seen = old.records.size() + old2.records.size();
                turnsUntil("new records", () -> old.records.size() + old2.records.size() >= seen + 4, old, old2);
                old.consumer.commitSync();
                old2.consumer.commitSync();
            }
        }
        try (Member young = new Member(group, Map.of())) {
            young.subscribe(topic);
            turnsUntil("all of it", () -> young.indexes().size() == PARTITIONS, young);
            same(young.records.size(), 0, "records seen again");
        }
    }

    private static boolean disjoint(Member... members) {
        Set<TopicPartition> all = new java.util.HashSet<>();
        int count = 0;
        for (Member member : members) {
            all.addAll(member.owned());
            count += member.owned().size();
        }
        return count == PARTITIONS && all.size() == PARTITIONS;
    }

    // ---- tools

    /** A consumer with what it has received. */
    private final class Member implements AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();

        Member(String group, Map<String, String> settings) {
            Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", group,
                "group.protocol", "consumer",
                "auto.offset.reset", "earliest",
                "enable.auto.commit", "false",
                "metadata.max.age.ms", "500"
            ));
            all.putAll(settings);
            consumer = new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        void subscribe(String topic) {
            consumer.subscribe(List.of(topic));
        }

        void turn() {
            consumer.poll(TURN).forEach(records::add);
        }

        Set<TopicPartition> owned() {
            return Set.copyOf(consumer.assignment());
        }

        Set<Integer> indexes() {
            Set<Integer> indexes = new TreeSet<>();
            consumer.assignment().forEach(place -> indexes.add(place.partition()));
            return indexes;
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    private static void turnsUntil(String what, Callable<Boolean> probe, Member... members) throws Exception {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (!probe.call()) {
            if (System.nanoTime() > end) {
                StringBuilder owned = new StringBuilder();
                for (Member member : members) {
                    owned.append(' ').append(member.owned()).append(" and ").append(member.records.size()).append(" records;");
                }
                throw new AssertionError("not within " + DEADLINE + ": " + what + ";" + owned);
            }
            for (Member member : members) {
                member.turn();
            }
        }
    }

    private static void fails(Class<? extends Exception> expected, Member member, Member... others) throws Exception {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (System.nanoTime() < end) {
            for (Member other : others) {
                other.turn();
            }
            try {
                member.turn();
            } catch (Exception problem) {
                check(expected.isInstance(problem), "got " + problem);
                return;
            }
        }
        throw new AssertionError("no " + expected.getSimpleName());
    }

    private static void failsToGet(Class<? extends Exception> expected, Callable<?> action) throws Exception {
        try {
            action.call();
        } catch (ExecutionException problem) {
            check(expected.isInstance(problem.getCause()), "got " + problem.getCause());
            return;
        }
        throw new AssertionError("no " + expected.getSimpleName());
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
    }

    private GroupListing listed(String group) throws Exception {
        return admin.listGroups().all().get().stream().filter(each -> each.groupId().equals(group)).findFirst().orElseThrow();
    }

    private static String fresh(String purpose) {
        return purpose + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    private String create(String purpose) throws Exception {
        String topic = fresh(purpose);
        make(topic, PARTITIONS);
        return topic;
    }

    private void make(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        eventually(topic + " is listed", () -> admin.listTopics().names().get().contains(topic));
    }

    private void fill(String topic, int count) throws Exception {
        fill(topic, count, PARTITIONS);
    }

    private void fill(String topic, int count, int partitions) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(new ProducerRecord<>(topic, i % partitions, null, new byte[] {(byte) i}));
        }
        producer.flush();
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    private static void same(Object got, Object expected, String what) {
        check(Objects.equals(got, expected), what + ": got " + got + ", expected " + expected);
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
            System.err.println("usage: KafkaConsumerGroupsChecks BOOTSTRAP [CHECK]...");
            System.exit(2);
        }
        Set<String> wanted = Set.of(Arrays.copyOfRange(arguments, 1, arguments.length));
        System.out.println("client kafka-clients (Java) " + org.apache.kafka.common.utils.AppInfoParser.getVersion() + ", consumer protocol");
        List<String> failed = new ArrayList<>();
        KafkaConsumerGroupsChecks subject = new KafkaConsumerGroupsChecks(arguments[0]);
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
        subject.producer.close();
        subject.admin.close();
        if (!failed.isEmpty()) {
            System.out.println(failed.size() + " failed: " + String.join(", ", failed));
            System.exit(1);
        }
    }
}
