//! What a victim's operation returned, as two words of its slate.

use shmq_engine::{AttachError, PopError, PushError};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did what it was to do.
    Done,
    /// Got this message.
    Got(u64),
    /// Got something that is no message.
    Torn,
    /// Full, or Empty.
    Refused,
    /// Anything else: an error that nothing in the experiment justifies.
    Failed(Failure),
}

/// Errors that nothing in an experiment justifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the engine's errors are")]
pub enum Failure {
    Corrupt = 1,
    Length = 2,
    Membarrier = 3,
    Forked = 4,
    Taken = 5,
    Crowded = 6,
    Other = 7,
}

const FAILURES: [Failure; 7] = [
    Failure::Corrupt,
    Failure::Length,
    Failure::Membarrier,
    Failure::Forked,
    Failure::Taken,
    Failure::Crowded,
    Failure::Other,
];

impl Answer {
    /// `{kind, detail}`; never two zeros.
    pub fn pack(self) -> [u64; 2] {
        match self {
            Self::Done => [1, 0],
            Self::Got(id) => [2, id],
            Self::Torn => [3, 0],
            Self::Refused => [4, 0],
            Self::Failed(failure) => [5, failure as u64],
        }
    }

    /// The reverse; `None` if nothing was answered.
    pub fn unpack([kind, detail]: [u64; 2]) -> Option<Self> {
        match kind {
            1 => Some(Self::Done),
            2 => Some(Self::Got(detail)),
            3 => Some(Self::Torn),
            4 => Some(Self::Refused),
            5 => FAILURES.into_iter().find(|&it| it as u64 == detail).map(Self::Failed),
            _ => None,
        }
    }
}

impl From<Result<(), PushError>> for Answer {
    fn from(pushed: Result<(), PushError>) -> Self {
        match pushed {
            Ok(()) => Self::Done,
            Err(PushError::Full) => Self::Refused,
            Err(PushError::TooLarge { .. }) => Self::Failed(Failure::Length),
            Err(PushError::Corrupt) => Self::Failed(Failure::Corrupt),
            Err(PushError::Refused) => Self::Failed(Failure::Membarrier),
            Err(PushError::Forked) => Self::Failed(Failure::Forked),
            Err(_) => Self::Failed(Failure::Other),
        }
    }
}

impl From<PopError> for Answer {
    fn from(error: PopError) -> Self {
        match error {
            PopError::Empty => Self::Refused,
            PopError::TooSmall { .. } => Self::Failed(Failure::Length),
            PopError::Corrupt => Self::Failed(Failure::Corrupt),
            PopError::Refused => Self::Failed(Failure::Membarrier),
            PopError::Forked => Self::Failed(Failure::Forked),
            _ => Self::Failed(Failure::Other),
        }
    }
}

impl From<AttachError> for Answer {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Taken { .. } => Self::Failed(Failure::Taken),
            AttachError::Crowded { .. } => Self::Failed(Failure::Crowded),
            AttachError::Membarrier { .. } => Self::Failed(Failure::Membarrier),
            _ => Self::Failed(Failure::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, FAILURES};

    #[test]
    fn every_answer_is_packed_and_unpacked() {
        let plain = [Answer::Done, Answer::Got(77), Answer::Torn, Answer::Refused];
        for answer in plain.into_iter().chain(FAILURES.map(Answer::Failed)) {
            assert_eq!(Answer::unpack(answer.pack()), Some(answer));
        }
        assert_eq!(Answer::unpack([0, 0]), None);
    }
}
