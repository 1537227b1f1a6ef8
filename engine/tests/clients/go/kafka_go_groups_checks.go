package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

var groupChecks = []check{
	{"what_is_committed_is_where_the_next_one_begins", whatIsCommittedIsWhereTheNextOneBegins},
	{"what_is_read_is_committed_by_itself", whatIsReadIsCommittedByItself},
	{"members_come_and_go", membersComeAndGo},
	{"a_member_that_is_killed_is_replaced", aMemberThatIsKilledIsReplaced},
	{"a_topic_that_grows_is_shared_anew", aTopicThatGrowsIsSharedAnew},
	{"a_group_without_offsets_begins_where_its_reader_says", aGroupWithoutOffsetsBeginsWhereItsReaderSays},
	{"groups_are_listed_described_and_deleted_and_lag_is_told", groupsAreListedDescribedAndDeletedAndLagIsTold},
}

const partitions = 4

// member of a group, which keeps what it is assigned and does nothing with it.
type member struct {
	group *kafka.ConsumerGroup
	done  chan struct{}

	lock  sync.Mutex
	owned []int
}

func join(b broker, group, topic string) *member {
	m := &member{done: make(chan struct{})}
	m.group = must(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: b.seeds, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond, RebalanceTimeout: 6 * time.Second,
		JoinGroupBackoff: 100 * time.Millisecond, WatchPartitionChanges: true, PartitionWatchInterval: 300 * time.Millisecond,
	}))
	go m.work(topic)
	return m
}

func (m *member) work(topic string) {
	defer close(m.done)
	for {
		generation, err := m.group.Next(context.Background())
		if err == kafka.ErrGroupClosed {
			return
		}
		if err != nil {
			// It joins again.
			continue
		}
		owned := []int{}
		for _, one := range generation.Assignments[topic] {
			owned = append(owned, one.ID)
		}
		m.keep(owned)
		generation.Start(func(ended context.Context) {
			<-ended.Done()
			m.keep(nil)
		})
	}
}

func (m *member) keep(owned []int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.owned = owned
}

func (m *member) partitions() []int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return append([]int{}, m.owned...)
}

func (m *member) leave() {
	ensure(m.group.Close())
	<-m.done
}

// settle waits until every partition has one owner, and every member something.
func settle(count int, members ...*member) {
	eventually(fmt.Sprintf("%d members share %d partitions", len(members), count), func() bool {
		all := []int{}
		for _, m := range members {
			share := m.partitions()
			if len(share) == 0 {
				return false
			}
			all = append(all, share...)
		}
		sort.Ints(all)
		for i, partition := range all {
			if i != partition {
				return false
			}
		}
		return len(all) == count
	})
}

// fill stores numbers in the partitions in turn.
func fill(b broker, topic string, count, partitions int) {
	messages := make([]kafka.Message, count)
	for i := range messages {
		messages[i].Value = []byte(strconv.Itoa(i))
	}
	write(b, topic, 0, kafka.RequireAll, partitions, messages...)
}

func groupReader(b broker, group, topic string, commitEvery time.Duration) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: b.seeds, GroupID: group, GroupTopics: []string{topic}, StartOffset: kafka.FirstOffset, MaxWait: 50 * time.Millisecond,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond, RebalanceTimeout: 6 * time.Second,
		CommitInterval: commitEvery,
	})
}

func committed(b broker, group, topic string, partitions int) []int64 {
	wanted := []int{}
	for partition := 0; partition < partitions; partition++ {
		wanted = append(wanted, partition)
	}
	answer := must(clientOf(b).OffsetFetch(b.ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: wanted}}))
	ensure(answer.Error)
	offsets := make([]int64, partitions)
	for _, one := range answer.Topics[topic] {
		ensure(one.Error)
		offsets[one.Partition] = one.CommittedOffset
	}
	return offsets
}

func whatIsCommittedIsWhereTheNextOneBegins(b broker) {
	topic, group := create(b, "resume", partitions), b.fresh("group")
	fill(b, topic, 100, partitions)
	seen := []int{}
	for _, count := range []int{40, 60} {
		reader := groupReader(b, group, topic, 0)
		for i := 0; i < count; i++ {
			message := must(reader.FetchMessage(b.ctx))
			seen = append(seen, must(strconv.Atoi(string(message.Value))))
			ensure(reader.CommitMessages(b.ctx, message))
		}
		ensure(reader.Close())
	}
	sort.Ints(seen)
	for i, number := range seen {
		same(number, i, "each record once")
	}
	same(committed(b, group, topic, partitions), []int64{25, 25, 25, 25}, "committed")
}

func whatIsReadIsCommittedByItself(b broker) {
	topic, group := create(b, "automatic", 1), b.fresh("group")
	fill(b, topic, 20, 1)
	reader := groupReader(b, group, topic, 50*time.Millisecond)
	for i := 0; i < 20; i++ {
		must(reader.ReadMessage(b.ctx))
	}
	eventually("it is committed", func() bool { return committed(b, group, topic, 1)[0] == 20 })
	ensure(reader.Close())
}

func membersComeAndGo(b broker) {
	topic, group := create(b, "members", partitions), b.fresh("group")
	first := join(b, group, topic)
	settle(partitions, first)
	second := join(b, group, topic)
	settle(partitions, first, second)
	third := join(b, group, topic)
	settle(partitions, first, second, third)
	second.leave()
	settle(partitions, first, third)
	third.leave()
	settle(partitions, first)
	first.leave()
}

func aMemberThatIsKilledIsReplaced(b broker) {
	topic, group := create(b, "killed", partitions), b.fresh("group")
	child := exec.Command(must(os.Executable()), "member", strings.Join(b.seeds, ","), group, topic)
	output := must(child.StdoutPipe())
	ensure(child.Start())
	defer child.Wait()
	defer child.Process.Kill()
	same(must(bufio.NewReader(output).ReadString('\n')), "4\n", "partitions that the child got")
	survivor := join(b, group, topic)
	eventually("the child shares", func() bool { return len(survivor.partitions()) == 2 })
	ensure(child.Process.Kill())
	settle(partitions, survivor)
	survivor.leave()
}

// beAMember is the child of the check above: a member until it is killed.
func beAMember(bootstrap, group, topic string) {
	b := broker{strings.Split(bootstrap, ","), context.Background()}
	m := join(b, group, topic)
	settle(partitions, m)
	fmt.Println(len(m.partitions()))
	select {}
}

func aTopicThatGrowsIsSharedAnew(b broker) {
	topic, group := create(b, "grows", 2), b.fresh("group")
	m := join(b, group, topic)
	settle(2, m)
	answer := must(clientOf(b).CreatePartitions(b.ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 5}},
	}))
	ensure(answer.Errors[topic])
	settle(5, m)
	m.leave()
}

func aGroupWithoutOffsetsBeginsWhereItsReaderSays(b broker) {
	topic := create(b, "begins", 1)
	fill(b, topic, 20, 1)
	reader := groupReader(b, b.fresh("group"), topic, 0)
	same(must(reader.FetchMessage(b.ctx)).Offset, int64(0), "the first record")
	ensure(reader.Close())
}

func groupsAreListedDescribedAndDeletedAndLagIsTold(b broker) {
	topic, group, client := create(b, "told", 1), b.fresh("group"), clientOf(b)
	fill(b, topic, 30, 1)
	reader := groupReader(b, group, topic, 0)
	for i := 0; i < 10; i++ {
		ensure(reader.CommitMessages(b.ctx, must(reader.FetchMessage(b.ctx))))
	}
	same(endOf(b, topic, 0)-committed(b, group, topic, 1)[0], int64(20), "lag")
	described := must(client.DescribeGroups(b.ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})).Groups[0]
	ensure(described.Error)
	same(described.GroupState, "Stable", "state")
	same(described.Members[0].MemberAssignments.Topics[0].Partitions, []int{0}, "what its member has")
	listed := false
	for _, one := range must(client.ListGroups(b.ctx, &kafka.ListGroupsRequest{})).Groups {
		listed = listed || one.GroupID == group
	}
	truth(listed, "%s is not listed", group)
	ensure(reader.Close())
	deleted := must(client.DeleteGroups(b.ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}}))
	ensure(deleted.Errors[group])
	same(committed(b, group, topic, 1), []int64{-1}, "committed")
}
