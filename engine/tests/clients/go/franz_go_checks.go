package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var plainChecks = []check{
	{"topics_are_created_listed_and_deleted", topicsAreCreatedListedAndDeleted},
	{"partitions_are_added", partitionsAreAdded},
	{"topic_configs_are_described_and_altered", topicConfigsAreDescribedAndAltered},
	{"the_cluster_is_described", theClusterIsDescribed},
	{"log_directories_hold_every_partition", logDirectoriesHoldEveryPartition},
	{"every_codec_carries_every_kind_of_record", everyCodecCarriesEveryKindOfRecord},
	{"every_level_of_acknowledgement_works", everyLevelOfAcknowledgementWorks},
	{"the_idempotent_producer_keeps_order", theIdempotentProducerKeepsOrder},
	{"consuming_starts_at_any_offset", consumingStartsAtAnyOffset},
	{"many_partitions_are_consumed_together", manyPartitionsAreConsumedTogether},
	{"offsets_are_found", offsetsAreFound},
	{"records_are_deleted_below_an_offset", recordsAreDeletedBelowAnOffset},
	{"a_topic_is_made_by_its_first_use", aTopicIsMadeByItsFirstUse},
}

// Hours ago, so that it cannot be confused with the time of the broker; not so long that retention takes the records.
var firstTimestamp = time.Now().Add(-6 * time.Hour).Truncate(time.Second)

// within gives work a client, which is closed at the end.
func within[T any](b broker, work func(*kgo.Client) T, options ...kgo.Opt) T {
	plain := []kgo.Opt{kgo.SeedBrokers(b.seeds...), kgo.FetchMaxWait(50 * time.Millisecond)}
	client := must(kgo.NewClient(append(plain, options...)...))
	defer client.Close()
	return work(client)
}

func admin[T any](b broker, work func(*kadm.Client) T) T {
	return within(b, func(client *kgo.Client) T { return work(kadm.NewClient(client)) })
}

func create(b broker, purpose string, partitions int32) string {
	topic := b.fresh(purpose)
	return admin(b, func(admin *kadm.Client) string {
		made := must(admin.CreateTopics(b.ctx, partitions, 1, nil, topic))
		ensure(made[topic].Err)
		return topic
	})
}

// varied gives null, empty, binary and repetitive keys and values; no headers, duplicate headers, null and empty ones.
func varied(topic string, count int) []*kgo.Record {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	headers := [][]kgo.RecordHeader{
		nil,
		{{Key: "trace", Value: []byte("1")}},
		{{Key: "same", Value: []byte("first")}, {Key: "same", Value: []byte("second")}},
		{{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "binary", Value: binary}},
		{{Key: "größe", Value: []byte("höhe")}},
	}
	keys := [][]byte{nil, []byte("key"), {}, binary, []byte("schlüssel")}
	var records []*kgo.Record
	for i := 0; i < count; i++ {
		values := [][]byte{nil, {}, []byte(fmt.Sprint("value-", i)), bytes.Repeat([]byte{byte(i)}, 700), bytes.Repeat([]byte("repeat me "), 90)}
		records = append(records, &kgo.Record{
			Topic:     topic,
			Key:       keys[i/5%5],
			Value:     values[i%5],
			Headers:   headers[i/3%5],
			Timestamp: firstTimestamp.Add(time.Duration(i) * 10 * time.Millisecond),
		})
	}
	return records
}

// send gives the offsets that were acknowledged, in order of sending.
func send(b broker, records []*kgo.Record, options ...kgo.Opt) []int64 {
	options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return within(b, func(client *kgo.Client) []int64 {
		results := client.ProduceSync(b.ctx, records...)
		ensure(results.FirstErr())
		var offsets []int64
		for _, record := range records {
			offsets = append(offsets, record.Offset)
		}
		return offsets
	}, options...)
}

func upTo(start, end int64) []int64 {
	var all []int64
	for offset := start; offset < end; offset++ {
		all = append(all, offset)
	}
	return all
}

// take gives so many records of what the client consumes.
func take(b broker, client *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(b.ctx)
		ensure(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

// receive gives so many records of partition 0 from an offset on.
func receive(b broker, topic string, offset int64, count int) []*kgo.Record {
	from := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(offset)}}
	return within(b, func(client *kgo.Client) []*kgo.Record { return take(b, client, count) }, kgo.ConsumePartitions(from))
}

func allSame(records, samples []*kgo.Record, firstOffset int64) {
	same(len(records), len(samples), "number of records")
	for i, sample := range samples {
		record := records[i]
		at := fmt.Sprintf(" of record %d", i)
		same(record.Offset, firstOffset+int64(i), "offset"+at)
		same(record.Key, sample.Key, "key"+at)
		same(record.Value, sample.Value, "value"+at)
		same(record.Timestamp.UnixMilli(), sample.Timestamp.UnixMilli(), "timestamp"+at)
		same(len(record.Headers), len(sample.Headers), "headers"+at)
		for j, header := range sample.Headers {
			same(record.Headers[j], header, "header"+at)
		}
	}
}

func topicsAreCreatedListedAndDeleted(b broker) {
	topic := create(b, "admin", 3)
	admin(b, func(admin *kadm.Client) any {
		listed := must(admin.ListTopics(b.ctx, topic))
		same(len(listed[topic].Partitions), 3, "partitions")
		again := must(admin.CreateTopics(b.ctx, 1, 1, nil, topic))
		same(again[topic].Err, error(kerr.TopicAlreadyExists), "refusal of a second")
		refused := must(admin.CreateTopics(b.ctx, 1, 30, nil, b.fresh("refused")))
		for _, one := range refused {
			same(one.Err, error(kerr.InvalidReplicationFactor), "refusal")
		}
		deleted := must(admin.DeleteTopics(b.ctx, topic))
		ensure(deleted[topic].Err)
		eventually("the topic is gone", func() bool {
			return errors.Is(must(admin.ListTopics(b.ctx, topic))[topic].Err, kerr.UnknownTopicOrPartition)
		})
		return nil
	})
}

func partitionsAreAdded(b broker) {
	topic := create(b, "grow", 1)
	admin(b, func(admin *kadm.Client) any {
		grown := must(admin.UpdatePartitions(b.ctx, 4, topic))
		ensure(grown[topic].Err)
		same(len(must(admin.ListTopics(b.ctx, topic))[topic].Partitions), 4, "partitions")
		return nil
	})
}

func topicConfigsAreDescribedAndAltered(b broker) {
	topic := create(b, "config", 1)
	admin(b, func(admin *kadm.Client) any {
		value := func() string {
			described := must(must(admin.DescribeTopicConfigs(b.ctx, topic)).On(topic, nil))
			for _, config := range described.Configs {
				if config.Key == "retention.ms" {
					return config.MaybeValue()
				}
			}
			return "not there"
		}
		eventually("retention.ms is told", func() bool { return value() == "604800000" })
		wanted := "7200000"
		change := kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: &wanted}
		for _, altered := range must(admin.AlterTopicConfigs(b.ctx, []kadm.AlterConfig{change}, topic)) {
			ensure(altered.Err)
		}
		eventually("retention.ms is altered", func() bool { return value() == wanted })
		return nil
	})
}

func theClusterIsDescribed(b broker) {
	admin(b, func(admin *kadm.Client) any {
		metadata := must(admin.BrokerMetadata(b.ctx))
		truth(metadata.Cluster != "", "no cluster id")
		truth(contains32(metadata.Brokers.NodeIDs(), metadata.Controller), "the controller is none of %v", metadata.Brokers.NodeIDs())
		versions := must(admin.ApiVersions(b.ctx))
		same(len(versions), len(metadata.Brokers), "brokers that told their versions")
		return nil
	})
}

func contains32(all []int32, one int32) bool {
	for _, each := range all {
		if each == one {
			return true
		}
	}
	return false
}

func logDirectoriesHoldEveryPartition(b broker) {
	topic := create(b, "directories", 4)
	admin(b, func(admin *kadm.Client) any {
		eventually("four partitions are there", func() bool {
			found := 0
			must(admin.DescribeAllLogDirs(b.ctx, nil)).Each(func(directory kadm.DescribedLogDir) {
				ensure(directory.Err)
				found += len(directory.Topics[topic])
			})
			return found == 4
		})
		return nil
	})
}

func everyCodecCarriesEveryKindOfRecord(b broker) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none":   kgo.NoCompression(),
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	} {
		topic := create(b, "codec-"+name, 1)
		same(send(b, varied(topic, 120), kgo.ProducerBatchCompression(codec)), upTo(0, 120), "offsets with "+name)
		allSame(receive(b, topic, 0, 120), varied(topic, 120), 0)
	}
}

func everyLevelOfAcknowledgementWorks(b broker) {
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		topic := create(b, "acks", 1)
		send(b, varied(topic, 50), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		allSame(receive(b, topic, 0, 50), varied(topic, 50), 0)
	}
}

func theIdempotentProducerKeepsOrder(b broker) {
	topic := create(b, "idempotent", 1)
	options := []kgo.Opt{kgo.ProducerBatchMaxBytes(2000), kgo.ProducerLinger(0)}
	same(send(b, varied(topic, 3000), options...), upTo(0, 3000), "offsets")
	allSame(receive(b, topic, 0, 3000), varied(topic, 3000), 0)
}

func consumingStartsAtAnyOffset(b broker) {
	topic := create(b, "offsets", 1)
	send(b, varied(topic, 300), kgo.ProducerBatchMaxBytes(3000))
	for _, start := range []int64{0, 1, 42, 150, 298, 299} {
		allSame(receive(b, topic, start, int(300-start)), varied(topic, 300)[start:], start)
	}
}

func manyPartitionsAreConsumedTogether(b broker) {
	topic := create(b, "many", 40)
	within(b, func(client *kgo.Client) any {
		for round := int32(0); round < 3; round++ {
			counts := map[int32]int{}
			for _, partition := range []int32{round, 20 + round} {
				records := varied(topic, 10)
				for _, record := range records {
					record.Partition = partition
				}
				send(b, records)
			}
			for _, record := range take(b, client, 20) {
				counts[record.Partition]++
			}
			same(counts, map[int32]int{round: 10, 20 + round: 10}, "records by partition")
		}
		return nil
	}, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
}

func offsetsAreFound(b broker) {
	topic := create(b, "times", 1)
	send(b, varied(topic, 300))
	admin(b, func(admin *kadm.Client) any {
		offset := func(listed kadm.ListedOffsets, err error) int64 {
			ensure(err)
			ensure(listed.Error())
			return listed[topic][0].Offset
		}
		same(offset(admin.ListStartOffsets(b.ctx, topic)), int64(0), "beginning")
		same(offset(admin.ListEndOffsets(b.ctx, topic)), int64(300), "end")
		for delta, expected := range map[int64]int64{0: 0, 1: 1, 1234: 124, 2990: 299, 2991: 300} {
			found := offset(admin.ListOffsetsAfterMilli(b.ctx, firstTimestamp.UnixMilli()+delta, topic))
			same(found, expected, fmt.Sprint("offset at +", delta))
		}
		return nil
	})
}

func recordsAreDeletedBelowAnOffset(b broker) {
	topic := create(b, "trimmed", 1)
	send(b, varied(topic, 100))
	admin(b, func(admin *kadm.Client) any {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, 42, -1)
		deleted := must(admin.DeleteRecords(b.ctx, offsets))
		ensure(deleted.Error())
		return nil
	})
	// Offset 0 is gone: the client goes on at the first that is left.
	allSame(receive(b, topic, 0, 58), varied(topic, 100)[42:], 42)
}

func aTopicIsMadeByItsFirstUse(b broker) {
	topic := b.fresh("auto")
	same(send(b, varied(topic, 3), kgo.AllowAutoTopicCreation()), upTo(0, 3), "offsets")
	allSame(receive(b, topic, 0, 3), varied(topic, 3), 0)
}
