//! The producer's handle.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bell::{Bell, For};
use super::payloads::{Payloads, Place, relieved};
use super::shared::Shared;
use super::vigil::Vigil;
use crate::error::{AttachError, PartlyPut, PushError};
use crate::layout::geometry::Request;
use crate::registry::{Seat, Side};
use crate::ring::{Asking, Attention, Corrupt, Hand, Plain, Pushed, RUN_MAX, Ring, Role, payload};
use crate::wait::clock::Deadline;
use crate::wait::spin::{Lull, Spin, Wait};

/// Puts messages. One thread uses it at a time; each thread attaches its own.
///
/// Killed or stopped anywhere in a put, it delays nobody, and its message is either whole in the
/// queue or not there.
#[repr(align(128))]
pub struct Producer {
    hand: Hand<'static>,
    payloads: Payloads,
    spin: Spin,
    lull: Lull,
    vigil: Vigil,
    /// Where a loan for a slot is written.
    pub(super) scratch: Vec<u8>,
    // Dropped before the segment it lies in.
    seat: Seat<'static>,
    shared: Arc<Shared>,
}

impl Producer {
    pub(super) fn attach(shared: Arc<Shared>) -> Result<Self, AttachError> {
        let ring = shared.ring();
        let producers = ring.shape().producers;
        let seat = shared.registry().join(shared.estate(), Side::Producer, producers)?;
        let mut hand = ring.hand(seat.line());
        if let (Role::One, Some(segments), Some(arena)) =
            (producers, shared.segments(), shared.arena())
        {
            let reach = segments.reach_of(arena, ring.segment_of_tail(), seat.line());
            ring.begin_alone(&mut hand, reach);
        }
        shared.begin();
        let (payloads, spin, vigil) = (Payloads::default(), Spin::new(), Vigil::new());
        let lull = Lull::for_places(ring.shape().capacity);
        Ok(Self { hand, payloads, spin, lull, vigil, scratch: Vec::new(), seat, shared })
    }

    /// How it waits for places, from now on.
    pub fn wait_by(&mut self, wait: Wait) {
        self.spin.wait_by(wait);
    }

    /// How it asks for cache lines, from now on: otherwise as is best on this machine.
    pub fn ask_by(&mut self, asking: Asking) {
        self.shared.ring().ask_by(&mut self.hand, asking);
    }

    /// A descriptor that can be polled until there may be a place, or never will.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn bell(&self) -> io::Result<Bell> {
        Bell::new(Arc::clone(&self.shared), For::Room)
    }

    /// How often it has slept.
    pub fn sleeps(&self) -> u64 {
        self.spin.sleeps()
    }

    /// How often it slept beside a place until it looked by itself, some 100 ms: who should have woken it
    /// was killed.
    pub fn late_wakes(&self) -> u64 {
        self.spin.late()
    }

    /// In a forked child: takes a place of its own, and leaves the parent's alone.
    #[cold]
    fn attach_anew(&mut self) -> Result<(), PushError> {
        let (wait, asking) = (self.spin.wait(), self.hand.asking());
        *self = Self::attach(Arc::clone(&self.shared)).map_err(|_| PushError::Forked)?;
        self.wait_by(wait);
        self.ask_by(asking);
        Ok(())
    }

    /// Not a copy of the parent's, in a forked child?
    pub(super) fn is_own(&self) -> bool {
        self.seat.is_own()
    }

    #[inline(always)]
    pub(super) fn ensure_own(&mut self) -> Result<(), PushError> {
        if self.seat.is_own() { Ok(()) } else { self.attach_anew() }
    }

    /// Puts `message` now, or says [`PushError::Full`]. Never blocks; lock-free with many
    /// producers, wait-free with one. Everybody sees the message when this returns.
    ///
    /// # Errors
    /// [`PushError`]; the message was not put.
    #[inline]
    pub fn try_push(&mut self, message: &[u8]) -> Result<(), PushError> {
        self.push_by(message, || Deadline::NOW)
    }

    /// Puts `message`, waiting for a place as long as it takes. Does not wait for memory.
    ///
    /// # Errors
    /// [`PushError`], but not [`PushError::Full`].
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), PushError> {
        self.push_by(message, || Deadline::NEVER)
    }

    /// Puts `message`, waiting for a place no longer than `timeout`. Does not wait for memory.
    ///
    /// # Errors
    /// [`PushError::Full`] after `timeout`, never earlier.
    pub fn push_timeout(&mut self, message: &[u8], timeout: Duration) -> Result<(), PushError> {
        self.push_by(message, || Deadline::after(timeout))
    }

    /// What is not plain goes on elsewhere, as the last thing done here: so there is nothing to keep
    /// meanwhile.
    #[inline(always)]
    fn push_by(
        &mut self,
        message: &[u8],
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<(), PushError> {
        let ring = self.shared.ring();
        if !self.seat.is_surely_own() || message.len() > ring.shape().inline_max {
            return self.push_other(message, deadline());
        }
        match ring.push_plain(&mut self.hand, message) {
            Plain::Done => Ok(()),
            stopped => self.push_on(stopped, message, deadline()),
        }
    }

    #[cold]
    #[inline(never)]
    fn push_on(
        &mut self,
        stopped: Plain,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<(), PushError> {
        let ring = self.shared.ring();
        let is_last = deadline == Deadline::NOW && stopped == Plain::Refused;
        if is_last && ring.is_full() && !ring.is_shut() {
            return Err(PushError::Full);
        }
        let mut stopped = Some(stopped);
        let push = |ring: &Ring<'static>, hand: &mut Hand<'static>| match stopped.take() {
            Some(stopped) => ring.push_on(hand, stopped, message),
            None => ring.push(hand, message),
        };
        match self.put(push) {
            Err(PushError::Full) if deadline != Deadline::NOW => {
                self.put_until(deadline, |ring, hand| ring.push(hand, message))
            }
            done => done,
        }
    }

    /// What does not fit a slot; or perhaps in a forked child.
    #[cold]
    #[inline(never)]
    fn push_other(&mut self, message: &[u8], deadline: Deadline) -> Result<(), PushError> {
        self.ensure_own()?;
        if message.len() > self.inline_max() {
            return self.push_placed(message, deadline);
        }
        self.push_on(Plain::Refused, message, deadline)
    }

    /// Puts the first of `messages` now, as many as fit, and says how many those were: 0 if the queue is
    /// full. Their places are claimed together, some at a time, which costs less than one by one; they
    /// stay in order, but another producer's messages may come between. At a time are up to 64 claimed; of many
    /// producers of a bounded queue, each may claim its part of the spare slots: 16, or more, if there are as many
    /// places for each of [`Options::participants`](crate::Options::participants), and as many as there are for each,
    /// if not. (Of slots of more than 512 bytes, one at least.)
    ///
    /// # Errors
    /// As for [`Producer::try_push`], but never [`PushError::Full`], about the first message: if some
    /// were put, the next call has the error.
    pub fn try_push_many<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<usize, PushError> {
        let mut done = 0;
        for messages in messages.chunks(RUN_MAX) {
            match with_bytes(messages, |bytes| self.try_push_all(bytes)) {
                Ok(put) => {
                    done += put;
                    // Later ones may not come before those that found no place.
                    if put < messages.len() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The same of all of them. Of `M` the same holds as for `push_run`.
    pub(super) fn try_push_all<M: AsRef<[u8]>>(
        &mut self,
        messages: &[M],
    ) -> Result<usize, PushError> {
        let mut done = 0;
        while done < messages.len() {
            match self.push_run(&messages[done..]) {
                Ok(put) => done += put,
                Err(PushError::Full) => break,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Puts all `messages`, waiting for places as long as it takes. As for
    /// [`Producer::try_push_many`], several at a time: 64 are asked for before the first of them is put, and on an
    /// error those that were not put are dropped.
    ///
    /// # Errors
    /// [`PartlyPut`] says how many were put before it went wrong, and how.
    pub fn push_many<M: AsRef<[u8]>>(
        &mut self,
        messages: impl IntoIterator<Item = M>,
    ) -> Result<(), PartlyPut> {
        let mut messages = messages.into_iter();
        let mut batch = Vec::with_capacity(RUN_MAX.min(messages.size_hint().1.unwrap_or(RUN_MAX)));
        let mut put = 0;
        loop {
            batch.extend(messages.by_ref().take(RUN_MAX));
            if batch.is_empty() {
                return Ok(());
            }
            with_bytes(&batch, |bytes| self.push_all(put, bytes))?;
            put += batch.len();
            batch.clear();
        }
    }

    /// Puts all of them, after so many others. Of `M` the same holds as for `push_run`.
    pub(super) fn push_all<M: AsRef<[u8]>>(
        &mut self,
        mut put: usize,
        mut messages: &[M],
    ) -> Result<(), PartlyPut> {
        while let [first, ..] = messages {
            let done = match self.push_run(messages) {
                Err(PushError::Full) => self.push(first.as_ref()).map(|()| 1),
                done => done,
            };
            let done = done.map_err(|error| PartlyPut { put, error })?;
            put += done;
            messages = &messages[done..];
        }
        Ok(())
    }

    /// Puts some of `messages`, of which there is one; more than one if they fit slots. That is between claiming
    /// and publishing, so `M` is no type of others: see [`with_bytes`].
    fn push_run<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<usize, PushError> {
        self.ensure_own()?;
        let inline_max = self.inline_max();
        let inline = messages.iter().take(RUN_MAX);
        let inline = inline.take_while(|message| message.as_ref().len() <= inline_max).count();
        if inline == 0 {
            return self.push_placed(messages[0].as_ref(), Deadline::NOW).map(|()| 1);
        }
        let mut put = 0;
        self.put(|ring, hand| {
            let (count, pushed) = ring.push_run(hand, &messages[..inline])?;
            put = count;
            Ok(pushed)
        })?;
        Ok(put)
    }

    /// Puts what a loan has written to our own memory.
    pub(super) fn push_scratch(&mut self, deadline: Deadline) -> Result<(), PushError> {
        let scratch = std::mem::take(&mut self.scratch);
        let done = self.push_by(&scratch, || deadline);
        self.scratch = scratch;
        done
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.shared.ring().is_shut()
    }

    /// Bytes of the longest message in a slot.
    pub(super) fn inline_max(&self) -> usize {
        self.shared.ring().shape().inline_max
    }

    /// Lays a message that does not fit a slot into the arena, and puts where it is.
    #[cold]
    fn push_placed(&mut self, message: &[u8], deadline: Deadline) -> Result<(), PushError> {
        if self.is_shut_down() {
            return Err(PushError::ShutDown);
        }
        let place = self.place(message.len(), deadline)?;
        // SAFETY: the place has as many bytes, and nobody else uses them before it is put.
        unsafe { payload::copy_in(message, place.memory.as_ptr()) };
        let done = self.put_place(place, deadline);
        if done.is_err() {
            self.abandon(place);
        }
        done
    }

    /// Memory for a message. A queue that looks full at once, and would be given up at once, is full:
    /// that need not cost writing the message.
    pub(super) fn place(&mut self, len: usize, deadline: Deadline) -> Result<Place, PushError> {
        let Request { message_max: max, .. } = *self.shared.request();
        if len > max {
            return Err(PushError::TooLarge { len, max });
        }
        let ring = self.shared.ring();
        if deadline == Deadline::NOW && ring.is_full() {
            return Err(PushError::Full);
        }
        self.payloads.place(&self.shared, &self.seat, len)
    }

    pub(super) fn put_place(&mut self, place: Place, deadline: Deadline) -> Result<(), PushError> {
        let shared = Arc::clone(&self.shared);
        let cover = |ticket| {
            if let Some(arena) = shared.arena() {
                arena.cover(place.block, ticket);
            }
        };
        let reference = place.reference();
        let push = |ring: &Ring<'static>, hand: &mut _| ring.push_reference(hand, reference, cover);
        let done = match self.put(push) {
            Err(PushError::Full) if deadline != Deadline::NOW => self.put_until(deadline, push),
            done => done,
        };
        if done.is_ok() {
            self.payloads.put(&self.shared, &self.seat, place);
        }
        done
    }

    /// What was placed will not be put.
    pub(super) fn abandon(&mut self, place: Place) {
        self.payloads.abandon(&self.shared, &self.seat, place);
    }

    /// Puts once.
    fn put(
        &mut self,
        push: impl FnMut(&Ring<'static>, &mut Hand<'static>) -> Result<Pushed, Corrupt>,
    ) -> Result<(), PushError> {
        let Self { shared, hand, vigil, seat, .. } = self;
        put(shared, hand, vigil, seat, push)
    }

    #[cold]
    fn put_until(
        &mut self,
        deadline: Deadline,
        mut push: impl FnMut(&Ring<'static>, &mut Hand<'static>) -> Result<Pushed, Corrupt>,
    ) -> Result<(), PushError> {
        let Self { shared, hand, spin, lull, vigil, seat, .. } = self;
        let ring = shared.ring();
        let pause = lull.cycles();
        let attempt = || match put(shared, hand, vigil, seat, &mut push) {
            Err(PushError::Full) => None,
            done => Some(done),
        };
        let ready = || ring.has_places();
        if let Some(free) = spin.look(pause, || ready().then(|| ring.places())) {
            lull.found(free, ring.shape().capacity);
        }
        let done = shared.room().until(ring, deadline, spin, pause, ready, attempt);
        done.unwrap_or(Err(PushError::Full))
    }
}

/// The bytes of at most `RUN_MAX` messages: what says so, which may panic or change its mind, is not called any
/// more when tickets have been claimed.
fn with_bytes<M: AsRef<[u8]>, R>(messages: &[M], push: impl FnOnce(&[&[u8]]) -> R) -> R {
    let mut bytes = [&[][..]; RUN_MAX];
    bytes.iter_mut().zip(messages).for_each(|(bytes, message)| *bytes = message.as_ref());
    push(&bytes[..messages.len()])
}

/// Not what is in shared memory: that may be gigabytes.
impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("queue", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // A forked child has a copy of the handle, not the blocks.
        if self.seat.is_own() {
            self.payloads.close(&self.shared, &self.seat);
            self.seat.leave();
            self.shared.end_if_producers_left();
        }
    }
}

fn put(
    shared: &Shared,
    hand: &mut Hand<'static>,
    vigil: &mut Vigil,
    seat: &Seat<'_>,
    mut push: impl FnMut(&Ring<'static>, &mut Hand<'static>) -> Result<Pushed, Corrupt>,
) -> Result<(), PushError> {
    let ring = shared.ring();
    for _ in 0..MOVES_MAX {
        match push(ring, hand) {
            Ok(Pushed::Done { attention }) => {
                if attention.has(Attention::ITEMS_WANTED | Attention::SKIPS) {
                    attend(shared, vigil, attention);
                }
                return Ok(());
            }
            Ok(Pushed::Full) => return Err(PushError::Full),
            Ok(Pushed::Shut) => return Err(PushError::ShutDown),
            Ok(Pushed::Elsewhere { segment }) => move_to(shared, hand, seat, segment)?,
            Err(_) => return Err(PushError::Corrupt),
        }
    }
    Err(PushError::Corrupt)
}

/// No put meets this many segments that others have filled meanwhile.
const MOVES_MAX: u32 = 1 << 20;

/// The next ticket is of another segment: finds it, or installs it.
#[cold]
fn move_to(
    shared: &Shared,
    hand: &mut Hand<'static>,
    seat: &Seat<'_>,
    segment: u64,
) -> Result<(), PushError> {
    let (Some(segments), Some(arena)) = (shared.segments(), shared.arena()) else {
        return Err(PushError::Corrupt);
    };
    let found = relieved(shared, seat, || segments.install(arena, segment, seat.at()))?;
    if let Some(reach) = found {
        hand.move_to(reach);
    }
    Ok(())
}

/// Somebody sleeps, or slots rest.
#[cold]
fn attend(shared: &Shared, vigil: &mut Vigil, attention: Attention) {
    shared.items().wake(shared.ring(), attention);
    vigil.keep(shared, attention);
}
