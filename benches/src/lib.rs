//! What the benchmarks share.
//!
//! `benches/engine.rs`: what does one operation cost when nobody else is there?
//! `benches/contended.rs`: what does a message cost from one thread, or process, to another?

use criterion::Throughput;
use shmq_engine::{Options, Role};

/// Places in every queue that is measured.
pub const CAPACITY: usize = 1024;

/// Message sizes, in bytes: one word; as many as fit a cache line with the slot's head; sixteen
/// cache lines and a bit.
pub const SIZES: [usize; 3] = [8, 48, 1024];

/// Who may push and pop, with a name for reports.
pub const ROLES: [(&str, Role, Role); 2] =
    [("many-many", Role::Many, Role::Many), ("one-one", Role::One, Role::One)];

/// Sizes of messages that go by reference, in bytes: collected in a block with others, and alone.
pub const LOAN_SIZES: [usize; 2] = [1 << 10, 1 << 20];

/// A queue for messages of `size` bytes, in their slots.
pub fn options(size: usize) -> Options {
    Options::new(CAPACITY).message_max(size)
}

/// The same without a bound.
pub fn unbounded(size: usize) -> Options {
    Options::unbounded().message_max(size)
}

/// A queue whose messages lie beside the ring.
pub fn by_reference(size: usize) -> Options {
    Options::new(CAPACITY).message_max(size).inline(48)
}

/// One message of `size` bytes an iteration.
pub fn one_message(size: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: 1, bytes: size as u64 }
}
