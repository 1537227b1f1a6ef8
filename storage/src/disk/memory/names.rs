//! Names of files and directories, and how they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Directory,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link { path: PathBuf, node: Node },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
}

impl NameChange {
    /// The same change after the directory `from` has become `to`.
    pub(super) fn move_along(&mut self, from: &Path, to: &Path) {
        let change = |path: &mut PathBuf| {
            if let Ok(rest) = path.strip_prefix(from)
                && !rest.as_os_str().is_empty()
            {
                *path = to.join(rest);
            }
        };
        match self {
            Self::Link { path, .. } | Self::Unlink { path } => change(path),
            Self::Rename { from, to } => {
                change(from);
                change(to);
            }
        }
    }

    /// The directories that it changes: one, or two.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let (one, other) = match self {
            Self::Link { path, .. } | Self::Unlink { path } => (path, None),
            Self::Rename { from, to } => (from, Some(to)),
        };
        one.parent()
            .into_iter()
            .chain(other.and_then(|path| path.parent()))
    }
}

/// Which of these changes, in their order, are durable once `directory` is synced: those in it, and whatever came before
/// them in a directory that they share. A file that is renamed from one directory into another brings along what had
/// happened to names there.
pub(super) fn durable_with(changes: &[NameChange], directory: &Path) -> Vec<bool> {
    let mut directories = vec![directory];
    let mut durable: Vec<bool> = changes
        .iter()
        .rev()
        .map(|change| {
            let touches = change
                .directories()
                .any(|changed| directories.contains(&changed));
            if touches {
                directories.extend(change.directories());
            }
            touches
        })
        .collect();
    durable.reverse();
    durable
}

pub(super) fn change_name(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change {
        NameChange::Link { path, node } => {
            names.insert(path.clone(), *node);
        }
        NameChange::Unlink { path } => {
            names.remove(path);
        }
        NameChange::Rename { from, to } => {
            let moved: Vec<PathBuf> = names
                .keys()
                .filter(|path| path.starts_with(from))
                .cloned()
                .collect();
            for path in moved {
                if let (Some(node), Ok(rest)) = (names.remove(&path), path.strip_prefix(from)) {
                    let target = if rest.as_os_str().is_empty() {
                        to.clone()
                    } else {
                        to.join(rest)
                    };
                    names.insert(target, node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synced_directory_brings_along_what_its_changes_depend_on() {
        let link = |path: &str| NameChange::Link {
            path: PathBuf::from(path),
            node: Node::File(0),
        };
        let unlink = |path: &str| NameChange::Unlink {
            path: PathBuf::from(path),
        };
        let rename = |from: &str, to: &str| NameChange::Rename {
            from: PathBuf::from(from),
            to: PathBuf::from(to),
        };
        let changes = [
            unlink("/a/x"),
            link("/c/x"),
            rename("/b/y", "/a/x"),
            rename("/a/x", "/a/z"),
            unlink("/b/w"),
        ];
        for (directory, expected) in [
            ("/a", [true, false, true, true, false]),
            ("/b", [true, false, true, false, true]),
            ("/c", [false, true, false, false, false]),
            ("/d", [false; 5]),
        ] {
            assert_eq!(
                durable_with(&changes, Path::new(directory)),
                expected,
                "{directory}"
            );
        }
    }
}
