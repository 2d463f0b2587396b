//! Parking and waking. Time stands still in a model: a lost wake-up is a deadlock, and loom says so.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_models::{Land, Rig, assert_conserved, explore};

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

/// Two consumers park while two messages are put.
fn wake_two(put: impl FnOnce(&Rig)) {
    let rig = Arc::new(Rig::new(2, 4, 1));
    let consumers = [(); 2].map(|()| {
        let rig = Arc::clone(&rig);
        thread::spawn(move || rig.pop_parking())
    });
    put(&rig);
    let got = consumers.map(|consumer| vec![consumer.join().unwrap()]);
    assert_conserved(&[0, 1], &got, &[]);
}

/// Two consumers park for one message each of one producer. At most 2 preemptions.
#[test]
fn two_parked_consumers_are_woken() {
    explore("park items, 1Px2 2C", Some(2), || {
        wake_two(|rig| {
            let mut hand = rig.hand(0);
            assert!(rig.push(&mut hand, 0));
            assert!(rig.push(&mut hand, 1));
        });
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
        assert_conserved(&[0, 1], &[consumer.join().unwrap()], &[]);
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

/// Two consumers park; a run of two wakes one of them, who wakes the other. At most 2 preemptions.
#[test]
fn a_run_wakes_all_that_it_is_for() {
    explore("run of 2 || park items x2", Some(2), || {
        wake_two(|rig| assert_eq!(rig.push_run(&mut rig.hand(0), &[0, 1]), 2));
    });
}

/// Two producers park; two messages taken at once wake one of them, who wakes the other. At most 1 preemption.
#[test]
fn a_taken_run_wakes_all_that_it_has_made_room_for() {
    explore("pop 2 || park room x2", Some(1), || {
        let rig = Arc::new(Rig::new(2, 4, 3));
        assert_eq!(rig.push_run(&mut rig.hand(0), &[0, 1]), 2);
        let producers: Vec<_> = (1..3)
            .map(|line| {
                let rig = Arc::clone(&rig);
                thread::spawn(move || rig.push_parking(&mut rig.hand(line), 16 * line as u64))
            })
            .collect();
        let got = rig.pop_run();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        assert_conserved(&[0, 1, 16, 32], &[got], &rig.drain());
    });
}

/// A ticket that was claimed by somebody who was killed has the only place. Who passes it over wakes the producer
/// that waits for a place, though it gets nothing. At most 3 preemptions.
#[test]
fn passing_over_wakes_who_waits_for_room() {
    explore("pass || park room", Some(3), || {
        let rig = Arc::new(Rig::new(1, 2, 2));
        rig.claim(&mut rig.hand(0));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push_parking(&mut rig.hand(1), 16))
        };
        let got = rig.pop();
        producer.join().unwrap();
        assert_conserved(&[16], &[got.into_iter().collect()], &rig.drain());
    });
}

/// A consumer parks for a message outside the slots. At most 3 preemptions.
#[test]
fn a_reference_wakes() {
    explore("refer || park items", Some(3), || {
        let land = Arc::new(Land::referring((1, 2), (2, 1), 1, 2));
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(1, |worker| worker.pop_parking()))
        };
        assert!(land.work(0, |worker| worker.push_laid(1)));
        assert_eq!(consumer.join().unwrap(), 1);
        land.assert_nothing_leaks();
    });
}

/// A producer parks with a message outside the slots, for the place of another. At most 3 preemptions.
#[test]
fn a_taken_reference_wakes() {
    explore("pop reference || park room", Some(3), || {
        let land = Arc::new(Land::referring((1, 2), (2, 1), 1, 3));
        assert!(land.work(0, |worker| worker.push_laid(0)));
        let producer = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(1, |worker| {
                    let block = worker.lay(16).expect("there are two");
                    worker.refer_parking(block, 0);
                    worker.retire(block);
                });
            })
        };
        assert_eq!(land.work(2, |worker| worker.pop()), Some(0));
        producer.join().unwrap();
        assert_eq!(land.drain(2), [16]);
        land.assert_nothing_leaks();
    });
}

/// A consumer parks at the end of a segment, and the message comes in the next. At most 3 preemptions.
#[test]
fn a_message_in_a_new_segment_wakes() {
    explore("grow || park items", Some(3), || {
        let land = Arc::new(Land::growing(1, 3, 1, 2));
        assert!(land.work(0, |worker| worker.push(0)));
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(1, |worker| [worker.pop_parking(), worker.pop_parking()])
            })
        };
        assert!(land.work(0, |worker| worker.push(1)));
        assert_eq!(consumer.join().unwrap(), [0, 1]);
        land.assert_nothing_leaks();
    });
}
