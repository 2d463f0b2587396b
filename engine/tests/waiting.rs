//! Waiting: for as long as asked, without burning the CPU, in every way there is.

use std::os::fd::AsFd;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use shmq_engine::{Bell, Fences, Options, PopError, PushError, Queue, Role, Wait, select};

const WAITS: [Wait; 3] = [Wait::Spin, Wait::Adaptive, Wait::Park];

/// CPU time of this thread.
fn burnt() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// So long that it can be told from nothing.
const IDLE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 5_000 });

/// CPU time that `waiters` threads use while they wait in `wait`, as a part of the time they wait.
fn idle(waiters: usize, wait: impl Fn() + Sync) -> f64 {
    let start = Barrier::new(waiters);
    let used: Duration = thread::scope(|scope| {
        let threads: Vec<_> = (0..waiters)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let before = burnt();
                    wait();
                    burnt() - before
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let share = used.as_secs_f64() / IDLE.as_secs_f64();
    println!("{waiters} waiters used {:.3} % of a CPU", 100.0 * share);
    share
}

#[test]
fn who_waits_burns_no_cpu() {
    let queue = Options::new(1).participants(40).create_anonymous().unwrap();
    for waiters in [1, 16] {
        let share = idle(waiters, || {
            let mut consumer = queue.consumer().unwrap();
            assert_eq!(consumer.pop_timeout(&mut [0; 48], IDLE), Err(PopError::Empty));
        });
        assert!(share < 0.05, "{waiters} consumers");
    }
    queue.producer().unwrap().push(b"in the way").unwrap();
    for waiters in [1, 16] {
        let share = idle(waiters, || {
            let mut producer = queue.producer().unwrap();
            assert_eq!(producer.push_timeout(b"x", IDLE), Err(PushError::Full));
        });
        assert!(share < 0.05, "{waiters} producers");
    }
}

/// Asymmetric, where the kernel can.
fn usual_fences() -> Fences {
    Options::new(1).create_heap().unwrap().fences()
}

/// Messages go to and fro between two threads, in every way of waiting, by every kind of fence.
#[test]
fn every_way_of_waiting_ends() {
    let rounds = if cfg!(debug_assertions) { 300 } else { 20_000 };
    for wait in WAITS {
        for fences in [usual_fences(), Fences::Full] {
            for role in [Role::One, Role::Many] {
                let options = Options::new(1).fences(fences).producers(role).consumers(role);
                let [there, back] = [(); 2].map(|()| options.create_anonymous().unwrap());
                ping_pong(&there, &back, wait, rounds);
            }
        }
    }
}

fn ping_pong(there: &Queue, back: &Queue, wait: Wait, rounds: u64) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut consumer, mut producer) =
                (there.consumer().unwrap(), back.producer().unwrap());
            consumer.wait_by(wait);
            producer.wait_by(wait);
            for message in &mut consumer {
                match message {
                    Ok(message) => producer.push(&message).unwrap(),
                    Err(error) => panic!("{error}"),
                }
            }
            back.shut_down();
            assert_eq!(consumer.late_wakes() + producer.late_wakes(), 0);
        });
        let (mut producer, mut consumer) = (there.producer().unwrap(), back.consumer().unwrap());
        consumer.wait_by(wait);
        producer.wait_by(wait);
        let mut buffer = [0; 48];
        for round in 0..rounds {
            producer.push(&round.to_le_bytes()).unwrap();
            assert_eq!(consumer.pop(&mut buffer), Ok(8));
            assert_eq!(buffer[..8], round.to_le_bytes());
        }
        there.shut_down();
        assert_eq!(consumer.pop(&mut buffer), Err(PopError::ShutDown));
        assert_eq!(consumer.late_wakes() + producer.late_wakes(), 0, "{wait:?}");
    });
}

/// Never early, whatever the wait; how late is only reported.
#[test]
fn no_wait_is_shorter_than_asked() {
    let tries = if cfg!(debug_assertions) { 300 } else { 10_000 };
    let queue = Options::new(1).create_anonymous().unwrap();
    let full = Options::new(1).create_anonymous().unwrap();
    full.producer().unwrap().push(b"in the way").unwrap();
    let mut late = Vec::new();
    for at in 0..tries {
        let timeout = Duration::from_nanos(1 + at * 7919 % 300_000);
        let wait = WAITS[at as usize % WAITS.len()];
        let start = Instant::now();
        if at % 2 == 0 {
            let mut consumer = queue.consumer().unwrap();
            consumer.wait_by(wait);
            assert_eq!(consumer.pop_timeout(&mut [0; 48], timeout), Err(PopError::Empty));
        } else {
            let mut producer = full.producer().unwrap();
            producer.wait_by(wait);
            assert_eq!(producer.push_timeout(b"x", timeout), Err(PushError::Full));
        }
        let took = start.elapsed();
        assert!(took >= timeout, "{took:?} of {timeout:?}");
        late.push(took - timeout);
    }
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{tries} waits of up to 300 us: late by p50 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn is_readable(bell: &Bell, within: Duration) -> bool {
    let time = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&time)).unwrap() == 1
}

const SOON: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::ZERO;

#[test]
fn a_bell_rings_when_there_is_something_to_do() {
    let queue = Options::new(1).create_anonymous().unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let (items, room) = (consumer.bell().unwrap(), producer.bell().unwrap());
    // Unarmed it is silent.
    producer.push(b"one").unwrap();
    assert!(!is_readable(&items, Duration::from_millis(20)));
    // Beside a message it rings at once, and once.
    items.arm();
    assert!(is_readable(&items, SOON));
    assert!(items.quiet());
    assert!(!items.quiet());
    assert!(!is_readable(&items, NOW));
    // The queue is full: no place until one is made.
    room.arm();
    assert!(!is_readable(&room, Duration::from_millis(20)));
    consumer.pop(&mut [0; 48]).unwrap();
    assert!(is_readable(&room, SOON));
    // Empty: no message until one is put.
    items.arm();
    assert!(!is_readable(&items, Duration::from_millis(20)));
    producer.push(b"two").unwrap();
    assert!(is_readable(&items, SOON) && items.quiet());
    consumer.pop(&mut [0; 48]).unwrap();
    // The end.
    items.arm();
    assert!(!is_readable(&items, Duration::from_millis(20)));
    queue.shut_down();
    assert!(is_readable(&items, SOON));
}

/// A bell is woken and takes nothing: somebody else who sleeps must not miss the message for that.
#[test]
fn a_bell_passes_the_wake_up_on() {
    let queue = Options::new(1).create_anonymous().unwrap();
    let bell = queue.consumer().unwrap().bell().unwrap();
    for _ in 0..50 {
        bell.arm();
        thread::scope(|scope| {
            let getter = scope.spawn(|| {
                let mut consumer = queue.consumer().unwrap();
                consumer.wait_by(Wait::Park);
                consumer.pop(&mut [0; 48]).unwrap();
                consumer.late_wakes()
            });
            thread::sleep(Duration::from_micros(500));
            queue.producer().unwrap().push(b"for the getter").unwrap();
            assert_eq!(getter.join().unwrap(), 0);
        });
        bell.quiet();
    }
}

#[test]
fn a_bell_can_be_dropped_while_it_waits() {
    let queue = Options::new(1).create_anonymous().unwrap();
    for armed in [false, true] {
        let bell = queue.consumer().unwrap().bell().unwrap();
        if armed {
            bell.arm();
            thread::sleep(Duration::from_millis(5));
        }
        drop(bell);
    }
}

/// Who selects takes one message of several, and sleepers must not miss the others for that.
#[test]
fn who_selects_passes_the_wake_up_on() {
    let queue = Options::new(100).create_anonymous().unwrap();
    let mut producer = queue.producer().unwrap();
    for _ in 0..50 {
        thread::scope(|scope| {
            let selector = scope.spawn(|| {
                let mut consumer = queue.consumer().unwrap();
                assert_eq!(select(&[&consumer], None), Some(0));
                consumer.try_pop(&mut [0; 48]).is_ok()
            });
            thread::sleep(Duration::from_millis(1));
            let getter = scope.spawn(|| {
                let mut consumer = queue.consumer().unwrap();
                consumer.wait_by(Wait::Park);
                consumer.pop(&mut [0; 48]).unwrap();
                consumer.late_wakes()
            });
            thread::sleep(Duration::from_millis(1));
            assert_eq!(producer.try_push_many(&[b"one", b"two"]), Ok(2));
            assert!(selector.join().unwrap());
            assert_eq!(getter.join().unwrap(), 0);
        });
    }
}

#[test]
fn one_of_several_queues_is_selected() {
    let queues = [(); 3].map(|()| Options::new(2).create_anonymous().unwrap());
    let mut consumers = queues.each_ref().map(|queue| queue.consumer().unwrap());
    assert_eq!(select(&[], None), None);
    let brief = Some(Duration::from_millis(10));
    let start = Instant::now();
    assert_eq!(select(&consumers.each_ref(), brief), None);
    assert!(start.elapsed() >= Duration::from_millis(10));
    queues[1].producer().unwrap().push(b"there").unwrap();
    assert_eq!(select(&consumers.each_ref(), None), Some(1));
    assert_eq!(consumers[1].try_pop(&mut [0; 48]), Ok(5));
    assert_eq!(select(&consumers.each_ref(), Some(Duration::ZERO)), None);
    // And while we sleep.
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            queues[2].producer().unwrap().push(b"later").unwrap();
        });
        assert_eq!(select(&consumers.each_ref(), None), Some(2));
    });
    consumers[2].try_pop(&mut [0; 48]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(5));
            queues[0].shut_down();
        });
        assert_eq!(select(&consumers.each_ref(), None), Some(0));
    });
    assert_eq!(consumers[0].try_pop(&mut [0; 48]), Err(PopError::ShutDown));
}

/// Many selects at the same queues, and each message is got.
#[test]
fn selects_share_queues() {
    let each = if cfg!(debug_assertions) { 200 } else { 5_000 };
    let queues = [(); 2].map(|()| Options::new(1).create_anonymous().unwrap());
    thread::scope(|scope| {
        let getters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut open: Vec<_> =
                        queues.iter().map(|queue| queue.consumer().unwrap()).collect();
                    let mut got = 0;
                    while let Some(at) = select(&open.iter().collect::<Vec<_>>(), None) {
                        match open[at].try_pop(&mut [0; 48]) {
                            Ok(_) => got += 1,
                            Err(PopError::ShutDown) => drop(open.remove(at)),
                            Err(PopError::Empty) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    got
                })
            })
            .collect();
        let putters: Vec<_> = queues
            .iter()
            .map(|queue| {
                scope.spawn(|| {
                    let mut producer = queue.producer().unwrap();
                    (0..each).for_each(|_| producer.push(b"x").unwrap());
                    queue.shut_down();
                })
            })
            .collect();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        let got: u64 = getters.into_iter().map(|getter| getter.join().unwrap()).sum();
        assert_eq!(got, 2 * each);
    });
}
