//! The lane's runtime settings, proved against glommio's known traps.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::AsyncReadExt as _;
use glommio::io::OpenOptions;
use glommio::{LocalExecutorBuilder, Placement};

use super::mesh::{self, Mesh};
use super::runtime::{LaneRuntimeConfig, spawn_lane};
use super::turns::Turns;
use super::watchdog::Watchdog;
use crate::config::process_cores;

/// How long a test may hang before it is called a failure.
const HANG: Duration = Duration::from_mins(2);

fn config(lane: usize) -> LaneRuntimeConfig {
    let cores = process_cores().unwrap();
    LaneRuntimeConfig {
        cpu: cores[lane % cores.len()],
        name: format!("test-lane-{lane}"),
        spin_before_park: None,
        ring_depth: 128,
    }
}

/// Two lanes that only ever answer each other: a lost wake-up of either one ends the game.
#[test]
fn two_lanes_play_ping_pong_without_a_lost_wake_up() {
    const ROUND_TRIPS: usize = 20_000;
    struct Player {
        played: Cell<usize>,
    }
    let (mesh, receivers) = mesh::channels::<Player>(2);
    let (done, is_done) = flume::bounded(1);
    let mut lanes = Vec::new();
    let (watchdog, heartbeats) = Watchdog::start(2).unwrap();
    for ((lane, receiver), heartbeat) in receivers.into_iter().enumerate().zip(heartbeats) {
        let mesh: Mesh<Player> = mesh.clone();
        let done = done.clone();
        let root = move || async move {
            heartbeat.beat();
            let player = Rc::new(Player {
                played: Cell::new(0),
            });
            if lane == 0 {
                let counted = Rc::clone(&player);
                glommio::spawn_local(async move {
                    for _ in 0..ROUND_TRIPS {
                        let pong = mesh.call(1, |peer: Rc<Player>| async move {
                            peer.played.set(peer.played.get() + 1);
                            peer.played.get()
                        });
                        counted.played.set(pong.await.unwrap());
                    }
                    done.send(counted.played.get()).unwrap();
                })
                .detach();
            }
            mesh::receive(player, receiver).await;
        };
        lanes.push(spawn_lane(&config(lane), root).unwrap());
    }
    let played = is_done
        .recv_timeout(HANG)
        .expect("a lane sleeps with work to do");
    assert_eq!(played, ROUND_TRIPS);
    mesh.shut_down();
    for lane in lanes {
        lane.join().unwrap();
    }
    drop(watchdog);
}

/// Units of work that ran while one direct write was under way, for each of `writes` writes, on a lane whose
/// connections always have bytes to read.
fn work_during_writes(connections: usize, writes: usize, with_turns: bool) -> Vec<u64> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peers: Vec<TcpStream> = (0..connections)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let accepted: Vec<TcpStream> = (0..connections)
        .map(|_| listener.accept().unwrap().0)
        .collect();
    let floods: Vec<_> = peers
        .iter()
        .map(|peer| {
            let mut peer = peer.try_clone().unwrap();
            thread::spawn(move || {
                let bytes = vec![7_u8; 256 << 10];
                while peer.write_all(&bytes).is_ok() {}
            })
        })
        .collect();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = folder.path().join("written");
    let (done, is_done) = flume::bounded(1);
    let lane = spawn_lane(&config(0), move || async move {
        let turns = Turns::new();
        let units = Rc::new(Cell::new(0_u64));
        for stream in accepted {
            stream.set_nonblocking(true).unwrap();
            let mut stream = glommio::net::TcpStream::from(socket2::Socket::from(stream));
            let (turns, units) = (Rc::clone(&turns), Rc::clone(&units));
            glommio::spawn_local(async move {
                // Small reads, so that the peers' flood outruns this lane by far.
                let mut buffer = vec![0; 256];
                loop {
                    if with_turns {
                        turns.pass().await;
                    }
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => units.set(units.get() + 1),
                    }
                }
            })
            .detach();
        }
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .read(true)
            .custom_flags(libc::O_DSYNC)
            .dma_open(&path)
            .await
            .unwrap();
        let mut during = Vec::new();
        for _ in 0..writes {
            let mut buffer = file.alloc_dma_buffer(4096);
            buffer.as_bytes_mut().fill(1);
            let before = units.get();
            file.write_at(buffer, 0).await.unwrap();
            during.push(units.get() - before);
        }
        file.close().await.unwrap();
        done.send(during).unwrap();
    })
    .unwrap();
    let during = is_done
        .recv_timeout(HANG)
        .expect("the writes never completed");
    for peer in peers {
        // Ends the flood; the lane may have closed its end already.
        let _ = peer.shutdown(Shutdown::Both);
    }
    for flood in floods {
        flood.join().unwrap();
    }
    lane.join().unwrap();
    during
}

/// Without turns a write waits for the preempt timer several times over: tens of thousands of reads. With them it waits
/// for the disk and at most a few quanta. Counted in reads, not in time, so that a slow machine tells the same.
#[test]
fn a_lane_whose_sockets_never_run_dry_completes_its_writes() {
    let mut during = work_during_writes(4, 30, true);
    during.sort_unstable();
    let median = during[during.len() / 2];
    assert!(median < 5_000, "reads during each write: {during:?}");
    assert!(
        median > 0,
        "the connections ran dry, so the test proved nothing"
    );
}

/// A spinning lane keeps its core until the scheduler's next tick, unless it offers it: what finishes its disk writes would wait that
/// long. Counted in switches to another thread of the same core, not in time.
#[test]
fn a_lane_that_spins_offers_its_core_to_others() {
    const TURNS: u64 = 500;
    fn switches() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .map(|line| {
                let count = line.split_whitespace().last().unwrap();
                count.parse::<u64>().unwrap()
            })
            .sum()
    }
    let config = LaneRuntimeConfig {
        spin_before_park: Some(Duration::from_hours(1)),
        ..config(0)
    };
    let over = Arc::new(AtomicBool::new(false));
    // Another executor on the lane's core that never sleeps either, and never offers it.
    let (is_over, rival) = (Arc::clone(&over), config.cpu);
    let rival = thread::spawn(move || {
        LocalExecutorBuilder::new(Placement::Fixed(rival))
            .spawn(move || async move {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
            .unwrap()
            .join()
            .unwrap();
    });
    let (done, is_done) = flume::bounded(1);
    let lane = spawn_lane(&config, move || async move {
        let before = switches();
        for _ in 0..TURNS {
            glommio::timer::Timer::new(Duration::from_micros(20)).await;
        }
        done.send(switches() - before).unwrap();
    })
    .unwrap();
    let switched = is_done.recv_timeout(HANG).expect("the lane never ran");
    over.store(true, Ordering::Relaxed);
    lane.join().unwrap();
    rival.join().unwrap();
    assert!(
        switched >= TURNS / 4,
        "the core changed hands {switched} times in {TURNS} turns"
    );
}
