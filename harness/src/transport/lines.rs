//! What the machine itself takes to stream messages from one process to another: their bytes are written into
//! cache lines of shared memory and copied out again, 32 messages for each word that says so. No queue: one on
//! either side, no message can be had before its block is full, and a death stops the other. What a stream can
//! be measured against.

use std::hint::spin_loop;
use std::io;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use shmq_engine::ring::{Asking, prefetch_to_read, prefetch_to_write};

use super::bare::{Mapped, memory};
use super::{End, Group, Link, Receiver, Sender, Transport};
use crate::by_size;
use crate::message::WORD_BYTES;
use crate::plan::{Mode, Row, Topology};
use crate::worker::{Done, Spec, run_process};

/// Messages that are handed on together, as in a batch of ours.
const BLOCK: usize = 32;
/// Blocks there is memory for: as many messages as a queue of ours has places.
const BLOCKS: usize = 32;
/// Lines that are asked for together.
const ASKED: usize = 16;
const LINE_BYTES: usize = 64;
/// Of each line, all but the word that the reader asks by.
const PAYLOAD: usize = LINE_BYTES - WORD_BYTES;
const SIZE_MAX: usize = 1024;

pub(super) const TRANSPORT: Transport = Transport {
    group: Group::Bare,
    is_default: |_| false,
    unavailable,
    ..Transport::new(
        "bare-stream",
        "no queue: cache lines that one process writes and one reads, 32 messages at a time",
        |_| memory("shmq-harness-lines", size_of::<Lines>()),
        work,
    )
};

fn unavailable(row: &Row) -> Option<String> {
    if row.mode != Mode::Stream || row.topology != (Topology { producers: 1, consumers: 1 }) {
        return Some("from one to one, no way back: 1p1c streaming only".into());
    }
    (row.size > SIZE_MAX).then(|| format!("there are lines for messages of {SIZE_MAX} bytes"))
}

fn work(spec: &Spec) -> Done {
    by_size!(
        spec.row().size,
        N => run_process::<LinesLink<N>>(spec),
        else run_process::<LinesLink<ANY>>(spec)
    )
}

/// Instead of a length that the compiler knows.
const ANY: usize = 0;

#[repr(C, align(128))]
#[derive(Debug)]
struct Count(AtomicU64);

/// A word to ask by, and payload.
#[repr(C, align(64))]
#[derive(Debug)]
struct Line(u64, [u8; PAYLOAD]);

const fn lines_of(bytes: usize) -> usize {
    bytes.div_ceil(PAYLOAD)
}

/// How many blocks were written, and read. A block's lines are the writer's until the one says so, the reader's
/// until the other does.
#[repr(C)]
#[derive(Debug)]
struct Lines {
    written: Count,
    read: Count,
    lines: [Line; BLOCKS * lines_of(BLOCK * SIZE_MAX)],
}

/// Messages of `N` bytes, or of [`ANY`] length.
#[derive(Debug)]
struct LinesLink<const N: usize>;

impl<const N: usize> Link for LinesLink<N> {
    type Sender = LinesEnd<N>;
    type Receiver = LinesEnd<N>;

    fn sender(end: End, row: &Row) -> io::Result<LinesEnd<N>> {
        LinesEnd::map(end, row.size)
    }

    fn receiver(end: End, row: &Row) -> io::Result<LinesEnd<N>> {
        LinesEnd::map(end, row.size)
    }
}

#[derive(Debug)]
struct LinesEnd<const N: usize> {
    memory: Mapped<Lines>,
    /// Blocks that it has had.
    blocks: u64,
    size: usize,
    /// As a queue of ours asks.
    asking: Asking,
    /// The messages of a block.
    bytes: Box<[u8]>,
}

impl<const N: usize> LinesEnd<N> {
    fn map(end: End, size: usize) -> io::Result<Self> {
        let bytes = vec![0; BLOCK * size].into();
        let (memory, asking) = (Mapped::of(end)?, Asking::here());
        Ok(Self { memory, blocks: 0, size, asking, bytes })
    }

    #[inline]
    fn size(&self) -> usize {
        if N == ANY { self.size } else { N }
    }

    fn written(&self) -> &AtomicU64 {
        // SAFETY: mapped until drop, and only used as an atomic
        unsafe { &(*self.memory.as_ptr()).written.0 }
    }

    fn read(&self) -> &AtomicU64 {
        // SAFETY: as above
        unsafe { &(*self.memory.as_ptr()).read.0 }
    }

    /// The lines of a block.
    #[inline]
    fn lines(&self, block: u64) -> (*mut Line, usize) {
        let count = lines_of(BLOCK * self.size());
        // SAFETY: mapped until drop
        let all = unsafe { &raw mut (*self.memory.as_ptr()).lines };
        (all.cast::<Line>().wrapping_add(block as usize % BLOCKS * count), count)
    }

    /// The lines of the next block, and its messages here, a line's at a time.
    ///
    /// # Safety
    /// It is our turn with those lines, while they are used.
    #[inline]
    unsafe fn block(&mut self) -> (&mut [Line], slice::ChunksMut<'_, u8>) {
        let (first, count) = self.lines(self.blocks);
        // SAFETY: there are lines for so many blocks (`unavailable`); any bytes are valid; nobody else uses these lines (contract)
        let lines = unsafe { slice::from_raw_parts_mut(first, count) };
        (lines, self.bytes.chunks_mut(PAYLOAD))
    }

    fn write_block(&mut self) {
        // ordering: Acquire, pairs with Release in `read_block`
        while self.blocks - self.read().load(Ordering::Acquire) == BLOCKS as u64 {
            spin_loop();
        }
        let (asking, (next, _)) = (self.asking, self.lines(self.blocks + 1));
        // SAFETY: what was there has been read, and nobody has been told of this block
        let (lines, messages) = unsafe { self.block() };
        for (at, (Line(_, to), from)) in lines.iter_mut().zip(messages).enumerate() {
            if asking == Asking::Prefetches {
                prefetch_to_write(next.wrapping_add(at));
            }
            to[..from.len()].copy_from_slice(from);
        }
        self.blocks += 1;
        // ordering: Release, the block; pairs with Acquire in `read_block`
        self.written().store(self.blocks, Ordering::Release);
    }

    fn read_block(&mut self) {
        let asking = self.asking;
        // ordering: Acquire, pairs with Release in `write_block`
        while self.written().load(Ordering::Acquire) == self.blocks {
            spin_loop();
        }
        // SAFETY: it has been written, and we have not said that it was read
        let (lines, mut messages) = unsafe { self.block() };
        for lines in lines.chunks_mut(ASKED) {
            match asking {
                Asking::Prefetches => lines.iter().map(ptr::from_ref).for_each(prefetch_to_read),
                Asking::Stores => {
                    for Line(word, _) in lines.iter_mut() {
                        // SAFETY: it is a word like any other; volatile, for nobody reads it
                        unsafe { ptr::write_volatile(word, 0) };
                    }
                }
            }
            for (Line(_, from), to) in lines.iter().zip(&mut messages) {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
        self.blocks += 1;
        // ordering: Release, it has been read; pairs with Acquire in `write_block`
        self.read().store(self.blocks, Ordering::Release);
    }
}

impl<const N: usize> Sender for LinesEnd<N> {
    /// A block of them: it is the message that ends the stream.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let size = self.size();
        self.bytes.chunks_exact_mut(size).for_each(|bytes| bytes.copy_from_slice(message));
        self.write_block();
        Ok(())
    }

    #[inline]
    fn send_some(&mut self, _: &mut [u8], write: impl FnMut(&mut [u8])) -> io::Result<()> {
        let size = self.size();
        self.bytes.chunks_exact_mut(size).for_each(write);
        self.write_block();
        Ok(())
    }
}

impl<const N: usize> Receiver for LinesEnd<N> {
    fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("messages come in blocks"))
    }

    #[inline]
    fn recv_some<S: Copy>(
        &mut self,
        _: &mut [u8],
        state: S,
        read: impl FnMut(S, &[u8]) -> S,
    ) -> io::Result<S> {
        self.read_block();
        Ok(self.bytes.chunks_exact(self.size()).fold(state, read))
    }
}
