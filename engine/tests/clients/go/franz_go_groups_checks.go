package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var groupChecks = []check{
	{"what_is_committed_is_where_the_next_one_begins", whatIsCommittedIsWhereTheNextOneBegins},
	{"members_come_and_go", membersComeAndGo},
	{"a_member_that_is_killed_is_replaced", aMemberThatIsKilledIsReplaced},
	{"static_members_keep_what_they_own", staticMembersKeepWhatTheyOwn},
	{"a_second_member_of_one_instance_fences_the_first", aSecondMemberOfOneInstanceFencesTheFirst},
	{"members_seek_and_pause", membersSeekAndPause},
	{"topics_are_subscribed_by_pattern", topicsAreSubscribedByPattern},
	{"an_offset_that_is_not_there_is_reset", anOffsetThatIsNotThereIsReset},
	{"offsets_and_lag_are_told_altered_and_deleted_by_an_administrator", offsetsAndLagAreToldAlteredAndDeletedByAnAdministrator},
}

const partitions = 4

// member of a group: it polls by itself, and keeps what it receives and what it owns.
type member struct {
	client *kgo.Client
	done   chan struct{}

	lock    sync.Mutex
	owned   map[string]map[int32]bool
	records []*kgo.Record
	// Calls of the assignment after the first.
	changes int
	fatal   error
}

func join(b broker, group string, options ...kgo.Opt) *member {
	m := &member{owned: map[string]map[int32]bool{}, done: make(chan struct{})}
	change := func(owns bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
			m.lock.Lock()
			defer m.lock.Unlock()
			for topic, some := range places {
				if m.owned[topic] == nil {
					m.owned[topic] = map[int32]bool{}
				}
				for _, partition := range some {
					m.changes++
					m.owned[topic][partition] = owns
				}
			}
		}
	}
	plain := []kgo.Opt{
		kgo.SeedBrokers(b.seeds...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.MetadataMaxAge(500 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)),
	}
	m.client = must(kgo.NewClient(append(plain, options...)...))
	go m.work()
	return m
}

func (m *member) work() {
	defer close(m.done)
	for {
		fetches := m.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		m.lock.Lock()
		fetches.EachError(func(_ string, _ int32, err error) { m.fatal = err })
		m.records = append(m.records, fetches.Records()...)
		m.lock.Unlock()
	}
}

// leave ends the member; one with an instance id stays in its group.
func (m *member) leave() {
	m.client.Close()
	<-m.done
}

func (m *member) partitions(topic string) []int {
	m.lock.Lock()
	defer m.lock.Unlock()
	all := []int{}
	for partition, owns := range m.owned[topic] {
		if owns {
			all = append(all, int(partition))
		}
	}
	sort.Ints(all)
	return all
}

func (m *member) failure() error {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.fatal
}

// receive waits for so many records, gives their numbers in order, and forgets them.
func (m *member) receive(count int) []int {
	var records []*kgo.Record
	eventually(fmt.Sprintf("%d records", count), func() bool {
		m.lock.Lock()
		defer m.lock.Unlock()
		if len(m.records) < count {
			return false
		}
		records, m.records = m.records, nil
		return true
	})
	numbers := []int{}
	for _, record := range records {
		numbers = append(numbers, must(strconv.Atoi(string(record.Value))))
	}
	sort.Ints(numbers)
	return numbers
}

func numbers(start, end, step int) []int {
	all := []int{}
	for number := start; number < end; number += step {
		all = append(all, number)
	}
	return all
}

// settle waits until the members share all partitions of a topic.
func settle(topic string, members ...*member) {
	eventually(fmt.Sprintf("%s is shared by %d", topic, len(members)), func() bool {
		var all []int
		for _, each := range members {
			share := each.partitions(topic)
			if len(share) == 0 {
				return false
			}
			all = append(all, share...)
		}
		sort.Ints(all)
		return fmt.Sprint(all) == fmt.Sprint(numbers(0, partitions, 1))
	})
}

func fill(b broker, topic string, count int, partitions int32) {
	var records []*kgo.Record
	for number := 0; number < count; number++ {
		records = append(records, &kgo.Record{
			Topic: topic, Partition: int32(number) % partitions, Value: []byte(strconv.Itoa(number)),
		})
	}
	send(b, records)
}

func committed(b broker, group, topic string) []int64 {
	return admin(b, func(admin *kadm.Client) []int64 {
		found := must(admin.FetchOffsetsForTopics(b.ctx, group, topic))
		offsets := []int64{}
		for _, one := range found.Sorted() {
			ensure(one.Err)
			offsets = append(offsets, one.At)
		}
		return offsets
	})
}

func state(b broker, group string) string {
	return admin(b, func(admin *kadm.Client) string {
		described := must(admin.DescribeGroups(b.ctx, group))[group]
		ensure(described.Err)
		return described.State
	})
}

func whatIsCommittedIsWhereTheNextOneBegins(b broker) {
	topic, group := create(b, "resume", partitions), b.fresh("group")
	for _, count := range []int{40, 60} {
		fill(b, topic, count, partitions)
		one := join(b, group, kgo.ConsumeTopics(topic))
		same(one.receive(count), numbers(0, count, 1), "records, each once")
		ensure(one.client.CommitUncommittedOffsets(b.ctx))
		one.leave()
	}
	same(committed(b, group, topic), []int64{25, 25, 25, 25}, "offsets committed")
}

func membersComeAndGo(b broker) {
	for _, balancer := range []kgo.GroupBalancer{
		kgo.RangeBalancer(), kgo.RoundRobinBalancer(), kgo.StickyBalancer(), kgo.CooperativeStickyBalancer(),
	} {
		topic, group := create(b, "members", partitions), b.fresh("group")
		options := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.Balancers(balancer)}
		first := join(b, group, options...)
		settle(topic, first)
		second := join(b, group, options...)
		settle(topic, first, second)
		third := join(b, group, options...)
		settle(topic, first, second, third)
		third.leave()
		settle(topic, first, second)
		second.leave()
		settle(topic, first)
		first.leave()
		eventually("the group is empty", func() bool { return state(b, group) == "Empty" })
	}
}

func aMemberThatIsKilledIsReplaced(b broker) {
	topic, group := create(b, "killed", partitions), b.fresh("group")
	child := exec.Command(must(os.Executable()), "member", strings.Join(b.seeds, ","), group, topic)
	output := must(child.StdoutPipe())
	ensure(child.Start())
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	var told int
	must(fmt.Fscanln(output, &told))
	same(told, partitions, "partitions that the child got")
	survivor := join(b, group, kgo.ConsumeTopics(topic))
	defer survivor.leave()
	eventually("the child shares", func() bool { return len(survivor.partitions(topic)) == 2 })
	ensure(child.Process.Kill())
	settle(topic, survivor)
}

// beAMember is the child of the check above: it works until it is killed.
func beAMember(bootstrap, group, topic string) {
	b := broker{strings.Split(bootstrap, ","), context.Background()}
	child := join(b, group, kgo.ConsumeTopics(topic))
	settle(topic, child)
	fmt.Println(len(child.partitions(topic)))
	<-child.done
}

func staticMembersKeepWhatTheyOwn(b broker) {
	topic, group := create(b, "static", partitions), b.fresh("group")
	of := func(instance string) *member {
		return join(b, group, kgo.ConsumeTopics(topic), kgo.InstanceID(instance), kgo.SessionTimeout(30*time.Second))
	}
	stays, goes := of("a"), of("b")
	defer stays.leave()
	settle(topic, stays, goes)
	before, changes := goes.partitions(topic), stays.changes
	goes.leave()
	back := of("b")
	defer back.leave()
	settle(topic, stays, back)
	same(back.partitions(topic), before, "what the one that came back owns")
	same(stays.changes, changes, "changes of the one that stayed")
	described := admin(b, func(admin *kadm.Client) kadm.DescribedGroup {
		return must(admin.DescribeGroups(b.ctx, group))[group]
	})
	instances := []string{}
	for _, one := range described.Members {
		instances = append(instances, *one.InstanceID)
	}
	sort.Strings(instances)
	same(instances, []string{"a", "b"}, "instances")
	left := admin(b, func(admin *kadm.Client) kadm.LeaveGroupResponses {
		return must(admin.LeaveGroup(b.ctx, kadm.LeaveGroup(group).InstanceIDs("b")))
	})
	same(len(left), 1, "members that were removed")
}

func aSecondMemberOfOneInstanceFencesTheFirst(b broker) {
	topic, group := create(b, "fenced", partitions), b.fresh("group")
	options := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.InstanceID("same")}
	first := join(b, group, options...)
	defer first.leave()
	settle(topic, first)
	second := join(b, group, options...)
	defer second.leave()
	settle(topic, second)
	eventually("the first is told to end", func() bool { return errors.Is(first.failure(), kerr.FencedInstanceID) })
}

func membersSeekAndPause(b broker) {
	topic := create(b, "seek", 2)
	fill(b, topic, 20, 2)
	one := join(b, b.fresh("group"), kgo.ConsumeTopics(topic))
	defer one.leave()
	same(one.receive(20), numbers(0, 20, 1), "records")
	one.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 8}}})
	same(one.receive(2), []int{16, 18}, "records of partition 0 from offset 8")
	zero := map[string][]int32{topic: {0}}
	one.client.PauseFetchPartitions(zero)
	fill(b, topic, 10, 2)
	same(one.receive(5), []int{1, 3, 5, 7, 9}, "records while partition 0 is paused")
	one.client.ResumeFetchPartitions(zero)
	same(one.receive(5), []int{0, 2, 4, 6, 8}, "records of partition 0 after it")
}

func topicsAreSubscribedByPattern(b broker) {
	prefix := b.fresh("pattern")
	one := join(b, b.fresh("group"), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+prefix+"-.*"))
	defer one.leave()
	for _, name := range []string{prefix + "-one", prefix + "-two"} {
		admin(b, func(admin *kadm.Client) any {
			made := must(admin.CreateTopics(b.ctx, 1, 1, nil, name))
			ensure(made[name].Err)
			return nil
		})
		fill(b, name, 10, 1)
		same(one.receive(10), numbers(0, 10, 1), "records of "+name)
		ensure(one.client.CommitUncommittedOffsets(b.ctx))
	}
}

func anOffsetThatIsNotThereIsReset(b broker) {
	topic, group := create(b, "reset", 1), b.fresh("group")
	fill(b, topic, 20, 1)
	admin(b, func(admin *kadm.Client) any {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, 5, -1)
		ensure(must(admin.CommitOffsets(b.ctx, group, offsets)).Error())
		offsets = kadm.Offsets{}
		offsets.AddOffset(topic, 0, 12, -1)
		ensure(must(admin.DeleteRecords(b.ctx, offsets)).Error())
		return nil
	})
	one := join(b, group, kgo.ConsumeTopics(topic))
	defer one.leave()
	same(one.receive(8), numbers(12, 20, 1), "records from the first that is left")
}

func offsetsAndLagAreToldAlteredAndDeletedByAnAdministrator(b broker) {
	topic, group := create(b, "administered", partitions), b.fresh("group")
	fill(b, topic, 100, partitions)
	lag := func() int64 {
		return admin(b, func(admin *kadm.Client) int64 {
			lags := must(admin.Lag(b.ctx, group))
			ensure(lags.Error())
			return lags[group].Lag.Total()
		})
	}
	all := func(at int64) kadm.Offsets {
		offsets := kadm.Offsets{}
		for partition := int32(0); partition < partitions; partition++ {
			offsets.AddOffset(topic, partition, at, -1)
		}
		return offsets
	}
	one := join(b, group, kgo.ConsumeTopics(topic))
	same(one.receive(100), numbers(0, 100, 1), "records")
	same(lag(), int64(100), "lag before")
	ensure(one.client.CommitUncommittedOffsets(b.ctx))
	same(lag(), int64(0), "lag after")
	admin(b, func(admin *kadm.Client) any {
		listed := must(admin.ListGroups(b.ctx, "Stable"))
		same(listed[group].State, "Stable", "the group in the list")
		refused := must(admin.DeleteGroups(b.ctx, group))
		same(refused[group].Err, error(kerr.NonEmptyGroup), "refusal to delete")
		return nil
	})
	one.leave()
	admin(b, func(admin *kadm.Client) any {
		ensure(must(admin.CommitOffsets(b.ctx, group, all(5))).Error())
		same(lag(), int64(80), "lag from the offsets that were set")
		deleted := must(admin.DeleteOffsets(b.ctx, group, kadm.TopicsSet{topic: {0: {}}}))
		ensure(deleted.Error())
		same(len(must(admin.FetchOffsets(b.ctx, group))[topic]), 3, "offsets that are left")
		gone := must(admin.DeleteGroups(b.ctx, group))
		ensure(gone[group].Err)
		return nil
	})
	again := join(b, group, kgo.ConsumeTopics(topic))
	defer again.leave()
	same(again.receive(100), numbers(0, 100, 1), "records from the beginning")
}
