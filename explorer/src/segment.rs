//! The tracer's own view of the segment's bytes, beside the engine's: to put images back, to build
//! states that take years to reach, and to look at words that no handle shows.

use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::config::PARTICIPANTS;

// The layout, as engine/src/layout/mod.rs draws it, in words of eight bytes.
const WORD: usize = size_of::<u64>();
const SLOTS: usize = 5;
const ATTENTION: usize = 128 / WORD;
const TAIL: usize = 256 / WORD;
const HEAD: usize = 384 / WORD;
const SOLES: usize = 768 / WORD;
const LINES: usize = 1024 / WORD;
const LINE: usize = 128 / WORD;
const OCCUPANT: usize = 1;
const MARKS: usize = LINES + PARTICIPANTS * LINE;
const MARK: usize = 2;

/// The state of a mark that says: its slot must not be used.
const PASSED: u64 = 3;

/// A mapping of the whole file.
#[derive(Debug)]
pub struct Segment {
    base: NonNull<AtomicU64>,
    words: usize,
}

impl Segment {
    /// Maps the file behind `fd`.
    pub fn map(fd: impl AsFd) -> Result<Self> {
        let len = usize::try_from(rustix::fs::fstat(&fd)?.st_size)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
        let base = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        let base = NonNull::new(base.context("mapping the segment")?.cast());
        Ok(Self { base: base.context("a mapping is somewhere")?, words: len / WORD })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped by `map`, page-aligned, so many words long; atomics, for others store there.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    /// All of it.
    pub fn read(&self) -> Vec<u64> {
        self.words().iter().map(|word| word.load(Relaxed)).collect()
    }

    /// Makes it `image` again. Nobody may be running.
    pub fn restore(&self, image: &[u64]) {
        for (word, &value) in self.words().iter().zip(image) {
            word.store(value, Relaxed);
        }
    }

    fn word(&self, at: usize) -> u64 {
        self.words()[at].load(Relaxed)
    }

    /// The next ticket to claim.
    pub fn tail(&self) -> u64 {
        self.word(TAIL)
    }

    /// How many slots there are.
    pub fn slots(&self) -> u64 {
        self.word(SLOTS)
    }

    /// Moves an empty queue to another position of its life. Slots must be unused: their zero
    /// `seq` is behind every position.
    pub fn move_to(&self, position: u64) {
        self.words()[TAIL].store(position, Relaxed);
        self.words()[HEAD].store(position, Relaxed);
    }

    /// Bits of the attention word: somebody must look at marks, sleeps for items, for room.
    pub fn attention(&self) -> u64 {
        self.word(ATTENTION) & 7
    }

    /// Slots that must not be used.
    pub fn resting(&self) -> usize {
        let marks = (0..self.slots() as usize).map(|slot| self.word(MARKS + slot * MARK));
        marks.filter(|mark| mark & 7 == PASSED).count()
    }

    /// Lines that somebody occupies.
    pub fn occupied(&self) -> usize {
        (0..PARTICIPANTS).filter(|line| self.word(LINES + line * LINE + OCCUPANT) != 0).count()
    }

    /// Exclusive sides that somebody holds, the living and the dead.
    pub fn soles(&self) -> usize {
        (0..2).filter(|side| self.word(SOLES + side) != 0).count()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; no reference to it outlives `self`.
        _ = unsafe { munmap(self.base.as_ptr().cast(), self.words * WORD) };
    }
}

#[cfg(test)]
mod tests {
    use super::Segment;
    use crate::config::{CONFIGS, PARTICIPANTS};

    /// The offsets above are those of the engine: what its handles do shows where we look.
    #[test]
    fn words_are_where_the_engine_has_them() {
        for config in &CONFIGS {
            let queue = config.create().unwrap();
            let segment = Segment::map(queue.as_fd().unwrap()).unwrap();
            let empty = segment.read();
            let mut producer = queue.producer().unwrap();
            producer.try_push(b"one").unwrap();
            assert_eq!((segment.tail(), segment.occupied()), (1, 1));
            let consumer = queue.consumer().unwrap();
            assert_eq!(segment.occupied(), 2);
            let soles = [config.producers, config.consumers];
            let exclusive = soles.iter().filter(|&&role| role == shmq_engine::Role::One).count();
            assert_eq!(segment.soles(), exclusive);
            drop((producer, consumer));
            segment.restore(&empty);
            segment.move_to(1 << 60);
            assert_eq!(queue.len(), 0);
            queue.producer().unwrap().try_push(b"two").unwrap();
            assert_eq!((segment.tail(), queue.len()), ((1 << 60) + 1, 1));
            assert!(segment.slots() >= config.capacity as u64 && PARTICIPANTS > 5);
            assert_eq!((segment.attention(), segment.resting()), (0, 0));
        }
    }
}
