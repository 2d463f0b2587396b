//! What CPython's queues are known to fail at; docs/PYTHON.md has the same in Python, to be tried.

mod runner;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use shmq::{JoinableQueue, Process, Queue};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    shmq::init(shmq::tasks![get_all, put_one, put_task, pour, forward]);
    runner::run(tests![
        an_idle_consumer_is_terminated_and_others_go_on,
        a_producer_is_joined_before_its_messages_are_read,
        a_put_of_a_megabyte_is_killed_in_the_middle,
        what_was_put_is_there_at_once,
    ])
}

fn get_all(queue: Queue<u32>, ready: Queue<()>) {
    ready.put(()).unwrap();
    assert!(queue.iter().all(|value| value.is_ok()));
}

fn forward(queue: Queue<u32>, to: Queue<u32>) {
    queue.iter().for_each(|value| to.put(value.unwrap()).unwrap());
}

fn put_one(queue: Queue<Vec<u8>>, len: usize) {
    queue.put(vec![7; len]).unwrap();
}

fn put_task(queue: JoinableQueue<Vec<u8>>, len: usize) {
    queue.put(vec![7; len]).unwrap();
}

/// A text of so many digits, which is quickly made.
fn message(number: usize, len: usize) -> String {
    number.to_string()[..1].repeat(len)
}

fn pour(queue: Queue<String>, len: usize, ready: Queue<()>) {
    ready.put(()).unwrap();
    for number in 0.. {
        queue.put(message(number, len)).unwrap();
    }
}

fn started(process: Process) -> Process {
    process.start().unwrap();
    process
}

/// There, `get` holds a lock while it waits, and who is terminated takes it along.
fn an_idle_consumer_is_terminated_and_others_go_on() {
    let (queue, to, ready) =
        (Queue::new(0).unwrap(), Queue::new(0).unwrap(), Queue::new(0).unwrap());
    let other = started(Process::new(forward, (queue.clone(), to.clone())));
    for number in 0..5 {
        let idle = started(Process::new(get_all, (queue.clone(), ready.clone())));
        ready.get_timeout(PATIENCE).unwrap();
        // By now it waits.
        thread::sleep(Duration::from_millis(50));
        idle.terminate().unwrap();
        idle.join().unwrap();
        assert_eq!(idle.exitcode(), Some(-15));
        queue.put(number).unwrap();
        assert_eq!(to.get_timeout(PATIENCE).unwrap(), number);
    }
    queue.shutdown(false).unwrap();
    other.join().unwrap();
}

/// There, a process does not end before a pipe has taken all that it put.
fn a_producer_is_joined_before_its_messages_are_read() {
    for len in [70_000, 1_000_000] {
        let queue = Queue::new(0).unwrap();
        let tasks = JoinableQueue::new(0).unwrap();
        let producers = [
            started(Process::new(put_one, (queue.clone(), len))),
            started(Process::new(put_task, (tasks.clone(), len))),
        ];
        for producer in producers {
            assert!(producer.join_timeout(PATIENCE).unwrap(), "it waits to be read");
            assert_eq!(producer.exitcode(), Some(0));
        }
        assert_eq!(queue.get_nowait().unwrap(), vec![7; len]);
        assert_eq!(tasks.get_task_nowait().unwrap().finish().unwrap(), vec![7; len]);
        tasks.join().unwrap();
    }
}

/// There, half a message in the pipe is waited for to the end, and the lock for writing is gone.
fn a_put_of_a_megabyte_is_killed_in_the_middle() {
    const LEN: usize = 1 << 20;
    let (queue, ready) = (Queue::new(4).unwrap(), Queue::new(0).unwrap());
    let mut got = 0;
    for round in 0..40_u64 {
        let producer = started(Process::new(pour, (queue.clone(), LEN, ready.clone())));
        ready.get_timeout(PATIENCE).unwrap();
        let end = Instant::now() + Duration::from_micros(3_000 + 531 * round);
        let mut expected = 0;
        let mut check = |found: String| {
            assert!(found == message(expected, LEN), "a torn message, or not the next one");
            expected += 1;
            got += 1;
        };
        while Instant::now() < end {
            if let Ok(message) = queue.get_timeout(Duration::from_millis(5)) {
                check(message);
            }
        }
        producer.kill().unwrap();
        producer.join().unwrap();
        assert_eq!(producer.exitcode(), Some(-9));
        queue.drain().for_each(|message| check(message.unwrap()));
        // Others go on, as if nothing had been.
        (0..4).for_each(|number| queue.put_nowait(message(number, 1)).unwrap());
        assert!(queue.full());
        (0..4).for_each(|number| assert_eq!(queue.get_nowait().unwrap(), message(number, 1)));
        assert!(queue.empty());
    }
    println!("40 kills, {got} messages");
}

/// There, a thread carries it to the pipe, some time.
fn what_was_put_is_there_at_once() {
    let queue = Queue::new(0).unwrap();
    let tasks = JoinableQueue::new(0).unwrap();
    for number in 0..1000 {
        queue.put(number).unwrap();
        assert_eq!((queue.qsize(), queue.empty()), (1, false));
        assert_eq!(queue.get_nowait().unwrap(), number);
        tasks.put(number).unwrap();
        assert_eq!(tasks.get_nowait().unwrap(), number);
    }
    for number in 0..50 {
        let queue = Queue::new(1).unwrap();
        queue.put(number).unwrap();
        assert_eq!(queue.get_nowait().unwrap(), number);
    }
}
