//! Takes in one straight line, which stop at whatever is in the way; `pass.rs` has one more. (Single puts into
//! slots begin as such a line, in all models.)

#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::thread;
use shmq_engine::ring::{Pushed, Role};
use shmq_models::{Rig, assert_conserved, explore};

/// Two messages, of which one taker takes plainly and another as it comes, while a third comes into a slot
/// that is used again. At most 3 preemptions.
#[test]
fn plain_takes_beside_others() {
    explore("push || plain take || take, cap 2", Some(3), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let mut hand = rig.hand(0);
        assert!(rig.push(&mut hand, 1) && rig.push(&mut hand, 2));
        let takers = [true, false].map(|plain| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let took = if plain { rig.pop_plain() } else { rig.pop() };
                took.into_iter().collect::<Vec<_>>()
            })
        });
        let mut put = vec![1, 2];
        put.extend(rig.push(&mut hand, 3).then_some(3));
        let got: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        assert_conserved(&put, &got, &rig.drain());
    });
}

/// Both sides alone, in a ring of two slots that wraps. At most 4 preemptions.
#[test]
fn plain_takes_of_a_lone_consumer() {
    explore("lone Px3 || lone plain Cx3", Some(4), || {
        let rig = Arc::new(Rig::with_roles(2, 2, 1, Role::One, Role::One));
        let taker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || (0..3).filter_map(|_| rig.pop_plain()).collect::<Vec<_>>())
        };
        let mut hand = rig.hand(0);
        let put: Vec<_> = (0..3).filter(|&value| rig.push(&mut hand, value)).collect();
        assert_conserved(&put, &[taker.join().unwrap()], &rig.drain());
    });
}

/// Who knows that a message was put and finds the queue plainly empty: another has taken it. Unbounded.
#[test]
fn a_plainly_empty_queue_has_been_emptied() {
    explore("put, tell || plain take || told: plainly empty?", None, || {
        let (rig, told) = (Arc::new(Rig::new(1, 2, 1)), Arc::new(AtomicBool::new(false)));
        let taker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop_plain())
        };
        let producer = {
            let (rig, told) = (Arc::clone(&rig), Arc::clone(&told));
            thread::spawn(move || {
                assert!(rig.push(&mut rig.hand(0), 7));
                told.store(true, Release);
            })
        };
        let is_emptied = told.load(Acquire) && rig.ring().is_plainly_empty();
        producer.join().unwrap();
        let took = taker.join().unwrap();
        assert!(!is_emptied || took == Some(7), "a message was overlooked");
        assert_eq!(rig.ring().is_plainly_empty(), took.is_some());
    });
}

/// A producer parks for the place that a plain take makes. Unbounded.
#[test]
fn a_plain_take_wakes_who_waits_for_a_place() {
    explore("park room || plain take", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        assert!(rig.push(&mut rig.hand(0), 0));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push_parking(&mut rig.hand(0), 1))
        };
        assert_eq!(rig.pop_plain(), Some(0));
        producer.join().unwrap();
        assert_eq!(rig.drain(), [1]);
    });
}

/// A put, a plain take and a shutdown: what was put is got, and nothing comes after the end. At most 3
/// preemptions.
#[test]
fn a_plain_take_beside_a_shutdown() {
    explore("put || plain take, take all || shut", Some(3), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || matches!(rig.offer(&mut rig.hand(0), 1), Pushed::Done { .. }))
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let first = rig.pop_plain();
                let (rest, ended) = rig.take_all();
                (first.into_iter().chain(rest).collect::<Vec<_>>(), ended)
            })
        };
        rig.ring().shut();
        let put = producer.join().unwrap();
        let (mut got, ended) = consumer.join().unwrap();
        let (late, at_end) = rig.take_all();
        assert!(at_end && (late.is_empty() || !ended), "{late:?} came after the end");
        got.extend(late);
        assert_eq!(got, if put { vec![1] } else { Vec::new() });
    });
}

/// What a lone producer has published counts, also if it is killed before it moves `tail`. Unbounded.
#[test]
fn what_is_published_counts() {
    explore("lone P publishes || len", None, || {
        let rig = Arc::new(Rig::with_roles(2, 2, 1, Role::One, Role::Many));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.ring().publish_alone_only(&rig.hand(0), &1_u64.to_ne_bytes()))
        };
        assert!(rig.ring().len() <= 1);
        producer.join().unwrap();
        assert_eq!(rig.ring().len(), 1);
        assert_eq!(rig.pop_plain(), Some(1));
        assert_eq!(rig.ring().len(), 0);
    });
}
