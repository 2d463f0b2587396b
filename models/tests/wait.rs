//! Parking and waking. Time stands still in a model: a lost wake-up is a deadlock, and loom says so.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_models::{Rig, assert_conserved, explore};

/// A consumer parks for a message. Unbounded.
#[test]
fn a_parked_consumer_is_woken() {
    explore("park items, 1P 1C", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop_parking())
        };
        assert!(rig.push(&mut rig.hand(0), 1));
        assert_eq!(consumer.join().unwrap(), 1);
    });
}

/// A producer parks for a place. Unbounded.
#[test]
fn a_parked_producer_is_woken() {
    explore("park room, 1P 1C", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        assert!(rig.push(&mut rig.hand(0), 0));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push_parking(&mut rig.hand(0), 1))
        };
        assert_eq!(rig.pop(), Some(0));
        producer.join().unwrap();
        assert_eq!(rig.drain(), [1]);
    });
}

/// Two consumers park for one message each of one producer. At most 2 preemptions.
#[test]
fn two_parked_consumers_are_woken() {
    explore("park items, 1Px2 2C", Some(2), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let rig = Arc::clone(&rig);
                thread::spawn(move || rig.pop_parking())
            })
            .collect();
        let mut hand = rig.hand(0);
        assert!(rig.push(&mut hand, 0));
        assert!(rig.push(&mut hand, 1));
        let got: Vec<_> = consumers.into_iter().map(|c| vec![c.join().unwrap()]).collect();
        assert_conserved(&[0, 1], &got);
    });
}

/// Producer and consumer park for each other through one place. At most 2 preemptions.
#[test]
fn both_sides_park() {
    explore("park both, 1Px2 1Cx2 cap 1", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || vec![rig.pop_parking(), rig.pop_parking()])
        };
        let mut hand = rig.hand(0);
        rig.push_parking(&mut hand, 0);
        rig.push_parking(&mut hand, 1);
        assert_conserved(&[0, 1], &[consumer.join().unwrap()]);
    });
}

/// A producer is killed between its publication and the wake: the sleeper finds the message when its
/// sleep ends by itself, and the next wake-up works as ever. At most 3 preemptions.
#[test]
fn a_killed_waker_costs_one_rest() {
    explore("waker killed || park", Some(3), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop_parking())
        };
        assert!(rig.push_without_waking(&mut rig.hand(0), 1));
        rig.let_time_pass();
        assert_eq!(consumer.join().unwrap(), 1);
    });
}

/// Of two sleepers one may be woken for the only message and killed before it takes it: the other
/// gets it at the latest when its sleep ends. At most 2 preemptions.
#[test]
fn a_killed_sleeper_costs_one_rest() {
    explore("woken killed || park", Some(2), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let doomed = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.park_and_die())
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop_parking())
        };
        assert!(rig.push(&mut rig.hand(0), 1));
        rig.let_time_pass();
        doomed.join().unwrap();
        assert_eq!(consumer.join().unwrap(), 1);
    });
}
