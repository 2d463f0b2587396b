//! What can go wrong, and what to do about it. A put that fails hands its value back.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

use shmq_engine::{AttachError, PopError, PushError};
use thiserror::Error;

use crate::task::chain;
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
///
/// The alternate form, `{error:#}`, says also what caused it.
#[derive(Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// Values and puts in progress fill the queue (and still did when the time was over).
    #[error("the queue is full")]
    Full(T),
    /// The queue has been [shut down](crate::Queue::shutdown): nobody puts any more.
    #[error("the queue has been shut down")]
    ShutDown(T),
    /// This process has [closed](crate::Queue::close) its handle.
    #[error("{what} is closed")]
    Closed {
        /// The value.
        value: T,
        /// What was closed, as Python's message has it: `Queue <...>`.
        what: String,
    },
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
    #[error(fmt = not_put)]
    NoMemory {
        /// The value.
        value: T,
        /// What was spent, and what to do about it.
        source: PushError,
    },
    /// The value could not be encoded. No place was used.
    #[error(fmt = not_put)]
    Encode {
        /// The value.
        value: T,
        /// Why.
        source: EncodeError,
    },
    /// This thread cannot put: too many threads have a place at the queue already (see
    /// [`Builder::participants`](crate::Builder::participants)).
    #[error(fmt = not_attached_to_put)]
    Attach {
        /// The value.
        value: T,
        /// Why.
        source: AttachError,
    },
    /// The queue itself is unusable.
    #[error(fmt = not_usable_to_put)]
    Engine {
        /// The value.
        value: T,
        /// Why.
        source: PushError,
    },
}

fn not_put<T>(_: &T, source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    caused("the value was not put", source, f)
}

fn not_attached_to_put<T>(_: &T, source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    caused("cannot attach to put", source, f)
}

fn not_usable_to_put<T>(_: &T, source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    unusable(source, f)
}

fn unusable(source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    caused("the queue cannot be used", source, f)
}

/// With the causes, in the alternate form: that is what travels from a task that fails.
fn caused(what: &str, source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(what)?;
    if f.alternate() { write!(f, ": {}", chain(source)) } else { Ok(()) }
}

impl<T> PutError<T> {
    /// The value that was not put.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::ShutDown(value)
            | Self::Closed { value, .. }
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

    /// Had the queue been shut down?
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown(_))
    }

    pub(crate) fn into_refused(self) -> Refused {
        match self {
            Self::Full(_) => Refused::Push(PushError::Full),
            Self::ShutDown(_) => Refused::Push(PushError::ShutDown),
            Self::Closed { what, .. } => Refused::Closed { what },
            Self::Attach { source, .. } => Refused::Attach(source),
            Self::TooLarge { len, max, .. } => Refused::Push(PushError::TooLarge { len, max }),
            Self::NoMemory { source, .. } | Self::Engine { source, .. } => Refused::Push(source),
            // Only of values that can fail to be encoded.
            Self::Encode { .. } => Refused::Push(PushError::Corrupt),
        }
    }

    pub(crate) fn new(value: T, refused: Refused) -> Self {
        match refused {
            Refused::Closed { what } => Self::Closed { value, what },
            Refused::Attach(source) => Self::Attach { value, source },
            Refused::Push(PushError::Full) => Self::Full(value),
            Refused::Push(PushError::ShutDown) => Self::ShutDown(value),
            Refused::Push(PushError::TooLarge { len, max }) => Self::TooLarge { value, len, max },
            Refused::Push(source @ PushError::NoMemory { .. }) => Self::NoMemory { value, source },
            Refused::Push(source) => Self::Engine { value, source },
        }
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

/// Why a put did not happen, without the value.
#[derive(Debug)]
pub(crate) enum Refused {
    Closed { what: String },
    Attach(AttachError),
    Push(PushError),
}

impl From<PushError> for Refused {
    fn from(error: PushError) -> Self {
        Self::Push(error)
    }
}

/// Several values were to be put, and some were not.
#[derive(Error)]
pub struct PartlyPut<T> {
    /// How many were put, from the first.
    pub put: usize,
    /// Why the next one was not. It is in here.
    pub source: PutError<T>,
    /// Those after it that had been taken from the iterator.
    pub rest: Vec<T>,
}

impl<T> fmt::Display for PartlyPut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        caused(&format!("{} values were put, then one was not", self.put), &self.source, f)
    }
}

/// Without the values, which need not be `Debug`.
impl<T> fmt::Debug for PartlyPut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartlyPut")
            .field("put", &self.put)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Why no value was got.
///
/// The alternate form, `{error:#}`, says also what caused it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no value (and there was none until the time was over).
    #[error("the queue is empty")]
    Empty,
    /// The queue has been [shut down](crate::Queue::shutdown), and all that was put before has been got.
    #[error("the queue has been shut down, and is empty")]
    ShutDown,
    /// This process has [closed](crate::Queue::close) its handle.
    #[error("{what} is closed")]
    Closed {
        /// What was closed, as Python's message has it: `Queue <...>`.
        what: String,
    },
    /// The message is no value of this type. It has left the queue and is lost.
    #[error(fmt = no_value)]
    Decode {
        /// Why.
        source: DecodeError,
    },
    /// There is no memory here for the next value, which stays in the queue.
    #[error(
        "the next value has {len} bytes, and there is no memory for them; it stays in the queue"
    )]
    NoMemory {
        /// Its length, in bytes, encoded.
        len: usize,
    },
    /// This thread cannot get: too many threads have a place at the queue already (see
    /// [`Builder::participants`](crate::Builder::participants)).
    #[error(fmt = not_attached_to_get)]
    Attach {
        /// Why.
        source: AttachError,
    },
    /// The queue itself is unusable.
    #[error(fmt = unusable)]
    Engine {
        /// Why.
        source: PopError,
    },
}

fn no_value(source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let what = "the message was taken and is no value of this type; use one type on both sides, which \
                serde can decode without being told what it is";
    caused(what, source, f)
}

fn not_attached_to_get(source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    caused("cannot attach to get", source, f)
}

impl GetError {
    /// Was the queue empty?
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Had the queue been shut down?
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown)
    }

    pub(crate) fn new(source: PopError) -> Self {
        match source {
            PopError::Empty => Self::Empty,
            PopError::ShutDown => Self::ShutDown,
            PopError::TooSmall { len } => Self::NoMemory { len },
            source => Self::Engine { source },
        }
    }
}

/// Why a task was not said to be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// All that was put is done already.
    #[error("task_done() called too many times")]
    TooMany,
    /// The count cannot be changed.
    #[error(fmt = not_counted)]
    Queue {
        /// Why.
        source: GetError,
    },
}

fn not_counted(source: &impl Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    caused("the count of unfinished tasks cannot be changed", source, f)
}

/// Several values were to be got, and one of the messages was none.
#[derive(Error)]
pub struct PartlyGot<T> {
    /// The others, in order.
    pub got: Vec<T>,
    /// What was wrong with the first that is missing; or why there are none at all.
    pub source: GetError,
}

impl<T> fmt::Display for PartlyGot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = self.got.len();
        caused(&format!("{got} values were got, and one was not"), &self.source, f)
    }
}

/// Without the values, which need not be `Debug`.
impl<T> fmt::Debug for PartlyGot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartlyGot")
            .field("got", &self.got.len())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
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
