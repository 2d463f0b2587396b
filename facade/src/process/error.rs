//! What can go wrong with a process.

use std::io;

use thiserror::Error;

use crate::task::UnknownTask;
use crate::wire::EncodeError;

/// Why something was not done with a [`Process`](crate::Process).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function cannot be run in another process.
    #[error(transparent)]
    Task(#[from] UnknownTask),
    /// The arguments cannot be encoded.
    #[error("the arguments of {name} cannot travel")]
    Args {
        /// The process's name.
        name: String,
        /// Why.
        source: EncodeError,
    },
    /// It was started before.
    #[error("cannot start a process twice")]
    StartedTwice,
    /// This process is a daemon: its children would outlive it when it is terminated.
    #[error("daemonic processes are not allowed to have children")]
    Daemonic,
    /// It must be started first.
    #[error("can only {what} a started process")]
    NotStarted {
        /// What was to be done with it.
        what: &'static str,
    },
    /// It cannot be closed yet.
    #[error("cannot close a process while it is still running; call join() or terminate() first")]
    StillRunning,
    /// It was closed.
    #[error("process object is closed")]
    Closed,
    /// A system call failed.
    #[error("{call} failed")]
    Os {
        /// The call.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl ProcessError {
    /// For `map_err`.
    pub(crate) fn os<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Os { call, source: source.into() }
    }
}
