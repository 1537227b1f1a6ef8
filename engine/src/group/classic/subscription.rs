//! The topics that a consumer's metadata names: all that a group reads of its members' opaque bytes.

use std::collections::BTreeSet;

use corelane_net::wire::{WireError, WireReader};

use super::{CONSUMER, ClassicGroup};

impl ClassicGroup {
    /// Whether its members are consumers.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(CONSUMER)
    }

    /// Whether a member consumes the topic, or may do so as far as can be told.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// Works out what the members are subscribed to. Every version of the metadata begins as version 0 does.
    pub(super) fn read_subscriptions(&mut self) {
        self.subscribed = None;
        if !self.is_of_consumers() {
            return;
        }
        if self.members.is_empty() {
            self.subscribed = Some(BTreeSet::new());
            return;
        }
        let Some(protocol) = self.protocol.as_deref() else {
            return;
        };
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol).map(AsRef::as_ref);
            if read_topics(metadata.unwrap_or_default(), &mut topics).is_err() {
                return;
            }
        }
        self.subscribed = Some(topics);
    }
}

fn read_topics(metadata: &[u8], topics: &mut BTreeSet<Box<str>>) -> Result<(), WireError> {
    let mut reader = WireReader::new(metadata);
    reader.i16()?;
    for _ in 0..reader.array_len(false, 2)? {
        topics.insert(reader.string(false)?.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_any_version_and_garbage_is_no_subscription() {
        let version_3 = [
            &[0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c'][..],
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff],
        ]
        .concat();
        let mut topics = BTreeSet::new();
        read_topics(&version_3, &mut topics).unwrap();
        assert_eq!(topics, BTreeSet::from(["a".into(), "bc".into()]));
        for garbage in [&b""[..], b"\0", b"\0\0\x7f\xff\xff\xff", b"opaque"] {
            assert!(
                read_topics(garbage, &mut BTreeSet::new()).is_err(),
                "{garbage:?}"
            );
        }
    }
}
