//! Canary for the model checker itself.
//!
//! Stock loom 0.7.3 forgets a thread's load of an atomic as soon as another
//! thread loads it too (loom issues #166 and #392). Programs that read before
//! they write, such as every ring operation here, then go largely unexplored
//! and broken protocols pass. And once a bound on preemptions is used up, it tries
//! only one thread where another must go on anyway. These tests fail if the models
//! are built against a loom without the fixes in `loom-0.7.3.patch`.

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};

/// Explores `f` and returns the number of executions. The limits are set here
/// so that `LOOM_*` variables cannot shrink the search.
fn explore(f: impl Fn() + Send + Sync + 'static) -> usize {
    let executions = Arc::new(Counter::new(0));
    let count = executions.clone();

    let mut builder = Builder::new();
    builder.preemption_bound = None;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_branches = 1_000;
    builder.checkpoint_file = None;
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        f();
    });

    executions.load(Relaxed)
}

const CAPACITY: usize = 2;

struct Slot {
    seq: AtomicUsize,
    value: UnsafeCell<usize>,
}

/// Vyukov's bounded queue. The positions are private to the one producer and
/// the one consumer, so `seq` is all they share.
struct Ring {
    slots: [Slot; CAPACITY],
    publish: Ordering,
}

// Safety: `value` is only touched by the side that owns the slot according to
// `seq`. loom checks that claim.
unsafe impl Sync for Ring {}

impl Ring {
    fn new(publish: Ordering) -> Ring {
        Ring {
            slots: std::array::from_fn(|i| Slot {
                seq: AtomicUsize::new(i),
                value: UnsafeCell::new(usize::MAX),
            }),
            publish,
        }
    }

    fn try_push(&self, pos: &mut usize, value: usize) -> bool {
        let slot = &self.slots[*pos % CAPACITY];
        if slot.seq.load(Acquire) != *pos {
            return false;
        }
        slot.value.with_mut(|p| unsafe { *p = value });
        slot.seq.store(*pos + 1, self.publish);
        *pos += 1;
        true
    }

    fn try_pop(&self, pos: &mut usize) -> Option<usize> {
        let slot = &self.slots[*pos % CAPACITY];
        if slot.seq.load(Acquire) != *pos + 1 {
            return None;
        }
        let value = slot.value.with(|p| unsafe { *p });
        slot.seq.store(*pos + CAPACITY, Release);
        *pos += 1;
        Some(value)
    }
}

/// Three pushes against three pops. Neither side retries, so every execution
/// is finite.
fn ring_program(publish: Ordering) {
    let ring = Arc::new(Ring::new(publish));

    let producer = {
        let ring = ring.clone();
        thread::spawn(move || {
            let mut pos = 0;
            for _ in 0..3 {
                let next = pos;
                ring.try_push(&mut pos, next);
            }
        })
    };

    // The spawning thread runs first. Here that is the consumer, which finds
    // the ring empty: a search that stops early never sees a value passed.
    let mut pos = 0;
    for _ in 0..3 {
        let expected = pos;
        if let Some(value) = ring.try_pop(&mut pos) {
            assert_eq!(value, expected);
        }
    }

    producer.join().unwrap();
}

#[test]
fn load_then_store_has_all_outcomes() {
    // Bounds: 2 threads, 1 atomic, 1 load and 1 store each, all relaxed; no
    // preemption bound.
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = outcomes.clone();

    let executions = explore(move || {
        let x = Arc::new(AtomicUsize::new(0));
        let x2 = x.clone();

        let other = thread::spawn(move || {
            let read = x2.load(Relaxed);
            x2.store(2, Relaxed);
            read
        });

        let read = x.load(Relaxed);
        x.store(1, Relaxed);
        let other_read = other.join().unwrap();

        let outcome = (read, other_read, x.load(Relaxed));
        seen.lock().unwrap().insert(outcome);
    });

    let outcomes = outcomes.lock().unwrap();
    println!("load then store: {executions} executions, outcomes {outcomes:?}");

    // One thread after the other, or both loads first and then either store
    // last. Coherence of a single atomic allows nothing beyond that.
    let expected = BTreeSet::from([(0, 0, 1), (0, 0, 2), (0, 1, 2), (2, 0, 1)]);
    assert_eq!(*outcomes, expected);
}

#[test]
fn ring_is_explored() {
    // Bounds: 1 producer x 3 try_push, 1 consumer x 3 try_pop, capacity 2; no
    // preemption bound.
    let executions = explore(|| ring_program(Release));
    println!("ring: {executions} executions");
    assert!(executions >= 200, "only {executions} executions");
}

#[test]
fn ring_with_relaxed_publish_is_caught() {
    // Bounds: as in `ring_is_explored`, with the producer's publishing store
    // weakened to relaxed.
    let result = catch_unwind(AssertUnwindSafe(|| explore(|| ring_program(Relaxed))));

    let panic = match result {
        Ok(executions) => panic!("not caught in {executions} executions"),
        Err(panic) => panic,
    };

    // Not just any failure, such as running out of branches.
    let message = panic.downcast_ref::<String>().expect("no panic message");
    assert!(message.contains("Causality violation"), "{message}");
}

#[test]
fn switches_that_are_no_preemption_are_tried_within_any_bound() {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = outcomes.clone();

    let mut builder = Builder::new();
    builder.preemption_bound = Some(0);
    builder.check(move || {
        let word = Arc::new(AtomicUsize::new(0));
        let threads = [1, 2].map(|value| {
            let word = word.clone();
            thread::spawn(move || word.store(value, Relaxed))
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        seen.lock().unwrap().insert(word.load(Relaxed));
    });

    assert_eq!(*outcomes.lock().unwrap(), BTreeSet::from([1, 2]));
}
