//! Micro-benchmarks of the hot steps (`cargo bench -p corelane-benches`), and races against peers (`compare/`).
