//! Micro-benchmarks of the hot steps (`cargo bench -p corelane-benches`), gates on what a request may cost (`gates`), and
//! races against peers (`compare/`).
//!
//! The library is what the programs here share: requests as a client sends them, and the hot steps one after the other.

pub mod null_disk;
pub mod requests;
pub mod steps;
