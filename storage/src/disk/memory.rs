//! A deterministic disk in memory that can lose, tear, reorder and fail what was not flushed.
//!
//! It keeps two views of everything: what a running process sees, and what a crash would leave. A write is *pending*
//! from its start until it is durable; names are pending until their directory is synced. [`MemoryDisk::crash`] takes
//! an image of what could be left at this very moment, by a [`Survival`] rule, and [`MemoryDisk::fail_at`] makes
//! the n-th operation fail. Operations complete at once, or, with [`MemoryDisk::hold_writes`], only when the test says
//! so and in the order it says.
//!
//! For tests and simulations; nothing here is bounded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::DiskBuffer;
use inode::Inode;
use names::{NameChange, Node};

pub use crash::{LooseEnds, Survival};

mod crash;
mod file;
mod inode;
mod names;
mod tree;

/// The unit in which a device tears.
pub const SECTOR_BYTES: usize = 512;

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this operating system error; a write may or may not have reached the device.
    Error(i32),
    /// A write that completes half; any other operation fails with EIO.
    Short,
    /// It never completes.
    Hang,
}

/// What an operation was, for tests that look for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// [`Disk::create`](super::Disk::create).
    Create,
    /// [`Disk::open`](super::Disk::open).
    Open,
    /// [`Disk::rename`](super::Disk::rename).
    Rename,
    /// [`Disk::delete`](super::Disk::delete) and [`Disk::delete_directory`](super::Disk::delete_directory).
    Delete,
    /// [`Disk::make_directory`](super::Disk::make_directory).
    MakeDirectory,
    /// [`Disk::sync_directory`](super::Disk::sync_directory).
    SyncDirectory,
    /// [`Disk::list`](super::Disk::list).
    List,
    /// [`DiskFile::write_at`](super::DiskFile::write_at).
    Write,
    /// [`DiskFile::read_at`](super::DiskFile::read_at).
    Read,
    /// [`DiskFile::flush`](super::DiskFile::flush).
    Flush,
    /// [`DiskFile::reserve`](super::DiskFile::reserve) and [`DiskFile::truncate`](super::DiskFile::truncate).
    Reserve,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameChange>,
    operations: u64,
    trace: Vec<OperationKind>,
    fault: Option<(u64, Fault)>,
    /// When set, the fault strikes every write and reserve from its operation on.
    fault_is_permanent: bool,
    hold_writes: bool,
    /// Held writes: operation id, whether it may complete, who waits.
    held: Vec<(u64, bool, Option<Waker>)>,
    stop_at: Option<u64>,
    overlap: bool,
}

/// The disk; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Rc<RefCell<State>>);

/// A buffer of the memory disk.
#[derive(Debug)]
pub struct MemoryBuffer(Vec<u8>);

impl AsRef<[u8]> for MemoryBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for MemoryBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DiskBuffer for MemoryBuffer {
    fn trim_to(&mut self, size_bytes: usize) {
        assert!(
            size_bytes <= self.0.len(),
            "a buffer is only ever shortened"
        );
        self.0.truncate(size_bytes);
    }
}

/// An open file of the memory disk.
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

impl MemoryDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        let disk = Self::default();
        {
            let mut state = disk.0.borrow_mut();
            state.names.insert(PathBuf::from("/"), Node::Directory);
            state
                .durable_names
                .insert(PathBuf::from("/"), Node::Directory);
        }
        disk
    }

    /// How many operations have been started.
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// The kinds of the operations so far, in order.
    pub fn trace(&self) -> Vec<OperationKind> {
        self.0.borrow().trace.clone()
    }

    /// Makes operation number `operation` (counted from 0 over the disk's life) fail.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.borrow_mut().fault = Some((operation, fault));
    }

    /// Makes every write and reserve fail from now on, until [`MemoryDisk::heal`].
    pub fn fail_writes(&self, fault: Fault) {
        let mut state = self.0.borrow_mut();
        state.fault = Some((state.operations, fault));
        state.fault_is_permanent = true;
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        let mut state = self.0.borrow_mut();
        state.fault = None;
        state.fault_is_permanent = false;
        state.stop_at = None;
    }

    /// From operation `operation` on nothing completes any more: the moment before a crash.
    pub fn stop_at(&self, operation: u64) {
        self.0.borrow_mut().stop_at = Some(operation);
    }

    /// Whether [`MemoryDisk::stop_at`] has struck.
    pub fn stopped(&self) -> bool {
        let state = self.0.borrow();
        state.stop_at.is_some_and(|stop| state.operations > stop)
    }

    /// While held, writes are pending until [`MemoryDisk::release`].
    pub fn hold_writes(&self, hold: bool) {
        let wakers: Vec<Waker> = {
            let mut state = self.0.borrow_mut();
            state.hold_writes = hold;
            if hold {
                Vec::new()
            } else {
                state
                    .held
                    .iter_mut()
                    .filter_map(|(_, released, waker)| {
                        *released = true;
                        waker.take()
                    })
                    .collect()
            }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many writes are held.
    pub fn held(&self) -> usize {
        self.0
            .borrow()
            .held
            .iter()
            .filter(|(_, released, _)| !released)
            .count()
    }

    /// Lets the `index`-th held write complete.
    pub fn release(&self, index: usize) {
        let waker = {
            let mut state = self.0.borrow_mut();
            let Some(slot) = state
                .held
                .iter_mut()
                .filter(|(_, released, _)| !released)
                .nth(index)
            else {
                return;
            };
            slot.1 = true;
            slot.2.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether two writes to one page were ever in flight at the same time: nothing above may do that.
    pub fn saw_overlapping_writes(&self) -> bool {
        self.0.borrow().overlap
    }

    /// Every file's path and visible size.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.0.borrow();
        state
            .names
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(inode) => Some((path.clone(), state.inodes[*inode].size())),
                Node::Directory => None,
            })
            .collect()
    }

    /// A file's visible content.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        match state.names.get(path)? {
            Node::File(inode) => Some(state.inodes[*inode].visible()),
            Node::Directory => None,
        }
    }

    /// Replaces a file's content, durably: rot, as a test wants it.
    pub fn set_content(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        let Some(Node::File(inode)) = state.names.get(path).copied() else {
            panic!("no file {}", path.display())
        };
        state.inodes[inode] = Inode {
            durable: content,
            pending: Vec::new(),
        };
    }

    /// Counts the operation and says how it goes: its id, or its failure.
    fn begin(&self, kind: OperationKind) -> Result<u64, Fault> {
        let mut state = self.0.borrow_mut();
        let id = state.operations;
        state.operations += 1;
        state.trace.push(kind);
        if state.stop_at.is_some_and(|stop| id >= stop) {
            return Err(Fault::Hang);
        }
        match state.fault {
            Some((at, fault)) if id == at && !state.fault_is_permanent => Err(fault),
            Some((at, fault))
                if id >= at
                    && state.fault_is_permanent
                    && matches!(kind, OperationKind::Write | OperationKind::Reserve) =>
            {
                Err(fault)
            }
            _ => Ok(id),
        }
    }

    async fn operation(&self, kind: OperationKind) -> io::Result<u64> {
        match self.begin(kind) {
            Ok(id) => {
                // Others get their turn, as they do while a real disk works.
                if self.0.borrow().hold_writes {
                    let mut waited = false;
                    poll_fn(|context| {
                        if std::mem::replace(&mut waited, true) {
                            return Poll::Ready(());
                        }
                        context.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await;
                }
                Ok(id)
            }
            Err(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Err(Fault::Short) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Err(Fault::Hang) => std::future::pending().await,
        }
    }
}
