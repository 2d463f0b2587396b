//! The checker against a brute force that knows nothing of patterns: it tries to put the operations
//! of a small history into an order that a FIFO queue could have had.

use shmq_soak::check;
use shmq_soak::checker::Pattern;
use shmq_soak::history::{NEVER, Operation, Value, What};

/// Histories compared. A debug build is slower, and compares fewer.
const HISTORIES: u64 = if cfg!(debug_assertions) { 150_000 } else { 4_500_000 };
const OPERATIONS_MAX: u64 = 7;

/// Pseudo-random numbers: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn is_killed(operation: &Operation) -> bool {
    matches!(operation.what, What::PutKilled { .. } | What::GetKilled)
}

/// The brute force: a search over all orders.
struct Search<'h> {
    history: &'h [Operation],
    /// No order at all, if it holds more.
    capacity: usize,
}

impl Search<'_> {
    fn is_linearizable(&self) -> bool {
        let killed =
            |&at: &usize| matches!(self.history[at].what, What::PutKilled { .. } | What::GetKilled);
        let killed: Vec<usize> = (0..self.history.len()).filter(killed).collect();
        // Each killed operation happened, or not.
        (0..1_u32 << killed.len()).any(|dropped| {
            let left_out = killed.iter().enumerate().filter(|(bit, _)| dropped >> bit & 1 == 1);
            let done = left_out.fold(0, |done: u32, (_, at)| done | 1 << at);
            self.complete(done, &mut Vec::new(), 0)
        })
    }

    /// Can all but those in `done` follow, with the queue holding `queue[gone..]`?
    fn complete(&self, done: u32, queue: &mut Vec<Value>, gone: usize) -> bool {
        let left = || (0..self.history.len()).filter(move |at| done >> at & 1 == 0);
        let mut left_over = left().peekable();
        if left_over.peek().is_none() {
            return true;
        }
        left_over.any(|at| {
            let operation = &self.history[at];
            let is_next = left().all(|other| self.history[other].res >= operation.inv);
            is_next && self.apply(done | 1 << at, operation.what, queue, gone)
        })
    }

    fn apply(&self, done: u32, what: What, queue: &mut Vec<Value>, gone: usize) -> bool {
        match what {
            What::Put(value) | What::PutKilled { value, .. } => {
                if queue.len() - gone >= self.capacity {
                    return false;
                }
                queue.push(value);
                let possible = self.complete(done, queue, gone);
                queue.pop();
                possible
            }
            What::Got(value) => {
                queue.get(gone) == Some(&value) && self.complete(done, queue, gone + 1)
            }
            What::GetKilled => queue.len() > gone && self.complete(done, queue, gone + 1),
            What::Empty => queue.len() == gone && self.complete(done, queue, gone),
            What::Full(_) => {
                queue.len() - gone == self.capacity && self.complete(done, queue, gone)
            }
            What::Untried(_) => self.complete(done, queue, gone),
            What::Torn(_) => false,
        }
    }
}

/// A history of a queue: moments in order, and around each an interval.
fn correct(random: &mut Random, capacity: usize) -> Vec<Operation> {
    let count = 1 + random.below(OPERATIONS_MAX);
    let spread = 1 + random.below(12);
    let (mut queue, mut gone, mut history) = (Vec::new(), 0, Vec::new());
    for at in 0..count {
        let moment = 20 + 2 * at;
        let what = if random.once_in(2) {
            let value = Value::new(1, at as u32);
            if queue.len() - gone == capacity {
                What::Full(value)
            } else {
                queue.push(value);
                What::Put(value)
            }
        } else if let Some(&value) = queue.get(gone) {
            gone += 1;
            What::Got(value)
        } else {
            What::Empty
        };
        let (inv, res) = (moment - random.below(spread), moment + random.below(spread));
        history.push(Operation { process: at as u32, what, inv, res });
    }
    kill_some(random, &mut history);
    history
}

/// Some of the operations were killed: after they took effect, or before.
fn kill_some(random: &mut Random, history: &mut Vec<Operation>) {
    let rate = 2 + random.below(6);
    for operation in history.iter_mut() {
        if !random.once_in(rate) {
            continue;
        }
        operation.what = match operation.what {
            What::Put(value) => What::PutKilled { value, settled: operation.res + random.below(6) },
            What::Got(_) => What::GetKilled,
            other => other,
        };
        if random.once_in(3) && is_killed(operation) {
            operation.res = NEVER;
        }
    }
    if (history.len() as u64) < OPERATIONS_MAX && random.once_in(4) {
        let inv = 15 + random.below(20);
        let value = Value::new(2, 0);
        let what = if random.once_in(2) {
            What::GetKilled
        } else {
            What::PutKilled { value, settled: inv + 9 }
        };
        history.push(Operation { process: 99, what, inv, res: inv + random.below(9) });
    }
}

/// Changes something, which may make it wrong.
fn mutate(random: &mut Random, history: &mut Vec<Operation>) {
    for _ in 0..=random.below(2) {
        let count = history.len() as u64;
        let (at, other) = (random.below(count) as usize, random.below(count) as usize);
        match random.below(6) {
            0 if is_killed(&history[at]) == is_killed(&history[other]) => {
                let (this, that) = (history[at], history[other]);
                history[at] = Operation { what: this.what, ..that };
                history[other] = Operation { what: that.what, ..this };
            }
            1 => {
                history[at].inv = 10 + random.below(26);
                history[at].res = history[at].inv + random.below(9);
            }
            2 => {
                let gets = |what| matches!(what, What::Got(_) | What::Empty);
                if gets(history[at].what) && gets(history[other].what) {
                    history[at].what = history[other].what;
                }
            }
            3 if matches!(history[at].what, What::Got(_)) => history[at].what = What::Empty,
            4 if history.len() > 1 => _ = history.swap_remove(at),
            _ => {
                if matches!(history[at].what, What::Got(_) | What::Empty) {
                    history[at].what = What::Got(Value::new(1, random.below(count) as u32));
                }
            }
        }
    }
}

/// Anything that is a history at all.
fn random_history(random: &mut Random) -> Vec<Operation> {
    let count = 1 + random.below(OPERATIONS_MAX);
    let mut puts = 0;
    let mut operation = |random: &mut Random| {
        let value = Value::new(1, puts);
        let inv = 10 + random.below(16);
        let end = inv + random.below(8);
        let killed_end = if random.once_in(2) { NEVER } else { end };
        let what = match random.below(10) {
            0..=3 => What::Put(value),
            4 => What::PutKilled { value, settled: killed_end },
            5..=6 => What::Got(Value::new(1, random.below(4) as u32)),
            7..=8 => What::GetKilled,
            _ => What::Empty,
        };
        puts += u32::from(matches!(what, What::Put(_) | What::PutKilled { .. }));
        let operation = Operation { process: puts, what, inv, res: end };
        Operation { res: if is_killed(&operation) { killed_end } else { end }, ..operation }
    };
    (0..count).map(|_| operation(random)).collect()
}

fn listed(history: &[Operation]) -> String {
    history.iter().map(|operation| format!("{operation}\n")).collect()
}

#[test]
fn verdicts_agree_with_those_of_a_search() {
    let mut random = Random(1);
    let (mut good, mut bad) = ([0_u64; 3], [0_u64; 3]);
    for round in 0..HISTORIES {
        let kind = (round % 3) as usize;
        let mut history = match kind {
            0 | 1 => correct(&mut random, usize::MAX),
            _ => random_history(&mut random),
        };
        if kind == 1 {
            mutate(&mut random, &mut history);
        }
        let expected = Search { history: &history, capacity: usize::MAX }.is_linearizable();
        let found = check(&history, None);
        assert_eq!(found.is_empty(), expected, "history {round}: {found:#?}\n{}", listed(&history));
        assert!(found.iter().all(|found| found.pattern != Pattern::Undecided));
        let count = if expected { &mut good } else { &mut bad };
        count[kind] += 1;
    }
    assert_eq!(bad[0], 0, "a history that happened is linearizable");
    assert!(bad[1] > HISTORIES / 20 && good[1] > HISTORIES / 20 && bad[2] > HISTORIES / 20);
    let build = if cfg!(debug_assertions) { "debug build, fewer" } else { "release build" };
    let compared = good.iter().sum::<u64>() + bad.iter().sum::<u64>();
    println!(
        "{compared} histories ({build}), 0 disagreements: {} linearizable, {} not",
        good.iter().sum::<u64>(),
        bad.iter().sum::<u64>()
    );
    assert_eq!(compared, HISTORIES);
}

/// P5 and P6 are necessary conditions: a bounded queue is never accused, and what they accuse the
/// search finds wrong as well.
#[test]
fn bounded_histories_are_not_accused_and_accusations_are_right() {
    let mut random = Random(2);
    let mut accused = 0;
    for round in 0..HISTORIES / 3 {
        let capacity = 1 + random.below(3) as usize;
        let mut history = correct(&mut random, capacity);
        if round % 2 == 0 {
            let found = check(&history, Some(capacity));
            assert!(found.is_empty(), "history {round}: {found:#?}\n{}", listed(&history));
            continue;
        }
        mutate(&mut random, &mut history);
        if !check(&history, Some(capacity)).is_empty() {
            accused += 1;
            let search = Search { history: &history, capacity };
            assert!(!search.is_linearizable(), "history {round}:\n{}", listed(&history));
        }
    }
    println!("{} histories of bounded queues, {accused} rightly accused", HISTORIES / 3);
    assert!(accused > HISTORIES / 30);
}
