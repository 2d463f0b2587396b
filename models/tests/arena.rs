//! Messages outside the slots: their blocks are claimed, covered, closed, held, given back, and
//! inherited from the dead.
//!
//! A message in a block is no atomic: whoever lays another into its place without knowing that its
//! reader is done fails the model.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use shmq_engine::arena::Block;
use shmq_models::{Land, assert_conserved, explore};

/// `puts` messages of the producer in that line; those for which there were a block and a place.
fn put(land: &Land, line: usize, puts: u64) -> Vec<u64> {
    let values = (0..puts).map(|n| line as u64 * 16 + n);
    land.work(line, |worker| values.filter(|&value| worker.push_laid(value)).collect())
}

fn get(land: &Land, line: usize, gets: usize) -> Vec<u64> {
    land.work(line, |worker| (0..gets).filter_map(|_| worker.pop()).collect())
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
            thread::spawn(move || get(&land, producers + at, gets))
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

/// 1 producer x 2, 1 consumer x 2, 1 block that keeps its memory. At most 2 preemptions.
#[test]
fn one_block_is_used_again() {
    explore("lay: 1Px2 1Cx2, 1 block", Some(2), || {
        conserve(Land::referring((2, 4), (1, 1), 1, 2), 1, 2, 1, 2);
    });
}

/// The same with memory given back at once. At most 2 preemptions.
#[test]
fn one_block_is_punched() {
    explore("lay: 1Px2 1Cx2, 1 block, punch", Some(2), || {
        conserve(Land::referring((2, 4), (1, 1), 0, 2), 1, 2, 1, 2);
    });
}

/// While a producer appends to its block, what is there is read; whoever closes it or has read the last
/// gives it back, or the next one who looks does. At most 2 preemptions.
#[test]
fn a_block_is_closed_beside_its_reader() {
    explore("lay two in one, close || read", Some(2), || {
        let land = Arc::new(Land::referring((2, 4), (1, 2), 1, 2));
        let getter = {
            let land = Arc::clone(&land);
            thread::spawn(move || get(&land, 1, 2))
        };
        land.work(0, |worker| {
            let block = worker.lay(0).unwrap();
            assert!(worker.refer(block, 0));
            worker.lay_into(block, 1, 1);
            assert!(worker.refer(block, 1));
            worker.retire(block);
        });
        assert_conserved(&[0, 1], &[getter.join().unwrap()], &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// 1 producer x 2, 2 consumers x 1, 2 blocks: one may hold on while the other takes the next. At most 1
/// preemption.
#[test]
fn two_consumers_hold() {
    explore("lay: 1Px2 2Cx1, 2 blocks", Some(1), || {
        conserve(Land::referring((4, 8), (2, 1), 1, 3), 1, 2, 2, 1);
    });
}

/// 2 producers x 1, 1 consumer x 2, 1 block. At most 1 preemption.
#[test]
fn two_producers_claim() {
    explore("lay: 2Px1 1Cx2, 1 block", Some(1), || {
        conserve(Land::referring((2, 4), (1, 1), 1, 3), 2, 1, 1, 2);
    });
}

/// Two messages in one block: nobody uses it again before both readers are done. At most 2 preemptions.
#[test]
fn a_block_of_two_messages() {
    explore("lay two in one || read || read", Some(2), || {
        let land = Arc::new(Land::referring((2, 4), (1, 2), 1, 3));
        land.work(0, |worker| {
            let block = worker.lay(0).unwrap();
            assert!(worker.refer(block, 0));
            worker.lay_into(block, 1, 1);
            assert!(worker.refer(block, 1));
            worker.retire(block);
        });
        let getters = [1, 2].map(|line| {
            let land = Arc::clone(&land);
            thread::spawn(move || get(&land, line, 1))
        });
        let mut sent = vec![0, 1];
        if land.work(0, |worker| worker.push_laid(2)) {
            sent.push(2);
        }
        let got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
        assert_conserved(&sent, &got, &land.drain(1));
        land.assert_nothing_leaks();
    });
}

/// Of two readers that let go at once, one gives their block back: nobody needs to look for it. At most 3
/// preemptions.
#[test]
fn two_let_go_at_once() {
    explore("lay two in one || read || read, no sweep", Some(3), || {
        let land = Arc::new(Land::referring((2, 4), (1, 2), 0, 3));
        let block = land.work(0, |worker| {
            let block = worker.lay(0).unwrap();
            assert!(worker.refer(block, 0));
            worker.lay_into(block, 1, 1);
            assert!(worker.refer(block, 1));
            worker.retire(block);
            block
        });
        let getters = [1, 2].map(|line| {
            let land = Arc::clone(&land);
            thread::spawn(move || get(&land, line, 1))
        });
        let got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
        assert_conserved(&[0, 1], &got, &land.drain(1));
        land.work(0, |worker| assert!(worker.arena.is_hole(block), "each left it to the other"));
        land.assert_nothing_leaks();
    });
}

/// A consumer holds on to a message, and is inherited from, beside a producer that wants the only block:
/// it gets it once, before the message is read, or never. At most 3 preemptions.
#[test]
fn a_dead_holder() {
    explore("lay: dead holder: recover || put", Some(3), || {
        let land = Arc::new(Land::referring((2, 4), (1, 1), 1, 4));
        assert_eq!(put(&land, 0, 1), [0]);
        land.work(1, |worker| {
            let held = worker.hold(0).unwrap();
            assert_eq!(worker.read(&held), 0);
        });
        assert_eq!(land.work(2, |worker| worker.lay(9)), None, "held");
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        let sent = put(&land, 0, 2);
        recovery.join().unwrap();
        assert_conserved(&sent, &[], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A producer was killed between covering the ticket and publishing it: its block comes back once the
/// ticket has been passed over. At most 2 preemptions.
#[test]
fn killed_before_publishing() {
    explore("lay: killed covering: recover || pass || put", Some(2), || {
        let land = Arc::new(Land::referring((2, 8), (1, 1), 1, 4));
        land.work(1, |worker| {
            let block = worker.lay(16).unwrap();
            worker.claim();
            worker.arena.cover(block, 0);
        });
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        let getter = {
            let land = Arc::clone(&land);
            thread::spawn(move || get(&land, 3, 1))
        };
        let sent = put(&land, 0, 1);
        recovery.join().unwrap();
        let got = getter.join().unwrap();
        assert_conserved(&sent, &[got], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A producer was killed before it covered any ticket: its block comes back at once. At most 3
/// preemptions.
#[test]
fn killed_before_covering() {
    explore("lay: killed laying: recover || put", Some(3), || {
        let land = Arc::new(Land::referring((2, 4), (1, 1), 1, 3));
        assert!(land.work(1, |worker| worker.lay(16)).is_some());
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        let sent = put(&land, 0, 1);
        recovery.join().unwrap();
        assert_conserved(&sent, &[], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A producer was killed between publishing and closing: its message is read whole, beside an heir and
/// one who wants the only block. At most 2 preemptions.
#[test]
fn killed_before_closing() {
    explore("lay: killed closing: recover || get || put", Some(2), || {
        let land = Arc::new(Land::referring((2, 4), (1, 1), 1, 4));
        land.work(1, |worker| {
            let block = worker.lay(16).unwrap();
            assert!(worker.refer(block, 0));
        });
        let recovery = {
            let land = Arc::clone(&land);
            thread::spawn(move || land.recover(1, 2))
        };
        let getter = {
            let land = Arc::clone(&land);
            thread::spawn(move || get(&land, 3, 1))
        };
        let sent = [vec![16], put(&land, 0, 1)].concat();
        recovery.join().unwrap();
        let got = getter.join().unwrap();
        assert_conserved(&sent, &[got], &land.drain(2));
        land.assert_nothing_leaks();
    });
}

/// A block that nobody needs was left closed: of two that sweep and one that claims, one gets it. At
/// most 3 preemptions.
#[test]
fn two_reclaim_one_block() {
    explore("sweep || sweep || claim", Some(3), || {
        let land = Arc::new(Land::referring((2, 4), (1, 1), 1, 4));
        assert_eq!(put(&land, 0, 1), [0]);
        // Its last reader goes without looking.
        land.work(1, |worker| {
            assert!(worker.hold(0).is_some());
            worker.leave();
        });
        let sweeps = [2, 3].map(|line| {
            let land = Arc::clone(&land);
            thread::spawn(move || land.work(line, |worker| worker.arena.sweep(line)))
        });
        let claimed = land.work(0, |worker| worker.arena.claim(1, 1, 0).ok());
        let swept: usize = sweeps.into_iter().map(|sweep| sweep.join().unwrap()).sum();
        assert!(swept <= 1 && swept + usize::from(claimed.is_some()) >= 1);
        land.work(0, |worker| {
            let block = claimed.or_else(|| worker.arena.claim(1, 1, 0).ok());
            let block = block.expect("it is ours or free");
            assert_eq!(worker.arena.claim(1, 1, 0).ok(), None, "it is there once");
            worker.arena.give_back(block, 0);
        });
        land.assert_nothing_leaks();
    });
}

/// Two producers claim of two blocks, whose descriptors have no memory yet. At most 3 preemptions.
#[test]
fn two_describe_at_once() {
    explore("describe || describe", Some(3), || {
        let land = Arc::new(Land::undescribed(2, 2));
        let claim = |land: &Land, line| land.work(line, |worker| worker.lay(line as u64).unwrap());
        let other = {
            let land = Arc::clone(&land);
            thread::spawn(move || claim(&land, 1))
        };
        let blocks: [Block; 2] = [claim(&land, 0), other.join().unwrap()];
        assert_ne!(blocks[0], blocks[1]);
        for (line, block) in blocks.into_iter().enumerate() {
            land.work(line, |worker| worker.arena.give_back(block, line));
        }
        land.assert_nothing_leaks();
    });
}
