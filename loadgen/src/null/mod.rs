//! A broker that is no broker: it acknowledges without storing, as fast as a socket lets it.
//!
//! What the generator reaches against it is the generator's own limit. A claim about a real broker should stay below
//! two thirds of that. For the generator's own tests it can keep what it is sent, and lose, double, swap or delay
//! some of it on purpose.
//!
//! It speaks just enough of the protocol for a run: `ApiVersions`, `Metadata`, `CreateTopics`, `DeleteTopics`,
//! `ListOffsets`, `Produce` and `Fetch`. Nothing outlives the process.

pub mod affinity;
pub mod answers;
pub mod broker;
pub mod logs;
pub mod server;
