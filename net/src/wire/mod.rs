//! Kafka's primitive types: the reader and the writers that the hand-made codecs share.
//!
//! Pure: bytes in, values out. Every length and count a peer states is checked against the bytes that are
//! really there before anything is taken on its word, and nothing here allocates for a peer.

mod error;
mod reader;
mod writer;

pub use error::WireError;
pub use reader::WireReader;
pub use writer::{
    put_array_len, put_bytes_len, put_empty_tags, put_nullable_string, put_string, put_tag_header,
    put_unsigned_varint, unsigned_varint_bytes,
};
