//! The end of a queue: what was put is got, then everybody is told; nobody waits for what will not come.

mod crew;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crew::{ENDLESS, Producer};
use shmq_engine::{Fences, Options, PartlyPut, PopError, PushError, Queue, Role};

/// Queues of every kind, with the length of messages that makes them so.
fn kinds() -> Vec<(Queue, usize)> {
    let bounded = Options::new(5);
    let options = [
        (bounded, 8),
        (bounded.producers(Role::One), 8),
        (bounded.consumers(Role::One), 8),
        (bounded.producers(Role::One).consumers(Role::One), 8),
        (bounded.fences(Fences::Full), 8),
        (bounded, 5000),
        (Options::unbounded(), 8),
        (Options::unbounded().producers(Role::One), 8),
        (Options::unbounded().consumers(Role::One), 5000),
    ];
    options.map(|(options, len)| (options.create_anonymous().unwrap(), len)).into()
}

fn message(number: u64, len: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

#[test]
fn puts_fail_and_gets_take_what_is_left() {
    for (queue, len) in kinds() {
        let mut producer = queue.producer().unwrap();
        let mut consumer = queue.consumer().unwrap();
        for number in 0..3 {
            producer.push(&message(number, len)).unwrap();
        }
        assert!(!queue.is_shut_down());
        assert!(queue.shut_down());
        assert!(!queue.shut_down(), "only the first is told so");
        assert!(queue.is_shut_down());
        assert_eq!(producer.try_push(&message(9, len)), Err(PushError::ShutDown));
        assert_eq!(producer.push(&message(9, len)), Err(PushError::ShutDown));
        assert_eq!(producer.reserve(len).unwrap_err(), PushError::ShutDown);
        assert_eq!(producer.try_push_many(&[message(9, len)]), Err(PushError::ShutDown));
        assert_eq!(producer.try_push_values(&[9_u64]), Err(PushError::ShutDown));
        let error = producer.push_values(&[9_u64]).unwrap_err();
        assert_eq!(error, PartlyPut { put: 0, error: PushError::ShutDown });
        let mut buffer = vec![0; len];
        for number in 0..3 {
            consumer.pop(&mut buffer).unwrap();
            assert_eq!(buffer, message(number, len));
        }
        assert_eq!(consumer.pop(&mut buffer), Err(PopError::ShutDown));
        assert_eq!(consumer.try_pop(&mut buffer), Err(PopError::ShutDown));
        let brief = Duration::from_millis(1);
        assert_eq!(consumer.pop_timeout(&mut buffer, brief), Err(PopError::ShutDown));
        assert_eq!(consumer.try_pop_many(3, |_| ()), Err(PopError::ShutDown));
        assert_eq!(consumer.try_pop_values(&mut [0_u64; 3]), Err(PopError::ShutDown));
        assert_eq!(consumer.pop_values(&mut [0_u64; 3]), Err(PopError::ShutDown));
        assert!(queue.is_empty());
    }
}

#[test]
fn a_queue_can_be_shut_down_before_anybody_has_come() {
    for (queue, _) in kinds() {
        queue.shut_down();
        assert_eq!(queue.consumer().unwrap().pop(&mut []), Err(PopError::ShutDown));
        assert_eq!(queue.producer().unwrap().push(&[]), Err(PushError::ShutDown));
    }
}

/// Producers put until they are told, consumers get until they are told: what was put was got.
#[test]
fn nothing_is_lost_in_a_race_with_puts() {
    for round in 0..if cfg!(debug_assertions) { 5 } else { 100 } {
        for (queue, len) in kinds() {
            let many = |role| if role == Role::One { 1 } else { 3 };
            let (producers, consumers) = queue.roles();
            let (producers, consumers) = (many(producers), many(consumers));
            let start = Barrier::new(producers + consumers + 1);
            let (put, got) = thread::scope(|scope| {
                let putters: Vec<_> = (0..producers)
                    .map(|at| {
                        scope.spawn({
                            let (queue, start) = (&queue, &start);
                            move || put_until_told(queue, start, len, round % 2 == at as u64 % 2)
                        })
                    })
                    .collect();
                let getters: Vec<_> = (0..consumers)
                    .map(|_| scope.spawn(|| get_until_told(&queue, &start)))
                    .collect();
                start.wait();
                thread::sleep(Duration::from_micros(round * 37 % 500));
                queue.shut_down();
                let sum = |threads: Vec<thread::ScopedJoinHandle<'_, u64>>| -> u64 {
                    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
                };
                (sum(putters), sum(getters))
            });
            assert_eq!(put, got, "round {round}, {queue:?}");
            assert!(queue.is_empty());
        }
    }
}

fn put_until_told(queue: &Queue, start: &Barrier, len: usize, several: bool) -> u64 {
    let mut producer = queue.producer().unwrap();
    let messages = [message(1, len), message(2, len), message(3, len)];
    start.wait();
    let mut put = 0;
    loop {
        let done = match several {
            true => producer.try_push_many(&messages),
            false => producer.push(&messages[0]).map(|()| 1),
        };
        match done {
            Ok(count) => put += count as u64,
            Err(PushError::ShutDown) => return put,
            Err(error) => panic!("{error}"),
        }
    }
}

fn get_until_told(queue: &Queue, start: &Barrier) -> u64 {
    let mut consumer = queue.consumer().unwrap();
    start.wait();
    let got = consumer.iter().map(|message| message.map(|_| 1)).sum::<Result<u64, _>>();
    got.unwrap()
}

#[test]
fn who_puts_values_is_told_how_many_went_before_the_end() {
    let queue = Options::new(5).create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    let error = thread::scope(|scope| {
        let putter = scope.spawn(|| producer.push_values(&[7_u64; 8]).unwrap_err());
        while queue.len() < 5 {
            thread::yield_now();
        }
        queue.shut_down();
        putter.join().unwrap()
    });
    assert_eq!(error, PartlyPut { put: 5, error: PushError::ShutDown });
    let mut words = [0_u64; 8];
    let mut consumer = queue.consumer().unwrap();
    // One by one, at the end of a queue.
    let got = (0..5).map(|_| consumer.pop_values(&mut words).unwrap()).sum::<usize>();
    assert_eq!((got, words[0]), (5, 7));
}

/// 16 blocked on either side return, and say why. How long it took is only reported: see the harness of
/// `cargo xtask bench`.
#[test]
fn all_who_are_blocked_return() {
    let [empty, full] =
        [1, 1].map(|capacity| Options::new(capacity).participants(40).create_anonymous().unwrap());
    full.producer().unwrap().push(b"in the way").unwrap();
    let waiting = Barrier::new(33);
    let took = thread::scope(|scope| {
        let getters = (0..16).map(|_| {
            scope.spawn(|| {
                let mut consumer = empty.consumer().unwrap();
                waiting.wait();
                assert_eq!(consumer.pop(&mut [0; 48]), Err(PopError::ShutDown));
            })
        });
        let putters = (0..16).map(|_| {
            scope.spawn(|| {
                let mut producer = full.producer().unwrap();
                waiting.wait();
                assert_eq!(producer.push(b"one more"), Err(PushError::ShutDown));
            })
        });
        let blocked: Vec<_> = getters.chain(putters).collect();
        waiting.wait();
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        empty.shut_down();
        full.shut_down();
        blocked.into_iter().for_each(|thread| thread.join().unwrap());
        start.elapsed()
    });
    println!("32 blocked callers returned {took:?} after shutdown");
}

#[test]
fn a_queue_ends_when_the_last_producer_leaves() {
    for options in [Options::new(3), Options::new(3).producers(Role::One), Options::unbounded()] {
        let queue = options.ends_with_producers().create_anonymous().unwrap();
        let mut consumer = queue.consumer().unwrap();
        let mut buffer = [0; 48];
        assert_eq!(consumer.try_pop(&mut buffer), Err(PopError::Empty), "nobody has come yet");
        let mut first = queue.producer().unwrap();
        first.push(b"first").unwrap();
        if options_are_many(&queue) {
            let second = queue.producer().unwrap();
            drop(first);
            assert!(!queue.is_shut_down(), "one is left");
            drop(second);
        } else {
            drop(first);
        }
        assert!(queue.is_shut_down());
        assert_eq!(consumer.pop(&mut buffer), Ok(5));
        assert_eq!(consumer.pop(&mut buffer), Err(PopError::ShutDown));
        let late = queue.producer().unwrap().push(b"late");
        assert_eq!(late, Err(PushError::ShutDown));
    }
}

/// One thread hands over from one producer to the next, again and again, so that there is one at every moment; the
/// other attaches producers and drops them, and so looks whether there are others. It looks at four thousand places
/// of consumers, between those of the producers.
#[test]
fn a_queue_does_not_end_between_producers_that_overlap() {
    const TIMES: u32 = 40_000;
    let queue = Options::new(4).participants(4_096).ends_with_producers().create_heap().unwrap();
    let first = queue.consumer().unwrap();
    let _between: Vec<_> = (0..4_000).map(|_| queue.consumer().unwrap()).collect();
    let mut producer = queue.producer().unwrap();
    drop(first);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(queue.producer().unwrap());
            }
        });
        let ended = (0..TIMES).find(|_| {
            let successor = queue.producer().unwrap();
            drop(std::mem::replace(&mut producer, successor));
            queue.is_shut_down()
        });
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(ended, None);
    });
    drop(producer);
    assert!(queue.is_shut_down());
}

fn options_are_many(queue: &Queue) -> bool {
    queue.roles().0 == Role::Many
}

/// A consumer that waits finds out that the last producer was killed.
#[test]
fn a_queue_ends_when_the_last_producer_dies() {
    let queue = Options::new(4).ends_with_producers().create_anonymous().unwrap();
    let mut consumer = queue.consumer().unwrap();
    let victim = Producer::start(&queue, 1, ENDLESS);
    let mut buffer = [0; 48];
    consumer.pop(&mut buffer).unwrap();
    victim.kill();
    loop {
        match consumer.pop(&mut buffer) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, PopError::ShutDown);
                break;
            }
        }
    }
    assert_eq!(queue.participants(), 1, "its place was vacated");
}

#[test]
fn what_is_there_is_drained_or_cleared() {
    for (queue, len) in kinds() {
        let mut producer = queue.producer().unwrap();
        let mut consumer = queue.consumer().unwrap();
        for number in 0..3 {
            producer.push(&message(number, len)).unwrap();
        }
        let drained: Result<Vec<_>, _> = consumer.drain().collect();
        assert_eq!(drained.unwrap(), [0, 1, 2].map(|number| message(number, len)));
        assert_eq!(consumer.drain().count(), 0);
        for number in 3..5 {
            producer.push(&message(number, len)).unwrap();
        }
        assert_eq!(consumer.clear(), Ok(2));
        assert_eq!(consumer.clear(), Ok(0));
        producer.push(&message(5, len)).unwrap();
        queue.shut_down();
        let rest: Result<Vec<_>, _> = consumer.iter().collect();
        assert_eq!(rest.unwrap(), [message(5, len)]);
        assert_eq!(consumer.iter().count(), 0);
        assert_eq!(consumer.clear(), Ok(0));
    }
}
