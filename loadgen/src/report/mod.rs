//! What a run measured, and how it is shown: histograms, the summary, its table, JSON and percentile files.

pub mod histogram;
pub mod measure;
pub mod processor;
pub mod progress;
pub mod summary;
pub mod table;
