//! When space is short. Pure.
//!
//! ```text
//! room = free - ballast that is missing - accepted and not written yet
//!
//! 0 ....... reserve/4 .............. reserve ........ reserve * 5/4 ........
//!  critical           short                  (as before)            enough
//! ```

/// The least that the automatic reserve wants to be, in bytes.
const AUTO_RESERVE_BYTES: u64 = 1 << 30;
/// The automatic reserve is at least this part of the disk ...
const AUTO_PART_MIN: u64 = 50;
/// ... and at most this one, so that small disks can be used.
const AUTO_PART_MAX: u64 = 10;
/// The ballast is this part of the reserve ...
const BALLAST_PART: u64 = 8;
/// ... and never larger than this, in bytes: metadata is small.
const BALLAST_BYTES_MAX: u64 = 32 << 20;

/// How much of the disk is kept free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReserveChoice {
    /// The larger of 1 GiB and a fiftieth of the disk, but no more than a tenth of it.
    #[default]
    Auto,
    /// So many bytes; 0 keeps nothing free.
    Bytes(u64),
}

/// What the file system says of itself, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still take.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
}

/// Whether there is room for more data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Room {
    /// Everything is served.
    #[default]
    Enough,
    /// Produces are refused; what internal topics write for readers is taken.
    Short,
    /// Nothing is taken but metadata.
    Critical,
}

impl Room {
    /// Whether clients' records are taken.
    pub fn takes_produces(self) -> bool {
        self == Self::Enough
    }

    /// Whether internal topics may grow: committed offsets.
    pub fn takes_internal_writes(self) -> bool {
        self != Self::Critical
    }

    /// As [`Room`] `as u8`.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Enough,
            1 => Self::Short,
            _ => Self::Critical,
        }
    }
}

/// The limits on one disk, in bytes. All zero: nothing is kept free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// What is kept free.
    pub reserve_bytes: u64,
    /// The part of it that is a file.
    pub ballast_bytes: u64,
}

impl Headroom {
    /// The limits for a disk of `total_bytes`.
    pub fn new(choice: ReserveChoice, total_bytes: u64) -> Self {
        let reserve_bytes = match choice {
            ReserveChoice::Bytes(bytes) => bytes,
            ReserveChoice::Auto => AUTO_RESERVE_BYTES
                .max(total_bytes / AUTO_PART_MIN)
                .min(total_bytes / AUTO_PART_MAX),
        };
        Self {
            reserve_bytes,
            ballast_bytes: (reserve_bytes / BALLAST_PART).min(BALLAST_BYTES_MAX) & !4095,
        }
    }

    /// Whether nothing is kept free.
    pub fn is_off(&self) -> bool {
        self.reserve_bytes == 0
    }

    /// Room from which everything is served again.
    pub fn enough_from_bytes(&self) -> u64 {
        self.reserve_bytes.saturating_add(self.reserve_bytes / 4)
    }

    /// Bytes that count as room: the ballast's place is its own even while it is not there, and what was accepted and
    /// has not reached the disk yet has taken its place already. Space reserved for segments is no longer free for the
    /// file system, so that writing into it takes nothing.
    pub fn room_bytes(&self, space: DiskSpace, ballast_bytes: u64, unflushed_bytes: u64) -> u64 {
        let missing = self.ballast_bytes.saturating_sub(ballast_bytes);
        space
            .free_bytes
            .saturating_sub(missing)
            .saturating_sub(unflushed_bytes)
    }

    /// The decision, given the one before. What is short stays so until there is a quarter more than the reserve, so that
    /// service does not flap.
    pub fn decide(&self, before: Room, room_bytes: u64) -> Room {
        if self.is_off() || room_bytes >= self.enough_from_bytes() {
            Room::Enough
        } else if room_bytes < self.reserve_bytes / 4 {
            Room::Critical
        } else if room_bytes < self.reserve_bytes {
            Room::Short
        } else {
            before.min(Room::Short)
        }
    }

    /// Whether the ballast should be there: given back when less than its own size is free beside it, made when
    /// everything is served.
    pub fn wants_ballast(&self, room: Room, space: DiskSpace, is_there: bool) -> bool {
        if is_there {
            space.free_bytes >= self.ballast_bytes
        } else {
            room == Room::Enough && self.ballast_bytes > 0
        }
    }

    /// Whether to look often: the next second could use up what is left.
    pub fn is_near(&self, room: Room, room_bytes: u64) -> bool {
        room != Room::Enough || room_bytes / 4 < self.enough_from_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;
    const G: u64 = 1 << 30;

    #[test]
    fn reserves() {
        for (name, choice, total, reserve, ballast) in [
            (
                "a small disk",
                ReserveChoice::Auto,
                256 * M,
                256 * M / 10,
                3_354_624,
            ),
            ("a usual disk", ReserveChoice::Auto, 40 * G, G, 32 * M),
            (
                "a large disk",
                ReserveChoice::Auto,
                1000 * G,
                20 * G,
                32 * M,
            ),
            (
                "as told",
                ReserveChoice::Bytes(80 * M),
                256 * M,
                80 * M,
                10 * M,
            ),
            ("off", ReserveChoice::Bytes(0), 40 * G, 0, 0),
            ("no disk at all", ReserveChoice::Auto, 0, 0, 0),
        ] {
            let expected = Headroom {
                reserve_bytes: reserve,
                ballast_bytes: ballast,
            };
            assert_eq!(Headroom::new(choice, total), expected, "{name}");
        }
    }

    #[test]
    fn decisions() {
        use Room::{Critical, Enough, Short};
        let headroom = Headroom::new(ReserveChoice::Bytes(100), G);
        let off = Headroom::default();
        for (limits, before, room, expected) in [
            (headroom, Enough, 1000, Enough),
            (headroom, Enough, 100, Enough),
            (headroom, Enough, 99, Short),
            (headroom, Short, 100, Short),
            (headroom, Short, 124, Short),
            (headroom, Short, 125, Enough),
            (headroom, Short, 24, Critical),
            (headroom, Critical, 25, Short),
            (headroom, Critical, 110, Short),
            (headroom, Critical, 125, Enough),
            (off, Critical, 0, Enough),
        ] {
            assert_eq!(
                limits.decide(before, room),
                expected,
                "{before:?}, then {room}"
            );
        }
    }

    #[test]
    fn what_counts_as_room() {
        let headroom = Headroom {
            reserve_bytes: 800,
            ballast_bytes: 100,
        };
        for (free, ballast, unflushed, expected) in [
            (1000, 100, 0, 1000),
            (1000, 0, 0, 900),
            (1000, 40, 300, 640),
            (50, 0, 0, 0),
            (50, 100, 51, 0),
        ] {
            let space = DiskSpace {
                free_bytes: free,
                total_bytes: 10_000,
            };
            assert_eq!(headroom.room_bytes(space, ballast, unflushed), expected);
        }
    }

    #[test]
    fn the_ballast_goes_when_nothing_else_is_left_and_comes_back_last() {
        let headroom = Headroom {
            reserve_bytes: 800,
            ballast_bytes: 100,
        };
        for (room, free, is_there, expected) in [
            (Room::Enough, 5000, false, true),
            (Room::Enough, 5000, true, true),
            (Room::Critical, 100, true, true),
            (Room::Critical, 99, true, false),
            (Room::Critical, 199, false, false),
            (Room::Short, 900, false, false),
        ] {
            let space = DiskSpace {
                free_bytes: free,
                total_bytes: 10_000,
            };
            assert_eq!(
                headroom.wants_ballast(room, space, is_there),
                expected,
                "{room:?} {free}"
            );
        }
        assert!(!Headroom::default().wants_ballast(
            Room::Enough,
            DiskSpace {
                free_bytes: 9,
                total_bytes: 9
            },
            false
        ));
    }
}
