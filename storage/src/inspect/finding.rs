//! What a check of a log's files can find, how bad it is, and what to do about it. Pure.

use std::ops::Range;
use std::path::PathBuf;

use corelane_format::Offset;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; a start deals with it, and nothing that was durable is lost.
    Note,
    /// It could not be read, so nothing is known of it.
    Unchecked,
    /// The bytes are not what was written.
    Damage,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Records that were durable, or that a newer segment says were there, have no sound block.
    DamagedRecords,
    /// A sound batch whose records cannot be read.
    UnreadableRecords,
    /// A segment's header page.
    SegmentHeader,
    /// A file that belongs to another log.
    ForeignFile,
    /// A sidecar that does not decode or does not fit its sound segment.
    Sidecar,
    /// The recorded log start.
    LogStart,
    /// The mark of an unfinished truncation.
    CutMark,
    /// The identity file of a data directory.
    Identity,
    /// A journal's header page or a block of it, or a block that is missing.
    Journal,
    /// A file that the system does not let be read.
    Unreadable,
    /// Blocks behind everything durable: a write that a crash interrupted.
    TornTail,
    /// A range is on record as damaged, and its blocks are sound now.
    SoundAgain,
    /// A sidecar of an earlier segment of the same name, or one without its segment.
    StaleSidecar,
    /// What a crash left of a file that was being made, or of a deletion.
    Leftover,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::DamagedRecords,
        Self::UnreadableRecords,
        Self::SegmentHeader,
        Self::ForeignFile,
        Self::Sidecar,
        Self::LogStart,
        Self::CutMark,
        Self::Identity,
        Self::Journal,
        Self::Unreadable,
        Self::TornTail,
        Self::SoundAgain,
        Self::StaleSidecar,
        Self::Leftover,
    ];

    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DamagedRecords => "damaged-records",
            Self::UnreadableRecords => "unreadable-records",
            Self::SegmentHeader => "segment-header",
            Self::ForeignFile => "foreign-file",
            Self::Sidecar => "sidecar",
            Self::LogStart => "log-start",
            Self::CutMark => "cut-mark",
            Self::Identity => "identity",
            Self::Journal => "journal",
            Self::Unreadable => "unreadable",
            Self::TornTail => "torn-tail",
            Self::SoundAgain => "sound-again",
            Self::StaleSidecar => "stale-sidecar",
            Self::Leftover => "leftover",
        }
    }

    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::DamagedRecords
            | Self::UnreadableRecords
            | Self::SegmentHeader
            | Self::ForeignFile
            | Self::Sidecar
            | Self::LogStart
            | Self::CutMark
            | Self::Identity
            | Self::Journal => Severity::Damage,
            Self::Unreadable => Severity::Unchecked,
            Self::TornTail | Self::SoundAgain | Self::StaleSidecar | Self::Leftover => {
                Severity::Note
            }
        }
    }

    /// What an operator should do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::DamagedRecords => {
                "fetches of these offsets get CORRUPT_MESSAGE, everything else is served: restore the segment from a copy with the server stopped, or let consumers seek behind the range; then check the disk"
            }
            Self::UnreadableRecords => {
                "the bytes are what the producer sent, and no client can read them: let consumers seek behind the batch, and look at the producer"
            }
            Self::SegmentHeader => {
                "no record is lost, the next start does without the page: check the disk"
            }
            Self::ForeignFile => {
                "the log will not be opened with it: put this log's own file back, or move the foreign one away with the server stopped"
            }
            Self::Sidecar => {
                "it is derived: remove it with the server stopped, and the next start builds it again from the segment; then check the disk"
            }
            Self::LogStart => {
                "the partition is not served with it: restore it from a copy; without it records that were deleted by DeleteRecords may come back"
            }
            Self::CutMark => {
                "the partition is not served with it: restore it from a copy; without it records that were cut off may come back"
            }
            Self::Identity => "a server does not start on it: restore it from a copy",
            Self::Journal => {
                "what segments hold is not affected; the next start says which offsets are lost, if any are: check the disk"
            }
            Self::Unreadable => {
                "read the system's log (dmesg) and check the disk and the file's permissions; then verify again"
            }
            Self::TornTail => {
                "nothing: none of it was acknowledged as durable, and the next start ends the log before it"
            }
            Self::SoundAgain => {
                "check the disk, which told two stories; with the sidecar removed (server stopped) the next start serves the range again"
            }
            Self::StaleSidecar | Self::Leftover => {
                "nothing: the next start removes, replaces or completes it"
            }
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file it starts, if it is at one place.
    pub position: Option<u64>,
    /// Where in the file it ends (exclusive); `None` with a position means the file's end.
    pub until: Option<u64>,
    /// The offsets concerned, if they are known; half-open.
    pub offsets: Option<Range<Offset>>,
    /// What stands there, in words.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_says_what_to_do() {
        let names: std::collections::BTreeSet<_> =
            FindingKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FindingKind::ALL.len());
        for kind in FindingKind::ALL {
            assert!(!kind.remedy().is_empty() && !kind.remedy().ends_with('.'));
        }
    }
}
