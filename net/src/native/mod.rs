//! The native protocol: Corelane's own, on the port of Kafka's.
//!
//! # Map
//! - [`preface`]: the sixteen bytes that no Kafka frame begins with.
//! - [`frame`]: aligned frames out of a byte stream, in place; the writer of frames.
//! - [`message`]: what is said in them, as rkyv archives that are checked before they are looked at.
//! - [`session`]: what a server accepts in which order, and how many bytes a subscriber has room for.
//!
//! # Invariants
//! - A frame starts at a multiple of sixteen bytes in the stream and in the receive buffer, and so do the archive and
//!   the batches in it: both are read where they lie.
//! - No memory is taken for a stated length, only for bytes that came; what exceeds a bound ends the connection.
//! - A subscriber is never sent more than it gave credit for, but for the batch that crosses the line.
//!
//! docs/NATIVE.md has the bytes.

pub mod frame;
pub mod message;
pub mod preface;
pub mod session;

pub use frame::{
    FRAME_HEADER_BYTES, Frame, FrameHeader, NativeFrameError, NativeFrameLimits, NativeFrameReader,
    frame_of, frame_with,
};
pub use message::{MESSAGE_VERSION, Message, MessageError};
pub use preface::{PREFACE, PREFACE_BYTES, could_be_preface};

/// Versions of the protocol that are spoken here, oldest and newest, both inclusive.
pub const PROTOCOL_VERSIONS: (u16, u16) = (1, 1);

/// Frames, archives and batches begin at multiples of this.
pub const ALIGNMENT: usize = 16;
