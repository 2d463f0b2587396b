//! Several messages by one claim, or one take.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::Role;
use shmq_models::{Rig, assert_conserved, explore};

/// A run of two beside a consumer that passes over whatever is not there yet, and takes one at a time:
/// the second message never overtakes the first. At most 2 preemptions.
#[test]
fn a_run_beside_one_who_passes_over() {
    explore("run of 2 || pop x2", Some(2), || {
        let rig = Arc::new(Rig::new(4, 8, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || (0..2).filter_map(|_| rig.pop()).collect::<Vec<_>>())
        };
        assert_eq!(rig.push_run(&mut rig.hand(0), &[1, 2]), 2);
        assert_conserved(&[1, 2], &[consumer.join().unwrap()], &rig.drain());
    });
}

/// Two runs of two beside each other, of which one consumer takes two at once. At most 1 preemption.
#[test]
fn two_runs_beside_one_who_takes_two() {
    explore("run of 2 || run of 2 || pop 2", Some(1), || {
        let rig = Arc::new(Rig::new(8, 16, 2));
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push_run(&mut rig.hand(1), &[17, 18]))
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop_run())
        };
        assert_eq!(rig.push_run(&mut rig.hand(0), &[1, 2]), 2);
        assert_eq!(other.join().unwrap(), 2);
        assert_conserved(&[1, 2, 17, 18], &[consumer.join().unwrap()], &rig.drain());
    });
}

/// Two consumers take at once, one of them two, while a third message comes. At most 2 preemptions.
#[test]
fn two_take_runs() {
    explore("push || pop 2 || pop", Some(2), || {
        let rig = Arc::new(Rig::new(4, 8, 1));
        let mut hand = rig.hand(0);
        assert_eq!(rig.push_run(&mut hand, &[1, 2]), 2);
        let takers = [true, false].map(|run| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || if run { rig.pop_run() } else { rig.pop().into_iter().collect() })
        });
        assert!(rig.push(&mut hand, 3));
        let got: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        assert_conserved(&[1, 2, 3], &got, &rig.drain());
    });
}

/// Runs of exclusive sides, in a ring of two slots that wraps. At most 2 preemptions.
#[test]
fn lone_sides_take_and_put_runs() {
    explore("lone run of 2 x2 || lone pop 2 x2", Some(2), || {
        let rig = Arc::new(Rig::with_roles(2, 2, 1, Role::One, Role::One));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || [rig.pop_run(), rig.pop_run()].concat())
        };
        let mut hand = rig.hand(0);
        let put = rig.push_run(&mut hand, &[1, 2, 3, 4]);
        assert_conserved(&[1, 2, 3, 4][..put], &[consumer.join().unwrap()], &rig.drain());
    });
}
