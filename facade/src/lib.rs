//! Queues between processes and threads, like Python's `multiprocessing.Queue`, in shared memory.
//!
//! A value that was put is got by exactly one process, whole, in the order of the puts; it is
//! visible to all as soon as `put` returns. No operation takes a lock that another process could
//! die with: a process that is stopped or killed at any instruction blocks nobody else.
//!
//! ```standalone_crate
//! use shmq::{Process, Queue};
//!
//! fn reader(jobs: Queue<String>) -> Result<(), Box<dyn std::error::Error>> {
//!     println!("the child got {}", jobs.get()?);
//!     Ok(())
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     shmq::init(shmq::tasks![reader]);
//!     let jobs = Queue::new(3)?;
//!     let child = Process::new(reader, (jobs.clone(),));
//!     child.start()?;
//!     jobs.put("a message".to_owned())?;
//!     child.join()?;
//!     Ok(())
//! }
//! ```
//!
//! [`Queue::new`] makes an anonymous queue, which travels to a child as an argument of its
//! [`Process`]. Children started by other means, of other programs even, get one by
//! [`Queue::inherit`]; [`Builder::create_named`] makes one that unrelated processes
//! [`open`](Queue::open) by name. Values travel as bytes, encoded by serde and postcard; or as the bytes that
//! they are, if they are [`Pod`], which can also be written and read in place. postcard's bytes do not say what
//! they are, so [some types](Encode) cannot be read again. For messages that are bytes, and
//! for queues with one producer or one consumer, which are faster, see `shmq_engine`.
//!
//! # Queues
//! [`Queue`] has the members of Python's, and what its users wish it had: [`shutdown`](Queue::shutdown),
//! iteration until then, several values at once. [`JoinableQueue`] also counts what is not done yet, and
//! [`SimpleQueue`] has four members only. What differs from Python, and what CPython's queues are known to
//! fail at and these do not, is in `docs/PYTHON.md`, with commands to try it.
//!
//! # Processes
//! A [`Process`] runs a function in a new process. That is this program, started again, with none of
//! the parent's memory; so `main` begins with [`init`], which is told the functions that may run
//! there, and closures with captures cannot. Arguments and answers are what serde can encode. (Who knows what
//! `fork` does to programs with threads can have that, and closures: [`Process::fork`].)
//! A [`Pool`] keeps such processes, and runs many tasks in them. A queue is shared by inheritance, as
//! an argument of a process; one made by a [`Manager`] travels anywhere.
//!
//! # When a process dies
//! A put that was killed is all or nothing. A get that was killed has left its value in the queue
//! or takes it along; no other value is lost or got twice. A put in progress is waited for for a bounded time,
//! microseconds as a rule, and who sleeps, and should have been woken by the dead, looks by itself after at most
//! 100 ms. An anonymous queue is gone with
//! its last holder. A named one loses its name when its creator drops it; a creator that was killed
//! leaves the name behind, for [`unlink`].
//!
//! A queue may be used across `fork`, by parent and child, also while other threads use it.
//!
//! # Not yet
//! Both sides must name the same type: a type guard does not exist yet, and bytes of another type are
//! noticed only where they cannot be decoded, or are too many. A [`JoinableQueue`] has no name, and goes to
//! no children of other programs.

mod builder;
mod error;
mod hand_over;
mod handles;
mod inherit;
mod init;
mod joinable;
mod manager;
mod pod;
mod pool;
mod process;
mod queue;
mod signal;
mod simple;
mod task;
mod wire;

pub use builder::Builder;
pub use error::{
    CreateError, GetError, InheritError, PartlyGot, PartlyPut, PutError, TaskDoneError,
};
pub use init::init;
pub use joinable::{JoinableQueue, Unfinished};
pub use manager::{Manager, ManagerJoinableQueue, ManagerQueue};
pub use pod::Pod;
pub use pool::{AsyncResult, Imap, Pool, PoolBuilder, PoolError, Returned};
pub use process::{
    CurrentProcess, ParentProcess, Process, ProcessError, active_children, cpu_count,
    current_process, parent_process,
};
pub use queue::{Iter, Queue};
pub use shmq_engine::unlink;
#[doc(no_inline)]
pub use shmq_engine::{AttachError, Fences, PopError, PushError, Wait};
pub use simple::SimpleQueue;
pub use task::{Answer, Registered, Task, UnknownTask, Value};
pub use wire::{Decode, DecodeError, Encode, EncodeError};
