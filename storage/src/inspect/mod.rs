//! Looking into a log's files without opening the log, for people: what is there, what of it is sound, what it means.
//!
//! Read-only: nothing here writes, removes or repairs. [`walk`] goes through one segment, block by block, by the same checks as recovery and
//! fetches; [`verify`] goes through all files of a log and judges them by recovery's own rules ([`crate::recovery`]);
//! [`journals`] looks into the lanes' journals; [`quarantine`] tells what sidecars have on record. Nobody may write the files meanwhile.

pub mod finding;
pub mod journals;
mod pending_cut;
pub mod quarantine;
mod records_check;
mod sidecar_check;
pub mod verify;
pub mod walk;

pub use finding::{Finding, FindingKind, Severity};
pub use journals::{JournalsSummary, verify_journals};
pub use quarantine::{QuarantinedRange, quarantined_ranges};
pub use verify::{LogSummary, VerifyOptions, VerifySink, verify_log};
pub use walk::{SegmentWalk, WalkError, WalkItem, WalkedBlock, WalkedGap};
