//! How a request names a topic: by name in older versions, by id in newer ones.

use std::fmt;

use corelane_format::TopicId;

/// A topic as a message names it, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id.
    Id(TopicId),
}

impl TopicRef<'_> {
    /// A copy that outlives the message.
    pub fn to_key(self) -> TopicKey {
        match self {
            Self::Name(name) => TopicKey::Name(name.into()),
            Self::Id(id) => TopicKey::Id(id),
        }
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Id(id) => write!(formatter, "{id}"),
        }
    }
}

/// A topic as a message names it, owned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By name.
    Name(Box<str>),
    /// By id.
    Id(TopicId),
}

impl TopicKey {
    /// The borrowed form.
    pub fn as_topic(&self) -> TopicRef<'_> {
        match self {
            Self::Name(name) => TopicRef::Name(name),
            Self::Id(id) => TopicRef::Id(*id),
        }
    }
}

impl fmt::Display for TopicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_topic().fmt(formatter)
    }
}
