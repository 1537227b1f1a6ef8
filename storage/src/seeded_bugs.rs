//! Deliberate mistakes, for proving that the tests notice them.
//!
//! They exist only with the feature `seeded-bugs`, which is never a default and does not build without debug
//! assertions. `CORELANE_SEEDED_BUG` names the one that a process has. Without the feature every question below is the
//! constant `false`, and nothing of the mistakes is left.
//!
//! `storage/tests/seeded_bugs` knows which test must notice which one, and fails when one is not noticed.

#[cfg(all(feature = "seeded-bugs", not(debug_assertions)))]
compile_error!("seeded bugs are for debug builds of tests alone");

/// Whether this process is to make the mistake `name`.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn seeded_bug(name: &str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    CHOSEN
        .get_or_init(|| std::env::var("CORELANE_SEEDED_BUG").ok())
        .as_deref()
        == Some(name)
}

/// Never.
#[cfg(not(feature = "seeded-bugs"))]
pub(crate) const fn seeded_bug(_name: &str) -> bool {
    false
}
