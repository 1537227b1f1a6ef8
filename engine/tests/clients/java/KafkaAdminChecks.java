import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

/**
 * What Kafka's own admin client and its command-line programs ask of a broker beside topics: directories, producers, elections,
 * reassignments, the quorum, features, configurations. The programs run in this JVM, since each of their own costs seconds.
 *
 * <p>Usage: {@code java -cp 'JARS/*' KafkaAdminChecks.java BOOTSTRAP [CHECK]...}.
 */
public final class KafkaAdminChecks {
    private static final Duration DEADLINE = Duration.ofSeconds(30);

    private final String bootstrap;
    private final Admin admin;

    private KafkaAdminChecks(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "admin-checks"));
    }

    private interface Check {
        void run() throws Exception;
    }

    private Map<String, Check> checks() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("logDirectoriesHoldEveryPartitionOnce", this::logDirectoriesHoldEveryPartitionOnce);
        checks.put("producersAreDescribed", this::producersAreDescribed);
        checks.put("noElectionIsNeeded", this::noElectionIsNeeded);
        checks.put("partitionsStayWhereTheyAre", this::partitionsStayWhereTheyAre);
        checks.put("theQuorumIsDescribed", this::theQuorumIsDescribed);
        checks.put("featuresStayAsTheyAre", this::featuresStayAsTheyAre);
        checks.put("configResourcesAreListed", this::configResourcesAreListed);
        checks.put("everyConfigOfATopicIsExplained", this::everyConfigOfATopicIsExplained);
        checks.put("everyConfigOfABrokerIsExplained", this::everyConfigOfABrokerIsExplained);
        checks.put("topicDefaultsChangeWhileTheBrokerRuns", this::topicDefaultsChangeWhileTheBrokerRuns);
        checks.put("groupsHaveSettingsOfTheirOwn", this::groupsHaveSettingsOfTheirOwn);
        checks.put("readOnlyConfigsAreRefused", this::readOnlyConfigsAreRefused);
        checks.put("commandsPrintWhatIsThere", this::commandsPrintWhatIsThere);
        checks.put("theReassignmentCommandFindsNothingToDo", this::theReassignmentCommandFindsNothingToDo);
        return checks;
    }

    // ---- the admin client

    private void logDirectoriesHoldEveryPartitionOnce() throws Exception {
        String topic = create(3);
        for (int partition = 0; partition < 3; partition++) {
            send(topic, partition, 20);
        }
        var directories = admin.describeLogDirs(nodes()).allDescriptions().get();
        List<TopicPartition> found = new ArrayList<>();
        directories.values().forEach(ofNode -> ofNode.values().forEach(directory -> {
            check(directory.error() == null, "a directory has failed");
            check(directory.totalBytes().getAsLong() >= directory.usableBytes().getAsLong(), "more usable than there is");
            directory.replicaInfos().forEach((place, replica) -> {
                if (place.topic().equals(topic)) {
                    found.add(place);
                    check(replica.size() > 0, place + " has no bytes");
                    check(replica.offsetLag() == 0 && !replica.isFuture(), place + " lags or is a future replica");
                }
            });
        }));
        found.sort((a, b) -> a.partition() - b.partition());
        same(found, places(topic, 3), "partitions found");
    }

    private void producersAreDescribed() throws Exception {
        String topic = create(1);
        send(topic, 0, 5);
        TopicPartition place = new TopicPartition(topic, 0);
        var producers = admin.describeProducers(List.of(place)).partitionResult(place).get().activeProducers();
        same(producers.size(), 1, "producers");
        var producer = producers.get(0);
        same(producer.lastSequence(), 4, "last sequence");
        same(producer.producerEpoch(), 0, "epoch");
        check(producer.currentTransactionStartOffset().isEmpty(), "a transaction is told");
    }

    private void noElectionIsNeeded() throws Exception {
        String topic = create(1);
        TopicPartition known = new TopicPartition(topic, 0);
        TopicPartition unknown = new TopicPartition(topic, 7);
        for (ElectionType type : ElectionType.values()) {
            var results = admin.electLeaders(type, Set.of(known, unknown)).partitions().get();
            check(results.get(known).get() instanceof ElectionNotNeededException, "got " + results);
            check(results.get(unknown).get() instanceof UnknownTopicOrPartitionException, "got " + results);
            same(admin.electLeaders(type, null).partitions().get(), Map.of(), "elections of all partitions");
        }
    }

    private void partitionsStayWhereTheyAre() throws Exception {
        String topic = create(1);
        TopicPartition place = new TopicPartition(topic, 0);
        Node leader = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0).leader();
        same(admin.listPartitionReassignments().reassignments().get(), Map.of(), "reassignments");
        reassign(place, List.of(leader.id()));
        same(admin.listPartitionReassignments(Set.of(place)).reassignments().get(), Map.of(), "reassignments afterwards");
        fails(InvalidReplicaAssignmentException.class, () -> reassign(place, List.of(31_999)));
        fails(NoReassignmentInProgressException.class,
            () -> admin.alterPartitionReassignments(Map.of(place, Optional.empty())).all().get());
        fails(UnknownTopicOrPartitionException.class,
            () -> reassign(new TopicPartition(topic, 9), List.of(leader.id())));
    }

    private void reassign(TopicPartition place, List<Integer> replicas) throws Exception {
        var wanted = Optional.of(new NewPartitionReassignment(replicas));
        admin.alterPartitionReassignments(Map.of(place, wanted)).all().get();
    }

    private void theQuorumIsDescribed() throws Exception {
        var quorum = admin.describeMetadataQuorum().quorumInfo().get();
        Node controller = admin.describeCluster().controller().get();
        same(quorum.leaderId(), controller.id(), "leader");
        check(quorum.leaderEpoch() > 0 && quorum.highWatermark() > 0, "got " + quorum);
        same(quorum.voters().size(), 1, "voters");
        same(quorum.voters().get(0).replicaId(), controller.id(), "the voter");
        check(quorum.nodes().containsKey(controller.id()), "the voter's endpoint is not told");
    }

    private void featuresStayAsTheyAre() throws Exception {
        var features = admin.describeFeatures().featureMetadata().get();
        features.finalizedFeatures().forEach((name, range) ->
            check(features.supportedFeatures().containsKey(name), name + " is in force and not supported"));
        var wanted = new FeatureUpdate((short) 99, FeatureUpdate.UpgradeType.UPGRADE);
        fails(InvalidUpdateVersionException.class,
            () -> admin.updateFeatures(Map.of("no.such.version", wanted), new UpdateFeaturesOptions()).all().get());
    }

    private void configResourcesAreListed() throws Exception {
        String topic = create(1);
        var all = admin.listConfigResources().all().get();
        check(all.contains(new ConfigResource(Type.TOPIC, topic)), "the topic is not listed");
        for (int node : nodes()) {
            check(all.contains(new ConfigResource(Type.BROKER, "" + node)), "broker " + node + " is not listed");
            check(all.contains(new ConfigResource(Type.BROKER_LOGGER, "" + node)), "its loggers are not listed");
        }
        var topics = admin.listConfigResources(Set.of(Type.TOPIC), new ListConfigResourcesOptions()).all().get();
        check(topics.stream().allMatch(resource -> resource.type() == Type.TOPIC), "not only topics");
    }

    private void everyConfigOfATopicIsExplained() throws Exception {
        Config config = explained(new ConfigResource(Type.TOPIC, create(1)));
        for (String name : topicConfigNames()) {
            check(config.get(name) != null, name + " is not described");
        }
        same(config.get("cleanup.policy").type(), ConfigEntry.ConfigType.LIST, "type of cleanup.policy");
        check(config.get("retention.ms").synonyms().stream().anyMatch(each -> each.name().equals("log.retention.hours")),
            "the broker's setting is no synonym of retention.ms");
        check(config.entries().stream().noneMatch(ConfigEntry::isSensitive), "a topic has no secrets");
    }

    /** Settings that Kafka's class still names and its brokers have no more since Kafka 4.0. */
    private static final Set<String> GONE = Set.of("MESSAGE_DOWNCONVERSION_ENABLE_CONFIG", "MESSAGE_FORMAT_VERSION_CONFIG");

    /** Every public name in Kafka's own class of topic settings. */
    private static List<String> topicConfigNames() throws Exception {
        List<String> names = new ArrayList<>();
        for (var field : org.apache.kafka.common.config.TopicConfig.class.getFields()) {
            boolean isServed = !field.isAnnotationPresent(Deprecated.class) && !GONE.contains(field.getName());
            if (field.getName().endsWith("_CONFIG") && isServed) {
                names.add((String) field.get(null));
            }
        }
        check(names.size() > 25, "only " + names);
        return names;
    }

    private void everyConfigOfABrokerIsExplained() throws Exception {
        String node = "" + nodes().get(0);
        Config config = explained(new ConfigResource(Type.BROKER, node));
        for (String name : List.of("advertised.listeners", "auto.create.topics.enable", "default.replication.factor",
            "inter.broker.listener.name", "listeners", "log.cleanup.policy", "log.retention.hours", "log.segment.bytes",
            "message.max.bytes", "min.insync.replicas", "node.id", "num.partitions", "process.roles")) {
            check(config.get(name) != null, name + " is not described");
        }
        same(config.get("node.id").value(), node, "node.id");
        check(config.get("num.partitions").isReadOnly(), "num.partitions can change");
        check(!config.get("log.retention.ms").isReadOnly(), "log.retention.ms cannot change");
        Config loggers = explained(new ConfigResource(Type.BROKER_LOGGER, node));
        check(!loggers.entries().isEmpty(), "no loggers");
        same(loggers.entries().iterator().next().source(), ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG, "source of a logger's level");
    }

    private Config explained(ConfigResource resource) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        Config config = admin.describeConfigs(List.of(resource), options).all().get().get(resource);
        for (ConfigEntry entry : config.entries()) {
            check(entry.type() != ConfigEntry.ConfigType.UNKNOWN, entry.name() + " has no type");
            check(entry.source() != ConfigSource.UNKNOWN, entry.name() + " has no source");
            check(entry.documentation() != null && !entry.documentation().isBlank(), entry.name() + " is not explained");
        }
        return config;
    }

    private void topicDefaultsChangeWhileTheBrokerRuns() throws Exception {
        String topic = create(1);
        ConfigResource ofTopic = new ConfigResource(Type.TOPIC, topic);
        ConfigResource everyBroker = new ConfigResource(Type.BROKER, "");
        Callable<ConfigEntry> retention =
            () -> admin.describeConfigs(List.of(ofTopic)).all().get().get(ofTopic).get("retention.ms");
        same(retention.call().value(), "604800000", "retention.ms before");
        alter(everyBroker, "log.retention.ms", "123456", OpType.SET);
        eventually("the topic's default changes", () -> retention.call().value().equals("123456"));
        same(retention.call().source(), ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, "source of retention.ms");
        Config all = admin.describeConfigs(List.of(everyBroker)).all().get().get(everyBroker);
        same(all.get("log.retention.ms").value(), "123456", "log.retention.ms of every broker");
        for (int node : nodes()) {
            ConfigResource broker = new ConfigResource(Type.BROKER, "" + node);
            alter(broker, "log.retention.ms", "654321", OpType.SET);
            eventually("the broker has its own", () -> admin.describeConfigs(List.of(broker)).all().get().get(broker)
                .get("log.retention.ms").source() == ConfigSource.DYNAMIC_BROKER_CONFIG);
        }
        eventually("the broker's own wins", () -> retention.call().value().equals("654321"));
        for (int node : nodes()) {
            alter(new ConfigResource(Type.BROKER, "" + node), "log.retention.ms", null, OpType.DELETE);
        }
        alter(everyBroker, "log.retention.ms", null, OpType.DELETE);
        eventually("the default is back", () -> retention.call().value().equals("604800000"));
    }

    private void groupsHaveSettingsOfTheirOwn() throws Exception {
        ConfigResource group = new ConfigResource(Type.GROUP, "group-" + System.nanoTime());
        Config before = explained(group);
        same(before.get("consumer.session.timeout.ms").value(), "45000", "consumer.session.timeout.ms before");
        same(before.get("consumer.session.timeout.ms").source(), ConfigSource.DEFAULT_CONFIG, "its source before");
        same(before.get("consumer.heartbeat.interval.ms").value(), "5000", "consumer.heartbeat.interval.ms");
        check(!before.get("consumer.heartbeat.interval.ms").isReadOnly(), "the interval cannot change");
        alter(group, "consumer.session.timeout.ms", "50000", OpType.SET);
        Callable<ConfigEntry> session = () -> explained(group).get("consumer.session.timeout.ms");
        eventually("the group has its own", () -> session.call().value().equals("50000"));
        same(session.call().source(), ConfigSource.DYNAMIC_GROUP_CONFIG, "its source");
        same(session.call().synonyms().size(), 1, "synonyms, as Kafka names them");
        check(groupsListed().contains(group), "the group is not listed");
        fails(InvalidConfigurationException.class, () -> alter(group, "consumer.session.timeout.ms", "60001", OpType.SET));
        fails(InvalidConfigurationException.class, () -> alter(group, "no.such.config", "1", OpType.SET));
        fails(InvalidRequestException.class,
            () -> alter(new ConfigResource(Type.GROUP, ""), "consumer.session.timeout.ms", "50000", OpType.SET));
        alter(group, "consumer.session.timeout.ms", null, OpType.DELETE);
        eventually("the default is back", () -> session.call().source() == ConfigSource.DEFAULT_CONFIG);
        check(!groupsListed().contains(group), "the group is listed still");
    }

    private java.util.Collection<ConfigResource> groupsListed() throws Exception {
        return admin.listConfigResources(Set.of(Type.GROUP), new ListConfigResourcesOptions()).all().get();
    }

    private void readOnlyConfigsAreRefused() throws Exception {
        ConfigResource broker = new ConfigResource(Type.BROKER, "" + nodes().get(0));
        fails(InvalidRequestException.class, () -> alter(broker, "num.partitions", "3", OpType.SET));
        fails(InvalidConfigurationException.class, () -> alter(broker, "log.retention.ms", "soon", OpType.SET));
        fails(InvalidRequestException.class,
            () -> alter(new ConfigResource(Type.BROKER, ""), "no.such.config", "1", OpType.SET));
    }

    private void alter(ConfigResource resource, String name, String value, OpType operation) throws Exception {
        var change = new AlterConfigOp(new ConfigEntry(name, value), operation);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    // ---- the programs

    private interface Program {
        void main(String[] arguments) throws Exception;
    }

    /** Ends a program that asks for the end of the JVM. Some take it for a failure and ask again: the first status counts. */
    private static final class Exited extends RuntimeException {
        private static Integer first;

        private Exited(int status) {
            super("exit status " + status);
            first = first == null ? Integer.valueOf(status) : first;
        }
    }

    /** Runs a program in this JVM and gives what it printed, if it ended well. */
    private static String printed(Program program, String... arguments) throws Exception {
        PrintStream before = System.out;
        var bytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        Exited.first = null;
        try {
            program.main(arguments);
        } catch (Exited exited) {
            // Its status is kept.
        } finally {
            System.setOut(before);
        }
        int status = Exited.first == null ? 0 : Exited.first;
        String output = bytes.toString(StandardCharsets.UTF_8);
        check(status == 0, String.join(" ", arguments) + " exited with " + status + ":\n" + output);
        return output;
    }

    private void commandsPrintWhatIsThere() throws Exception {
        String topic = create(2);
        send(topic, 1, 10);
        String server = "--bootstrap-server";
        String controller = "" + admin.describeCluster().controller().get().id();
        has(printed(org.apache.kafka.tools.LogDirsCommand::main, server, bootstrap, "--describe", "--topic-list", topic),
            "\"partition\":\"" + topic + "-1\"", "\"isFuture\":false");
        String[] quorum = {"--bootstrap-server", bootstrap, "describe", "--status"};
        has(printed(org.apache.kafka.tools.MetadataQuorumCommand::main, quorum),
            "LeaderId: " + controller, "MaxFollowerLag: 0");
        quorum[3] = "--replication";
        has(printed(org.apache.kafka.tools.MetadataQuorumCommand::main, quorum), "Leader", controller);
        printed(org.apache.kafka.tools.FeatureCommand::main, server, bootstrap, "describe");
        has(printed(org.apache.kafka.tools.ClusterTool::main, "cluster-id", server, bootstrap),
            "Cluster ID: " + admin.describeCluster().clusterId().get());
        has(printed(org.apache.kafka.tools.ClusterTool::main, "list-endpoints", server, bootstrap), controller);
        has(printed(org.apache.kafka.tools.BrokerApiVersionsCommand::main, server, bootstrap),
            "DescribeQuorum(55): 0 to 2 [usable: 2]");
        has(printed(org.apache.kafka.tools.LeaderElectionCommand::main, server, bootstrap,
            "--election-type", "preferred", "--topic", topic, "--partition", "0"), "Valid replica already elected");
        has(printed(org.apache.kafka.tools.GetOffsetShell::main, server, bootstrap, "--topic", topic), topic + ":1:10");
        has(printed(org.apache.kafka.tools.TopicCommand::main, server, bootstrap, "--describe", "--topic", topic),
            "PartitionCount: 2", "ReplicationFactor: 1");
    }

    private void theReassignmentCommandFindsNothingToDo() throws Exception {
        String topic = create(1);
        Path folder = Files.createTempDirectory("reassignment");
        try {
            int leader = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0).leader().id();
            Path plan = folder.resolve("plan.json");
            Files.writeString(plan, "{\"version\":1,\"partitions\":[{\"topic\":\"" + topic
                + "\",\"partition\":0,\"replicas\":[" + leader + "]}]}");
            Program command = org.apache.kafka.tools.reassign.ReassignPartitionsCommand::main;
            String[] common = {"--bootstrap-server", bootstrap, "--reassignment-json-file", plan.toString()};
            has(printed(command, with(common, "--execute")), "Successfully started partition reassignment for " + topic + "-0");
            has(printed(command, with(common, "--verify")), "Reassignment of partition " + topic + "-0 is completed.");
            has(printed(command, "--bootstrap-server", bootstrap, "--list"), "No partition reassignments found.");
        } finally {
            Files.deleteIfExists(folder.resolve("plan.json"));
            Files.delete(folder);
        }
    }

    // ---- what the checks share

    private static String[] with(String[] arguments, String more) {
        String[] all = Arrays.copyOf(arguments, arguments.length + 1);
        all[arguments.length] = more;
        return all;
    }

    /** The programs align their columns; one space stands for any number here. */
    private static void has(String output, String... parts) {
        output = output.replaceAll("[ \t]+", " ");
        for (String part : parts) {
            check(output.contains(part), "no \"" + part + "\" in:\n" + output);
        }
    }

    private List<Integer> nodes() throws Exception {
        return admin.describeCluster().nodes().get().stream().map(Node::id).sorted().toList();
    }

    private String create(int partitions) throws Exception {
        String topic = "admin-" + UUID.randomUUID().toString().substring(0, 12);
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        eventually("the topic is there", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    private void send(String topic, int partition, int count) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, partition, null, ("value " + i).getBytes(StandardCharsets.UTF_8))).get();
            }
        }
    }

    private static List<TopicPartition> places(String topic, int count) {
        List<TopicPartition> places = new ArrayList<>();
        for (int partition = 0; partition < count; partition++) {
            places.add(new TopicPartition(topic, partition));
        }
        return places;
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
        } catch (ExecutionException exception) {
            Throwable cause = exception.getCause();
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
            System.err.println("usage: KafkaAdminChecks BOOTSTRAP [CHECK]...");
            System.exit(2);
        }
        Exit.setExitProcedure((status, message) -> {
            throw new Exited(status);
        });
        Set<String> wanted = Set.of(Arrays.copyOfRange(arguments, 1, arguments.length));
        System.out.println("client Kafka's admin client and programs (Java) " + org.apache.kafka.common.utils.AppInfoParser.getVersion());
        List<String> failed = new ArrayList<>();
        KafkaAdminChecks subject = new KafkaAdminChecks(arguments[0]);
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
