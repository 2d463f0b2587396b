//! The tracer's own view of the segment's bytes, beside the engine's: to put images back, to build
//! states that take years to reach, and to look at words that no handle shows.

use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::{Errno, pread, pwrite};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use shmq_engine::Queue;

use crate::blocks::Room;
use crate::config::{Config, PARTICIPANTS};

// The layout, as engine/src/layout/mod.rs draws it, in words of eight bytes.
const WORD: usize = size_of::<u64>();
const SLOTS: usize = 5;
const SLOT_BYTES: usize = 6;
const ATTENTION: usize = 128 / WORD;
const TAIL: usize = 256 / WORD;
const HEAD: usize = 384 / WORD;
const SOLES: usize = 768 / WORD;
const LINES: usize = 1024 / WORD;
const LINE: usize = 128 / WORD;
const OCCUPANT: usize = 1;
const CLASSES: usize = LINES + PARTICIPANTS * LINE;
const CLASS: usize = 1024 / WORD;
const CLASSES_MAX: usize = 16;
const MARK: usize = 2;

/// The bit of the attention word that says that somebody sleeps for messages.
pub(crate) const ITEMS_WANTED: u64 = 2;

/// The state of a mark that says: its slot must not be used.
const PASSED: u64 = 3;

/// In the second word of a slot: the half that nobody reads.
const MARKED: u64 = !0 << 32;

/// A mapping of the whole file.
#[derive(Debug)]
pub struct Segment {
    base: NonNull<AtomicU64>,
    len: usize,
    /// So many bytes, from the first, have memory from the beginning; what follows is sparse.
    dense: usize,
    has_blocks: bool,
    is_growing: bool,
    rooms: Vec<Room>,
}

/// The bytes of a segment, without what has no memory.
#[derive(Debug, Default)]
pub struct Bytes {
    dense: Vec<u64>,
    /// Where they begin in the file, and what they are.
    sparse: Vec<(u64, Vec<u8>)>,
}

impl Segment {
    /// Maps a new queue of that kind.
    pub fn map(config: &Config, queue: &Queue) -> Result<Self> {
        let fd = queue.as_fd().context("an anonymous queue has a descriptor")?;
        let len = usize::try_from(rustix::fs::fstat(fd)?.st_size)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
        let base = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        let base = NonNull::new(base.context("mapping the segment")?.cast());
        let base = base.context("a mapping is somewhere")?;
        let dense = usize::try_from(queue.resident_bytes())?.min(len);
        let (has_blocks, is_growing) = (config.has_blocks(), config.is_growing());
        let mut segment = Self { base, len, dense, has_blocks, is_growing, rooms: Vec::new() };
        if has_blocks {
            let [slots, slot_bytes] = [SLOTS, SLOT_BYTES].map(|at| segment.word(at) as usize);
            segment.rooms = Room::all(config, dense, slots, slot_bytes);
        }
        Ok(segment)
    }

    fn at(&self, word: usize) -> &AtomicU64 {
        assert!(word < self.len / WORD);
        // SAFETY: within what is mapped, by the line above.
        let at = unsafe { self.base.add(word) };
        // SAFETY: mapped by `map`; an atomic, for others store there.
        unsafe { at.as_ref() }
    }

    /// All that is in the file behind `fd`, which must be this one's.
    pub fn read(&self, fd: impl AsFd) -> Result<Bytes> {
        let dense = (0..self.dense / WORD).map(|at| self.word(at)).collect();
        let mut sparse = Vec::new();
        let mut from = self.dense as u64;
        while from < self.len as u64 {
            from = match seek(&fd, SeekFrom::Data(from)) {
                Ok(from) => from,
                Err(Errno::NXIO) => break,
                Err(errno) => return Err(errno).context("looking for the segment's data"),
            };
            let end = seek(&fd, SeekFrom::Hole(from))?;
            let mut bytes = vec![0; usize::try_from(end - from)?];
            pread(&fd, &mut bytes[..], from)?;
            sparse.push((from, bytes));
            from = end;
        }
        Ok(Bytes { dense, sparse })
    }

    /// Makes it like that again. Nobody may be running.
    pub fn restore(&self, fd: BorrowedFd<'_>, image: &Bytes) -> Result<()> {
        for (at, &value) in image.dense.iter().enumerate() {
            self.at(at).store(value, Relaxed);
        }
        let sparse = (self.len - self.dense) as u64;
        if sparse > 0 {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(fd, how, self.dense as u64, sparse).context("emptying the segment")?;
        }
        for (at, bytes) in &image.sparse {
            pwrite(fd, bytes, *at).context("filling the segment")?;
        }
        Ok(())
    }

    pub(crate) fn word(&self, at: usize) -> u64 {
        self.at(at).load(Relaxed)
    }

    /// Classes of blocks, those of segments first.
    pub(crate) fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// Bytes that have memory from the beginning.
    pub(crate) fn dense(&self) -> usize {
        self.dense
    }

    /// The next ticket to take.
    pub(crate) fn head(&self) -> u64 {
        self.word(HEAD)
    }

    /// The so-many-th word of a class of blocks: described, cursor, directory, pool.
    pub(crate) fn class_word(&self, class: usize, at: usize) -> u64 {
        self.word(CLASSES + class * CLASS + at)
    }

    /// Announced ticket, occupant, held ticket, pinned segment.
    pub(crate) fn line(&self, line: usize) -> [u64; 5] {
        [0, 1, 2, 3, 4].map(|at| self.word(LINES + line * LINE + at))
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
        self.at(TAIL).store(position, Relaxed);
        self.at(HEAD).store(position, Relaxed);
    }

    /// Bits of the attention word: somebody must look at marks, sleeps for items, for room.
    pub fn attention(&self) -> u64 {
        self.word(ATTENTION) & 7
    }

    /// Marks the half word of each slot, one line long, that nobody reads.
    pub(crate) fn mark_spares(&self) {
        for at in self.spares() {
            self.at(at).store(self.word(at) | MARKED, Relaxed);
        }
    }

    /// So many lines were asked for since: somebody stored there.
    pub(crate) fn asked(&self) -> usize {
        self.spares().filter(|&at| self.word(at) & MARKED == 0).count()
    }

    /// The second word of each slot, of a queue without blocks.
    fn spares(&self) -> impl Iterator<Item = usize> {
        let (slots, words) = (self.slots() as usize, self.word(SLOT_BYTES) as usize / WORD);
        let first = (CLASSES + slots * MARK).next_multiple_of(LINE);
        (0..slots).map(move |slot| first + slot * words + 1)
    }

    /// Slots that must not be used.
    pub fn resting(&self) -> usize {
        // In a growing queue none rests: a segment is not used again before its writers are done.
        let slots = if self.is_growing { 0 } else { self.slots() as usize };
        let first = CLASSES + if self.has_blocks { CLASSES_MAX * CLASS } else { 0 };
        let marks = (0..slots).map(|slot| self.word(first + slot * MARK));
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
        _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
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
            let fd = queue.as_fd().unwrap();
            let segment = Segment::map(config, &queue).unwrap();
            let empty = segment.read(fd).unwrap();
            let mut producer = queue.producer().unwrap();
            producer.try_push(b"one").unwrap();
            assert_eq!((segment.tail(), segment.occupied()), (1, 1));
            let consumer = queue.consumer().unwrap();
            assert_eq!(segment.occupied(), 2);
            let soles = [config.producers, config.consumers];
            let exclusive = soles.iter().filter(|&&role| role == shmq_engine::Role::One).count();
            assert_eq!(segment.soles(), exclusive);
            drop((producer, consumer));
            segment.restore(fd, &empty).unwrap();
            assert_eq!(segment.tail(), 0);
            assert!(segment.slots() >= config.capacity as u64 && PARTICIPANTS > 5);
            assert_eq!((segment.attention(), segment.resting()), (0, 0));
            if config.is_growing() {
                continue;
            }
            segment.move_to(1 << 60);
            assert_eq!(queue.len(), 0);
            queue.producer().unwrap().try_push(b"two").unwrap();
            assert_eq!((segment.tail(), queue.len()), ((1 << 60) + 1, 1));
        }
    }
}
