//! One thread writes 1,024 lines that the other has read since, with a locked instruction before each, as a put has;
//! then the other reads them. The lines are written one by one, or asked for some at a time by a store into each, or
//! prefetched; and so are they read. Near and far: in a virtual machine the host moves the CPUs, so that is asked
//! before each turn.

use std::hint::spin_loop;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::thread;
use std::time::{Duration, Instant};

use shmq_engine::ring::{prefetch_to_read, prefetch_to_write};

use crate::{Word, median, pin};

/// Written, then read, in one turn; and in all, so that a lap comes back to them later.
const LINES: usize = 1024;
const ALL: usize = 2 * LINES;
/// How they are asked for by who writes them, and by who reads them.
const STYLES: [(Way, Way); 9] = [
    (Way::None, Way::None),
    (Way::Stores(4), Way::None),
    (Way::Stores(16), Way::None),
    (Way::None, Way::Stores(4)),
    (Way::None, Way::Stores(16)),
    (Way::Stores(16), Way::Stores(16)),
    (Way::Prefetches, Way::None),
    (Way::None, Way::Prefetches),
    (Way::Prefetches, Way::Prefetches),
];
/// So many lines lie between one that is prefetched and the one that is its turn.
const AHEAD: usize = 16;
/// Turns of a style in a row: before the first of them, lines were read in another way.
const TURNS: usize = 6;
const TRIPS: u64 = 50;
/// With a longer way there and back, they are far.
const NEAR_MAX_NS: f64 = 160.0;
const OVER: u64 = u64::MAX;

/// How lines are asked for.
#[derive(Clone, Copy)]
enum Way {
    /// Not at all: one by one.
    None,
    /// So many at once, by a store into each.
    Stores(usize),
    /// One by one, [`AHEAD`].
    Prefetches,
}

#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

#[derive(Default)]
struct Found {
    written: Vec<f64>,
    read: Vec<f64>,
}

pub(crate) fn show(cpus: [usize; 2], lasts: Duration) {
    let turn = &Word::default();
    let lines: &[Line] = &(0..ALL).map(|_| Line::default()).collect::<Vec<_>>();
    thread::scope(|scope| {
        scope.spawn(move || reader(cpus[1], turn, lines));
        let found = scope.spawn(move || writer(cpus[0], turn, lines, lasts));
        print(&found.join().expect("it does not panic"));
    });
}

/// By style, near and far.
fn writer(cpu: usize, turn: &Word, lines: &[Line], lasts: Duration) -> [[Found; 2]; STYLES.len()] {
    let _over = Over(turn);
    pin(cpu);
    let mut found: [[Found; 2]; STYLES.len()] = Default::default();
    let (start, mut now, mut own) = (Instant::now(), 0, AtomicU64::new(0));
    for round in 0.. {
        if start.elapsed() > lasts {
            break;
        }
        let trips = Instant::now();
        (0..TRIPS).for_each(|_| pass_on(turn, &mut now));
        let is_far = trips.elapsed().as_nanos() as f64 / TRIPS as f64 > NEAR_MAX_NS;
        let style = round / TURNS % STYLES.len();
        let at = round % 2 * LINES;
        let begun = Instant::now();
        write(&lines[at..][..LINES], STYLES[style].0, &mut own);
        // ordering: SeqCst, until all stores have left; pairs with nothing
        fence(SeqCst);
        let written = begun.elapsed();
        let begun = Instant::now();
        // Its turn with the lines is its turn with the word.
        now += 2;
        turn.0.store(now | 1 << 63 | (style as u64) << 56 | (at as u64) << 40, Release);
        while turn.0.load(Acquire) != now {
            spin_loop();
        }
        // Both halves of the lines have been read in this style.
        if round % TURNS < 2 {
            continue;
        }
        let per_line = |time: Duration| time.as_nanos() as f64 / LINES as f64;
        let Found { written: all, read } = &mut found[style][usize::from(is_far)];
        all.push(per_line(written));
        read.push(per_line(begun.elapsed()));
    }
    found
}

/// The reader ends when the writer has, whatever came of it.
struct Over<'t>(&'t Word);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.0.store(OVER, Release);
    }
}

impl Way {
    /// Lines that belong together.
    fn chunk(self) -> usize {
        if let Self::Stores(lines) = self { lines } else { 1 }
    }

    /// Asks for `lines`, or for such as come later.
    fn ask(self, lines: &[Line], prefetch: impl FnOnce(*const Line)) {
        match self {
            Self::None => {}
            Self::Stores(_) => lines.iter().for_each(|Line(words)| words[7].store(0, Relaxed)),
            Self::Prefetches => prefetch(lines.as_ptr().wrapping_add(AHEAD)),
        }
    }
}

fn write(lines: &[Line], way: Way, own: &mut AtomicU64) {
    for lines in lines.chunks(way.chunk()) {
        way.ask(lines, prefetch_to_write);
        for Line(words) in lines {
            let value = own.load(Relaxed);
            _ = own.compare_exchange(value, value + 1, SeqCst, Relaxed);
            words[1..7].iter().for_each(|word| word.store(value, Relaxed));
            words[0].store(value, Release);
        }
    }
}

fn reader(cpu: usize, turn: &Word, lines: &[Line]) {
    pin(cpu);
    let mut sum = 0_u64;
    loop {
        match turn.0.load(Acquire) {
            OVER => break,
            now if now >> 63 == 1 => {
                let (at, style) = ((now << 8 >> 48) as usize, (now << 1 >> 57) as usize);
                let way = STYLES[style].1;
                for lines in lines[at..][..LINES].chunks(way.chunk()) {
                    way.ask(lines, prefetch_to_read);
                    let words = lines.iter().flat_map(|Line(words)| &words[..7]);
                    sum = words.fold(sum, |sum, word| sum.wrapping_add(word.load(Acquire)));
                }
                turn.0.store(now & ((1 << 40) - 1), Release);
            }
            now if now % 2 == 1 => turn.0.store(now + 1, Release),
            _ => spin_loop(),
        }
    }
    std::hint::black_box(sum);
}

/// Once there and back.
fn pass_on(turn: &Word, now: &mut u64) {
    turn.0.store(*now + 1, Release);
    *now += 2;
    while turn.0.load(Acquire) != *now {
        spin_loop();
    }
}

fn print(found: &[[Found; 2]; STYLES.len()]) {
    println!("in turns, lines asked for by   ns per line, medians");
    println!("writer  reader           near: written, read, times   far: written, read, times");
    for ((by_writer, by_reader), distances) in STYLES.iter().zip(found) {
        let [near, far] = distances.each_ref().map(|Found { written, read }| {
            let [written_in, read_in] = [written, read].map(|times| median(times));
            format!("{written_in:17.1} {read_in:5.1} {:6}", written.len())
        });
        let [by_writer, by_reader] = [by_writer, by_reader].map(|way| match way {
            Way::None => "none".to_owned(),
            Way::Stores(lines) => format!("{lines} at once"),
            Way::Prefetches => "prefetched".to_owned(),
        });
        println!("{by_writer:10} {by_reader:10} {near} {far}");
    }
}
