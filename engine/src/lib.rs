//! Queues of messages in shared memory: bytes in, bytes out.
//!
//! A message that was pushed is popped by exactly one consumer, whole, in the order of the pushes.
//! No operation takes a lock: a participant that is stopped or killed at any instruction blocks
//! nobody else. (Its put in progress is waited for for a bounded time, microseconds as a rule; a sleeper
//! that it should have woken looks by itself after at most 100 ms.) Nothing is copied more than once in and
//! once out, and no system call is made where nobody waits and memory is there.
//!
//! ```
//! use shmq_engine::Options;
//!
//! let queue = Options::new(1000).create_anonymous()?;
//! let mut producer = queue.producer()?;
//! let mut consumer = queue.consumer()?;
//!
//! producer.push(b"a message")?;
//!
//! let mut buffer = [0; 48];
//! let len = consumer.pop(&mut buffer)?;
//! assert_eq!(&buffer[..len], b"a message");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Options`] creates a queue: anonymous (its descriptor is inherited by children, or sent),
//! named, or on the heap for the threads of one process. A [`Queue`] makes [`Producer`]s and
//! [`Consumer`]s, one for each thread that uses it.
//!
//! A handle that comes through `fork` attaches anew at its first use in the child, which never
//! touches its parent's place in the queue. What a killed participant held is given back by whoever
//! meets it, or at once by [`Queue::recover`].
//!
//! # Sizes and bounds
//! A message of up to [`inline_max`](Queue::inline_max) bytes lies in its slot; a longer one, up to what
//! memory holds, in a block of its own memory, which is given back when it has been read.
//! [`Producer::reserve`] lends that memory to be written in place, [`Consumer::pop_ref`] a message to be
//! read in place. [`Options::unbounded`] makes a queue that grows with what is in it, and shrinks again.
//! When there is no memory a put says [`PushError::NoMemory`], and the queue works on.
//!
//! ```
//! use std::io::Write;
//!
//! let frame = vec![7; 1 << 20];
//! let queue = shmq_engine::Options::unbounded().max_bytes(1 << 30).create_anonymous()?;
//! let (mut producer, mut consumer) = (queue.producer()?, queue.consumer()?);
//! let mut loan = producer.reserve(frame.len())?; // nobody waits for what is written here
//! loan.write_all(&frame)?; // or in place: unsafe { loan.as_mut_slice() }
//! loan.commit().map_err(|uncommitted| uncommitted.error)?;
//! let message = consumer.pop_ref()?;
//! println!("{} bytes", message.len());
//! drop(message); // gives its memory back
//! producer.push_many(["several", "at", "once"])?;
//! consumer.pop_many(64, |bytes| println!("{} bytes", bytes.len()))?;
//! let mut words = [0_u64; 64]; // values of one type: the least that a message can cost
//! producer.push_values(&words)?;
//! let got = consumer.pop_values(&mut words)?; // waits for one, takes what is there
//! # assert_eq!(got, 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`ring`], [`wait`], [`layout`], [`sync`] and [`order`] are public for model checkers and for
//! embedding the protocol over other memory; they change without notice.

// A loom build has the protocol only.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("shmq needs 64-bit pointers: segments may be larger than a 32-bit address space");

pub mod arena;
#[cfg(not(loom))]
mod error;
pub mod layout;
#[cfg(not(loom))]
mod lineage;
pub mod order;
#[cfg(not(loom))]
mod queue;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod registry;
pub mod ring;
pub mod sync;
pub mod wait;

pub use arena::Limit;
#[cfg(not(loom))]
pub use error::{AttachError, CreateError, PartlyPut, PopError, PushError};
#[cfg(not(loom))]
pub use lineage::Lineage;
#[cfg(all(not(loom), feature = "tokio"))]
pub use queue::{AsyncConsumer, AsyncProducer};
#[cfg(not(loom))]
pub use queue::{
    Bell, Consumer, Drain, Iter, Loan, Message, Options, Producer, Queue, Uncommitted, select,
    unlink,
};
#[cfg(not(loom))]
pub use registry::Recovered;
pub use ring::{Asking, Role};
pub use sync::fence::Fences;
#[cfg(not(loom))]
pub use wait::Wait;
