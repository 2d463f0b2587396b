//! Waking who waits for what a queue does not tell of itself.
//!
//! A queue of one place and no bytes. Whoever changes something rings, which puts a wake-up unless one is
//! pending; who waits takes it, looks, and rings on if there is more for others to see. A wake-up that
//! nobody needed costs the next one a second look. Who was killed before they rang cost a sleeper one rest.

use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shmq_engine::Wait;

use crate::error::{CreateError, GetError};
use crate::queue::Queue;

/// After so long a sleeper looks by itself.
const REST: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Signal(Queue<()>);

impl Signal {
    pub(crate) fn new(participants: usize) -> Result<Self, CreateError> {
        let builder = Queue::builder().maxsize(1).message_max(0).participants(participants);
        Ok(Self(builder.wait(Wait::Park).create()?))
    }

    pub(crate) fn from_engine(engine: shmq_engine::Queue) -> Self {
        Self(Queue::from_engine(engine, None, Wait::Park))
    }

    pub(crate) fn engine(&self) -> &shmq_engine::Queue {
        self.0.engine()
    }

    /// Something has changed.
    pub(crate) fn ring(&self) {
        // ordering: SeqCst, between the change and the look for a pending wake-up; pairs with wait: who
        // takes that one sees the change
        fence(Ordering::SeqCst);
        // Full: one is pending. Whatever else there may be, the sleeper looks soon.
        _ = self.0.put_nowait(());
    }

    /// Waits until something may have changed, not beyond `deadline`. False: that was over
    /// before, and no wake-up has been taken.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        let left = deadline.left();
        if left.is_zero() {
            return false;
        }
        let rest = left.min(REST);
        use GetError::{Attach, Engine, NoMemory};
        if let Err(Attach { .. } | Engine { .. } | NoMemory { .. }) = self.0.get_timeout(rest) {
            thread::sleep(rest);
        }
        // ordering: SeqCst, between taking the wake-up and looking; pairs with ring
        fence(Ordering::SeqCst);
        true
    }
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// A time-out that no clock can count to is none.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Self::Now;
        }
        Instant::now().checked_add(timeout).map_or(Self::Never, Self::At)
    }

    fn left(self) -> Duration {
        match self {
            Self::Now => Duration::ZERO,
            Self::At(end) => end.saturating_duration_since(Instant::now()),
            Self::Never => Duration::MAX,
        }
    }
}
