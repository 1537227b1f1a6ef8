//! What load is offered: when each batch is due, who sends it where, and what bytes it holds.
//!
//! Pure: no clock, socket or runtime; `now` is always an argument.

pub mod arrivals;
pub mod assignment;
pub mod links;
pub mod payload;
pub mod schedule;
pub mod search;
pub mod skew;
pub mod template;
