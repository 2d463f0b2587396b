//! The consumer's handle.

mod many;
mod trail;

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use trail::Trail;

use super::bell::{Bell, For};
use super::shared::Shared;
use super::vigil::Vigil;
use crate::arena::{Block, PAYLOADS, Unmapped};
use crate::error::{AttachError, PopError};
use crate::registry::{Seat, Side};
use crate::ring::{
    Asking, Attention, Corrupt, Grip, Look, PlainTake, Reach, Reference, Ring, Shape, Stalled,
    Taken, payload,
};
use crate::wait::Want;
use crate::wait::clock::Deadline;
use crate::wait::distance::Distance;
use crate::wait::spin::{PAUSE, Patience, Spin, Wait};

/// Gets messages. One thread uses it at a time; each thread attaches its own.
///
/// Killed or stopped anywhere in a get, it delays nobody: the message it was copying is still in
/// the queue, or gone with it.
#[repr(align(128))]
pub struct Consumer {
    grip: Grip<'static>,
    upkeep: Upkeep,
    spin: Spin,
    distance: Distance,
    /// What was in a slot, for who reads it in place.
    pub(super) scratch: Vec<u8>,
    // Dropped before the segment it lies in.
    seat: Seat<'static>,
    shared: Arc<Shared>,
}

/// What a consumer does for the others.
#[derive(Debug)]
struct Upkeep {
    patience: Patience,
    vigil: Vigil,
    trail: Trail,
}

/// A message that is nobody else's.
#[derive(Debug)]
pub(super) enum Got {
    /// So many bytes, copied from its slot.
    Copied(usize),
    /// In the arena, held by our line until [`Consumer::release`].
    Held(Held),
}

/// A message in the arena that is ours to read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) block: Block,
    pub(super) memory: NonNull<u8>,
    pub(super) len: usize,
}

// SAFETY: an address in a segment that the handle keeps mapped.
unsafe impl Send for Held {}

impl Consumer {
    pub(super) fn attach(shared: Arc<Shared>) -> Result<Self, AttachError> {
        let ring = shared.ring();
        let consumers = ring.shape().consumers;
        let seat = shared.registry().join(shared.estate(), Side::Consumer, consumers)?;
        let grip = ring.grip(seat.line());
        let patience = Patience::for_messages_of(ring.shape().inline_max);
        let upkeep = Upkeep { patience, vigil: Vigil::new(), trail: Trail::default() };
        let Shape { capacity, stride, .. } = *ring.shape();
        let distance = Distance::of(capacity, stride, Asking::here());
        let (spin, scratch) = (Spin::new(), Vec::new());
        Ok(Self { grip, upkeep, spin, distance, scratch, seat, shared })
    }

    /// How it waits for messages, from now on.
    pub fn wait_by(&mut self, wait: Wait) {
        self.spin.wait_by(wait);
    }

    /// How it asks for cache lines, from now on: otherwise as is best on this machine.
    pub fn ask_by(&mut self, asking: Asking) {
        let Shape { capacity, stride, .. } = *self.shared.ring().shape();
        self.distance = Distance::of(capacity, stride, asking);
    }

    /// A descriptor that can be polled until there may be a message, or the end of the queue.
    ///
    /// # Errors
    /// If there is no descriptor or no thread to be had.
    pub fn bell(&self) -> io::Result<Bell> {
        Bell::new(Arc::clone(&self.shared), For::Items)
    }

    /// Is there something in the queue, or nothing more to come?
    pub(super) fn may_have_message(&self) -> bool {
        let ring = self.shared.ring();
        let has_message = !ring.is_empty() || ring.is_ready(&self.grip);
        has_message || ring.is_shut() || self.shared.end_if_producers_died()
    }

    /// What it waits for.
    pub(super) fn want(&self) -> (Want<'static>, &Ring<'static>) {
        (self.shared.items(), self.shared.ring())
    }

    /// How often it has slept.
    pub fn sleeps(&self) -> u64 {
        self.spin.sleeps()
    }

    /// How often it slept beside a message until it looked by itself, some 100 ms: who should have woken it
    /// was killed.
    pub fn late_wakes(&self) -> u64 {
        self.spin.late()
    }

    /// In a forked child: takes a place of its own, and leaves the parent's alone.
    #[cold]
    fn attach_anew(&mut self) -> Result<(), PopError> {
        let (wait, asking) = (self.spin.wait(), self.distance.asking());
        *self = Self::attach(Arc::clone(&self.shared)).map_err(|_| PopError::Forked)?;
        self.wait_by(wait);
        self.ask_by(asking);
        Ok(())
    }

    /// Not a copy of the parent's, in a forked child?
    pub(super) fn is_own(&self) -> bool {
        self.seat.is_own()
    }

    #[inline(always)]
    fn ensure_own(&mut self) -> Result<(), PopError> {
        if self.seat.is_own() { Ok(()) } else { self.attach_anew() }
    }

    /// Gets the next message into `buffer` now, and says how long it is, or says
    /// [`PopError::Empty`]. Never sleeps; a put in progress at the head is waited for, then passed over: 3,000 cycles
    /// and 4 for each byte of [`Options::inline`](crate::Options::inline), 2^20 at most; twice as long after one that
    /// was passed over, up to 256 times. Lock-free with many consumers, wait-free with one.
    ///
    /// # Errors
    /// [`PopError`]; the message, if there was one, is still in the queue.
    #[inline]
    pub fn try_pop(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        if !self.seat.is_surely_own() || self.distance.is_due() {
            return self.pop_now_far(buffer);
        }
        match self.shared.ring().pop_plain(&self.grip, buffer) {
            PlainTake::Taken { len, calls: false } => Ok(len),
            PlainTake::Taken { len, .. } => self.popped(len),
            PlainTake::Stopped => self.pop_now(buffer),
        }
    }

    /// When it is time to ask for lines; or perhaps in a forked child.
    #[cold]
    #[inline(never)]
    fn pop_now_far(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        let is_due = self.seat.is_surely_own() || self.distance.is_due();
        self.ensure_own()?;
        if is_due {
            self.keep_distance(1, false);
        }
        self.pop_now(buffer)
    }

    #[cold]
    #[inline(never)]
    fn pop_now(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        let Self { shared, upkeep, .. } = self;
        let has_duties = !upkeep.trail.is_clear() || shared.request().ends_with_producers;
        if !has_duties && shared.ring().is_plainly_empty() {
            return Err(PopError::Empty);
        }
        let longest = buffer.len();
        let got = self.take_now(buffer, longest)?;
        Ok(self.copied(got, buffer))
    }

    /// Ends a pop of so many bytes, whose place somebody may wait for.
    #[cold]
    #[inline(never)]
    fn popped(&mut self, len: usize) -> Result<usize, PopError> {
        attend(&self.shared, &mut self.upkeep.vigil, self.shared.ring().attention());
        Ok(len)
    }

    /// Gets the next message, waiting for one as long as it takes. In a stream it lets the producers get ahead
    /// first, now and then, for at most some 50 µs, though there is a message; but not if it waits by
    /// [`Wait::Spin`] or [`Wait::Park`], nor in a queue of fewer than 128 places.
    ///
    /// # Errors
    /// [`PopError`], but not [`PopError::Empty`].
    #[inline]
    pub fn pop(&mut self, buffer: &mut [u8]) -> Result<usize, PopError> {
        self.pop_by(buffer, || Deadline::NEVER)
    }

    /// Gets the next message, waiting for one no longer than `timeout`; in a stream some 50 µs longer, at most.
    ///
    /// # Errors
    /// [`PopError::Empty`] after `timeout`, never earlier.
    pub fn pop_timeout(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, PopError> {
        if timeout.is_zero() {
            return self.try_pop(buffer);
        }
        self.pop_by(buffer, || Deadline::after(timeout))
    }

    /// What is not plain goes on elsewhere, as for a producer.
    #[inline(always)]
    pub(super) fn pop_by(
        &mut self,
        buffer: &mut [u8],
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<usize, PopError> {
        if !self.seat.is_surely_own() || self.distance.is_due() {
            return self.pop_far(buffer, deadline());
        }
        match self.shared.ring().pop_plain(&self.grip, buffer) {
            PlainTake::Taken { len, calls: false } => Ok(len),
            PlainTake::Taken { len, .. } => self.popped(len),
            PlainTake::Stopped => self.pop_soon(buffer, deadline()),
        }
    }

    /// When it is time to let the producers get ahead; or perhaps in a forked child.
    #[cold]
    #[inline(never)]
    fn pop_far(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, PopError> {
        let is_due = self.seat.is_surely_own() || self.distance.is_due();
        self.ensure_own()?;
        if is_due {
            self.keep_distance(1, true);
        }
        self.pop_soon(buffer, deadline)
    }

    /// Before a get of so many messages: makes sure that the place is ours, and keeps the distance, if it is time.
    fn begin(&mut self, messages: usize, may_wait: bool) -> Result<(), PopError> {
        self.ensure_own()?;
        if self.distance.is_due() {
            self.keep_distance(messages, may_wait);
        }
        Ok(())
    }

    /// Before a get of so many messages: asks for the lines of those that are there; and if it may wait, lets
    /// the producers get ahead first, where that is worth it.
    #[cold]
    fn keep_distance(&mut self, messages: usize, may_wait: bool) {
        let Self { shared, grip, distance, spin, .. } = self;
        let ring = shared.ring();
        let may_wait = may_wait && spin.wait() == Wait::Adaptive;
        let is_there = |ticket| ring.is_there(grip, ticket);
        let end = grip.reach().end();
        let tickets = distance.keep(messages, may_wait, end, || ring.next(), is_there);
        ring.ask(grip, tickets, distance.asking());
    }

    /// Looks at the slot alone for a while. To ask `tail`, as an attempt does before it says Empty, would
    /// take its line from the producers for every message that they are about to put.
    #[cold]
    #[inline(never)]
    fn pop_soon(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, PopError> {
        let Self { shared, grip, spin, distance, .. } = self;
        let (ring, longest) = (shared.ring(), buffer.len());
        // At once first: what need not be waited for says nothing about waits.
        let found = ring.pop_ready(grip, buffer, longest);
        let found = found.or_else(|| {
            ring.ask_for_next(grip, distance.asking());
            spin.look(PAUSE, || ring.pop_ready(grip, buffer, longest))
        });
        match found {
            Some(Taken::Message { len, attention }) if !attention.has(Attention::AFTER_TAKE) => {
                Ok(len)
            }
            Some(taken) => self.pop_from(taken, buffer, deadline),
            None => self.pop_until(buffer, deadline),
        }
    }

    fn pop_from(
        &mut self,
        taken: Taken,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize, PopError> {
        let longest = buffer.len();
        let Self { shared, grip, upkeep, seat, .. } = self;
        match take_from(Ok(taken), shared, grip, upkeep, seat, buffer, longest) {
            Err(PopError::Empty) => self.pop_until(buffer, deadline),
            got => Ok(self.copied(got?, buffer)),
        }
    }

    #[cold]
    fn pop_until(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, PopError> {
        self.ensure_own()?;
        let longest = buffer.len();
        let got = self.take_until(buffer, longest, deadline)?;
        Ok(self.copied(got, buffer))
    }

    /// Takes the next message: into `buffer`, or, if it lies in the arena and has at most `longest`
    /// bytes, where it is.
    pub(super) fn take(
        &mut self,
        buffer: &mut [u8],
        longest: usize,
        deadline: Deadline,
    ) -> Result<Got, PopError> {
        self.begin(1, true)?;
        self.look();
        match self.take_one(buffer, longest) {
            Err(PopError::Empty) => self.take_until(buffer, longest, deadline),
            done => done,
        }
    }

    /// Looks until there may be a message, if it is worth that.
    fn look(&mut self) {
        let Self { shared, grip, spin, distance, .. } = self;
        let ring = shared.ring();
        if !ring.is_ready(grip) {
            ring.ask_for_next(grip, distance.asking());
            spin.look(PAUSE, || ring.is_ready(grip).then_some(()));
        }
    }

    /// The same, if there is a message.
    pub(super) fn take_at_once(
        &mut self,
        buffer: &mut [u8],
        longest: usize,
    ) -> Result<Got, PopError> {
        self.begin(1, false)?;
        self.take_one(buffer, longest)
    }

    /// Takes the next message as [`Consumer::take`] does, if there is one.
    pub(super) fn take_now(&mut self, buffer: &mut [u8], longest: usize) -> Result<Got, PopError> {
        self.ensure_own()?;
        self.take_one(buffer, longest)
    }

    /// Takes it as soon as there is one.
    #[cold]
    pub(super) fn take_until(
        &mut self,
        buffer: &mut [u8],
        longest: usize,
        deadline: Deadline,
    ) -> Result<Got, PopError> {
        let Self { shared, grip, upkeep, spin, seat, .. } = self;
        let ring = shared.ring();
        let attempt = || match take(shared, grip, upkeep, seat, buffer, longest) {
            Err(PopError::Empty) => None,
            done => Some(done),
        };
        let ready = || ring.is_ready(grip);
        let done = shared.items().until(ring, deadline, spin, PAUSE, ready, attempt);
        done.unwrap_or(Err(PopError::Empty))
    }

    /// One attempt.
    fn take_one(&mut self, buffer: &mut [u8], longest: usize) -> Result<Got, PopError> {
        let Self { shared, grip, upkeep, seat, .. } = self;
        take(shared, grip, upkeep, seat, buffer, longest)
    }

    fn copied(&mut self, got: Got, buffer: &mut [u8]) -> usize {
        match got {
            Got::Copied(len) => len,
            Got::Held(held) => self.copy_out(&held, buffer),
        }
    }

    #[cold]
    fn copy_out(&mut self, held: &Held, buffer: &mut [u8]) -> usize {
        // SAFETY: the message has `len` bytes, at most as many as the buffer (`longest`), and our line
        // holds it.
        unsafe { payload::copy_out(held.memory.as_ptr(), &mut buffer[..held.len]) };
        self.release(held);
        held.len
    }

    /// A held message has been read.
    pub(super) fn release(&mut self, held: &Held) {
        self.grip.let_go();
        self.upkeep.trail.large |= held.block.class > PAYLOADS;
        self.upkeep.trail.empty_since = 0;
        done_with(&self.shared, &self.seat, held.block);
    }

    /// Messages in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.shared.ring().len() as usize
    }

    /// Bytes of the longest message in a slot.
    pub(super) fn inline_max(&self) -> usize {
        self.shared.ring().shape().inline_max
    }
}

/// Not what is in shared memory: that may be gigabytes.
impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("queue", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.seat.is_own() && self.shared.ring().is_empty() {
            self.upkeep.trail.follow(&self.shared, &self.seat, None);
            self.upkeep.trail.trim(&self.shared, &self.seat);
        }
    }
}

/// No take meets this many stalled tickets in a row: each is another producer's, or another try of
/// a producer that patience grows for.
const STALLS_MAX: u32 = 4096;

fn take(
    shared: &Shared,
    grip: &Grip<'static>,
    upkeep: &mut Upkeep,
    seat: &Seat<'_>,
    buffer: &mut [u8],
    longest: usize,
) -> Result<Got, PopError> {
    let taken = shared.ring().pop(grip, buffer, longest);
    take_from(taken, shared, grip, upkeep, seat, buffer, longest)
}

/// Goes on from the first look until there is a message, or none.
fn take_from(
    mut taken: Result<Taken, Corrupt>,
    shared: &Shared,
    grip: &Grip<'static>,
    upkeep: &mut Upkeep,
    seat: &Seat<'_>,
    buffer: &mut [u8],
    longest: usize,
) -> Result<Got, PopError> {
    let ring = shared.ring();
    let Upkeep { patience, vigil, trail } = upkeep;
    let mut look = None;
    for _ in 0..STALLS_MAX {
        match taken {
            Ok(Taken::Message { len, attention }) => {
                if attention.has(Attention::AFTER_TAKE) {
                    attend(shared, vigil, attention);
                }
                return Ok(Got::Copied(len));
            }
            Ok(Taken::Reference { attention }) => {
                attend(shared, vigil, attention);
                return find(shared, grip);
            }
            Ok(Taken::Overtaken { block }) => done_with(shared, seat, Block::unpack(block)),
            Ok(Taken::Empty) => found_empty(shared, vigil, trail, seat, &mut look)?,
            Ok(Taken::TooSmall { len }) => {
                let is_possible = len <= shared.request().message_max;
                return Err(if is_possible {
                    PopError::TooSmall { len }
                } else {
                    PopError::Corrupt
                });
            }
            Ok(Taken::Stalled(stalled)) => outwait(shared, grip, patience, stalled)?,
            Ok(Taken::Elsewhere { segment }) => {
                if !move_to(shared, grip, trail, seat, segment) {
                    found_empty(shared, vigil, trail, seat, &mut look)?;
                }
            }
            Err(_) => return Err(PopError::Corrupt),
        }
        taken = ring.pop(grip, buffer, longest);
    }
    Err(PopError::Corrupt)
}

/// Where the reference leads. A hostile one leads nowhere.
#[cold]
fn find(shared: &Shared, grip: &Grip<'_>) -> Result<Got, PopError> {
    let Reference { len, block, offset } = grip.reference();
    let block = Block::unpack(block);
    let is_possible = len <= shared.request().message_max as u64;
    match shared.payload(block, offset, len) {
        Some(memory) if is_possible => Ok(Got::Held(Held { block, memory, len: len as usize })),
        _ => {
            grip.let_go();
            Err(PopError::Corrupt)
        }
    }
}

/// Gives a block back that we no longer hold, if it is over.
#[cold]
fn done_with(shared: &Shared, seat: &Seat<'_>, block: Block) {
    if let Some(arena) = shared.arena() {
        arena.done_with(block, seat.at());
    }
}

/// The head is in another segment: enters it, and gives the last one back if it is over. False:
/// nobody has put anything there.
#[cold]
fn move_to(
    shared: &Shared,
    grip: &Grip<'static>,
    trail: &mut Trail,
    seat: &Seat<'_>,
    segment: u64,
) -> bool {
    let (Some(segments), Some(arena)) = (shared.segments(), shared.arena()) else { return true };
    match segments.enter(arena, segment, grip.line()) {
        Ok(reach) => {
            let left = grip.reach().first().map(|ticket| shared.ring().segment_of(ticket));
            grip.move_to(reach);
            trail.follow(shared, seat, left);
            true
        }
        Err(Unmapped::Missing) => !shared.ring().is_untouched(),
        Err(Unmapped::Over) => {
            // Our pin may have moved on, so what we saw before may be gone; and we do not see this one.
            let left = grip.reach().first().map(|ticket| shared.ring().segment_of(ticket));
            grip.move_to(Reach::nothing());
            segments.unpin(grip.line());
            trail.follow(shared, seat, left);
            trail.follow(shared, seat, Some(segment));
            true
        }
    }
}

/// Somebody sleeps, or slots rest.
#[cold]
fn attend(shared: &Shared, vigil: &mut Vigil, attention: Attention) {
    shared.room().wake(shared.ring(), attention);
    vigil.keep(shared, attention);
}

/// Gives a put in progress a little time, then passes it over.
#[cold]
fn outwait(
    shared: &Shared,
    grip: &Grip<'_>,
    patience: &mut Patience,
    stalled: Stalled,
) -> Result<(), PopError> {
    let ring = shared.ring();
    if patience.until(stalled.ticket(), || ring.is_back(grip, stalled)) {
        return Ok(());
    }
    let attention = ring.pass(grip, stalled).map_err(|_| PopError::Refused)?;
    if let Some(last) = ring.last_passed_over(grip, stalled) {
        patience.give_up(last);
    }
    // It may have taken a place.
    shared.room().wake(ring, attention);
    Ok(())
}

/// The queue is empty. If it is also shut down, that may be its end: only who has begun a look, and then
/// finds it empty, can tell, so others are told to look once more.
#[cold]
fn found_empty(
    shared: &Shared,
    vigil: &mut Vigil,
    trail: &mut Trail,
    seat: &Seat<'_>,
    look: &mut Option<Look>,
) -> Result<(), PopError> {
    let ring = shared.ring();
    // There may be places that came from passing over, which woke nobody.
    shared.room().wake(ring, ring.attention());
    if !trail.is_clear() {
        trail.rest(shared, seat);
    }
    vigil.keep_producers(shared);
    if !ring.is_shut() {
        return Err(PopError::Empty);
    }
    if look.take().is_some_and(|look| ring.ends(&look)) {
        return Err(PopError::ShutDown);
    }
    let begun = ring.look_for_end().map_err(|_| PopError::Refused)?;
    *look = Some(begun.ok_or(PopError::ShutDown)?);
    Ok(())
}
