//! The receive buffer of one connection: bytes in, whole frames out, in place.
//!
//! Invariants:
//! - Memory follows the bytes that arrived, never a length that was only stated: the buffer doubles when it is
//!   full, so it holds less than twice what the peer really sent (and never more than one frame's limit).
//! - A frame is handed out where it lies. It is moved only if the room behind it is too short, and for frames
//!   of [`EXACT_READ_BYTES`] and more reads end where the frame ends, so that the next one starts a clean buffer
//!   and steady traffic of large frames is never moved at all.
//! - `start <= end <= buffer.len()`.
//!
//! Pure; owned by the lane of its connection; gone with it.

use thiserror::Error;

use crate::response::LENGTH_PREFIX_BYTES;

/// From this size on, a read asks for exactly what is missing from a frame. Below it, moving a partial frame is
/// cheaper than another system call.
pub const EXACT_READ_BYTES: usize = 16 * 1024;

/// Bounds of a [`FrameReader`].
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Least bytes of a frame behind its length prefix.
    pub frame_bytes_min: usize,
    /// Most bytes of a frame behind its length prefix (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Size of the buffer before anything arrived, and again when the connection idles.
    pub buffer_bytes_initial: usize,
    /// How far the buffer grows to take many small frames with one read.
    pub read_ahead_bytes_max: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            // API key, version and correlation id.
            frame_bytes_min: 8,
            frame_bytes_max: 100 * 1024 * 1024,
            buffer_bytes_initial: 16 * 1024,
            read_ahead_bytes_max: 256 * 1024,
        }
    }
}

/// A length prefix that no frame of this connection may have. The stream is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Below zero.
    #[error("negative frame length {got}")]
    Negative {
        /// The length stated.
        got: i32,
    },
    /// Too short to hold a header.
    #[error("frame of {got} bytes is shorter than the least, {limit}")]
    TooSmall {
        /// The length stated.
        got: usize,
        /// The least.
        limit: usize,
    },
    /// Longer than this connection takes.
    #[error("frame of {got} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The length stated.
        got: usize,
        /// The limit.
        limit: usize,
    },
}

/// Frames the largest of which decides whether an oversized buffer is given back.
const SHRINK_WINDOW_FRAMES: u32 = 256;

/// Turns a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limits: FrameLimits,
    /// Whole size of the last frame: what the next read should expect.
    last_frame_bytes: usize,
    window_bytes_max: usize,
    window_frames: u32,
    /// A read filled all the room it had: more room would save system calls.
    starved: bool,
}

impl FrameReader {
    /// A reader with an empty buffer.
    pub fn new(limits: FrameLimits) -> Self {
        let initial = limits.buffer_bytes_initial.max(64);
        Self {
            buffer: vec![0; initial],
            start: 0,
            end: 0,
            limits,
            last_frame_bytes: 0,
            window_bytes_max: 0,
            window_frames: 0,
            starved: false,
        }
    }

    fn held(&self) -> usize {
        self.end - self.start
    }

    /// The stated length of the frame at the front, once its prefix is here.
    fn stated(&self) -> Option<i32> {
        let held = self.buffer.get(self.start..self.end)?;
        held.first_chunk::<LENGTH_PREFIX_BYTES>()
            .map(|prefix| i32::from_be_bytes(*prefix))
    }

    /// The size of the frame at the front behind its prefix, once the prefix is here.
    pub fn front_frame_bytes(&self) -> Result<Option<usize>, FrameError> {
        let Some(stated) = self.stated() else {
            return Ok(None);
        };
        let got = usize::try_from(stated).map_err(|_| FrameError::Negative { got: stated })?;
        let FrameLimits {
            frame_bytes_min,
            frame_bytes_max,
            ..
        } = self.limits;
        if got < frame_bytes_min {
            return Err(FrameError::TooSmall {
                got,
                limit: frame_bytes_min,
            });
        }
        if got > frame_bytes_max {
            return Err(FrameError::TooLarge {
                got,
                limit: frame_bytes_max,
            });
        }
        Ok(Some(got))
    }

    /// The size of the frame at the front behind its prefix, if all of it is here. A prefix that cannot be is an
    /// error as soon as it is here.
    #[inline]
    pub fn ready_frame_bytes(&self) -> Result<Option<usize>, FrameError> {
        Ok(self
            .front_frame_bytes()?
            .filter(|size| self.held() - LENGTH_PREFIX_BYTES >= *size))
    }

    /// The API key of the request at the front, once it is here: the first two bytes behind the prefix. Without
    /// meaning on a stream of responses.
    #[inline]
    pub fn front_api_key(&self) -> Option<i16> {
        let held = self.buffer.get(self.start..self.end)?;
        let key = held.get(LENGTH_PREFIX_BYTES..)?.first_chunk()?;
        Some(i16::from_be_bytes(*key))
    }

    /// Takes the frame at the front, without its prefix, if all of it is here. It stays where it is until the
    /// next call of [`FrameReader::space`].
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some(size) = self.ready_frame_bytes()? else {
            return Ok(None);
        };
        let from = self.start + LENGTH_PREFIX_BYTES;
        self.start = from + size;
        self.last_frame_bytes = LENGTH_PREFIX_BYTES + size;
        self.window_bytes_max = self.window_bytes_max.max(self.last_frame_bytes);
        self.window_frames = self.window_frames.saturating_add(1);
        Ok(self.buffer.get(from..from + size))
    }

    /// Whether part of a frame is here and the rest is awaited.
    pub fn has_partial_frame(&self) -> bool {
        self.held() > 0
    }

    /// Bytes here that no frame handed out has taken.
    pub fn held_bytes(&self) -> usize {
        self.held()
    }

    /// Those bytes.
    pub fn unframed(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Bytes of memory held.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Where the next bytes go: never empty. Tell with [`FrameReader::advance`] how many came.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.resize_empty();
        }
        let whole = match self.front_frame_bytes() {
            Ok(Some(size)) => LENGTH_PREFIX_BYTES + size,
            // An impossible prefix is reported by `next_frame`; room for it does not matter.
            Ok(None) | Err(_) => LENGTH_PREFIX_BYTES,
        };
        let missing = whole.saturating_sub(self.held());
        self.make_room(whole, missing);
        let room = self.buffer.len() - self.end;
        let wanted = if missing >= EXACT_READ_BYTES {
            missing
        } else if self.held() == 0 && self.last_frame_bytes >= EXACT_READ_BYTES {
            // The next frame is likely as long as the last.
            self.last_frame_bytes
        } else {
            room
        };
        let to = self.end + wanted.min(room);
        self.buffer.get_mut(self.end..to).unwrap_or_default()
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

    /// Gives memory back while nothing is buffered, as when a connection idles. Returns whether it could.
    pub fn trim(&mut self) -> bool {
        if self.held() > 0 {
            return false;
        }
        self.start = 0;
        self.end = 0;
        if self.buffer.len() > self.limits.buffer_bytes_initial {
            self.buffer = vec![0; self.limits.buffer_bytes_initial.max(64)];
        }
        true
    }

    /// With nothing held, a new size costs no move.
    fn resize_empty(&mut self) {
        let length = self.buffer.len();
        if self.starved {
            self.starved = false;
            if length < self.limits.read_ahead_bytes_max {
                self.buffer = vec![0; (length * 2).min(self.limits.read_ahead_bytes_max)];
                return;
            }
        }
        if self.window_frames >= SHRINK_WINDOW_FRAMES {
            let wanted = (self.window_bytes_max * 2).max(self.limits.read_ahead_bytes_max);
            if wanted * 2 <= length {
                self.buffer = vec![0; wanted];
            }
            self.window_frames = 0;
            self.window_bytes_max = 0;
        }
    }

    /// Sees to it that there is room behind `end`, and as much as the frame at the front still needs unless
    /// that would mean memory for bytes that have not come.
    fn make_room(&mut self, whole: usize, missing: usize) {
        let room = self.buffer.len() - self.end;
        let held = self.held();
        let fits_in_place = self.start + whole <= self.buffer.len();
        let short = room < self.buffer.len() / 4;
        // Small leftovers move early, for a longer read; large ones only if they have to.
        let cheap = short && missing < EXACT_READ_BYTES && held <= self.buffer.len() / 8;
        if self.start > 0 && (!fits_in_place || cheap) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = held;
        }
        if self.end == self.buffer.len() {
            let most = self
                .limits
                .frame_bytes_max
                .saturating_add(LENGTH_PREFIX_BYTES);
            let length =
                (self.buffer.len() * 2).min(most.max(self.buffer.len() + LENGTH_PREFIX_BYTES));
            let mut grown = vec![0; length];
            if let (Some(to), Some(from)) =
                (grown.get_mut(..held), self.buffer.get(self.start..self.end))
            {
                to.copy_from_slice(from);
            }
            self.buffer = grown;
            self.start = 0;
            self.end = held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EXACT_READ_BYTES, FrameError, FrameLimits, FrameReader};
    use proptest::prelude::*;

    fn frame(size: usize, fill: u8) -> Vec<u8> {
        let mut bytes = (size as i32).to_be_bytes().to_vec();
        bytes.resize(4 + size, fill);
        bytes
    }

    fn limits(frame_bytes_max: usize) -> FrameLimits {
        FrameLimits {
            frame_bytes_max,
            buffer_bytes_initial: 64,
            read_ahead_bytes_max: 1024,
            ..FrameLimits::default()
        }
    }

    /// Hands `stream` over in reads of the given sizes and collects the frames.
    fn feed(reader: &mut FrameReader, mut stream: &[u8], reads: &[usize]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for limit in reads.iter().cycle() {
            while let Some(frame) = reader.next_frame().unwrap() {
                frames.push(frame.to_vec());
            }
            if stream.is_empty() {
                return frames;
            }
            let space = reader.space();
            assert!(!space.is_empty());
            let count = space.len().min(*limit).min(stream.len());
            space[..count].copy_from_slice(&stream[..count]);
            stream = &stream[count..];
            reader.advance(count);
        }
        frames
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            sizes in proptest::collection::vec(prop_oneof![8_usize..100, 100_usize..3_000, 16_000_usize..40_000], 1..20),
            reads in proptest::collection::vec(prop_oneof![1_usize..10, 100_usize..2_000, 10_000_usize..100_000], 1..20),
        ) {
            let mut reader = FrameReader::new(limits(50_000));
            let expected: Vec<Vec<u8>> =
                sizes.iter().zip(0_u8..).map(|(size, fill)| frame(*size, fill)[4..].to_vec()).collect();
            let stream: Vec<u8> = sizes.iter().zip(0_u8..).flat_map(|(size, fill)| frame(*size, fill)).collect();
            let frames = feed(&mut reader, &stream, &reads);
            prop_assert_eq!(frames, expected);
            prop_assert!(!reader.has_partial_frame());
            prop_assert!(reader.buffer_bytes() <= 50_004);
        }
    }

    #[test]
    fn a_stated_length_takes_no_memory() {
        let mut reader = FrameReader::new(FrameLimits {
            buffer_bytes_initial: 64,
            ..FrameLimits::default()
        });
        let mut sent = 0;
        let mut stream = frame(90 * 1024 * 1024, 1);
        stream.truncate(100_000);
        while sent < stream.len() {
            assert_eq!(reader.next_frame(), Ok(None));
            let space = reader.space();
            let count = space.len().min(stream.len() - sent).min(1_000);
            space[..count].copy_from_slice(&stream[sent..sent + count]);
            reader.advance(count);
            sent += count;
            assert!(
                reader.buffer_bytes() <= (2 * sent).max(64),
                "{} for {sent}",
                reader.buffer_bytes()
            );
        }
    }

    #[test]
    fn the_api_key_is_known_from_its_second_byte_on() {
        let mut reader = FrameReader::new(limits(1_000));
        for (byte, expected) in
            [0, 0, 0, 8, 1, 2]
                .into_iter()
                .zip([None, None, None, None, None, Some(258)])
        {
            reader.space()[0] = byte;
            reader.advance(1);
            assert_eq!(reader.front_api_key(), expected);
        }
        assert_eq!(reader.ready_frame_bytes(), Ok(None));
        reader.space()[..6].fill(0);
        reader.advance(6);
        assert!(reader.next_frame().unwrap().is_some());
        assert_eq!(reader.front_api_key(), None);
    }

    #[test]
    fn impossible_lengths_by_table() {
        let table = [
            (-1, FrameError::Negative { got: -1 }),
            (i32::MIN, FrameError::Negative { got: i32::MIN }),
            (0, FrameError::TooSmall { got: 0, limit: 8 }),
            (7, FrameError::TooSmall { got: 7, limit: 8 }),
            (
                1_001,
                FrameError::TooLarge {
                    got: 1_001,
                    limit: 1_000,
                },
            ),
            (
                i32::MAX,
                FrameError::TooLarge {
                    got: i32::MAX as usize,
                    limit: 1_000,
                },
            ),
        ];
        for (length, expected) in table {
            let mut reader = FrameReader::new(limits(1_000));
            reader.space()[..4].copy_from_slice(&length.to_be_bytes());
            reader.advance(3);
            assert_eq!(reader.next_frame(), Ok(None));
            reader.advance(1);
            assert_eq!(reader.next_frame(), Err(expected));
            assert!(!reader.space().is_empty());
        }
    }

    #[test]
    fn large_frames_of_one_size_are_read_exactly_and_never_moved() {
        let mut reader = FrameReader::new(FrameLimits::default());
        let one = frame(4 * EXACT_READ_BYTES, 3);
        let stream: Vec<u8> = one.iter().copied().cycle().take(one.len() * 40).collect();
        assert_eq!(feed(&mut reader, &stream, &[usize::MAX]).len(), 40);
        // From here on each read is one frame, at the start of the buffer.
        let space = reader.space();
        assert_eq!(space.len(), one.len());
        space.copy_from_slice(&one);
        reader.advance(one.len());
        assert_eq!(
            reader.next_frame().unwrap().map(<[u8]>::len),
            Some(one.len() - 4)
        );
        assert_eq!(reader.space().len(), one.len());
    }

    #[test]
    fn memory_of_a_big_frame_is_given_back() {
        let mut reader = FrameReader::new(limits(1 << 20));
        feed(&mut reader, &frame(1 << 19, 1), &[usize::MAX]);
        let big = reader.buffer_bytes();
        assert!(big > 1 << 19);
        let small: Vec<u8> = (0..2_000).flat_map(|_| frame(20, 2)).collect();
        feed(&mut reader, &small, &[24]);
        reader.space();
        assert!(reader.buffer_bytes() <= 1024, "{}", reader.buffer_bytes());
        assert!(reader.trim());
        assert_eq!(reader.buffer_bytes(), 64);
    }
}
