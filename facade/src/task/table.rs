//! The table of tasks, which parent and child have alike.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Answer, Task, id};
use crate::wire::{self, Bytes};

/// A function in the table. [`tasks!`](crate::tasks) makes them.
pub struct Registered {
    id: TypeId,
    name: &'static str,
    run: Box<Run>,
}

/// From encoded arguments to an answer, encoded if somebody has a place for it.
type Run = dyn Fn(&[u8], Option<&mut Bytes>) -> Result<(), Failure> + Send + Sync;

impl Registered {
    /// Decodes the arguments, calls `task`, encodes what it returns.
    pub fn new<A: DeserializeOwned, F: Task<A>>(task: F) -> Self {
        let run = move |args: &[u8], answer: Option<&mut Bytes>| {
            attempt(|| {
                let args = wire::decode::<A>(args).map_err(|error| Failure::args(&error))?;
                let value = task.call(args).into_value().map_err(Failure::Failed)?;
                if let Some(answer) = answer {
                    *answer = wire::to_bytes(&value).map_err(|error| Failure::answer(&error))?;
                }
                Ok(())
            })
        };
        Self { id: id::<F>(), name: type_name::<F>(), run: Box::new(run) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it with encoded arguments. Nobody gets the answer, so it need not be one that can travel.
    pub(crate) fn run(&self, args: &[u8]) -> Result<(), Failure> {
        (self.run)(args, None)
    }

    /// The same, for the encoded answer.
    pub(crate) fn ask(&self, args: &[u8]) -> Result<Bytes, Failure> {
        let mut answer = Bytes::default();
        (self.run)(args, Some(&mut answer))?;
        Ok(answer)
    }
}

/// Runs code of others, which may panic: a task, but also what decodes its arguments and encodes its answer.
pub(crate) fn attempt(run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Failure::Panicked(text_of(&*panic))))
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&self.name).finish()
    }
}

/// Why a task gave no answer. It travels, so causes are texts.
#[derive(Clone, Debug, Deserialize, Error, PartialEq, Serialize)]
pub(crate) enum Failure {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Panicked(String),
    #[error("the arguments did not arrive: {0}")]
    Args(String),
    #[error("the answer cannot travel: {0}")]
    Answer(String),
}

impl Failure {
    fn args(error: &dyn std::error::Error) -> Self {
        Self::Args(chain(error))
    }

    pub(crate) fn answer(error: &dyn std::error::Error) -> Self {
        Self::Answer(chain(error))
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}

/// Why a function cannot be run in another process.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTask {
    /// Nobody called [`init`](crate::init) in this process.
    #[error(
        "shmq::init was not called, so no other process could run {task}; \
         begin main with shmq::init(shmq::tasks![{task}])"
    )]
    NoInit {
        /// The function's path.
        task: &'static str,
    },
    /// [`init`](crate::init) was called without this function.
    #[error("{task} is not registered; add it to shmq::init(shmq::tasks![…]) at the start of main")]
    NotRegistered {
        /// The function's path.
        task: &'static str,
    },
}

pub(crate) type Table = Vec<Registered>;

static TABLE: OnceLock<Table> = OnceLock::new();

/// Sets the table, once. Was it the first time?
pub(crate) fn set(tasks: Table) -> bool {
    TABLE.set(tasks).is_ok()
}

/// The table; empty before [`set`].
pub(crate) fn table() -> &'static [Registered] {
    TABLE.get().map_or(&[], Vec::as_slice)
}

/// Where `F` is in the table.
pub(crate) fn find<F: 'static>() -> Result<u32, UnknownTask> {
    let (id, task) = (id::<F>(), type_name::<F>());
    let Some(table) = TABLE.get() else {
        return Err(UnknownTask::NoInit { task });
    };
    let index = table.iter().position(|registered| registered.id == id);
    index.map(|index| index as u32).ok_or(UnknownTask::NotRegistered { task })
}
