//! What can go wrong, and what to do about it. A put that fails hands its value back.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

use shmq_engine::{AttachError, PopError, PushError};
use thiserror::Error;

use crate::wire::{DecodeError, EncodeError};

/// Why a queue could not be created.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// An option is out of range, the name is taken, or the system refused.
    #[error(transparent)]
    Engine(shmq_engine::CreateError),
}

impl CreateError {
    /// In the words of this crate.
    pub(crate) fn from_engine(error: shmq_engine::CreateError) -> Self {
        use shmq_engine::CreateError::Option;
        Self::Engine(match error {
            Option { option: "capacity", given, min, max } => {
                Option { option: "maxsize", given, min, max }
            }
            error => error,
        })
    }
}

/// Why a value was not put. It is in here: see [`PutError::into_inner`].
#[derive(Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// Values and puts in progress fill the queue (and still did when the time was over).
    #[error("the queue is full")]
    Full(T),
    /// The value is too long for this queue, once encoded.
    #[error(
        "the value takes {len} bytes and message_max is {max}; \
         create the queue with a larger message_max"
    )]
    TooLarge {
        /// The value.
        value: T,
        /// Its length, in bytes.
        len: usize,
        /// The longest that fits, in bytes.
        max: usize,
    },
    /// There is no memory for the value, now. Nothing is lost, and the queue works on.
    #[error("the value was not put")]
    NoMemory {
        /// The value.
        value: T,
        /// What was spent, and what to do about it.
        source: PushError,
    },
    /// The value could not be encoded. No place was used.
    #[error("the value was not put")]
    Encode {
        /// The value.
        value: T,
        /// Why.
        source: EncodeError,
    },
    /// This thread cannot put: too many threads are at work on the queue already (see
    /// [`Builder::participants`](crate::Builder::participants)).
    #[error("cannot attach to put")]
    Attach {
        /// The value.
        value: T,
        /// Why.
        source: AttachError,
    },
    /// The queue itself is unusable.
    #[error("the queue cannot be used")]
    Engine {
        /// The value.
        value: T,
        /// Why.
        source: PushError,
    },
}

impl<T> PutError<T> {
    /// The value that was not put.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::TooLarge { value, .. }
            | Self::NoMemory { value, .. }
            | Self::Encode { value, .. }
            | Self::Attach { value, .. }
            | Self::Engine { value, .. } => value,
        }
    }

    /// Was the queue full?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Without the value, which need not be `Debug`.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PutError");
        shown.field("why", &format_args!("{self}"));
        if let Some(source) = self.source() {
            shown.field("source", &source);
        }
        shown.finish_non_exhaustive()
    }
}

/// Why no value was got.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no value (and there was none until the time was over).
    #[error("the queue is empty")]
    Empty,
    /// The message is no value of this type. It has left the queue and is lost.
    #[error("the message was taken and is no value of this type; use one type on both sides")]
    Decode {
        /// Why.
        source: DecodeError,
    },
    /// This thread cannot get: too many threads are at work on the queue already (see
    /// [`Builder::participants`](crate::Builder::participants)).
    #[error("cannot attach to get")]
    Attach {
        /// Why.
        source: AttachError,
    },
    /// The queue itself is unusable.
    #[error("the queue cannot be used")]
    Engine {
        /// Why.
        source: PopError,
    },
}

/// Why a queue was not handed to a child, or not received there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The name for the child cannot be one.
    #[error("{name:?} is no name for a queue; use 1 to 64 letters, digits, '_' or '-'")]
    Name {
        /// The name.
        name: String,
    },
    /// Nobody handed this process a queue of that name.
    #[error(
        "{variable} is not set: this process was not started with a queue of that name; \
         call Queue::inherit with the Command that starts it, after any env_clear"
    )]
    Missing {
        /// The environment variable.
        variable: String,
    },
    /// The environment variable is not what [`Queue::inherit`](crate::Queue::inherit) writes.
    #[error("{variable} is {value:?}, which is not what Queue::inherit writes")]
    Malformed {
        /// The environment variable.
        variable: String,
        /// Its value.
        value: OsString,
    },
    /// The descriptor is not open: the variable was passed on, the descriptor was not.
    #[error(
        "{variable} speaks of descriptor {fd}, which is not open; \
         a process hands a queue to its own child by Queue::inherit"
    )]
    Closed {
        /// The environment variable.
        variable: String,
        /// The descriptor.
        fd: RawFd,
    },
    /// What is there cannot be attached to.
    #[error("{variable} does not lead to a queue")]
    Attach {
        /// The environment variable.
        variable: String,
        /// Why.
        source: AttachError,
    },
    /// A queue is there, and another one than was handed over.
    #[error("{variable} leads to another queue: expected uuid {expected}, found {found}")]
    Other {
        /// The environment variable.
        variable: String,
        /// The uuid of the queue that was handed over.
        expected: String,
        /// The uuid of the queue found.
        found: String,
    },
    /// A system call failed.
    #[error("{call} failed")]
    Os {
        /// The call.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
}
