package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

var plainChecks = []check{
	{"topics_are_created_listed_and_deleted", topicsAreCreatedListedAndDeleted},
	{"every_codec_carries_every_kind_of_record", everyCodecCarriesEveryKindOfRecord},
	{"every_level_of_acknowledgement_works", everyLevelOfAcknowledgementWorks},
	{"consuming_starts_at_any_offset_or_time", consumingStartsAtAnyOffsetOrTime},
	{"offsets_are_found", offsetsAreFound},
	{"many_partitions_are_produced_to_and_read", manyPartitionsAreProducedToAndRead},
}

// Hours ago, so that it is no time of the broker; not so long that retention takes the records.
var firstTime = time.Now().Add(-6 * time.Hour).Truncate(time.Millisecond)

func clientOf(b broker) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(b.seeds...), Timeout: deadline}
}

func create(b broker, purpose string, partitions int) string {
	topic := b.fresh(purpose)
	answer := must(clientOf(b).CreateTopics(b.ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1},
	}}))
	ensure(answer.Errors[topic])
	return topic
}

func topicsAreCreatedListedAndDeleted(b broker) {
	topic, client := create(b, "managed", 3), clientOf(b)
	again := must(client.CreateTopics(b.ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: 3, ReplicationFactor: 1},
	}}))
	truth(errors.Is(again.Errors[topic], kafka.TopicAlreadyExists), "it is there: %v", again.Errors)
	find := func() *kafka.Topic {
		for _, one := range must(client.Metadata(b.ctx, &kafka.MetadataRequest{})).Topics {
			if one.Name == topic {
				return &one
			}
		}
		return nil
	}
	found := find()
	truth(found != nil && len(found.Partitions) == 3, "it is listed with three partitions: %v", found)
	deleted := must(client.DeleteTopics(b.ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}}))
	ensure(deleted.Errors[topic])
	eventually("the topic is gone", func() bool { return find() == nil })
	absent := must(client.DeleteTopics(b.ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}}))
	truth(errors.Is(absent.Errors[topic], kafka.UnknownTopicOrPartition), "it is gone: %v", absent.Errors)
}

// samples have every kind of key, value and headers, and times of their own.
func samples(count int) []kafka.Message {
	keys := [][]byte{nil, []byte("key"), bytes.Repeat([]byte{0, 255}, 100)}
	values := [][]byte{nil, []byte("value"), bytes.Repeat([]byte("r"), 900)}
	headers := [][]kafka.Header{nil, {{Key: "same", Value: []byte("first")}, {Key: "same", Value: []byte("second")}}}
	all := make([]kafka.Message, count)
	for i := range all {
		all[i] = kafka.Message{
			Key: keys[i%3], Value: values[i/3%3], Headers: headers[i%2],
			Time: firstTime.Add(time.Duration(i) * 10 * time.Millisecond),
		}
	}
	return all
}

// write stores the messages in the partition that each is for by its index.
func write(b broker, topic string, codec kafka.Compression, acks kafka.RequiredAcks, partitions int, messages ...kafka.Message) {
	next := -1
	writer := &kafka.Writer{
		Addr: kafka.TCP(b.seeds...), Topic: topic, Compression: codec, RequiredAcks: acks, BatchTimeout: 5 * time.Millisecond,
		BatchSize: 25,
		Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int {
			next++
			return next % partitions
		}),
	}
	ensure(writer.WriteMessages(b.ctx, messages...))
	ensure(writer.Close())
}

func readerOf(b broker, topic string, partition int) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: b.seeds, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond, MinBytes: 1, MaxBytes: 10 << 20,
	})
}

func everyCodecCarriesEveryKindOfRecord(b broker) {
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		topic, all := create(b, fmt.Sprintf("codec-%d", codec), 1), samples(120)
		write(b, topic, codec, kafka.RequireAll, 1, all...)
		reader := readerOf(b, topic, 0)
		for offset, expected := range all {
			got := must(reader.ReadMessage(b.ctx))
			what := fmt.Sprintf("codec %d at %d", codec, offset)
			same(got.Offset, int64(offset), what)
			same([]string{string(got.Key), string(got.Value)}, []string{string(expected.Key), string(expected.Value)}, what)
			same(len(got.Headers), len(expected.Headers), what)
			for i, header := range expected.Headers {
				same(got.Headers[i], header, what)
			}
			truth(got.Time.Equal(expected.Time), "%s: time %v, expected %v", what, got.Time, expected.Time)
		}
		ensure(reader.Close())
	}
}

func everyLevelOfAcknowledgementWorks(b broker) {
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		topic := create(b, "acks", 1)
		write(b, topic, 0, acks, 1, samples(50)...)
		eventually("all are there", func() bool { return endOf(b, topic, 0) == 50 })
	}
}

func consumingStartsAtAnyOffsetOrTime(b broker) {
	topic := create(b, "anywhere", 1)
	write(b, topic, kafka.Snappy, kafka.RequireAll, 1, samples(100)...)
	reader := readerOf(b, topic, 0)
	for _, start := range []int64{0, 1, 24, 57, 99} {
		ensure(reader.SetOffset(start))
		same(must(reader.ReadMessage(b.ctx)).Offset, start, "the first record")
	}
	ensure(reader.SetOffsetAt(b.ctx, firstTime.Add(501*time.Millisecond)))
	same(must(reader.ReadMessage(b.ctx)).Offset, int64(51), "the first record at or after a time")
	ensure(reader.SetOffset(kafka.FirstOffset))
	same(must(reader.ReadMessage(b.ctx)).Offset, int64(0), "the first record of all")
	same(must(reader.ReadLag(b.ctx)), int64(99), "lag")
	ensure(reader.Close())
}

func endOf(b broker, topic string, partition int) int64 {
	answer := must(clientOf(b).ListOffsets(b.ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(partition)}},
	}))
	ensure(answer.Topics[topic][0].Error)
	return answer.Topics[topic][0].LastOffset
}

func offsetsAreFound(b broker) {
	topic := create(b, "offsets", 1)
	write(b, topic, kafka.Zstd, kafka.RequireAll, 1, samples(100)...)
	answer := must(clientOf(b).ListOffsets(b.ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}},
	}))
	found := answer.Topics[topic][0]
	ensure(found.Error)
	same([]int64{found.FirstOffset, found.LastOffset}, []int64{0, 100}, "first and last")
	for after, expected := range map[time.Duration]int64{0: 0, 501: 51, 990: 99} {
		connection := must(kafka.DialLeader(b.ctx, "tcp", b.seeds[0], topic, 0))
		same(must(connection.ReadOffset(firstTime.Add(after*time.Millisecond))), expected, "by time")
		ensure(connection.Close())
	}
}

func manyPartitionsAreProducedToAndRead(b broker) {
	const partitions = 12
	topic := create(b, "many", partitions)
	write(b, topic, kafka.Lz4, kafka.RequireAll, partitions, samples(120)...)
	for partition := 0; partition < partitions; partition++ {
		same(endOf(b, topic, partition), int64(10), "end")
		reader := readerOf(b, topic, partition)
		for offset := int64(0); offset < 10; offset++ {
			same(must(reader.ReadMessage(b.ctx)).Offset, offset, "offset")
		}
		ensure(reader.Close())
	}
}
