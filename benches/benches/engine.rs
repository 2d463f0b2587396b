//! What does one operation cost when nobody else is there?
//!
//! One thread with one producer and one consumer, so all lines stay in its cache: a lower bound.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shmq_benches::{
    CAPACITY, LOAN_SIZES, ROLES, SIZES, by_reference, one_message, options, unbounded,
};
use shmq_engine::{Consumer, Options, Producer};

/// Calls `measure` for each of the roles and sizes.
fn each(
    criterion: &mut Criterion,
    name: &str,
    measure: impl Fn(&mut criterion::Bencher<'_>, Pair),
) {
    each_of(criterion, name, &SIZES, options, measure);
}

/// Calls `measure` for each of the roles and of these sizes, with a queue of those options.
fn each_of(
    criterion: &mut Criterion,
    name: &str,
    sizes: &[usize],
    options: impl Fn(usize) -> Options,
    measure: impl Fn(&mut criterion::Bencher<'_>, Pair),
) {
    let mut group = criterion.benchmark_group(name);
    for (roles, producers, consumers) in ROLES {
        for &size in sizes {
            let options = options(size).producers(producers).consumers(consumers);
            let queue = options.create_heap().expect("memory");
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

    /// Puts a message that nobody has written.
    fn lend(&mut self) {
        let mut loan = self.producer.reserve(self.message.len()).expect("there is memory");
        black_box(loan.as_mut_ptr());
        assert!(loan.try_commit().is_ok(), "there is room");
    }

    /// Gets a message and reads nothing of it.
    fn discard(&mut self) {
        let message = self.consumer.try_pop_ref().expect("there is a message");
        black_box(message.as_ptr());
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

/// The same in a queue that grows: one message at a time, then as many as others have places, so that
/// segments come and go.
fn push_pop_unbounded(criterion: &mut Criterion) {
    each_of(criterion, "push-pop-unbounded", &SIZES, unbounded, |bencher, mut pair| {
        bencher.iter(|| {
            pair.push();
            pair.pop();
        });
    });
    each_of(criterion, "push-pop-unbounded-backlog", &SIZES, unbounded, |bencher, mut pair| {
        bencher.iter_custom(|iterations| {
            in_batches(iterations, |batch| {
                timed(|| {
                    (0..batch).for_each(|_| pair.push());
                    (0..batch).for_each(|_| pair.pop());
                })
            })
        });
    });
}

/// The same with messages that lie beside the ring.
fn push_pop_by_reference(criterion: &mut Criterion) {
    each_of(criterion, "push-pop-by-reference", &LOAN_SIZES, by_reference, |bencher, mut pair| {
        bencher.iter(|| {
            pair.push();
            pair.pop();
        });
    });
}

/// Nothing is copied: the cost of a message of any size that is written and read in place.
fn loan(criterion: &mut Criterion) {
    each_of(criterion, "loan", &LOAN_SIZES, by_reference, |bencher, mut pair| {
        bencher.iter(|| {
            pair.lend();
            pair.discard();
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

criterion_group!(
    benches,
    push_pop,
    push_pop_unbounded,
    push_pop_by_reference,
    loan,
    push,
    pop,
    pop_empty
);
criterion_main!(benches);
