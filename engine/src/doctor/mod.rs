//! What this machine must offer before a server can start, what it does offer, and what to do about the difference.
//!
//! Probing ([`probe`], [`probe_disk`], [`syscalls`]) finds [`Facts`]; [`evaluate`] turns facts into [`Check`]s and is pure. All of
//! it is plain blocking code that runs before the lanes start. The disk probe makes one file and removes it; a crash in
//! between leaves that file, 4 KiB under a name of its own, and the next probe uses another.

// The one exception to the crate's rule, each block with its reason.
#[allow(unsafe_code)]
pub mod syscalls;

pub mod evaluate;
pub mod evaluate_disk;
pub mod facts;
pub mod probe;
pub mod probe_disk;

#[cfg(test)]
mod evaluate_tests;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

pub use facts::Facts;
pub use syscalls::raise_open_files_limit;

/// What a server is about to be started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it keeps everything. Need not exist.
    pub data_dir: PathBuf,
    /// The cores of its lanes.
    pub cores: Vec<usize>,
    /// The connections that it may have at once.
    pub connections_max: usize,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// A server works, but not as well or as safely as it could.
    Warn,
    /// A server cannot start.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it went.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it, unless there is nothing to do.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Warn,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Fail,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// One line: what was found, and what to do.
impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything. Blocks for a few milliseconds, longer where the disk is slow.
pub fn examine(target: &Target) -> Vec<Check> {
    evaluate::evaluate(target, &probe::facts(target))
}

/// The checks that keep a server from starting.
pub fn failures(checks: &[Check]) -> impl Iterator<Item = &Check> {
    checks.iter().filter(|check| check.status == Status::Fail)
}
