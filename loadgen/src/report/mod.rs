//! What a run measured, and how it is shown: histograms, the summary, its table, JSON and percentile files.

pub mod comparison;
pub mod dashboard;
pub mod histogram;
pub mod host;
pub mod html;
pub mod limits;
pub mod measure;
pub mod plot;
pub mod processor;
pub mod progress;
pub mod statistics;
pub mod summary;
pub mod table;
pub mod timeline;
