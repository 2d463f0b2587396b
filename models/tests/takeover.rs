//! Dead participants: what they held is given back beside whoever goes on, and whoever gives it back
//! may die as well.
//!
//! A participant that died is one whose steps just end; its death is known here, as in the engine,
//! before anybody vacates its line.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_models::{Rig, assert_conserved, explore};

/// A ring of one place in two slots. Line 1 claimed ticket 0 and died; it was passed over, and slot 0
/// rests. Ticket 1 has been used, so the next ticket falls on slot 0.
fn with_a_dead_writer(lines: usize) -> Rig {
    let rig = Rig::new(1, 2, lines);
    let _dead = rig.claim(&mut rig.hand(1));
    assert_eq!(rig.pop(), None);
    assert!(rig.push(&mut rig.hand(0), 0));
    assert_eq!(rig.pop(), Some(0));
    rig
}

/// All slots serve again, and nobody needs to look at marks.
fn assert_whole(rig: &Rig, line: usize) {
    let mut hand = rig.hand(line);
    for value in 8..13 {
        assert!(rig.push(&mut hand, value));
        assert_eq!(rig.drain(), [value]);
    }
    assert!(rig.ring().is_quiet());
}

/// `recovery` beside a producer whose ticket falls on the resting slot.
fn beside_the_next_lap(name: &str, recovery: fn(&Rig)) {
    explore(name, Some(3), move || {
        let rig = Arc::new(with_a_dead_writer(2));
        let recovery = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || recovery(&rig))
        };
        let put = rig.push(&mut rig.hand(0), 1);
        recovery.join().unwrap();
        let sent: Vec<_> = put.then_some(1).into_iter().collect();
        assert_conserved(&sent, &[], &rig.drain());
        // Only if the first heir died as well.
        rig.recover_from_heir(1);
        assert_whole(&rig, 0);
    });
}

/// At most 3 preemptions.
#[test]
fn recovery_beside_the_next_lap() {
    beside_the_next_lap("recover || next lap", |rig| rig.recover(1));
}

/// The heir is killed after settling the line, which it never vacates: the slot is made usable by
/// others in passing. At most 3 preemptions.
#[test]
fn the_heir_is_killed_half_way() {
    beside_the_next_lap("heir killed half way || next lap", |rig| rig.settle_and_die(1));
}

/// The heir is killed at once, and both who recover from its death inherit from it beside the next lap.
/// At most 2 preemptions.
#[test]
fn two_heirs_of_an_heir() {
    explore("heir of an heir || same || next lap", Some(2), || {
        let rig = Arc::new(with_a_dead_writer(2));
        assert!(rig.inherit_and_die(1));
        let recoveries = [(); 2].map(|()| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.recover_from_heir(1))
        });
        let put = rig.push(&mut rig.hand(0), 1);
        for recovery in recoveries {
            recovery.join().unwrap();
        }
        let sent: Vec<_> = put.then_some(1).into_iter().collect();
        assert_conserved(&sent, &[], &rig.drain());
        assert_whole(&rig, 0);
    });
}

/// Two recover at once, and a third participant takes the line as soon as it is vacant. At most 2
/// preemptions.
#[test]
fn two_recover_while_another_joins() {
    explore("recover || recover || join", Some(2), || {
        let rig = Arc::new(with_a_dead_writer(2));
        let recoveries = [(); 2].map(|()| {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.recover(1))
        });
        let put = rig.join(1).is_some_and(|mut hand| rig.push(&mut hand, 1));
        for recovery in recoveries {
            recovery.join().unwrap();
        }
        let sent: Vec<_> = put.then_some(1).into_iter().collect();
        assert_conserved(&sent, &[], &rig.drain());
        assert_whole(&rig, 0);
    });
}

/// The dead one had announced the ticket that another claimed: that one comes back late, while the
/// dead one's line is vacated. Its slot is released once, by either. At most 2 preemptions.
#[test]
fn recovery_beside_a_late_writer_of_the_same_ticket() {
    explore("recover || late writer", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 3));
        let ring = rig.ring();
        ring.announce_only(&mut rig.hand(1));
        let claimed = rig.claim(&mut rig.hand(2));
        assert_eq!(rig.pop(), None);
        let recovery = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.recover(1))
        };
        let mut hand = rig.hand(2);
        ring.fill(&hand, &claimed, &32_u64.to_ne_bytes());
        let outcome = ring.publish(&mut hand, claimed);
        assert_eq!(outcome, shmq_engine::ring::Outcome::PassedOver);
        recovery.join().unwrap();
        assert_whole(&rig, 0);
    });
}

/// A producer died between its publication and its withdrawal: its message is got once, while its
/// line is vacated and another producer goes on. At most 2 preemptions.
#[test]
fn recovery_beside_the_taking_of_the_last_message() {
    explore("recover || take last", Some(2), || {
        let rig = Arc::new(Rig::new(1, 2, 2));
        let ring = rig.ring();
        let mut hand = rig.hand(1);
        let claimed = rig.claim(&mut hand);
        ring.fill(&hand, &claimed, &16_u64.to_ne_bytes());
        ring.publish_only(&hand, claimed);
        let recovery = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.recover(1))
        };
        let taker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.pop().into_iter().collect::<Vec<_>>())
        };
        let put = rig.push(&mut rig.hand(0), 1);
        recovery.join().unwrap();
        let got = taker.join().unwrap();
        let sent: Vec<_> = [16].into_iter().chain(put.then_some(1)).collect();
        assert_conserved(&sent, &[got], &rig.drain());
        assert_whole(&rig, 0);
    });
}

/// A ticket that was passed over in the middle of the queue takes no place, however long ago its
/// cause ended; nor does it count in the length. At most 2 preemptions.
#[test]
fn a_burned_ticket_takes_no_place() {
    explore("burned ticket || length", Some(2), || {
        let rig = Arc::new(Rig::new(2, 4, 2));
        let _dead = rig.claim(&mut rig.hand(1));
        assert_eq!(rig.pop(), None);
        let mut hand = rig.hand(0);
        for value in 0..2 {
            assert!(rig.push(&mut hand, value));
            assert_eq!(rig.pop(), Some(value));
        }
        // Ticket 3 holds a message; ticket 4 falls on the slot that rests.
        assert!(rig.push(&mut hand, 3));
        let asker = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.ring().len())
        };
        assert!(rig.push(&mut hand, 4), "one message and a ticket passed over: not full");
        assert!((1..=2).contains(&asker.join().unwrap()));
        assert_eq!(rig.ring().len(), 2);
        assert!(!rig.push(&mut hand, 5), "two messages: full");
        assert_eq!(rig.pop(), Some(3));
        assert_eq!(rig.ring().len(), 1, "the ticket that was passed over is still before it");
        rig.recover(1);
        assert_eq!(rig.drain(), [4]);
        assert_whole(&rig, 0);
    });
}
