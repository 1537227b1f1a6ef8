//! Free loopback ports, several in a row, as a server with one port per core needs them.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range that outgoing connections take their ports from, so that none is taken between check and use.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` free ports in a row. Two calls of one process never give the same.
pub(crate) fn free_in_a_row(count: u16) -> u16 {
    let start_of_process = (process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT / count {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let base = FIRST + (start_of_process + step) % (COUNT - count);
        if (base..base + count).all(is_free) {
            return base;
        }
    }
    panic!(
        "no {count} free ports in a row between {FIRST} and {}",
        FIRST + COUNT
    );
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
