//! What is over: offsets that were not committed for long, offsets of deleted topics, groups without either.

use std::ops::Bound;
use std::rc::Rc;

use super::{Group, Shard};
use crate::group::classic::ExpiryBase;
use crate::group::offsets::Committed;
use crate::group::record::GroupRecord;
use crate::group::step::Step;
use crate::metadata::MetadataImage;

/// Groups that one step looks at.
const GROUPS_PER_STEP: usize = 200;

impl Shard {
    /// Removes what has expired of some groups, from behind `after`. Gives where to go on; `None` when all were seen.
    pub fn expire(&mut self, step: &mut Step<'_>, after: Option<&Rc<str>>) -> Option<Rc<str>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<Rc<str>> = self
            .groups
            .range::<Rc<str>, _>((from, Bound::Unbounded))
            .take(GROUPS_PER_STEP)
            .map(|(id, _)| Rc::clone(id))
            .collect();
        for id in &ids {
            let records = self.expired(id, step.now.wall_ms);
            if let Err(code) = self.append_apart(step, &records) {
                // They expire the next time.
                tracing::warn!(group = %id, %code, "expired offsets could not be removed");
            }
        }
        ids.last().filter(|_| ids.len() == GROUPS_PER_STEP).cloned()
    }

    fn expired(&self, group_id: &Rc<str>, wall_ms: i64) -> Vec<GroupRecord> {
        let Some(entry) = self.groups.get(group_id) else {
            return Vec::new();
        };
        let base = match &entry.group {
            Group::Classic(group) => group.expiry_base(),
            Group::Consumer(_) => Some(ExpiryBase::Commit),
        };
        let retention_ms = self.config.offsets_retention_ms;
        let is_expired = |topic: &str, committed: &Committed| {
            let Some(base) = base else { return false };
            if entry.group.is_subscribed_to(topic) {
                return false;
            }
            match (committed.expire_timestamp_ms, base) {
                (Some(expires_ms), _) => wall_ms >= expires_ms,
                (None, ExpiryBase::Since(since_ms)) => {
                    wall_ms.saturating_sub(since_ms) >= retention_ms
                }
                (None, ExpiryBase::Commit) => {
                    wall_ms.saturating_sub(committed.commit_timestamp_ms) >= retention_ms
                }
            }
        };
        let mut records = entry
            .offsets
            .tombstones(group_id, |topic, _, committed| is_expired(topic, committed));
        let all = records.len() == entry.offsets.iter().count();
        if all && entry.group.is_vacant() {
            records.extend(entry.group.tombstones(group_id));
        }
        records
    }

    /// Removes the offsets of topics that were deleted.
    pub fn remove_topics(&mut self, step: &mut Step<'_>, names: &[String]) {
        self.remove_offsets(step, |topic, _| names.iter().any(|name| name == topic));
    }

    /// Removes offsets of topics that are gone, or that have given their names to others.
    pub(super) fn remove_stray_offsets(&mut self, step: &mut Step<'_>, image: &MetadataImage) {
        self.remove_offsets(step, |topic, committed| {
            image.topic(topic).is_none() || !committed.is_of(topic, image)
        });
    }

    fn remove_offsets(&mut self, step: &mut Step<'_>, select: impl Fn(&str, &Committed) -> bool) {
        let records: Vec<GroupRecord> = self
            .groups
            .iter()
            .flat_map(|(id, entry)| {
                entry
                    .offsets
                    .tombstones(id, |topic, _, committed| select(topic, committed))
            })
            .collect();
        if let Err(code) = self.append_apart(step, &records) {
            // They name a topic id that no topic has any more, so nobody is served them; the next start removes them.
            tracing::warn!(%code, "offsets of deleted topics could not be removed");
        }
        for record in &records {
            if let GroupRecord::OffsetCommit { key, .. } = record {
                self.drop_if_unused(&key.group_id);
            }
        }
    }
}
