//! What the machine itself takes to pass a word on and get one back: a cache line that two processes
//! write in turns, polled, or slept beside (a futex). No queue: one message at a time, and nobody checks
//! whether the last one was taken. What a round trip of a queue can be measured against.

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;

use super::{Channel, Link, Receiver, Sender};
use crate::error::{During, Result};
use crate::message::WORD_BYTES;
use crate::plan::Mode;

const PAGE_BYTES: usize = 4096;
const WORDS: usize = 6;
pub(crate) const SIZE_MAX: usize = WORDS * WORD_BYTES;

/// One direction: what is passed on lies in the same line as the number that says so.
#[repr(C, align(128))]
#[derive(Debug)]
struct Line {
    number: AtomicU32,
    words: [AtomicU64; WORDS],
}

pub(crate) fn unavailable(mode: Mode, size: usize) -> Option<String> {
    if mode == Mode::Stream {
        return Some("one message at a time: no stream".into());
    }
    (size > SIZE_MAX).then(|| format!("a cache line holds {SIZE_MAX} bytes beside its number"))
}

pub(crate) fn open() -> Result<Channel> {
    let sender = memfd_create("shmq-harness-line", MemfdFlags::CLOEXEC).during("memfd_create")?;
    ftruncate(&sender, PAGE_BYTES as u64).during("ftruncate")?;
    let receiver = sender.try_clone().during("dup")?;
    Ok(Channel { sender, receiver })
}

/// `SLEEPS`: by futex; otherwise polled.
#[derive(Debug)]
pub(crate) struct BareLink<const SLEEPS: bool>;

#[derive(Debug)]
pub(crate) struct End<const SLEEPS: bool> {
    line: NonNull<Line>,
    /// Of the last message.
    number: u32,
}

impl<const SLEEPS: bool> Link for BareLink<SLEEPS> {
    type Sender = End<SLEEPS>;
    type Receiver = End<SLEEPS>;

    fn sender(fd: OwnedFd, _shared: bool) -> io::Result<End<SLEEPS>> {
        End::map(&fd)
    }

    fn receiver(fd: OwnedFd, _shared: bool) -> io::Result<End<SLEEPS>> {
        End::map(&fd)
    }
}

impl<const SLEEPS: bool> End<SLEEPS> {
    fn map(fd: &OwnedFd) -> io::Result<Self> {
        let (place, protection) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours
        let page = unsafe { mmap(place, PAGE_BYTES, protection, MapFlags::SHARED, fd, 0) }?;
        let line = NonNull::new(page.cast()).expect("mmap never returns null");
        Ok(Self { line, number: 0 })
    }

    #[inline]
    fn line(&self) -> &Line {
        // SAFETY: mapped until drop, page-aligned, smaller than a page, atomics only
        unsafe { self.line.as_ref() }
    }
}

impl<const SLEEPS: bool> Sender for End<SLEEPS> {
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

impl<const SLEEPS: bool> Receiver for End<SLEEPS> {
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

impl<const SLEEPS: bool> Drop for End<SLEEPS> {
    fn drop(&mut self) {
        // SAFETY: ours alone, and nothing borrows it any more
        _ = unsafe { munmap(self.line.as_ptr().cast(), PAGE_BYTES) };
    }
}
