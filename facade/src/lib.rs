//! Queues between processes and threads, like Python's `multiprocessing.Queue`, in shared memory.
//!
//! A value that was put is got by exactly one process, whole, in the order of the puts; it is
//! visible to all as soon as `put` returns. No operation takes a lock that another process could
//! die with: a process that is stopped or killed at any instruction delays nobody else.
//!
//! ```no_run
//! use std::env;
//! use std::process::Command;
//!
//! use shmq::Queue;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     if env::args().nth(1).as_deref() == Some("child") {
//!         let jobs = Queue::<String>::inherited("jobs")?;
//!         println!("the child got {}", jobs.get()?);
//!         return Ok(());
//!     }
//!     let jobs = Queue::new(3)?;
//!     let mut child = Command::new(env::current_exe()?);
//!     jobs.inherit(child.arg("child"), "jobs")?;
//!     let mut child = child.spawn()?;
//!     jobs.put("a message".to_owned())?;
//!     child.wait()?;
//!     Ok(())
//! }
//! ```
//!
//! [`Queue`] is the whole of it: [`Queue::new`] makes an anonymous queue, which child processes get
//! by [`Queue::inherit`]; [`Builder::create_named`] makes one that unrelated processes
//! [`open`](Queue::open) by name. Values travel as bytes, encoded by serde and postcard. For bytes
//! without encoding, and for queues with one producer or one consumer, which are faster, see
//! `shmq_engine`.
//!
//! # When a process dies
//! A put that was killed is all or nothing. A get that was killed has left its value in the queue
//! or takes it along; no other value is lost, delayed or got twice. An anonymous queue is gone with
//! its last holder. A named one loses its name when its creator drops it; a creator that was killed
//! leaves the name behind, for [`unlink`].
//!
//! A queue may be used across `fork`, by parent and child, also while other threads use it.
//!
//! # Not yet
//! `close`, `JoinableQueue`, `Process`, `Pool` and `Manager`. Both sides must name the same type: a type guard does not exist yet, and
//! bytes of another type are noticed only where they cannot be decoded, or are too many.

mod builder;
mod error;
mod handles;
mod inherit;
mod queue;
mod wire;

pub use builder::Builder;
pub use error::{CreateError, GetError, InheritError, PutError};
pub use queue::Queue;
pub use shmq_engine::unlink;
#[doc(no_inline)]
pub use shmq_engine::{AttachError, PopError, PushError};
pub use wire::{DecodeError, EncodeError};
