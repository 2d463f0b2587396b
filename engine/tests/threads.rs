//! Many threads at once: every message once, whole, each producer's in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shmq_engine::{Asking, Fences, Options, PopError, PushError, Queue, Role};

const END: u64 = u64::MAX;

/// Whatever is best on this machine, the other way must do as well, and beside it: neighbours ask by different ones.
fn asking(id: u64) -> Asking {
    if id.is_multiple_of(2) { Asking::Stores } else { Asking::Prefetches }
}

/// Asymmetric, where the kernel can.
fn usual_fences() -> Fences {
    Options::new(1).create_heap().unwrap().fences()
}

fn message(id: u64, number: u64, bytes: usize) -> Vec<u8> {
    let word = (id << 48 | number).to_le_bytes();
    word.iter().copied().cycle().take(bytes).collect()
}

fn produce(queue: &Queue, id: u64, asking: Asking, count: u64, bytes: usize) {
    let mut producer = queue.producer().unwrap();
    producer.ask_by(asking);
    for number in 0..count {
        producer.push(&message(id, number, bytes)).unwrap();
    }
}

/// Takes until END; checks each message, and each producer's order.
fn consume(queue: &Queue, asking: Asking, producers: usize, bytes: usize) -> u64 {
    let mut consumer = queue.consumer().unwrap();
    consumer.ask_by(asking);
    let mut next = vec![0; producers];
    let mut buffer = vec![0; bytes];
    let mut count = 0;
    loop {
        let len = consumer.pop(&mut buffer).unwrap();
        let word = u64::from_le_bytes(buffer[..8].try_into().unwrap());
        if word == END {
            return count;
        }
        let (id, number) = (word >> 48, word & ((1 << 48) - 1));
        assert_eq!(buffer[..len], message(id, number, bytes), "torn");
        let expected = &mut next[usize::try_from(id).unwrap()];
        assert!(number >= *expected, "out of order");
        *expected = number + 1;
        count += 1;
    }
}

fn run(queue: &Queue, producers: u64, consumers: u64, each: u64, bytes: usize) {
    (0..2).for_each(|turn| run_turn(queue, producers, consumers, each / 2, bytes, turn));
}

fn run_turn(queue: &Queue, producers: u64, consumers: u64, each: u64, bytes: usize, turn: u64) {
    thread::scope(|scope| {
        let takers: Vec<_> = (0..consumers)
            .map(|id| asking(id + turn))
            .map(|way| scope.spawn(move || consume(queue, way, producers as usize, bytes)))
            .collect();
        let putters: Vec<_> = (0..producers)
            .map(|id| (id, asking(id + turn)))
            .map(|(id, way)| scope.spawn(move || produce(queue, id, way, each, bytes)))
            .collect();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        let mut producer = queue.producer().unwrap();
        takers.iter().for_each(|_| producer.push(&END.to_le_bytes()).unwrap());
        let got: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(got, producers * each);
    });
    assert!(queue.is_empty());
}

#[test]
fn every_message_once_many_to_many() {
    for fences in [usual_fences(), Fences::Full] {
        // The last: slots in one piece.
        for (capacity, bytes) in [(1, 8), (3, 48), (1000, 8), (64, 1024), (64, 3000)] {
            let queue = Options::new(capacity).message_max(bytes).fences(fences);
            let queue = queue.create_heap().unwrap();
            run(&queue, 3, 3, 5_000, bytes);
        }
    }
}

#[test]
fn every_message_once_by_reference() {
    for bytes in [49, 5_000, 40_000, 300_000] {
        let each = (100_000_000 / bytes as u64).clamp(50, 5_000);
        for options in [Options::new(3), Options::new(1000), Options::unbounded()] {
            let queue = options.max_bytes(4 << 30).create_heap().unwrap();
            run(&queue, 3, 3, each, bytes);
            let before = queue.recover().blocks;
            // What two of them thought the other would give back is found once, and then no more.
            assert_eq!(queue.recover().blocks, 0, "{before} blocks before");
        }
    }
}

#[test]
fn every_message_once_through_segments() {
    for fences in [usual_fences(), Fences::Full] {
        let queue = Options::unbounded().inline(3000).fences(fences).create_heap().unwrap();
        run(&queue, 3, 3, 20_000, 8);
        run(&queue, 3, 3, 5_000, 3000);
        assert!(queue.resident_bytes() < 8 << 20, "{} bytes", queue.resident_bytes());
    }
}

/// Takes words until the end of the queue, up to `room` at a time; checks each producer's order.
fn consume_words(queue: &Queue, room: usize) -> u64 {
    let (mut consumer, mut words) = (queue.consumer().unwrap(), vec![0_u64; room]);
    consumer.ask_by(asking(room as u64));
    let (mut next, mut count) = ([0; 3], 0);
    loop {
        let got = match consumer.pop_values(&mut words) {
            Err(PopError::ShutDown) => return count,
            got => got.unwrap(),
        };
        assert!(got > 0);
        for word in &words[..got] {
            let (id, number) = ((word >> 48) as usize, word & ((1 << 48) - 1));
            assert!(number >= next[id], "out of order");
            next[id] = number + 1;
        }
        count += got as u64;
    }
}

#[test]
fn every_value_once_several_at_a_time() {
    const EACH: u64 = 20_000;
    let produce = |queue: &Queue, id: u64| {
        let words: Vec<_> = (0..EACH).map(|number| id << 48 | number).collect();
        let mut producer = queue.producer().unwrap();
        producer.ask_by(asking(id));
        words.chunks(90).for_each(|some| producer.push_values(some).unwrap());
    };
    for fences in [usual_fences(), Fences::Full] {
        // In the last they do not fit the slots, and are got one by one.
        for (capacity, inline) in [(1, 8), (70, 8), (1000, 8), (70, 0)] {
            let queue = Options::new(capacity).inline(inline).message_max(8).fences(fences);
            let queue = &queue.create_heap().unwrap();
            thread::scope(|scope| {
                let takers = [7, 100].map(|room| scope.spawn(move || consume_words(queue, room)));
                let putters = [0, 1, 2].map(|id| scope.spawn(move || produce(queue, id)));
                putters.into_iter().for_each(|putter| putter.join().unwrap());
                queue.shut_down();
                let got: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
                assert_eq!(got, 3 * EACH);
            });
        }
    }
}

/// Nobody puts without one of four permits, and there are four places.
#[test]
fn who_has_a_permit_finds_a_place() {
    const EACH: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    // In slots, and by reference.
    for bytes in [8, 200] {
        let options = Options::new(4).inline(8).message_max(bytes);
        let queue = options.create_anonymous().unwrap();
        let permits = AtomicU64::new(4);
        let take = || {
            let one = |left: u64| left.checked_sub(1);
            // ordering: Acquire, the get that gave it back; pairs with Release below
            while permits.fetch_update(Ordering::Acquire, Ordering::Relaxed, one).is_err() {
                thread::yield_now();
            }
        };
        let put = |id: u64| {
            let mut producer = queue.producer().unwrap();
            for number in 0..EACH {
                take();
                producer.try_push(&message(id, number, bytes)).expect("there is a place");
            }
        };
        thread::scope(|scope| {
            let (first, second) = (scope.spawn(|| put(0)), scope.spawn(|| put(1)));
            let mut consumer = queue.consumer().unwrap();
            let mut buffer = vec![0; bytes];
            for _ in 0..2 * EACH {
                let done = consumer.pop_timeout(&mut buffer, Duration::from_secs(20));
                done.expect("everything arrives");
                // ordering: Release, the get; pairs with Acquire in `take`
                permits.fetch_add(1, Ordering::Release);
            }
            first.join().unwrap();
            second.join().unwrap();
        });
    }
}

#[test]
fn every_message_once_with_exclusive_sides() {
    let kinds = [Options::new(7), Options::unbounded().inline(1000)];
    for (options, (producers, consumers)) in
        kinds.into_iter().flat_map(|kind| [(1, 1), (1, 3), (3, 1)].map(|sides| (kind, sides)))
    {
        let role = |n| if n == 1 { Role::One } else { Role::Many };
        let options = options.producers(role(producers)).consumers(role(consumers));
        let queue = options.create_heap().unwrap();
        // `run` attaches one more producer at the end: when the others have gone.
        run(&queue, producers, consumers, 20_000, 16);
    }
}

#[test]
fn a_parked_consumer_gets_the_message() {
    let queue = Options::new(1).create_heap().unwrap();
    thread::scope(|scope| {
        let taker = scope.spawn(|| {
            let mut buffer = [0; 48];
            let len = queue.consumer().unwrap().pop(&mut buffer).unwrap();
            buffer[..len].to_vec()
        });
        thread::sleep(Duration::from_millis(50));
        queue.producer().unwrap().push(b"late").unwrap();
        assert_eq!(taker.join().unwrap(), b"late");
    });
}

#[test]
fn a_parked_producer_gets_the_place() {
    let queue = Options::new(1).create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    producer.push(b"first").unwrap();
    thread::scope(|scope| {
        let putter = scope.spawn(|| queue.producer().unwrap().push(b"second"));
        thread::sleep(Duration::from_millis(50));
        let mut buffer = [0; 48];
        let mut consumer = queue.consumer().unwrap();
        assert_eq!(consumer.pop(&mut buffer), Ok(5));
        putter.join().unwrap().unwrap();
        assert_eq!(consumer.pop(&mut buffer), Ok(6));
    });
}

#[test]
fn timeouts_are_never_early() {
    let queue = Options::new(1).create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap();
    for timeout in [0, 1, 20, 250].map(Duration::from_millis) {
        let start = Instant::now();
        assert_eq!(consumer.pop_timeout(&mut [0; 48], timeout), Err(PopError::Empty));
        assert!(start.elapsed() >= timeout);
    }
    producer.push(b"x").unwrap();
    for timeout in [0, 1, 20, 250].map(Duration::from_millis) {
        let start = Instant::now();
        assert_eq!(producer.push_timeout(b"y", timeout), Err(PushError::Full));
        assert!(start.elapsed() >= timeout);
    }
    // A timeout beyond the clock is none.
    assert_eq!(consumer.pop_timeout(&mut [0; 48], Duration::MAX), Ok(1));
}

/// Many more than there are places for, while they are taken: what was not put is what comes last.
#[test]
fn what_finds_no_place_is_the_end_of_a_batch() {
    const COUNT: u64 = 200_000;
    let queue = Options::new(64).participants(2).create_heap().unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let messages: Vec<_> = (0..COUNT).map(u64::to_ne_bytes).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = &messages[..];
            while let Ok(put) = producer.try_push_many(&rest[..rest.len().min(500)])
                && !rest.is_empty()
            {
                rest = &rest[put..];
            }
        });
        let got: Vec<u64> = (0..COUNT).map(|_| consumer.pop_value().unwrap()).collect();
        queue.shut_down();
        assert!(got.into_iter().eq(0..COUNT));
    });
}
