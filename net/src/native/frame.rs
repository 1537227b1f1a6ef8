//! Frames: a header of sixteen bytes, an archive, and batches, each at a multiple of sixteen bytes.
//!
//! Invariants of the reader:
//! - Memory follows the bytes that arrived: the buffer doubles when it is full, so it holds less than twice what the
//!   peer really sent, and never more than one frame of the largest size.
//! - A frame is handed out where it lies. `start` is always a multiple of sixteen, and so is the buffer's address, so
//!   archive and batches are aligned without a copy.
//! - `start <= end <= buffer.len()`.
//!
//! Pure; gone with its connection.

use rkyv::util::AlignedVec;
use thiserror::Error;

use super::ALIGNMENT;
use super::message::Message;
use crate::gather::Gathered;
use crate::response::Response;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 16;

/// The fixed start of a frame. All numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the archive behind the header: a multiple of [`ALIGNMENT`], and not 0.
    pub archive_bytes: u32,
    /// Bytes of batches behind the archive, without the zeros that fill the frame up.
    pub payload_bytes: u32,
    /// The request's number, which its answer repeats; 0 on what nobody asked for.
    pub correlation: u32,
    /// Which message it is.
    pub kind: u8,
}

impl FrameHeader {
    /// The header in bytes.
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.archive_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.correlation.to_le_bytes());
        bytes[12] = self.kind;
        bytes
    }

    fn parse(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, NativeFrameError> {
        let number = |at: usize| {
            let field = bytes[at..].first_chunk().copied();
            u32::from_le_bytes(field.unwrap_or_default())
        };
        let [.., kind, one, two, three] = bytes;
        let reserved = [one, two, three];
        if reserved != [0; 3] {
            return Err(NativeFrameError::Reserved { got: reserved });
        }
        Ok(Self {
            archive_bytes: number(0),
            payload_bytes: number(4),
            correlation: number(8),
            kind,
        })
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.archive_bytes as usize + padded(self.payload_bytes as usize)
    }
}

/// Rounds up to where the next frame may begin.
pub(crate) const fn padded(size_bytes: usize) -> usize {
    size_bytes.next_multiple_of(ALIGNMENT)
}

/// Bounds of a [`NativeFrameReader`].
#[derive(Clone, Copy, Debug)]
pub struct NativeFrameLimits {
    /// Most bytes of an archive.
    pub archive_bytes_max: usize,
    /// Most bytes of batches in a frame.
    pub payload_bytes_max: usize,
    /// Size of the buffer before anything arrived.
    pub buffer_bytes_initial: usize,
    /// How far the buffer grows to take many small frames with one read.
    pub read_ahead_bytes_max: usize,
}

impl Default for NativeFrameLimits {
    fn default() -> Self {
        Self {
            archive_bytes_max: 1024 * 1024,
            payload_bytes_max: 100 * 1024 * 1024,
            buffer_bytes_initial: 16 * 1024,
            read_ahead_bytes_max: 256 * 1024,
        }
    }
}

/// A frame header that no frame of this connection may have. The stream is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NativeFrameError {
    /// The archive's length is 0 or not aligned.
    #[error("an archive of {got} bytes, which is no multiple of {ALIGNMENT} above 0")]
    Archive {
        /// The length stated.
        got: u32,
    },
    /// The archive is longer than this connection takes.
    #[error("an archive of {got} bytes exceeds the limit of {limit}")]
    ArchiveTooLarge {
        /// The length stated.
        got: u32,
        /// The limit.
        limit: usize,
    },
    /// The batches are longer than this connection takes.
    #[error("a payload of {got} bytes exceeds the limit of {limit}")]
    PayloadTooLarge {
        /// The length stated.
        got: u32,
        /// The limit.
        limit: usize,
    },
    /// Bytes that must be 0 are not.
    #[error("reserved bytes {got:?} in a frame header")]
    Reserved {
        /// What they are.
        got: [u8; 3],
    },
}

/// One frame, borrowed from the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// The archived message, aligned.
    pub archive: &'a [u8],
    /// The batches, aligned.
    pub payload: &'a [u8],
}

/// Turns a stream of bytes into frames.
#[derive(Debug)]
pub struct NativeFrameReader {
    buffer: AlignedVec<ALIGNMENT>,
    start: usize,
    end: usize,
    limits: NativeFrameLimits,
    /// A read filled all the room it had: more room would save system calls.
    starved: bool,
}

impl NativeFrameReader {
    /// A reader with an empty buffer.
    pub fn new(limits: NativeFrameLimits) -> Self {
        let mut buffer = AlignedVec::new();
        buffer.resize(padded(limits.buffer_bytes_initial.max(64)), 0);
        Self {
            buffer,
            start: 0,
            end: 0,
            limits,
            starved: false,
        }
    }

    /// Bytes here that no frame handed out has taken.
    pub fn held_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory held.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The header of the frame at the front, once it is here. One that cannot be is an error at once.
    pub fn front(&self) -> Result<Option<FrameHeader>, NativeFrameError> {
        let Some(bytes) = self
            .buffer
            .get(self.start..self.end)
            .and_then(<[u8]>::first_chunk)
        else {
            return Ok(None);
        };
        let header = FrameHeader::parse(*bytes)?;
        let archive_bytes = header.archive_bytes as usize;
        if archive_bytes == 0 || !archive_bytes.is_multiple_of(ALIGNMENT) {
            return Err(NativeFrameError::Archive {
                got: header.archive_bytes,
            });
        }
        if archive_bytes > self.limits.archive_bytes_max {
            return Err(NativeFrameError::ArchiveTooLarge {
                got: header.archive_bytes,
                limit: self.limits.archive_bytes_max,
            });
        }
        if header.payload_bytes as usize > self.limits.payload_bytes_max {
            return Err(NativeFrameError::PayloadTooLarge {
                got: header.payload_bytes,
                limit: self.limits.payload_bytes_max,
            });
        }
        Ok(Some(header))
    }

    /// The header of the frame at the front, if all of the frame is here.
    pub fn ready(&self) -> Result<Option<FrameHeader>, NativeFrameError> {
        Ok(self
            .front()?
            .filter(|header| header.frame_bytes() <= self.held_bytes()))
    }

    /// Takes the frame at the front, if all of it is here. It stays where it is until the next call of
    /// [`NativeFrameReader::space`].
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, NativeFrameError> {
        let Some(header) = self.ready()? else {
            return Ok(None);
        };
        let archive_at = self.start + FRAME_HEADER_BYTES;
        let payload_at = archive_at + header.archive_bytes as usize;
        self.start += header.frame_bytes();
        Ok(Some(Frame {
            header,
            archive: self.buffer.get(archive_at..payload_at).unwrap_or_default(),
            payload: self
                .buffer
                .get(payload_at..payload_at + header.payload_bytes as usize)
                .unwrap_or_default(),
        }))
    }

    /// Where the next bytes go: never empty. Tell with [`NativeFrameReader::advance`] how many came.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.starved && self.buffer.len() < self.limits.read_ahead_bytes_max {
                let wanted = (self.buffer.len() * 2).min(self.limits.read_ahead_bytes_max);
                self.buffer.resize(padded(wanted), 0);
            }
            self.starved = false;
        }
        let whole = match self.front() {
            Ok(Some(header)) => header.frame_bytes(),
            // An impossible header is reported by `ready`; room for it does not matter.
            Ok(None) | Err(_) => FRAME_HEADER_BYTES,
        };
        let held = self.held_bytes();
        let room = self.buffer.len() - self.end;
        if self.start > 0 && (self.start + whole > self.buffer.len() || room == 0) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = held;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Records that `count` bytes arrived in the space handed out.
    ///
    /// # Panics
    /// If `count` exceeds that space: the caller's bug.
    pub fn advance(&mut self, count: usize) {
        assert!(
            count <= self.buffer.len() - self.end,
            "more bytes than there was room"
        );
        self.end += count;
        self.starved |= self.end == self.buffer.len();
    }

    /// Puts `bytes` behind what is here, as if they had been read.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let count = space.len().min(bytes.len());
            let (now, later) = bytes.split_at(count);
            space[..count].copy_from_slice(now);
            bytes = later;
            self.advance(count);
        }
    }

    /// Gives memory back while nothing is buffered, as when a connection idles. Returns whether it could.
    pub fn trim(&mut self) -> bool {
        if self.held_bytes() > 0 {
            return false;
        }
        self.start = 0;
        self.end = 0;
        let initial = padded(self.limits.buffer_bytes_initial.max(64));
        if self.buffer.len() > initial {
            self.buffer = AlignedVec::new();
            self.buffer.resize(initial, 0);
        }
        true
    }
}

/// A frame of a message alone.
pub fn frame_of<S, M: Message>(correlation: u32, message: &M) -> Response<S> {
    let mut bytes = Vec::with_capacity(128);
    begin(&mut bytes, correlation, message, 0);
    Response::from_parts(Gathered::from_bytes(bytes))
}

/// A frame of a message and the batches in `slices`, which are gathered and not copied.
///
/// # Panics
/// If the batches exceed what a frame can say; reads are bounded far below it.
pub fn frame_with<S: AsRef<[u8]>, M: Message>(
    correlation: u32,
    message: &M,
    slices: impl IntoIterator<Item = S>,
) -> Response<S> {
    let mut bytes = Vec::with_capacity(128);
    begin(&mut bytes, correlation, message, 0);
    let mut parts = Gathered::from_bytes(bytes);
    let own = parts.size_bytes();
    for slice in slices {
        parts.push_slice(slice);
    }
    let payload_bytes = parts.size_bytes() - own;
    let stated = u32::try_from(payload_bytes).expect("what a frame carries is bounded");
    parts.bytes_mut()[4..8].copy_from_slice(&stated.to_le_bytes());
    let filled = parts.bytes_mut().len() + padded(payload_bytes) - payload_bytes;
    parts.bytes_mut().resize(filled, 0);
    Response::from_parts(parts)
}

/// Appends a frame of a message and a copy of `payload` to `out`, whose length must be a multiple of [`ALIGNMENT`] and
/// stays one.
pub fn append_frame<M: Message>(out: &mut Vec<u8>, correlation: u32, message: &M, payload: &[u8]) {
    begin(out, correlation, message, payload.len());
    out.extend_from_slice(payload);
    out.resize(padded(out.len()), 0);
}

fn begin<M: Message>(out: &mut Vec<u8>, correlation: u32, message: &M, payload_bytes: usize) {
    let start = out.len();
    assert!(
        start.is_multiple_of(ALIGNMENT),
        "a frame begins at byte {start}"
    );
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    message.archive_into(out);
    let archive_bytes = out.len() - start - FRAME_HEADER_BYTES;
    assert!(
        archive_bytes > 0 && archive_bytes.is_multiple_of(ALIGNMENT),
        "an archive of {archive_bytes} bytes"
    );
    let header = FrameHeader {
        archive_bytes: u32::try_from(archive_bytes).expect("messages are bounded"),
        payload_bytes: u32::try_from(payload_bytes).expect("what a frame carries is bounded"),
        correlation,
        kind: M::KIND,
    };
    out[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
