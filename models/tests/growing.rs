//! A growing ring: segments are installed, entered, left, used again, and lose their memory.
//!
//! Consumers have no patience, as in the models of the bounded ring. Every word of a segment fails the
//! model when it is used by who cannot be sure that its memory is there.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::ring::Role;
use shmq_models::{Land, Worker, assert_conserved, explore};

/// `puts` messages of the producer in that line; those for which there was a place.
fn put(land: &Land, line: usize, puts: u64) -> Vec<u64> {
    let values = (0..puts).map(|n| line as u64 * 16 + n);
    land.work(line, |worker| {
        if land.has_lone_producer() {
            worker.begin_alone();
        }
        values.filter(|&value| worker.push(value)).collect()
    })
}

fn get(worker: &mut Worker<'_>, gets: usize) -> Vec<u64> {
    (0..gets).filter_map(|_| worker.pop()).collect()
}

/// Producers (in the first lines) with `puts` each beside consumers (in the next) with `gets` each,
/// then a drain.
fn conserve(land: Land, producers: usize, puts: u64, consumers: usize, gets: usize) {
    let land = Arc::new(land);
    let putters: Vec<_> = (1..producers)
        .map(|line| {
            let land = Arc::clone(&land);
            thread::spawn(move || put(&land, line, puts))
        })
        .collect();
    let getters: Vec<_> = (0..consumers)
        .map(|at| {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(producers + at, |worker| get(worker, gets)))
        })
        .collect();
    let mut sent = put(&land, 0, puts);
    for putter in putters {
        sent.extend(putter.join().unwrap());
    }
    let got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
    assert_conserved(&sent, &got, &land.drain(producers));
    land.assert_nothing_leaks();
}

/// 1 producer x 3, 1 consumer x 3, segments of 1 slot in 3 blocks, 1 of which keeps its memory. At most
/// 2 preemptions.
#[test]
fn one_to_one_keeps() {
    explore("grow: 1Px3 1Cx3, keep 1", Some(2), || conserve(Land::growing(1, 3, 1, 2), 1, 3, 1, 3));
}

/// The same with memory given back at once. At most 2 preemptions.
#[test]
fn one_to_one_punches() {
    explore("grow: 1Px3 1Cx3, punch", Some(2), || conserve(Land::growing(1, 3, 0, 2), 1, 3, 1, 3));
}

/// 1 producer x 3, 1 consumer x 2, segments of 2 slots in 2 blocks. At most 2 preemptions.
#[test]
fn one_to_one_in_twos() {
    explore("grow: 1Px3 1Cx2 by 2", Some(2), || conserve(Land::growing(2, 2, 0, 2), 1, 3, 1, 2));
}

/// 2 producers x 1, 1 consumer x 1, segments of 1 slot in 3 blocks: both install the same. At most 1
/// preemption.
#[test]
fn two_install_one_segment() {
    explore("grow: 2Px1 1Cx1", Some(1), || conserve(Land::growing(1, 3, 0, 3), 2, 1, 1, 1));
}

/// 1 producer x 2, 2 consumers x 1, segments of 1 slot in 3 blocks. At most 1 preemption.
#[test]
fn two_consumers_cross() {
    explore("grow: 1Px2 2Cx1", Some(1), || conserve(Land::growing(1, 3, 0, 3), 1, 2, 2, 1));
}

/// The one-producer mode: 1 producer x 3, 1 consumer x 3. At most 3 preemptions.
#[test]
fn a_lone_producer_grows() {
    explore("grow: lone Px3 1Cx3", Some(3), || {
        conserve(Land::growing_for(1, 3, 0, 2, Role::One), 1, 3, 1, 3);
    });
}

/// While a producer installs the first segment, all of it is put and taken by others (one thread, two
/// lines): it is over before its installer has closed it. At most 2 preemptions.
#[test]
fn a_segment_is_over_before_it_is_closed() {
    explore("grow: install || put, get", Some(2), || {
        let land = Arc::new(Land::growing(1, 3, 0, 3));
        let others = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                let sent = put(&land, 1, 1);
                (sent, land.work(2, |worker| get(worker, 1)))
            })
        };
        let mut sent = put(&land, 0, 1);
        let (theirs, got) = others.join().unwrap();
        sent.extend(theirs);
        assert_conserved(&sent, &[got], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// Both messages of two segments are there: one consumer takes both, leaving the first segment, beside
/// another that enters or looks at it. At most 3 preemptions.
#[test]
fn punching_beside_who_looks() {
    explore("grow: punch || enter, look", Some(3), || {
        let land = Arc::new(Land::growing(1, 3, 0, 3));
        let sent = put(&land, 0, 2);
        let other = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(1, |worker| get(worker, 1)))
        };
        let got = land.work(2, |worker| get(worker, 2));
        assert_conserved(&sent, &[got, other.join().unwrap()], &[]);
        land.assert_nothing_leaks();
    });
}

/// A consumer that has gone to sleep in a segment looks on while that is used up, and its block used
/// again, in 2 blocks that keep their memory. At most 1 preemption.
#[test]
fn a_block_is_used_again_beside_who_looks() {
    explore("grow: use again || look", Some(2), || {
        let land = Arc::new(Land::growing(1, 2, 1, 3));
        let mut sent = put(&land, 0, 1);
        let other = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(1, |worker| get(worker, 1)))
        };
        // Not this thread's own work: to stop another and go on here would be two preemptions.
        let user = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                let (mut sent, mut got) = (Vec::new(), Vec::new());
                for value in 1..3 {
                    got.extend(land.work(2, |worker| get(worker, 1)));
                    if land.work(0, |worker| worker.push(value)) {
                        sent.push(value);
                    }
                }
                got.extend(land.drain(2));
                (sent, got)
            })
        };
        let (more, got) = user.join().unwrap();
        sent.extend(more);
        assert_conserved(&sent, &[got, other.join().unwrap()], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A lone producer was killed between publishing and moving `tail`. Its message is taken and its segment
/// given back beside its successor, which begins. At most 3 preemptions.
#[test]
fn a_lone_producer_begins_beside_a_punch() {
    explore("grow: lone P begins || take, punch", Some(3), || {
        let land = Arc::new(Land::growing_for(1, 3, 0, 3, Role::One));
        land.work(0, |worker| {
            worker.begin_alone();
            assert!(worker.install(0));
            worker.ring.publish_alone_only(&worker.hand, &0_u64.to_ne_bytes());
        });
        let taker = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                let got = land.work(1, |worker| {
                    let got = get(worker, 1);
                    worker.leave();
                    got
                });
                land.recover(0, 1);
                got
            })
        };
        let sent = [vec![0], put(&land, 2, 1)].concat();
        let got = taker.join().unwrap();
        assert_conserved(&sent, &[got], &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// The installer of a segment was killed before it closed the block: that is closed by its heir beside
/// its being used up. At most 2 preemptions.
#[test]
fn an_installer_is_killed() {
    explore("grow: installer killed || use up", Some(2), || {
        let land = Arc::new(Land::growing(1, 3, 0, 3));
        land.work(1, |worker| {
            assert!(worker.segments.install_only(&worker.arena, 0, 1).is_some());
        });
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        let sent = put(&land, 0, 2);
        let got = land.drain(0);
        recovery.join().unwrap();
        assert_conserved(&sent, &[got], &[]);
        land.assert_nothing_leaks();
    });
}

/// A run of three, over the end of a segment of two slots, beside a consumer that takes two at once, or one, twice.
/// At most 2 preemptions.
#[test]
fn a_run_over_the_end_of_a_segment() {
    explore("grow: run of 3 || pop 2 x2, by 2", Some(2), || {
        let land = Arc::new(Land::growing(2, 2, 0, 2));
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(1, |worker| [worker.pop_run(), worker.pop_run()].concat())
            })
        };
        // Fewer, if tickets are passed over.
        let put = land.work(0, |worker| worker.push_run(&[0, 1, 2]));
        assert_conserved(&[0, 1, 2][..put], &[consumer.join().unwrap()], &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// Two runs of two, in segments of two slots in 3 blocks, beside a consumer that takes two at once, or one. At most 1
/// preemptions.
#[test]
fn two_runs_grow() {
    explore("grow: run of 2 || run of 2 || pop 2, by 2", Some(1), || {
        let land = Arc::new(Land::growing(2, 3, 0, 3));
        // What was put: not all, if tickets are passed over.
        let run = |land: &Land, line: usize| {
            let mut values = vec![16 * line as u64, 16 * line as u64 + 1];
            values.truncate(land.work(line, |worker| worker.push_run(&values)));
            values
        };
        let other = {
            let land = Arc::clone(&land);
            thread::spawn(move || run(&land, 1))
        };
        let consumer = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(2, |worker| worker.pop_run()))
        };
        let put = [run(&land, 0), other.join().unwrap()].concat();
        assert_conserved(&put, &[consumer.join().unwrap()], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A consumer that enters the second segment may find it used up by another, while somebody gives the memory of what
/// nobody sees back. What it then looks at to keep its distance is no segment that may be gone. At most 2 preemptions.
#[test]
fn who_comes_too_late_looks_at_nothing() {
    explore("grow: enter too late, look || use up || sweep", Some(2), || {
        let land = Arc::new(Land::growing(1, 3, 0, 4));
        let sent = put(&land, 0, 2);
        let late = {
            let land = Arc::clone(&land);
            thread::spawn(move || {
                land.work(1, |worker| {
                    let got = get(worker, 2);
                    worker.ring.is_there(&worker.grip, worker.ring.next());
                    got
                })
            })
        };
        let other = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(2, |worker| get(worker, 1)))
        };
        land.work(3, |worker| worker.arena.sweep(3));
        let got = [late, other].map(|thread| thread.join().unwrap());
        assert_conserved(&sent, &got, &land.drain(1));
        land.assert_nothing_leaks();
    });
}
