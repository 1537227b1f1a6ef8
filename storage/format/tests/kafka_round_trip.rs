//! What the builder writes, the validator accepts and the iterator reads back unchanged, with every codec.

mod support;

use corelane_format::kafka::{
    BatchBuilder, BatchLimits, Compression, DecompressLimits, compression::decompressed, records,
    validate_batch, validate_record_section,
};
use corelane_format::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use proptest::prelude::*;
use support::{OwnedRecord, any_records, append_all, owned};

fn any_codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL)
}

proptest! {
    #[test]
    fn records_survive_every_codec(
        records_in in any_records(40),
        codec in any_codec(),
        producer: Option<(u32, u16, u32)>,
        transactional: bool,
    ) {
        let mut builder = BatchBuilder::new();
        builder.compression(codec).base_offset(Offset::new(77)).leader_epoch(LeaderEpoch::new(3));
        if let Some((id, epoch, sequence)) = producer {
            builder
                .producer(
                    ProducerId::new(i64::from(id)),
                    ProducerEpoch::new((epoch >> 1) as i16),
                    Sequence::new((sequence >> 1) as i32),
                )
                .transactional(transactional);
        }
        // A builder that was used before must leave no trace.
        append_all(&mut builder, &records_in);
        builder.clear();
        append_all(&mut builder, &records_in);
        let mut bytes = b"before".to_vec();
        let header = builder.finish_into(&mut bytes).unwrap();
        let bytes = &bytes[b"before".len()..];

        let batch = validate_batch(bytes, &BatchLimits::NONE).unwrap();
        prop_assert_eq!(batch.header(), &header);
        prop_assert_eq!(batch.compression(), codec);
        prop_assert_eq!(header.base_offset, Offset::new(77));
        prop_assert_eq!(header.records_count as usize, records_in.len());
        prop_assert_eq!(header.attributes.is_transactional(), transactional && producer.is_some());
        let section =
            decompressed(codec, batch.records_section(), DecompressLimits::default()).unwrap();
        let records_out: Vec<OwnedRecord> =
            records(&header, &section).map(|record| owned(&record.unwrap())).collect();
        prop_assert_eq!(&records_out, &records_in);

        let summary = validate_record_section(&header, &section).unwrap();
        prop_assert_eq!(summary.max_timestamp, header.max_timestamp);
        let first_latest = records_in
            .iter()
            .position(|record| record.timestamp == header.max_timestamp.get())
            .unwrap();
        prop_assert_eq!(summary.max_timestamp_offset_delta as usize, first_latest);
        prop_assert_eq!(
            summary.keyless_records as usize,
            records_in.iter().filter(|record| record.key.is_none()).count()
        );
    }
}
