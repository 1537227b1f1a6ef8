use proptest::prelude::*;

use super::*;
use crate::native::message::{Credit, MESSAGE_VERSION};

fn limits() -> NativeFrameLimits {
    NativeFrameLimits {
        archive_bytes_max: 1024,
        payload_bytes_max: 50_000,
        buffer_bytes_initial: 64,
        read_ahead_bytes_max: 1024,
    }
}

fn credit(bytes: u64) -> Credit {
    Credit {
        version: MESSAGE_VERSION,
        subscription: 1,
        bytes,
    }
}

proptest! {
    #[test]
    fn frames_survive_any_cut(
        sizes in proptest::collection::vec(prop_oneof![0_usize..100, 100_usize..3_000, 16_000_usize..40_000], 1..20),
        reads in proptest::collection::vec(prop_oneof![1_usize..10, 100_usize..2_000, 10_000_usize..100_000], 1..20),
    ) {
        let mut stream = Vec::new();
        for (correlation, size) in (1_u32..).zip(&sizes) {
            append_frame(&mut stream, correlation, &credit(*size as u64), &vec![correlation as u8; *size]);
        }
        let mut reader = NativeFrameReader::new(limits());
        let mut rest = &stream[..];
        let mut seen = 0;
        for cut in reads.iter().cycle() {
            while let Some(frame) = reader.next_frame().unwrap() {
                prop_assert_eq!(frame.header.correlation as usize, seen + 1);
                prop_assert_eq!(frame.payload, &vec![(seen + 1) as u8; sizes[seen]][..]);
                prop_assert_eq!(frame.archive.as_ptr().addr() % ALIGNMENT, 0);
                prop_assert_eq!(frame.payload.as_ptr().addr() % ALIGNMENT, 0);
                prop_assert_eq!(Credit::read(frame.archive).unwrap(), credit(sizes[seen] as u64));
                seen += 1;
            }
            if rest.is_empty() {
                break;
            }
            let space = reader.space();
            prop_assert!(!space.is_empty());
            let count = space.len().min(*cut).min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            reader.advance(count);
        }
        prop_assert_eq!(seen, sizes.len());
        prop_assert_eq!(reader.held_bytes(), 0);
        prop_assert!(reader.buffer_bytes() <= 2 * (50_000 + 1024));
    }

    #[test]
    fn gathered_frames_are_the_copied_ones(sizes in proptest::collection::vec(0_usize..200, 0..6)) {
        let slices: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8; *size]).collect();
        let mut copied = Vec::new();
        append_frame(&mut copied, 9, &credit(5), &slices.concat());
        let gathered = frame_with(9, &credit(5), slices);
        prop_assert_eq!(gathered.to_vec(), copied);
    }
}

#[test]
fn a_stated_length_takes_no_memory() {
    let header = FrameHeader {
        archive_bytes: 32,
        payload_bytes: 90 << 20,
        correlation: 1,
        kind: 3,
    };
    let mut reader = NativeFrameReader::new(NativeFrameLimits {
        buffer_bytes_initial: 64,
        ..NativeFrameLimits::default()
    });
    reader.feed(&header.encode());
    let mut sent = FRAME_HEADER_BYTES;
    while sent < 100_000 {
        assert!(reader.next_frame().unwrap().is_none());
        let space = reader.space();
        let count = space.len().min(1_000);
        reader.advance(count);
        sent += count;
        assert!(
            reader.buffer_bytes() <= (2 * sent).max(64),
            "{} for {sent}",
            reader.buffer_bytes()
        );
    }
}

#[test]
fn impossible_headers_by_table() {
    let sound = FrameHeader {
        archive_bytes: 16,
        payload_bytes: 0,
        correlation: 7,
        kind: 1,
    };
    let table = [
        (
            FrameHeader {
                archive_bytes: 0,
                ..sound
            },
            Err(NativeFrameError::Archive { got: 0 }),
        ),
        (
            FrameHeader {
                archive_bytes: 24,
                ..sound
            },
            Err(NativeFrameError::Archive { got: 24 }),
        ),
        (
            FrameHeader {
                archive_bytes: 1040,
                ..sound
            },
            Err(NativeFrameError::ArchiveTooLarge {
                got: 1040,
                limit: 1024,
            }),
        ),
        (
            FrameHeader {
                payload_bytes: 50_001,
                ..sound
            },
            Err(NativeFrameError::PayloadTooLarge {
                got: 50_001,
                limit: 50_000,
            }),
        ),
        (
            FrameHeader {
                payload_bytes: u32::MAX,
                ..sound
            },
            Err(NativeFrameError::PayloadTooLarge {
                got: u32::MAX,
                limit: 50_000,
            }),
        ),
        (sound, Ok(Some(sound))),
    ];
    for (header, expected) in table {
        let mut reader = NativeFrameReader::new(limits());
        let bytes = header.encode();
        reader.feed(&bytes[..15]);
        assert_eq!(reader.front(), Ok(None));
        reader.feed(&bytes[15..]);
        assert_eq!(reader.front(), expected);
        assert!(!reader.space().is_empty());
    }
    let mut bytes = sound.encode();
    bytes[15] = 1;
    let mut reader = NativeFrameReader::new(limits());
    reader.feed(&bytes);
    assert_eq!(
        reader.front(),
        Err(NativeFrameError::Reserved { got: [0, 0, 1] })
    );
}

#[test]
fn memory_of_a_big_frame_is_given_back() {
    let mut stream = Vec::new();
    append_frame(&mut stream, 1, &credit(0), &vec![1; 40_000]);
    let mut reader = NativeFrameReader::new(limits());
    reader.feed(&stream[..30_000]);
    assert!(!reader.trim());
    reader.feed(&stream[30_000..]);
    assert!(reader.next_frame().unwrap().is_some());
    assert!(reader.trim());
    assert_eq!(reader.buffer_bytes(), 64);
}
