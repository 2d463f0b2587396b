//! What do large messages cost, against copying them twice?
//!
//! ```text
//! cargo run --release -p shmq-harness --example large -- [ROUNDS [BYTES..]]
//! ```
//!
//! A copy in and a copy out are the least that `push` and `pop` can do; a loan needs neither. All rows
//! of a size are measured in every round, one after the other, in an order that turns; ratios are taken
//! within rounds. Producer and consumer are two processes, each on a CPU of its own if there are two.
//!
//! `copied twice` is what one thread needs to copy a message to a buffer and on to another one: *hot*,
//! the same three buffers again and again; *cold*, through more memory than caches hold; *by two*, each
//! of two processes makes one of the copies, at the same time, hot. The copies are `memcpy`'s; where
//! `rep movsb` is faster, as it is on some machines, it has a row of its own.
//!
//! Places are 16 times as many for messages of less than 64 KiB, for which a turn of the other process
//! costs more than a message.

use std::error::Error;
use std::hint::black_box;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use shmq_engine::{Consumer, Options, Producer, Queue};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// In the second process: the name of the queue its orders come through.
const PEER: &str = "SHMQ_LARGE_PEER";
const ORDER_MAX: usize = 256;
const COLD_BYTES: usize = 256 << 20;
/// What each row moves in each round, about.
const BYTES: usize = 256 << 20;
/// How long a message or an answer may take before the other process counts as dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// Places are more for smaller messages.
const SMALL: usize = 64 << 10;
const MESSAGES_MAX: usize = 50_000;

/// What to do for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    /// Copied in and out.
    Copied,
    /// The same, written before and read afterwards.
    CopiedInUse,
    /// Neither written nor read.
    LoanUntouched,
    /// Written and read in place.
    LoanInUse,
    /// No queue: each process copies between buffers of its own.
    Memcpy,
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    way: Way,
    queue: String,
    size: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
enum Row {
    Stream {
        way: Way,
        places: usize,
    },
    Unbounded {
        way: Way,
    },
    /// One thread puts and gets by turns.
    Alone {
        way: Way,
    },
    MemcpyHot,
    MemcpyCold,
    MemcpyByTwo,
    StringHot,
}

const ROWS: [Row; 14] = [
    Row::MemcpyHot,
    Row::MemcpyCold,
    Row::MemcpyByTwo,
    Row::StringHot,
    Row::Stream { way: Way::Copied, places: 2 },
    Row::Stream { way: Way::Copied, places: 4 },
    Row::Stream { way: Way::Copied, places: 16 },
    Row::Stream { way: Way::Copied, places: 64 },
    Row::Unbounded { way: Way::Copied },
    Row::Stream { way: Way::CopiedInUse, places: 4 },
    Row::Stream { way: Way::LoanInUse, places: 4 },
    Row::Stream { way: Way::LoanUntouched, places: 4 },
    Row::Alone { way: Way::Copied },
    Row::Alone { way: Way::LoanUntouched },
];

const ROUNDS: usize = 7;
const SIZES: [usize; 4] = [1 << 10, 64 << 10, 1 << 20, 16 << 20];

impl Row {
    fn name(self) -> String {
        let way = |way| match way {
            Way::Copied => "push/pop",
            Way::CopiedInUse => "push/pop, written and read",
            Way::LoanUntouched => "loan, untouched",
            Way::LoanInUse => "loan, written and read in place",
            Way::Memcpy => "memcpy",
        };
        match self {
            Row::Stream { way: how, places } => format!("{}, {places} places", way(how)),
            Row::Unbounded { way: how } => format!("{}, unbounded", way(how)),
            Row::Alone { way: how } => format!("{}, one thread", way(how)),
            Row::MemcpyHot => "copied twice, hot".into(),
            Row::MemcpyCold => "copied twice, cold".into(),
            Row::MemcpyByTwo => "copied twice, by two".into(),
            Row::StringHot => "copied twice, hot, rep movsb".into(),
        }
    }

    /// The queue it goes through; by reference, whatever the size.
    fn options(self, size: usize) -> Option<Options> {
        let options = match self {
            Row::Stream { places, .. } => {
                Options::new(if size < SMALL { 16 * places } else { places })
            }
            Row::Unbounded { .. } => Options::unbounded().max_bytes(1 << 30),
            Row::Alone { .. } => Options::new(4),
            _ => return None,
        };
        Some(options.inline(48))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    ns: f64,
    /// Page faults of both processes per message.
    faults: f64,
}

fn main() -> ExitCode {
    let done = match std::env::var(PEER) {
        Ok(name) => serve(&name),
        Err(_) => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let number = |text: String| {
        let number = text.parse::<usize>().ok().filter(|&number| number > 0);
        number.ok_or_else(|| format!("{text:?} is no number of rounds or bytes: from 1 on"))
    };
    let numbers = std::env::args().skip(1).map(number).collect::<Result<Vec<_>, _>>()?;
    let (rounds, sizes) = match &numbers[..] {
        [] => (ROUNDS, &SIZES[..]),
        [rounds] => (*rounds, &SIZES[..]),
        [rounds, sizes @ ..] => (*rounds, sizes),
    };
    pin(0);
    let mut peer = Peer::start()?;
    let mut loans = Vec::new();
    for &size in sizes {
        let mut samples = vec![Vec::new(); ROWS.len()];
        for round in 0..rounds {
            for at in (0..ROWS.len()).map(|at| (at + round) % ROWS.len()) {
                samples[at].push(measure(ROWS[at], size, &mut peer)?);
            }
        }
        print(size, &samples);
        loans.push((size, median(samples[ROWS.len() - 1].iter().map(|sample| sample.ns))));
    }
    peer.end()?;
    let of = |wanted| loans.iter().find(|(size, _)| *size == wanted).map(|(_, ns)| *ns);
    if let (Some(small), Some(large)) = (of(1 << 10), of(1 << 20)) {
        println!("\nloan, untouched, one thread: 1 MiB takes {:.2} times 1 KiB", large / small);
    }
    Ok(())
}

fn print(size: usize, samples: &[Vec<Sample>]) {
    println!("\n{size} B: median of {} rounds, and of ratios within them", samples[0].len());
    println!(
        "{:36}{:>12}{:>10}{:>12}{:>12}{:>14}{:>10}",
        "", "ns", "GiB/s", "rate / hot", "/ cold", "/ by two", "faults"
    );
    for (row, of_row) in ROWS.iter().zip(samples) {
        let ns = median(of_row.iter().map(|sample| sample.ns));
        let against = |base: usize| {
            let pairs = of_row.iter().zip(&samples[base]);
            median(pairs.map(|(sample, base)| base.ns / sample.ns))
        };
        println!(
            "{:36}{ns:>12.0}{:>10.2}{:>12.2}{:>12.2}{:>14.2}{:>10.2}",
            row.name(),
            size as f64 / ns * 1e9 / f64::from(1 << 30),
            against(0),
            against(1),
            against(2),
            median(of_row.iter().map(|sample| sample.faults)),
        );
    }
}

fn measure(row: Row, size: usize, peer: &mut Peer) -> Result<Sample> {
    let count = (BYTES / size).clamp(8, MESSAGES_MAX);
    let queue = row.options(size).map(|options| {
        let name = peer.fresh_name();
        options.create_named(&name).map(|queue| (name, queue))
    });
    let sample = match (row, queue.transpose()?) {
        (Row::Stream { way, .. } | Row::Unbounded { way }, Some((name, queue))) => {
            let (mut consumer, mut buffer) = (queue.consumer()?, vec![2; size]);
            let mut consume =
                |count| (0..count).try_for_each(|_| consume_one(&mut consumer, way, &mut buffer));
            // First touches are not the subject; afterwards both have what they need.
            let warm_up = count.min(200);
            peer.order(way, &name, size, warm_up)?;
            consume(warm_up)?;
            peer.done()?;
            let (faults, start) = (faults(), Instant::now());
            peer.order(way, &name, size, count)?;
            consume(count)?;
            sample(start.elapsed(), faults, count, peer.done()?)
        }
        (Row::Alone { way }, Some((_, queue))) => alone(&queue, way, size, count)?,
        (Row::MemcpyByTwo, _) => {
            let mut buffers = Buffers::of(size);
            peer.order(Way::Memcpy, "", size, 1)?;
            buffers.copy_once(1);
            peer.done()?;
            let (faults, start) = (faults(), Instant::now());
            peer.order(Way::Memcpy, "", size, count)?;
            buffers.copy_once(count);
            // Until both have made theirs.
            let theirs = peer.done()?;
            sample(start.elapsed(), faults, count, theirs)
        }
        (Row::MemcpyCold, _) => copy_twice(size, count, COLD_BYTES, <[u8]>::copy_from_slice),
        (Row::StringHot, _) => copy_twice(size, count, 0, string_copy),
        _ => copy_twice(size, count, 0, <[u8]>::copy_from_slice),
    };
    Ok(sample)
}

fn sample(elapsed: Duration, before: u64, count: usize, theirs: u64) -> Sample {
    let all = (faults() - before + theirs) as f64;
    Sample { ns: elapsed.as_nanos() as f64 / count as f64, faults: all / count as f64 }
}

fn alone(queue: &Queue, way: Way, size: usize, count: usize) -> Result<Sample> {
    let (mut producer, mut consumer) = (queue.producer()?, queue.consumer()?);
    let (mut message, mut buffer) = (vec![1; size], vec![2; size]);
    let mut turn = || -> Result<()> {
        produce_one(&mut producer, way, &mut message)?;
        consume_one(&mut consumer, way, &mut buffer)
    };
    (0..20).try_for_each(|_| turn())?;
    let (before, start) = (faults(), Instant::now());
    (0..count).try_for_each(|_| turn())?;
    Ok(sample(start.elapsed(), before, count, 0))
}

#[inline]
fn consume_one(consumer: &mut Consumer, way: Way, buffer: &mut [u8]) -> Result<()> {
    match way {
        Way::Copied => _ = consumer.pop_timeout(buffer, PATIENCE)?,
        Way::CopiedInUse => {
            consumer.pop_timeout(buffer, PATIENCE)?;
            black_box(sum(buffer));
        }
        Way::LoanUntouched => drop(consumer.pop_ref_timeout(PATIENCE)?),
        Way::LoanInUse => {
            let message = consumer.pop_ref_timeout(PATIENCE)?;
            // SAFETY: only our own two processes are attached.
            black_box(sum(unsafe { message.as_slice() }));
        }
        Way::Memcpy => {}
    }
    Ok(())
}

#[inline]
fn produce_one(producer: &mut Producer, way: Way, message: &mut [u8]) -> Result<()> {
    match way {
        Way::Copied => producer.push(message)?,
        Way::CopiedInUse => {
            fill(message);
            producer.push(message)?;
        }
        Way::LoanUntouched | Way::LoanInUse => {
            let mut loan = producer.reserve(message.len())?;
            if way == Way::LoanInUse {
                // SAFETY: only our own two processes are attached.
                fill(unsafe { loan.as_mut_slice() });
            }
            loan.commit().map_err(|uncommitted| uncommitted.error)?;
        }
        Way::Memcpy => {}
    }
    Ok(())
}

fn fill(message: &mut [u8]) {
    let mut word = 1_u64;
    for bytes in message.chunks_exact_mut(8) {
        bytes.copy_from_slice(&word.to_ne_bytes());
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}

fn sum(message: &[u8]) -> u64 {
    let words = message.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_ne_bytes));
    words.fold(0, u64::wrapping_add)
}

/// Through `span` bytes for each of the three buffers, at least one message.
fn copy_twice(size: usize, count: usize, span: usize, copy: impl Fn(&mut [u8], &[u8])) -> Sample {
    let messages = (span / size).max(1);
    let source = vec![1; messages * size];
    let (mut middle, mut target) = (vec![2; messages * size], vec![3; messages * size]);
    let (before, start) = (faults(), Instant::now());
    for at in (0..count).map(|at| at % messages * size) {
        copy(&mut middle[at..at + size], black_box(&source[at..at + size]));
        copy(&mut target[at..at + size], black_box(&middle[at..at + size]));
        black_box(&mut target);
    }
    sample(start.elapsed(), before, count, 0)
}

#[cfg(target_arch = "x86_64")]
fn string_copy(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len());
    // SAFETY: both have that length and do not overlap; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") to.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn string_copy(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

/// For one copy of each message.
struct Buffers {
    source: Vec<u8>,
    target: Vec<u8>,
}

impl Buffers {
    fn of(size: usize) -> Self {
        Self { source: vec![1; size], target: vec![2; size] }
    }

    fn copy_once(&mut self, count: usize) {
        for _ in 0..count {
            self.target.copy_from_slice(black_box(&self.source));
            black_box(&mut self.target);
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Minor page faults of this process so far: the 10th field of its stat, the 8th after its name.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().nth(7).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// To the nth CPU that we may use, if there is one.
fn pin(nth: usize) {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return };
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    if let Some(cpu) = cpus.nth(nth) {
        let mut own = CpuSet::new();
        own.set(cpu);
        _ = sched_setaffinity(None, &own);
    }
}

/// The second process.
#[derive(Debug)]
struct Peer {
    child: Child,
    orders: Producer,
    replies: Consumer,
    _queues: [Queue; 2],
    /// How many names there were.
    names: usize,
}

impl Peer {
    fn start() -> Result<Self> {
        let name = format!("large.{}", std::process::id());
        let options = Options::new(4).message_max(ORDER_MAX);
        let queues = [options.create_named(&name)?, options.create_named(&replies_of(&name))?];
        let (orders, replies) = (queues[0].producer()?, queues[1].consumer()?);
        let child = Command::new("/proc/self/exe").env(PEER, &name).spawn()?;
        Ok(Self { child, orders, replies, _queues: queues, names: 0 })
    }

    /// For a queue to it that it does not know.
    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("large.{}.{}", std::process::id(), self.names)
    }

    fn order(&mut self, way: Way, queue: &str, size: usize, count: usize) -> Result<()> {
        let order = Order { way, queue: queue.to_owned(), size, count };
        Ok(self.orders.push(&serde_json::to_vec(&order)?)?)
    }

    /// Waits until the order is carried out. Says how many page faults that took.
    fn done(&mut self) -> Result<u64> {
        let mut reply = [0; 8];
        self.replies.pop_timeout(&mut reply, PATIENCE)?;
        Ok(u64::from_ne_bytes(reply))
    }

    fn end(mut self) -> Result<()> {
        self.order(Way::Memcpy, "", 0, 0)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the other process: {status}").into()) }
    }
}

/// Whatever became of the comparison, no process is left.
impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn replies_of(name: &str) -> String {
    format!("{name}.replies")
}

/// What the second process does.
fn serve(name: &str) -> Result<()> {
    pin(1);
    let mut orders = Queue::open(name)?.consumer()?;
    let mut replies = Queue::open(&replies_of(name))?.producer()?;
    let mut data: Option<(String, Producer)> = None;
    let mut buffers = Buffers::of(0);
    let mut buffer = [0; ORDER_MAX];
    loop {
        let len = orders.pop_timeout(&mut buffer, PATIENCE)?;
        let Order { way, queue, size, count } = serde_json::from_slice(&buffer[..len])?;
        if count == 0 {
            return Ok(());
        }
        let before = faults();
        if buffers.source.len() != size {
            buffers = Buffers::of(size);
        }
        if way == Way::Memcpy {
            buffers.copy_once(count);
        } else {
            if data.as_ref().is_none_or(|(name, _)| *name != queue) {
                let producer = Queue::open(&queue)?.producer()?;
                data = Some((queue, producer));
            }
            let Some((_, producer)) = &mut data else { continue };
            for _ in 0..count {
                produce_one(producer, way, &mut buffers.source)?;
            }
        }
        replies.push(&(faults() - before).to_ne_bytes())?;
    }
}
