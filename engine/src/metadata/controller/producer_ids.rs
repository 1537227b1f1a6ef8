//! Producer ids, handed out in blocks: one record for each block, so that none is given twice.

use corelane_format::ids::ProducerId;

use super::Decision;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::MetadataRecord;

/// Hands out `count` producer ids, beginning with the number answered.
///
/// Panics if the 63 bits of producer ids are used up, which takes centuries, or if `count` is not positive.
pub fn allocate_producer_ids(image: &MetadataImage, count: i64) -> Decision<i64> {
    assert!(count > 0, "a block of producer ids is not empty");
    let first = image.next_producer_id().get();
    let next = first
        .checked_add(count)
        .expect("63 bits of producer ids last for centuries");
    (
        vec![MetadataRecord::ProducerIds {
            next: ProducerId::new(next),
        }],
        first,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::test_support::applied;

    #[test]
    fn blocks_follow_each_other_without_overlap() {
        let mut image = MetadataImage::default();
        let mut firsts = Vec::new();
        for _ in 0..3 {
            let (records, first) = allocate_producer_ids(&image, 1000);
            image = applied(&image, &records);
            firsts.push(first);
        }
        assert_eq!(firsts, [0, 1000, 2000]);
    }
}
