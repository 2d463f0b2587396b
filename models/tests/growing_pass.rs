//! A growing ring: producers that stall, are passed over, and come back late; passers that die.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::{Claimed, Outcome};
use shmq_models::{Land, assert_conserved, explore};

/// `value` by the producer of ticket `ticket`, in `segment`, who comes back: at the old place, or, if it
/// was passed over, at a new one.
fn come_back(land: &Land, line: usize, (segment, ticket): (u64, u64), value: u64) {
    land.work(line, |worker| {
        worker.resume(segment);
        let claimed = Claimed::resumed(ticket);
        worker.ring.fill(&worker.hand, &claimed, &value.to_ne_bytes());
        if worker.ring.publish(&mut worker.hand, claimed) == Outcome::PassedOver {
            assert!(worker.push(value), "there is room for the second try");
        }
    });
}

fn pop(land: &Land, line: usize) -> Vec<u64> {
    land.work(line, |worker| worker.pop().into_iter().collect())
}

/// Ticket 0 was claimed in line 1, and passed over in line 3.
fn with_a_passed_writer(slots: u64) -> Land {
    let land = Land::growing(slots, 4, 0, 4);
    let _stopped = land.work(1, |worker| worker.claim());
    assert_eq!(pop(&land, 3), []);
    land
}

/// A producer that claimed ticket 0 comes back while a consumer passes it over. At most 3 preemptions.
#[test]
fn publishing_races_passing() {
    explore("grow: publish || pass", Some(3), || {
        let land = Arc::new(Land::growing(2, 3, 0, 2));
        let _stopped = land.work(0, |worker| worker.claim());
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, 1))
        };
        come_back(&land, 0, (0, 0), 1);
        let got = consumer.join().unwrap();
        assert_conserved(&[1], &[got], &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// The same with two consumers. At most 2 preemptions.
#[test]
fn two_pass_at_once() {
    explore("grow: publish || pass || pass", Some(2), || {
        let land = Arc::new(Land::growing(2, 3, 0, 3));
        let _stopped = land.work(0, |worker| worker.claim());
        let consumers = [1, 2].map(|line| {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, line))
        });
        come_back(&land, 0, (0, 0), 1);
        let got: Vec<_> = consumers.into_iter().map(|c| c.join().unwrap()).collect();
        assert_conserved(&[1], &got, &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// A claimed ticket is published, passed over and taken at once, each by another. At most 2 preemptions.
#[test]
fn publishing_races_passing_and_taking() {
    explore("grow: publish || pass || take", Some(2), || {
        let land = Arc::new(Land::growing(2, 3, 0, 3));
        let _stopped = land.work(0, |worker| worker.claim());
        let passer = {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, 1))
        };
        let taker = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(2, |w| w.pop_passing(0)).into_iter().collect())
        };
        come_back(&land, 0, (0, 0), 1);
        let got = [passer, taker].map(|thread| thread.join().unwrap());
        assert_conserved(&[1], &[got.concat()], &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// Ticket 0 was passed over; its producer comes back beside another and a consumer, in segments of
/// `slots`.
fn a_late_writer(name: &str, slots: u64) {
    explore(name, Some(2), move || {
        let land = Arc::new(with_a_passed_writer(slots));
        let late = {
            let land = Arc::clone(&land);
            thread::spawn(move || come_back(&land, 1, (0, 0), 16))
        };
        assert!(land.work(0, |worker| worker.push(1)));
        let got = pop(&land, 3);
        late.join().unwrap();
        assert_conserved(&[1, 16], &[got], &land.drain(3));
        land.assert_nothing_leaks();
    });
}

/// At most 2 preemptions.
#[test]
fn a_late_writer_in_another_segment() {
    a_late_writer("grow: late writer || next segment", 1);
}

/// At most 2 preemptions.
#[test]
fn a_late_writer_in_the_same_segment() {
    a_late_writer("grow: late writer || same segment", 2);
}

/// The passer was killed before it moved `head`: the writer comes back, puts its message again, and
/// nobody finds the first at the head, whatever becomes of attention. At most 2 preemptions.
#[test]
fn the_passer_is_killed() {
    explore("grow: passer killed, late writer || recover, take", Some(2), || {
        let land = Arc::new(Land::growing(2, 3, 0, 4));
        let _stopped = land.work(1, |worker| worker.claim());
        land.work(3, |worker| {
            let stalled = worker.stalled();
            worker.ring.pass_only(&worker.grip, stalled);
        });
        let late = {
            let land = Arc::clone(&land);
            thread::spawn(move || come_back(&land, 1, (0, 0), 16))
        };
        land.recover(3, 0);
        let got = pop(&land, 2);
        late.join().unwrap();
        assert_conserved(&[16], &[got], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A producer died with a claimed ticket: it is passed over and its line settled, beside one that goes on.
/// At most 2 preemptions.
#[test]
fn a_dead_writer() {
    explore("grow: dead writer: recover || pass || put", Some(2), || {
        let land = Arc::new(Land::growing(1, 4, 0, 4));
        let _dead = land.work(1, |worker| worker.claim());
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        assert!(land.work(0, |worker| worker.push(1)));
        let got = pop(&land, 3);
        recovery.join().unwrap();
        assert_conserved(&[1], &[got], &land.drain(3));
        land.assert_nothing_leaks();
    });
}

/// Two tickets were claimed; the first is passed over and its writer comes back, beside the passing over
/// of the second, whose writer comes back as well. At most 1 preemption.
#[test]
fn quieting_races_a_new_pass() {
    explore("grow: quiet || pass", Some(1), || {
        let land = Arc::new(with_a_passed_writer(2));
        let _stopped = land.work(2, |worker| worker.claim());
        let late = [(1, 0, 16), (2, 1, 32)].map(|(line, ticket, value)| {
            let land = Arc::clone(&land);
            thread::spawn(move || come_back(&land, line, (0, ticket), value))
        });
        // Not this thread's own work: to stop another and go on here would be two preemptions.
        let passer = {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, 3))
        };
        let got = passer.join().unwrap();
        late.into_iter().for_each(|late| late.join().unwrap());
        assert_conserved(&[16, 32], &[got], &land.drain(3));
        land.assert_nothing_leaks();
    });
}

/// A producer died between publishing and looking: its message is got at most once, while its line is
/// settled, one consumer passes the ticket over and another takes it. At most 1 preemption.
#[test]
fn a_writer_dies_published() {
    explore("grow: published and died: recover || pass || take", Some(1), || {
        let land = Arc::new(Land::growing(2, 3, 0, 4));
        let _stopped = land.work(1, |worker| worker.claim());
        let passer = {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, 3))
        };
        let taker = {
            let land = Arc::clone(&land);
            thread::spawn(move || pop(&land, 2))
        };
        // As above.
        let writer = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(1, |worker| {
                    worker.resume(0);
                    let claimed = Claimed::resumed(0);
                    worker.ring.fill(&worker.hand, &claimed, &16_u64.to_ne_bytes());
                    worker.ring.publish_only(&worker.hand, claimed);
                });
                land.recover(1, 0);
                land.work(0, |worker| worker.push(1))
            })
        };
        assert!(writer.join().unwrap());
        let got = [passer, taker].map(|thread| thread.join().unwrap());
        let rest = land.drain(2);
        let kept = got.iter().flatten().chain(&rest).any(|&value| value == 16);
        let sent: Vec<_> = [1].into_iter().chain(kept.then_some(16)).collect();
        assert_conserved(&sent, &got, &rest);
        land.assert_nothing_leaks();
    });
}
