//! The `corelane` binary: the server, and the tools that look after it.
#![forbid(unsafe_code)]

mod cli;

/// Measured against the system's: about half the time for a task's allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
