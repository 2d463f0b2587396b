//! What a worker does, and what it and the pool say to each other.

use std::process::exit;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::GetError;
use crate::queue::Queue;
use crate::task::{self, Failure, Registered, chain};
use crate::wire::{Bytes, EncodeError, refuse};

/// Some items of one call, for one worker.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) task: u32,
    /// Each the arguments of one call.
    pub(super) items: Vec<Bytes>,
}

/// What the pool's thread hears of. As the queue is in strict order, a worker's death comes after all
/// that it has done.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Event {
    Ready {
        worker: u64,
    },
    /// The initializer failed.
    Unready {
        why: String,
    },
    Done {
        worker: u64,
        job: u64,
        outcomes: Vec<Result<Bytes, Failure>>,
    },
    /// The worker has no memory for the next job, and ends. That stays in its queue.
    NoMemory {
        worker: u64,
        why: String,
    },
    /// From this process: somebody has changed something.
    Look,
    /// From this process: a worker has ended.
    Died {
        worker: u64,
    },
}

/// What a worker is started with.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub(super) worker: u64,
    /// `None` is the end.
    pub(super) jobs: Queue<Option<Job>>,
    pub(super) events: Queue<Event>,
    pub(super) initializer: Option<Initializer>,
    pub(super) jobs_max: Option<u64>,
}

/// A task to be run before all others. Its arguments are encoded for each worker anew, so that there
/// may be queues among them.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Initializer {
    pub(super) task: u32,
    pub(super) args: Args,
}

#[derive(Clone)]
pub(super) enum Args {
    Here(Arc<dyn Fn() -> Result<Bytes, EncodeError> + Send + Sync>),
    Arrived(Bytes),
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        match self {
            Self::Arrived(bytes) => bytes.serialize(serializer),
            Self::Here(encode) => {
                let encoded = encode().map_err(|error| match error {
                    EncodeError::Refused { reason } => refuse(reason, S::Error::custom),
                    error => S::Error::custom(error),
                })?;
                encoded.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::Arrived)
    }
}

impl std::fmt::Debug for Initializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Initializer").field(&self.task).finish()
    }
}

/// The task that every worker runs.
pub(crate) fn work(setup: Setup) {
    let Setup { worker, jobs, events, initializer, jobs_max } = setup;
    if let Some(Initializer { task, args: Args::Arrived(args) }) = initializer
        && let Err(failure) = find(task).and_then(|task| task.run(&args))
    {
        say(&events, Event::Unready { why: format!("the initializer failed: {failure}") });
        exit(1);
    }
    say(&events, Event::Ready { worker });
    let mut done = 0;
    while jobs_max.is_none_or(|most| done < most) {
        let Job { id, task, items } = match jobs.get() {
            Ok(Some(job)) => job,
            Err(error @ GetError::NoMemory { .. }) => {
                return say(&events, Event::NoMemory { worker, why: chain(&error) });
            }
            // Whoever cannot get any more has lost its pool, as one that was told to end has.
            _ => return,
        };
        let outcomes: Vec<_> = items.iter().map(|args| find(task)?.ask(args)).collect();
        drop(items);
        let count = outcomes.len();
        if let Err(error) = events.put(Event::Done { worker, job: id, outcomes }) {
            let failure = Failure::answer(&error);
            let outcomes = vec![Err(failure); count];
            say(&events, Event::Done { worker, job: id, outcomes });
        }
        done += 1;
    }
}

fn find(task: u32) -> Result<&'static Registered, Failure> {
    let found = task::table().get(task as usize);
    found.ok_or_else(|| Failure::Args("there is no such task".to_owned()))
}

/// Who cannot be heard ends, which is noticed.
fn say(events: &Queue<Event>, event: Event) {
    if let Err(error) = events.put(event) {
        eprintln!("shmq: a worker of a pool ends: {}", chain(&error));
        exit(1);
    }
}
