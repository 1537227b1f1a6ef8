//! Who is to have what: computed when the group's epoch has none yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use corelane_format::ids::TopicId;
use corelane_net::error_code::ErrorCode;

use super::ConsumerGroup;
use crate::group::assignor::{Assignor, GroupSpec, MemberSpec};
use crate::group::config::GroupConfig;
use crate::group::record::{ConsumerRecord, GroupEpoch, MemberDetails};
use crate::group::step::Context;
use crate::metadata::MetadataImage;

impl ConsumerGroup {
    /// Sees to it that the group's epoch is that of the subscribed topics as they are, and has a target. Costs nothing while
    /// neither subscriptions nor topics change.
    ///
    /// # Errors
    /// Something could not be recorded: the next heartbeat tries again.
    pub(super) fn refresh(&mut self, context: &mut Context<'_, '_>) -> Result<(), ErrorCode> {
        let stamp = context.image.topics_stamp();
        let mut records = Vec::new();
        let mut epoch = self.epoch;
        if self.seen != Some(stamp) {
            let patterns = self.stale_patterns(context);
            self.record_apart(context, patterns)?;
            let metadata_hash = self.metadata_hash(context.image);
            if metadata_hash != epoch.metadata_hash {
                // An epoch that nobody has a target of yet takes the change along.
                let has_target = epoch.epoch <= self.target_epoch;
                epoch = GroupEpoch {
                    epoch: epoch.epoch + i32::from(has_target),
                    metadata_hash,
                };
                records.push(ConsumerRecord::Epoch(Some(epoch)));
            }
        }
        if epoch.epoch > self.target_epoch {
            let assignor = self.preferred_assignor(context.config);
            let targets = self.targets(context.image, assignor);
            tracing::info!(
                group = %self.id, epoch = epoch.epoch, members = self.members.len(),
                assignor = assignor.name(), changed = targets.len(), "a new assignment"
            );
            records.extend(targets);
            // The last one: until it is there, the targets are computed anew.
            records.push(ConsumerRecord::TargetEpoch(Some(epoch.epoch)));
        }
        self.record_apart(context, records)?;
        self.seen = Some(stamp);
        Ok(())
    }

    /// The assignor that most members ask for; of equals, and if nobody asks, the first of the server's.
    pub(super) fn preferred_assignor(&self, config: &GroupConfig) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self
            .members
            .values()
            .filter_map(|member| member.details.server_assignor.as_deref())
        {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.values().max().copied();
        let mut known = config.consumer_assignors.iter().copied();
        known
            .clone()
            .find(|assignor| most.is_some() && votes.get(assignor.name()).copied() == most)
            .or_else(|| known.next())
            .unwrap_or(Assignor::Uniform)
    }

    /// The targets that change.
    fn targets(&self, image: &MetadataImage, assignor: Assignor) -> Vec<ConsumerRecord> {
        let mut subscriptions = Subscriptions {
            group: self,
            image,
            known: HashMap::new(),
            topics: BTreeMap::new(),
        };
        let members: Vec<MemberSpec<'_>> = self
            .members
            .values()
            .map(|member| MemberSpec {
                id: &member.id,
                instance_id: member.details.instance_id.as_deref(),
                subscription: subscriptions.of(&member.details),
                target: &member.target,
            })
            .collect();
        let spec = GroupSpec {
            topics: subscriptions.topics,
            members,
        };
        let assigned = assignor.assign(&spec);
        spec.members
            .iter()
            .zip(assigned)
            .filter(|(member, target)| member.target != target)
            .map(|(member, target)| ConsumerRecord::Target {
                member_id: member.id.to_owned(),
                value: Some(target),
            })
            .collect()
    }
}

/// The topics that a member names, and its expression.
type Wish<'a> = (&'a [String], Option<&'a str>);

/// What members want, each distinct subscription once.
struct Subscriptions<'a> {
    group: &'a ConsumerGroup,
    image: &'a MetadataImage,
    known: HashMap<Wish<'a>, Rc<BTreeSet<TopicId>>>,
    /// How many partitions each topic has that anybody wants.
    topics: BTreeMap<TopicId, i32>,
}

impl<'a> Subscriptions<'a> {
    fn of(&mut self, details: &'a MemberDetails) -> Rc<BTreeSet<TopicId>> {
        let key = (details.topics.as_slice(), details.pattern());
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let mut wanted = BTreeSet::new();
        for name in details
            .topics
            .iter()
            .chain(self.group.matched_topics(details))
        {
            if let Some(topic) = self.image.topic(name) {
                let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                self.topics.insert(topic.id, partitions);
                wanted.insert(topic.id);
            }
        }
        let wanted = Rc::new(wanted);
        self.known.insert(key, Rc::clone(&wanted));
        wanted
    }
}
