//! Where new topic ids come from.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use corelane_format::ids::TopicId;

use super::image::MetadataImage;

/// How many ids are drawn before a source counts as broken.
const DRAWS_MAX: usize = 64;

/// Gives 128-bit numbers for topic ids; the controller rules out those that are taken or reserved.
pub trait TopicIdSource {
    /// The next number.
    fn next_id(&mut self) -> u128;
}

impl<F: FnMut() -> u128> TopicIdSource for F {
    fn next_id(&mut self) -> u128 {
        self()
    }
}

/// Ids from the operating system's entropy, by way of the standard library's hash keys, which cannot fail or block.
#[derive(Clone, Debug, Default)]
pub struct RandomTopicIds {
    drawn: u64,
}

impl TopicIdSource for RandomTopicIds {
    fn next_id(&mut self) -> u128 {
        self.drawn += 1;
        // Each state has its own secret 128-bit key, so the two halves are independent.
        let high = RandomState::new().hash_one(self.drawn);
        let low = RandomState::new().hash_one(self.drawn);
        u128::from(high) << 64 | u128::from(low)
    }
}

/// An id that no topic has or had, or `None` if the source repeats itself.
///
/// As in Kafka, small numbers are reserved, and no id's text begins with a dash, which tools would take for an option.
pub(super) fn fresh_topic_id(
    image: &MetadataImage,
    planned: impl Fn(TopicId) -> bool,
    source: &mut impl TopicIdSource,
) -> Option<TopicId> {
    (0..DRAWS_MAX)
        .map(|_| source.next_id())
        .filter(|number| *number > 100)
        .find_map(|number| {
            let id = TopicId::new(number.to_be_bytes());
            let is_free =
                !image.knows_topic_id(id) && !planned(id) && !id.to_string().starts_with('-');
            is_free.then_some(id)
        })
}

/// A new cluster id: as a topic id, in Kafka's text form.
pub fn random_cluster_id() -> String {
    let mut source = RandomTopicIds::default();
    fresh_topic_id(&MetadataImage::default(), |_| false, &mut source)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ() {
        let mut source = RandomTopicIds::default();
        let mut ids: Vec<u128> = (0..1_000).map(|_| source.next_id()).collect();
        ids.extend((0..1_000).map(|_| RandomTopicIds::default().next_id()));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn taken_reserved_and_dashed_ids_are_passed_over() {
        let taken = TopicId::new([1; 16]);
        let mut numbers = vec![0, 1, u128::from_be_bytes([1; 16]), 0xFB << 120, 7_000].into_iter();
        let mut source = || numbers.next().unwrap();
        let id = fresh_topic_id(&MetadataImage::default(), |id| id == taken, &mut source);
        assert_eq!(id, Some(TopicId::new(7_000_u128.to_be_bytes())));
    }

    #[test]
    fn a_source_that_repeats_itself_ends_in_none() {
        assert_eq!(
            fresh_topic_id(&MetadataImage::default(), |_| false, &mut || 0),
            None
        );
    }

    #[test]
    fn cluster_ids_have_kafkas_form() {
        assert_eq!(random_cluster_id().len(), 22);
        assert_ne!(random_cluster_id(), random_cluster_id());
    }
}
