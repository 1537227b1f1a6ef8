//! What is said: one archived type a message, each with a version byte first.
//!
//! Archives are little-endian with 64-bit pointers, hold no hash tables, shared or recursive types, and are checked
//! ([`Message::access`]) before anything in them is looked at. The root of each is aligned to sixteen bytes, so its
//! archive's length is a multiple of sixteen. A new field means a new version.

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

/// The version of every message's layout.
pub const MESSAGE_VERSION: u8 = 1;

/// A topic's id, as Kafka's.
pub type TopicIdBytes = [u8; 16];

/// Why an archive is not the message that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It does not hold what its type needs.
    #[error("the archive of a message of kind {kind:#04x} is malformed")]
    Archive {
        /// The message's kind.
        kind: u8,
    },
    /// A layout that is not known here.
    #[error("message of kind {kind:#04x} has version {got}, expected {MESSAGE_VERSION}")]
    Version {
        /// The message's kind.
        kind: u8,
        /// Its version.
        got: u8,
    },
}

/// A message of the protocol.
pub trait Message: Sized {
    /// Its archived form, read in place.
    type View: 'static;
    /// The kind in its frame's header.
    const KIND: u8;

    /// Appends the archive to `out`, whose length must be a multiple of 16.
    fn archive_into(&self, out: &mut Vec<u8>);

    /// Checks an archive that must be aligned to 16 bytes, and gives a view of it.
    fn access(archive: &[u8]) -> Result<&Self::View, MessageError>;

    /// Checks an archive and reads all of it.
    fn read(archive: &[u8]) -> Result<Self, MessageError>;
}

macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident ($view:ident) = $kind:literal {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
            #[rkyv(attr(repr(align(16)), allow(missing_docs)))]
            pub struct $name {
                /// The layout: [`MESSAGE_VERSION`].
                pub version: u8,
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl Message for $name {
                type View = $view;
                const KIND: u8 = $kind;

                fn archive_into(&self, out: &mut Vec<u8>) {
                    let written = rkyv::api::high::to_bytes_in::<_, Failure>(self, std::mem::take(out));
                    // Nothing here is shared, and a vector takes whatever there is memory for.
                    *out = written.expect("a message can be archived");
                }

                fn access(archive: &[u8]) -> Result<&$view, MessageError> {
                    let view = rkyv::access::<$view, Failure>(archive)
                        .map_err(|_| MessageError::Archive { kind: $kind })?;
                    if view.version == MESSAGE_VERSION {
                        Ok(view)
                    } else {
                        Err(MessageError::Version { kind: $kind, got: view.version })
                    }
                }

                fn read(archive: &[u8]) -> Result<Self, MessageError> {
                    rkyv::deserialize::<Self, Failure>(Self::access(archive)?)
                        .map_err(|_| MessageError::Archive { kind: $kind })
                }
            }
        )*

        /// What a fuzzer runs: an archive of any message must be refused, or be read and written to the same message.
        pub(crate) fn check_archive(kind: u8, archive: &[u8]) {
            match kind {
                $(
                    $kind => {
                        if let Ok(message) = $name::read(archive) {
                            let mut again = Vec::new();
                            message.archive_into(&mut again);
                            let mut aligned = rkyv::util::AlignedVec::<16>::new();
                            aligned.extend_from_slice(&again);
                            assert_eq!($name::read(&aligned), Ok(message));
                        }
                    }
                )*
                _ => {}
            }
        }
    };
}

messages! {
    /// Client: the first message.
    Hello (ArchivedHello) = 0x01 {
        /// The oldest protocol version it speaks.
        protocol_min: u16,
        /// The newest.
        protocol_max: u16,
        /// What it calls itself, for logs.
        client_id: String,
        /// How it authenticates; empty for not at all, which is all there is so far.
        mechanism: String,
        /// What the mechanism needs.
        credentials: Vec<u8>,
    }

    /// Server: the answer to [`Hello`].
    HelloAnswer (ArchivedHelloAnswer) = 0x81 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The protocol version that is spoken from here on.
        protocol: u16,
        /// The node that answers.
        node: i32,
        /// The largest batches it takes in one frame.
        payload_bytes_max: u32,
        /// How many requests may wait for their answers.
        requests_in_flight_max: u32,
    }

    /// Client: asks for nodes and topics.
    Metadata (ArchivedMetadata) = 0x02 {
        /// Names; none asks for all topics.
        topics: Vec<String>,
    }

    /// Server: the answer to [`Metadata`].
    MetadataAnswer (ArchivedMetadataAnswer) = 0x82 {
        /// The nodes, one for each core.
        nodes: Vec<Node>,
        /// The topics asked for, in order.
        topics: Vec<Topic>,
    }

    /// Client: appends the one native batch of the frame.
    Produce (ArchivedProduce) = 0x03 {
        /// Which topic.
        topic: TopicIdBytes,
        /// Which partition.
        partition: i32,
        /// As in Kafka: 0 wants no answer, 1 and -1 one after the batch is as durable as the topic says.
        acks: i16,
    }

    /// Server: the answer to [`Produce`].
    ProduceAnswer (ArchivedProduceAnswer) = 0x83 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The node that owns the partition, or -1 if it is not known.
        node: i32,
        /// The offset of the batch's first record.
        base_offset: i64,
        /// The time that the batch was given, or -1 if it kept its own.
        log_append_time_ms: i64,
        /// The first offset of the partition.
        log_start_offset: i64,
    }

    /// Client: asks for everything of a partition from some place on, as it comes.
    Subscribe (ArchivedSubscribe) = 0x04 {
        /// The client's number for it; not in use on this connection.
        subscription: u32,
        /// Which topic.
        topic: TopicIdBytes,
        /// Which partition.
        partition: i32,
        /// Where to begin: an offset; or a Kafka timestamp with `by_timestamp`.
        start: i64,
        /// `start` is a timestamp: -1 is the end, -2 the beginning, others the first record no older.
        by_timestamp: bool,
        /// How many bytes of batches may be pushed.
        credit_bytes: u64,
    }

    /// Server: the answer to [`Subscribe`]. Pushes follow it unless there is an error.
    SubscribeAnswer (ArchivedSubscribeAnswer) = 0x84 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The node that owns the partition, or -1 if it is not known.
        node: i32,
        /// Where it begins.
        start_offset: i64,
        /// The first offset of the partition.
        log_start_offset: i64,
        /// The exclusive end of what may be read.
        high_watermark: i64,
    }

    /// Client: more bytes may be pushed.
    Credit (ArchivedCredit) = 0x05 {
        /// Which subscription.
        subscription: u32,
        /// How many more.
        bytes: u64,
    }

    /// Server: whole native batches of a subscription, contiguous. The first may begin below where the client asked.
    Push (ArchivedPush) = 0x85 {
        /// Which subscription.
        subscription: u32,
        /// Where the next push begins.
        next_offset: i64,
        /// The exclusive end of what may be read.
        high_watermark: i64,
    }

    /// Client: ends a subscription.
    Unsubscribe (ArchivedUnsubscribe) = 0x06 {
        /// Which.
        subscription: u32,
    }

    /// Server: a subscription has ended; no push of it follows. The answer to [`Unsubscribe`], or unasked.
    SubscriptionEnd (ArchivedSubscriptionEnd) = 0x86 {
        /// Which.
        subscription: u32,
        /// Why: Kafka's error code, or 0 if the client wanted it.
        error: i16,
        /// Where the next push would have begun.
        next_offset: i64,
    }

    /// Client: asks for batches once.
    Fetch (ArchivedFetch) = 0x07 {
        /// Which topic.
        topic: TopicIdBytes,
        /// Which partition.
        partition: i32,
        /// From where on.
        offset: i64,
        /// The most bytes of batches, but for the first batch.
        bytes_max: u32,
        /// How long to wait for the first record.
        wait_ms_max: u32,
    }

    /// Server: the answer to [`Fetch`], with whole native batches. The first may begin below the offset asked for.
    FetchAnswer (ArchivedFetchAnswer) = 0x87 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The node that owns the partition, or -1 if it is not known.
        node: i32,
        /// Where to go on.
        next_offset: i64,
        /// The first offset of the partition.
        log_start_offset: i64,
        /// The exclusive end of what may be read.
        high_watermark: i64,
    }

    /// Client: asks for an offset by time.
    ListOffsets (ArchivedListOffsets) = 0x08 {
        /// Which topic.
        topic: TopicIdBytes,
        /// Which partition.
        partition: i32,
        /// -1 is the end, -2 the beginning, -3 the record with the largest timestamp, others the first record no older.
        timestamp_ms: i64,
    }

    /// Server: the answer to [`ListOffsets`].
    ListOffsetsAnswer (ArchivedListOffsetsAnswer) = 0x88 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The node that owns the partition, or -1 if it is not known.
        node: i32,
        /// The offset, or -1 if there is none.
        offset: i64,
        /// The record's timestamp, or -1.
        timestamp_ms: i64,
    }

    /// Client: asks for a producer id, so that batches sent again are not appended again.
    InitProducer (ArchivedInitProducer) = 0x09 {
    }

    /// Server: the answer to [`InitProducer`].
    InitProducerAnswer (ArchivedInitProducerAnswer) = 0x89 {
        /// Kafka's error code; 0 is none.
        error: i16,
        /// The epoch.
        producer_epoch: i16,
        /// An id that no producer had before.
        producer_id: i64,
    }

    /// Server: why the connection ends. Nothing follows it.
    Goodbye (ArchivedGoodbye) = 0xFF {
        /// Kafka's error code.
        error: i16,
        /// In words.
        reason: String,
    }
}

/// A node of the cluster.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(attr(allow(missing_docs)))]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Where it listens.
    pub port: u16,
    /// Where it is.
    pub host: String,
}

/// A topic.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(attr(allow(missing_docs)))]
pub struct Topic {
    /// Kafka's error code; 0 is none.
    pub error: i16,
    /// Whether records are stored as native batches, so that neither producing nor reading converts.
    pub is_native: bool,
    /// Its id.
    pub id: TopicIdBytes,
    /// Its name.
    pub name: String,
    /// The node that owns each partition, by partition index.
    pub owners: Vec<i32>,
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
