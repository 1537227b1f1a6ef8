//! What a shard has to do at a time to come: one queue for all of its groups and members.
//!
//! An [`Alarm`] that is put off costs nothing (a heartbeat does that to its member's): its place in the queue stays, and
//! when that comes up the alarm takes a new one. So a shard with ten thousand members needs one timer of the runtime, and
//! a heartbeat touches no queue.

use std::collections::BTreeMap;
use std::rc::Rc;

/// What an alarm is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// A member must have shown a sign of life.
    Session {
        /// The member.
        member_id: Rc<str>,
    },
    /// Somebody who was given a member id must have joined with it.
    Pending {
        /// The id given.
        member_id: Rc<str>,
    },
    /// A member of a consumer group must have given up what it is to give up.
    Revocation {
        /// The member.
        member_id: Rc<str>,
    },
    /// A member of a consumer group that speaks the classic protocol must have joined again.
    MemberJoin {
        /// The member.
        member_id: Rc<str>,
    },
    /// Such a member must have asked for its assignment.
    MemberSync {
        /// The member.
        member_id: Rc<str>,
    },
    /// The members have had their time to join.
    Join,
    /// The members have had their time to ask for their assignments.
    Sync,
}

/// Whose alarm it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerKey {
    /// The group.
    pub group_id: Rc<str>,
    /// What is due.
    pub kind: TimerKind,
}

type Place = (u64, u64);

/// A point in monotonic time, or none. Whoever drops one that is set cancels it first.
#[derive(Debug, Default)]
pub struct Alarm {
    due_ms: Option<u64>,
    place: Option<Place>,
}

impl Alarm {
    /// When it is due, if it is set.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }
}

/// An alarm's place that came up.
#[derive(Debug)]
pub struct Elapsed {
    place: Place,
    /// Whose it is.
    pub key: TimerKey,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeMap<Place, TimerKey>,
    next: u64,
}

impl Timers {
    /// Sets an alarm anew.
    pub fn set(&mut self, alarm: &mut Alarm, due_ms: u64, key: impl FnOnce() -> TimerKey) {
        alarm.due_ms = Some(due_ms);
        if let Some(place) = alarm.place {
            if place.0 <= due_ms {
                return;
            }
            self.queue.remove(&place);
        }
        let place = (due_ms, self.next);
        self.next += 1;
        self.queue.insert(place, key());
        alarm.place = Some(place);
    }

    /// Takes an alarm back.
    pub fn cancel(&mut self, alarm: &mut Alarm) {
        alarm.due_ms = None;
        if let Some(place) = alarm.place.take() {
            self.queue.remove(&place);
        }
    }

    /// When to look again: no alarm is due earlier.
    pub fn next_ms(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Takes the first place that has come up by `now_ms`. Its owner passes it to [`Timers::is_due`].
    pub fn pop(&mut self, now_ms: u64) -> Option<Elapsed> {
        let (place, _) = self.queue.first_key_value()?;
        if place.0 > now_ms {
            return None;
        }
        let (place, key) = self.queue.pop_first()?;
        Some(Elapsed { place, key })
    }

    /// Whether the alarm whose place came up is due. If it was put off it takes a new place. An alarm that is due is not set
    /// any more.
    pub fn is_due(&mut self, alarm: &mut Alarm, elapsed: &Elapsed, now_ms: u64) -> bool {
        if alarm.place != Some(elapsed.place) {
            return false;
        }
        alarm.place = None;
        match alarm.due_ms {
            Some(due_ms) if due_ms <= now_ms => {
                alarm.due_ms = None;
                true
            }
            Some(due_ms) => {
                let key = elapsed.key.clone();
                self.set(alarm, due_ms, || key);
                false
            }
            None => false,
        }
    }

    /// How many alarms have a place.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no alarm has a place.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TimerKey {
        TimerKey {
            group_id: "g".into(),
            kind: TimerKind::Join,
        }
    }

    #[test]
    fn an_alarm_that_is_put_off_comes_up_later() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        timers.set(&mut alarm, 10, key);
        timers.set(&mut alarm, 30, key);
        assert_eq!(timers.next_ms(), Some(10), "its place stayed");
        assert!(timers.pop(9).is_none());
        let elapsed = timers.pop(10).unwrap();
        assert!(!timers.is_due(&mut alarm, &elapsed, 10));
        assert_eq!(timers.next_ms(), Some(30));
        let elapsed = timers.pop(31).unwrap();
        assert!(timers.is_due(&mut alarm, &elapsed, 31));
        assert_eq!(alarm.due_ms(), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn an_alarm_that_is_brought_forward_or_cancelled_leaves_nothing_behind() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        timers.set(&mut alarm, 30, key);
        timers.set(&mut alarm, 10, key);
        assert_eq!((timers.len(), timers.next_ms()), (1, Some(10)));
        timers.cancel(&mut alarm);
        assert!(timers.is_empty());
    }
}
