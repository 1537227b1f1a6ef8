package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How long messages that are under way at the end may take to be acknowledged.
const drainTime = 30 * time.Second

type phase int32

const (
	warmingUp phase = iota
	measuring
	ended
)

// A producer: one connection, a window of messages that are not acknowledged yet.
type producer struct {
	connection *nats.Conn
	subject    string
	inbox      string
	payload    []byte
	// When the message in a place of the window was sent, by the monotonic clock.
	sentAt []time.Time
	places chan int
	phase  *atomic.Int32
	// What was acknowledged in the measured window, and in the whole run.
	records   atomic.Int64
	all       atomic.Int64
	refused   atomic.Int64
	latencies *histogram
}

// load publishes for a while and writes what it measured.
func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	url := flags.String("url", "", "the server, as HOST:PORT")
	output := flags.String("json", "", "the file to write")
	recordSize := flags.Int("record-size", 100, "bytes of a message")
	producers := flags.Int("producers", 16, "connections that publish")
	inFlight := flags.Int("in-flight", 256, "messages of each that are not acknowledged yet")
	partitions := flags.Int("partitions", 4, "streams")
	duration := flags.Duration("duration", 6*time.Second, "how long to measure")
	warmup := flags.Duration("warmup", 2*time.Second, "how long to run before measuring")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *url == "" || *output == "" || *producers < 1 || *inFlight < 1 || *partitions < 1 || *recordSize < 1 {
		return fmt.Errorf("load needs --url, --json, and counts from 1 on")
	}
	if err := createStreams(*url, *partitions); err != nil {
		return err
	}
	var now atomic.Int32
	all := make([]*producer, *producers)
	for index := range all {
		one, err := newProducer(*url, index, *partitions, *recordSize, *inFlight, &now)
		if err != nil {
			return err
		}
		defer one.connection.Close()
		all[index] = one
	}
	done := make(chan error, len(all))
	for _, one := range all {
		go func() { done <- one.run() }()
	}
	time.Sleep(*warmup)
	started := time.Now()
	now.Store(int32(measuring))
	time.Sleep(*duration)
	now.Store(int32(ended))
	window := time.Since(started)
	for range all {
		if err := <-done; err != nil {
			return err
		}
	}
	return report(*output, all, window, *recordSize)
}

func createStreams(url string, partitions int) error {
	connection, err := nats.Connect("nats://" + url)
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	context, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for index := range partitions {
		_, err := js.CreateStream(context, jetstream.StreamConfig{
			Name:     fmt.Sprintf("measured-%d", index),
			Subjects: []string{fmt.Sprintf("measured.%d", index)},
			Storage:  jetstream.FileStorage,
			Replicas: 1,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newProducer(url string, index, partitions, recordSize, inFlight int, now *atomic.Int32) (*producer, error) {
	connection, err := nats.Connect("nats://" + url)
	if err != nil {
		return nil, err
	}
	one := &producer{
		connection: connection,
		subject:    fmt.Sprintf("measured.%d", index%partitions),
		inbox:      nats.NewInbox() + ".",
		payload:    bytes.Repeat([]byte{0x5a}, recordSize),
		sentAt:     make([]time.Time, inFlight),
		places:     make(chan int, inFlight),
		phase:      now,
		latencies:  newHistogram(),
	}
	for place := range inFlight {
		one.places <- place
	}
	// Acknowledgments come as messages to the place's reply subject: nothing is allocated and looked up for each publish.
	_, err = connection.Subscribe(one.inbox+"*", one.acknowledged)
	return one, err
}

func (one *producer) acknowledged(message *nats.Msg) {
	place, err := strconv.Atoi(strings.TrimPrefix(message.Subject, one.inbox))
	if err != nil || place < 0 || place >= len(one.sentAt) {
		return
	}
	latency := time.Since(one.sentAt[place])
	if len(message.Data) == 0 || bytes.Contains(message.Data, []byte(`"error"`)) {
		one.refused.Add(1)
	} else {
		one.all.Add(1)
		if phase(one.phase.Load()) == measuring {
			one.records.Add(1)
			one.latencies.record(latency)
		}
	}
	one.places <- place
}

// run keeps the window full until the end, and then waits for what is under way.
func (one *producer) run() error {
	replies := make([]string, len(one.sentAt))
	for place := range replies {
		replies[place] = one.inbox + strconv.Itoa(place)
	}
	for phase(one.phase.Load()) != ended {
		var place int
		select {
		case place = <-one.places:
		default:
			select {
			case place = <-one.places:
			case <-time.After(drainTime):
				return fmt.Errorf("no acknowledgment within %s", drainTime)
			}
		}
		one.sentAt[place] = time.Now()
		message := nats.Msg{Subject: one.subject, Reply: replies[place], Data: one.payload}
		if err := one.connection.PublishMsg(&message); err != nil {
			return err
		}
	}
	deadline := time.After(drainTime)
	for range one.sentAt {
		select {
		case <-one.places:
		case <-deadline:
			return fmt.Errorf("not everything was acknowledged within %s", drainTime)
		}
	}
	return nil
}

func report(path string, all []*producer, window time.Duration, recordSize int) error {
	merged := newHistogram()
	var records, acknowledged, refused int64
	for _, one := range all {
		records += one.records.Load()
		acknowledged += one.all.Load()
		refused += one.refused.Load()
		merged.add(one.latencies)
	}
	perSecond := float64(records) / window.Seconds()
	result := map[string]any{
		"schema":       "corelane-compare/nats/1",
		"mode":         "closed",
		"verification": map[string]any{"acknowledged": acknowledged},
		"window":       map[string]any{"duration_s": window.Seconds()},
		"produced": map[string]any{
			"records":            records,
			"records_per_second": perSecond,
			"bytes_per_second":   perSecond * float64(recordSize),
			"failed_records":     refused,
			"ack_latency_us": map[string]any{
				"p50":  merged.quantile(0.50),
				"p99":  merged.quantile(0.99),
				"p999": merged.quantile(0.999),
			},
		},
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	if refused > 0 {
		fmt.Fprintf(os.Stderr, "compare/nats: %d messages were refused\n", refused)
	}
	fmt.Printf("%.0f messages/s, acknowledged p50 %.0f us, p99 %.0f us\n",
		perSecond, merged.quantile(0.50), merged.quantile(0.99))
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
