//! One thread writes lines, of so much memory in turn, and says after each 32 of them that they are there; the other
//! reads them, and says so. How fast the machine itself can be: a queue's floor. The lines are asked for by prefetches
//! on both sides, or not at all; and written by words, or by as much at once as the CPU can.

use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use shmq_engine::ring::{prefetch_to_read, prefetch_to_write};

use crate::{Word, median, pin};

/// Lines that are handed on together.
const BLOCK: usize = 32;
const KIBIBYTES: [usize; 6] = [32, 64, 128, 192, 256, 1024];
const STYLES: [Style; 4] = [
    Style { prefetches: false, by_words: true },
    Style { prefetches: true, by_words: true },
    Style { prefetches: false, by_words: false },
    Style { prefetches: true, by_words: false },
];
const SLICE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
struct Style {
    prefetches: bool,
    by_words: bool,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

struct Stream {
    /// The writer's until `written` is beyond it, then the reader's until `read` is.
    blocks: Vec<UnsafeCell<[Line; BLOCK]>>,
    written: Word,
    read: Word,
    is_over: AtomicBool,
}

// SAFETY: a block is one thread's at a time (`Stream::blocks`).
unsafe impl Sync for Stream {}

pub(crate) fn show(cpus: [usize; 2], lasts: Duration) {
    let cells: Vec<_> =
        KIBIBYTES.iter().flat_map(|&memory| STYLES.map(|style| (memory, style))).collect();
    let mut found = vec![Vec::new(); cells.len()];
    let start = Instant::now();
    while start.elapsed() < lasts || found[0].len() < 3 {
        for (&(memory, style), times) in cells.iter().zip(&mut found) {
            times.push(per_line(cpus, memory, style));
        }
    }
    println!("both at once, through so much memory; ns per line, medians");
    println!("          by words: not asked for, prefetched   wide: not asked for, prefetched");
    for (memory, found) in KIBIBYTES.iter().zip(found.chunks(STYLES.len())) {
        let found: Vec<f64> = found.iter().map(|times| median(times)).collect();
        let [words, words_asked, wide, wide_asked] = found[..] else { continue };
        println!("{memory:5} KiB {words:24.1} {words_asked:11.1} {wide:21.1} {wide_asked:11.1}");
    }
}

fn per_line(cpus: [usize; 2], kibibytes: usize, style: Style) -> f64 {
    let count = kibibytes * 1024 / size_of::<[Line; BLOCK]>();
    let stream = &Stream {
        blocks: (0..count).map(|_| UnsafeCell::new([Line([0; 8]); BLOCK])).collect(),
        written: Word::default(),
        read: Word::default(),
        is_over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let reader = scope.spawn(move || stream.read_all(cpus[1], style));
        scope.spawn(move || stream.write_all(cpus[0], style));
        thread::sleep(SLICE);
        // ordering: Relaxed, nothing depends on when they see it; pairs with the loads in `wait`
        stream.is_over.store(true, Relaxed);
        reader.join().expect("it does not panic")
    })
}

impl Stream {
    fn write_all(&self, cpu: usize, style: Style) {
        pin(cpu);
        let write = if style.by_words { write_words } else { write_wide };
        for block in 0.. {
            // ordering: Acquire, the block has been read; pairs with Release in `read_all`
            if !self.wait(|| self.read.0.load(Acquire) + self.blocks.len() as u64 > block) {
                break;
            }
            let (to, next) = (self.block(block), self.block(block + 1));
            // SAFETY: it is the writer's (`blocks`)
            unsafe { write(to, next, style.prefetches, block) };
            // ordering: Release, the block; pairs with Acquire in `read_all`
            self.written.0.store(block + 1, Release);
        }
    }

    /// Nanoseconds per line.
    fn read_all(&self, cpu: usize, style: Style) -> f64 {
        pin(cpu);
        let (mut sums, mut begun, mut blocks) = ([0_u64; 8], Instant::now(), 0);
        // ordering: Acquire, pairs with Release in `write_all`
        while self.wait(|| self.written.0.load(Acquire) > blocks) {
            if blocks == 0 {
                begun = Instant::now();
            }
            let lines = self.block(blocks);
            if style.prefetches {
                (0..BLOCK).for_each(|at| prefetch_to_read(lines.wrapping_add(at)));
            }
            for at in 0..BLOCK {
                // SAFETY: it is the reader's (`blocks`)
                let Line(words) = unsafe { lines.wrapping_add(at).read() };
                sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            }
            blocks += 1;
            // ordering: Release, it has been read; pairs with Acquire in `write_all`
            self.read.0.store(blocks, Release);
        }
        black_box(sums);
        begun.elapsed().as_nanos() as f64 / (blocks * BLOCK as u64) as f64
    }

    fn block(&self, block: u64) -> *mut Line {
        self.blocks[block as usize % self.blocks.len()].get().cast()
    }

    /// Until it is so; or not, if all is over.
    fn wait(&self, is_so: impl Fn() -> bool) -> bool {
        while !is_so() {
            // ordering: Relaxed, as the store in `per_line`
            if self.is_over.load(Relaxed) {
                return false;
            }
            spin_loop();
        }
        true
    }
}

/// # Safety
/// `to` are the lines of a block that nobody else uses.
unsafe fn write_words(to: *mut Line, next: *const Line, prefetches: bool, value: u64) {
    for at in 0..BLOCK {
        if prefetches {
            prefetch_to_write(next.wrapping_add(at));
        }
        let words = to.wrapping_add(at).cast::<u64>();
        for word in 0..8 {
            // SAFETY: of this block (contract); volatile, so that it remains a word
            unsafe { words.wrapping_add(word).write_volatile(value) };
        }
    }
}

/// # Safety
/// As above.
unsafe fn write_wide(to: *mut Line, next: *const Line, prefetches: bool, value: u64) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the contract, and the CPU can
        return unsafe { write_by_avx(to, next, prefetches, value) };
    }
    // SAFETY: the contract
    unsafe { write_lines(to, next, prefetches, value) };
}

/// # Safety
/// As above, and the CPU has AVX.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn write_by_avx(to: *mut Line, next: *const Line, prefetches: bool, value: u64) {
    // SAFETY: the contract
    unsafe { write_lines(to, next, prefetches, value) };
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn write_lines(to: *mut Line, next: *const Line, prefetches: bool, value: u64) {
    for at in 0..BLOCK {
        if prefetches {
            prefetch_to_write(next.wrapping_add(at));
        }
        // SAFETY: of this block (contract)
        unsafe { to.wrapping_add(at).write(Line([value; 8])) };
    }
}
