//! What a classic group allows with its offsets.

use corelane_net::error_code::ErrorCode;

use super::{ClassicGroup, ClassicState};
use crate::group::step::Context;

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub struct Committer<'a> {
    /// Its member id; empty outside of a group.
    pub member_id: &'a str,
    /// Its instance id.
    pub instance_id: Option<&'a str>,
    /// Its generation; negative outside of a group.
    pub generation: i32,
}

/// From when on an offset's time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryBase {
    /// Since it was committed.
    Commit,
    /// Since this moment, when the group became empty.
    Since(i64),
}

impl ClassicGroup {
    /// Whether a commit is to be taken. A commit of a member is a sign of life.
    pub fn admit_commit(
        &mut self,
        context: &mut Context<'_, '_>,
        committer: Committer<'_>,
    ) -> Result<(), ErrorCode> {
        if committer.generation < 0 && self.state == ClassicState::Empty {
            // An administrator, or a consumer without a group.
            return Ok(());
        }
        let claims_membership = committer.generation >= 0
            || !committer.member_id.is_empty()
            || committer.instance_id.is_some();
        if !claims_membership {
            // The group is not empty: its offsets are its members'.
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(committer.member_id, committer.instance_id)?;
        if committer.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == ClassicState::CompletingRebalance {
            // It has joined the next generation, and does not know yet what it owns there.
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.renew_session(context, committer.member_id);
        Ok(())
    }

    /// Whether offsets may be removed by hand; those of subscribed topics may not in any case.
    pub fn admit_offset_delete(&self) -> Result<(), ErrorCode> {
        if self.state == ClassicState::Empty || self.is_of_consumers() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }

    /// Whether the group may be deleted.
    pub fn admit_delete(&self) -> Result<(), ErrorCode> {
        if self.state == ClassicState::Empty {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }

    /// By what its offsets expire; `None` while they do not.
    pub fn expiry_base(&self) -> Option<ExpiryBase> {
        if self.protocol_type.is_none() {
            // Consumers without a group keep their offsets by committing them.
            return Some(ExpiryBase::Commit);
        }
        match self.state {
            ClassicState::Empty => {
                Some(self.since_ms.map_or(ExpiryBase::Commit, ExpiryBase::Since))
            }
            ClassicState::Stable if self.is_of_consumers() && self.subscribed.is_some() => {
                Some(ExpiryBase::Commit)
            }
            _ => None,
        }
    }
}
