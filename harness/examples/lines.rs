//! What a ring cannot avoid: two threads on two CPUs, of which one writes 1,024 cache lines that the other has
//! read since, with a locked instruction before each, as a put has; then the other reads them. The lines are
//! written one by one, or asked for some at a time by a store into each. Says what each line takes, near and
//! far: in a virtual machine the host moves the CPUs, so that is asked before each turn.
//!
//! `cargo run --release -p shmq-harness --example lines -- [SECONDS]`

use std::env;
use std::error::Error;
use std::hint::spin_loop;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Written, then read, in one turn; and in all, so that a lap comes back to them later.
const LINES: usize = 1024;
const ALL: usize = 2 * LINES;
/// Lines asked for at a time.
const STYLES: [usize; 5] = [1, 2, 4, 8, 16];
const TRIPS: u64 = 50;
/// With a longer way there and back, they are far.
const NEAR_MAX_NS: f64 = 160.0;
const OVER: u64 = u64::MAX;

#[repr(align(128))]
#[derive(Default)]
struct Turn(AtomicU64);

#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

#[derive(Default)]
struct Found {
    written: Vec<f64>,
    read: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let allowed = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let (Some(first), Some(second)) = (cpus.next(), cpus.next()) else {
        return Err("two CPUs are wanted, and one is allowed".into());
    };
    let turn = &Turn::default();
    let lines: &[Line] = &(0..ALL).map(|_| Line::default()).collect::<Vec<_>>();
    thread::scope(|scope| {
        scope.spawn(move || reader(second, turn, lines));
        let found = scope.spawn(move || writer(first, turn, lines, Duration::from_secs(seconds)));
        print(&found.join().expect("it does not panic"));
    });
    Ok(())
}

/// By style, near and far.
fn writer(cpu: usize, turn: &Turn, lines: &[Line], lasts: Duration) -> [[Found; 2]; STYLES.len()] {
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
        let style = round % STYLES.len();
        let at = round % 2 * LINES;
        let begun = Instant::now();
        write(&lines[at..][..LINES], STYLES[style], &mut own);
        // ordering: SeqCst, until all stores have left; pairs with nothing
        fence(SeqCst);
        let written = begun.elapsed();
        let begun = Instant::now();
        // Its turn with the lines is its turn with the word.
        now += 2;
        turn.0.store(now | 1 << 63 | (at as u64) << 40, Release);
        while turn.0.load(Acquire) != now {
            spin_loop();
        }
        let per_line = |time: Duration| time.as_nanos() as f64 / LINES as f64;
        let Found { written: all, read } = &mut found[style][usize::from(is_far)];
        all.push(per_line(written));
        read.push(per_line(begun.elapsed()));
    }
    found
}

/// The reader ends when the writer has, whatever came of it.
struct Over<'t>(&'t Turn);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.0.store(OVER, Release);
    }
}

fn write(lines: &[Line], style: usize, own: &mut AtomicU64) {
    for lines in lines.chunks(style) {
        if style > 1 {
            lines.iter().for_each(|Line(words)| words[7].store(0, Relaxed));
        }
        for Line(words) in lines {
            let value = own.load(Relaxed);
            _ = own.compare_exchange(value, value + 1, SeqCst, Relaxed);
            words[1..].iter().for_each(|word| word.store(value, Relaxed));
            words[0].store(value, Release);
        }
    }
}

fn reader(cpu: usize, turn: &Turn, lines: &[Line]) {
    pin(cpu);
    let mut sum = 0_u64;
    loop {
        match turn.0.load(Acquire) {
            OVER => break,
            now if now >> 63 == 1 => {
                let at = (now << 1 >> 41) as usize;
                for Line(words) in &lines[at..][..LINES] {
                    sum = words.iter().fold(sum, |sum, word| sum.wrapping_add(word.load(Acquire)));
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
fn pass_on(turn: &Turn, now: &mut u64) {
    turn.0.store(*now + 1, Release);
    *now += 2;
    while turn.0.load(Acquire) != *now {
        spin_loop();
    }
}

fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).expect("the CPU was allowed a moment ago");
}

fn print(found: &[[Found; 2]; STYLES.len()]) {
    println!("ns per line, medians   near: written, read, times   far: written, read, times");
    for (style, distances) in STYLES.iter().zip(found) {
        let [near, far] = distances.each_ref().map(|Found { written, read }| {
            let [each, by_reader] = [written, read].map(|times| median(times));
            format!("{each:13.1} {by_reader:5.1} {:6}", written.len())
        });
        let how = if *style == 1 {
            "one by one       ".into()
        } else {
            format!("{style:2} asked for at once")
        };
        println!("{how:20} {near} {far}");
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
