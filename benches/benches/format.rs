//! The steps that every produced byte or record goes through in the format crate.
//!
//! `cargo bench -p corelane-benches --bench format`; with `-- --test` each runs once, which is what CI does.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use corelane_format::ids::{LeaderEpoch, Offset, TimestampMs};
use corelane_format::kafka::{
    BatchBuilder, BatchLimits, records, stamp_offset, validate_batch, validate_records,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BATCH_SIZES_BYTES: [usize; 3] = [1 << 10, 16 << 10, 64 << 10];

fn batch(size_bytes: usize, record_size_bytes: usize) -> (Vec<u8>, u64) {
    let value = vec![0x5a; record_size_bytes];
    let mut builder = BatchBuilder::new();
    let count = (size_bytes / record_size_bytes).max(1);
    for _ in 0..count {
        builder
            .append(TimestampMs::new(1), None, Some(&value), &[])
            .expect("small records");
    }
    let mut bytes = Vec::new();
    builder.finish_into(&mut bytes).expect("a small batch");
    (bytes, count as u64)
}

fn produce_steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate_batch");
    for size_bytes in BATCH_SIZES_BYTES {
        let (bytes, _) = batch(size_bytes, 100);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(size_bytes),
            &bytes,
            |bencher, bytes| {
                bencher.iter(|| validate_batch(black_box(bytes), &BatchLimits::NONE).is_ok());
            },
        );
    }
    group.finish();
    let (mut bytes, _) = batch(16 << 10, 100);
    criterion.bench_function("stamp_offset", |bencher| {
        bencher.iter(|| stamp_offset(black_box(&mut bytes), Offset::new(7), LeaderEpoch::new(0)));
    });
}

fn record_steps(criterion: &mut Criterion) {
    let (bytes, count) = batch(16 << 10, 100);
    let batch = validate_batch(&bytes, &BatchLimits::NONE).expect("just built");
    let mut group = criterion.benchmark_group("records_16KiB_of_100B");
    group.throughput(Throughput::Elements(count));
    group.bench_function("validate", |bencher| {
        bencher.iter(|| validate_records(black_box(&batch)).is_ok());
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            records(batch.header(), black_box(batch.records_section()))
                .map(|record| record.map_or(0, |record| record.value.map_or(0, <[u8]>::len)))
                .sum::<usize>()
        });
    });
    let value = [0x5a; 100];
    let mut builder = BatchBuilder::new();
    let mut out = Vec::new();
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            builder.clear();
            out.clear();
            for _ in 0..count {
                builder
                    .append(TimestampMs::new(1), None, Some(black_box(&value)), &[])
                    .expect("small records");
            }
            builder
                .finish_into(&mut out)
                .expect("a small batch")
                .records_count
        });
    });
    group.finish();
}

criterion_group!(format, produce_steps, record_steps);
criterion_main!(format);
