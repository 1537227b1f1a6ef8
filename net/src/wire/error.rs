//! What can be wrong with bytes of the Kafka protocol.

use thiserror::Error;

/// Why a message could not be read. Offsets count from the start of the message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("truncated at byte {offset}: {needed} bytes needed, {remaining} remain")]
    Truncated {
        /// Where the field starts.
        offset: usize,
        /// Bytes the field needs.
        needed: usize,
        /// Bytes left in the message.
        remaining: usize,
    },
    /// A length is below the null marker.
    #[error("negative length {got} at byte {offset}")]
    NegativeLength {
        /// Where the length starts.
        offset: usize,
        /// The length stated.
        got: i64,
    },
    /// Null where the protocol wants a value.
    #[error("null where a value is needed at byte {offset}")]
    UnexpectedNull {
        /// Where the length starts.
        offset: usize,
    },
    /// A count of elements that the bytes left cannot hold.
    #[error("count {count} at byte {offset} exceeds what the {remaining} bytes left can hold")]
    CountTooLarge {
        /// Where the count starts.
        offset: usize,
        /// The count stated.
        count: usize,
        /// Bytes left in the message.
        remaining: usize,
    },
    /// A count that the bytes could hold but no sound peer states.
    #[error("count {count} at byte {offset} exceeds the limit of {limit}")]
    CountLimit {
        /// Where the elements start.
        offset: usize,
        /// The count stated.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A variable-length integer runs over five bytes or over 32 bits.
    #[error("malformed variable-length integer at byte {offset}")]
    MalformedVarint {
        /// Where the integer starts.
        offset: usize,
    },
    /// A string is not UTF-8.
    #[error("string at byte {offset} is not UTF-8")]
    InvalidUtf8 {
        /// Where the characters start.
        offset: usize,
    },
    /// Tagged fields must come in strictly ascending order.
    #[error("tagged field {got} follows {previous} at byte {offset}")]
    TagOrder {
        /// Where the tag starts.
        offset: usize,
        /// The tag before it.
        previous: u32,
        /// The tag found.
        got: u32,
    },
    /// A known tagged field is not as long as its stated size.
    #[error("tagged field {tag} at byte {offset} leaves {remaining} of its bytes unread")]
    TagSize {
        /// Where the field's value starts.
        offset: usize,
        /// The tag.
        tag: u32,
        /// Bytes of the value that were not read.
        remaining: usize,
    },
    /// Bytes are left after the last field.
    #[error("{remaining} trailing bytes at byte {offset}")]
    TrailingBytes {
        /// Where the message should have ended.
        offset: usize,
        /// Bytes left.
        remaining: usize,
    },
    /// The codec does not know this version of the message.
    #[error("version {got} of {message} is not known")]
    UnknownVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        got: i16,
    },
}
