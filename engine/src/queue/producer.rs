//! The producer's handle.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::vigil::Vigil;
use crate::error::{AttachError, PushError};
use crate::registry::{Seat, Side};
use crate::ring::{Attention, Hand, Pushed};
use crate::wait::clock::Deadline;
use crate::wait::spin::{Spin, pause_for_room};

/// Puts messages. One thread uses it at a time; each thread attaches its own.
///
/// Killed or stopped anywhere in a put, it delays nobody, and its message is either whole in the
/// queue or not there.
#[derive(Debug)]
pub struct Producer {
    hand: Hand<'static>,
    spin: Spin,
    vigil: Vigil,
    // Dropped before the segment it lies in.
    seat: Seat<'static>,
    shared: Arc<Shared>,
}

impl Producer {
    pub(super) fn attach(shared: Arc<Shared>) -> Result<Self, AttachError> {
        let ring = shared.ring();
        let seat = shared.registry().join(ring, Side::Producer, ring.shape().producers)?;
        let hand = ring.hand(seat.line());
        Ok(Self { hand, spin: Spin::default(), vigil: Vigil::new(), seat, shared })
    }

    /// In a forked child: takes a place of its own, and leaves the parent's alone.
    #[cold]
    fn attach_anew(&mut self) -> Result<(), PushError> {
        *self = Self::attach(Arc::clone(&self.shared)).map_err(|_| PushError::Forked)?;
        Ok(())
    }

    /// Puts `message` now, or says [`PushError::Full`]. Never blocks; lock-free with many
    /// producers, wait-free with one. Everybody sees the message when this returns.
    ///
    /// # Errors
    /// [`PushError`]; the message was not put.
    #[inline]
    pub fn try_push(&mut self, message: &[u8]) -> Result<(), PushError> {
        if !self.seat.is_own() {
            self.attach_anew()?;
        }
        try_push(&self.shared, &mut self.hand, &mut self.vigil, message)
    }

    /// Puts `message`, waiting for a place as long as it takes.
    ///
    /// # Errors
    /// [`PushError`], but not [`PushError::Full`].
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), PushError> {
        match self.try_push(message) {
            Err(PushError::Full) => self.push_until(message, Deadline::NEVER),
            done => done,
        }
    }

    /// Puts `message`, waiting for a place no longer than `timeout`.
    ///
    /// # Errors
    /// [`PushError::Full`] after `timeout`, never earlier.
    pub fn push_timeout(&mut self, message: &[u8], timeout: Duration) -> Result<(), PushError> {
        match self.try_push(message) {
            Err(PushError::Full) if !timeout.is_zero() => {
                self.push_until(message, Deadline::after(timeout))
            }
            done => done,
        }
    }

    #[cold]
    fn push_until(&mut self, message: &[u8], deadline: Deadline) -> Result<(), PushError> {
        let Self { shared, hand, spin, vigil, .. } = self;
        let ring = shared.ring();
        let pause = pause_for_room(ring.shape().capacity);
        let attempt = || match try_push(shared, hand, vigil, message) {
            Err(PushError::Full) => None,
            done => Some(done),
        };
        let ready = || ring.has_places();
        let done = shared.room().until(ring, deadline, spin, pause, ready, attempt);
        done.unwrap_or(Err(PushError::Full))
    }
}

#[inline(always)]
fn try_push(
    shared: &Shared,
    hand: &mut Hand<'static>,
    vigil: &mut Vigil,
    message: &[u8],
) -> Result<(), PushError> {
    let ring = shared.ring();
    let max = ring.shape().message_max;
    if message.len() > max {
        return Err(PushError::TooLarge { len: message.len(), max });
    }
    match ring.push(hand, message) {
        Ok(Pushed::Done { attention }) => {
            if attention.has(Attention::ITEMS_WANTED | Attention::SKIPS) {
                attend(shared, vigil, attention);
            }
            Ok(())
        }
        Ok(Pushed::Full) => Err(PushError::Full),
        Err(_) => Err(PushError::Corrupt),
    }
}

/// Somebody sleeps, or slots rest.
#[cold]
fn attend(shared: &Shared, vigil: &mut Vigil, attention: Attention) {
    shared.items().wake(shared.ring(), attention);
    vigil.keep(shared, attention);
}
