//! Which way a log's pending data takes to the disk. Pure.

/// A log with so much pending writes straight to its segment: one write for itself is as cheap as its share of a block,
/// and nothing is written twice.
pub(crate) const SEGMENT_BYTES_MIN: usize = 64 << 10;

/// More than this never rides, so that one log does not fill a block.
const RIDE_BYTES_MAX: usize = 256 << 10;

/// Which way a commit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitRoute {
    /// Nothing to do now, or something must end first.
    Wait,
    /// Straight into the log's segment; the open chunk is sealed for it.
    Segment,
    /// With others into the lane's journal.
    Journal,
}

/// What the decision looks at: a log's open chunk and what is on its way.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the decision table combines"
)]
pub(crate) struct RouteInput {
    /// Bytes of the open chunk that were never handed to the journal.
    pub(crate) pending_bytes: usize,
    /// Bytes of the open chunk in all.
    pub(crate) open_bytes: usize,
    /// Everything below the pending data is durable.
    pub(crate) follows_flushed: bool,
    /// Commits of this log on their way to its segment, or sealed for it.
    pub(crate) commits_under_way: bool,
    /// A journal block with this log's data is on its way.
    pub(crate) riding: bool,
    /// The segment's file is durable and has the space reserved, so that what rides can be found and settled.
    pub(crate) on_disk: bool,
    /// What the next journal block has room for; 0 if the ring is full or broken, or there is none.
    pub(crate) journal_room_bytes: usize,
    /// Somebody wants the log's data in its segments.
    pub(crate) settle_wanted: bool,
}

/// | pending | the rest | goes |
/// |---|---|---|
/// | none | nothing to settle | nowhere |
/// | none | to be settled, nothing under way | to the segment |
/// | much | nothing under way | to the segment |
/// | little | may ride | to the journal |
/// | little | rides already | waits for that |
/// | any | may not ride, nothing under way | to the segment |
pub(crate) fn commit_route(input: &RouteInput) -> CommitRoute {
    let may_ride = input.on_disk
        && input.follows_flushed
        && !input.riding
        && input.pending_bytes <= RIDE_BYTES_MAX.min(input.journal_room_bytes);
    if input.pending_bytes == 0 {
        let settles = input.settle_wanted && input.open_bytes > 0;
        return if settles && !input.commits_under_way && !input.riding {
            CommitRoute::Segment
        } else {
            CommitRoute::Wait
        };
    }
    let is_large = input.pending_bytes >= SEGMENT_BYTES_MIN;
    if input.commits_under_way {
        return if may_ride {
            CommitRoute::Journal
        } else {
            CommitRoute::Wait
        };
    }
    if is_large || input.settle_wanted {
        return CommitRoute::Segment;
    }
    if may_ride {
        CommitRoute::Journal
    } else if input.riding {
        CommitRoute::Wait
    } else {
        CommitRoute::Segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_table() {
        let small = RouteInput {
            pending_bytes: 100,
            open_bytes: 500,
            follows_flushed: true,
            commits_under_way: false,
            riding: false,
            on_disk: true,
            journal_room_bytes: 1 << 20,
            settle_wanted: false,
        };
        let none = RouteInput {
            pending_bytes: 0,
            ..small
        };
        let large = RouteInput {
            pending_bytes: SEGMENT_BYTES_MIN,
            ..small
        };
        let table = [
            ("little rides", small, CommitRoute::Journal),
            ("much goes alone", large, CommitRoute::Segment),
            (
                "much goes alone although it rides",
                RouteInput {
                    riding: true,
                    ..large
                },
                CommitRoute::Segment,
            ),
            (
                "little waits for its ride",
                RouteInput {
                    riding: true,
                    ..small
                },
                CommitRoute::Wait,
            ),
            (
                "no journal",
                RouteInput {
                    journal_room_bytes: 0,
                    ..small
                },
                CommitRoute::Segment,
            ),
            (
                "the first commit makes the directory",
                RouteInput {
                    on_disk: false,
                    ..small
                },
                CommitRoute::Segment,
            ),
            (
                "behind unflushed commits",
                RouteInput {
                    commits_under_way: true,
                    follows_flushed: false,
                    ..small
                },
                CommitRoute::Wait,
            ),
            (
                "beside commits that only settle",
                RouteInput {
                    commits_under_way: true,
                    ..small
                },
                CommitRoute::Journal,
            ),
            (
                "much beside commits that only settle",
                RouteInput {
                    commits_under_way: true,
                    ..large
                },
                CommitRoute::Journal,
            ),
            (
                "too much to ride",
                RouteInput {
                    commits_under_way: true,
                    pending_bytes: RIDE_BYTES_MAX + 1,
                    ..small
                },
                CommitRoute::Wait,
            ),
            ("nothing pending", none, CommitRoute::Wait),
            (
                "settling",
                RouteInput {
                    settle_wanted: true,
                    ..none
                },
                CommitRoute::Segment,
            ),
            (
                "settling takes along what is pending",
                RouteInput {
                    settle_wanted: true,
                    ..small
                },
                CommitRoute::Segment,
            ),
            (
                "settling waits for the ride",
                RouteInput {
                    settle_wanted: true,
                    riding: true,
                    ..none
                },
                CommitRoute::Wait,
            ),
            (
                "nothing to settle",
                RouteInput {
                    settle_wanted: true,
                    open_bytes: 0,
                    ..none
                },
                CommitRoute::Wait,
            ),
        ];
        for (name, input, expected) in table {
            assert_eq!(commit_route(&input), expected, "{name}");
        }
    }
}
