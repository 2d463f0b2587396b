//! Stalled producers: passed over, returning late, and the slots they hold.
//!
//! The stall itself is set up before the threads start (a claim that is not yet published), so that
//! the explored part is what happens when its owner comes back beside others.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::{Claimed, Hand, Outcome, Role};
use shmq_models::{Rig, assert_conserved, explore};

fn finish(rig: &Rig, hand: &mut Hand<'_>, value: u64) {
    assert!(rig.push(hand, value), "there is room for the second try");
}

/// A producer that claimed ticket 0 comes back while a consumer passes it over: its message is got
/// once, at the old place or at a new one. At most 4 preemptions.
#[test]
fn publishing_races_passing() {
    explore("publish || pass", Some(4), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop().into_iter().collect::<Vec<_>>())
        };
        assert!(rig.push(&mut rig.hand(0), 1));
        let got = consumer.join().unwrap();
        assert_conserved(&[1], &[got], &rig.drain());
    });
}

/// A claimed ticket is published, passed over and taken at once, each by another: the request to pass
/// it over must be settled by whoever takes it.
fn published_passed_and_taken(name: &str, take: fn(&Rig) -> Option<u64>) {
    explore(name, Some(3), move || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let claimed = rig.claim(&mut rig.hand(0));
        let stalled = rig.stalled();
        let passer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pass(stalled))
        };
        let taker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || take(&rig).into_iter().collect::<Vec<_>>())
        };
        let (ring, mut hand) = (rig.ring(), rig.hand(0));
        ring.fill(&hand, &claimed, &1_u64.to_ne_bytes());
        if ring.publish(&mut hand, claimed) == Outcome::PassedOver {
            finish(&rig, &mut hand, 1);
        }
        passer.join().unwrap();
        let got = taker.join().unwrap();
        assert_conserved(&[1], &[got], &rig.drain());
    });
}

/// At most 3 preemptions.
#[test]
fn publishing_races_passing_and_taking() {
    published_passed_and_taken("publish || pass || take", |rig| rig.pop_passing(0));
}

/// The same by a taker that stops at whatever is in the way. At most 3 preemptions.
#[test]
fn publishing_races_passing_and_taking_plainly() {
    published_passed_and_taken("publish || pass || plain take", Rig::pop_plain);
}

/// Two consumers pass over one stalled ticket while its producer comes back. At most 2 preemptions.
#[test]
fn two_pass_at_once() {
    explore("publish || pass || pass", Some(2), || {
        let rig = Arc::new(Rig::new(2, 4, 1));
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let rig = Arc::clone(&rig);
                thread::spawn(move || rig.pop().into_iter().collect::<Vec<_>>())
            })
            .collect();
        assert!(rig.push(&mut rig.hand(0), 1));
        let got: Vec<_> = consumers.into_iter().map(|c| c.join().unwrap()).collect();
        assert_conserved(&[1], &got, &rig.drain());
    });
}

/// Ticket 0 was passed over and its producer returns, while another producer comes round to the
/// same slot: one of 2 slots, capacity 1. At most 2 preemptions.
#[test]
fn a_late_writer_beside_the_next_lap() {
    explore("late writer || next lap", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 2));
        {
            let mut hand = rig.hand(1);
            // Ticket 0: claimed and passed over; its producer is "stopped" here.
            let _stopped = rig.claim(&mut hand);
            assert_eq!(rig.pop(), None);
            // Ticket 1, in the other slot, is put and taken: the next ticket falls on slot 0.
            let mut other = rig.hand(0);
            assert!(rig.push(&mut other, 0));
            assert_eq!(rig.pop(), Some(0));
            // The announcement of line 1 stands; the thread below goes on from the claim.
        }
        let late = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let ring = rig.ring();
                let mut hand = rig.hand(1);
                let claimed = Claimed::resumed(0);
                ring.fill(&hand, &claimed, &16_u64.to_ne_bytes());
                assert_eq!(ring.publish(&mut hand, claimed), Outcome::PassedOver);
            })
        };
        let mut hand = rig.hand(0);
        let put = rig.push(&mut hand, 1);
        late.join().unwrap();
        let sent: Vec<_> = put.then_some(1).into_iter().collect();
        assert_conserved(&sent, &[], &rig.drain());
        // Nothing is left resting: the slots serve again, and attention is quiet.
        for value in 2..6 {
            finish(&rig, &mut hand, value);
            assert_eq!(rig.drain(), [value]);
        }
        assert!(rig.ring().is_quiet());
    });
}

/// Two producers stalled in one slot, a lap apart (the second found it resting), return at once:
/// whoever is last releases it. At most 2 preemptions.
#[test]
fn the_last_of_two_late_writers_releases() {
    explore("two late writers", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 3));
        let ring = rig.ring();
        // Ticket 0 by line 1: claimed, passed over.
        let _stopped = rig.claim(&mut rig.hand(1));
        assert_eq!(rig.pop(), None);
        // Ticket 1 is put and taken by line 0.
        let mut hand = rig.hand(0);
        assert!(rig.push(&mut hand, 0));
        assert_eq!(rig.pop(), Some(0));
        // Ticket 2 by line 2 is claimed and stopped before it looks at the mark; consumers pass it
        // over, for its slot rests.
        let _stopped = ring.claim_without_looking(&mut rig.hand(2));
        rig.stalled();
        assert_eq!(rig.pop(), None);
        let late = [(1, 0), (2, 2)].map(|(line, ticket)| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let (ring, mut hand) = (rig.ring(), rig.hand(line));
                let claimed = Claimed::resumed(ticket);
                if line == 1 {
                    assert_eq!(ring.publish(&mut hand, claimed), Outcome::PassedOver);
                } else {
                    assert_eq!(ring.look(&mut hand, claimed), None);
                }
            })
        });
        for thread in late {
            thread.join().unwrap();
        }
        for value in 2..6 {
            finish(&rig, &mut hand, value);
            assert_eq!(rig.drain(), [value]);
        }
        assert!(rig.ring().is_quiet());
    });
}

/// A passer that comes late, after its ticket was taken and the slot used again, decides nothing:
/// it holds what it saw at ticket 0 while a producer and a consumer go round. At most 2 preemptions.
#[test]
fn a_late_passer_changes_nothing() {
    explore("late passer", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 1));
        let ring = rig.ring();
        let mut hand = rig.hand(0);
        let claimed = rig.claim(&mut hand);
        let stalled = rig.stalled();
        ring.fill(&hand, &claimed, &0_u64.to_ne_bytes());
        assert!(matches!(ring.publish(&mut hand, claimed), Outcome::Kept { .. }));
        let passer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pass(stalled))
        };
        let mut got = vec![rig.pop_passing(0).unwrap()];
        for value in 1..4 {
            finish(&rig, &mut hand, value);
            got.extend(rig.pop_passing(0));
        }
        passer.join().unwrap();
        got.extend(rig.drain());
        assert_conserved(&[0, 1, 2, 3], &[got], &[]);
        for value in 4..8 {
            finish(&rig, &mut hand, value);
            assert_eq!(rig.drain(), [value]);
        }
        assert!(rig.ring().is_quiet());
    });
}

/// Attention is being quieted by a producer that was passed over while a consumer passes over
/// another. At most 2 preemptions.
#[test]
fn quieting_races_a_new_pass() {
    explore("quiet || pass", Some(2), || {
        let rig = Arc::new(Rig::new(2, 4, 2));
        let _stopped = rig.claim(&mut rig.hand(1));
        assert_eq!(rig.pop(), None);
        let late = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let claimed = Claimed::resumed(0);
                let outcome = rig.ring().publish(&mut rig.hand(1), claimed);
                assert_eq!(outcome, Outcome::PassedOver);
            })
        };
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop().into_iter().collect::<Vec<_>>())
        };
        assert!(rig.push(&mut rig.hand(0), 1));
        late.join().unwrap();
        let got = consumer.join().unwrap();
        assert_conserved(&[1], &[got], &rig.drain());
    });
}

/// With one consumer, only it passes over, and `head` is a plain store. At most 3
/// preemptions.
#[test]
fn a_lone_consumer_passes_over() {
    explore("publish || pass, lone C", Some(3), || {
        let rig = Arc::new(Rig::with_roles(1, 2, 1, Role::Many, Role::One));
        let consumer = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || (0..2).filter_map(|_| rig.pop()).collect::<Vec<_>>())
        };
        assert!(rig.push(&mut rig.hand(0), 1));
        let got = consumer.join().unwrap();
        assert_conserved(&[1], &[got], &rig.drain());
    });
}
