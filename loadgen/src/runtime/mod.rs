//! The shells: one pinned executor per load core, and the tasks that move batches between the pure parts and sockets.
//!
//! Nothing here decides anything that can be decided elsewhere: when a batch is due, what it holds, what a fetched
//! byte means and what a number is worth all come from the pure rooms.

pub mod alarm;
pub mod backstop;
pub mod consumer;
pub mod core;
pub mod executor;
pub mod messages;
pub mod producer;
pub mod setup;
pub mod turns;
pub mod window;
pub mod worker;
