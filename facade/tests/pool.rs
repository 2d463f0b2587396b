//! Pools as `multiprocessing` has them, and what becomes of tasks whose workers die.

mod runner;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmq::{
    Manager, ManagerQueue, Pool, PoolError, Process, Queue, Value, active_children, current_process,
};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    shmq::init(shmq::tasks![
        square,
        add,
        area,
        greet,
        refuse,
        fail_softly,
        panics,
        leave,
        pid,
        pid_for,
        sleep_ms,
        sleepy,
        length,
        repeat,
        take_queue,
        get_one,
        keep,
        keep_and_leave,
        fail_to_keep,
        count,
        wait_for_message,
        send_message,
        is_daemon,
        in_a_daemon,
        pool_that_is_forgotten,
        forget_pool,
        be_small,
        take_fragile,
        make_fragile,
        text_length,
        hoard,
        pool_without_a_thread,
    ]);
    runner::run(tests![
        apply_returns_what_the_task_returns,
        failures_are_errors_with_their_text,
        answers_arrive_later,
        map_keeps_the_order,
        starmap_spreads_the_arguments,
        imap_gives_answers_as_they_come,
        an_error_in_the_middle_is_one_items,
        what_panics_on_the_way_is_an_error,
        callbacks_are_called,
        large_arguments_and_answers_travel,
        queues_travel_by_the_initializer_only,
        arguments_are_kept_until_there_is_an_answer,
        what_cannot_be_a_number_of_workers_is_an_error,
        a_failing_initializer_breaks_the_pool,
        initializers_that_end_their_worker_break_the_pool,
        workers_end_after_so_many_tasks,
        who_keeps_stdout_locked_does_not_hold_up_new_workers,
        a_job_behind_a_long_one_goes_to_who_is_idle,
        a_killed_worker_is_an_error_and_is_replaced,
        whoever_is_killed_every_task_ends_once,
        closing_finishes_what_was_called_for,
        terminating_ends_blocked_tasks,
        dropping_terminates,
        workers_are_daemons_of_who_is_none,
        workers_end_with_a_killed_parent,
        a_forgotten_pool_ends_with_its_process,
        a_pool_without_a_thread_leaves_no_workers,
        arguments_without_memory_are_an_error,
        what_a_used_worker_has_no_memory_for_a_fresh_one_may_have,
        numbers_are_checked,
    ])
}

fn square(number: u64) -> u64 {
    number * number
}

fn add(a: i32, b: i32) -> i32 {
    a + b
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rectangle {
    sides: (u32, u32),
    name: Option<String>,
}

impl Value for Rectangle {}

fn area(of: Rectangle) -> Result<(Rectangle, u32), String> {
    let (a, b) = of.sides;
    a.checked_mul(b).map(|area| (of, area)).ok_or("too large".to_owned())
}

fn greet() -> Rectangle {
    Rectangle { sides: (1, 2), name: Some("hello".to_owned()) }
}

fn refuse(why: String) -> Result<(), Box<dyn Error>> {
    Err(why.into())
}

fn fail_softly(number: u64) -> Result<u64, io::Error> {
    if number % 10 == 3 { Err(io::Error::other(format!("not {number}"))) } else { Ok(number) }
}

fn panics(why: String) -> u8 {
    panic!("{why} happened");
}

fn leave(code: i32) {
    exit(code);
}

fn pid() -> u32 {
    std::process::id()
}

fn sleep_ms(ms: u64) -> u64 {
    thread::sleep(Duration::from_millis(ms));
    ms
}

fn sleepy(number: u64) -> u64 {
    sleep_ms(number % 7)
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn text_length(text: String) -> usize {
    text.len()
}

/// Panics when it is decoded, unless it is whole; and when it is encoded, if it is neither.
#[derive(Debug, PartialEq)]
enum Fragile {
    Whole,
    Cracked,
    Broken,
}

impl Value for Fragile {}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(*self != Self::Broken, "not encoded");
        (*self == Self::Whole).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert!(bool::deserialize(deserializer)?, "not decoded");
        Ok(Self::Whole)
    }
}

fn take_fragile(_: Fragile) -> u32 {
    std::process::id()
}

fn make_fragile(broken: bool) -> Fragile {
    if broken { Fragile::Broken } else { Fragile::Whole }
}

fn repeat(byte: u8, times: usize) -> Vec<u8> {
    vec![byte; times]
}

fn take_queue(_: Option<Queue<u8>>) {}

fn get_one(queue: ManagerQueue<u64>) -> u64 {
    queue.get_nowait().unwrap()
}

/// What the initializer was given.
static KEPT: OnceLock<(Queue<u64>, Queue<u64>)> = OnceLock::new();

fn keep(a: Queue<u64>, b: Queue<u64>) {
    KEPT.set((a, b)).unwrap();
}

fn keep_and_leave() {
    exit(4);
}

fn fail_to_keep() -> Result<(), String> {
    Err("no room".to_owned())
}

/// Takes some time before it counts as run, and some after that.
fn count(number: u64) -> u64 {
    let spin = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(10) {}
    };
    spin();
    KEPT.get().unwrap().0.put(number).unwrap();
    spin();
    number
}

fn wait_for_message() -> u64 {
    KEPT.get().unwrap().1.get().unwrap()
}

fn send_message(number: u64) {
    KEPT.get().unwrap().1.put(number).unwrap();
}

fn is_daemon() -> (bool, String) {
    (current_process().daemon(), current_process().name().to_owned())
}

fn in_a_daemon(to: Queue<String>) {
    to.put(Pool::new(1).unwrap_err().to_string()).unwrap();
}

fn pool_that_is_forgotten(to: Queue<u32>) {
    let pool = Pool::new(2).unwrap();
    to.put(pool.apply(pid, ()).unwrap()).unwrap();
    thread::sleep(PATIENCE);
}

fn forget_pool(to: Queue<u32>) {
    let pool = Pool::new(2).unwrap();
    to.put(pool.apply(pid, ()).unwrap()).unwrap();
    _ = pool.map_async(sleep_ms, [60_000; 10], Some(1)).unwrap();
    std::mem::forget(pool);
}

fn apply_returns_what_the_task_returns() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(square, (12,)).unwrap(), 144);
    assert_eq!(pool.apply(add, (-3, 5)).unwrap(), 2);
    assert_eq!(pool.apply(greet, ()).unwrap().name.as_deref(), Some("hello"));
    let flat = Rectangle { sides: (3, 4), name: None };
    assert_eq!(pool.apply(area, (flat.clone(),)).unwrap(), (flat, 12));
    assert_ne!(pool.apply(pid, ()).unwrap(), std::process::id());
    assert_eq!(pool.processes(), 2);
}

fn failures_are_errors_with_their_text() {
    let pool = Pool::new(1).unwrap();
    let error = pool.apply(refuse, ("no milk".to_owned(),)).unwrap_err();
    assert!(matches!(&error, PoolError::Failed { text } if text == "no milk"), "{error}");
    let error = pool.apply(panics, ("something".to_owned(),)).unwrap_err();
    assert!(matches!(&error, PoolError::Panicked { text } if text == "something happened"));
    let huge = Rectangle { sides: (u32::MAX, 2), name: None };
    assert_eq!(pool.apply(area, (huge,)).unwrap_err().to_string(), "too large");
    fn stranger() {}
    let error = pool.apply(stranger, ()).unwrap_err();
    assert!(error.to_string().contains("stranger is not registered"), "{error}");
    // None of them has cost the worker.
    assert_eq!(active_children().len(), 1);
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
}

fn answers_arrive_later() {
    let pool = Pool::new(1).unwrap();
    let slow = pool.apply_async(sleep_ms, (300,)).unwrap();
    let failing = pool.apply_async(refuse, (String::new(),)).unwrap();
    assert!(!slow.ready() && slow.successful().is_none());
    assert!(matches!(slow.get_timeout(Duration::from_millis(1)), Err(PoolError::Timeout)));
    assert!(!slow.wait_timeout(Duration::from_millis(1)));
    assert!(slow.wait_timeout(PATIENCE));
    assert_eq!(slow.successful(), Some(true));
    assert_eq!((slow.get().unwrap(), slow.get().unwrap()), (300, 300));
    failing.wait();
    assert!(failing.ready());
    assert_eq!(failing.successful(), Some(false));
    failing.get().unwrap_err();
    failing.get().unwrap_err();
}

fn map_keeps_the_order() {
    let pool = Pool::new(3).unwrap();
    let expected: Vec<_> = (0..100).map(|number| number % 7).collect();
    for chunksize in [None, Some(1), Some(7), Some(1000)] {
        assert_eq!(pool.map(sleepy, 0..100, chunksize).unwrap(), expected);
    }
    assert!(pool.map(square, [], None).unwrap().is_empty());
    let later = pool.map_async(square, 0..3, None).unwrap();
    assert_eq!(later.get().unwrap(), [0, 1, 4]);
}

fn starmap_spreads_the_arguments() {
    let pool = Pool::new(2).unwrap();
    let pairs = (0..50).map(|number| (number, -2 * number));
    let expected: Vec<_> = (0..50).map(|number| -number).collect();
    assert_eq!(pool.starmap(add, pairs.clone(), None).unwrap(), expected);
    assert_eq!(pool.starmap_async(add, pairs, Some(3)).unwrap().get().unwrap(), expected);
}

fn imap_gives_answers_as_they_come() {
    let pool = Pool::new(2).unwrap();
    let ordered = pool.imap(sleepy, 0..40, None).unwrap();
    assert_eq!(ordered.len(), 40);
    let expected: Vec<_> = (0..40).map(|number| number % 7).collect();
    assert_eq!(ordered.map(Result::unwrap).collect::<Vec<_>>(), expected);

    let mut unordered = pool.imap_unordered(sleep_ms, [400, 1, 1, 1], None).unwrap();
    let first: Vec<_> = unordered.by_ref().take(3).map(Result::unwrap).collect();
    assert_eq!(first, [1, 1, 1]);
    let early = unordered.next_timeout(Duration::from_millis(1)).unwrap();
    assert!(matches!(early, Err(PoolError::Timeout)));
    assert_eq!(unordered.next_timeout(PATIENCE).unwrap().unwrap(), 400);
    assert!(unordered.next().is_none() && unordered.next_timeout(Duration::ZERO).is_none());

    let chunked: HashSet<_> =
        pool.imap_unordered(square, 0..100, Some(9)).unwrap().flatten().collect();
    assert_eq!(chunked, (0..100).map(square).collect());
}

fn an_error_in_the_middle_is_one_items() {
    let pool = Pool::new(2).unwrap();
    for chunksize in [1, 4] {
        let outcomes: Vec<_> = pool.imap(fail_softly, 0..20, Some(chunksize)).unwrap().collect();
        for (number, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!(value, number),
                Err(error) => {
                    assert_eq!(error.to_string(), format!("not {}", number / 10 * 10 + 3));
                }
            }
        }
        let error = pool.map(fail_softly, 0..20, Some(chunksize)).unwrap_err();
        assert_eq!(error.to_string(), "not 3");
    }
}

fn what_panics_on_the_way_is_an_error() {
    let pool = Pool::new(1).unwrap();
    let worker = pool.apply(pid, ()).unwrap();
    let is_panic = |error: PoolError, expected| {
        assert!(matches!(error, PoolError::Panicked { text } if text == expected));
    };
    is_panic(pool.apply(take_fragile, (Fragile::Cracked,)).unwrap_err(), "not decoded");
    is_panic(pool.apply(make_fragile, (true,)).unwrap_err(), "not encoded");
    assert_eq!(pool.apply(make_fragile, (false,)).unwrap(), Fragile::Whole);
    assert_eq!(pool.apply(take_fragile, (Fragile::Whole,)).unwrap(), worker);
}

fn callbacks_are_called() {
    let pool = Pool::new(2).unwrap();
    let (tell, told) = mpsc::channel();
    let teller = || {
        let tell = tell.clone();
        move |text: String| tell.send(text).unwrap()
    };
    let (good, bad) = (teller(), teller());
    let one = pool.apply_async(square, (5,)).unwrap();
    let one = one.callback(move |value| good(format!("good {value}")));
    let one = one.error_callback(move |error| bad(format!("bad {error}")));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "good 25");
    // At once, if the answer is ready.
    one.wait();
    let late = teller();
    let one = one.callback(move |value| late(format!("late {value}")));
    assert_eq!(told.try_recv().unwrap(), "late 25");
    drop(one);

    let (good, bad) = (teller(), teller());
    let all = pool.map_async(fail_softly, 0..9, None).unwrap();
    let all = all.callback(move |values| good(format!("good {values:?}")));
    drop(all.error_callback(move |error| bad(format!("bad {error}"))));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "bad not 3");

    // Who waits for the answer waits for it, too.
    let slow = || thread::sleep(Duration::from_millis(50));
    let called = Arc::new(AtomicBool::new(false));
    let calls = Arc::clone(&called);
    let one = pool.apply_async(sleep_ms, (20,)).unwrap().callback(move |_| {
        slow();
        calls.store(true, Ordering::Relaxed);
    });
    assert_eq!(one.get().unwrap(), 20);
    assert!(called.load(Ordering::Relaxed) && one.ready());

    // One that panics costs nobody anything.
    let one = pool.apply_async(square, (5,)).unwrap().callback(|_| panic!("a callback does"));
    one.wait();
    assert_eq!(pool.apply(square, (6,)).unwrap(), 36);

    // One may hold the pool.
    let pool = Arc::new(pool);
    let (held, last) = (Arc::clone(&pool), teller());
    let slow = pool.apply_async(sleep_ms, (50,)).unwrap();
    drop(pool);
    let slow = slow.callback(move |_| {
        drop(held);
        last("dropped".to_owned());
    });
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "dropped");
    drop(slow);
    nobody_is_left();
}

/// Waits until the last worker has ended: nobody joins a pool that its own thread dropped.
fn nobody_is_left() {
    let start = Instant::now();
    while !active_children().is_empty() {
        assert!(start.elapsed() < PATIENCE, "{:?} live on", active_children());
        thread::sleep(Duration::from_millis(1));
    }
}

fn large_arguments_and_answers_travel() {
    let most = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 20 };
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(length, (vec![1; most],)).unwrap(), most);
    let large = pool.apply(repeat, (7, most)).unwrap();
    assert!(large.len() == most && large.iter().all(|&byte| byte == 7));
    let lengths: Vec<_> = (0..40).map(|number| number * most / 1000).collect();
    let vectors = lengths.iter().map(|&length| vec![0; length]);
    assert_eq!(pool.map(length, vectors, None).unwrap(), lengths);
}

fn queues_travel_by_the_initializer_only() {
    let queues = [Queue::new(0).unwrap(), Queue::new(0).unwrap()];
    let [ran, messages] = queues.clone();
    let pool = Pool::builder().processes(2).initializer(keep, (ran, messages)).create().unwrap();
    assert_eq!(pool.map(count, 0..10, None).unwrap(), (0..10).collect::<Vec<_>>());
    let ran: HashSet<_> = (0..10).map(|_| queues[0].get_nowait().unwrap()).collect();
    assert_eq!(ran, (0..10).collect());

    let error = pool.apply(take_queue, (Some(Queue::new(1).unwrap()),)).unwrap_err();
    let expected = "Queue objects should only be shared between processes through inheritance";
    assert_eq!(error.source().unwrap().to_string(), expected);
    let text = error.to_string();
    assert!(text.contains("take_queue") && text.contains("Manager::queue"), "{text}");
    assert!(matches!(error, PoolError::Args { .. }));
    pool.apply(take_queue, (None,)).unwrap();
}

fn arguments_are_kept_until_there_is_an_answer() {
    let queue_of = |number| {
        let queue = Manager::new().queue(1).unwrap();
        queue.put(number).unwrap();
        queue
    };
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(get_one, (queue_of(7),)).unwrap(), 7);
    assert_eq!(pool.map(get_one, (0..20).map(queue_of), None).unwrap(), Vec::from_iter(0..20));
}

fn what_cannot_be_a_number_of_workers_is_an_error() {
    for (processes, text) in [
        (0, "the number of processes must be at least 1"),
        (usize::MAX, "18446744073709551615 processes are too many for a pool; at most 2032"),
    ] {
        assert_eq!(Pool::new(processes).unwrap_err().to_string(), text);
    }
}

fn a_failing_initializer_breaks_the_pool() {
    let pool = Pool::builder().processes(2).initializer(fail_to_keep, ()).create().unwrap();
    let error = match pool.apply_async(square, (1,)) {
        Ok(later) => later.get_timeout(PATIENCE).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.to_string(), "the pool is broken: the initializer failed: no room");
    let error = pool.apply(square, (1,)).unwrap_err();
    assert!(matches!(error, PoolError::Broken { .. }), "{error}");
    pool.close();
    pool.join().unwrap();
}

fn initializers_that_end_their_worker_break_the_pool() {
    let pool = Pool::builder().processes(2).initializer(keep_and_leave, ()).create().unwrap();
    let later = pool.apply_async(square, (1,)).unwrap();
    let error = later.get_timeout(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("ended before they were ready, the last with exit code 4"), "{error}");
    fn stranger() {}
    let error = Pool::builder().initializer(stranger, ()).create().unwrap_err();
    assert!(matches!(error, PoolError::Task(_)));
}

fn workers_end_after_so_many_tasks() {
    let pool = Pool::builder().processes(2).maxtasksperchild(3).create().unwrap();
    let mut tasks = HashMap::<u32, u32>::new();
    for outcome in pool.imap(pid_for, 0..30, None).unwrap() {
        *tasks.entry(outcome.unwrap()).or_default() += 1;
    }
    assert!(tasks.values().all(|&tasks| tasks <= 3), "{tasks:?}");
    pool.close();
    pool.join().unwrap();
}

fn who_keeps_stdout_locked_does_not_hold_up_new_workers() {
    let pool = Pool::builder().processes(1).maxtasksperchild(1).create().unwrap();
    let mut out = io::stdout().lock();
    let mut answers = pool.imap(square, 0..5, None).unwrap();
    for number in 0..5 {
        assert_eq!(answers.next_timeout(PATIENCE).unwrap().unwrap(), number * number);
        out.flush().unwrap();
    }
}

fn pid_for(_: u8) -> u32 {
    pid()
}

fn a_job_behind_a_long_one_goes_to_who_is_idle() {
    let queues = (Queue::new(0).unwrap(), Queue::new(0).unwrap());
    let pool = Pool::builder().processes(2).initializer(keep, queues).create().unwrap();
    for _ in 0..5 {
        // Both workers get two; what the first waits for may be sent by one behind itself.
        let waiting = pool.apply_async(wait_for_message, ()).unwrap();
        let others = [1, 1].map(|ms| pool.apply_async(sleep_ms, (ms,)).unwrap());
        let sending = pool.apply_async(send_message, (5,)).unwrap();
        assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), 5);
        others.iter().for_each(|other| assert_eq!(other.get_timeout(PATIENCE).unwrap(), 1));
        sending.get_timeout(PATIENCE).unwrap();
    }
}

fn a_killed_worker_is_an_error_and_is_replaced() {
    let pool = Pool::new(1).unwrap();
    for _ in 0..3 {
        let killed = pool.apply(pid, ()).unwrap();
        let slow = pool.apply_async(sleep_ms, (60_000,)).unwrap();
        let next = pool.apply_async(square, (4,)).unwrap();
        thread::sleep(Duration::from_millis(20));
        let worker = active_children().into_iter().find(|child| child.pid() == Some(killed));
        worker.unwrap().kill().unwrap();
        let error = slow.get_timeout(PATIENCE).unwrap_err();
        assert!(matches!(error, PoolError::WorkerDied { exitcode: -9 }), "{error}");
        assert_eq!(error.to_string(), "a worker died while it ran this task, with signal 9");
        assert_eq!(next.get_timeout(PATIENCE).unwrap(), 16);
        assert_ne!(pool.apply(pid, ()).unwrap(), killed);
    }
    let error = pool.apply(leave, (3,)).unwrap_err();
    assert!(matches!(error, PoolError::WorkerDied { exitcode: 3 }), "{error}");
}

/// Kills a random child after each so many answers: 128 on average.
fn kill_some(answers: &AtomicU32, over: &AtomicBool) -> usize {
    let random = RandomState::new();
    let mut kills = 0;
    loop {
        let next = answers.load(Ordering::Relaxed) + u32::from(random.hash_one(kills) as u8);
        while answers.load(Ordering::Relaxed) < next {
            if over.load(Ordering::Relaxed) {
                return kills;
            }
            thread::sleep(Duration::from_micros(50));
        }
        let workers = active_children();
        let at = random.hash_one((kills, 0)) as usize % workers.len().max(1);
        if let Some(worker) = workers.get(at) {
            worker.kill().unwrap();
            kills += 1;
        }
    }
}

/// Also if something panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn whoever_is_killed_every_task_ends_once() {
    let tasks = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    let ran = Queue::new(0).unwrap();
    let queues = (ran.clone(), Queue::new(0).unwrap());
    let pool = Pool::builder().processes(4).initializer(keep, queues).create().unwrap();
    let (answers, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut errors = HashSet::new();
    let start = Instant::now();
    let kills = thread::scope(|scope| {
        let killer = scope.spawn(|| kill_some(&answers, &over));
        let ending = Over(&over);
        for (number, outcome) in (0..).zip(pool.imap(count, 0..tasks, None).unwrap()) {
            match outcome {
                Ok(value) => assert_eq!(value, number),
                Err(PoolError::WorkerDied { exitcode: -9 }) => assert!(errors.insert(number)),
                Err(error) => panic!("{error}"),
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
        drop(ending);
        killer.join().unwrap()
    });
    let mut runs = vec![0; tasks as usize];
    while let Ok(number) = ran.get_nowait() {
        runs[number as usize] += 1;
    }
    println!("{tasks} tasks, {kills} kills, {} errors, {:?}", errors.len(), start.elapsed());
    // A worker takes one task at a time.
    assert!(errors.len() <= kills && kills > 0);
    for (number, runs) in (0..).zip(runs) {
        assert!(runs <= 1, "{number} was run {runs} times");
        assert!(runs == 1 || errors.contains(&number), "{number} was never run");
    }
    assert_eq!(pool.apply(square, (4,)).unwrap(), 16);
}

fn closing_finishes_what_was_called_for() {
    let pool = Pool::new(2).unwrap();
    assert!(matches!(pool.join(), Err(PoolError::StillRunning)));
    let later = pool.map_async(sleepy, 0..50, Some(1)).unwrap();
    pool.close();
    let error = pool.apply(square, (1,)).unwrap_err();
    assert_eq!(error.to_string(), "pool not running");
    pool.join().unwrap();
    assert!(later.ready());
    assert_eq!(later.get().unwrap().len(), 50);
    assert!(active_children().is_empty());
    pool.join().unwrap();
}

fn terminating_ends_blocked_tasks() {
    let queues = (Queue::new(0).unwrap(), Queue::new(0).unwrap());
    let pool = Pool::builder().processes(2).initializer(keep, queues).create().unwrap();
    let blocked: Vec<_> =
        (0..10).map(|_| pool.apply_async(wait_for_message, ()).unwrap()).collect();
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| blocked[9].get());
        thread::sleep(Duration::from_millis(20));
        pool.terminate();
        pool.join().unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(PoolError::Terminated)));
    });
    assert!(start.elapsed() < PATIENCE / 2);
    for later in &blocked {
        assert!(matches!(later.get(), Err(PoolError::Terminated)));
    }
    assert!(matches!(pool.apply(square, (1,)), Err(PoolError::NotRunning)));
    pool.close();
    pool.join().unwrap();
}

fn dropping_terminates() {
    let pool = Pool::new(3).unwrap();
    let later = pool.map_async(sleep_ms, [60_000; 9], None).unwrap();
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(matches!(later.get(), Err(PoolError::Terminated)));
    assert!(active_children().is_empty());
    // Even before the workers are there.
    drop(Pool::new(2).unwrap());
}

fn workers_are_daemons_of_who_is_none() {
    let pool = Pool::new(1).unwrap();
    let (daemon, name) = pool.apply(is_daemon, ()).unwrap();
    assert!(daemon && name.starts_with("PoolWorker-"), "{name}");
    let answers = Queue::new(1).unwrap();
    let daemon = Process::new(in_a_daemon, (answers.clone(),)).daemon(true);
    daemon.start().unwrap();
    let error = answers.get_timeout(PATIENCE).unwrap();
    assert_eq!(error, "daemonic processes are not allowed to have children");
    daemon.join().unwrap();
}

fn workers_end_with_a_killed_parent() {
    let pids = Queue::new(1).unwrap();
    let parent = Process::new(pool_that_is_forgotten, (pids.clone(),));
    parent.start().unwrap();
    let worker = rustix::process::Pid::from_raw(pids.get_timeout(PATIENCE).unwrap().cast_signed());
    let flags = rustix::process::PidfdFlags::empty();
    let worker = rustix::process::pidfd_open(worker.unwrap(), flags).unwrap();
    parent.kill().unwrap();
    parent.join().unwrap();
    let timeout = PATIENCE.try_into().unwrap();
    let mut polled = [rustix::event::PollFd::new(&worker, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)).unwrap(), 1, "it lives on");
}

/// As daemons do, at the end of its program.
fn a_forgotten_pool_ends_with_its_process() {
    for _ in 0..5 {
        let pids = Queue::new(1).unwrap();
        let process = Process::new(forget_pool, (pids.clone(),));
        process.start().unwrap();
        assert!(process.join_timeout(PATIENCE / 2).unwrap(), "it waits for workers");
        assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pids.get_nowait().unwrap()));
        assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")), "a worker is left");
    }
}

fn pool_without_a_thread() {
    // SAFETY: this process has no other threads. It is what `std` gives those that do not say otherwise.
    unsafe { std::env::set_var("RUST_MIN_STACK", (1_usize << 60).to_string()) };
    assert!(matches!(Pool::new(2), Err(PoolError::Thread(_))));
    assert_eq!(active_children().len(), 0);
}

fn a_pool_without_a_thread_leaves_no_workers() {
    let process = Process::new(pool_without_a_thread, ());
    process.start().unwrap();
    assert!(process.join_timeout(PATIENCE).unwrap());
    assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
}

/// Leaves this process 32 MiB more than it has.
fn be_small() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let most = pages * rustix::param::page_size() as u64 + (32 << 20);
    setrlimit(Resource::As, Rlimit { current: Some(most), maximum: None }).unwrap();
}

fn arguments_without_memory_are_an_error() {
    let pool = Pool::builder().processes(2).initializer(be_small, ()).create().unwrap();
    let lens = [5, 100 << 20, 7, 120 << 20, 9];
    let lost = lens.map(|len| pool.apply_async(text_length, ("x".repeat(len),)).unwrap());
    for (answer, len) in lost.iter().zip(lens) {
        match answer.get_timeout(PATIENCE) {
            Ok(got) => assert!(got == len && len < 10),
            Err(PoolError::Lost { text }) => {
                assert!(len > 10 && text.contains("there is no memory for them"), "{len}: {text}");
            }
            Err(error) => panic!("{len}: {error}"),
        }
    }
    assert_eq!(pool.map(text_length, vec!["x".repeat(100); 9], None).unwrap(), [100; 9]);
}

fn hoard(bytes: usize) {
    std::mem::forget(vec![1_u8; bytes]);
}

fn what_a_used_worker_has_no_memory_for_a_fresh_one_may_have() {
    let pool = Pool::builder().processes(1).initializer(be_small, ()).create().unwrap();
    pool.apply(hoard, (28 << 20,)).unwrap();
    assert_eq!(pool.apply(text_length, ("x".repeat(5 << 20),)).unwrap(), 5 << 20);
}

fn numbers_are_checked() {
    let error = Pool::new(0).unwrap_err();
    assert_eq!(error.to_string(), "the number of processes must be at least 1");
    let error = Pool::builder().maxtasksperchild(0).create().unwrap_err();
    assert_eq!(error.to_string(), "maxtasksperchild must be at least 1");
    let pool = Pool::new(1).unwrap();
    let error = pool.imap(square, 0..3, Some(0)).unwrap_err();
    assert_eq!(error.to_string(), "the chunksize must be at least 1");
}
