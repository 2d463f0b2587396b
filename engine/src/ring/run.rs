//! Several messages at once: one claim, one take.
//!
//! A producer claims `count` tickets by one CAS of `tail` and announces all of them. It publishes them
//! in order, and looks after each whether it was passed over: if so, the messages from there on go to
//! later tickets, and it passes over the rest of its tickets itself. Otherwise a later message could
//! stay where an earlier one could not.
//!
//! A stopped producer keeps as many slots out of use as it has announced, so a claim is at most as
//! large as there are spare slots for each participant: the bound on messages stays exact.
//!
//! A consumer copies all messages that are published in a row, then moves `head` past them by one CAS.
//! Each was seen published, then attention without skips, which is what holds for one taken alone.

use super::mark::Attention;
use super::put::{Hand, Pushed};
use super::reach::{Grip, Reach};
use super::{Corrupt, Ring, Role};
use crate::order::{ADVANCE, ANNOUNCE, CLAIM, HEAD, LOST, TAIL_GUESS, TAKE};
use crate::sync::{fence, step};

/// The most messages of one claim, or take.
pub const RUN_MAX: usize = 64;

/// With these in attention, a ticket may count for nothing: each is looked at by itself.
const ONE_BY_ONE: u64 = Attention::SKIPS | Attention::SHUT;

/// Messages that were taken together, and are nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub count: usize,
    /// No other was published behind them.
    pub is_all: bool,
    /// As it was when they had been taken.
    pub attention: Attention,
}

impl Ring<'_> {
    /// Puts the first of `messages`, as many as one claim may have and fit. Says how many, and how the
    /// attempt ended: [`Pushed::Done`] if there were any. All are at most `inline_max` bytes long, whenever they are
    /// asked; if that panics, tickets stay claimed that are not published.
    ///
    /// # Panics
    /// If one is longer.
    pub fn push_run<M: AsRef<[u8]>>(
        &self,
        hand: &mut Hand<'_>,
        messages: &[M],
    ) -> Result<(usize, Pushed), Corrupt> {
        let most = messages.len().min(self.run_max);
        let next = |hand: &Hand<'_>| match self.shape.producers {
            Role::One => hand.tail_own,
            Role::Many => self.control.tail.load(TAIL_GUESS),
        };
        let fit = |hand: &Hand<'_>, tail: u64| {
            hand.limit.saturating_sub(tail).min(hand.reach.in_a_row(tail)).min(most as u64)
        };
        let mut tail = next(hand);
        if tail >= hand.limit {
            _ = self.refusal(hand, tail)?;
        }
        let mut count = fit(hand, tail);
        if hand.ahead > 0 {
            hand.ask_ahead_of_run(tail, &messages[..count as usize]);
            // Meanwhile somebody may have claimed.
            tail = next(hand);
            count = fit(hand, tail);
        }
        // What is not plain is left to who puts one at a time.
        if count < 2 || self.attention().has(Attention::SKIPS | Attention::SHUT) {
            let Some(message) = messages.first() else {
                return Ok((0, Pushed::Full));
            };
            let pushed = self.push(hand, message.as_ref())?;
            let done = matches!(pushed, Pushed::Done { .. });
            return Ok((usize::from(done), pushed));
        }
        let messages = &messages[..count as usize];
        if self.shape.producers == Role::One {
            return Ok(self.publish_run_alone(hand, tail, messages));
        }
        hand.line.further.store(count - 1, ANNOUNCE);
        hand.line.announced.store(tail + 1, ANNOUNCE);
        let claimed = self.control.tail.compare_exchange(tail, tail + count, CLAIM, LOST).is_ok();
        let (put, attention) =
            if claimed { self.publish_run(hand, tail, messages) } else { (0, self.attention()) };
        self.withdraw_run(hand, tail, count);
        let put = self.counted(tail, put, attention);
        Ok((put, Pushed::Done { attention }))
    }

    /// How many of the `put` published tickets from `first` on come before the end of the queue.
    fn counted(&self, first: u64, put: usize, attention: Attention) -> usize {
        if !attention.has(Attention::SHUT) || !step("too-late") {
            return put;
        }
        (first..).take(put).take_while(|&ticket| self.counts(ticket)).count()
    }

    /// Stores and publishes what is claimed from `first` on, until one turns out to have been passed
    /// over. Says how many were kept. Not inlined: its loop needs all registers.
    #[inline(never)]
    fn publish_run<M: AsRef<[u8]>>(
        &self,
        hand: &Hand<'_>,
        first: u64,
        messages: &[M],
    ) -> (usize, Attention) {
        // Acquire: with skips, each slot would have to be looked at before it is written.
        let mut attention = self.attention();
        let end = first + messages.len() as u64;
        if attention.has(Attention::SKIPS) {
            (first..end).for_each(|ticket| self.abandon(&hand.reach, ticket));
            return (0, attention);
        }
        let slots = hand.reach.slots_in_a_row(first);
        for (at, (slot, message)) in slots.zip(messages).enumerate() {
            let ticket = first + at as u64;
            self.write(slot, message.as_ref());
            slot.publish(ticket);
            // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq before attention.
            fence::light(self.shape.fences);
            attention = self.attention_fenced();
            if attention.has(Attention::SKIPS) && !self.goes_on(&hand.reach, ticket, end) {
                return (at, attention);
            }
        }
        (messages.len(), attention)
    }

    /// May I, who has published `ticket` of a claim up to `end`, go on? If it was passed over, so is the rest.
    #[cold]
    fn goes_on(&self, reach: &Reach<'_>, ticket: u64, end: u64) -> bool {
        if self.was_kept(reach, ticket) {
            return true;
        }
        if self.shape.growing {
            self.advance(ticket);
        }
        if !step("abandon") {
            return true;
        }
        (ticket + 1..end).for_each(|ticket| self.abandon(reach, ticket));
        false
    }

    fn publish_run_alone<M: AsRef<[u8]>>(
        &self,
        hand: &mut Hand<'_>,
        first: u64,
        messages: &[M],
    ) -> (usize, Pushed) {
        let slots = hand.reach.slots_in_a_row(first);
        for (at, (slot, message)) in slots.zip(messages).enumerate() {
            self.write(slot, message.as_ref());
            slot.publish(first + at as u64);
        }
        hand.tail_own = first + messages.len() as u64;
        self.control.tail.store(hand.tail_own, ADVANCE);
        // Pairs with the heavy fences in wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        (self.counted(first, messages.len(), attention), Pushed::Done { attention })
    }

    /// As `withdraw`, for all tickets of a claim.
    fn withdraw_run(&self, hand: &mut Hand<'_>, first: u64, count: u64) {
        hand.line.announced.store(0, ANNOUNCE);
        // After it: who sees it sees the announcement gone.
        hand.line.further.store(0, ANNOUNCE);
        // Pairs with the heavy fence in pass::release: announcement before attention.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS) {
            (first..first + count).for_each(|ticket| self.tidy(hand, ticket));
        }
    }

    /// Bytes from one message of [`Ring::pop_run`] to the next.
    pub fn run_stride(&self) -> usize {
        self.shape.inline_max.max(1)
    }

    /// Takes what is published from the head on and lies in slots, at most as many as `lens`, and as there is
    /// room for: message n goes to `out[n * run_stride..]`, its length to `lens[n]`. `None`: there is none
    /// that could be taken like that, or somebody else was faster; all else is left to [`Ring::pop`].
    pub fn pop_run(&self, grip: &Grip<'_>, out: &mut [u8], lens: &mut [usize]) -> Option<Run> {
        if self.attention().has(ONE_BY_ONE) {
            return None;
        }
        let inline_max = self.shape.inline_max;
        let head = self.control.head.load(HEAD);
        let places = out.chunks_exact_mut(self.run_stride()).zip(lens);
        // SAFETY: no part is longer than inline_max.
        let copied = unsafe {
            self.copy_run(&grip.reach(), head, places, |(place, copied), len| {
                *copied = len;
                if len <= inline_max { place.get_mut(..len) } else { None }
            })
        };
        self.take_run(head, copied)
    }

    /// The same of messages of `size` bytes each, up to the first of another length: message n goes to
    /// `out[n * size..]`.
    ///
    /// # Panics
    /// If `size` is 0.
    #[inline(always)]
    pub fn pop_row(&self, grip: &Grip<'_>, out: &mut [u8], size: usize) -> Option<Run> {
        if size > self.shape.inline_max || self.attention().has(ONE_BY_ONE) {
            return None;
        }
        let head = self.control.head.load(HEAD);
        let most = out.len().min(RUN_MAX * size);
        let places = out[..most].chunks_exact_mut(size);
        let part = |place, len| if len == size { Some(place) } else { None };
        // SAFETY: a place has `size` bytes, which is no more than inline_max.
        let copied = unsafe { self.copy_run(&grip.reach(), head, places, part) };
        self.take_run(head, copied)
    }

    /// Copies what is published from `head` on, each message into its part of the next of `places`, up to the first
    /// that has none: how many, and whether nothing was published behind them.
    ///
    /// # Safety
    /// No part is longer than `inline_max`.
    #[inline(always)]
    unsafe fn copy_run<'o, P>(
        &self,
        reach: &Reach<'_>,
        head: u64,
        places: impl Iterator<Item = P>,
        part: impl Fn(P, usize) -> Option<&'o mut [u8]>,
    ) -> (usize, bool) {
        let mut ticket = head;
        for (slot, place) in reach.slots_in_a_row(head).zip(places) {
            if slot.seq() != ticket + 1 {
                return ((ticket - head) as usize, true);
            }
            let Some(part) = part(place, slot.length() as usize) else { break };
            // SAFETY: a slot's payload holds inline_max bytes (Ring::new), and this is no longer (contract).
            unsafe { slot.read(part) };
            ticket += 1;
        }
        ((ticket - head) as usize, false)
    }

    /// Makes those ours that were copied from `head` on.
    fn take_run(&self, head: u64, (count, is_all): (usize, bool)) -> Option<Run> {
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq (seen) before attention and
        // mark. What was copied in vain is thrown away.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(ONE_BY_ONE) {
            return None;
        }
        if count == 0 || !self.advance_by(head, count as u64) {
            return None;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        Some(Run { count, is_all, attention: self.attention_fenced() })
    }

    fn advance_by(&self, head: u64, count: u64) -> bool {
        if self.takes_alone {
            self.control.head.store(head + count, TAKE);
            return true;
        }
        self.control.head.compare_exchange(head, head + count, TAKE, LOST).is_ok()
    }
}
