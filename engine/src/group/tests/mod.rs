//! The machine as a whole, with a clock, a log and clients that are simulated.

mod admin;
mod commits;
mod consumer_histories;
mod consumer_statics;
mod consumers;
mod expiry;
mod histories;
mod limits;
mod membership;
mod migration;
mod mixed_histories;
mod static_members;
mod world;
