//! What the server tells of itself: one table of names, one cell for each value and lane.
//!
//! A lane counts in plain cells of its own and copies them four times a second into its [`LaneCells`], which only it
//! writes; whoever asks reads those. Nothing is shared on the data path, and nothing here is done per record.
//!
//! To add a counter, add a line to [`LANE_METRICS`] or [`SERVER_METRICS`], and to `docs/METRICS.md`, which a test compares.

pub mod cells;
pub mod exposition;

use std::cell::Cell;

use corelane_storage::LaneMetrics;

pub use cells::{LaneCells, ServerCells, ServerMetrics};

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from 0 at the start of the server; its name gets `_total`.
    Counter,
    /// Up and down.
    Gauge,
}

/// A metric: its name without the prefix `corelane_`, and where its value comes from.
#[derive(Debug)]
pub struct Metric<S> {
    /// The name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its value.
    pub read: fn(&S) -> u64,
}

/// What a lane's own code counts beside its logs. Cells of the lane's thread.
#[derive(Clone, Debug, Default)]
pub struct LaneCounters {
    /// Connections closed at once for want of a place.
    pub connections_refused: Cell<u64>,
    /// Batches refused since the disk's reserve is reached.
    pub produces_refused: Cell<u64>,
    /// Produced batches turned to the format of their topic.
    pub batches_converted_in: Cell<u64>,
    /// Stored batches turned to the format of their reader.
    pub batches_converted_out: Cell<u64>,
    /// Damaged ranges that opening logs found.
    pub damaged_at_open: Cell<u64>,
    /// Unfinished writes that opening logs cut off.
    pub torn_tails: Cell<u64>,
    /// Partitions whose logs could not be opened.
    pub partitions_unavailable: Cell<u64>,
    /// 1 while the wall clock is not believed.
    pub retention_paused: Cell<u64>,
    /// Rounds of retention over all partitions.
    pub retention_rounds: Cell<u64>,
    /// Segments that retention deleted.
    pub retention_segments: Cell<u64>,
}

impl LaneCounters {
    /// Adds to a counter.
    pub fn add(counter: &Cell<u64>, count: u64) {
        counter.set(counter.get() + count);
    }
}

/// All of a lane's numbers at one moment.
#[derive(Debug, Default)]
pub struct LaneSample {
    /// Of its logs.
    pub logs: LaneMetrics,
    /// Of its own code.
    pub lane: LaneCounters,
    /// Partitions that it leads.
    pub partitions: u64,
    /// Open connections.
    pub connections: u64,
    /// Bytes of requests sent to other lanes and not answered yet.
    pub forwarded_bytes: u64,
}

macro_rules! metrics {
    ($sample:ty: $($kind:ident $name:ident $help:literal $read:expr;)*) => {
        &[$(Metric::<$sample> { name: stringify!($name), kind: Kind::$kind, help: $help, read: $read }),*]
    };
}

/// The metrics of each lane, with the label `lane`.
pub const LANE_METRICS: &[Metric<LaneSample>] = metrics! { LaneSample:
    Counter appended_batches "Record batches taken in." |s| s.logs.appended_batches;
    Counter appended_bytes "Bytes of the record batches taken in." |s| s.logs.appended_bytes;
    Counter commits "Commit blocks made durable." |s| s.logs.commits;
    Counter commit_bytes "Bytes written for commit blocks, padding included." |s| s.logs.commit_bytes;
    Counter write_failures "Commits, reservations and creations of segments that failed for good." |s| s.logs.failures;
    Counter segments_created "Segments created." |s| s.logs.segments_created;
    Counter segments_deleted "Segments deleted, for whatever reason." |s| s.logs.segments_deleted;
    Counter retention_rounds "Times that retention looked at all partitions." |s| s.lane.retention_rounds.get();
    Counter retention_segments "Segments that retention deleted." |s| s.lane.retention_segments.get();
    Counter compactions "Compactions that went through." |s| s.logs.compactions;
    Counter compaction_read_bytes "Bytes read by compactions." |s| s.logs.compaction_read_bytes;
    Counter compaction_written_bytes "Bytes written by compactions." |s| s.logs.compaction_written_bytes;
    Counter compaction_dropped_records "Records that compactions dropped." |s| s.logs.compaction_dropped_records;
    Counter spares_taken "Segments created over a spare." |s| s.logs.spares_taken;
    Counter spares_kept "Deleted segments kept as spares." |s| s.logs.spares_kept;
    Counter spares_released "Spares given back since space was short." |s| s.logs.spares_released;
    Gauge spares "Spare segments." |s| s.logs.spares;
    Gauge spare_bytes "Disk space that spare segments hold." |s| s.logs.spare_bytes;
    Counter journal_blocks "Blocks written to the journal." |s| s.logs.journal_blocks;
    Counter journal_bytes "Bytes written to the journal, padding included." |s| s.logs.journal_bytes;
    Counter journal_entries "Small commits that rode in journal blocks." |s| s.logs.journal_entries;
    Counter settles "Partitions whose journaled records were brought into their segments on the lane's demand." |s| s.logs.settles;
    Counter reads_from_memory "Reads answered from memory alone." |s| s.logs.reads_from_memory;
    Counter disk_reads "Reads from disk, ahead or on demand." |s| s.logs.disk_reads;
    Counter disk_read_bytes "Bytes read from disk." |s| s.logs.disk_read_bytes;
    Counter damaged_ranges_read "Damaged ranges of records found while reading, and quarantined." |s| s.logs.corruptions_found;
    Counter damaged_ranges_opened "Damaged ranges of records found when logs were opened, and quarantined." |s| s.lane.damaged_at_open.get();
    Counter torn_tails "Unfinished writes cut off when logs were opened; nothing acknowledged was in them." |s| s.lane.torn_tails.get();
    Counter produces_refused "Record batches refused since the disk's reserve is reached." |s| s.lane.produces_refused.get();
    Counter batches_converted_in "Produced batches turned from the client's format to the topic's." |s| s.lane.batches_converted_in.get();
    Counter batches_converted_out "Stored batches turned from the topic's format to the client's." |s| s.lane.batches_converted_out.get();
    Counter connections_refused "Connections refused for want of a place." |s| s.lane.connections_refused.get();
    Gauge connections "Open connections." |s| s.connections;
    Gauge partitions "Partitions that the lane leads." |s| s.partitions;
    Gauge partitions_unavailable "Partitions that are not served since their logs could not be opened." |s| s.lane.partitions_unavailable.get();
    Gauge retention_paused "1 while nothing is deleted by age or size, since the wall clock jumped." |s| s.lane.retention_paused.get();
    Gauge unflushed_bytes "Bytes taken in and not durable yet." |s| s.logs.unflushed_bytes;
    Gauge tail_bytes "Memory held for readers at the tail." |s| s.logs.tail_bytes;
    Gauge read_cache_bytes "Memory held from disk reads." |s| s.logs.read_cache_bytes;
    Gauge writes_in_flight "Writes on their way to the disk." |s| s.logs.writes_in_flight;
    Gauge forwarded_bytes "Bytes of requests sent to other lanes and not answered yet." |s| s.forwarded_bytes;
};

/// The metrics of the whole server.
pub const SERVER_METRICS: &[Metric<ServerCells>] = metrics! { ServerCells:
    Gauge disk_free_bytes "Bytes that the server may still take of the data directory's file system." |s| ServerCells::get(&s.disk_free_bytes);
    Gauge disk_total_bytes "Size of the data directory's file system." |s| ServerCells::get(&s.disk_total_bytes);
    Gauge disk_reserve_bytes "Bytes kept free: below it produces are refused; 0 is off." |s| ServerCells::get(&s.disk_reserve_bytes);
    Gauge disk_ballast_bytes "The part of the reserve that is held by a file." |s| ServerCells::get(&s.disk_ballast_bytes);
    Gauge disk_room "0: room enough; 1: produces are refused; 2: committed offsets too." |s| ServerCells::get(&s.disk_room);
    Counter disk_shortages "Times that produces began to be refused for want of space." |s| ServerCells::get(&s.disk_shortages);
    Counter disk_look_failures "Times that the file system did not tell its free space." |s| ServerCells::get(&s.disk_look_failures);
    Gauge trash_directories "Directories of logs without a topic that lie in the folder trash." |s| ServerCells::get(&s.trash_directories);
    Gauge ready "1 while every lane serves." |s| ServerCells::get(&s.ready);
    Gauge start_time_seconds "When the server was started, in seconds since 1970." |s| ServerCells::get(&s.started_s);
};
