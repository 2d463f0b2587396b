//! What the machine itself takes to pass a word on and get one back: a cache line that two processes
//! write in turns, polled, or slept beside (a futex). No queue: one message at a time, and nobody checks
//! whether the last one was taken. What a round trip of a queue can be measured against.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;

use super::{Channel, End, Group, Link, Receiver, Sender, Transport};
use crate::error::{During, Result};
use crate::message::WORD_BYTES;
use crate::plan::{Mode, Row};
use crate::worker::run_process;

const WORDS: usize = 6;
const SIZE_MAX: usize = WORDS * WORD_BYTES;

pub(super) const LINE: Transport = Transport {
    group: Group::Bare,
    is_default: |_| false,
    unavailable,
    ..Transport::new(
        "bare-line",
        "no queue: a cache line that two processes write in turns",
        open,
        run_process::<BareLink<false>>,
    )
};

pub(super) const FUTEX: Transport = Transport {
    name: "bare-futex",
    help: "no queue: the same, each asleep until the other wakes it",
    work: run_process::<BareLink<true>>,
    ..LINE
};

/// One direction: what is passed on lies in the same line as the number that says so.
#[repr(C, align(128))]
#[derive(Debug)]
struct Line {
    number: AtomicU32,
    words: [AtomicU64; WORDS],
}

fn unavailable(row: &Row) -> Option<String> {
    if row.mode == Mode::Stream {
        return Some("one message at a time: no stream".into());
    }
    (row.size > SIZE_MAX).then(|| format!("a cache line holds {SIZE_MAX} bytes beside its number"))
}

fn open(_: &Row) -> Result<Channel> {
    memory("shmq-harness-line", size_of::<Line>())
}

/// A channel of memory.
pub(super) fn memory(name: &str, bytes: usize) -> Result<Channel> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC).during("memfd_create")?;
    ftruncate(&memory, bytes as u64).during("ftruncate")?;
    Channel::shared(memory)
}

/// An end of it: a `T` for which any bytes are valid.
#[derive(Debug)]
pub(super) struct Mapped<T>(NonNull<T>);

impl<T> Mapped<T> {
    pub(super) fn of(end: End) -> io::Result<Self> {
        let fd = end.fd()?;
        let (place, protection) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours
        let start = unsafe { mmap(place, size_of::<T>(), protection, MapFlags::SHARED, &fd, 0) }?;
        Ok(Self(NonNull::new(start.cast()).expect("mmap never returns null")))
    }

    /// Mapped until drop, and aligned, for it is at most as a page is.
    #[inline]
    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: ours alone, and nothing borrows it any more
        _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

/// `SLEEPS`: by futex; otherwise polled.
#[derive(Debug)]
struct BareLink<const SLEEPS: bool>;

#[derive(Debug)]
struct BareEnd<const SLEEPS: bool> {
    line: Mapped<Line>,
    /// Of the last message.
    number: u32,
}

impl<const SLEEPS: bool> Link for BareLink<SLEEPS> {
    type Sender = BareEnd<SLEEPS>;
    type Receiver = BareEnd<SLEEPS>;

    fn sender(end: End, _: &Row) -> io::Result<BareEnd<SLEEPS>> {
        BareEnd::map(end)
    }

    fn receiver(end: End, _: &Row) -> io::Result<BareEnd<SLEEPS>> {
        BareEnd::map(end)
    }
}

impl<const SLEEPS: bool> BareEnd<SLEEPS> {
    fn map(end: End) -> io::Result<Self> {
        Ok(Self { line: Mapped::of(end)?, number: 0 })
    }

    #[inline]
    fn line(&self) -> &Line {
        // SAFETY: mapped until drop; atomics only
        unsafe { &*self.line.as_ptr() }
    }
}

impl<const SLEEPS: bool> Sender for BareEnd<SLEEPS> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        let Line { number, words } = self.line();
        for (word, bytes) in words.iter().zip(message.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        // ordering: Release, the words; pairs with Acquire in `recv`
        number.store(self.number, Ordering::Release);
        if SLEEPS {
            futex::wake(number, futex::Flags::empty(), 1)?;
        }
        Ok(())
    }
}

impl<const SLEEPS: bool> Receiver for BareEnd<SLEEPS> {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let last = self.number;
        let Line { number, words } = self.line();
        // ordering: Acquire, pairs with Release in `send`
        while number.load(Ordering::Acquire) == last {
            if SLEEPS {
                // Whatever it returns, we look again.
                _ = futex::wait(number, futex::Flags::empty(), last, None);
            } else {
                std::hint::spin_loop();
            }
        }
        for (word, bytes) in words.iter().zip(buffer.as_chunks_mut().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        self.number = last.wrapping_add(1);
        Ok(buffer.len())
    }
}
