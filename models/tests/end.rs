//! Shutdown beside puts and gets: a put that succeeded is got, one that failed is not, and after somebody
//! was told that nothing more will come, nothing comes.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::{Claimed, Outcome, Pushed, Role};
use shmq_models::{Land, Rig, explore};

/// Each of `tried` was got exactly if it was put; nothing was got after an end.
fn assert_ended(rig: &Rig, tried: &[(u64, bool)], got: Vec<u64>, ended: bool) {
    // What a lone producer published after the end may lie at the head.
    assert!(!ended || rig.ring().is_empty(), "not empty at its end");
    let (rest, at_end) = rig.take_all();
    assert!(at_end, "the end is not found");
    assert!(!ended || rest.is_empty(), "{rest:?} came after the end");
    let mut all = [got, rest].concat();
    all.sort_unstable();
    let put: Vec<u64> = tried.iter().filter(|(_, put)| *put).map(|(value, _)| *value).collect();
    assert_eq!(all, put, "of {tried:?}");
    assert_eq!(rig.offer(&mut rig.hand(0), 9), Pushed::Shut);
    assert_eq!(rig.ring().len(), 0);
}

fn is_put(pushed: &Pushed) -> bool {
    match pushed {
        Pushed::Done { .. } => true,
        Pushed::Full | Pushed::Shut => false,
        Pushed::Elsewhere { .. } => panic!("a bounded ring has no segments"),
    }
}

/// One puts two messages, one takes all there is, one shuts down.
fn beside(name: &str, bound: Option<usize>, roles: (Role, Role), capacity: u64, slots: u64) {
    explore(name, bound, move || {
        let rig = Arc::new(Rig::with_roles(capacity, slots, 1, roles.0, roles.1));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let mut hand = rig.hand(0);
                [0, 1].map(|value| (value, is_put(&rig.offer(&mut hand, value))))
            })
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.take_all())
        };
        rig.ring().shut();
        let tried = producer.join().unwrap();
        let (got, ended) = consumer.join().unwrap();
        assert_ended(&rig, &tried, got, ended);
    });
}

/// At most 2 preemptions.
#[test]
fn shutdown_beside_a_put_and_a_get() {
    beside("1Px2 || 1C || shut", Some(2), (Role::Many, Role::Many), 2, 4);
}

/// The slots are used again. At most 2 preemptions.
#[test]
fn shutdown_beside_a_put_and_a_get_of_one_place() {
    beside("1Px2 || 1C || shut, cap 1", Some(2), (Role::Many, Role::Many), 1, 2);
}

/// A lone producer. At most 3 preemptions.
#[test]
fn shutdown_beside_a_lone_producer() {
    beside("One Px2 || C || shut", Some(3), (Role::One, Role::Many), 2, 2);
}

/// Both alone. At most 3 preemptions.
#[test]
fn shutdown_between_two_alone() {
    beside("One Px2 || One C || shut", Some(3), (Role::One, Role::One), 2, 2);
}

/// Two consumers, of which one may find the end while the other takes; the queue has been shut. At most 2
/// preemptions.
fn two_consumers(name: &str, producers: Role) {
    explore(name, Some(2), move || {
        let rig = Arc::new(Rig::with_roles(2, 4, 1, producers, Role::Many));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let put = is_put(&rig.offer(&mut rig.hand(0), 0));
                rig.ring().shut();
                put
            })
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.take_all())
        };
        let (mut got, ended) = rig.take_all();
        let tried = [(0, producer.join().unwrap())];
        let (others, other_ended) = consumer.join().unwrap();
        got.extend(others);
        assert_ended(&rig, &tried, got, ended || other_ended);
    });
}

#[test]
fn two_consumers_look_for_the_end() {
    two_consumers("1P shuts || 2C", Role::Many);
}

#[test]
fn two_consumers_look_for_the_end_of_a_lone_producer() {
    two_consumers("One P shuts || 2C", Role::One);
}

/// Two shut down at once, beside a put and a get. At most 1 preemption.
#[test]
fn two_shut_down() {
    explore("1P || 1C || shut || shut", Some(1), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || is_put(&rig.offer(&mut rig.hand(0), 0)))
        };
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.ring().shut())
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.take_all())
        };
        rig.ring().shut();
        other.join().unwrap();
        let tried = [(0, producer.join().unwrap())];
        let (got, ended) = consumer.join().unwrap();
        assert_ended(&rig, &tried, got, ended);
    });
}

/// A producer stops between claim and publication; its ticket is passed over on the way to the end, and
/// then it goes on. At most 3 preemptions.
#[test]
fn a_stalled_put_ends_too_late() {
    explore("stalled P || pass, shut, end", Some(3), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || is_put(&rig.offer(&mut rig.hand(0), 0)))
        };
        rig.ring().shut();
        let (got, ended) = rig.take_all();
        assert!(ended);
        let tried = [(0, producer.join().unwrap())];
        assert_ended(&rig, &tried, got, true);
    });
}

/// A consumer finds the queue empty. Then a producer stops behind its publication, another consumer sees that
/// message, and the queue open, and who shuts it down is killed half way. The first looks for the end while
/// the other takes the message: that look is void. Unbounded.
#[test]
fn a_message_is_taken_during_a_look_for_the_end() {
    explore("published P || C, look for the end", None, || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let ring = rig.ring();
        let mut hand = rig.hand(0);
        let (claimed, resumed) = (rig.claim(&mut hand), Claimed::resumed(0));
        ring.fill(&hand, &claimed, &0_u64.to_ne_bytes());
        ring.publish_only(&hand, claimed);
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop())
        };
        ring.shut_only();
        let look = ring.look_for_end().unwrap().unwrap();
        let mut got: Vec<u64> = rig.pop().into_iter().collect();
        let ended = got.is_empty() && ring.ends(&look);
        got.extend(consumer.join().unwrap());
        let kept = matches!(ring.publish(&mut hand, resumed), Outcome::Kept { .. });
        assert_ended(&rig, &[(0, kept)], got, ended);
    });
}

/// Some at once. At most 2 preemptions.
fn runs(name: &str, producers: Role) {
    explore(name, Some(2), move || {
        let rig = Arc::new(Rig::with_roles(2, 4, 1, producers, Role::Many));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.push_run(&mut rig.hand(0), &[0, 1]))
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.take_all())
        };
        rig.ring().shut();
        let put = producer.join().unwrap();
        let tried = [(0, put >= 1), (1, put >= 2)];
        let (got, ended) = consumer.join().unwrap();
        assert_ended(&rig, &tried, got, ended);
    });
}

#[test]
fn shutdown_beside_a_run() {
    runs("P run of 2 || C || shut", Role::Many);
}

#[test]
fn shutdown_beside_a_run_of_a_lone_producer() {
    runs("One P run of 2 || C || shut", Role::One);
}

/// A growing queue, across the end of a segment. At most 2 preemptions.
fn growing(name: &str, producers: Role) {
    explore(name, Some(2), move || {
        let land = Arc::new(Land::growing_for(1, 3, 0, 2, producers));
        let producer = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(0, |worker| {
                    if producers == Role::One {
                        worker.begin_alone();
                    }
                    [0, 1].map(|value| (value, worker.push(value)))
                })
            })
        };
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(1, |worker| worker.take_all()))
        };
        land.ring().shut();
        let tried = producer.join().unwrap();
        let (mut got, ended) = consumer.join().unwrap();
        let (rest, at_end) = land.work(1, |worker| worker.take_all());
        assert!(at_end, "the end is not found");
        assert!(!ended || rest.is_empty(), "{rest:?} came after the end");
        got.extend(rest);
        let put: Vec<u64> = tried.iter().filter(|(_, put)| *put).map(|(value, _)| *value).collect();
        assert_eq!(got, put, "of {tried:?}");
    });
}

#[test]
fn shutdown_of_a_growing_queue() {
    growing("growing, 1Px2 || 1C || shut", Role::Many);
}

#[test]
fn shutdown_of_a_growing_queue_of_a_lone_producer() {
    growing("growing, One Px2 || 1C || shut", Role::One);
}

/// Who sleeps for a message wakes. Unbounded.
#[test]
fn a_parked_consumer_is_told() {
    explore("park items || shut", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.next_parking())
        };
        rig.shut();
        assert_eq!(consumer.join().unwrap(), None);
    });
}

/// Who sleeps for a place wakes. Unbounded.
#[test]
fn a_parked_producer_is_told() {
    explore("park room || shut", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        assert!(rig.push(&mut rig.hand(0), 0));
        let producer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.offer_parking(&mut rig.hand(0), 1))
        };
        rig.shut();
        assert!(!producer.join().unwrap());
        assert_eq!(rig.take_all(), (vec![0], true));
    });
}

/// Who shuts down is killed before it wakes anybody: sleepers find the end when their sleep ends.
#[test]
fn a_killed_closer_costs_one_rest() {
    explore("park items || shut, killed", None, || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.next_parking())
        };
        rig.shut_and_die();
        rig.let_time_pass();
        assert_eq!(consumer.join().unwrap(), None);
    });
}
