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
use super::{Corrupt, Ring, Role, TICKET_MAX};
use crate::order::{ADVANCE, ANNOUNCE, CLAIM, HEAD, LOST, TAIL_GUESS, TAKE};
use crate::sync::{fence, step};

/// The most messages of one claim, or take.
pub const RUN_MAX: usize = 64;

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
    /// attempt ended: [`Pushed::Done`] if there were any. All are at most `inline_max` bytes long.
    ///
    /// # Panics
    /// If one is longer.
    pub fn push_run<M: AsRef<[u8]>>(
        &self,
        hand: &mut Hand<'_>,
        messages: &[M],
    ) -> Result<(usize, Pushed), Corrupt> {
        let most = messages.len().min(self.run_max());
        let tail = if self.shape.producers == Role::One {
            hand.tail_own
        } else {
            self.control.tail.load(TAIL_GUESS)
        };
        let places = if tail < TICKET_MAX { self.places(hand, tail) } else { 0 };
        let count = (most as u64).min(places).min(hand.reach.left_from(tail));
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
        hand.tail_own = tail + count;
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

    /// So many tickets may be claimed at once.
    fn run_max(&self) -> usize {
        if self.shape.growing || self.shape.producers == Role::One {
            return RUN_MAX;
        }
        let spare = (self.shape.slots - self.shape.capacity) / self.lines.len().max(1) as u64;
        (spare as usize).clamp(1, RUN_MAX)
    }

    /// Stores and publishes what is claimed from `first` on, until one turns out to have been passed
    /// over. Says how many were kept.
    fn publish_run<M: AsRef<[u8]>>(
        &self,
        hand: &Hand<'_>,
        first: u64,
        messages: &[M],
    ) -> (usize, Attention) {
        // Acquire: with skips, each slot would have to be looked at before it is written.
        let mut attention = self.attention();
        let end = first + messages.len() as u64;
        let abandon_from =
            |from: u64| (from..end).for_each(|ticket| self.abandon(&hand.reach, ticket));
        if attention.has(Attention::SKIPS) {
            abandon_from(first);
            return (0, attention);
        }
        for (ticket, message) in (first..).zip(messages) {
            self.ask_for_run(&hand.reach, first, ticket, end);
            self.store_and_publish(&hand.reach, ticket, message.as_ref());
            // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq before attention.
            fence::light(self.shape.fences);
            attention = self.attention_fenced();
            let kept = !attention.has(Attention::SKIPS) || self.was_kept(&hand.reach, ticket);
            if !kept {
                if self.shape.growing {
                    self.advance(ticket);
                }
                if step("abandon") {
                    abandon_from(ticket + 1);
                    return ((ticket - first) as usize, attention);
                }
            }
        }
        (messages.len(), attention)
    }

    fn publish_run_alone<M: AsRef<[u8]>>(
        &self,
        hand: &mut Hand<'_>,
        first: u64,
        messages: &[M],
    ) -> (usize, Pushed) {
        let end = first + messages.len() as u64;
        for (ticket, message) in (first..).zip(messages) {
            self.ask_for_run(&hand.reach, first, ticket, end);
            self.store_and_publish(&hand.reach, ticket, message.as_ref());
        }
        hand.tail_own = end;
        self.control.tail.store(hand.tail_own, ADVANCE);
        // Pairs with the heavy fences in wait::park and Ring::look_for_end: seq before attention.
        fence::light(self.shape.fences);
        let attention = self.attention_fenced();
        (self.counted(first, messages.len(), attention), Pushed::Done { attention })
    }

    /// Asks for the slots of `first..end`, some at a time.
    #[inline(always)]
    fn ask_for_run(&self, reach: &Reach<'_>, first: u64, ticket: u64, end: u64) {
        if self.asks < TICKET_MAX && (ticket - first) & self.asks == 0 {
            reach.ask(ticket, end.min(ticket + self.asks + 1) - ticket);
        }
    }

    #[inline(always)]
    fn store_and_publish(&self, reach: &Reach<'_>, ticket: u64, message: &[u8]) {
        let slot = reach.slot(ticket);
        self.write(slot, message);
        slot.publish(ticket);
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

    /// Takes what is published from the head on and lies in slots, at most as many as `lens`: message
    /// n goes to `out[n * inline_max..]`, its length to `lens[n]`. `None`: there is none that could be taken
    /// like that, or somebody else was faster; all else is left to [`Ring::pop`].
    ///
    /// # Panics
    /// If `out` is too short for that.
    pub fn pop_run(&self, grip: &Grip<'_>, out: &mut [u8], lens: &mut [usize]) -> Option<Run> {
        let head = self.control.head.load(HEAD);
        let (count, is_all) = self.copy_run(&grip.reach(), head, out, lens);
        // Pairs with the heavy fences in pass::finish and Ring::look_for_end: seq (seen) before attention and
        // mark. What was copied in vain is thrown away.
        fence::light(self.shape.fences);
        if self.attention_fenced().has(Attention::SKIPS | Attention::SHUT) {
            return None;
        }
        if count == 0 || !self.advance_by(head, count as u64) {
            return None;
        }
        // Pairs with the heavy fence in wait::park: head before attention.
        fence::light(self.shape.fences);
        Some(Run { count, is_all, attention: self.attention_fenced() })
    }

    /// Copies them: how many, and whether nothing was published behind them.
    #[inline(always)]
    fn copy_run(
        &self,
        reach: &Reach<'_>,
        head: u64,
        out: &mut [u8],
        lens: &mut [usize],
    ) -> (usize, bool) {
        let inline_max = self.shape.inline_max;
        assert!(out.len() >= lens.len().saturating_mul(inline_max), "too short a buffer");
        let left = reach.left_from(head).min(lens.len() as u64) as usize;
        for (count, copied) in lens[..left].iter_mut().enumerate() {
            let ticket = head + count as u64;
            let slot = reach.slot(ticket);
            if slot.seq() != ticket + 1 {
                return (count, true);
            }
            let len = slot.length() as usize;
            if len > inline_max {
                return (count, false);
            }
            let at = count * inline_max;
            // SAFETY: `count` of at most as many as `lens`, for which `out` has room (checked above).
            let out = unsafe { out.get_unchecked_mut(at..at + len) };
            // SAFETY: a slot's payload holds inline_max bytes (Ring::new), `out` is no longer.
            unsafe { slot.read(out) };
            *copied = len;
        }
        (left, false)
    }

    fn advance_by(&self, head: u64, count: u64) -> bool {
        if self.shape.consumers == Role::One && !self.shape.growing {
            self.control.head.store(head + count, TAKE);
            return true;
        }
        self.control.head.compare_exchange(head, head + count, TAKE, LOST).is_ok()
    }
}
