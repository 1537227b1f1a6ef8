//! The `corelane-loadgen` binary.
fn main() {}
