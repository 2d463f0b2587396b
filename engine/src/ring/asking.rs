//! Lines on their way before they are needed.
//!
//! What a stream waits for is cache lines that another CPU has. A CPU can have many on their way at once, if it
//! knows which; but the claim of each put, and of each take, waits for all stores before it, so a store into a line
//! that is elsewhere is waited for alone. How to know them beforehand is not the same on all machines (docs/DESIGN.md,
//! Asking for lines).

use core::ops::Range;

use super::put::Hand;
use super::reach::Grip;
use super::{Ring, Shape, payload};

/// Who asks for lines, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The consumer, by a store into each line of what it will take: it alone has them then, and a producer's
    /// CPU foresees by itself which it will write. AMD's do.
    Stores,
    /// Each side, by prefetches: the producer for what it will write, the consumer for what it will take. On
    /// Intel's a prefetch for writing has other copies of the line thrown away, and the CPU foresees few.
    Prefetches,
}

/// So many lines.
const AHEAD: usize = 32;

impl Asking {
    /// What is best on this machine.
    pub fn here() -> Self {
        #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
        if is_intel() {
            return Self::Prefetches;
        }
        Self::Stores
    }

    /// So many words, of whole slots, lie between what a producer writes and what it prefetches; 0 if it does not.
    pub(super) fn ahead(self, shape: &Shape) -> usize {
        if self == Self::Stores || !payload::has_spare(shape.stride) {
            return 0;
        }
        let far = (AHEAD * payload::LINE / shape.stride).max(1);
        // So many slots ahead there is no message that is still to be taken.
        let free =
            if shape.growing { shape.slots } else { shape.slots.saturating_sub(shape.capacity) };
        far.min(free as usize) * shape.stride
    }
}

impl Ring<'_> {
    /// How `hand` asks for lines from now on.
    pub fn ask_by(&self, hand: &mut Hand<'_>, asking: Asking) {
        let Shape { slots, stride, growing, .. } = self.shape;
        (hand.asking, hand.ahead) = (asking, asking.ahead(&self.shape));
        hand.back = if growing { hand.ahead } else { slots as usize * stride };
    }

    /// Asks for the lines of messages that have been published and will be taken soon. By stores, that makes the
    /// consumer their only owner, so that a producer need not have a copy thrown away before it writes them again.
    pub fn ask(&self, grip: &Grip<'_>, tickets: Range<u64>, asking: Asking) {
        let (reach, count) = (grip.reach(), tickets.end.saturating_sub(tickets.start));
        let asked = reach.ask(tickets.start, count, asking);
        // What comes behind the last slot lies in the first.
        if asked < count {
            reach.ask(tickets.start + asked, count - asked, asking);
        }
    }

    /// The same of the message that is waited for, before it is: by stores, its producer gets the line sooner so.
    pub fn ask_for_next(&self, grip: &Grip<'_>, asking: Asking) {
        if asking == Asking::Stores {
            grip.reach().ask(self.next(), 1, asking);
        }
    }
}

impl Hand<'_> {
    /// Asks for the lines that will be written some tickets later, if that message is as long.
    #[inline(always)]
    pub(super) fn ask_ahead(&self, ticket: u64, bytes: usize) {
        if self.ahead > 0 {
            self.reach.prefetch(ticket, self.ahead, self.back, bytes);
        }
    }

    /// The same for several tickets, of these messages. Not inlined: it would take registers from who calls it.
    #[inline(never)]
    pub(super) fn ask_ahead_of_run<M: AsRef<[u8]>>(&self, ticket: u64, messages: &[M]) {
        let tickets = (ticket..).zip(messages).step_by(self.reach.slots_of_line());
        tickets.for_each(|(ticket, message)| self.ask_ahead(ticket, message.as_ref().len()));
    }

    /// How it asks for lines.
    pub fn asking(&self) -> Asking {
        self.asking
    }
}

#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
fn is_intel() -> bool {
    // SAFETY: all x86-64 CPUs have the instruction. (From Rust 1.94 on it is safe.)
    #[allow(unused_unsafe)]
    let vendor = unsafe { core::arch::x86_64::__cpuid(0) };
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes) == [*b"Genu", *b"ineI", *b"ntel"]
}

/// Has the line on its way that `at` lies in, if it lies in memory, and soon will be written.
#[inline(always)]
pub fn prefetch_to_write<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: a prefetch, of whatever address, changes nothing but caches.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) at, options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = at;
}

/// The same, if it soon will be read.
#[inline(always)]
pub fn prefetch_to_read<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = at;
}
