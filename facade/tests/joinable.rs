//! Counting what is not done yet, by threads and processes that may be killed.

mod runner;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};
use shmq::{
    GetError, JoinableQueue, Manager, ManagerJoinableQueue, Pool, Process, PutError, Queue,
    SimpleQueue, TaskDoneError,
};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);

fn main() -> ExitCode {
    shmq::init(shmq::tasks![
        work,
        hold,
        die_with_a_task,
        panic_with_a_task,
        pour,
        pour_slowly,
        echo,
        add
    ]);
    runner::run(tests![
        it_counts,
        a_put_that_fails_does_not_count,
        join_waits_for_the_last_one,
        everybody_who_joins_is_woken,
        join_burns_no_time,
        a_bound_is_kept_and_waited_for,
        many_threads_leave_nothing_unfinished,
        shutting_down_and_clearing_leave_nothing_unfinished,
        closing_leaves_the_count,
        a_guard_is_done_whatever_drops_it,
        what_panics_when_it_is_got_is_done,
        a_guard_that_a_forked_child_has_is_the_childs,
        workers_in_processes_are_joined,
        a_worker_that_dies_leaves_its_task,
        whoever_waits_for_a_place_may_be_killed,
        whoever_is_killed_in_puts_costs_a_task_at_most,
        killed_workers_never_leave_join_asleep,
        simple_queues_travel,
        a_managers_travels_anywhere,
        it_travels_in_no_other_way,
    ])
}

fn work(tasks: JoinableQueue<u32>, sums: JoinableQueue<u64>) -> Result<(), Box<dyn Error>> {
    let mut sum = 0;
    while let Ok(task) = tasks.get_task() {
        sum += u64::from(*task);
    }
    sums.put(sum)?;
    Ok(())
}

/// Takes what comes, says so for each, and never that it is done.
fn hold(tasks: JoinableQueue<u32>, has: Queue<u32>) {
    tasks.iter().for_each(|task| has.put(task.unwrap()).unwrap());
}

fn die_with_a_task(tasks: JoinableQueue<u32>) {
    let _task = tasks.get_task().unwrap();
    std::process::exit(0);
}

fn panic_with_a_task(tasks: JoinableQueue<u32>) {
    let task = tasks.get_task().unwrap();
    panic!("task {} is too much", *task);
}

fn pour(tasks: JoinableQueue<Vec<u8>>, len: usize) {
    while tasks.put(vec![7; len]).is_ok() {}
}

fn pour_slowly(tasks: JoinableQueue<Vec<u8>>, has: Queue<u32>) {
    has.put(0).unwrap();
    pour(tasks, 1);
}

fn echo(from: SimpleQueue<String>, to: SimpleQueue<String>) {
    to.put(from.get().unwrap()).unwrap();
}

fn add(tasks: ManagerJoinableQueue<u32>, to: ManagerJoinableQueue<u32>) {
    let sum = tasks.drain().map(Result::unwrap).sum();
    while tasks.task_done().is_ok() {}
    to.put(sum).unwrap();
}

fn started(process: Process) -> Process {
    process.start().unwrap();
    process
}

fn killed(process: &Process) {
    process.kill().unwrap();
    process.join().unwrap();
}

fn is_too_many<T: std::fmt::Debug>(done: Result<T, TaskDoneError>) -> bool {
    done.unwrap_err().to_string() == "task_done() called too many times"
}

fn it_counts() {
    for maxsize in [0, 3] {
        let queue = JoinableQueue::new(maxsize).unwrap();
        queue.join().unwrap();
        assert!(is_too_many(queue.task_done()));
        queue.put_many([1, 2, 3]).unwrap();
        assert_eq!((queue.qsize(), queue.unfinished_tasks()), (3, 3));
        assert_eq!((queue.full(), queue.empty(), queue.maxsize()), (maxsize > 0, false, maxsize));
        assert_eq!(queue.drain().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((queue.qsize(), queue.unfinished_tasks()), (0, 3));
        for left in [2, 1, 0] {
            assert!(!queue.join_timeout(Duration::ZERO).unwrap());
            queue.task_done().unwrap();
            assert_eq!(queue.unfinished_tasks(), left);
        }
        assert!(queue.join_timeout(Duration::ZERO).unwrap());
        assert!(is_too_many(queue.task_done()));
        queue.put(4).unwrap();
        // As in Python, nobody asks who had it.
        queue.task_done().unwrap();
        queue.join().unwrap();
        assert_eq!(queue.get_many(9).unwrap(), [4]);
        assert!(is_too_many(queue.task_done()));
    }
}

fn a_put_that_fails_does_not_count() {
    let builder = Queue::builder().maxsize(1).message_max(8);
    let queue = builder.create_joinable().unwrap();
    assert_eq!(queue.message_max(), 8);
    assert!(matches!(queue.put(vec![0; 99]), Err(PutError::TooLarge { .. })));
    assert_eq!(queue.unfinished_tasks(), 0);
    queue.put(vec![1]).unwrap();
    assert!(queue.put_nowait(vec![2]).unwrap_err().is_full());
    let start = Instant::now();
    assert!(queue.put_timeout(vec![3], SHORT).unwrap_err().is_full());
    assert!(start.elapsed() >= SHORT);
    assert!(queue.put_timeout(vec![4], Duration::ZERO).unwrap_err().is_full());
    assert_eq!(queue.unfinished_tasks(), 1);
    assert_eq!(queue.get_task_timeout(SHORT).unwrap().finish().unwrap(), [1]);
    queue.join().unwrap();
    assert!(queue.get_task_nowait().unwrap_err().is_empty());
}

fn join_waits_for_the_last_one() {
    let queue = JoinableQueue::new(0).unwrap();
    queue.put_many([1, 2]).unwrap();
    thread::scope(|scope| {
        let joiner = scope.spawn(|| {
            queue.join().unwrap();
            Instant::now()
        });
        let start = Instant::now();
        assert!(!queue.join_timeout(SHORT).unwrap());
        assert!(start.elapsed() >= SHORT);
        queue.task_done().unwrap();
        thread::sleep(SHORT);
        assert!(!joiner.is_finished());
        let last = Instant::now();
        queue.task_done().unwrap();
        assert!(joiner.join().unwrap() >= last);
    });
}

fn everybody_who_joins_is_woken() {
    let queue = JoinableQueue::new(0).unwrap();
    let mut soon = 0;
    for _ in 0..20 {
        queue.put(1).unwrap();
        let mut done = Instant::now();
        thread::scope(|scope| {
            let joiners: Vec<_> = (0..4).map(|_| scope.spawn(|| queue.join().unwrap())).collect();
            thread::sleep(Duration::from_millis(5));
            assert!(joiners.iter().all(|joiner| !joiner.is_finished()));
            done = Instant::now();
            queue.task_done().unwrap();
        });
        soon += usize::from(done.elapsed() < Duration::from_millis(40));
    }
    // Not by looking themselves, every 100 ms.
    assert!(soon >= 10, "{soon} of 20 times");
}

fn join_burns_no_time() {
    let queue = JoinableQueue::new(0).unwrap();
    queue.put(1).unwrap();
    let ticks = || {
        // The 14th and 15th word: user and system time, in hundredths of a second.
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let words: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    assert!(!queue.join_timeout(Duration::from_secs(1)).unwrap());
    assert!(ticks() - before <= 10, "more than a tenth of the time");
}

fn a_bound_is_kept_and_waited_for() {
    let queue = JoinableQueue::new(2).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| queue.put_many(0..500).unwrap());
        }
        let mut sum = 0;
        for _ in 0..1500 {
            assert!(queue.qsize() <= 2);
            sum += queue.get_task().unwrap().finish().unwrap();
        }
        assert_eq!(sum, 3 * 499 * 500 / 2);
        queue.join().unwrap();
    });
    // A place wakes whoever waits for it.
    queue.put_many([1, 2]).unwrap();
    let mut soon = 0;
    for left in 2..12 {
        let mut got = Instant::now();
        thread::scope(|scope| {
            let putter = scope.spawn(|| queue.put(3).unwrap());
            thread::sleep(SHORT / 3);
            // Who waits has not counted yet.
            assert!(!putter.is_finished() && queue.unfinished_tasks() == left);
            got = Instant::now();
            queue.get().unwrap();
        });
        soon += usize::from(got.elapsed() < Duration::from_millis(40));
        assert_eq!((queue.qsize(), queue.unfinished_tasks()), (2, left + 1));
    }
    // Not by looking themselves, every 100 ms.
    assert!(soon >= 5, "{soon} of 10 times");
}

fn many_threads_leave_nothing_unfinished() {
    let queue = JoinableQueue::new(7).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| while queue.get_task().is_ok() {});
        }
        for round in 0..200 {
            queue.put_many(0..round % 20).unwrap();
            queue.join().unwrap();
            assert_eq!((queue.qsize(), queue.unfinished_tasks()), (0, 0));
        }
        queue.shutdown(false).unwrap();
    });
}

fn shutting_down_and_clearing_leave_nothing_unfinished() {
    let queue = JoinableQueue::new(4).unwrap();
    queue.put_many(0..4).unwrap();
    assert_eq!(queue.clear().unwrap(), 4);
    queue.join().unwrap();
    queue.put_many(0..4).unwrap();
    let in_hand = queue.get_task().unwrap();
    queue.put(4).unwrap();
    thread::scope(|scope| {
        let putters: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.put(5))).collect();
        let joiner = scope.spawn(|| queue.join().unwrap());
        thread::sleep(SHORT);
        assert_eq!(queue.shutdown(true).unwrap(), 4);
        for putter in putters {
            assert!(putter.join().unwrap().unwrap_err().is_shut_down());
        }
        assert!(!joiner.is_finished() && queue.unfinished_tasks() == 1);
        drop(in_hand);
    });
    assert!(queue.is_shut_down() && matches!(queue.get(), Err(GetError::ShutDown)));

    let queue = JoinableQueue::new(0).unwrap();
    queue.put_many(0..3).unwrap();
    queue.shutdown(false).unwrap();
    assert_eq!(queue.unfinished_tasks(), 3);
    for task in &queue {
        task.unwrap();
        queue.task_done().unwrap();
    }
    queue.join().unwrap();
}

fn closing_leaves_the_count() {
    let queue = JoinableQueue::new(0).unwrap();
    queue.put(1).unwrap();
    queue.close();
    assert!(queue.put(2).unwrap_err().to_string().ends_with(" is closed"));
    assert!(queue.get_task().unwrap_err().to_string().ends_with(" is closed"));
    assert_eq!(queue.unfinished_tasks(), 1);
    queue.task_done().unwrap();
    queue.join().unwrap();
}

fn a_guard_is_done_whatever_drops_it() {
    let queue = JoinableQueue::new(0).unwrap();
    queue.put_many(["a".to_owned(), "b".to_owned(), "c".to_owned()]).unwrap();
    let mut task = queue.get_task().unwrap();
    task.push('z');
    assert_eq!((&**task, queue.unfinished_tasks()), ("az", 3));
    drop(task);
    assert_eq!(queue.unfinished_tasks(), 2);
    let other = queue.clone();
    let panicking = thread::spawn(move || {
        let _task = other.get_task().unwrap();
        panic!("on purpose");
    });
    assert!(panicking.join().is_err() && queue.unfinished_tasks() == 1);
    let task = queue.get_task().unwrap();
    queue.task_done().unwrap();
    assert!(is_too_many(task.finish()));
}

#[derive(Debug, Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as it must");
    }
}

fn what_panics_when_it_is_got_is_done() {
    let tasks = JoinableQueue::new(1).unwrap();
    for get in [JoinableQueue::get, JoinableQueue::get_nowait] {
        tasks.put_timeout(Unreadable, PATIENCE).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| get(&tasks))).is_err());
        assert_eq!(tasks.unfinished_tasks(), 0);
    }
    assert!(tasks.get_nowait().unwrap_err().is_empty());
    assert!(is_too_many(tasks.task_done()));
}

fn a_guard_that_a_forked_child_has_is_the_childs() {
    let (tasks, go) = (JoinableQueue::new(0).unwrap(), Queue::new(1).unwrap());
    tasks.put_many(0..3).unwrap();
    let (task, waits) = (tasks.get_task().unwrap(), go.clone());
    // SAFETY: the runner's other thread waits.
    let process = unsafe {
        Process::fork(move || {
            waits.get().unwrap();
            drop(task);
        })
    };
    let process = process.daemon(true);
    process.start().unwrap();
    assert_eq!(tasks.unfinished_tasks(), 3);
    drop(tasks.get_task().unwrap());
    assert_eq!(tasks.unfinished_tasks(), 2);
    go.put(()).unwrap();
    process.join().unwrap();
    assert_eq!((process.exitcode(), tasks.unfinished_tasks()), (Some(0), 1));
}

fn workers_in_processes_are_joined() {
    let (tasks, sums) = (JoinableQueue::new(5).unwrap(), JoinableQueue::new(0).unwrap());
    let workers: Vec<_> =
        (0..3).map(|_| started(Process::new(work, (tasks.clone(), sums.clone())))).collect();
    for _ in 0..10 {
        tasks.put_many(0..100).unwrap();
        assert!(tasks.join_timeout(PATIENCE).unwrap());
        assert!(tasks.empty());
    }
    tasks.shutdown(false).unwrap();
    workers.iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(sums.drain().map(Result::unwrap).sum::<u64>(), 10 * 99 * 50);
}

fn a_worker_that_dies_leaves_its_task() {
    let (tasks, has) = (JoinableQueue::new(0).unwrap(), Queue::new(0).unwrap());
    tasks.put(1).unwrap();
    let worker = started(Process::new(die_with_a_task, (tasks.clone(),)));
    worker.join().unwrap();
    assert_eq!((tasks.qsize(), tasks.unfinished_tasks()), (0, 1));
    assert!(!tasks.join_timeout(SHORT).unwrap());
    // Who watches the workers says so.
    tasks.task_done().unwrap();
    tasks.join().unwrap();

    tasks.put(2).unwrap();
    let worker = started(Process::new(panic_with_a_task, (tasks.clone(),)));
    assert!(tasks.join_timeout(PATIENCE).unwrap(), "a panic drops the guard");
    worker.join().unwrap();

    tasks.put(3).unwrap();
    let worker = started(Process::new(hold, (tasks.clone(), has.clone())));
    assert_eq!(has.get_timeout(PATIENCE).unwrap(), 3);
    killed(&worker);
    assert_eq!(tasks.unfinished_tasks(), 1);
    // Or has somebody else do it.
    tasks.put(3).unwrap();
    tasks.task_done().unwrap();
    assert_eq!(tasks.get_task().unwrap().finish().unwrap(), 3);
    tasks.join().unwrap();
}

fn whoever_waits_for_a_place_may_be_killed() {
    let (tasks, has) = (JoinableQueue::new(1).unwrap(), Queue::new(0).unwrap());
    for _ in 0..5 {
        let producer = started(Process::new(pour_slowly, (tasks.clone(), has.clone())));
        has.get_timeout(PATIENCE).unwrap();
        while !tasks.full() {
            thread::yield_now();
        }
        thread::sleep(SHORT);
        killed(&producer);
        assert_eq!(tasks.unfinished_tasks(), 1, "who waits has counted nothing");
        tasks.get_task().unwrap().finish().unwrap();
        assert!(tasks.join_timeout(Duration::ZERO).unwrap());
    }
}

fn whoever_is_killed_in_puts_costs_a_task_at_most() {
    let (mut kills, mut extra) = (0, 0);
    for (maxsize, len) in [(0, 1), (0, 1 << 20), (2, 1), (2, 1 << 20)] {
        let tasks = JoinableQueue::<Vec<u8>>::new(maxsize).unwrap();
        for round in 0..12_u64 {
            let producer = started(Process::new(pour, (tasks.clone(), len)));
            let end = Instant::now() + Duration::from_micros(10_000 + 1_700 * round);
            assert_eq!(tasks.get_task_timeout(PATIENCE).unwrap().len(), len);
            while Instant::now() < end {
                if let Ok(task) = tasks.get_task_timeout(SHORT) {
                    assert_eq!(task.len(), len);
                }
            }
            killed(&producer);
            kills += 1;
            tasks.drain().for_each(|task| {
                assert_eq!(task.unwrap().len(), len);
                tasks.task_done().unwrap();
            });
            // Whatever the dead one left, it is seen.
            if !tasks.join_timeout(Duration::ZERO).unwrap() {
                assert_eq!(tasks.unfinished_tasks(), 1);
                tasks.task_done().unwrap();
                extra += 1;
            }
            assert!(tasks.join_timeout(Duration::ZERO).unwrap());
        }
    }
    println!("{kills} kills in puts, {extra} between counting and putting");
}

fn killed_workers_never_leave_join_asleep() {
    let tasks = JoinableQueue::new(0).unwrap();
    let sums = JoinableQueue::new(0).unwrap();
    let worker = || started(Process::new(work, (tasks.clone(), sums.clone())));
    for round in 0..20_u64 {
        let (victim, other) = (worker(), worker());
        thread::scope(|scope| {
            let joiner = scope.spawn(|| {
                assert!(tasks.join_timeout(PATIENCE).unwrap(), "{tasks:?}: asleep");
            });
            tasks.put_many(0..20_000).unwrap();
            thread::sleep(Duration::from_micros(300 * round));
            killed(&victim);
            // What the other one leaves is what the dead one had.
            while !tasks.empty() {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(20));
            let left = tasks.unfinished_tasks();
            assert!(left <= 1, "{left} tasks of one dead worker");
            if left == 1 {
                tasks.task_done().unwrap();
            }
            joiner.join().unwrap();
        });
        killed(&other);
    }
}

fn simple_queues_travel() {
    let (to, from) = (SimpleQueue::new().unwrap(), SimpleQueue::new().unwrap());
    assert!(to.empty());
    to.put("hello".to_owned()).unwrap();
    let process = started(Process::new(echo, (to.clone(), from.clone())));
    assert_eq!(from.get().unwrap(), "hello");
    process.join().unwrap();
    to.close();
    to.close();
    assert_eq!(to.clone().put(String::new()).unwrap_err().to_string(), "handle is closed");
}

fn a_managers_travels_anywhere() {
    let manager = Manager::new();
    let (tasks, answers) = (manager.joinable_queue(9).unwrap(), manager.joinable_queue(0).unwrap());
    tasks.put_many([1, 2, 3]).unwrap();
    let pool = Pool::new(1).unwrap();
    pool.apply(add, (tasks.clone(), answers.clone())).unwrap();
    tasks.join().unwrap();
    let carrier = Queue::new(0).unwrap();
    carrier.put(answers).unwrap();
    let answers = carrier.get().unwrap();
    assert_eq!(answers.unfinished_tasks(), 1);
    assert_eq!(answers.get_task().unwrap().finish().unwrap(), 6);
    answers.join().unwrap();
    drop(manager);
    carrier.put(Manager::new().joinable_queue(0).unwrap()).unwrap();
    assert!(matches!(carrier.get(), Err(GetError::Decode { .. })));
}

fn it_travels_in_no_other_way() {
    let carrier = Queue::new(0).unwrap();
    let error = carrier.put(JoinableQueue::<u8>::new(0).unwrap()).unwrap_err();
    let why = error.source().unwrap().to_string();
    assert!(why.ends_with("should only be shared between processes through inheritance"), "{why}");
}
