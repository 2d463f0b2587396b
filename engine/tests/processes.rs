//! Real processes, killed and stopped at any moment: nobody waits for them, nothing of the others
//! is lost, and what they held exclusively can be taken over.

mod crew;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crew::{Producer, identify};
use rustix::process::Signal;
use shmq_engine::{AttachError, Options, PopError, Queue, Role};

/// So long that most of a put is spent between claim and publication: that is where signals hit.
const LONG: usize = 32 << 10;

#[test]
fn an_exclusive_side_is_taken_over_from_the_dead_only() {
    let queue = Options::new(4).producers(Role::One).create_anonymous().unwrap();
    let holder = Producer::start(&queue, 1, 0);
    let AttachError::Taken { pid, .. } = queue.producer().unwrap_err() else { panic!() };
    assert_eq!(pid, holder.pid());
    holder.signal(Signal::STOP);
    assert!(queue.producer().is_err(), "stopped is not dead");
    holder.signal(Signal::CONT);
    holder.kill();
    let mut successor = queue.producer().unwrap();
    successor.push(b"on we go").unwrap();
    assert_eq!(queue.consumer().unwrap().try_pop(&mut [0; 48]), Ok(8));
}

#[test]
fn the_lines_of_the_dead_are_used_again() {
    let queue = Options::new(4).participants(2).create_anonymous().unwrap();
    for round in 0..3 {
        let holders = [1, 2].map(|id| Producer::start(&queue, id, 0));
        assert!(matches!(queue.consumer(), Err(AttachError::Crowded { lines: 2 })), "{round}");
        for holder in holders {
            holder.kill();
        }
        queue.consumer().unwrap();
    }
}

/// Takes until `over` and empty; panics if a single attempt takes long.
fn consume(queue: &Queue, over: &AtomicBool, producers: usize) -> Vec<u64> {
    let mut consumer = queue.consumer().unwrap();
    let mut got = Vec::new();
    let mut next = vec![0; producers];
    let mut buffer = vec![0; LONG];
    loop {
        let was_over = over.load(Ordering::Acquire);
        let start = Instant::now();
        let popped = consumer.try_pop(&mut buffer);
        assert!(start.elapsed() < Duration::from_secs(5), "a stopped producer was waited for");
        match popped {
            Ok(len) => {
                let (id, n) = identify(&buffer[..len]);
                assert!(n >= next[id], "out of order");
                next[id] = n + 1;
                got.push((id as u64) << 48 | n);
            }
            Err(PopError::Empty) if was_over => return got,
            Err(PopError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Producers are stopped and continued at random for some seconds. Everything arrives, once, in
/// each producer's order, and no attempt to take waits for a stopped one.
#[test]
fn stopped_producers_delay_nobody_and_lose_nothing() {
    const PRODUCERS: usize = 3;
    const EACH: u64 = 8_000;
    let queue = Options::new(16).message_max(LONG).create_anonymous().unwrap();
    let over = AtomicBool::new(false);
    let mut got: Vec<u64> = thread::scope(|scope| {
        let takers = [(); 2].map(|()| scope.spawn(|| consume(&queue, &over, PRODUCERS)));
        let producers: Vec<_> =
            (0..PRODUCERS as u64).map(|id| Producer::start(&queue, id, EACH)).collect();
        for round in 0..300_u64 {
            let producer = &producers[(round % PRODUCERS as u64) as usize];
            producer.signal(Signal::STOP);
            thread::sleep(Duration::from_micros(1_500));
            assert_eq!(queue.recover().participants, 0, "stopped is not dead");
            producer.signal(Signal::CONT);
            thread::sleep(Duration::from_micros(round * 7919 % 500));
        }
        producers.into_iter().for_each(Producer::join);
        over.store(true, Ordering::Release);
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
    });
    got.sort_unstable();
    let ids = 0..PRODUCERS as u64;
    let expected: Vec<u64> = ids.flat_map(|id| (0..EACH).map(move |n| id << 48 | n)).collect();
    assert!(got == expected, "{} of {} messages", got.len(), expected.len());
}

/// Producers are killed at random while others stream: the others lose nothing, and the dead one's
/// messages are a prefix of what it would have sent.
#[test]
fn killed_producers_lose_nobody_elses_messages() {
    const EACH: u64 = 8_000;
    let queue = Options::new(16).message_max(LONG).participants(40).create_anonymous().unwrap();
    let over = AtomicBool::new(false);
    let victims = 20;
    let got: Vec<Vec<u64>> = thread::scope(|scope| {
        let takers = [(); 2].map(|()| scope.spawn(|| consume(&queue, &over, victims as usize + 1)));
        let survivor = Producer::start(&queue, 0, EACH);
        for id in 1..=victims {
            let victim = Producer::start(&queue, id, u64::MAX >> 16);
            thread::sleep(Duration::from_micros(id * 7919 % 3_000));
            victim.kill();
        }
        survivor.join();
        over.store(true, Ordering::Release);
        takers.map(|taker| taker.join().unwrap()).into()
    });
    let mut all: Vec<u64> = got.concat();
    all.sort_unstable();
    for id in 0..=victims {
        let of_id = all.iter().filter(|&&word| word >> 48 == id).map(|word| word & ((1 << 48) - 1));
        let numbers: Vec<u64> = of_id.collect();
        let whole: Vec<u64> = (0..numbers.len() as u64).collect();
        assert!(numbers == whole, "producer {id} lost or repeated a message");
        assert!(id > 0 || numbers.len() as u64 == EACH, "the survivor lost messages");
    }
}
