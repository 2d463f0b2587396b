//! The ring: tickets, slots, and passing over whoever does not come.
//!
//! A bounded FIFO of messages over borrowed memory. It allocates nothing, makes no system call but
//! the heavy fence, knows no time and no process, and runs unchanged over a mapping, over a heap
//! region and over loom's atomics. It needs `core` only.
//!
//! # The protocol
//!
//! `tail` is the next ticket to claim, `head` the next to take; ticket t lives in slot t mod slots.
//! A slot is `{seq, length, payload}`; `seq == t + 1` says that the message of t is complete. (In each of its
//! lines there is a word that nobody reads; a store into it asks for the line, and means nothing.)
//!
//! **Put** (`put`): announce t in my line, claim it (CAS `tail`), store the payload, publish with
//! a plain release store of `seq`. **Take** (`take`): at `head == h`, when `seq == h + 1`, copy
//! the payload out *first*, then CAS `head`. If that succeeds the copy is good, for nobody may
//! overwrite slot h before `head` has passed h. A consumer leaves nothing half done.
//!
//! **Pass** (`pass`): a claimed ticket that is not published in time is passed over, whether its
//! producer is slow, stopped or dead. The passer marks it REQUESTED, raises the skip bit of the
//! attention word, makes a heavy fence and looks at `seq` again. Still unpublished: REQUESTED →
//! PASSED, and `head` moves on. The other side of that fence pair is the light fence of whoever
//! published or took h in the meantime: either they see attention raised, look at the mark and
//! settle the request (REQUESTED → KEPT), or the passer sees their `seq`.
//!
//! **Unusable slots.** The producer of a passed ticket may still store into its slot, so the slot
//! rests: later tickets that fall on it are passed over at once (mark `PASSED`, ticket moved up;
//! `base` remembers the first). It is released by the last producer whose announced ticket lies in
//! `base..=ticket` of that slot, once that producer has withdrawn its announcement. There are more
//! slots than places plus producers, so there is always a usable one ahead.
//!
//! **Was I passed over?** While my announcement of t stands, a period that covers t cannot end. So
//! when I find the mark beyond t: PASSED with `base <= t` means that I was, anything else that my
//! message was taken.
//!
//! **Quieting.** The skip bit is cleared (CAS from the version read) when a scan finds no slot
//! PASSED and no mark at or beyond `head`: a mark at `head`, even RELEASED, still means that `seq`
//! must not be believed there.
//!
//! **Shutdown** (`end`): a bit of attention, and a word that says which of the messages published
//! meanwhile still count.
//!
//! With one producer there is nothing to claim: it publishes, then moves `tail`; nobody can be
//! passed over. With one consumer `head` is a plain store, and only that consumer passes over.
//!
//! Sources: the sequence per slot is D. Vyukov's bounded queue; the asymmetric fence is
//! `membarrier(2)`. docs/PROTOCOL.md has the argument at length.

pub(crate) mod asking;
mod end;
pub(crate) mod mark;
mod pass;
pub(crate) mod payload;
mod plain;
mod put;
mod reach;
mod run;
mod slot;
mod take;

pub use asking::{Asking, prefetch_to_read, prefetch_to_write};
pub use end::Look;
pub use mark::Attention;
pub use pass::Stalled;
pub use plain::{Plain, PlainTake};
pub use put::{Claim, Claimed, Hand, Outcome, Pushed, Refusal};
pub use reach::{Grip, Reach};
pub use run::{RUN_MAX, Run};
pub use take::{Reference, Taken};

use crate::layout::cells::{Control, Line, Mark};
use crate::order::{ATTENTION, ATTENTION_FENCED, HEAD, LOST, QUIET, RAISE, TAIL};
use crate::sync::Word;
use crate::sync::fence::Fences;

/// How many participants may use one side of a queue at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// One: a second attach is refused while the first lives, and its operations need no
    /// read-modify-write.
    One,
    /// As many as the queue has lines for.
    Many,
}

/// Words of a slot before its payload: `seq`; length and one that is never read.
pub(crate) const SLOT_HEAD: usize = 2;

/// The private copy of a ring's geometry. Never read again from shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Messages the queue holds, at least 1.
    pub capacity: u64,
    /// Slots: a power of two, at least `capacity`, plus a spare for every producer line if many (and more, to
    /// keep writes apart from reads, if one). Of a growing ring: slots of one segment.
    pub slots: u64,
    /// Words from one slot to the next.
    pub stride: usize,
    /// Bytes of the longest message that lies in a slot.
    pub inline_max: usize,
    /// Does the ring grow, segment by segment?
    pub growing: bool,
    /// Who may push.
    pub producers: Role,
    /// Who may pop.
    pub consumers: Role,
    /// How fences are made.
    pub fences: Fences,
}

/// The bytes in the mapping are not what any participant writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// No operation restarts this often: every restart is another participant's progress.
const RESTARTS_MAX: u32 = 1 << 20;

/// How often passed tickets are counted for one length.
const COUNTS_MAX: u32 = 8;

/// No take finds the same head this often and must start over.
const REPEATS_MAX: u32 = 64;

/// Positions stay below this (a mark packs one with its state): at 10^9 messages a second, 73 years.
const TICKET_MAX: u64 = (1 << 61) - 1;

/// A ring over borrowed memory.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m> {
    control: &'m Control,
    lines: &'m [Line],
    /// All slots there are; of a growing ring, none.
    whole: Reach<'m>,
    shape: Shape,
    /// Is there one consumer, and nobody else who moves `head`? (In a growing ring producers do, too.)
    takes_alone: bool,
    /// So many tickets may be claimed at once.
    run_max: usize,
}

/// A stopped producer keeps as many slots out of use as it has announced: each may have its part of the spare
/// ones.
fn run_max(shape: &Shape, lines: usize) -> usize {
    if shape.growing || shape.producers == Role::One {
        return RUN_MAX;
    }
    let spare = shape.slots.saturating_sub(shape.capacity) / lines.max(1) as u64;
    (spare as usize).clamp(1, RUN_MAX)
}

impl<'m> Ring<'m> {
    /// A ring over these parts, or `None` if the shape does not describe them.
    pub fn new(
        control: &'m Control,
        lines: &'m [Line],
        marks: &'m [Mark],
        words: &'m [Word],
        shape: Shape,
    ) -> Option<Self> {
        let room = payload::room(shape.stride)?;
        let fits = shape.capacity >= 1 && shape.inline_max <= room.min(slot::LENGTH_MAX);
        let whole = if shape.growing {
            Reach::nothing()
        } else {
            Reach::of(marks, words, &shape, 0, u64::MAX)?
        };
        let fits = fits && (shape.growing || shape.capacity <= shape.slots);
        let takes_alone = shape.consumers == Role::One && !shape.growing;
        let run_max = run_max(&shape, lines.len());
        fits.then_some(Self { control, lines, whole, shape, takes_alone, run_max })
    }

    /// The geometry.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The next ticket to take: where it is kept.
    pub fn head(&self) -> &'m Word {
        &self.control.head
    }

    /// Messages in the queue, puts in progress included: exact at some instant of the call. (But where tickets
    /// were passed over, which must be counted, and consumers do not stop for that, a few counts must do. And of a
    /// growing ring what a lone producer has published counts when `tail` moves, if it is not killed before.)
    pub fn len(&self) -> u64 {
        let mut head = self.control.head.load(HEAD);
        let (mut len, mut counts) = (0, 0);
        for _ in 0..RESTARTS_MAX {
            let tail = self.tail_seen(head);
            let used = tail.saturating_sub(head);
            // In a growing ring `head` moves past whatever is passed over.
            let is_exact = self.shape.growing || self.is_quiet();
            let passed = if is_exact { 0 } else { self.passed_over(head, tail) };
            len = (used - passed).min(self.shape.capacity);
            counts += u32::from(!is_exact);
            let again = self.control.head.load(HEAD);
            if head == again || counts == COUNTS_MAX {
                break;
            }
            head = again;
        }
        len
    }

    /// Behind all messages, as far as `tail` says so; and what a lone producer has published before it moves it.
    fn tail_seen(&self, head: u64) -> u64 {
        let last = self.last();
        let tail = self.control.tail.load(TAIL).min(last);
        if self.shape.producers != Role::One {
            return tail;
        }
        let first = tail.max(head);
        let published = (first..last).take(RUN_MAX).take_while(|&ticket| self.is_published(ticket));
        first + published.count() as u64
    }

    /// How many of these tickets, not more than there are slots, were passed over. One that was stays
    /// so until `head` is beyond it: then its slot's mark may go on to a later ticket.
    #[cold]
    fn passed_over(&self, first: u64, end: u64) -> u64 {
        let end = end.min(first.saturating_add(self.shape.slots));
        (first..end).filter(|&ticket| self.is_over(ticket)).count() as u64
    }

    fn is_over(&self, ticket: u64) -> bool {
        let marked = self.whole.marked(ticket);
        marked.ticket == ticket && marked.is_over()
    }

    /// Is there nothing to take, nor a put in progress?
    pub fn is_empty(&self) -> bool {
        let head = self.control.head.load(HEAD);
        let tail = self.control.tail.load(TAIL).min(self.last());
        if tail <= head {
            // A lone producer publishes before it moves `tail`; and also behind the end, where it does not count.
            let trails = self.shape.producers == Role::One && !self.is_beyond(head);
            return !(trails && self.is_published(head));
        }
        let is_exact = self.shape.growing || self.is_quiet();
        !is_exact
            && (head..tail.min(head.saturating_add(self.shape.slots)))
                .all(|ticket| self.is_over(ticket))
    }

    /// Are there as many messages, and puts in progress, as there are places?
    pub fn is_full_of_messages(&self) -> bool {
        self.len() >= self.shape.capacity
    }

    /// In a bounded ring; of a growing one it is not known without a reach.
    fn is_published(&self, ticket: u64) -> bool {
        self.whole.covers(ticket) && self.whole.slot(ticket).is_published(ticket)
    }

    /// The segment of `ticket`, in a growing ring.
    pub fn segment_of(&self, ticket: u64) -> u64 {
        ticket / self.shape.slots
    }

    /// Is nothing passed over, or being passed over, that anybody must look at?
    pub fn is_quiet(&self) -> bool {
        !self.attention().has(Attention::SKIPS)
    }

    /// The attention word, and what came before it.
    pub fn attention(&self) -> Attention {
        Attention(self.control.posted.attention.load(ATTENTION))
    }

    /// The attention word behind a light fence.
    #[inline(always)]
    fn attention_fenced(&self) -> Attention {
        Attention(self.control.posted.attention.load(ATTENTION_FENCED))
    }

    /// Sets a bit of the attention word under a new version, whether or not it was set.
    pub(crate) fn raise(&self, bit: u64) {
        let word = &self.control.posted.attention;
        let mut seen = self.attention();
        while let Err(now) = word.compare_exchange(seen.0, seen.raised(bit).0, RAISE, LOST) {
            seen = Attention(now);
        }
    }

    /// Clears a bit of the attention word, unless anything was raised since `seen`.
    pub(crate) fn lower(&self, bit: u64, seen: Attention) {
        let word = &self.control.posted.attention;
        _ = word.compare_exchange(seen.0, seen.without(bit).0, QUIET, LOST);
    }
}
