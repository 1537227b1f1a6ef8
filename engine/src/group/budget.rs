//! The memory that the groups of a lane may take, whatever their members send.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that the groups of a lane hold, and may hold. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Rc<State>);

#[derive(Debug)]
struct State {
    used_bytes: Cell<usize>,
    bytes_max: usize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Rc<State>,
    size_bytes: usize,
}

impl Budget {
    /// A budget of `bytes_max`, unused.
    pub fn new(bytes_max: usize) -> Self {
        Self(Rc::new(State {
            used_bytes: Cell::new(0),
            bytes_max,
        }))
    }

    /// Whether `size_bytes` more are within the budget.
    pub fn has_room(&self, size_bytes: usize) -> bool {
        self.0.used_bytes.get().saturating_add(size_bytes) <= self.0.bytes_max
    }

    /// Takes `size_bytes`, even beyond the budget: what was durable before is read back in any case, and what makes room must
    /// not be refused. Ask [`Budget::has_room`] before.
    pub fn take(&self, size_bytes: usize) -> Charge {
        self.0
            .used_bytes
            .set(self.0.used_bytes.get().saturating_add(size_bytes));
        Charge {
            budget: Rc::clone(&self.0),
            size_bytes,
        }
    }

    /// Bytes held.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.get()
    }
}

impl Charge {
    /// Bytes held by this one.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let used = &self.budget.used_bytes;
        used.set(used.get().saturating_sub(self.size_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let budget = Budget::new(10);
        let first = budget.take(6);
        assert!(budget.has_room(4) && !budget.has_room(5));
        let beyond = budget.take(20);
        assert!(!budget.has_room(0));
        drop(first);
        drop(beyond);
        assert_eq!(budget.used_bytes(), 0);
    }
}
