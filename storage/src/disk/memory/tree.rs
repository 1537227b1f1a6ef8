//! The memory disk as a [`Disk`]: files, directories and their names.

use std::io;
use std::path::Path;

use super::inode::Inode;
use super::names::{NameChange, Node, change_name, durable_with};
use super::{MemoryBuffer, MemoryDisk, MemoryFile, OperationKind};
use crate::disk::{DirectoryEntry, Disk, PAGE_BYTES};

impl MemoryDisk {
    fn lookup(&self, path: &Path) -> io::Result<Node> {
        self.0
            .borrow()
            .names
            .get(path)
            .copied()
            .ok_or_else(not_found)
    }
}

fn not_found() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Buffer = MemoryBuffer;

    fn allocate(&self, size_bytes: usize) -> MemoryBuffer {
        assert!(
            size_bytes > 0 && size_bytes.is_multiple_of(PAGE_BYTES),
            "buffers are whole pages, not {size_bytes}"
        );
        // Not zero, as an allocator's memory is not.
        MemoryBuffer(vec![0xA5; size_bytes])
    }

    async fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        self.operation(OperationKind::Create).await?;
        let mut state = self.0.borrow_mut();
        if !path
            .parent()
            .is_none_or(|parent| state.names.contains_key(parent))
        {
            return Err(not_found());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        let change = NameChange::Link {
            path: path.to_path_buf(),
            node: Node::File(inode),
        };
        change_name(&mut state.names, &change);
        state.pending_names.push(change);
        drop(state);
        Ok(MemoryFile {
            disk: self.clone(),
            inode,
        })
    }

    async fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        self.operation(OperationKind::Open).await?;
        match self.lookup(path)? {
            Node::File(inode) => Ok(MemoryFile {
                disk: self.clone(),
                inode,
            }),
            Node::Directory => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(OperationKind::Rename).await?;
        self.lookup(from)?;
        if let Some(parent) = to.parent() {
            self.lookup(parent)?;
        }
        let change = NameChange::Rename {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
        };
        let mut state = self.0.borrow_mut();
        change_name(&mut state.names, &change);
        state.pending_names.push(change);
        Ok(())
    }

    async fn delete(&self, path: &Path) -> io::Result<()> {
        self.operation(OperationKind::Delete).await?;
        self.lookup(path)?;
        let change = NameChange::Unlink {
            path: path.to_path_buf(),
        };
        let mut state = self.0.borrow_mut();
        change_name(&mut state.names, &change);
        state.pending_names.push(change);
        Ok(())
    }

    async fn delete_directory(&self, path: &Path) -> io::Result<()> {
        if self
            .0
            .borrow()
            .names
            .keys()
            .any(|name| name.parent() == Some(path))
        {
            return Err(io::Error::from_raw_os_error(libc::ENOTEMPTY));
        }
        self.delete(path).await
    }

    async fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.operation(OperationKind::MakeDirectory).await?;
        let mut state = self.0.borrow_mut();
        match state.names.get(path) {
            Some(Node::Directory) => return Ok(()),
            Some(Node::File(_)) => return Err(io::Error::from_raw_os_error(libc::EEXIST)),
            None => {}
        }
        if !path
            .parent()
            .is_none_or(|parent| state.names.contains_key(parent))
        {
            return Err(not_found());
        }
        let change = NameChange::Link {
            path: path.to_path_buf(),
            node: Node::Directory,
        };
        change_name(&mut state.names, &change);
        state.pending_names.push(change);
        Ok(())
    }

    async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.operation(OperationKind::SyncDirectory).await?;
        self.lookup(path)?;
        let mut state = self.0.borrow_mut();
        let pending = std::mem::take(&mut state.pending_names);
        let mut names = std::mem::take(&mut state.durable_names);
        let durable = durable_with(&pending, path);
        for (change, is_durable) in pending.into_iter().zip(durable) {
            if is_durable {
                change_name(&mut names, &change);
                // What is still pending in a directory that has moved goes with it.
                if let NameChange::Rename { from, to } = &change {
                    for left in &mut state.pending_names {
                        left.move_along(from, to);
                    }
                }
            } else {
                state.pending_names.push(change);
            }
        }
        state.durable_names = names;
        Ok(())
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.operation(OperationKind::List).await?;
        self.lookup(path)?;
        let state = self.0.borrow();
        Ok(state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path))
            .filter_map(|(name, node)| {
                Some(DirectoryEntry {
                    name: name.file_name()?.to_str()?.to_owned(),
                    is_directory: *node == Node::Directory,
                })
            })
            .collect())
    }
}
