//! What the dead held comes back: at once to who asks, after a while to who goes on; and only the
//! dead are dead.

mod crew;

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crew::{ENDLESS, Producer};
use shmq_engine::{Consumer, Options, PopError, Queue, Recovered};

/// So long that most of a put is spent between claim and publication.
const LONG: usize = 256 << 10;

/// When a kill comes is chance, more so on a busy machine.
const ROUNDS_MAX: u64 = 1_000;

/// A producer is killed in the middle of its puts, most likely between claim and publication, while
/// its messages are taken.
fn kill_one_in_a_put(queue: &Queue, consumer: &mut Consumer, round: u64) {
    let mut buffer = vec![0; LONG];
    let victim = Producer::start(queue, 1, ENDLESS);
    let killed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_micros(500 + round * 7919 % 1_000));
            victim.kill();
            killed.store(true, Ordering::Release);
        });
        while !killed.load(Ordering::Acquire) {
            _ = consumer.try_pop(&mut buffer);
        }
    });
    drain(consumer, &mut buffer);
}

/// Takes all there is, passing over what will not come.
fn drain(consumer: &mut Consumer, buffer: &mut [u8]) {
    loop {
        match consumer.try_pop(buffer) {
            Ok(_) => {}
            Err(PopError::Empty) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn who_asks_gets_everything_back_at_once() {
    let queue =
        Options::new(8).inline(LONG).message_max(LONG).participants(4).create_anonymous().unwrap();
    let mut buffer = vec![0; LONG];
    let mut slots = 0;
    let mut rounds = 0..ROUNDS_MAX;
    while slots < 3 {
        let round = rounds.next().expect("hardly a kill hit a put between claim and publication");
        let mut consumer = queue.consumer().unwrap();
        kill_one_in_a_put(&queue, &mut consumer, round);
        assert_eq!(queue.participants(), 2, "dead or not, nobody has asked");
        let recovered = queue.recover();
        assert_eq!(recovered.participants, 1);
        slots += recovered.slots;
        assert_eq!(queue.recover(), Recovered::default());
        assert_eq!(queue.participants(), 1);
        let mut producer = queue.producer().unwrap();
        for _ in 0..8 {
            producer.try_push(b"whole").unwrap();
        }
        assert!(producer.try_push(b"one too many").is_err());
        drain(&mut consumer, &mut buffer);
    }
}

/// Nobody asks: those who go on meet the resting slot, and find its writer dead.
#[test]
fn who_goes_on_gives_back_in_passing() {
    let queue =
        Options::new(8).inline(LONG).message_max(LONG).participants(4).create_anonymous().unwrap();
    let mut consumer = queue.consumer().unwrap();
    for round in 0..ROUNDS_MAX {
        kill_one_in_a_put(&queue, &mut consumer, round);
        let mut producer = queue.producer().unwrap();
        for _ in 0..1_000 {
            producer.try_push(b"on we go").unwrap();
            assert_eq!(consumer.try_pop(&mut [0; 48]), Ok(8));
        }
        if queue.participants() == 2 {
            return;
        }
        // Killed outside of a put, it left no trace that would have to be noticed.
        drop(producer);
        assert_eq!(queue.recover().participants, 1);
    }
    panic!("no kill hit a put, or nobody noticed any");
}

#[test]
fn a_handle_outlives_the_thread_that_attached_it() {
    let queue = Options::new(2).create_anonymous().unwrap();
    let mut producer = thread::scope(|scope| {
        scope.spawn(|| queue.producer().unwrap()).join().expect("the thread only attaches")
    });
    assert_eq!(queue.recover(), Recovered::default());
    producer.push(b"still here").unwrap();
    assert_eq!(queue.participants(), 1);
}

/// Pids of another namespace mean nothing to us: who is there counts as alive, dead or not.
#[test]
fn participants_of_another_pid_namespace_are_never_thought_dead() {
    let unshare = |with: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).args(with);
        command
    };
    if !unshare(&["true"]).status().is_ok_and(|status| status.success()) {
        println!("not shown: this user may not make pid namespaces");
        return;
    }
    let queue = Options::new(2).participants(3).create_anonymous().unwrap();
    // With a /proc of its own, and with ours, which does not know it by its pid.
    for mount in [&["--mount-proc"][..], &[]] {
        let before = queue.participants();
        let mut command = unshare(mount);
        command.arg(env::current_exe().unwrap());
        let stranger = Producer::start_as(command, &queue, 1, 0);
        assert_eq!(queue.recover(), Recovered::default());
        stranger.kill();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(queue.recover(), Recovered::default());
        assert_eq!(queue.participants(), before + 1);
    }
    queue.producer().unwrap().push(b"nobody waits for them").unwrap();
}

/// In another time namespace the same process has another start time.
#[test]
fn participants_of_another_time_namespace_are_never_thought_dead() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", "86400"]);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        println!("not shown: this user may not make time namespaces");
        return;
    }
    let queue = Options::new(2).create_anonymous().unwrap();
    let mut command = unshare();
    command.arg(env::current_exe().unwrap());
    let stranger = Producer::start_as(command, &queue, 1, 0);
    assert_eq!(queue.recover(), Recovered::default());
    assert_eq!(queue.participants(), 1);
    stranger.kill();
}
