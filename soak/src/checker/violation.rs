//! What is wrong, and which operations show it.

use std::fmt;

use crate::history::Operation;

/// So many of each pattern are reported: the first ones say it all.
pub(super) const SHOWN_MAX: usize = 5;

/// What no FIFO queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// P1: got, but not put before that.
    ThinAir,
    /// P1: got, but not as it was put.
    Torn,
    /// P2: got twice.
    Duplicate,
    /// P3: got out of order.
    Order,
    /// P3 or P4: put and never got, though it cannot still be inside.
    Lost,
    /// P4: Empty, with a message inside all the time.
    FalseEmpty,
    /// P5: Full, with a place free all the time.
    FalseFull,
    /// P5, mildly: Full, with a place free that had been passed over for a put that ended since.
    LateFull,
    /// P6: more inside than the queue holds.
    Overflow,
    /// Not a history: a message was put twice.
    Malformed,
    /// Not decided: too many killed gets and missing messages around one Empty.
    Undecided,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThinAir => "P1 thin air",
            Self::Torn => "P1 torn",
            Self::Duplicate => "P2 duplicate",
            Self::Order => "P3 order",
            Self::Lost => "P3 lost",
            Self::FalseEmpty => "P4 false empty",
            Self::FalseFull => "P5 false full",
            Self::LateFull => "P5 late full",
            Self::Overflow => "P6 overflow",
            Self::Malformed => "malformed history",
            Self::Undecided => "undecided",
        })
    }
}

/// A pattern that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub pattern: Pattern,
    /// In words.
    pub why: String,
    /// The operations that make it up.
    pub operations: Vec<Operation>,
}

impl Violation {
    pub(super) fn new(pattern: Pattern, why: String, operations: &[&Operation]) -> Self {
        Self { pattern, why, operations: operations.iter().map(|&&operation| operation).collect() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pattern, self.why)?;
        self.operations.iter().try_for_each(|operation| write!(f, "\n    {operation}"))
    }
}
