//! Values that are put as the bytes they are, in place too, between threads and processes.

mod runner;

use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shmq::{
    DecodeError, GetError, JoinableQueue, Manager, ManagerQueue, PartlyGot, PartlyPut, Pod, Pool,
    Process, PutError, Queue, SimpleQueue,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
struct Sample {
    time: u64,
    position: [f32; 2],
}

/// Not serde's: so a queue of these goes by the bytes, or is not compiled.
type Samples = Queue<Pod<Sample>>;

const LEN: usize = 1 << 20;
type Frame = [u8; LEN];

fn main() -> ExitCode {
    shmq::init(shmq::tasks![echo, double, keep, kept, mark, die_in_put]);
    runner::run(tests![
        values_are_got_as_they_were_put,
        they_take_as_many_bytes_as_in_memory,
        several_at_once,
        another_length_is_an_error_with_both,
        in_place_means_in_shared_memory,
        large_alignments_are_kept,
        what_is_larger_than_a_stack_is_put_and_got_in_place,
        a_full_queue_is_waited_for,
        a_panic_leaves_the_queue_working,
        who_is_killed_while_it_writes_puts_nothing,
        they_travel_between_processes,
        they_travel_to_workers_of_a_pool,
        all_kinds_of_queues_take_them,
    ])
}

fn sample(time: u64) -> Sample {
    Sample { time, position: [time as f32, -0.5] }
}

#[derive(Deserialize, Serialize)]
struct Ways {
    to: Samples,
    back: Samples,
}

/// Sends back what comes, until the end.
fn echo(ways: Ways) -> Result<(), Box<dyn Error>> {
    for got in &ways.to {
        ways.back.put(got?)?;
    }
    Ok(())
}

/// Doubles each byte, in place at both ends.
fn double(from: Queue<Pod<Frame>>, to: Queue<Pod<Frame>>) -> Result<(), Box<dyn Error>> {
    loop {
        // SAFETY: nobody writes to the queue but through this library.
        let first = unsafe { from.get_with(|frame| frame[0]) };
        let Ok(first) = first else { return Ok(()) };
        // SAFETY: as above.
        unsafe { to.put_with(|frame| frame.fill(2 * first)) }?;
    }
}

static KEPT: std::sync::OnceLock<Samples> = std::sync::OnceLock::new();

fn keep(samples: Samples) {
    KEPT.set(samples).unwrap();
}

fn kept() -> Result<u64, GetError> {
    Ok(KEPT.get().unwrap().get()?.0.time)
}

fn mark(tasks: JoinableQueue<Pod<Sample>>, to: ManagerQueue<Pod<u32>>) {
    let task = tasks.get_task().unwrap();
    to.put(Pod(task.0.time as u32)).unwrap();
}

fn die_in_put(frames: Queue<Pod<Frame>>, ready: Queue<()>) {
    // SAFETY: nobody writes to the queue but through this library.
    let put = unsafe {
        frames.put_with(|frame| {
            frame.fill(9);
            ready.put(()).unwrap();
            thread::sleep(PATIENCE);
        })
    };
    put.unwrap();
}

fn values_are_got_as_they_were_put() {
    let queue = Queue::new(3).unwrap();
    (0..3).for_each(|time| queue.put(Pod(sample(time))).unwrap());
    assert_eq!((queue.qsize(), queue.full(), queue.maxsize()), (3, true, 3));
    let Err(PutError::Full(Pod(back))) = queue.put_nowait(Pod(sample(3))) else {
        panic!("the queue is full");
    };
    assert_eq!(back, sample(3));
    assert_eq!(queue.get().unwrap(), Pod(sample(0)));
    assert_eq!(queue.get_timeout(SHORT).unwrap(), Pod(sample(1)));
    queue.shutdown(false).unwrap();
    assert!(queue.put(Pod(sample(4))).unwrap_err().is_shut_down());
    assert_eq!(queue.get_nowait().unwrap(), Pod(sample(2)));
    assert!(queue.get().unwrap_err().is_shut_down());
    queue.close();
    assert!(matches!(queue.get(), Err(GetError::Closed { .. })));

    let queue = Queue::new(1).unwrap();
    queue.put(Pod(())).unwrap();
    assert_eq!(queue.get().unwrap(), Pod(()));
    let start = Instant::now();
    assert!(queue.get_timeout(SHORT).unwrap_err().is_empty());
    assert!(start.elapsed() >= SHORT);
}

fn they_take_as_many_bytes_as_in_memory() {
    let queue = Queue::builder().message_max(8).create().unwrap();
    queue.put(Pod(u64::MAX)).unwrap();
    assert_eq!(queue.get().unwrap(), Pod(u64::MAX));
    let encoded = Queue::builder().message_max(8).create().unwrap();
    let error = encoded.put(u64::MAX).unwrap_err();
    assert!(matches!(error, PutError::TooLarge { len: 10, max: 8, .. }), "{error}");
    let error = Queue::builder().message_max(7).create().unwrap().put(Pod(1_u64)).unwrap_err();
    assert!(matches!(error, PutError::TooLarge { value: Pod(1), len: 8, max: 7 }), "{error}");
}

fn several_at_once() {
    let queue = Queue::new(0).unwrap();
    queue.put_many((0..1000).map(|time| Pod(sample(time)))).unwrap();
    let Ok(first) = queue.get_many(10) else { panic!("they are there") };
    assert!(first.iter().zip(0..).all(|(got, time)| got.0 == sample(time)));
    let rest = queue.drain().map(|got| got.unwrap().0.time);
    assert!(rest.eq(first.len() as u64..1000));
    queue.shutdown(false).unwrap();
    let Err(PartlyPut { put: 0, source, rest }) = queue.put_many([1, 2, 3].map(sample).map(Pod))
    else {
        panic!("it was shut down");
    };
    assert_eq!((source.into_inner().0.time, rest.len()), (1, 2));
    assert!(queue.iter().next().is_none());
}

fn another_length_is_an_error_with_both() {
    let name = format!("facade-{}-pod", std::process::id());
    let three = Queue::builder().create_named(&name).unwrap();
    let four = Queue::<Pod<u32>>::open(&name).unwrap();
    let is_length = |error: &GetError| {
        let length = DecodeError::Length { expected: 4, found: 3 };
        assert!(error.source().unwrap().to_string() == length.to_string(), "{error:?}");
        matches!(error, GetError::Decode { source: DecodeError::Length { expected: 4, found: 3 } })
    };
    for _ in 0..3 {
        three.put(Pod([1_u8; 3])).unwrap();
    }
    four.put(Pod(7)).unwrap();
    let error = four.get().unwrap_err();
    assert!(is_length(&error));
    assert_eq!(error.source().unwrap().to_string(), "the message has 3 bytes, and a value 4");
    // SAFETY: nobody writes to the queue but through this library.
    let error = unsafe { four.get_with(|_| -> () { panic!("it is none") }) }.unwrap_err();
    assert!(is_length(&error));
    let Err(PartlyGot { got, source }) = four.get_many(10) else { panic!("one is none") };
    assert!(is_length(&source) && got == [Pod(7)]);
    // Each has left the queue.
    assert!(four.empty());
}

/// Is it in memory that this process shares with others by way of this library?
fn is_shared<T>(value: &T) -> bool {
    let address = std::ptr::from_ref(value) as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut shared = maps.lines().filter(|line| line.contains("/memfd:shmq"));
    shared.any(|line| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        (start..end).contains(&address)
    })
}

fn in_place_means_in_shared_memory() {
    let queue = Queue::<Pod<[u32; 1000]>>::new(2).unwrap();
    // SAFETY: nobody else has the queue.
    let written = unsafe {
        queue.put_with(|numbers| {
            numbers.iter_mut().zip(0..).for_each(|(number, value)| *number = value);
            is_shared(numbers)
        })
    };
    // SAFETY: as above.
    let read = unsafe {
        queue.get_with(|numbers| {
            assert!(numbers.iter().copied().eq(0..1000));
            is_shared(numbers)
        })
    };
    assert!(written.unwrap() && read.unwrap());
    assert!(queue.empty());
    // Mixed with the others.
    queue.put(Pod([5; 1000])).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { queue.get_with(|numbers| numbers[999]) }.unwrap(), 5);
    // SAFETY: as above.
    unsafe { queue.put_with(|numbers| numbers.fill(6)) }.unwrap();
    assert_eq!(queue.get().unwrap().0, [6; 1000]);
}

fn what_is_larger_than_a_stack_is_put_and_got_in_place() {
    const HUGE: usize = 16 << 20;
    #[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
    #[repr(C, align(64))]
    struct Aside([u8; HUGE]);

    let work = || {
        let queue = Queue::<Pod<[u8; HUGE]>>::new(0).unwrap();
        // SAFETY: nobody else has the queue.
        unsafe { queue.put_with(|huge| huge.fill(5)) }.unwrap();
        // SAFETY: as above.
        assert!(unsafe { queue.get_with(|huge| huge.iter().all(|&byte| byte == 5)) }.unwrap());
        let queue = Queue::<Pod<Aside>>::new(0).unwrap();
        // SAFETY: as above.
        unsafe { queue.put_with(|huge| huge.0.fill(6)) }.unwrap();
        // SAFETY: as above.
        assert!(unsafe { queue.get_with(|huge| huge.0.iter().all(|&byte| byte == 6)) }.unwrap());
    };
    thread::Builder::new().stack_size(HUGE / 8).spawn(work).unwrap().join().unwrap();
}

fn large_alignments_are_kept() {
    #[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
    #[repr(C, align(64))]
    struct Line([u8; 64]);
    // Collected in a block, they lie at multiples of 16.
    let queue = Queue::<Pod<Line>>::new(0).unwrap();
    let aligned = |line: &Line| (std::ptr::from_ref(line) as usize).is_multiple_of(64);
    for value in 0..20 {
        // SAFETY: nobody else has the queue.
        let written = unsafe {
            queue.put_with(|line| {
                line.0.fill(value);
                aligned(line)
            })
        };
        assert!(written.unwrap());
    }
    for value in 0..20 {
        // SAFETY: as above.
        let read = unsafe { queue.get_with(|line| aligned(line) && line.0 == [value; 64]) };
        assert!(read.unwrap());
    }
}

fn a_full_queue_is_waited_for() {
    let queue = Queue::<Pod<[u64; 100]>>::new(1).unwrap();
    // SAFETY: nobody else has the queue.
    let put = |timeout| unsafe { queue.put_with_timeout(|value| value.fill(3), timeout) };
    // SAFETY: as above.
    let get = |timeout| unsafe { queue.get_with_timeout(|value| value[99], timeout) };
    put(Duration::ZERO).unwrap();
    let start = Instant::now();
    assert!(put(Duration::ZERO).unwrap_err().is_full());
    assert!(put(SHORT).unwrap_err().is_full());
    assert!(start.elapsed() >= SHORT);
    assert_eq!(get(Duration::ZERO).unwrap(), 3);
    let start = Instant::now();
    assert!(get(Duration::ZERO).unwrap_err().is_empty());
    assert!(get(SHORT).unwrap_err().is_empty());
    assert!(start.elapsed() >= SHORT);
    thread::scope(|scope| {
        put(SHORT).unwrap();
        let waiting = scope.spawn(|| put(PATIENCE));
        thread::sleep(SHORT);
        assert_eq!(get(PATIENCE).unwrap(), 3);
        waiting.join().unwrap().unwrap();
    });
    queue.shutdown(true).unwrap();
    assert!(put(PATIENCE).unwrap_err().is_shut_down());
    assert!(get(PATIENCE).unwrap_err().is_shut_down());
}

fn a_panic_leaves_the_queue_working() {
    let queue = Queue::<Pod<Frame>>::builder().maxsize(2).max_bytes(8 * LEN).create().unwrap();
    for _ in 0..50 {
        // SAFETY: nobody else has the queue.
        let write =
            || unsafe { queue.put_with(|frame| -> u8 { resume_unwind(Box::new(frame[0])) }) };
        catch_unwind(AssertUnwindSafe(write)).unwrap_err();
        assert!(queue.empty());
        // SAFETY: as above.
        unsafe { queue.put_with(|frame| frame.fill(1)) }.unwrap();
        // SAFETY: as above.
        let read =
            || unsafe { queue.get_with(|frame| -> u8 { resume_unwind(Box::new(frame[0])) }) };
        catch_unwind(AssertUnwindSafe(read)).unwrap_err();
        assert!(queue.empty());
    }
}

fn who_is_killed_while_it_writes_puts_nothing() {
    let (frames, ready) = (Queue::new(1).unwrap(), Queue::new(0).unwrap());
    let process = Process::new(die_in_put, (frames.clone(), ready.clone()));
    process.start().unwrap();
    ready.get_timeout(PATIENCE).unwrap();
    process.kill().unwrap();
    process.join().unwrap();
    assert!(frames.empty());
    // SAFETY: nobody writes to the queue but through this library.
    unsafe { frames.put_with_timeout(|frame| frame.fill(1), Duration::ZERO) }.unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { frames.get_with(|frame| frame[LEN - 1]) }.unwrap(), 1);
}

fn they_travel_between_processes() {
    let ways = || Ways { to: Queue::new(10).unwrap(), back: Queue::new(0).unwrap() };
    let here = ways();
    let there = Ways { to: here.to.clone(), back: here.back.clone() };
    let process = Process::new(echo, (there,));
    process.start().unwrap();
    for time in 0..100 {
        here.to.put(Pod(sample(time))).unwrap();
        assert_eq!(here.back.get_timeout(PATIENCE).unwrap(), Pod(sample(time)));
    }
    here.to.shutdown(false).unwrap();
    process.join().unwrap();
    assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
    // Not through another queue, as any queue.
    let carrier = Queue::new(1).unwrap();
    assert!(matches!(carrier.put(ways()), Err(PutError::Encode { .. })));

    let (to, back) = (Queue::<Pod<Frame>>::new(2).unwrap(), Queue::<Pod<Frame>>::new(2).unwrap());
    let process = Process::new(double, (to.clone(), back.clone()));
    process.start().unwrap();
    for value in 1..20 {
        // SAFETY: nobody writes to the queue but through this library.
        unsafe { to.put_with(|frame| frame.fill(value)) }.unwrap();
        let is_doubled = |frame: &Frame| frame.iter().all(|&byte| byte == 2 * value);
        // SAFETY: as above.
        assert!(unsafe { back.get_with_timeout(is_doubled, PATIENCE) }.unwrap());
    }
    to.shutdown(false).unwrap();
    process.join().unwrap();
}

fn they_travel_to_workers_of_a_pool() {
    let samples = Queue::new(0).unwrap();
    samples.put_many((0..10).map(|time| Pod(sample(time)))).unwrap();
    let pool = Pool::builder().processes(2).initializer(keep, (samples.clone(),)).create().unwrap();
    let mut times = pool.starmap(kept, [(); 10], None).unwrap();
    times.sort_unstable();
    assert_eq!(times, (0..10).collect::<Vec<_>>());
}

fn all_kinds_of_queues_take_them() {
    let tasks = JoinableQueue::new(0).unwrap();
    let marks = Manager::new().queue(0).unwrap();
    tasks.put(Pod(sample(5))).unwrap();
    assert_eq!(tasks.unfinished_tasks(), 1);
    let process = Process::new(mark, (tasks.clone(), marks.clone()));
    process.start().unwrap();
    tasks.join().unwrap();
    process.join().unwrap();
    assert_eq!(marks.get_nowait().unwrap(), Pod(5));
    let simple = SimpleQueue::new().unwrap();
    simple.put(Pod(sample(6))).unwrap();
    assert_eq!(simple.get().unwrap(), Pod(sample(6)));
}
