//! A session against a model that does as Kafka's broker does: it visits every partition in every fetch, and answers with
//! those that have records, an error, or other watermarks than it told. Random histories of consumers, logs and limits must
//! give the same answers, though the session visits only what is due.

use std::collections::BTreeMap;

use corelane_format::ids::{Offset, PartitionIndex};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, FetchTopic, ForgottenTopic, IsolationLevel};
use corelane_net::topic::TopicKey;
use proptest::prelude::*;

use super::session::{FetchSession, Naming, Visited, Watermarks};

const PARTITIONS: usize = 6;

/// One log, as far as a fetch can tell.
#[derive(Clone, Copy, Debug, Default)]
struct Log {
    end: i64,
    start: i64,
    failed: bool,
    /// Another lane's: nothing rings.
    is_remote: bool,
}

/// What a partition was answered with: error, high watermark, log start, offset of the first record.
type Told = (ErrorCode, i64, i64, Option<i64>);

impl Log {
    /// Reads from `from` on; records only if `budget` lets it.
    fn read(self, from: i64, budget: &mut usize) -> (Told, bool) {
        if self.failed {
            return ((ErrorCode::KafkaStorageError, -1, -1, None), false);
        }
        let is_at_end = from >= self.end;
        let records = (!is_at_end && *budget > 0).then(|| {
            *budget -= 1;
            from
        });
        ((ErrorCode::None, self.end, self.start, records), is_at_end)
    }
}

/// Kafka's way: every partition of the session in order, with what it was told.
#[derive(Default)]
struct Model {
    order: Vec<(usize, i64, i64, i64)>,
}

impl Model {
    fn put(&mut self, partition: usize, from: i64) {
        match self.order.iter_mut().find(|one| one.0 == partition) {
            Some(known) => known.1 = from,
            None => self.order.push((partition, from, -1, -1)),
        }
    }

    fn answer(&mut self, logs: &[Log], mut budget: usize) -> Vec<(usize, Told)> {
        let mut answered = Vec::new();
        let mut served = Vec::new();
        for (partition, from, told_end, told_start) in &mut self.order {
            let (told, _) = logs[*partition].read(*from, &mut budget);
            let failed = told.0 != ErrorCode::None;
            if failed || told.3.is_some() || told.1 != *told_end || told.2 != *told_start {
                (*told_end, *told_start) = (told.1, told.2);
                answered.push((*partition, told));
            }
            if told.3.is_some() {
                served.push(*partition);
            }
        }
        for partition in served {
            let at = self.order.iter().position(|one| one.0 == partition);
            if let Some(at) = at {
                let one = self.order.remove(at);
                self.order.push(one);
            }
        }
        answered
    }
}

fn topics(partitions: &[(usize, i64)]) -> Vec<FetchTopic> {
    partitions
        .iter()
        .map(|(partition, from)| FetchTopic {
            topic: TopicKey::Name(format!("t{}", partition % 2).into()),
            partitions: vec![FetchPartition::new(
                PartitionIndex::new(*partition as i32),
                Offset::new(*from),
                1000,
            )],
        })
        .collect()
}

/// One pass: reads what is due. Gives the visits, for the answer.
fn pass(session: &mut FetchSession, logs: &[Log], mut budget: usize) -> Vec<(u32, Visited, Told)> {
    let mut visits = Vec::new();
    for slot in session.due() {
        let asked = session.asked(slot).unwrap();
        let log = logs[asked.index.get() as usize];
        let (told, is_at_end) = log.read(asked.fetch_offset.get(), &mut budget);
        let visited = Visited {
            error: told.0,
            watermarks: Watermarks {
                high_watermark: Offset::new(told.1),
                last_stable_offset: Offset::new(told.1),
                log_start_offset: Offset::new(told.2),
            },
            has_records: told.3.is_some(),
            is_at_end,
            is_watched: !log.is_remote,
        };
        session.visited(slot, &visited);
        visits.push((slot, visited, told));
    }
    visits
}

#[derive(Clone, Debug)]
enum Step {
    /// The client adds or moves a partition.
    Put(usize, i64),
    Forget(usize),
    Append(usize),
    DeleteRecords(usize),
    Fail(usize, bool),
    /// A pass that finds too little, and waits.
    Pass(usize),
    /// A fetch with an answer, of at most this many partitions with records.
    Fetch(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = || 0..PARTITIONS;
    let step = prop_oneof![
        3 => (partition(), 0..6_i64).prop_map(|(one, from)| Step::Put(one, from)),
        1 => partition().prop_map(Step::Forget),
        4 => partition().prop_map(Step::Append),
        1 => partition().prop_map(Step::DeleteRecords),
        1 => (partition(), any::<bool>()).prop_map(|(one, failed)| Step::Fail(one, failed)),
        2 => (0..3_usize).prop_map(Step::Pass),
        6 => (0..4_usize).prop_map(Step::Fetch),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn answers_are_those_of_a_broker_that_visits_everything(
        steps in steps(),
        remote in proptest::collection::vec(any::<bool>(), PARTITIONS),
    ) {
        let mut logs: Vec<Log> = remote.iter().map(|is_remote| Log { is_remote: *is_remote, ..Log::default() }).collect();
        let mut session = FetchSession::new(Naming::Names, IsolationLevel::ReadUncommitted);
        let mut model = Model::default();
        let mut slots: BTreeMap<usize, u32> = BTreeMap::new();
        let ring = |session: &mut FetchSession, slots: &BTreeMap<usize, u32>, partition: usize, log: Log| {
            if let (Some(slot), false) = (slots.get(&partition), log.is_remote) {
                session.mark_due(*slot);
            }
        };
        for step in steps {
            match step {
                Step::Put(partition, from) => {
                    let asked = topics(&[(partition, from)]);
                    session.update(&asked, &[]);
                    model.put(partition, from);
                    let slot = session.slot_of(&asked[0].topic, PartitionIndex::new(partition as i32));
                    slots.insert(partition, slot.unwrap());
                }
                Step::Forget(partition) => {
                    let gone = session.update(&[], &[ForgottenTopic {
                        topic: TopicKey::Name(format!("t{}", partition % 2).into()),
                        partitions: vec![PartitionIndex::new(partition as i32)],
                    }]);
                    prop_assert_eq!(gone.first().copied(), slots.remove(&partition));
                    model.order.retain(|one| one.0 != partition);
                }
                Step::Append(partition) => {
                    logs[partition].end += 1;
                    ring(&mut session, &slots, partition, logs[partition]);
                }
                Step::DeleteRecords(partition) => {
                    logs[partition].start = logs[partition].end;
                    ring(&mut session, &slots, partition, logs[partition]);
                }
                Step::Fail(partition, failed) => {
                    logs[partition].failed = failed;
                    ring(&mut session, &slots, partition, logs[partition]);
                }
                Step::Pass(budget) => {
                    pass(&mut session, &logs, budget);
                }
                Step::Fetch(budget) => {
                    let visits = pass(&mut session, &logs, budget);
                    let outcomes: Vec<_> = visits.iter().map(|(slot, visited, _)| (*slot, *visited)).collect();
                    let mut got: Vec<(usize, Told)> = session
                        .answer(&outcomes)
                        .iter()
                        .map(|one| {
                            let partition = session.asked(one.slot).unwrap().index.get() as usize;
                            let seen = session.seen(one.slot);
                            let told = one.visit.map_or(
                                (ErrorCode::None, seen.high_watermark.get(), seen.log_start_offset.get(), None),
                                |at| visits[at].2,
                            );
                            (partition, told)
                        })
                        .collect();
                    let mut expected = model.answer(&logs, budget);
                    got.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(got, expected);
                    prop_assert_eq!(session.len(), model.order.len());
                }
            }
        }
    }
}
