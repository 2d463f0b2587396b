//! A descriptor that becomes readable: for epoll, and what is built on it.
//!
//! An eventfd belongs to a process, and whoever puts is in another. So the bell has a thread, which sleeps
//! as any waiting participant does, and writes to the eventfd when it has been woken. Nobody else pays for
//! that; nor does it while the bell is not armed, for then it waits for that alone.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::shared::Shared;
use crate::lineage::Lineage;
use crate::wait::Want;
use crate::wait::clock::Deadline;

/// Rings, which makes its descriptor readable, when there may be something to do at a queue: messages, or
/// places, or the queue has been shut down.
///
/// [Arm](Bell::arm) it, and wait until the descriptor is readable; [quiet](Bell::quiet) it; then do what
/// there is to do, until there is nothing. Armed beside something to do it rings at once, so nothing is
/// missed between. It stays readable until it is quieted. Others may be faster: that it rang is no promise.
///
/// It holds a thread of this process. A process that was killed in a put costs at most some 100 ms, as for
/// any who sleeps. In a forked child it cannot be armed or quieted: that has no such thread, and
/// the descriptor is still the parent's.
pub struct Bell {
    wire: Arc<Wire>,
    thread: Option<JoinHandle<()>>,
    /// Whose thread that is.
    lineage: Lineage,
}

/// What bell and thread share.
struct Wire {
    shared: Arc<Shared>,
    for_what: For,
    event: OwnedFd,
    state: Mutex<State>,
    changed: Condvar,
}

/// What a bell rings for.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Items,
    Room,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unarmed,
    Armed,
    /// The bell is being dropped.
    Leaving,
}

impl Bell {
    pub(super) fn new(shared: Arc<Shared>, for_what: For) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (state, changed) = (Mutex::new(State::Unarmed), Condvar::new());
        let wire = Arc::new(Wire { shared, for_what, event, state, changed });
        let ringer = Arc::clone(&wire);
        let thread = thread::Builder::new().name("shmq bell".to_owned());
        let thread = thread.spawn(move || while ringer.ring_once() {})?;
        Ok(Self { wire, thread: Some(thread), lineage: Lineage::own() })
    }

    /// It rings once, as soon as there may be something to do.
    pub fn arm(&self) {
        if !self.lineage.is_own() {
            return;
        }
        let mut state = self.wire.state();
        if *state == State::Unarmed {
            *state = State::Armed;
            self.wire.changed.notify_one();
        }
    }

    /// Its descriptor is not readable any more. Had it rung?
    pub fn quiet(&self) -> bool {
        self.lineage.is_own() && read(&self.wire.event, &mut [0; size_of::<u64>()]).is_ok()
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is armed, and then until it is time to ring. False: the bell is gone.
    fn ring_once(&self) -> bool {
        let is_unarmed = |state: &mut State| *state == State::Unarmed;
        let armed = self.changed.wait_while(self.state(), is_unarmed);
        let armed = *armed.unwrap_or_else(PoisonError::into_inner);
        if armed == State::Leaving {
            return false;
        }
        let ring = self.shared.ring();
        // A sleep ends to look, too.
        while self.want().park(ring, Deadline::NEVER, || self.is_due().then_some(())).is_err() {}
        let mut state = self.state();
        if *state == State::Leaving {
            return false;
        }
        *state = State::Unarmed;
        // Fails only if it has rung 2^64 times, unheard.
        _ = write(&self.event, &1_u64.to_ne_bytes());
        drop(state);
        // We took a wake-up and take no message: pass it on.
        self.want().wake(ring, ring.attention());
        true
    }

    fn is_due(&self) -> bool {
        let ring = self.shared.ring();
        let is_there = match self.for_what {
            For::Items => !ring.is_empty() || ring.is_shut() || self.shared.end_if_producers_died(),
            For::Room => ring.has_places() || !ring.is_full_of_messages(),
        };
        is_there || *self.state() == State::Leaving
    }

    fn want(&self) -> Want<'static> {
        match self.for_what {
            For::Items => self.shared.items(),
            For::Room => self.shared.room(),
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if !self.lineage.is_own() {
            // No such thread is here, which may have had the lock.
            mem::forget(thread);
            return;
        }
        *self.wire.state() = State::Leaving;
        self.wire.changed.notify_one();
        // It may sleep like everybody else, and among them.
        self.wire.want().wake_all();
        if let Some(thread) = thread {
            _ = thread.join();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.event.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.wire.event.as_raw_fd()
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("queue", &self.wire.shared).finish_non_exhaustive()
    }
}
