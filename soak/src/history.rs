//! What happened: operations, and when each can have taken effect.

use std::fmt;

/// A time after all others: the end of a killed operation, if nobody saw the death. Operations that
/// returned have an end.
pub const NEVER: u64 = u64::MAX;

/// A message, unlike any other: `{process, sequence}` as `process << 32 | sequence`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u64);

impl Value {
    /// Processes have so many bits: a record of the log has room for no more.
    pub const PROCESS_BITS: u32 = 24;

    /// Message `sequence` of `process`.
    pub const fn new(process: u32, sequence: u32) -> Self {
        Self((process as u64) << 32 | sequence as u64)
    }

    /// From [`Value::word`].
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As one word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Who put it.
    pub const fn process(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Which of that process's messages.
    pub const fn sequence(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.process(), self.sequence())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An operation and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The message was put.
    Put(Value),
    /// It was not: the queue was full.
    Full(Value),
    /// Behind a message of the same call that was not put for the queue was full: it was not, either, but the
    /// call may have held a place for it meanwhile.
    Untried(Value),
    /// Killed in a put: it was put by `res`, or never.
    PutKilled {
        /// The message.
        value: Value,
        /// By then, after the death, nothing of the put was left but the message, if it was put.
        /// Until then it may have taken a place.
        settled: u64,
    },
    /// The message was got.
    Got(Value),
    /// What was got is not a message; it began like this one.
    Torn(Value),
    /// Nothing was got: the queue was empty.
    Empty,
    /// Killed in a get: one message was got by `res`, or none.
    GetKilled,
}

/// An operation of a process: it took effect at some moment from `inv` to `res`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Whose.
    pub process: u32,
    /// What it was.
    pub what: What,
    /// When it was called, or a little before.
    pub inv: u64,
    /// When it had returned, or a little after; of a killed process, when it was certainly dead.
    pub res: u64,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, what, inv, res } = self;
        write!(f, "[{inv}, ")?;
        if *res == NEVER { f.write_str("never]") } else { write!(f, "{res}]") }?;
        write!(f, " process {process}: ")?;
        match what {
            What::Put(value) => write!(f, "put {value}"),
            What::Full(value) => write!(f, "put {value}: full"),
            What::Untried(value) => write!(f, "put {value}: behind one that was refused"),
            What::PutKilled { value, settled: NEVER } => write!(f, "put {value}: killed"),
            What::PutKilled { value, settled } => {
                write!(f, "put {value}: killed, settled at {settled}")
            }
            What::Got(value) => write!(f, "get: {value}"),
            What::Torn(value) => write!(f, "get: torn, began like {value}"),
            What::Empty => write!(f, "get: empty"),
            What::GetKilled => write!(f, "get: killed"),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
