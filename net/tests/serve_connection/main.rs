//! The connection driver on loopback, one behaviour a module.

mod back_pressure;
mod client;
mod closing;
mod late_reader;
mod limits;
mod order;
mod support;
mod versions;
