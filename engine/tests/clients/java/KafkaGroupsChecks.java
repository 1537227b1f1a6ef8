import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Consumer groups of Apache Kafka's own Java clients against a broker, by the classic protocol.
 *
 * <p>Usage: {@code java -cp 'JARS/*' KafkaGroupsChecks.java BOOTSTRAP [CHECK]...}. Every check uses topics and groups of
 * its own; all failures of one run are reported, and the exit status is 1 if there were any.
 */
public final class KafkaGroupsChecks {
    private static final Duration DEADLINE = Duration.ofSeconds(30);
    private static final Duration MOMENT = Duration.ofMillis(20);
    private static final int PARTITIONS = 4;

    private final String bootstrap;
    private final Admin admin;

    private KafkaGroupsChecks(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "checks"));
    }

    private interface Check {
        void run() throws Exception;
    }

    private Map<String, Check> checks() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("whatIsCommittedIsWhereTheNextOneBegins", this::whatIsCommittedIsWhereTheNextOneBegins);
        checks.put("whatIsConsumedIsCommittedByItself", this::whatIsConsumedIsCommittedByItself);
        checks.put("membersComeAndGo", this::membersComeAndGo);
        checks.put("cooperativeMembersKeepWhatStaysTheirs", this::cooperativeMembersKeepWhatStaysTheirs);
        checks.put("aGroupMovesFromEagerToCooperative", this::aGroupMovesFromEagerToCooperative);
        checks.put("aMemberThatStopsPollingIsReplaced", this::aMemberThatStopsPollingIsReplaced);
        checks.put("staticMembersKeepWhatTheyOwn", this::staticMembersKeepWhatTheyOwn);
        checks.put("aSecondMemberOfOneInstanceFencesTheFirst", this::aSecondMemberOfOneInstanceFencesTheFirst);
        checks.put("aRebalanceIsAskedFor", this::aRebalanceIsAskedFor);
        checks.put("membersSeekPauseAndResume", this::membersSeekPauseAndResume);
        checks.put("topicsAreSubscribedByPattern", this::topicsAreSubscribedByPattern);
        checks.put("aTopicThatGrowsIsSharedAnew", this::aTopicThatGrowsIsSharedAnew);
        checks.put("offsetsAreResetAsThePolicySays", this::offsetsAreResetAsThePolicySays);
        checks.put("lagIsTold", this::lagIsTold);
        checks.put("groupsAreListedAndDescribed", this::groupsAreListedAndDescribed);
        checks.put("anAdministratorAltersAndDeletesOffsets", this::anAdministratorAltersAndDeletesOffsets);
        checks.put("anAdministratorRemovesMembersAndGroups", this::anAdministratorRemovesMembersAndGroups);
        return checks;
    }

    // ---- committing

    private void whatIsCommittedIsWhereTheNextOneBegins() throws Exception {
        String topic = create("resume", PARTITIONS), group = fresh("group");
        fill(topic, 100, PARTITIONS);
        Set<Integer> seen = new TreeSet<>();
        try (var member = member(group, Map.of("max.poll.records", 10), topic)) {
            seen.addAll(member.receive(40));
            member.consumer.commitSync();
        }
        try (var member = member(group, Map.of(), topic)) {
            List<Integer> rest = member.receive(100 - seen.size());
            same(rest.stream().filter(seen::contains).toList(), List.of(), "records that were committed before");
            seen.addAll(rest);
            member.consumer.commitSync();
            TopicPartition place = new TopicPartition(topic, 1);
            member.consumer.commitSync(Map.of(place, new OffsetAndMetadata(7, "seven")));
            OffsetAndMetadata found = member.consumer.committed(Set.of(place)).get(place);
            same(List.of(found.offset(), found.metadata()), List.of(7L, "seven"), "the offset and its text");
        }
        same(seen.size(), 100, "records");
        same(committed(group, topic), Map.of(0, 25L, 1, 7L, 2, 25L, 3, 25L), "offsets committed");
    }

    private void whatIsConsumedIsCommittedByItself() throws Exception {
        String topic = create("automatic", PARTITIONS), group = fresh("group");
        fill(topic, 100, PARTITIONS);
        try (var member = member(group, Map.of("enable.auto.commit", true, "auto.commit.interval.ms", 100), topic)) {
            member.receive(100);
            eventually("all is committed while it runs", () -> {
                member.poll();
                return committed(group, topic).equals(Map.of(0, 25L, 1, 25L, 2, 25L, 3, 25L));
            });
        }
    }

    // ---- membership

    private void membersComeAndGo() throws Exception {
        for (Class<?> assignor : List.of(
            RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            String topic = create("members", PARTITIONS), group = fresh("group");
            Map<String, Object> settings = Map.of("partition.assignment.strategy", assignor.getName());
            try (var first = member(group, settings, topic)) {
                settle(PARTITIONS, first);
                try (var second = member(group, settings, topic)) {
                    settle(PARTITIONS, first, second);
                    try (var third = member(group, settings, topic)) {
                        settle(PARTITIONS, first, second, third);
                    }
                    settle(PARTITIONS, first, second);
                }
                settle(PARTITIONS, first);
            }
            eventually("the group is empty", () -> describe(group).groupState() == GroupState.EMPTY);
        }
    }

    private void cooperativeMembersKeepWhatStaysTheirs() throws Exception {
        String topic = create("cooperative", PARTITIONS), group = fresh("group");
        Map<String, Object> settings = Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        try (var first = member(group, settings, topic)) {
            settle(PARTITIONS, first);
            try (var second = member(group, settings, topic)) {
                settle(PARTITIONS, first, second);
                same(first.revoked.size(), 2, "partitions that the first gave up");
                same(first.share().stream().anyMatch(first.revoked::contains), false, "what it gave up came back");
            }
        }
    }

    private void aGroupMovesFromEagerToCooperative() throws Exception {
        String topic = create("upgrade", PARTITIONS), group = fresh("group");
        String range = RangeAssignor.class.getName(), cooperative = CooperativeStickyAssignor.class.getName();
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < 2; i++) {
                members.add(member(group, Map.of("partition.assignment.strategy", range), topic));
            }
            settle(PARTITIONS, members.get(0), members.get(1));
            for (List<String> assignors : List.of(List.of(cooperative, range), List.of(cooperative))) {
                for (int i = 0; i < 2; i++) {
                    members.remove(0).close();
                    members.add(member(group, Map.of("partition.assignment.strategy", assignors), topic));
                    settle(PARTITIONS, members.get(0), members.get(1));
                }
            }
            same(describe(group).partitionAssignor(), "cooperative-sticky", "assignor");
        } finally {
            members.forEach(Member::close);
        }
    }

    private void aMemberThatStopsPollingIsReplaced() throws Exception {
        String topic = create("silent", PARTITIONS), group = fresh("group");
        fill(topic, 20, PARTITIONS);
        try (var silent = member(group, Map.of("max.poll.interval.ms", 1_000), topic);
             var other = member(group, Map.of(), topic)) {
            settle(PARTITIONS, silent, other);
            settle(PARTITIONS, other);
            fails(CommitFailedException.class,
                () -> silent.consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))));
            settle(PARTITIONS, silent, other);
        }
    }

    private void staticMembersKeepWhatTheyOwn() throws Exception {
        String topic = create("static", PARTITIONS), group = fresh("group");
        try (var stays = member(group, instance("a"), topic)) {
            Set<Integer> before;
            try (var goes = member(group, instance("b"), topic)) {
                settle(PARTITIONS, stays, goes);
                before = goes.share();
            }
            int rebalances = stays.assignments;
            try (var back = member(group, instance("b"), topic)) {
                eventually("it is back", () -> {
                    stays.poll();
                    back.poll();
                    return back.share().equals(before);
                });
                same(stays.assignments, rebalances, "assignments of the one that stayed");
                same(describe(group).members().stream().map(each -> each.groupInstanceId().orElse("none"))
                    .collect(Collectors.toCollection(TreeSet::new)), Set.of("a", "b"), "instances");
            }
        }
    }

    private static Map<String, Object> instance(String id) {
        return Map.of("group.instance.id", id, "session.timeout.ms", 30_000);
    }

    private void aSecondMemberOfOneInstanceFencesTheFirst() throws Exception {
        String topic = create("fenced", PARTITIONS), group = fresh("group");
        try (var first = member(group, instance("same"), topic)) {
            settle(PARTITIONS, first);
            try (var second = member(group, instance("same"), topic)) {
                settle(PARTITIONS, second);
                fails(FencedInstanceIdException.class, () -> eventually("the first is told to end", () -> {
                    first.poll();
                    return false;
                }));
            }
        }
    }

    private void aRebalanceIsAskedFor() throws Exception {
        String topic = create("asked", PARTITIONS), group = fresh("group");
        try (var one = member(group, Map.of(), topic)) {
            settle(PARTITIONS, one);
            int generation = one.consumer.groupMetadata().generationId();
            one.consumer.enforceRebalance("the check wants it");
            eventually("the next generation", () -> {
                one.poll();
                return one.consumer.groupMetadata().generationId() == generation + 1 && one.share().size() == PARTITIONS;
            });
        }
    }

    // ---- positions

    private void membersSeekPauseAndResume() throws Exception {
        String topic = create("seek", 2);
        fill(topic, 20, 2);
        TopicPartition zero = new TopicPartition(topic, 0), one = new TopicPartition(topic, 1);
        try (var member = member(fresh("group"), Map.of(), topic)) {
            same(member.receive(20), upTo(20), "records");
            same(member.consumer.position(zero), 10L, "position");
            member.consumer.seek(zero, 8);
            same(member.receive(2), List.of(16, 18), "records of partition 0 from offset 8");
            member.consumer.seekToBeginning(List.of(one));
            same(member.receive(10), upTo(20).stream().filter(number -> number % 2 == 1).toList(), "partition 1 again");
            member.consumer.pause(List.of(zero));
            fill(topic, 10, 2);
            same(member.receive(5), List.of(1, 3, 5, 7, 9), "records while partition 0 is paused");
            same(member.consumer.paused(), Set.of(zero), "paused");
            member.consumer.resume(List.of(zero));
            same(member.receive(5), List.of(0, 2, 4, 6, 8), "records of partition 0 after it");
            member.consumer.seekToEnd(List.of(zero, one));
            same(List.of(member.consumer.position(zero), member.consumer.position(one)), List.of(15L, 15L), "ends");
        }
    }

    private void topicsAreSubscribedByPattern() throws Exception {
        String prefix = fresh("pattern");
        try (var member = new Member(consumer(fresh("group"), Map.of()))) {
            member.consumer.subscribe(Pattern.compile(Pattern.quote(prefix) + "-.*"), member);
            for (String name : List.of(prefix + "-one", prefix + "-two")) {
                make(name, 1);
                fill(name, 10, 1);
                same(member.receive(10), upTo(10), "records of " + name);
                member.consumer.commitSync();
            }
            same(member.consumer.subscription(), Set.of(prefix + "-one", prefix + "-two"), "subscription");
        }
    }

    private void aTopicThatGrowsIsSharedAnew() throws Exception {
        String topic = create("grow", 2), group = fresh("group");
        try (var first = member(group, Map.of(), topic); var second = member(group, Map.of(), topic)) {
            settle(2, first, second);
            admin.createPartitions(Map.of(topic, org.apache.kafka.clients.admin.NewPartitions.increaseTo(6))).all().get();
            settle(6, first, second);
        }
    }

    private void offsetsAreResetAsThePolicySays() throws Exception {
        String topic = create("reset", 1);
        TopicPartition place = new TopicPartition(topic, 0);
        fill(topic, 20, 1);
        admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(12))).all().get();
        Map<String, Long> expected =
            new TreeMap<>(Map.of("earliest", 12L, "latest", 20L, "by_duration:PT1H", 12L));
        for (var policy : expected.entrySet()) {
            // Once without a committed offset, once with one that is gone.
            for (boolean committed : List.of(false, true)) {
                String group = fresh("group");
                if (committed) {
                    admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(5))).all().get();
                }
                try (var member = member(group, Map.of("auto.offset.reset", policy.getKey()), topic)) {
                    settle(1, member);
                    eventually("the end", () -> {
                        member.poll();
                        return member.consumer.position(place) == 20;
                    });
                    same(20L - member.values.size(), policy.getValue(), "where " + policy.getKey() + " begins");
                }
            }
        }
        try (var member = member(fresh("group"), Map.of("auto.offset.reset", "none"), topic)) {
            fails(NoOffsetForPartitionException.class, () -> settle(2, member));
        }
        String group = fresh("group");
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(5))).all().get();
        try (var member = member(group, Map.of("auto.offset.reset", "none"), topic)) {
            fails(OffsetOutOfRangeException.class, () -> settle(2, member));
        }
    }

    private void lagIsTold() throws Exception {
        String topic = create("lag", 1), group = fresh("group");
        TopicPartition place = new TopicPartition(topic, 0);
        fill(topic, 30, 1);
        try (var member = member(group, Map.of("max.poll.records", 10), topic)) {
            same(member.receive(10).size(), 10, "records");
            same(member.consumer.currentLag(place), OptionalLong.of(20), "the member's own lag");
            member.consumer.commitSync();
        }
        long end = admin.listOffsets(Map.of(place, OffsetSpec.latest())).all().get().get(place).offset();
        same(end - committed(group, topic).get(0), 20L, "the group's lag");
    }

    // ---- administration

    private void groupsAreListedAndDescribed() throws Exception {
        String topic = create("described", PARTITIONS), group = fresh("group");
        try (var member = member(group, Map.of("client.id", "its name"), topic)) {
            settle(PARTITIONS, member);
            var stable = admin.listGroups(ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE)));
            check(stable.all().get().stream().anyMatch(each -> each.groupId().equals(group)), "not listed");
            ConsumerGroupDescription description = describe(group);
            same(description.groupState(), GroupState.STABLE, "state");
            same(description.partitionAssignor(), "range", "assignor");
            check(description.coordinator() != null, "no coordinator");
            MemberDescription only = description.members().iterator().next();
            same(only.clientId(), "its name", "client id");
            same(only.consumerId(), member.consumer.groupMetadata().memberId(), "member id");
            same(only.assignment().topicPartitions(), member.consumer.assignment(), "assignment");
        }
        var empty = admin.listGroups(ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE)));
        check(empty.all().get().stream().noneMatch(each -> each.groupId().equals(group)), "listed as stable");
        fails(GroupIdNotFoundException.class, () -> describe(fresh("nobody")));
    }

    private void anAdministratorAltersAndDeletesOffsets() throws Exception {
        String topic = create("altered", PARTITIONS), group = fresh("group");
        fill(topic, 100, PARTITIONS);
        TopicPartition place = new TopicPartition(topic, 0);
        try (var member = member(group, Map.of(), topic)) {
            member.receive(100);
            member.consumer.commitSync();
            fails(UnknownMemberIdException.class,
                () -> admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(3))).all().get());
            fails(GroupSubscribedToTopicException.class,
                () -> admin.deleteConsumerGroupOffsets(group, Set.of(place)).all().get());
        }
        eventually("the group is empty", () -> describe(group).groupState() == GroupState.EMPTY);
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(3))).all().get();
        same(committed(group, topic), Map.of(0, 3L, 1, 25L, 2, 25L, 3, 25L), "offsets");
        try (var member = member(group, Map.of(), topic)) {
            same(member.receive(22).size(), 22, "records from the offset that was set");
        }
        eventually("the group is empty", () -> describe(group).groupState() == GroupState.EMPTY);
        admin.deleteConsumerGroupOffsets(group, Set.of(place)).all().get();
        same(committed(group, topic), Map.of(1, 25L, 2, 25L, 3, 25L), "offsets that are left");
    }

    private void anAdministratorRemovesMembersAndGroups() throws Exception {
        String topic = create("removed", PARTITIONS), group = fresh("group");
        try (var fixed = member(group, instance("fixed"), topic); var other = member(group, Map.of(), topic)) {
            settle(PARTITIONS, fixed, other);
            fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
            var one = new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("fixed")));
            admin.removeMembersFromConsumerGroup(group, one).all().get();
            settle(PARTITIONS, other);
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
            same(describe(group).groupState(), GroupState.EMPTY, "state without members");
            admin.deleteConsumerGroups(List.of(group)).all().get();
            fails(GroupIdNotFoundException.class, () -> describe(group));
        }
    }

    // ---- what the checks are made of

    /** A member of a group, which keeps what it received and how its share changed. Polled by the check's own thread. */
    private static final class Member implements AutoCloseable, ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<Integer> values = new ArrayList<>();
        final Set<Integer> revoked = new TreeSet<>();
        int assignments;

        Member(KafkaConsumer<byte[], byte[]> consumer) {
            this.consumer = consumer;
        }

        void poll() {
            for (var record : consumer.poll(MOMENT)) {
                values.add(Integer.parseInt(new String(record.value(), StandardCharsets.UTF_8)));
            }
        }

        Set<Integer> share() {
            return consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toCollection(TreeSet::new));
        }

        /** So many records at least, in order of their numbers; it forgets them. */
        List<Integer> receive(int count) throws Exception {
            eventually(count + " records", () -> {
                if (values.size() < count) {
                    poll();
                }
                return values.size() >= count;
            });
            List<Integer> received = values.stream().sorted().toList();
            values.clear();
            return received;
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> places) {
            assignments++;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> places) {
            places.forEach(place -> revoked.add(place.partition()));
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    private Member member(String group, Map<String, ?> settings, String topic) {
        Member member = new Member(consumer(group, settings));
        member.consumer.subscribe(List.of(topic), member);
        return member;
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, ?> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", false,
            "fetch.max.wait.ms", 20, "heartbeat.interval.ms", 100, "session.timeout.ms", 6_000, "metadata.max.age.ms", 500,
            "partition.assignment.strategy", RangeAssignor.class.getName()));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Polls the members until every partition has one owner and every member something. */
    private static void settle(int partitions, Member... members) throws Exception {
        eventually(partitions + " partitions are shared by " + members.length, () -> {
            List<Integer> all = new ArrayList<>();
            boolean everyone = true;
            for (Member member : members) {
                member.poll();
            }
            for (Member member : members) {
                everyone &= !member.share().isEmpty();
                all.addAll(member.share());
            }
            return everyone && all.stream().sorted().toList().equals(upTo(partitions));
        });
    }

    private static List<Integer> upTo(int count) {
        return IntStream.range(0, count).boxed().toList();
    }

    private static String fresh(String purpose) {
        return purpose + "-" + UUID.randomUUID().toString().substring(0, 13);
    }

    private void make(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        eventually(topic + " is listed", () -> admin.listTopics().names().get().contains(topic));
    }

    private String create(String purpose, int partitions) throws Exception {
        String topic = fresh(purpose);
        make(topic, partitions);
        return topic;
    }

    /** Records whose values are numbers, to the partitions in turn. */
    private void fill(String topic, int count, int partitions) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int number = 0; number < count; number++) {
                byte[] value = String.valueOf(number).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, number % partitions, null, value));
            }
        }
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private Map<Integer, Long> committed(String group, String topic) throws Exception {
        Map<Integer, Long> offsets = new TreeMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((place, offset) -> {
            if (place.topic().equals(topic)) {
                offsets.put(place.partition(), offset.offset());
            }
        });
        return offsets;
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
            Thread.sleep(5);
        }
    }

    public static void main(String[] arguments) {
        if (arguments.length < 1) {
            System.err.println("usage: KafkaGroupsChecks BOOTSTRAP [CHECK]...");
            System.exit(2);
        }
        Set<String> wanted = Set.of(Arrays.copyOfRange(arguments, 1, arguments.length));
        System.out.println(
            "client kafka-clients (Java) " + org.apache.kafka.common.utils.AppInfoParser.getVersion() + ", groups");
        List<String> failed = new ArrayList<>();
        KafkaGroupsChecks subject = new KafkaGroupsChecks(arguments[0]);
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
