//! Claim, publish, take and pass over, between threads.
//!
//! Every consumer passes over as soon as it finds a ticket unpublished: no patience, so that each
//! interleaving of a pass with a publication is explored.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::Role;
use shmq_models::{Rig, assert_conserved, explore};

/// `puts` messages of putter `id` (line `id`); how many found a place.
fn put(rig: &Rig, id: usize, puts: u64) -> Vec<u64> {
    let mut hand = rig.hand(id);
    let values = (0..puts).map(|n| id as u64 * 16 + n);
    values.filter(|&value| rig.push(&mut hand, value)).collect()
}

fn get(rig: &Rig, gets: usize) -> Vec<u64> {
    (0..gets).filter_map(|_| rig.pop()).collect()
}

/// Producers with `puts` each beside consumers with `gets` each, then a drain.
fn conserve(rig: Rig, producers: usize, puts: u64, consumers: usize, gets: usize) {
    let rig = Arc::new(rig);
    let putters: Vec<_> = (1..producers)
        .map(|id| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || put(&rig, id, puts))
        })
        .collect();
    let getters: Vec<_> = (0..consumers)
        .map(|_| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || get(&rig, gets))
        })
        .collect();
    let mut sent = put(&rig, 0, puts);
    for putter in putters {
        sent.extend(putter.join().unwrap());
    }
    let got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
    assert_conserved(&sent, &got, &rig.drain());
}

/// 1 producer x 2, 1 consumer x 2, capacity 1 of 2 slots. At most 3 preemptions.
#[test]
fn one_to_one_capacity_1() {
    explore("1Px2 1Cx2 cap 1", Some(3), || conserve(Rig::new(1, 2, 1), 1, 2, 1, 2));
}

/// 1 producer x 3, 1 consumer x 3, capacity 2 of 2 slots: the ring wraps. At most 2 preemptions.
#[test]
fn one_to_one_wraps() {
    explore("1Px3 1Cx3 cap 2", Some(2), || conserve(Rig::new(2, 2, 1), 1, 3, 1, 3));
}

/// 2 producers x 1, 1 consumer x 2, capacity 1 of 4 slots. At most 2 preemptions.
#[test]
fn two_to_one_capacity_1() {
    explore("2Px1 1Cx2 cap 1", Some(2), || conserve(Rig::new(1, 4, 2), 2, 1, 1, 2));
}

/// 2 producers x 1, 1 consumer x 2, capacity 2 of 4 slots. At most 2 preemptions.
#[test]
fn two_to_one_capacity_2() {
    explore("2Px1 1Cx2 cap 2", Some(2), || conserve(Rig::new(2, 4, 2), 2, 1, 1, 2));
}

/// 1 producer x 2, 2 consumers x 1, capacity 1 of 2 slots. At most 2 preemptions.
#[test]
fn one_to_two_capacity_1() {
    explore("1Px2 2Cx1 cap 1", Some(2), || conserve(Rig::new(1, 2, 1), 1, 2, 2, 1));
}

/// 1 producer x 2, 2 consumers x 1, capacity 2 of 4 slots. At most 1 preemption.
#[test]
fn one_to_two_capacity_2() {
    explore("1Px2 2Cx1 cap 2", Some(1), || conserve(Rig::new(2, 4, 1), 1, 2, 2, 1));
}

/// 2 producers x 1, 2 consumers x 1, capacity 2 of 4 slots. At most 1 preemption.
#[test]
fn two_to_two() {
    explore("2Px1 2Cx1 cap 2", Some(1), || conserve(Rig::new(2, 4, 2), 2, 1, 2, 1));
}

/// The one-producer mode: 1 producer x 3, 2 consumers x 2, 2 slots. At most 2 preemptions.
#[test]
fn a_lone_producer() {
    explore("lone Px3 2Cx2 cap 2", Some(2), || {
        conserve(Rig::with_roles(2, 2, 1, Role::One, Role::Many), 1, 3, 2, 2);
    });
}

/// The one-consumer mode: 2 producers x 1, 1 consumer x 2, 4 slots. At most 2 preemptions.
#[test]
fn a_lone_consumer() {
    explore("2Px1 lone Cx2 cap 1", Some(2), || {
        conserve(Rig::with_roles(1, 4, 2, Role::Many, Role::One), 2, 1, 1, 2);
    });
}

/// One producer x 3 and one consumer x 3 with plain stores only, 2 slots. At most 4 preemptions.
#[test]
fn a_lone_pair() {
    explore("lone Px3 lone Cx3 cap 2", Some(4), || {
        conserve(Rig::with_roles(2, 2, 1, Role::One, Role::One), 1, 3, 1, 3);
    });
}
