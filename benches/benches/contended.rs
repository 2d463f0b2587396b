//! What does a message cost from one thread, or process, to another?
//!
//! A producer pushes as fast as it can while a consumer pops as fast as it can; both wait when they
//! must. criterion starts a producer for each sample, which is told through a second queue how many messages to
//! push: until it has pushed one nothing is timed, and then the time of one such order is part of the sample.

use std::env;
use std::hint::black_box;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use shmq_benches::{ROLES, SIZES, one_message, options};
use shmq_engine::{Consumer, Producer, Queue, Role};

/// In the child process: the common part of the two queues' names.
const CHILD: &str = "SHMQ_BENCH_CHILD";

const ORDER: usize = size_of::<u64>();

/// How long a message, or an order, may take before the other side counts as dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pushes as many messages as each order says. An order of 0 is the last.
fn serve(mut orders: Consumer, mut producer: Producer, size: usize) {
    let message = vec![7; size];
    let mut order = [0; ORDER];
    loop {
        orders.pop_timeout(&mut order, PATIENCE).expect("an order");
        let count = u64::from_ne_bytes(order);
        if count == 0 {
            return;
        }
        for _ in 0..count {
            producer.push(black_box(&message)).expect("a message of that size");
        }
    }
}

/// Orders messages and takes them, `iterations` at a time.
fn measure(bencher: &mut criterion::Bencher<'_>, orders: &mut Producer, consumer: &mut Consumer) {
    let mut buffer = vec![0; 2 * SIZES[SIZES.len() - 1]];
    let mut take = |count: u64| {
        let start = Instant::now();
        orders.push(&count.to_ne_bytes()).expect("an order");
        for _ in 0..count {
            consumer.pop_timeout(black_box(&mut buffer), PATIENCE).expect("a message");
        }
        start.elapsed()
    };
    // The producer is there.
    take(1);
    bencher.iter_custom(take);
}

fn end(mut orders: Producer) {
    orders.push(&0_u64.to_ne_bytes()).expect("an order");
}

fn order_options() -> shmq_engine::Options {
    options(ORDER).producers(Role::One).consumers(Role::One)
}

fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    for (roles, producers, consumers) in ROLES {
        for size in SIZES {
            group.throughput(one_message(size));
            group.bench_function(BenchmarkId::new(roles, size), |bencher| {
                let options = options(size).producers(producers).consumers(consumers);
                let queue = options.create_heap().expect("memory");
                let orders = order_options().create_heap().expect("memory");
                thread::scope(|scope| {
                    let served = orders.consumer().expect("a line");
                    let producer = queue.producer().expect("a line");
                    scope.spawn(move || serve(served, producer, size));
                    let mut orders = orders.producer().expect("a line");
                    measure(bencher, &mut orders, &mut queue.consumer().expect("a line"));
                    end(orders);
                });
            });
        }
    }
}

fn processes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("processes");
    for (roles, producers, consumers) in ROLES {
        for size in SIZES {
            group.throughput(one_message(size));
            group.bench_function(BenchmarkId::new(roles, size), |bencher| {
                let name = format!("bench.{}.{roles}.{size}", std::process::id());
                let options = options(size).producers(producers).consumers(consumers);
                let queue = options.create_named(&name).expect("memory");
                let orders = order_options().create_named(&orders_of(&name)).expect("memory");
                let mut producer = Process(spawn(&name));
                let mut orders = orders.producer().expect("a line");
                measure(bencher, &mut orders, &mut queue.consumer().expect("a line"));
                end(orders);
                assert!(producer.0.wait().expect("a child").success());
            });
        }
    }
}

fn orders_of(name: &str) -> String {
    format!("{name}.orders")
}

fn spawn(name: &str) -> Child {
    let own = env::current_exe().expect("this program");
    Command::new(own).env(CHILD, name).spawn().expect("a child")
}

/// Is gone when it is dropped, whatever became of the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// What the child process does.
fn child(name: &str) {
    let queue = Queue::open(name).expect("the parent made it");
    let orders = Queue::open(&orders_of(name)).expect("the parent made it");
    let served = orders.consumer().expect("a line");
    serve(served, queue.producer().expect("a line"), queue.message_max());
}

criterion_group!(benches, threads, processes);

fn main() {
    if let Ok(name) = env::var(CHILD) {
        child(&name);
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
