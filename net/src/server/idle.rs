//! When to give up on a connection, judged by a coarse tick and not by a clock read for each request.
//!
//! The data path only leaves marks in [`Activity`]; a tick, four to a limit, compares them with what it saw
//! before. A limit is therefore kept to within a quarter of itself.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use std::task::Waker;

use super::CloseReason;

/// What the driver leaves for the tick to find.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Bytes moved in either direction since the tick before.
    pub(super) moved: Cell<bool>,
    /// Frames completed so far.
    pub(super) frames: Cell<u64>,
    /// The driver is waiting for the rest of a frame.
    pub(super) in_frame: Cell<bool>,
    /// Requests wait for the service: the connection is not idle, however quiet.
    pub(super) unfinished: Cell<bool>,
    /// The receive buffer is larger than it has to be.
    pub(super) bloated: Cell<bool>,
    /// What the tick decided; the driver takes it.
    pub(super) verdict: Cell<Option<Verdict>>,
    /// Wakes the driver.
    waker: RefCell<Option<Waker>>,
}

impl Activity {
    /// Remembers how to wake the driver.
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Hands the driver a verdict.
    pub(super) fn deliver(&self, verdict: Verdict) {
        self.verdict.set(Some(verdict));
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What a tick decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Give the memory of the receive buffer back.
    Trim,
    /// Close: a frame took too long.
    FrameDeadline,
    /// Close: nothing moved for too long.
    Idle,
}

/// Counts ticks. Pure.
#[derive(Debug)]
pub(super) struct IdleJudge {
    frame_ticks_max: u64,
    idle_ticks_max: u64,
    frames_seen: u64,
    frame_ticks: u64,
    idle_ticks: u64,
}

const TICKS_PER_LIMIT: u64 = 4;

impl IdleJudge {
    pub(super) fn new(frame_deadline_ms: u64, idle_ms_max: u64) -> Self {
        let tick_ms = Self::tick_ms(frame_deadline_ms, idle_ms_max);
        Self {
            frame_ticks_max: frame_deadline_ms.div_ceil(tick_ms),
            idle_ticks_max: idle_ms_max.div_ceil(tick_ms),
            frames_seen: 0,
            frame_ticks: 0,
            idle_ticks: 0,
        }
    }

    fn tick_ms(frame_deadline_ms: u64, idle_ms_max: u64) -> u64 {
        (frame_deadline_ms.min(idle_ms_max) / TICKS_PER_LIMIT).max(1)
    }

    /// Time between two ticks.
    pub(super) fn tick(frame_deadline_ms: u64, idle_ms_max: u64) -> Duration {
        Duration::from_millis(Self::tick_ms(frame_deadline_ms, idle_ms_max))
    }

    /// One tick went by.
    pub(super) fn judge(&mut self, activity: &Activity) -> Option<Verdict> {
        let frames = activity.frames.get();
        let same_frame = activity.in_frame.get() && frames == self.frames_seen;
        self.frame_ticks = if same_frame { self.frame_ticks + 1 } else { 0 };
        self.frames_seen = frames;
        let quiet = !activity.moved.take() && !activity.unfinished.get();
        self.idle_ticks = if quiet { self.idle_ticks + 1 } else { 0 };
        // The first tick that finds a frame may come right after its first byte, so one more must pass.
        if self.frame_ticks > self.frame_ticks_max {
            Some(Verdict::FrameDeadline)
        } else if self.idle_ticks > self.idle_ticks_max {
            Some(Verdict::Idle)
        } else if quiet && activity.bloated.get() {
            Some(Verdict::Trim)
        } else {
            None
        }
    }
}

impl Verdict {
    /// The reason to close, if this is one.
    pub(super) fn close_reason(
        self,
        frame_deadline_ms: u64,
        idle_ms_max: u64,
    ) -> Option<CloseReason> {
        match self {
            Self::Trim => None,
            Self::FrameDeadline => Some(CloseReason::FrameDeadline {
                limit_ms: frame_deadline_ms,
            }),
            Self::Idle => Some(CloseReason::Idle {
                limit_ms: idle_ms_max,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, IdleJudge};

    /// Each line is a connection's life, one letter a tick:
    /// `.` nothing, `m` bytes moved, `p` inside a frame (bytes moved), `q` inside a frame (nothing moved),
    /// `n` a frame was completed and another begun, `w` waiting for the service, `b` nothing, with a large buffer.
    /// Behind the arrow what each tick decides: `-` nothing, `F` frame deadline, `I` idle, `T` trim.
    #[test]
    fn judgements_by_table() {
        // The frame deadline is 4 ticks, the idle limit 8.
        let table = "
            mmmmmmmmmmmm -> ------------
            ........     -> --------
            .........    -> --------I
            m........    -> ---------
            m.........   -> ---------I
            pppp         -> ----
            ppppp        -> ----F
            qqqqq        -> ----F
            npppnpppnppp -> ------------
            nppppp       -> -----F
            wwwwwwwwwwww -> ------------
            wwwwww...... -> ------------
            ....m....    -> ---------
            mb.b         -> -T-T
        ";
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (life, expected) = line.split_once("->").unwrap();
            let mut judge = IdleJudge::new(4_000, 8_000);
            let activity = Activity::default();
            let mut verdicts = String::new();
            for letter in life.trim().chars() {
                activity.moved.set("mpn".contains(letter));
                activity.in_frame.set("pqn".contains(letter));
                activity.unfinished.set(letter == 'w');
                activity.bloated.set(letter == 'b');
                if letter == 'n' {
                    activity.frames.set(activity.frames.get() + 1);
                }
                verdicts.push(judge.judge(&activity).map_or('-', |verdict| match verdict {
                    super::Verdict::Trim => 'T',
                    super::Verdict::FrameDeadline => 'F',
                    super::Verdict::Idle => 'I',
                }));
            }
            assert_eq!(verdicts, expected.trim(), "{line}");
        }
    }
}
