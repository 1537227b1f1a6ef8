//! The names of a log's files.

use std::path::{Path, PathBuf};

use corelane_format::Offset;

/// Holds the log start offset that `DeleteRecords` set.
pub(crate) const LOG_START: &str = "log-start";

/// Says where a truncation cuts, as long as it is not complete.
pub(crate) const CUT: &str = "cut";

/// Holds how far the log was compacted.
pub(crate) const CLEANER_OFFSET: &str = "cleaner-offset";

/// What a name in a log's directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFile {
    Segment(Offset),
    Sidecar(Offset),
    LogStart,
    Cut,
    /// Left behind by a crash before its rename: never part of the log.
    Temporary,
    Unknown,
}

impl LogFile {
    pub(crate) fn parse(name: &str) -> Self {
        if name.strip_suffix(".tmp").is_some() {
            return Self::Temporary;
        }
        if name == LOG_START {
            return Self::LogStart;
        }
        if name == CUT {
            return Self::Cut;
        }
        let Some((digits, extension)) = name.split_once('.') else {
            return Self::Unknown;
        };
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Unknown;
        }
        let Ok(base) = digits.parse::<i64>() else {
            return Self::Unknown;
        };
        match extension {
            "log" => Self::Segment(Offset::new(base)),
            "index" => Self::Sidecar(Offset::new(base)),
            _ => Self::Unknown,
        }
    }
}

pub(crate) fn segment_path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(format!("{:020}.log", base.get()))
}

pub(crate) fn sidecar_path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(format!("{:020}.index", base.get()))
}

pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Where a compaction writes what will replace the segment of this base: never the name that a new segment is made under.
pub(crate) fn compacted_path(directory: &Path, base: Offset) -> PathBuf {
    directory.join(format!("{:020}.compacted.tmp", base.get()))
}

/// The suffix of a directory whose log was deleted.
pub(crate) const TRASH_SUFFIX: &str = ".deleted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for (name, expected) in [
            (
                "00000000000000000042.log",
                LogFile::Segment(Offset::new(42)),
            ),
            (
                "00000000000000000042.index",
                LogFile::Sidecar(Offset::new(42)),
            ),
            ("00000000000000000042.log.tmp", LogFile::Temporary),
            ("log-start", LogFile::LogStart),
            ("cut", LogFile::Cut),
            ("log-start.tmp", LogFile::Temporary),
            ("cleaner-offset", LogFile::Unknown),
            ("00000000000000000042.compacted.tmp", LogFile::Temporary),
            ("42.log", LogFile::Unknown),
            ("99999999999999999999.log", LogFile::Unknown),
            ("0000000000000000004x.log", LogFile::Unknown),
            ("lost+found", LogFile::Unknown),
        ] {
            assert_eq!(LogFile::parse(name), expected, "{name}");
        }
        let path = segment_path(Path::new("/d"), Offset::new(7));
        assert_eq!(path, Path::new("/d/00000000000000000007.log"));
        let path = compacted_path(Path::new("/d"), Offset::new(42));
        assert_eq!(path, Path::new("/d/00000000000000000042.compacted.tmp"));
    }
}
