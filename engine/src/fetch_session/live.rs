//! A session on its lane: joined with the logs that ring for it, and kept in the lane's cache.
//!
//! Each visited partition of this lane leaves a waker in its log. What rings is collected in the session's bell and counts as
//! due from the next pass on. The bell may be touched by wakers from anywhere, hence its lock, which nobody contends for:
//! a lane's logs ring on the lane.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use corelane_net::error_code::ErrorCode;
use corelane_net::fetch::{FetchRequest, IsolationLevel};
use corelane_storage::ProgressWaiter;

use super::cache::SessionCache;
use super::session::{EPOCH_FINAL, EPOCH_INITIAL, FetchSession, Naming, size_bytes_of};
use crate::lane::LaneDisk;
use crate::partition::Log;

/// What rang since the last look.
#[derive(Default)]
struct Rung {
    slots: Vec<u32>,
    /// The fetch that waits for the bell.
    task: Option<Waker>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Rung> {
        // Nothing panics while it is held; and if it did, a list of numbers is sound all the same.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_task(&self) {
        let task = self.lock().task.take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// One partition's string to the bell.
struct BellString {
    bell: Arc<Bell>,
    slot: u32,
}

impl Wake for BellString {
    fn wake(self: Arc<Self>) {
        self.bell.lock().slots.push(self.slot);
        self.bell.wake_task();
    }
}

struct Watch {
    waiter: ProgressWaiter<LaneDisk>,
    waker: Waker,
}

/// A session that a lane keeps.
pub struct LiveSession {
    /// Its id.
    pub id: i32,
    /// What it knows. Never held across an await.
    pub state: RefCell<FetchSession>,
    bell: Arc<Bell>,
    watches: RefCell<Vec<Option<Watch>>>,
}

impl LiveSession {
    fn new(id: i32, state: FetchSession) -> Self {
        Self {
            id,
            state: RefCell::new(state),
            bell: Arc::default(),
            watches: RefCell::default(),
        }
    }

    /// Counts what rang since the last call as due.
    pub fn hear(&self) {
        let slots = std::mem::take(&mut self.bell.lock().slots);
        let mut state = self.state.borrow_mut();
        for slot in slots {
            state.mark_due(slot);
        }
    }

    /// Has the log ring for this partition, once. Read the log after that.
    pub fn watch(&self, slot: u32, log: &Rc<Log>) {
        let mut watches = self.watches.borrow_mut();
        let at = slot as usize;
        if watches.len() <= at {
            watches.resize_with(at + 1, || None);
        }
        let is_known = watches[at]
            .as_ref()
            .is_some_and(|watch| Rc::ptr_eq(watch.waiter.log(), log));
        if !is_known {
            watches[at] = Some(Watch {
                waiter: log.progress_waiter(),
                waker: Waker::from(Arc::new(BellString {
                    bell: Arc::clone(&self.bell),
                    slot,
                })),
            });
        }
        if let Some(watch) = &mut watches[at] {
            watch.waiter.register(&watch.waker);
        }
    }

    fn unwatch(&self, slots: &[u32]) {
        let mut watches = self.watches.borrow_mut();
        for slot in slots {
            if let Some(watch) = watches.get_mut(*slot as usize) {
                *watch = None;
            }
        }
    }

    /// Whether something rang; if not, the task is woken when it does.
    pub fn poll_rung(&self, context: &Context<'_>) -> bool {
        let mut rung = self.bell.lock();
        if !rung.slots.is_empty() {
            return true;
        }
        rung.task = Some(context.waker().clone());
        false
    }
}

/// What a request's session fields ask for.
pub enum Begun {
    /// Everything that the request names; a session is made of it if `is_new_session`.
    Full {
        /// Whether the client wants a session.
        is_new_session: bool,
    },
    /// What a session has, at this epoch.
    Incremental {
        /// The session.
        session: Rc<LiveSession>,
        /// The epoch that it went on to; if it has another one at the end, another fetch overtook this one.
        epoch: i32,
    },
    /// The client must begin anew.
    Refused(ErrorCode),
}

/// The sessions of a lane.
pub struct FetchSessions {
    cache: RefCell<SessionCache<Rc<LiveSession>>>,
    /// Bytes that one session may have.
    session_bytes_max: usize,
    lane: i32,
    lanes: i32,
    started: Instant,
    drawn: Cell<u64>,
}

impl FetchSessions {
    /// No sessions yet, for lane `lane` of `lanes`.
    pub fn new(slots_max: usize, bytes_max: usize, lane: usize, lanes: usize) -> Self {
        Self {
            cache: RefCell::new(SessionCache::new(slots_max, bytes_max)),
            session_bytes_max: bytes_max / 2,
            lane: i32::try_from(lane).unwrap_or(0),
            lanes: i32::try_from(lanes).unwrap_or(1).max(1),
            started: Instant::now(),
            drawn: Cell::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Looks at a request's session fields, in the order of arrival: ends, finds and updates sessions.
    pub fn begin(&self, request: &FetchRequest, version: i16, isolation: IsolationLevel) -> Begun {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == EPOCH_INITIAL || epoch == EPOCH_FINAL {
            let ended = self.cache.borrow_mut().remove(id);
            // A fetch of it that still waits has nobody to answer.
            if let Some(session) = ended {
                session.bell.wake_task();
            }
            return Begun::Full {
                is_new_session: epoch == EPOCH_INITIAL,
            };
        }
        let mut cache = self.cache.borrow_mut();
        let Some(session) = cache.get(id).cloned() else {
            return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
        };
        let mut state = session.state.borrow_mut();
        if let Err(code) = state.check(epoch, Naming::of_version(version)) {
            return Begun::Refused(code);
        }
        // At most, since the request may name what the session has already.
        let more_bytes = size_bytes_of(&request.topics);
        if !cache.can_grow(more_bytes) || state.size_bytes() + more_bytes > self.session_bytes_max {
            drop(state);
            cache.remove(id);
            return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
        }
        let gone = state.update(&request.topics, &request.forgotten_topics);
        session.unwatch(&gone);
        state.advance(isolation);
        if state.is_empty() {
            drop(state);
            cache.remove(id);
            return Begun::Full {
                is_new_session: false,
            };
        }
        cache.touch(id, state.len(), state.size_bytes(), self.now_ms());
        let epoch = state.epoch();
        drop(state);
        // An earlier fetch of this session that still waits was overtaken.
        session.bell.wake_task();
        Begun::Incremental { session, epoch }
    }

    /// Keeps a session that a full fetch asked for, if there is room. Returns its id, 0 if there is none.
    pub fn create(&self, state: FetchSession) -> i32 {
        let (partitions, size_bytes) = (state.len(), state.size_bytes());
        let now_ms = self.now_ms();
        let mut cache = self.cache.borrow_mut();
        if partitions == 0
            || size_bytes > self.session_bytes_max
            || !cache.make_room(partitions, size_bytes, now_ms)
        {
            return 0;
        }
        cache.insert(
            || self.draw_id(),
            |id| Rc::new(LiveSession::new(id, state)),
            partitions,
            size_bytes,
            now_ms,
        )
    }

    /// Whether a session for this request would be kept as far as its size tells, before anything is made of it.
    pub fn may_create(&self, request: &FetchRequest) -> bool {
        size_bytes_of(&request.topics) <= self.session_bytes_max
    }

    /// A positive number that no other lane draws: a client that comes back to another lane of a shared port must not find
    /// somebody else's session there.
    fn draw_id(&self) -> i32 {
        self.drawn.set(self.drawn.get() + 1);
        let number = RandomState::new().hash_one(self.drawn.get());
        let number = i32::try_from(number & 0x3fff_ffff).unwrap_or(0);
        number - number % self.lanes + self.lane
    }
}
