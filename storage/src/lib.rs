//! Partition logs at rest.
