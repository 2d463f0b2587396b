//! One shim over the atomics of the standard library and of loom.
//!
//! [`Word`] and [`Word32`] accept rows of [`crate::order`] only. [`fence`] holds the two halves of
//! the asymmetric fence: light on the paths that run for every message, heavy on the rare ones.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64};

use crate::order::Order;

/// A 64-bit atomic of the mapping.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct Word(AtomicU64, #[cfg(loom)] Option<std::sync::Arc<memory::Memory>>);

impl Word {
    /// A word that holds `value`.
    #[cfg(not(loom))]
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// A word that holds `value`: not const, for loom's know who made them.
    #[cfg(loom)]
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value), None)
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Order) -> u64 {
        let value = self.0.load(order.get());
        #[cfg(loom)]
        self.touch();
        value
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u64, order: Order) {
        self.0.store(value, order.get());
        #[cfg(loom)]
        self.touch();
    }

    /// Its two halves, the lower address first: of a word that nobody accesses whole.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn halves(&self) -> &[Word32; 2] {
        // SAFETY: as large, aligned better, and atomic either way.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    #[inline(always)]
    pub(crate) fn compare_exchange(
        &self,
        old: u64,
        new: u64,
        won: Order,
        lost: Order,
    ) -> Result<u64, u64> {
        let done = self.0.compare_exchange(old, new, won.get(), lost.get());
        #[cfg(loom)]
        self.touch();
        done
    }
}

#[cfg(loom)]
impl Word {
    /// A word of memory that comes and goes, which holds 0.
    pub fn within(memory: &std::sync::Arc<memory::Memory>) -> Self {
        Self(AtomicU64::new(0), Some(std::sync::Arc::clone(memory)))
    }

    /// Its memory is gone: it would read as zero.
    pub fn wipe(&self) {
        self.0.store(0, crate::order::HINT.get());
    }

    fn touch(&self) {
        if let Some(memory) = &self.1 {
            memory.touch();
        }
    }
}

/// Memory as the kernel gives and takes it, in loom builds only: whoever uses it must be sure that it
/// is there, or the model fails.
#[cfg(loom)]
pub mod memory {
    use loom::cell::UnsafeCell;

    /// Some memory, or a hole.
    #[derive(Debug)]
    pub struct Memory(UnsafeCell<bool>);

    // SAFETY: loom runs one thread at a time, and checks that accesses are ordered.
    unsafe impl Send for Memory {}
    // SAFETY: as for Send.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// None yet.
        pub fn hole() -> Self {
            Self(UnsafeCell::new(false))
        }

        /// Is it there? Asked by who is the only one to give or take it.
        pub fn is_there(&self) -> bool {
            // SAFETY: loom has checked that nobody writes meanwhile.
            self.0.with(|there| unsafe { *there })
        }

        /// It is used, and had better be there.
        pub fn touch(&self) {
            assert!(self.is_there(), "memory was used that is not there");
        }

        /// It is there from now on.
        pub fn reserve(&self) {
            if !self.is_there() {
                // SAFETY: loom has checked that nobody reads or writes meanwhile.
                self.0.with_mut(|there| unsafe { *there = true });
            }
        }

        /// It is gone. Whoever uses it at the same time fails.
        pub fn release(&self) {
            // SAFETY: as for `reserve`.
            self.0.with_mut(|there| unsafe { *there = false });
        }
    }
}

impl Word {
    pub(crate) fn fetch_add(&self, by: u64, order: Order) -> u64 {
        self.0.fetch_add(by, order.get())
    }
}

/// A 32-bit atomic of the mapping: what a futex can wait on.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct Word32(AtomicU32);

impl Word32 {
    /// A word that holds `value`.
    pub fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Order) -> u32 {
        self.0.load(order.get())
    }

    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn store(&self, value: u32, order: Order) {
        self.0.store(value, order.get());
    }

    pub(crate) fn fetch_add(&self, by: u32, order: Order) -> u32 {
        self.0.fetch_add(by, order.get())
    }

    /// The atomic itself, for the futex calls.
    #[cfg(not(loom))]
    pub(crate) const fn as_atomic(&self) -> &AtomicU32 {
        &self.0
    }
}

/// Asymmetric fences: two light ones do not order anything between themselves, a light and a heavy
/// one order as two `fence(SeqCst)` would.
pub mod fence {
    /// How the participants of one queue make their fences. Chosen at creation, stored in the
    /// header, followed by all.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fences {
        /// Light is a compiler fence, heavy is `membarrier(GLOBAL_EXPEDITED)`.
        Asymmetric,
        /// Both are `fence(SeqCst)`: where membarrier is missing or refused.
        Full,
    }

    /// The half on the hot path.
    #[inline(always)]
    pub(crate) fn light(fences: Fences) {
        #[cfg(loom)]
        if super::mutant::is("light-fence") {
            return;
        }
        match fences {
            #[cfg(not(loom))]
            Fences::Asymmetric => {
                core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
            }
            _ => both(),
        }
    }

    /// The kernel refused a membarrier that it had granted at registration (a filter installed
    /// since): light fences are unpaired, so what needed the heavy one must not be done.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Refused;

    /// The half on the rare path.
    pub(crate) fn heavy(fences: Fences) -> Result<(), Refused> {
        #[cfg(loom)]
        if super::mutant::is("heavy-fence") {
            return Ok(());
        }
        match fences {
            #[cfg(not(loom))]
            Fences::Asymmetric => {
                membarrier(MembarrierCommand::GlobalExpedited).map_err(|_| Refused)
            }
            _ => {
                both();
                Ok(())
            }
        }
    }

    #[cfg(not(loom))]
    use core::sync::atomic::fence as fence_of;
    #[cfg(loom)]
    use loom::sync::atomic::fence as fence_of;

    /// A whole one, for what is frequent on both sides.
    #[inline(always)]
    pub(crate) fn full() {
        #[cfg(loom)]
        if super::mutant::is("full-fence") {
            return;
        }
        both();
    }

    #[inline(always)]
    fn both() {
        #[cfg(loom)]
        point();
        fence_of(core::sync::atomic::Ordering::SeqCst);
    }

    /// loom does not switch threads at a fence, nor count two fences as dependent, so it would not
    /// look at what happens just before one. A relaxed read-modify-write of one common word is both,
    /// and orders nothing: what it could carry, the fence right after it carries anyway.
    #[cfg(loom)]
    fn point() {
        loom::lazy_static! {
            static ref FENCES: loom::sync::atomic::AtomicU64 =
                loom::sync::atomic::AtomicU64::new(0);
        }
        FENCES.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(loom))]
    use rustix::thread::{MembarrierCommand, membarrier};

    /// Announces this process to the heavy fences of all others. Needed once per address space,
    /// before its first light fence; repeating it is cheap.
    ///
    /// # Errors
    /// `ENOSYS`, `EINVAL` or `EPERM` where the kernel has no membarrier or a filter refuses it.
    #[cfg(not(loom))]
    pub(crate) fn register() -> rustix::io::Result<()> {
        membarrier(MembarrierCommand::RegisterGlobalExpedited)
    }
}

/// Mutants of the protocol, in loom builds only: the models show that each breaks something.
#[cfg(loom)]
pub mod mutant {
    use std::sync::OnceLock;

    /// Is `name` the mutant chosen by `SHMQ_MUTANT`?
    pub fn is(name: &str) -> bool {
        static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
        CHOSEN.get_or_init(|| std::env::var("SHMQ_MUTANT").ok()).as_deref() == Some(name)
    }
}

/// Does this step of the protocol exist? Always, except as the mutant of that name in a loom build.
#[inline(always)]
pub(crate) fn step(name: &'static str) -> bool {
    #[cfg(loom)]
    return !mutant::is(name);
    #[cfg(not(loom))]
    {
        let _ = name;
        true
    }
}
