use corelane_format::ids::{Offset, PartitionIndex};
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchPartition, FetchTopic, ForgottenTopic, IsolationLevel};
use corelane_net::topic::TopicKey;

use super::session::{FetchSession, Naming, Visited, Watermarks, next_epoch, size_bytes_of};

fn topic(name: &str, partitions: impl IntoIterator<Item = i32>) -> FetchTopic {
    FetchTopic {
        topic: TopicKey::Name(name.into()),
        partitions: partitions
            .into_iter()
            .map(|index| FetchPartition::new(PartitionIndex::new(index), Offset::ZERO, 1000))
            .collect(),
    }
}

fn forgotten(name: &str, partitions: &[i32]) -> ForgottenTopic {
    ForgottenTopic {
        topic: TopicKey::Name(name.into()),
        partitions: partitions
            .iter()
            .map(|index| PartitionIndex::new(*index))
            .collect(),
    }
}

fn session(topics: &[FetchTopic]) -> FetchSession {
    let mut session = FetchSession::new(Naming::Names, IsolationLevel::ReadUncommitted);
    session.update(topics, &[]);
    session
}

fn at_end(high_watermark: i64) -> Visited {
    Visited {
        error: ErrorCode::None,
        watermarks: Watermarks {
            high_watermark: Offset::new(high_watermark),
            last_stable_offset: Offset::new(high_watermark),
            log_start_offset: Offset::ZERO,
        },
        has_records: false,
        is_at_end: true,
        is_watched: true,
    }
}

fn with_records(high_watermark: i64) -> Visited {
    Visited {
        has_records: true,
        is_at_end: false,
        ..at_end(high_watermark)
    }
}

fn failed(error: ErrorCode) -> Visited {
    Visited {
        error,
        watermarks: Watermarks::UNKNOWN,
        is_at_end: false,
        ..at_end(0)
    }
}

/// Visits everything due, by `outcome`, and gives the slots visited and those answered.
fn fetch(session: &mut FetchSession, outcome: impl Fn(u32) -> Visited) -> (Vec<u32>, Vec<u32>) {
    let due = session.due();
    let visits: Vec<_> = due.iter().map(|slot| (*slot, outcome(*slot))).collect();
    for (slot, visited) in &visits {
        session.visited(*slot, visited);
    }
    let answered = session.answer(&visits);
    (due, answered.iter().map(|one| one.slot).collect())
}

#[test]
fn a_fetch_of_many_partitions_visits_and_answers_only_what_changed() {
    let mut session = session(&[topic("t", 0..10_000)]);
    let (visited, answered) = fetch(&mut session, |_| at_end(0));
    assert_eq!((visited.len(), answered.len()), (10_000, 10_000));
    for _ in 0..3 {
        assert_eq!(fetch(&mut session, |_| at_end(0)), (vec![], vec![]));
    }
    session.mark_due(77);
    session.mark_due(9_000);
    session.mark_due(77);
    let news = |slot| {
        if slot == 77 {
            with_records(1)
        } else {
            at_end(0)
        }
    };
    let expected = (vec![77, 9_000], vec![77]);
    assert_eq!(fetch(&mut session, news), expected);
    // The records were sent, and the client says how far it is.
    session.update(&[topic("t", [77])], &[]);
    assert_eq!(fetch(&mut session, |_| at_end(1)), (vec![77], vec![]));
    assert_eq!(fetch(&mut session, |_| at_end(1)), (vec![], vec![]));
}

#[test]
fn where_only_one_partition_fits_all_get_their_turn() {
    let mut session = session(&[topic("t", 0..5)]);
    fetch(&mut session, |_| with_records(100));
    let mut served = Vec::new();
    for _ in 0..10 {
        let due = session.due();
        let visits: Vec<_> = due
            .iter()
            .enumerate()
            .map(|(at, slot)| {
                let mut visited = with_records(100);
                visited.has_records = at == 0;
                (*slot, visited)
            })
            .collect();
        served.extend(session.answer(&visits).iter().map(|one| one.slot));
    }
    assert_eq!(served, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}

#[test]
fn watermarks_alone_are_reported_once_with_the_next_answer() {
    let mut session = session(&[topic("t", 0..2)]);
    fetch(&mut session, |_| at_end(5));
    session.mark_due(1);
    // A pass that finds it, and no answer yet; then one that finds nothing.
    session.visited(1, &at_end(6));
    assert!(session.due().is_empty());
    let answered = session.answer(&[]);
    assert_eq!((answered.len(), answered[0].slot), (1, 1));
    assert_eq!(session.seen(1).high_watermark, Offset::new(6));
    assert!(session.answer(&[]).is_empty());
    let mut later = at_end(6);
    later.watermarks.log_start_offset = Offset::new(3);
    session.mark_due(1);
    assert_eq!(fetch(&mut session, |_| later), (vec![1], vec![1]));
}

#[test]
fn errors_are_answered_each_time_and_their_end_too() {
    let mut session = session(&[topic("t", 0..1)]);
    fetch(&mut session, |_| at_end(5));
    session.mark_due(0);
    for _ in 0..3 {
        let gone = |_| failed(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(fetch(&mut session, gone), (vec![0], vec![0]));
    }
    assert_eq!(fetch(&mut session, |_| at_end(5)), (vec![0], vec![0]));
    assert_eq!(fetch(&mut session, |_| at_end(5)), (vec![], vec![]));
}

#[test]
fn what_does_not_ring_is_visited_each_time_and_answered_when_it_changed() {
    let mut session = session(&[topic("t", 0..1)]);
    let quiet = |high_watermark| Visited {
        is_watched: false,
        ..at_end(high_watermark)
    };
    assert_eq!(fetch(&mut session, |_| quiet(5)), (vec![0], vec![0]));
    assert_eq!(fetch(&mut session, |_| quiet(5)), (vec![0], vec![]));
    assert_eq!(fetch(&mut session, |_| quiet(6)), (vec![0], vec![0]));
}

#[test]
fn forgotten_partitions_are_gone_with_their_topics_and_bytes() {
    let topics = [topic("a", 0..3), topic("bb", 0..1)];
    let mut session = session(&topics);
    assert_eq!(session.size_bytes(), size_bytes_of(&topics));
    let gone = session.update(
        &[],
        &[
            forgotten("a", &[1, 7]),
            forgotten("bb", &[0]),
            forgotten("c", &[0]),
        ],
    );
    assert_eq!(gone, [1, 3]);
    assert_eq!(session.len(), 2);
    assert_eq!(session.size_bytes(), size_bytes_of(&[topic("a", 0..2)]));
    assert_eq!(session.due(), [0, 2]);
    // A number that is free again leads to its new partition only.
    session.update(&[topic("d", [9])], &[]);
    assert_eq!(session.asked(3).map(|asked| asked.index.get()), Some(9));
    session.update(&[], &[forgotten("a", &[0, 2]), forgotten("d", &[9])]);
    assert!(session.is_empty());
    assert_eq!((session.size_bytes(), session.due().len()), (0, 0));
}

#[test]
fn another_isolation_level_makes_everything_due() {
    let mut session = session(&[topic("t", 0..3)]);
    fetch(&mut session, |_| at_end(5));
    session.advance(IsolationLevel::ReadUncommitted);
    assert!(session.due().is_empty());
    session.advance(IsolationLevel::ReadCommitted);
    assert_eq!(session.due(), [0, 1, 2]);
}

#[test]
fn only_the_expected_epoch_and_naming_pass() {
    let mut session = session(&[topic("t", 0..1)]);
    let table = [
        (1, Naming::Names, Ok(())),
        (2, Naming::Names, Err(ErrorCode::InvalidFetchSessionEpoch)),
        (1, Naming::Ids, Err(ErrorCode::FetchSessionTopicIdError)),
        (2, Naming::Ids, Err(ErrorCode::InvalidFetchSessionEpoch)),
    ];
    for (epoch, naming, expected) in table {
        assert_eq!(session.check(epoch, naming), expected, "{epoch} {naming:?}");
    }
    session.advance(IsolationLevel::ReadUncommitted);
    assert_eq!(session.check(2, Naming::Names), Ok(()));
    assert_eq!(
        [next_epoch(-1), next_epoch(0), next_epoch(i32::MAX)],
        [-1, 1, 1]
    );
}
