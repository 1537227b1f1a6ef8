//! What a consumer group allows with its offsets.

use corelane_net::error_code::ErrorCode;

use super::{ConsumerGroup, ConsumerMember};
use crate::group::classic::Committer;

/// The first version of OffsetCommit that knows member epochs.
const MEMBER_EPOCH_SINCE: i16 = 9;

impl ConsumerGroup {
    /// Whether a commit is to be taken: a member's own epoch only.
    pub fn admit_commit(&self, committer: Committer<'_>, version: i16) -> Result<(), ErrorCode> {
        if committer.generation < 0 && self.members.is_empty() {
            // An administrator, or a consumer without a group.
            return Ok(());
        }
        let member = self
            .members
            .get(committer.member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        if !member.is_classic() && version < MEMBER_EPOCH_SINCE {
            return Err(ErrorCode::UnsupportedVersion);
        }
        check_epoch(member, committer.generation)
    }

    /// Whether offsets may be fetched: by anybody who does not claim to be a member, and by members in their own epochs.
    pub fn admit_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(member_id) = member_id else {
            return if epoch < 0 {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        };
        let member = self
            .members
            .get(member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        check_epoch(member, epoch)
    }

    /// Whether the group may be deleted.
    pub fn admit_delete(&self) -> Result<(), ErrorCode> {
        if self.members.is_empty() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }
}

fn check_epoch(member: &ConsumerMember, epoch: i32) -> Result<(), ErrorCode> {
    if epoch == member.current.epoch {
        Ok(())
    } else if member.is_classic() {
        Err(ErrorCode::IllegalGeneration)
    } else {
        Err(ErrorCode::StaleMemberEpoch)
    }
}
