//! Opening many logs at start: some at a time, since each waits for the disk several times, and not all, since a scan
//! after a crash holds a few megabytes of buffers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use corelane_format::ids::LogId;
use corelane_storage::{LogConfig, OpenError, PartitionLog, RecoveryReport};

use super::{LaneDisk, Logs};

/// Logs that are opened at the same time.
const OPENS_MAX: usize = 8;

/// What came of opening a log.
pub(super) type OpenResult = Result<(Rc<PartitionLog<LaneDisk>>, RecoveryReport), OpenError>;

/// A log to open.
pub(super) struct OpenJob {
    pub(super) log_id: LogId,
    pub(super) directory: PathBuf,
    pub(super) config: LogConfig,
}

/// Opens them all; each has its own outcome.
pub(super) async fn open_logs(logs: &Logs, jobs: Vec<OpenJob>) -> HashMap<LogId, OpenResult> {
    let opened = Rc::new(RefCell::new(HashMap::with_capacity(jobs.len())));
    let jobs = Rc::new(RefCell::new(jobs));
    let tasks: Vec<_> = (0..OPENS_MAX)
        .map(|_| {
            let (logs, jobs, opened) = (logs.clone(), jobs.clone(), opened.clone());
            glommio::spawn_local(async move {
                loop {
                    let job = jobs.borrow_mut().pop();
                    let Some(job) = job else { return };
                    let result = logs.open_log(&job.directory, job.log_id, job.config).await;
                    opened.borrow_mut().insert(job.log_id, result);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    opened.take()
}
