//! The main thread: makes the topic, starts the load cores, keeps time, collects what they measured, settles the
//! books and cleans up. It is no load core and may block.

pub mod conductor;
pub mod control;
pub mod crew;
pub mod files;
pub mod find_max;
pub mod membership;
pub mod replay;
pub mod run;
pub mod session;
pub mod sweep;
