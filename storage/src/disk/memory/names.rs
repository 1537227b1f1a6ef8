//! Names of files and directories, and how they change.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
