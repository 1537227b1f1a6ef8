//! The steps that a request goes through in `net` and `storage`, one by one, without runtime, sockets and disk.
//!
//! `cargo bench -p corelane-benches --bench hot_steps`; with `-- --test` each runs once, which is what CI does.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use corelane_benches::requests::{
    LENGTH_PREFIX_BYTES, batch, fetch_frame, produce_frame, records_of,
};
use corelane_benches::steps::{HotSteps, at_once};
use corelane_format::ids::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use corelane_format::kafka::{BatchLimits, validate_batch, validate_client_batch};
use corelane_net::api::RequestHeader;
use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchRequest, FetchResponseHeader, FetchResponseWriter, PartitionData};
use corelane_net::frame::{FrameLimits, FrameReader};
use corelane_net::gather::GatherCursor;
use corelane_net::produce::{PartitionOutcome, ProduceRequest, ProduceResponseWriter};
use corelane_net::topic::TopicRef;
use corelane_storage::LogSlice;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH_SIZE_BYTES: usize = 16 << 10;
const RECORD_SIZE_BYTES: usize = 100;
/// Batches in memory for reads: 8 MiB.
const STORED_BATCHES: usize = 512;

fn records() -> usize {
    records_of(BATCH_SIZE_BYTES, RECORD_SIZE_BYTES)
}

fn produced() -> Vec<u8> {
    produce_frame(batch(records(), RECORD_SIZE_BYTES)).expect("a frame")
}

fn parsing(criterion: &mut Criterion) {
    let frame = produced();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("frame_16KiB", |bencher| {
        let mut reader = FrameReader::new(FrameLimits::default());
        // What the kernel does is not measured, but for the first time that the buffer grows.
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                let mut left = &frame[..];
                while !left.is_empty() {
                    let start = Instant::now();
                    let space = reader.space();
                    spent += start.elapsed();
                    let count = left.len().min(space.len());
                    space[..count].copy_from_slice(&left[..count]);
                    left = &left[count..];
                    reader.advance(count);
                }
                let start = Instant::now();
                black_box(reader.next_frame().expect("sound").is_some());
                spent += start.elapsed();
            }
            spent
        });
    });
    let body = &frame[LENGTH_PREFIX_BYTES..];
    group.bench_function("produce_request", |bencher| {
        bencher.iter(|| {
            let (header, body) = RequestHeader::parse(black_box(body)).expect("sound");
            let request = ProduceRequest::parse(body, header.api_version).expect("sound");
            request
                .topics()
                .flat_map(|topic| topic.partitions())
                .filter_map(|partition| partition.records)
                .map(<[u8]>::len)
                .sum::<usize>()
        });
    });
    let fetch = fetch_frame(Offset::ZERO, 1 << 20).expect("a frame");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fetch_request", |bencher| {
        bencher.iter(|| {
            let (header, body) =
                RequestHeader::parse(black_box(&fetch[LENGTH_PREFIX_BYTES..])).expect("sound");
            FetchRequest::parse(body, header.api_version).expect("sound")
        });
    });
    group.finish();
}

/// Appends timed apart from the commits that they make necessary.
fn appending(criterion: &mut Criterion) {
    let bytes = batch(records(), RECORD_SIZE_BYTES);
    let mut group = criterion.benchmark_group("log_16KiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("validate", |bencher| {
        bencher.iter(|| {
            let batch = validate_batch(black_box(&bytes), &BatchLimits::NONE).expect("sound");
            validate_client_batch(&batch).is_ok()
        });
    });
    let mut timed = |name: &str, appends: bool| {
        let mut steps = HotSteps::new().expect("a log");
        let batch = validate_batch(&bytes, &BatchLimits::NONE).expect("sound");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    let start = Instant::now();
                    let appended =
                        steps
                            .log()
                            .append(&batch, LeaderEpoch::new(0), TimestampMs::new(1));
                    let between = Instant::now();
                    steps.flush();
                    spent += if appends {
                        between - start
                    } else {
                        between.elapsed()
                    };
                    black_box(appended.is_ok());
                }
                spent
            });
        });
    };
    timed("append_to_chunk", true);
    timed("seal_and_commit", false);
    let frame = produced();
    let mut steps = HotSteps::new().expect("a log");
    group.bench_function("whole_produce", |bencher| {
        bencher.iter(|| steps.produce(black_box(&frame)).expect("taken"));
    });
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let frame = produced();
    let mut steps = HotSteps::new().expect("a log");
    for _ in 0..STORED_BATCHES {
        steps.produce(&frame).expect("taken");
    }
    let end = steps.log().readable_offset();
    let mut group = criterion.benchmark_group("read_from_memory");
    let each = records() as i64;
    let mut place = 0_i64;
    group.bench_function("one_batch_at_any_offset", |bencher| {
        bencher.iter(|| {
            place = (place + 7 * each + 13) % end.get();
            let read = steps
                .log()
                .read(Offset::new(place), end, BATCH_SIZE_BYTES, true);
            at_once(read)
                .expect("in memory")
                .expect("readable")
                .size_bytes
        });
    });
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("gather_1MiB", |bencher| {
        bencher.iter(|| {
            let read = steps.log().read(Offset::ZERO, end, 1 << 20, true);
            at_once(read)
                .expect("in memory")
                .expect("readable")
                .slices
                .len()
        });
    });
    let fetch = fetch_frame(Offset::ZERO, 1 << 20).expect("a frame");
    group.bench_function("whole_fetch_1MiB", |bencher| {
        bencher.iter(|| steps.fetch(black_box(&fetch)).expect("found"));
    });
    group.finish();
}

fn answering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let outcome = PartitionOutcome {
        error: ErrorCode::None,
        base_offset: Offset::new(7),
        log_append_time: TimestampMs::new(-1),
        log_start_offset: Offset::ZERO,
    };
    group.bench_function("produce_response", |bencher| {
        bencher.iter(|| {
            let mut writer: ProduceResponseWriter<LogSlice> = ProduceResponseWriter::new(7, 12, 1);
            writer.topic(TopicRef::Name("measured"), 1);
            let slot = writer.partition(PartitionIndex::new(0), black_box(outcome));
            writer.set(slot, outcome);
            writer.finish(0, &[]).size_bytes()
        });
    });
    let mut steps = HotSteps::new().expect("a log");
    steps.produce(&produced()).expect("taken");
    let end = steps.log().readable_offset();
    let read = at_once(steps.log().read(Offset::ZERO, end, 1 << 20, true));
    let slices = read.expect("in memory").expect("readable").slices;
    group.bench_function("fetch_response", |bencher| {
        bencher.iter(|| {
            let mut writer = FetchResponseWriter::new(&FetchResponseHeader {
                version: 12,
                correlation_id: 7,
                throttle_time_ms: 0,
                error: ErrorCode::None,
                session_id: 0,
                topics_count: 1,
            });
            writer.topic(TopicRef::Name("measured"), 1);
            let data = PartitionData::readable(PartitionIndex::new(0), end, Offset::ZERO);
            writer.partition(&data, black_box(&slices).clone());
            let response = writer.finish(&[]);
            let mut parts = [IoSlice::new(&[]); 8];
            response.parts().fill(GatherCursor::default(), &mut parts)
        });
    });
    group.finish();
}

criterion_group!(hot_steps, parsing, appending, reading, answering);
criterion_main!(hot_steps);
