//! The consumer's handle.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::vigil::Vigil;
use crate::error::{AttachError, PopError};
use crate::registry::{Seat, Side};
use crate::ring::{Attention, Ring, Stalled, Taken};
use crate::wait::clock::Deadline;
use crate::wait::spin::{PAUSE, Patience, Spin};

/// Gets messages. One thread uses it at a time; each thread attaches its own.
///
/// Killed or stopped anywhere in a get, it delays nobody: the message it was copying is still in
/// the queue, or gone with it.
#[derive(Debug)]
pub struct Consumer {
    patience: Patience,
    spin: Spin,
    vigil: Vigil,
    // Dropped before the segment it lies in.
    seat: Seat<'static>,
    shared: Arc<Shared>,
}

impl Consumer {
    pub(super) fn attach(shared: Arc<Shared>) -> Result<Self, AttachError> {
        let ring = shared.ring();
        let seat = shared.registry().join(ring, Side::Consumer, ring.shape().consumers)?;
        let patience = Patience::for_messages_of(ring.shape().message_max);
        Ok(Self { patience, spin: Spin::default(), vigil: Vigil::new(), seat, shared })
    }

    /// In a forked child: takes a place of its own, and leaves the parent's alone.
    #[cold]
    fn attach_anew(&mut self) -> Result<(), PopError> {
        *self = Self::attach(Arc::clone(&self.shared)).map_err(|_| PopError::Forked)?;
        Ok(())
    }

    /// Gets the next message into `buffer` now, and says how long it is, or says
    /// [`PopError::Empty`]. Never blocks; a put in progress at the head is waited for some
    /// microseconds, then passed over. Lock-free with many consumers, wait-free with one.
    ///
    /// # Errors
    /// [`PopError`]; the message, if there was one, is still in the queue.
    #[inline]
    pub fn try_pop(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        if !self.seat.is_own() {
            self.attach_anew()?;
        }
        try_pop(&self.shared, &mut self.patience, &mut self.vigil, buffer)
    }

    /// Gets the next message, waiting for one as long as it takes.
    ///
    /// # Errors
    /// [`PopError`], but not [`PopError::Empty`].
    #[inline]
    pub fn pop(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        // Not yet: look at the slot alone for a while. To ask `tail`, as `try_pop` does before it says
        // Empty, would take its line from the producers for every message that they are about to put.
        if self.shared.ring().is_ready() {
            match self.try_pop(buffer) {
                Err(PopError::Empty) => {}
                done => return done,
            }
        }
        self.pop_until(buffer, Deadline::NEVER)
    }

    /// Gets the next message, waiting for one no longer than `timeout`.
    ///
    /// # Errors
    /// [`PopError::Empty`] after `timeout`, never earlier.
    pub fn pop_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, PopError> {
        match self.try_pop(buffer) {
            Err(PopError::Empty) if !timeout.is_zero() => {
                self.pop_until(buffer, Deadline::after(timeout))
            }
            done => done,
        }
    }

    #[cold]
    fn pop_until(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, PopError> {
        if !self.seat.is_own() {
            self.attach_anew()?;
        }
        let Self { shared, patience, spin, vigil, .. } = self;
        let ring = shared.ring();
        let attempt = || match try_pop(shared, patience, vigil, buffer) {
            Err(PopError::Empty) => None,
            done => Some(done),
        };
        let ready = || ring.is_ready();
        let done = shared.items().until(ring, deadline, spin, PAUSE, ready, attempt);
        done.unwrap_or(Err(PopError::Empty))
    }
}

/// No take meets this many stalled tickets in a row: each is another producer's, or another try of
/// a producer that patience grows for.
const STALLS_MAX: u32 = 4096;

#[inline(always)]
fn try_pop(
    shared: &Shared,
    patience: &mut Patience,
    vigil: &mut Vigil,
    buffer: &mut [u8],
) -> Result<usize, PopError> {
    let ring = shared.ring();
    for _ in 0..STALLS_MAX {
        match ring.pop(buffer) {
            Ok(Taken::Message { len, attention }) => {
                if attention.has(Attention::ROOM_WANTED | Attention::SKIPS) {
                    attend(shared, vigil, attention);
                }
                return Ok(len);
            }
            Ok(Taken::Empty) => return Err(found_empty(shared)),
            Ok(Taken::TooSmall { len }) => return Err(PopError::TooSmall { len }),
            Ok(Taken::Stalled(stalled)) => outwait(ring, patience, stalled)?,
            Err(_) => return Err(PopError::Corrupt),
        }
    }
    Err(PopError::Corrupt)
}

/// Somebody sleeps, or slots rest.
#[cold]
fn attend(shared: &Shared, vigil: &mut Vigil, attention: Attention) {
    shared.room().wake(shared.ring(), attention);
    vigil.keep(shared, attention);
}

/// Gives a put in progress a little time, then passes it over.
#[cold]
fn outwait(ring: &Ring<'_>, patience: &mut Patience, stalled: Stalled) -> Result<(), PopError> {
    if patience.until(|| ring.is_back(stalled)) {
        return Ok(());
    }
    ring.pass(stalled).map_err(|_| PopError::Refused)
}

/// A queue found empty may have places that came from passing over, which woke nobody.
#[cold]
fn found_empty(shared: &Shared) -> PopError {
    let ring = shared.ring();
    shared.room().wake(ring, ring.attention());
    PopError::Empty
}
