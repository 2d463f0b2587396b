//! What can go wrong with a pool and its tasks.

use thiserror::Error;

use crate::error::CreateError;
use crate::process::ProcessError;
use crate::task::{Failure, UnknownTask};
use crate::wire::{DecodeError, EncodeError};

/// Why a [`Pool`](crate::Pool) gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A number is out of range.
    #[error("{what} must be at least 1")]
    Zero {
        /// Of what.
        what: &'static str,
    },
    /// A pool cannot have so many workers.
    #[error("{given} processes are too many for a pool; at most {max}")]
    TooMany {
        /// How many were asked for.
        given: usize,
        /// How many there can be.
        max: usize,
    },
    /// A worker could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A queue to the workers could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The system gives no thread to watch over the workers.
    #[error("a thread for the pool cannot be started")]
    Thread(#[source] std::io::Error),
    /// The function cannot be run in another process.
    #[error(transparent)]
    Task(#[from] UnknownTask),
    /// The arguments cannot be encoded. Nothing was run.
    #[error("the arguments of {task} cannot travel{}", hint(.source))]
    Args {
        /// The function that they were for.
        task: &'static str,
        /// Why.
        source: EncodeError,
    },
    /// It was closed or terminated.
    #[error("pool not running")]
    NotRunning,
    /// It must be closed or terminated first.
    #[error("pool is still running; call close() or terminate() before join()")]
    StillRunning,
    /// No worker gets ready, so that no task can be run.
    #[error("the pool is broken: {why}")]
    Broken {
        /// Why not.
        why: String,
    },
    /// There is no answer yet.
    #[error("there is no answer yet")]
    Timeout,
    /// The task returned an error.
    #[error("{text}")]
    Failed {
        /// The error's text.
        text: String,
    },
    /// The task panicked.
    #[error("the task panicked: {text}")]
    Panicked {
        /// The panic's text.
        text: String,
    },
    /// The worker that was running the task, or had just taken it, died. It may have been run, wholly
    /// or in part; it is not run again.
    #[error("a worker died while it ran this task, with {}", shown(.exitcode))]
    WorkerDied {
        /// As [`Process::exitcode`](crate::Process::exitcode).
        exitcode: i32,
    },
    /// The pool was terminated before there was an answer.
    #[error("the pool was terminated before this task had an answer")]
    Terminated,
    /// The arguments did not reach the task, or its answer did not come back.
    #[error("{text}")]
    Lost {
        /// Why.
        text: String,
    },
    /// The answer is no value of the expected type.
    #[error("the answer cannot be read")]
    Decode(#[source] DecodeError),
}

fn hint(why: &EncodeError) -> &'static str {
    match why {
        EncodeError::Refused { .. } => {
            " (a queue can that Manager::queue made, or the initializer got)"
        }
        _ => "",
    }
}

fn shown(exitcode: &i32) -> String {
    match exitcode {
        ..0 => format!("signal {}", -exitcode),
        code => format!("exit code {code}"),
    }
}

/// Why an item has no answer, for as many as ask.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Task(Failure),
    Died(i32),
    Broken(String),
    Terminated,
}

impl From<Fault> for PoolError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Task(Failure::Failed(text)) => Self::Failed { text },
            Fault::Task(Failure::Panicked(text)) => Self::Panicked { text },
            Fault::Task(failure) => Self::Lost { text: failure.to_string() },
            Fault::Died(exitcode) => Self::WorkerDied { exitcode },
            Fault::Broken(why) => Self::Broken { why },
            Fault::Terminated => Self::Terminated,
        }
    }
}
