//! Reading the groups of a partition back from its log.

use std::rc::Rc;

use corelane_format::ids::Offset;
use corelane_format::kafka::{
    Compression, DecompressLimits, StoredBatch, decompress, records, stored_batches,
};
use thiserror::Error;

use super::host::Host;
use crate::group::{GroupRecord, Shard};
use crate::lane::Lane;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// What a batch may decompress to; batches that Corelane wrote are not compressed.
const DECOMPRESSED: DecompressLimits = DecompressLimits {
    size_bytes_max: 128 << 20,
    ratio_max: 4096,
};

/// Why the groups of a partition cannot be read.
#[derive(Debug, Error)]
#[error("at offset {offset}: {reason}")]
struct LoadError {
    offset: Offset,
    reason: String,
}

/// Loads partitions one after the other; those that hold nothing are there at once.
pub(super) fn start(lane: &Rc<Lane>, hosts: Vec<Rc<Host>>) {
    let (empty, others): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| {
        let log = &host.partition().log;
        log.log_start_offset() == log.log_end_offset()
    });
    for host in empty {
        go_live(lane, &host, new_shard(lane));
    }
    if others.is_empty() {
        return;
    }
    let lane = Rc::clone(lane);
    glommio::spawn_local(async move {
        for host in others {
            match load(&lane, &host).await {
                Ok(shard) => go_live(&lane, &host, shard),
                Err(error) => {
                    // Serving what is left would give groups offsets from before the damage.
                    tracing::error!(
                        partition = %host.partition().index, %error,
                        "the groups of a partition of __consumer_offsets cannot be read; they are not served"
                    );
                    host.give_up();
                }
            }
        }
    })
    .detach();
}

fn new_shard(lane: &Lane) -> Shard {
    let groups = lane.groups();
    Shard::new(Rc::clone(&groups.config), groups.budget.clone())
}

fn go_live(lane: &Rc<Lane>, host: &Rc<Host>, shard: Shard) {
    let groups = shard.groups_count();
    host.go_live(shard);
    let image = lane.image();
    // It may have ended meanwhile; then there is nothing to resume.
    let _ = lane
        .groups()
        .step(host, |shard, step| shard.resume(step, &image));
    if groups > 0 {
        tracing::info!(partition = %host.partition().index, groups, "groups are loaded");
    }
}

async fn load(lane: &Rc<Lane>, host: &Rc<Host>) -> Result<Shard, LoadError> {
    let log = &host.partition().log;
    let mut shard = new_shard(lane);
    let mut next = log.log_start_offset();
    let end = log.log_end_offset();
    let mut unknown = 0_usize;
    while next < end {
        lane.turns.pass().await;
        let failed = |reason: String| LoadError {
            offset: next,
            reason,
        };
        let read = log
            .read(next, end, READ_BYTES, true)
            .await
            .map_err(|error| failed(error.to_string()))?;
        for slice in &read.slices {
            for batch in stored_batches(slice.as_ref()) {
                let batch = batch.map_err(|error| failed(error.to_string()))?;
                unknown += replay(&batch, &mut shard).map_err(failed)?;
            }
        }
        if read.next_offset <= next {
            return Err(failed("no progress".into()));
        }
        next = read.next_offset;
    }
    if unknown > 0 {
        tracing::warn!(
            partition = %host.partition().index, records = unknown,
            "records of types that this version does not know were passed over"
        );
    }
    Ok(shard)
}

/// Takes a batch over. Gives the number of records that it does not know.
fn replay(batch: &StoredBatch<'_>, shard: &mut Shard) -> Result<usize, String> {
    let header = batch.header();
    if header.attributes.is_control() {
        return Ok(0);
    }
    let codec = header
        .attributes
        .compression()
        .map_err(|error| error.to_string())?;
    let decompressed;
    let section = if codec == Compression::None {
        batch.records_section()
    } else {
        decompressed = decompress(codec, batch.records_section(), DECOMPRESSED)
            .map_err(|error| error.to_string())?;
        &decompressed[..]
    };
    let mut unknown = 0;
    for record in records(header, section) {
        let record = record.map_err(|error| error.to_string())?;
        match GroupRecord::decode(record.key, record.value) {
            Ok(Some(record)) => shard.replay(&record),
            Ok(None) => unknown += 1,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(unknown)
}
