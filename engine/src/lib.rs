//! Lanes, partitions, coordinators, handlers.
