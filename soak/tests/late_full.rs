//! What the soak found first: a put is stopped, passed over, and overtaken by a lap; then it ends. A
//! place was passed over because of it, between two messages; that one must not count.

use std::env;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use shmq_engine::{Options, PopError, Queue};

const FD: &str = "SHMQ_TEST_FD";
const CAPACITY: usize = 4;
/// So long that a put is certainly stopped before its end.
const LONG: usize = 16 << 20;
/// More than there are slots.
const OFFSETS: usize = 20;

#[test]
#[ignore = "the other process of the test below"]
fn child() {
    let Ok(fd) = env::var(FD) else { return };
    // SAFETY: inherited for this purpose, and nobody else's here.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    let mut producer = Queue::from_fd(fd).unwrap().producer().unwrap();
    let message = vec![7; LONG];
    eprint!("!");
    producer.try_push(&message).unwrap();
}

/// A process in the middle of its only put, stopped there.
fn stopped_producer(queue: &Queue) -> Stopped {
    let fd = queue.as_fd().unwrap().try_clone_to_owned().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env(FD, fd.as_raw_fd().to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
    let keep_open = move || Ok(fcntl_setfd(&fd, FdFlags::empty())?);
    // SAFETY: one system call, which is async-signal-safe.
    unsafe { command.pre_exec(keep_open) };
    let mut stopped = Stopped(command.spawn().unwrap());
    let child = &mut stopped.0;
    child.stderr.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    while queue.is_empty() {
        std::hint::spin_loop();
    }
    kill_process(Pid::from_child(child), Signal::STOP).unwrap();
    // Until it stands still; its put takes longer than that.
    sleep(Duration::from_millis(2));
    stopped
}

/// Gone with the test, however that ends.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// How many messages a queue holds that says Full, when nobody is in a put; `None` if the put was over
/// before it was stopped.
fn messages_when_full(offset: usize) -> Option<usize> {
    let options = Options::new(CAPACITY).participants(4).message_max(LONG).inline(LONG);
    let queue = options.create_anonymous().unwrap();
    let mut stopped = stopped_producer(&queue);
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let mut buffer = vec![0; LONG];
    let was_passed_over = consumer.try_pop(&mut buffer) == Err(PopError::Empty);
    for _ in 0..offset {
        producer.try_push(b"through").unwrap();
        consumer.try_pop(&mut buffer).unwrap();
    }
    (0..2).for_each(|_| producer.try_push(b"inside").unwrap());
    kill_process(Pid::from_child(&stopped.0), Signal::CONT).unwrap();
    assert!(stopped.0.wait().unwrap().success());
    while producer.try_push(b"more").is_ok() {}
    let inside = std::iter::from_fn(|| consumer.try_pop(&mut buffer).ok()).count();
    was_passed_over.then_some(inside)
}

#[test]
fn a_queue_that_says_full_holds_its_capacity() {
    let count = |offset| (0..100).find_map(|_| messages_when_full(offset));
    let counts: Vec<_> =
        (0..OFFSETS).map(|offset| count(offset).expect("a put is stopped in time")).collect();
    assert!(counts.iter().all(|&count| count == CAPACITY), "messages in a full queue: {counts:?}");
}
