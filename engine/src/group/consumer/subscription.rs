//! Who wants which topics, and whether those are still what they were.

use std::collections::BTreeSet;
use std::rc::Rc;

use corelane_net::error_code::ErrorCode;

use super::{ConsumerGroup, Pattern, Refusal};
use crate::group::budget::Budget;
use crate::group::record::{ConsumerRecord, MemberDetails, PatternTopics};
use crate::group::step::{Context, Now};
use crate::group::topic_pattern::TopicPattern;
use crate::metadata::MetadataImage;

/// What an expression costs besides its text and its topics.
const PATTERN_BYTES: usize = 192;
/// What the name of a topic costs besides its text.
const NAME_BYTES: usize = 48;

impl ConsumerGroup {
    /// Counts what a member told.
    pub(super) fn count(&mut self, details: &MemberDetails, member_id: &Rc<str>) {
        self.seen = None;
        for topic in &details.topics {
            *self.named.entry(topic.as_str().into()).or_default() += 1;
        }
        if let Some(pattern) = details.pattern() {
            self.patterns.entry(pattern.into()).or_default().members += 1;
        }
        if let Some(instance_id) = &details.instance_id {
            self.instances
                .insert(instance_id.as_str().into(), Rc::clone(member_id));
        }
        if let Some(classic) = &details.classic {
            self.classic_members += 1;
            for (name, _) in &classic.protocols {
                *self.offered.entry(name.as_str().into()).or_default() += 1;
            }
        }
    }

    /// Takes back what [`ConsumerGroup::count`] counted.
    pub(super) fn uncount(&mut self, details: &MemberDetails, member_id: &str) {
        self.seen = None;
        for topic in &details.topics {
            decrement(&mut self.named, topic);
        }
        if let Some(pattern) = details.pattern()
            && let Some(known) = self.patterns.get_mut(pattern)
        {
            known.members = known.members.saturating_sub(1);
            if known.members == 0 && known.charge.is_none() {
                self.patterns.remove(pattern);
            }
        }
        if let Some(instance_id) = details.instance_id.as_deref()
            && self
                .instances
                .get(instance_id)
                .is_some_and(|id| **id == *member_id)
        {
            self.instances.remove(instance_id);
        }
        if let Some(classic) = &details.classic {
            self.classic_members = self.classic_members.saturating_sub(1);
            for (name, _) in &classic.protocols {
                decrement(&mut self.offered, name);
            }
        }
    }

    /// Takes over what an expression matches; `None` if nobody is subscribed by it any more.
    pub(super) fn put_pattern_topics(
        &mut self,
        pattern: &str,
        value: Option<&PatternTopics>,
        budget: &Budget,
    ) {
        self.seen = None;
        let Some(value) = value else {
            if let Some(known) = self.patterns.get_mut(pattern) {
                known.topics = PatternTopics::default();
                known.charge = None;
                if known.members == 0 {
                    self.patterns.remove(pattern);
                }
            }
            return;
        };
        let topics: usize = value
            .topics
            .iter()
            .map(|name| name.len() + NAME_BYTES)
            .sum();
        let known = self.patterns.entry(pattern.into()).or_default();
        known.topics = value.clone();
        known.charge = Some(budget.take(PATTERN_BYTES + 2 * pattern.len() + topics));
    }

    /// The records by which a member goes from one expression to another.
    ///
    /// # Errors
    /// `INVALID_REGULAR_EXPRESSION`.
    pub(super) fn change_pattern(
        &self,
        context: &Context<'_, '_>,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<ConsumerRecord>, Refusal> {
        let mut records = Vec::new();
        if from == to {
            return Ok(records);
        }
        let members = |pattern: &str| self.patterns.get(pattern).map_or(0, |known| known.members);
        if let Some(from) = from.filter(|from| members(from) == 1) {
            records.push(ConsumerRecord::Pattern {
                pattern: from.to_owned(),
                value: None,
            });
        }
        if let Some(to) = to.filter(|to| members(to) == 0) {
            let compiled = TopicPattern::new(to).map_err(|reason| {
                let message = format!(
                    "SubscribedTopicRegex `{to}` is not a valid regular expression: {reason}."
                );
                Refusal::new(ErrorCode::InvalidRegularExpression, message)
            })?;
            records.push(ConsumerRecord::Pattern {
                pattern: to.to_owned(),
                value: Some(resolve(&compiled, context.image, context.step.now)),
            });
        }
        Ok(records)
    }

    /// What the expressions match now, where that has changed.
    pub(super) fn stale_patterns(&self, context: &Context<'_, '_>) -> Vec<ConsumerRecord> {
        self.patterns
            .iter()
            .filter(|(_, known)| known.members > 0)
            .filter_map(|(pattern, known)| {
                // It was compiled before, when the first member came with it.
                let compiled = TopicPattern::new(pattern).ok()?;
                let value = resolve(&compiled, context.image, context.step.now);
                (value.topics != known.topics.topics || known.charge.is_none()).then(|| {
                    ConsumerRecord::Pattern {
                        pattern: pattern.to_string(),
                        value: Some(value),
                    }
                })
            })
            .collect()
    }

    fn live_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.values().filter(|known| known.members > 0)
    }

    /// The names of all topics that members want, whether they exist or not.
    pub(super) fn wanted_topics(&self) -> BTreeSet<&str> {
        let matched = self.live_patterns().flat_map(|known| &known.topics.topics);
        self.named
            .keys()
            .map(|name| &**name)
            .chain(matched.map(String::as_str))
            .collect()
    }

    /// Whether a member wants the topic.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.named.contains_key(topic)
            || self.live_patterns().any(|known| {
                let found = known
                    .topics
                    .topics
                    .binary_search_by(|name| (**name).cmp(topic));
                found.is_ok()
            })
    }

    /// The names that a member's expression matches.
    pub(super) fn matched_topics(&self, details: &MemberDetails) -> &[String] {
        details
            .pattern()
            .and_then(|pattern| self.patterns.get(pattern))
            .map_or(&[], |known| &known.topics.topics)
    }

    /// A hash of all topics that members want and that exist, with their ids and numbers of partitions; 0 of none. Equal
    /// over restarts: it stands in a record.
    pub(super) fn metadata_hash(&self, image: &MetadataImage) -> i64 {
        // FNV-1a of 64 bits.
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = BASIS;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        };
        let mut any = false;
        for topic in self
            .wanted_topics()
            .into_iter()
            .filter_map(|name| image.topic(name))
        {
            any = true;
            mix(&topic.id.get());
            mix(&(topic.partitions.len() as u64).to_be_bytes());
        }
        match hash.cast_signed() {
            _ if !any => 0,
            0 => 1,
            hash => hash,
        }
    }
}

fn decrement(counts: &mut std::collections::BTreeMap<Box<str>, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// The topics that match; as in Kafka, internal ones may too.
fn resolve(pattern: &TopicPattern, image: &MetadataImage, now: Now) -> PatternTopics {
    PatternTopics {
        topics: image
            .topics_from("")
            .filter(|topic| pattern.matches(&topic.name))
            .map(|topic| topic.name.clone())
            .collect(),
        version: image.topics_stamp().version(),
        timestamp_ms: now.wall_ms,
    }
}
