//! The machine as a whole, with a clock, a log and clients that are simulated.

mod admin;
mod commits;
mod expiry;
mod histories;
mod limits;
mod membership;
mod static_members;
mod world;
