//! What the command line says: quantities, core lists, the arguments, and the checked plan made of them.
//!
//! Pure: nothing here opens a file or a socket.

pub mod args;
pub mod campaigns;
pub mod cores;
pub mod objective;
pub mod plan;
pub mod quantity;
