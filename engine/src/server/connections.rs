//! How many connections a node has, in all and from one address.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// `max.connections` and `max.connections.per.ip`, for one node.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionCaps {
    /// Connections of the node.
    pub connections_max: usize,
    /// Connections from one address.
    pub per_address_max: usize,
}

/// The open connections of one lane.
#[derive(Debug)]
pub struct Connections {
    caps: ConnectionCaps,
    open: Cell<usize>,
    by_address: RefCell<HashMap<IpAddr, usize>>,
}

/// A place that a connection holds until it is dropped.
#[derive(Debug)]
pub struct Place {
    connections: Rc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// None yet.
    pub fn new(caps: ConnectionCaps) -> Rc<Self> {
        Rc::new(Self {
            caps,
            open: Cell::new(0),
            by_address: RefCell::default(),
        })
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// A place for a connection from `address`, if there is one.
    pub fn take(self: &Rc<Self>, address: IpAddr) -> Option<Place> {
        let mut by_address = self.by_address.borrow_mut();
        let from_there = by_address.get(&address).copied().unwrap_or(0);
        if self.open.get() >= self.caps.connections_max || from_there >= self.caps.per_address_max {
            return None;
        }
        self.open.set(self.open.get() + 1);
        by_address.insert(address, from_there + 1);
        Some(Place {
            connections: Rc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.set(self.connections.open.get() - 1);
        let mut by_address = self.connections.by_address.borrow_mut();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_node_takes_nobody_until_somebody_leaves() {
        let caps = ConnectionCaps {
            connections_max: 3,
            per_address_max: 2,
        };
        let connections = Connections::new(caps);
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = connections.take(one);
        let second = connections.take(one);
        assert!(first.is_some() && second.is_some());
        assert!(connections.take(one).is_none(), "too many from one address");
        let third = connections.take(two);
        assert!(third.is_some());
        assert!(connections.take(two).is_none(), "too many in all");
        drop(first);
        assert!(connections.take(two).is_some());
        assert_eq!(connections.by_address.borrow().len(), 2);
    }
}
