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

use corelane_format::FilePosition;

use super::{DirectoryEntry, Disk, DiskBuffer, DiskFile, PAGE_BYTES};

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

/// What is left of whatever was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Each pending write wholly or not at all, in any order, and some prefix of the pending name changes.
    Subset {
        /// Of the random choice.
        seed: u64,
    },
    /// Each 512-byte sector of each pending write by itself, in any order, and some prefix of the name changes.
    Torn {
        /// Of the random choice.
        seed: u64,
    },
}

/// What an operation was, for tests that look for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// [`Disk::create`].
    Create,
    /// [`Disk::open`].
    Open,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::delete`] and [`Disk::delete_directory`].
    Delete,
    /// [`Disk::make_directory`].
    MakeDirectory,
    /// [`Disk::sync_directory`].
    SyncDirectory,
    /// [`Disk::list`].
    List,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::flush`].
    Flush,
    /// [`DiskFile::reserve`] and [`DiskFile::truncate`].
    Reserve,
}

#[derive(Debug, Clone)]
enum Pending {
    Write { position: usize, bytes: Rc<[u8]> },
    Grow { size: usize },
    Truncate { size: usize },
}

#[derive(Debug, Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    /// In order of submission, with the id of the operation while it has not been flushed.
    pending: Vec<(u64, Pending)>,
}

impl Inode {
    fn visible(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, pending) in &self.pending {
            apply(&mut bytes, pending);
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write {
            position,
            bytes: written,
        } => {
            let end = position + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*position..end].copy_from_slice(written);
        }
        Pending::Grow { size } => bytes.resize(bytes.len().max(*size), 0),
        Pending::Truncate { size } => bytes.resize(*size, 0),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link { path: PathBuf, node: Node },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
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

/// A small generator (SplitMix64): the same seed, the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
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

    /// The disk that is left after a crash at this moment.
    pub fn crash(&self, survival: Survival) -> MemoryDisk {
        let state = self.0.borrow();
        let mut dice = match survival {
            Survival::None | Survival::All => Dice::new(0),
            Survival::Subset { seed } | Survival::Torn { seed } => Dice::new(seed ^ 0xC0FF_EE00),
        };
        let inodes: Vec<Inode> = state
            .inodes
            .iter()
            .map(|inode| Inode {
                durable: survivors(inode, survival, &mut dice),
                pending: Vec::new(),
            })
            .collect();
        let mut names = state.durable_names.clone();
        let kept = match survival {
            Survival::None => 0,
            Survival::All => state.pending_names.len(),
            Survival::Subset { .. } | Survival::Torn { .. } => {
                dice.below(state.pending_names.len() as u64 + 1) as usize
            }
        };
        for change in &state.pending_names[..kept] {
            change_name(&mut names, change);
        }
        let left = Self::default();
        {
            let mut image = left.0.borrow_mut();
            image.inodes = inodes;
            image.names = names.clone();
            image.durable_names = names;
        }
        left
    }

    /// Every file's path and visible size.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.0.borrow();
        state
            .names
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(inode) => Some((path.clone(), state.inodes[*inode].visible().len())),
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
            Ok(id) => Ok(id),
            Err(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Err(Fault::Short) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Err(Fault::Hang) => std::future::pending().await,
        }
    }

    fn lookup(&self, path: &Path) -> io::Result<Node> {
        self.0
            .borrow()
            .names
            .get(path)
            .copied()
            .ok_or_else(not_found)
    }
}

fn survivors(inode: &Inode, survival: Survival, dice: &mut Dice) -> Vec<u8> {
    match survival {
        Survival::None => inode.durable.clone(),
        Survival::All => inode.visible(),
        Survival::Subset { .. } | Survival::Torn { .. } => {
            let mut pieces: Vec<Pending> = Vec::new();
            for (_, pending) in &inode.pending {
                match pending {
                    Pending::Write { position, bytes }
                        if matches!(survival, Survival::Torn { .. }) =>
                    {
                        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                            pieces.push(Pending::Write {
                                position: position + index * SECTOR_BYTES,
                                bytes: Rc::from(sector),
                            });
                        }
                    }
                    whole => pieces.push(whole.clone()),
                }
            }
            let mut bytes = inode.durable.clone();
            // Two pending writes to one sector never happen (no overlap in flight), so that order does not matter to
            // the content; shrinking is the one thing that must keep its place.
            for piece in &pieces {
                if dice.below(2) == 0 {
                    apply(&mut bytes, piece);
                }
            }
            bytes
        }
    }
}

fn change_name(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
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
        for change in pending {
            let touches = match &change {
                NameChange::Link { path: changed, .. } | NameChange::Unlink { path: changed } => {
                    changed.parent() == Some(path)
                }
                NameChange::Rename { from, to } => {
                    from.parent() == Some(path) || to.parent() == Some(path)
                }
            };
            if touches {
                change_name(&mut names, &change);
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

impl MemoryFile {
    /// Starts a write: from here on it may survive a crash.
    fn submit(&self, id: u64, position: usize, bytes: &[u8]) {
        let mut state = self.disk.0.borrow_mut();
        let end = position + bytes.len();
        let overlaps = state.inodes[self.inode]
            .pending
            .iter()
            .any(|(_, pending)| match pending {
                Pending::Write {
                    position: other,
                    bytes: others,
                } => *other < end && position < other + others.len(),
                Pending::Grow { .. } | Pending::Truncate { .. } => false,
            });
        state.overlap |= overlaps;
        state.inodes[self.inode].pending.push((
            id,
            Pending::Write {
                position,
                bytes: Rc::from(bytes),
            },
        ));
    }

    /// Makes one pending write durable.
    fn settle(&self, id: u64) {
        let mut state = self.disk.0.borrow_mut();
        let inode = &mut state.inodes[self.inode];
        // A durable write carries the file's size with it.
        if let Some(index) = inode.pending.iter().position(|(pending, _)| *pending == id) {
            let (_, write) = inode.pending.remove(index);
            apply(&mut inode.durable, &write);
        }
    }
}

impl DiskFile for MemoryFile {
    type Buffer = MemoryBuffer;
    type ReadBuffer = Vec<u8>;

    async fn write_at(
        &self,
        buffer: Rc<MemoryBuffer>,
        position: FilePosition,
    ) -> io::Result<usize> {
        let bytes = buffer.as_ref().as_ref();
        let position = position.get() as usize;
        assert!(
            position.is_multiple_of(PAGE_BYTES) && bytes.len().is_multiple_of(PAGE_BYTES),
            "an unaligned write"
        );
        let id = match self.disk.begin(OperationKind::Write) {
            Ok(id) => id,
            Err(fault) => {
                // Whatever the caller is told, the device may have got it: a crash decides.
                self.submit(u64::MAX, position, bytes);
                match fault {
                    Fault::Error(code) => return Err(io::Error::from_raw_os_error(code)),
                    Fault::Short => return Ok(bytes.len() / 2),
                    Fault::Hang => return std::future::pending().await,
                }
            }
        };
        self.submit(id, position, bytes);
        if self.disk.0.borrow().hold_writes {
            self.disk.0.borrow_mut().held.push((id, false, None));
            poll_fn(|context| {
                let mut state = self.disk.0.borrow_mut();
                let Some(index) = state.held.iter().position(|(held, ..)| *held == id) else {
                    return Poll::Ready(());
                };
                if state.held[index].1 {
                    state.held.remove(index);
                    Poll::Ready(())
                } else {
                    state.held[index].2 = Some(context.waker().clone());
                    Poll::Pending
                }
            })
            .await;
        }
        self.settle(id);
        Ok(bytes.len())
    }

    async fn read_at(&self, position: FilePosition, size_bytes: usize) -> io::Result<Vec<u8>> {
        let position = position.get() as usize;
        assert!(
            position.is_multiple_of(PAGE_BYTES) && size_bytes.is_multiple_of(PAGE_BYTES),
            "an unaligned read"
        );
        self.disk.operation(OperationKind::Read).await?;
        let visible = self.disk.0.borrow().inodes[self.inode].visible();
        let start = position.min(visible.len());
        let end = (position + size_bytes).min(visible.len());
        Ok(visible[start..end].to_vec())
    }

    async fn flush(&self) -> io::Result<()> {
        self.disk.operation(OperationKind::Flush).await?;
        let mut state = self.disk.0.borrow_mut();
        let held: Vec<u64> = state.held.iter().map(|(id, ..)| *id).collect();
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        for (id, write) in pending {
            // A write still in flight is not covered, nor one that failed.
            if held.contains(&id) || id == u64::MAX {
                inode.pending.push((id, write));
            } else {
                apply(&mut inode.durable, &write);
            }
        }
        Ok(())
    }

    async fn reserve(&self, size_bytes: u64) -> io::Result<()> {
        let id = self.disk.operation(OperationKind::Reserve).await?;
        let mut state = self.disk.0.borrow_mut();
        let inode = &mut state.inodes[self.inode];
        if (inode.visible().len() as u64) < size_bytes {
            inode.pending.push((
                id,
                Pending::Grow {
                    size: size_bytes as usize,
                },
            ));
        }
        Ok(())
    }

    async fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        let id = self.disk.operation(OperationKind::Reserve).await?;
        let mut state = self.disk.0.borrow_mut();
        state.inodes[self.inode].pending.push((
            id,
            Pending::Truncate {
                size: size_bytes as usize,
            },
        ));
        Ok(())
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.borrow().inodes[self.inode].visible().len() as u64)
    }
}
