//! What a victim's operation returned, as two words of its slate.

use std::fmt;

use shmq_engine::{AttachError, PopError, PushError};

use crate::op::RUN;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did all that it was to do.
    Done,
    /// Put so many of its messages, some and not all; then Full, or shut down.
    Partly(u64),
    /// Got these messages; if that is fewer than it asked for, then Empty, or shut down.
    Got(Ids),
    /// Got something that is no message.
    Torn,
    /// Full, or Empty.
    Refused,
    /// The queue has been shut down, and nothing is left for who asks.
    ShutDown,
    /// Anything else: an error that nothing in the experiment justifies.
    Failed(Failure),
}

/// Up to [`RUN`] messages in one word, oldest first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids(u64);

const ID_BITS: u32 = 16;
const _: () = assert!(RUN * ID_BITS as usize <= 64);

impl Ids {
    /// Which they are.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        let ids = (0..RUN).map(move |at| self.0 >> (at as u32 * ID_BITS) & ((1 << ID_BITS) - 1));
        ids.take_while(|&id| id != 0)
    }
}

impl FromIterator<u64> for Ids {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let ids = ids.into_iter().take(RUN).zip((0..).step_by(ID_BITS as usize));
        Self(ids.fold(0, |word, (id, shift)| word | id << shift))
    }
}

impl From<u64> for Ids {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
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
            Self::Got(ids) => [2, ids.0],
            Self::Torn => [3, 0],
            Self::Refused => [4, 0],
            Self::Failed(failure) => [5, failure as u64],
            Self::Partly(count) => [6, count],
            Self::ShutDown => [7, 0],
        }
    }

    /// The reverse; `None` if nothing was answered.
    pub fn unpack([kind, detail]: [u64; 2]) -> Option<Self> {
        match kind {
            1 => Some(Self::Done),
            2 => Some(Self::Got(Ids(detail))),
            3 => Some(Self::Torn),
            4 => Some(Self::Refused),
            5 => FAILURES.into_iter().find(|&it| it as u64 == detail).map(Self::Failed),
            6 => Some(Self::Partly(detail)),
            7 => Some(Self::ShutDown),
            _ => None,
        }
    }
}

impl From<Result<(), PushError>> for Answer {
    fn from(pushed: Result<(), PushError>) -> Self {
        match pushed {
            Ok(()) => Self::Done,
            Err(PushError::Full) => Self::Refused,
            Err(PushError::ShutDown) => Self::ShutDown,
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
            PopError::ShutDown => Self::ShutDown,
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
    use super::{Answer, FAILURES, Ids};

    #[test]
    fn every_answer_is_packed_and_unpacked() {
        let several: Ids = [77, 3, 1002].into_iter().collect();
        assert_eq!(several.iter().collect::<Vec<_>>(), [77, 3, 1002]);
        let got = [Answer::Got(77.into()), Answer::Got(several)];
        let plain =
            [Answer::Done, Answer::Partly(2), Answer::Torn, Answer::Refused, Answer::ShutDown];
        for answer in got.into_iter().chain(plain).chain(FAILURES.map(Answer::Failed)) {
            assert_eq!(Answer::unpack(answer.pack()), Some(answer));
        }
        assert_eq!(Answer::unpack([0, 0]), None);
    }
}
