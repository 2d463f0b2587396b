//! Queues: a segment, and the handles to it.

#[cfg(feature = "tokio")]
mod asynchronous;
mod bell;
mod consumer;
mod drain;
mod ground;
mod loan;
mod message;
mod options;
mod payloads;
mod producer;
mod select;
mod shared;
mod typed;
mod vigil;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use crate::region::unlink;
#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncConsumer, AsyncProducer};
pub use bell::Bell;
pub use consumer::Consumer;
pub use drain::{Drain, Iter};
pub use loan::{Loan, Uncommitted};
pub use message::Message;
pub use options::Options;
pub use producer::Producer;
pub use select::select;

use crate::error::AttachError;
use crate::layout::geometry::Request;
use crate::layout::header::Header;
use crate::region::{Memfd, Named, Region, check_name};
use crate::registry::Recovered;
use crate::ring::Role;
use crate::sync::fence::Fences;
use shared::Shared;

/// A queue in this process: makes producers and consumers, and answers questions.
///
/// Cheap to clone; the segment stays mapped while any clone or handle lives. The process that
/// created a *named* queue removes the name when its last clone and handle are dropped; who is
/// attached by then stays attached.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

impl Queue {
    /// Attaches to the queue of that name.
    ///
    /// Waits up to half a second for a creator that has not finished.
    ///
    /// # Errors
    /// Whatever is wrong with the name or the segment, told apart by [`AttachError`].
    pub fn open(name: &str) -> Result<Self, AttachError> {
        if let Some(why) = check_name(name) {
            return Err(AttachError::Name { name: name.to_owned(), why });
        }
        let born = |base| shared::header(base).is_born();
        let named = Named::open(name, size_of::<Header>(), born)?;
        Self::attach(Region::Named(named))
    }

    /// Attaches to the anonymous queue behind a descriptor that was inherited or received.
    ///
    /// # Errors
    /// Whatever is wrong with the file, told apart by [`AttachError`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, AttachError> {
        Self::attach(Region::Memfd(Memfd::open(fd, size_of::<Header>())?))
    }

    fn attach(region: Region) -> Result<Self, AttachError> {
        let header = shared::header(region.base());
        let geometry = header.read(region.len())?;
        let mut uuid = [0; 16];
        // A name may have changed hands between its mapping and its opening.
        let is_one = region.read_file(Header::UUID_AT, &mut uuid);
        if !is_one || uuid != header.uuid_bytes() {
            return Err(AttachError::Unfinished);
        }
        Ok(Self { shared: Arc::new(Shared::new(region, &geometry)?) })
    }

    /// The descriptor to hand to another process; `None` for named and heap queues. It closes on
    /// exec, unless the receiver's spawner sees to it.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.shared.region().fd()
    }

    /// A producer, for one thread at a time.
    ///
    /// # Errors
    /// [`AttachError::Taken`] if the side is exclusive and its holder lives,
    /// [`AttachError::Crowded`] if every line is taken.
    pub fn producer(&self) -> Result<Producer, AttachError> {
        Producer::attach(Arc::clone(&self.shared))
    }

    /// A consumer, for one thread at a time.
    ///
    /// # Errors
    /// As for [`Queue::producer`].
    pub fn consumer(&self) -> Result<Consumer, AttachError> {
        Consumer::attach(Arc::clone(&self.shared))
    }

    /// Messages in the queue, puts in progress included. Exact at an instant of the call, with two exceptions: where
    /// puts were passed over and consumers do not pause, it is close; and a lone producer of an unbounded queue that
    /// was killed between publishing and saying so leaves it short, until its successor attaches. Others may change it before you look.
    pub fn len(&self) -> usize {
        self.shared.ring().len() as usize
    }

    /// Is nothing in the queue, not even a put in progress?
    pub fn is_empty(&self) -> bool {
        self.shared.ring().is_empty()
    }

    /// Do messages and puts in progress fill the queue?
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages the queue holds; `usize::MAX` if it is unbounded.
    pub fn capacity(&self) -> usize {
        match *self.shared.request() {
            request if request.is_unbounded() => usize::MAX,
            Request { capacity, .. } => capacity,
        }
    }

    /// The longest message, in bytes.
    pub fn message_max(&self) -> usize {
        self.shared.request().message_max
    }

    /// The longest message that lies in a slot, in bytes. Longer ones go by reference.
    pub fn inline_max(&self) -> usize {
        self.shared.request().inline_max
    }

    /// The most memory that the queue may take, in bytes.
    pub fn max_bytes(&self) -> usize {
        self.shared.request().max_bytes
    }

    /// Bytes of memory that the queue takes now.
    pub fn resident_bytes(&self) -> u64 {
        self.shared.region().resident()
    }

    /// Who may push, and who may pop.
    pub fn roles(&self) -> (Role, Role) {
        let shape = self.shared.ring().shape();
        (shape.producers, shape.consumers)
    }

    /// How the participants make their fences.
    pub fn fences(&self) -> Fences {
        self.shared.ring().shape().fences
    }

    /// How many producers and consumers are attached, the dead that nobody has noticed included.
    pub fn participants(&self) -> usize {
        self.shared.registry().occupied()
    }

    /// Gives back, at once, what participants held that are certainly dead: their places among the
    /// participants, exclusive sides, slots that a killed put left unusable.
    ///
    /// Never needed for progress, nor to keep the queue whole: whoever meets such a trace does the
    /// same after a while. Reads `/proc`; never blocks; may be called by anybody at any time, and be
    /// killed anywhere in it.
    pub fn recover(&self) -> Recovered {
        self.shared.registry().recover(self.shared.estate())
    }

    /// Shuts the queue down, for everybody and for good: from now on puts fail with
    /// [`PushError::ShutDown`](crate::PushError::ShutDown), gets take what was put before, then fail with
    /// [`PopError::ShutDown`](crate::PopError::ShutDown). Blocked callers on both sides wake at once. As
    /// `shutdown()` of Python 3.13's `queue.Queue`. False: it was shut down before.
    ///
    /// A put that is in progress meanwhile succeeds, and then its message will be got, or fails. Never
    /// blocks. Killed anywhere in it: the queue is shut down or not; who slept may sleep for some 100 ms
    /// more. To drop what is left instead of having it got, call [`Consumer::clear`] afterwards.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn shut_down(&self) -> bool {
        self.shared.shut_down()
    }

    /// Has the queue been shut down?
    pub fn is_shut_down(&self) -> bool {
        self.shared.ring().is_shut()
    }

    /// A random number that tells this segment from all others.
    pub fn uuid(&self) -> [u64; 2] {
        shared::header(self.shared.region().base()).uuid()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
