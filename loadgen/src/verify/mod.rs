//! Whether what was acknowledged came back: once, whole and in order.
//!
//! Pure: fetched bytes, acknowledgments and `now` in; counts out.

pub mod inspect;
pub mod intervals;
pub mod ledger;
