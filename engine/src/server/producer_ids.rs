//! Producer ids: each lane hands them out from a block that the metadata log has reserved for it.
//!
//! Ids are never given twice: a block is durable before its first id leaves, and what a crash leaves of a block is never used.

use std::cell::Cell;
use std::rc::Rc;

use corelane_format::ids::ProducerId;
use glommio::sync::Semaphore;

use super::controller::ControllerError;
use crate::lane::Lane;

/// Ids reserved at once; Kafka's `ProducerIdsBlock` has the same size.
pub const BLOCK_IDS: i64 = 1000;

/// What is left of a lane's block: `next..end`.
pub struct ProducerIdBlock {
    next: Cell<i64>,
    end: Cell<i64>,
    refill: Semaphore,
}

impl Default for ProducerIdBlock {
    fn default() -> Self {
        Self {
            next: Cell::new(0),
            end: Cell::new(0),
            refill: Semaphore::new(1),
        }
    }
}

impl ProducerIdBlock {
    fn take(&self) -> Option<ProducerId> {
        let id = self.next.get();
        (id < self.end.get()).then(|| {
            self.next.set(id + 1);
            ProducerId::new(id)
        })
    }
}

impl Lane {
    /// A producer id that no producer had before, reserving a new block when the lane's one is used up.
    ///
    /// # Errors
    /// The block could not be reserved.
    pub async fn next_producer_id(self: &Rc<Self>) -> Result<ProducerId, ControllerError> {
        if let Some(id) = self.producer_ids().take() {
            return Ok(id);
        }
        // As a task of its own: it holds the lane's refill, and the connection that asked may go away or wait in line.
        self.mesh
            .call(self.index, |lane: Rc<Self>| async move {
                lane.refill_producer_ids().await
            })
            .await?
    }

    async fn refill_producer_ids(self: Rc<Self>) -> Result<ProducerId, ControllerError> {
        let _refill = self
            .producer_ids()
            .refill
            .acquire_permit(1)
            .await
            .map_err(|error| ControllerError::Log {
                reason: error.to_string(),
            })?;
        loop {
            // Another request may have refilled the block meanwhile.
            if let Some(id) = self.producer_ids().take() {
                return Ok(id);
            }
            let first = self
                .decide(|known| crate::metadata::allocate_producer_ids(known.image, BLOCK_IDS))
                .await?;
            self.producer_ids().next.set(first);
            self.producer_ids().end.set(first + BLOCK_IDS);
        }
    }
}
