//! What does one operation cost when nobody else is there?
//!
//! One thread with one producer and one consumer, so all lines stay in its cache: a lower bound.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shmq_benches::{CAPACITY, ROLES, SIZES, one_message, options};
use shmq_engine::{Consumer, Producer};

/// Calls `measure` for each of the roles and sizes.
fn each(
    criterion: &mut Criterion,
    name: &str,
    measure: impl Fn(&mut criterion::Bencher<'_>, Pair),
) {
    let mut group = criterion.benchmark_group(name);
    for (roles, producers, consumers) in ROLES {
        for size in SIZES {
            let queue = options(size, producers, consumers).create_heap().expect("memory");
            group.throughput(one_message(size));
            group.bench_function(BenchmarkId::new(roles, size), |bencher| {
                let producer = queue.producer().expect("a line");
                let consumer = queue.consumer().expect("a line");
                let (message, buffer) = (vec![7; size], vec![0; size]);
                measure(bencher, Pair { producer, consumer, message, buffer });
            });
        }
    }
}

struct Pair {
    producer: Producer,
    consumer: Consumer,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

impl Pair {
    fn push(&mut self) {
        self.producer.try_push(black_box(&self.message)).expect("there is room");
    }

    fn pop(&mut self) {
        self.consumer.try_pop(black_box(&mut self.buffer)).expect("there is a message");
    }
}

/// Both operations together.
fn push_pop(criterion: &mut Criterion) {
    each(criterion, "push-pop", |bencher, mut pair| {
        bencher.iter(|| {
            pair.push();
            pair.pop();
        });
    });
}

/// Pushes until the queue is full; emptying it is not measured.
fn push(criterion: &mut Criterion) {
    each(criterion, "push", |bencher, mut pair| {
        bencher.iter_custom(|iterations| {
            in_batches(iterations, |batch| {
                let spent = timed(|| (0..batch).for_each(|_| pair.push()));
                (0..batch).for_each(|_| pair.pop());
                spent
            })
        });
    });
}

/// Pops until the queue is empty; filling it is not measured.
fn pop(criterion: &mut Criterion) {
    each(criterion, "pop", |bencher, mut pair| {
        bencher.iter_custom(|iterations| {
            in_batches(iterations, |batch| {
                (0..batch).for_each(|_| pair.push());
                timed(|| (0..batch).for_each(|_| pair.pop()))
            })
        });
    });
}

/// Finds that there is nothing, as who polls does most of the time.
fn pop_empty(criterion: &mut Criterion) {
    each(criterion, "pop-empty", |bencher, mut pair| {
        bencher.iter(|| pair.consumer.try_pop(black_box(&mut pair.buffer)).is_err());
    });
}

fn in_batches(iterations: u64, mut measure: impl FnMut(u64) -> Duration) -> Duration {
    let batch = CAPACITY as u64;
    let whole: Duration = (0..iterations / batch).map(|_| measure(batch)).sum();
    whole + measure(iterations % batch)
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

criterion_group!(benches, push_pop, push, pop, pop_empty);
criterion_main!(benches);
