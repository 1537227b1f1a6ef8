//! The thread that looks at the file system and tells every lane what to do. Off the data path, and blocking.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ballast::Ballast;
use super::policy::{DiskSpace, Headroom, ReserveChoice, Room};
use crate::doctor::syscalls;
use crate::lane::mesh::Mesh;
use crate::lane::{Lane, housekeeping};
use crate::metrics::{ServerCells, ServerMetrics};

/// How often to look while there is plenty.
const CALM_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look when it may soon be short, or is.
const NEAR_INTERVAL: Duration = Duration::from_millis(100);

/// Looks until it is dropped.
#[derive(Debug)]
pub struct HeadroomWatch {
    stop: Option<flume::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HeadroomWatch {
    /// Starts the thread. `watched` has looked once already, for the lanes to begin with.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(mut watched: WatchedDisk, mesh: Mesh<Lane>) -> std::io::Result<Self> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let thread = thread::Builder::new()
            .name("headroom".into())
            .spawn(move || {
                while stopped.recv_timeout(watched.interval())
                    == Err(flume::RecvTimeoutError::Timeout)
                {
                    let before = watched.room;
                    let advice = watched.look();
                    if watched.room != before {
                        tell(&mesh, watched.room);
                    } else if advice == Advice::ReleaseSpares {
                        release_spares(&mesh);
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for HeadroomWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What to do beside taking the decision over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    Nothing,
    /// Without the spare segments space would be short.
    ReleaseSpares,
}

fn release_spares(mesh: &Mesh<Lane>) {
    for lane in 0..mesh.lanes() {
        drop(mesh.call(lane, housekeeping::release_spares));
    }
}

/// Every lane takes the decision over. Nobody waits for it.
fn tell(mesh: &Mesh<Lane>, room: Room) {
    for lane in 0..mesh.lanes() {
        drop(mesh.call(lane, move |lane| housekeeping::take_over_room(lane, room)));
    }
}

/// The disk below a data directory, and what was decided of it.
#[derive(Debug)]
pub struct WatchedDisk {
    directory: PathBuf,
    choice: ReserveChoice,
    ballast: Ballast,
    metrics: Arc<ServerMetrics>,
    room: Room,
    near: bool,
    is_blind: bool,
}

impl WatchedDisk {
    /// Looks for the first time.
    pub fn new(
        directory: &Path,
        ballast: &Path,
        choice: ReserveChoice,
        metrics: Arc<ServerMetrics>,
    ) -> Self {
        let mut watched = Self {
            directory: directory.to_path_buf(),
            choice,
            ballast: Ballast::find(ballast),
            metrics,
            room: Room::Enough,
            near: true,
            is_blind: false,
        };
        watched.look();
        watched
    }

    /// What was decided last.
    pub fn room(&self) -> Room {
        self.room
    }

    fn interval(&self) -> Duration {
        if self.near {
            NEAR_INTERVAL
        } else {
            CALM_INTERVAL
        }
    }

    fn look(&mut self) -> Advice {
        let cells = &self.metrics.server;
        let space = match syscalls::disk_space(&self.directory) {
            Ok(space) => space,
            Err(error) => {
                // What was decided stays: neither refusing nor taking is safe to begin now.
                ServerCells::count(&cells.disk_look_failures);
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::error!(%error, "the file system does not tell its free space");
                }
                return Advice::Nothing;
            }
        };
        self.is_blind = false;
        let headroom = Headroom::new(self.choice, space.total_bytes);
        let unflushed_bytes = self.metrics.sum("unflushed_bytes");
        let room_bytes = headroom.room_bytes(space, self.ballast.size_bytes(), unflushed_bytes);
        // Retired segments that are kept for reuse go first. Once space is short they do not count: those that have just been
        // given back would count twice until their lane has published so.
        let spare_bytes = match self.room {
            Room::Enough => self.metrics.sum("spare_bytes"),
            Room::Short | Room::Critical => 0,
        };
        let room = headroom.decide(self.room, room_bytes.saturating_add(spare_bytes));
        self.near = headroom.is_near(room, room_bytes);
        self.adjust_ballast(&headroom, room, space);
        self.note(&headroom, room, space);
        self.room = room;
        if spare_bytes > 0 && room_bytes < headroom.enough_from_bytes() {
            Advice::ReleaseSpares
        } else {
            Advice::Nothing
        }
    }

    fn adjust_ballast(&mut self, headroom: &Headroom, room: Room, space: DiskSpace) {
        let is_there = self.ballast.size_bytes() > 0;
        let wants = headroom.wants_ballast(room, space, is_there);
        let adjusted = match (is_there, wants) {
            (_, true) => self.ballast.take(headroom.ballast_bytes),
            (true, false) => {
                tracing::warn!("the disk is full: the ballast is given back, for metadata");
                self.ballast.give_back()
            }
            (false, false) => Ok(()),
        };
        if let Err(error) = adjusted {
            tracing::warn!(%error, "the ballast cannot be changed");
        }
    }

    fn note(&self, headroom: &Headroom, room: Room, space: DiskSpace) {
        let cells = &self.metrics.server;
        ServerCells::set(&cells.disk_free_bytes, space.free_bytes);
        ServerCells::set(&cells.disk_total_bytes, space.total_bytes);
        ServerCells::set(&cells.disk_reserve_bytes, headroom.reserve_bytes);
        ServerCells::set(&cells.disk_ballast_bytes, self.ballast.size_bytes());
        ServerCells::set(&cells.disk_room, room as u64);
        let (free, reserve) = (space.free_bytes, headroom.reserve_bytes);
        match (self.room, room) {
            (Room::Enough, Room::Short | Room::Critical) => {
                ServerCells::count(&cells.disk_shortages);
                tracing::error!(
                    free,
                    reserve,
                    "the disk is short of space: produces are refused until there is more; reading and deleting go on"
                );
            }
            (Room::Short | Room::Critical, Room::Enough) => {
                tracing::info!(free, reserve, "there is room again: produces are taken");
            }
            (Room::Short, Room::Critical) => {
                tracing::error!(
                    free,
                    reserve,
                    "the disk is almost full: only metadata is written"
                );
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use corelane_storage::LaneMetrics;

    use super::*;
    use crate::metrics::{LaneCounters, LaneSample};

    #[test]
    fn a_reserve_beyond_what_is_free_is_a_shortage_from_the_first_look_on() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = folder.path().join("ballast");
        let look = |choice| {
            let metrics = Arc::new(ServerMetrics::new(1));
            let watched = WatchedDisk::new(folder.path(), &ballast, choice, Arc::clone(&metrics));
            (
                watched.room(),
                ServerCells::get(&metrics.server.disk_shortages),
                watched.interval(),
            )
        };
        let refused = (Room::Critical, 1, NEAR_INTERVAL);
        assert_eq!(look(ReserveChoice::Bytes(u64::MAX)), refused);
        assert!(!ballast.exists());
        let (room, shortages, _) = look(ReserveChoice::Bytes(8 << 20));
        assert_eq!((room, shortages), (Room::Enough, 0));
        assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 1 << 20);
        assert_eq!(
            look(ReserveChoice::Bytes(0)),
            (Room::Enough, 0, CALM_INTERVAL)
        );
        assert!(!ballast.exists(), "a reserve that is off leaves no ballast");
    }

    #[test]
    fn spare_segments_are_room_until_space_is_short_and_are_asked_for_first() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(ServerMetrics::new(1));
        let spares = |spare_bytes| {
            let counters = LaneCounters::default();
            let logs = LaneMetrics {
                spare_bytes,
                ..LaneMetrics::default()
            };
            metrics.publish(
                0,
                &LaneSample {
                    logs,
                    lane: counters,
                    ..LaneSample::default()
                },
            );
        };
        // A reserve that is out of reach without the spares.
        let reserve = u64::MAX / 4;
        spares(u64::MAX / 2);
        let ballast = folder.path().join("ballast");
        let choice = ReserveChoice::Bytes(reserve);
        let mut watched = WatchedDisk::new(folder.path(), &ballast, choice, Arc::clone(&metrics));
        assert_eq!(watched.room(), Room::Enough);
        assert_eq!(watched.look(), Advice::ReleaseSpares);
        spares(0);
        assert_eq!(watched.look(), Advice::Nothing);
        assert_eq!(watched.room(), Room::Critical);
        spares(u64::MAX / 2);
        assert_eq!(watched.look(), Advice::Nothing);
        assert_eq!(watched.room(), Room::Critical);
    }

    #[test]
    fn a_file_system_that_does_not_answer_changes_nothing() {
        let metrics = Arc::new(ServerMetrics::new(1));
        let nowhere = Path::new("/nonexistent");
        let mut watched = WatchedDisk::new(
            nowhere,
            &nowhere.join("ballast"),
            ReserveChoice::Auto,
            Arc::clone(&metrics),
        );
        watched.room = Room::Short;
        watched.look();
        assert_eq!(watched.room(), Room::Short);
        assert_eq!(ServerCells::get(&metrics.server.disk_look_failures), 2);
    }
}
