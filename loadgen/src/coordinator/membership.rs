//! The consumers' membership in a group (`--group`): joining before the load, heartbeats and commits while it lasts,
//! leaving after it.
//!
//! It lives on a thread of its own, so that the load cores fetch exactly as they do without a group. The partitions that
//! the group assigns are fixed when the load begins; a rebalance during it is reported, and the consumers read on.
//! Consumers tell how far they are through [`Positions`], one writer for each partition.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use corelane_net::client::{Cluster, ClusterConfig, GroupMember, Turn};
use corelane_net::group::MemberConfig;
use corelane_net::group::member::Committed;
use corelane_net::group::requests::CommitOffset;
use glommio::timer::Timer;

use crate::runtime::executor::run_here;
use crate::runtime::setup::{CLIENT_ID, Positions};

/// How long the group may take until every member has its partitions.
const JOIN_WITHIN: Duration = Duration::from_mins(1);

/// How often a member shows that it is alive. More often than usual clients do, so that joining is quick.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);

/// How often a member commits.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How long a member may do nothing before it looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What came of a membership.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commits that became durable.
    pub commits: u64,
    /// Partitions given up while the load lasted.
    pub rebalances: u64,
}

/// The members of a group.
pub struct Membership {
    /// The partitions of each member.
    pub assignments: Vec<Vec<u32>>,
    /// Closed when they are to leave.
    leave: flume::Sender<()>,
    thread: JoinHandle<anyhow::Result<Tally>>,
}

/// What a member tells while the group settles.
type Assigned = (usize, Option<Vec<u32>>);

/// What each member knows.
#[derive(Clone)]
struct Common {
    bootstrap: Vec<String>,
    group: String,
    topic: String,
    positions: Positions,
    leave: flume::Receiver<()>,
    assigned: flume::Sender<Assigned>,
}

impl Membership {
    /// Has `members` join `group`, and waits until `partitions` of the topic are theirs.
    pub fn join(
        bootstrap: &[String],
        group: &str,
        topic: &str,
        members: u32,
        partitions: usize,
        positions: Positions,
    ) -> anyhow::Result<Self> {
        let (leave, told_to_leave) = flume::bounded(0);
        let (assigned, assignments) = flume::unbounded();
        let common = Common {
            bootstrap: bootstrap.to_vec(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            positions,
            leave: told_to_leave,
            assigned,
        };
        let thread = std::thread::Builder::new()
            .name("group".to_owned())
            .spawn(move || run_here(all_members(common, members))?)
            .context("cannot start a thread")?;
        if let Some(assignments) = settled(&assignments, members as usize, partitions) {
            return Ok(Self {
                assignments,
                leave,
                thread,
            });
        }
        drop(leave);
        // A thread that ended knows why; one that goes on is ended with the process.
        if thread.is_finished() {
            ended(thread)?;
        }
        anyhow::bail!("group {group} did not settle within {JOIN_WITHIN:?}")
    }

    /// Commits a last time, leaves, and tells what came of it.
    pub fn leave(self) -> anyhow::Result<Tally> {
        drop(self.leave);
        ended(self.thread)
    }
}

fn ended(thread: JoinHandle<anyhow::Result<Tally>>) -> anyhow::Result<Tally> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the group's thread panicked"))?
}

/// The partitions of each member, once every one has some, or there are no more.
fn settled(
    told: &flume::Receiver<Assigned>,
    members: usize,
    partitions: usize,
) -> Option<Vec<Vec<u32>>> {
    let deadline = Instant::now() + JOIN_WITHIN;
    let mut latest: Vec<Option<Vec<u32>>> = vec![None; members];
    loop {
        let whole: Option<Vec<Vec<u32>>> = latest.iter().cloned().collect();
        if let Some(whole) = whole
            && whole.iter().map(Vec::len).sum::<usize>() == partitions
        {
            return Some(whole);
        }
        let (member, assigned) = told.recv_deadline(deadline).ok()?;
        latest[member] = assigned;
    }
}

async fn all_members(common: Common, members: u32) -> anyhow::Result<Tally> {
    let common = Rc::new(common);
    let tasks: Vec<_> = (0..members as usize)
        .map(|index| glommio::spawn_local(one_member(Rc::clone(&common), index)))
        .collect();
    let mut total = Tally::default();
    for task in tasks {
        let tally = task.await?;
        total.commits += tally.commits;
        total.rebalances += tally.rebalances;
    }
    Ok(total)
}

async fn one_member(common: Rc<Common>, index: usize) -> anyhow::Result<Tally> {
    let mut config = MemberConfig::new(common.group.as_str(), vec![common.topic.clone()]);
    config.heartbeat_interval = HEARTBEAT_EVERY;
    let brokers = ClusterConfig::new(common.bootstrap.iter().cloned(), CLIENT_ID);
    let mut cluster = Cluster::connect(brokers).await?;
    cluster.refresh(&[&common.topic]).await?;
    let mut member = GroupMember::new(config);
    let mut tally = Tally::default();
    let mut committed_at = Instant::now();
    let mut is_leaving = false;
    loop {
        if !is_leaving && common.leave.is_disconnected() {
            is_leaving = true;
            commit(&common, &mut member, &mut cluster, &mut tally).await?;
            member.stop();
        }
        match member.turn(&mut cluster).await? {
            Turn::Begin => {
                member.begun();
                let all = member.member().assignment();
                let own = all.get(&common.topic).cloned().unwrap_or_default();
                let own = own.into_iter().map(|partition| partition as u32).collect();
                // Once the load has begun nobody listens any more.
                let _ = common.assigned.send((index, Some(own)));
            }
            Turn::Release { .. } => {
                member.released();
                if !is_leaving && common.assigned.send((index, None)).is_err() {
                    tally.rebalances += 1;
                }
            }
            Turn::Idle(pause) => {
                if committed_at.elapsed() >= COMMIT_EVERY {
                    committed_at = Instant::now();
                    commit(&common, &mut member, &mut cluster, &mut tally).await?;
                }
                Timer::new(pause.min(LOOK_EVERY)).await;
            }
            Turn::End => return Ok(tally),
        }
    }
}

/// Commits how far this member's partitions were read.
async fn commit(
    common: &Common,
    member: &mut GroupMember,
    cluster: &mut Cluster,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let assignment = member.member().assignment();
    let own = assignment.get(&common.topic).cloned().unwrap_or_default();
    let offsets: BTreeMap<(String, i32), CommitOffset> = own
        .into_iter()
        .filter_map(|partition| {
            let position = common.positions.get(usize::try_from(partition).ok()?)?;
            let offset = position.load(Ordering::Relaxed);
            let metadata = String::new();
            (offset >= 0).then(|| {
                let key = (common.topic.clone(), partition);
                (key, CommitOffset { offset, metadata })
            })
        })
        .collect();
    if !offsets.is_empty() && member.commit(cluster, &offsets).await? == Committed::Done {
        tally.commits += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_settled_when_every_member_has_its_part() {
        let (tell, told) = flume::unbounded();
        for message in [
            // The first to come gets everything, and gives it up when the second comes.
            (0, Some(vec![0, 1, 2])),
            (0, None),
            (1, Some(vec![2])),
            (0, Some(vec![0, 1])),
        ] {
            tell.send(message).unwrap();
        }
        assert_eq!(settled(&told, 2, 3), Some(vec![vec![0, 1], vec![2]]));
        // A member that ends before that ends the wait.
        tell.send((0, Some(vec![0]))).unwrap();
        drop(tell);
        assert_eq!(settled(&told, 2, 3), None);
    }
}
