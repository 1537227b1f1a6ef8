//! Names that the protocol has for groups, as options take them.

use clap::ValueEnum;

/// A state, of either kind of group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// No members; offsets may be there.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// Members wait for their assignment.
    CompletingRebalance,
    /// Every member knows what it owns.
    Stable,
    /// The next assignment is worked out (newer protocol).
    Assigning,
    /// Members are on their way to the assignment (newer protocol).
    Reconciling,
    /// It is gone.
    Dead,
}

impl State {
    /// As brokers write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

/// Which protocol its members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Members join, and one of them shares out.
    Classic,
    /// The coordinator shares out (KIP-848).
    Consumer,
    /// Members share partitions record by record.
    Share,
    /// Members are parts of a Kafka Streams application.
    Streams,
}

impl Kind {
    /// As brokers write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }
}
