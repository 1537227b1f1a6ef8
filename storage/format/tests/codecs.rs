//! Decompression: every form that clients may choose, ceilings that hold, and damage that is found.

mod support;

use corelane_format::kafka::compression::{RATIO_FREE_BYTES, lz4_frame_fault};
use corelane_format::kafka::{
    Compression, CompressionError, DecompressLimits, compress, compression::decompress_into,
    decompress,
};
use proptest::prelude::*;
use support::{pattern, unhex};

const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn limits(size_bytes_max: usize) -> DecompressLimits {
    DecompressLimits {
        size_bytes_max,
        ratio_max: usize::MAX,
    }
}

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, input, &mut out).unwrap();
    out
}

#[test]
fn forms_that_clients_may_choose_are_read() {
    let expected = pattern(200_000);
    for (name, codec, text) in [
        (
            "linked blocks",
            Compression::Lz4,
            include_str!("fixtures/codec-lz4-linked.hex"),
        ),
        (
            "4 MiB blocks",
            Compression::Lz4,
            include_str!("fixtures/codec-lz4-4mib-blocks.hex"),
        ),
        (
            "no size",
            Compression::Zstd,
            include_str!("fixtures/codec-zstd-unsized.hex"),
        ),
        (
            "two frames",
            Compression::Zstd,
            include_str!("fixtures/codec-zstd-two-frames.hex"),
        ),
        (
            "raw block",
            Compression::Snappy,
            include_str!("fixtures/codec-snappy-raw.hex"),
        ),
        (
            "two members",
            Compression::Gzip,
            include_str!("fixtures/codec-gzip-two-members.hex"),
        ),
    ] {
        let input = unhex(text);
        assert_eq!(
            decompress(codec, &input, limits(200_000)),
            Ok(expected.clone()),
            "{name}"
        );
        assert!(
            matches!(
                decompress(codec, &input, limits(199_999)),
                Err(CompressionError::TooLarge { limit: 199_999, .. })
            ),
            "{name}"
        );
        for end in 0..input.len() {
            let cut = decompress(codec, &input[..end], limits(200_000));
            // The end of a whole first member or frame is where a reader may stop.
            assert!(
                cut.is_err() || end == 0 || name.starts_with("two"),
                "{name} cut at {end}"
            );
            assert_ne!(cut.as_ref(), Ok(&expected), "{name} cut at {end}");
        }
    }
}

#[test]
fn lz4_frames_that_consumers_refuse_are_told_by_their_first_bytes() {
    let good = compressed(Compression::Lz4, b"some bytes");
    assert_eq!(lz4_frame_fault(&good), None);
    let large = unhex(include_str!("fixtures/codec-lz4-4mib-blocks.hex"));
    assert_eq!(lz4_frame_fault(&large), None);
    let linked = unhex(include_str!("fixtures/codec-lz4-linked.hex"));
    assert_eq!(
        lz4_frame_fault(&linked),
        Some("its blocks depend on each other")
    );
    // The byte that is changed, and what it becomes.
    for (at, byte) in [
        (0, 0x05), // another magic
        (4, 0x61), // a dictionary
        (4, 0x62), // a reserved flag
        (4, 0xa0), // version 2
        (5, 0x30), // blocks of 16 KiB
        (5, 0x41), // reserved bits
        (5, 0xc0),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(lz4_frame_fault(&bad).is_some(), "byte {at} is {byte:#x}");
    }
    for end in 0..7 {
        assert!(lz4_frame_fault(&good[..end]).is_some(), "cut at {end}");
    }
    let mut with_size = good;
    with_size[4] |= 1 << 3;
    assert!(lz4_frame_fault(&with_size[..14]).is_some());
    assert_eq!(lz4_frame_fault(&with_size[..15]), None);
}

#[test]
fn joined_xerial_streams_are_read() {
    let mut input = compressed(Compression::Snappy, b"first ");
    input.extend_from_slice(&compressed(Compression::Snappy, b"second"));
    assert_eq!(
        decompress(Compression::Snappy, &input, limits(100)).as_deref(),
        Ok(b"first second".as_slice())
    );
}

#[test]
fn what_is_cut_off_is_damaged() {
    let input = pattern(70_000);
    for codec in CODECS {
        let whole = compressed(codec, &input);
        for end in 1..whole.len() {
            let cut = decompress(codec, &whole[..end], limits(1 << 20));
            // Xerial has no end mark: a stream may stop after any chunk.
            let prefix = codec == Compression::Snappy
                && cut
                    .as_ref()
                    .is_ok_and(|out| out.len() < input.len() && input.starts_with(out));
            assert!(cut.is_err() || prefix, "{codec} cut at {end}");
        }
    }
}

#[test]
fn bombs_are_refused_by_size_and_by_ratio() {
    let zeros = vec![0; 8 << 20];
    for codec in CODECS {
        let bomb = compressed(codec, &zeros);
        assert!(
            bomb.len() < zeros.len() / 15,
            "{codec} made {} bytes",
            bomb.len()
        );
        let mut out = Vec::new();
        let by_size = decompress_into(codec, &bomb, limits(100_000), &mut out);
        assert!(
            matches!(
                by_size,
                Err(CompressionError::TooLarge { limit: 100_000, .. })
            ),
            "{codec}: {by_size:?}"
        );
        assert!(
            out.is_empty() && out.capacity() <= 200_100,
            "{codec} took {}",
            out.capacity()
        );

        let by_ratio = DecompressLimits {
            size_bytes_max: usize::MAX,
            ratio_max: 10,
        };
        let limit = (bomb.len() * 10).max(RATIO_FREE_BYTES);
        assert_eq!(by_ratio.limit_bytes(bomb.len()), limit);
        let error = decompress(codec, &bomb, by_ratio);
        assert!(
            matches!(error, Err(CompressionError::TooLarge { limit: got, .. }) if got == limit),
            "{codec}: {error:?}"
        );
    }
}

#[test]
fn sizes_that_are_only_claimed_cost_no_memory() {
    for (name, codec, input) in [
        (
            "a raw Snappy block of 4 GiB",
            Compression::Snappy,
            "ffffffff0f00",
        ),
        (
            "a Xerial chunk of a 4 GiB block",
            Compression::Snappy,
            "82534e41505059000000000100000001 00000006 ffffffff0f00",
        ),
        (
            "a Xerial chunk of 4 GiB",
            Compression::Snappy,
            "82534e41505059000000000100000001 ffffffff 00",
        ),
        (
            "an LZ4 frame of 2^60 bytes",
            Compression::Lz4,
            "04224d18 68 40 0000000000000010 00 00000000",
        ),
        (
            "an LZ4 block of 2 GiB",
            Compression::Lz4,
            "04224d18 60 40 82 ffffff7f 00",
        ),
        // One segment, eight bytes of size.
        (
            "a zstd frame of 2^60 bytes",
            Compression::Zstd,
            "28b52ffd e0 0000000000000010 01 00 00",
        ),
        (
            "a zstd window of 3.75 TiB",
            Compression::Zstd,
            "28b52ffd 00 ff 15 00 00 00",
        ),
    ] {
        let input = unhex(input);
        let mut out = Vec::new();
        let done = decompress_into(codec, &input, limits(1 << 30), &mut out);
        assert!(done.is_err(), "{name}");
        assert!(out.capacity() <= 1 << 17, "{name} took {}", out.capacity());
    }
}

#[test]
fn reuse_keeps_nothing_of_what_was_there() {
    let mut out = Vec::new();
    for codec in Compression::ALL {
        decompress_into(
            codec,
            &compressed(codec, &pattern(50_000)),
            limits(50_000),
            &mut out,
        )
        .unwrap();
        decompress_into(codec, &compressed(codec, b"short"), limits(5), &mut out).unwrap();
        assert_eq!(out, b"short", "{codec}");
        // The room left from before must not soften the limit.
        let error = decompress_into(
            codec,
            &compressed(codec, &pattern(900)),
            limits(899),
            &mut out,
        );
        assert!(
            matches!(error, Err(CompressionError::TooLarge { .. })),
            "{codec}: {error:?}"
        );
        assert!(out.is_empty(), "{codec}");
    }
}

proptest! {
    #[test]
    fn bytes_survive_every_codec(
        input in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..3000),
            (0_usize..150_000).prop_map(pattern),
        ],
        prefix in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        for codec in Compression::ALL {
            let mut out = prefix.clone();
            compress(codec, &input, &mut out).unwrap();
            prop_assert_eq!(&out[..prefix.len()], prefix.as_slice());
            let back = decompress(codec, &out[prefix.len()..], limits(input.len())).unwrap();
            prop_assert_eq!(&back, &input);
        }
    }
}
