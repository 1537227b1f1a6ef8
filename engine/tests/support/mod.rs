//! What the tests against a running server share: starting and stopping it, the client programs, raw requests.
//!
//! Every test crate compiles this module and uses a part of it, hence the allowance.
#![allow(dead_code)]

pub(crate) mod admin;
pub(crate) mod batch;
pub(crate) mod clients;
pub(crate) mod exchange;
pub(crate) mod groups;
pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod ports;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod small_disk;
pub(crate) mod subject;
pub(crate) mod threads;
pub(crate) mod wire;
