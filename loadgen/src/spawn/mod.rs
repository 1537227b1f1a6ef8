//! A server of our own for one run: started on a temporary folder, stopped and removed whatever happens.

pub mod ready;
pub mod server;
