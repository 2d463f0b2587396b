//! Each pattern, by hand, and a long good history with one thing changed.

use shmq_soak::check;
use shmq_soak::checker::Pattern;
use shmq_soak::history::{NEVER, Operation, Value, What};

const A: Value = Value::new(1, 0);
const B: Value = Value::new(1, 1);
const C: Value = Value::new(2, 0);

fn op(inv: u64, res: u64, what: What) -> Operation {
    Operation { process: 1, what, inv, res }
}

fn put(value: Value, inv: u64, res: u64) -> Operation {
    op(inv, res, What::Put(value))
}

fn got(value: Value, inv: u64, res: u64) -> Operation {
    op(inv, res, What::Got(value))
}

fn empty(inv: u64, res: u64) -> Operation {
    op(inv, res, What::Empty)
}

fn full(inv: u64, res: u64) -> Operation {
    op(inv, res, What::Full(C))
}

fn killed_put(value: Value, inv: u64, dead: u64, settled: u64) -> Operation {
    op(inv, dead, What::PutKilled { value, settled })
}

fn killed_get(inv: u64, dead: u64) -> Operation {
    op(inv, dead, What::GetKilled)
}

/// What is found in a queue of `capacity`.
fn found_in(capacity: usize, history: &[Operation]) -> Vec<Pattern> {
    check(history, Some(capacity)).iter().map(|violation| violation.pattern).collect()
}

fn found(history: &[Operation]) -> Vec<Pattern> {
    found_in(100, history)
}

#[test]
fn p1_thin_air_and_torn() {
    assert_eq!(found(&[got(A, 5, 6)]), [Pattern::ThinAir]);
    assert_eq!(found(&[put(A, 7, 8), got(A, 5, 6)]), [Pattern::ThinAir]);
    assert_eq!(found(&[put(A, 6, 8), got(A, 5, 6)]), []);
    let refused = op(1, 2, What::Full(A));
    assert_eq!(found_in(1, &[put(B, 0, 0), refused, got(A, 5, 6)]), [Pattern::ThinAir]);
    assert_eq!(found(&[put(A, 1, 2), op(5, 6, What::Torn(A))]), [Pattern::Torn]);
}

#[test]
fn p2_duplicate() {
    assert_eq!(found(&[put(A, 1, 2), got(A, 3, 4), got(A, 3, 9)]), [Pattern::Duplicate]);
    assert_eq!(found(&[put(A, 1, 2), put(A, 3, 4)]), [Pattern::Malformed]);
}

#[test]
fn p3_order() {
    let puts = [put(A, 1, 2), put(B, 3, 4)];
    let with = |gets: &[Operation]| found(&[&puts[..], gets].concat());
    assert_eq!(with(&[got(B, 5, 6), got(A, 7, 8)]), [Pattern::Order]);
    assert_eq!(with(&[got(B, 5, 7), got(A, 7, 8)]), []);
    let overlapping = [put(A, 1, 3), put(B, 3, 4), got(B, 5, 6), got(A, 7, 8)];
    assert_eq!(found(&overlapping), []);
}

#[test]
fn p3_lost() {
    let overtaken = [put(A, 1, 2), put(B, 3, 4), got(B, 5, 6)];
    assert_eq!(found(&overtaken), [Pattern::Lost]);
    assert_eq!(found(&[put(A, 1, 2)]), [], "it may still be inside");
    assert_eq!(found(&[put(A, 1, 2), empty(3, 4)]), [Pattern::Lost]);
    let with = |gets: &[Operation]| found(&[&overtaken[..], gets].concat());
    assert_eq!(with(&[killed_get(2, 3)]), []);
    assert_eq!(with(&[killed_get(7, 9)]), [Pattern::Lost], "killed too late to have it");
    assert_eq!(with(&[killed_get(0, 0)]), [Pattern::Lost], "dead before it was put");
}

#[test]
fn a_killed_get_takes_one_message_only() {
    let two_gone = [put(A, 1, 2), put(B, 3, 4), put(C, 5, 6), got(C, 7, 8)];
    let with = |gets: &[Operation]| found(&[&two_gone[..], gets].concat());
    assert_eq!(with(&[killed_get(1, 9)]), [Pattern::Lost]);
    assert_eq!(with(&[killed_get(1, 9), killed_get(1, 9)]), []);
    // Only the first can have A, so B needs the second.
    assert_eq!(with(&[killed_get(1, 2), killed_get(1, 9)]), []);
    assert_eq!(with(&[killed_get(1, 2), killed_get(1, 2)]), [Pattern::Lost]);
}

#[test]
fn a_killed_put_happened_before_the_death_or_never() {
    let dead = killed_put(A, 1, 3, NEVER);
    assert_eq!(found(&[dead]), []);
    assert_eq!(found(&[dead, empty(4, 5)]), []);
    assert_eq!(found(&[dead, got(A, 8, 9)]), []);
    assert_eq!(found(&[dead, empty(4, 5), got(A, 8, 9)]), [Pattern::FalseEmpty]);
    let unseen = killed_put(A, 1, NEVER, NEVER);
    assert_eq!(found(&[unseen, empty(4, 5), got(A, 8, 9)]), []);
    let behind = [dead, put(B, 4, 5), got(B, 6, 7), got(A, 8, 9)];
    assert_eq!(found(&behind), [Pattern::Order]);
}

#[test]
fn p4_false_empty() {
    assert_eq!(found(&[put(A, 1, 2), empty(3, 4), got(A, 5, 6)]), [Pattern::FalseEmpty]);
    assert_eq!(found(&[put(A, 1, 2), empty(2, 4), got(A, 5, 6)]), []);
    assert_eq!(found(&[put(A, 1, 2), empty(3, 5), got(A, 5, 6)]), []);
    let relay = |second| {
        let gets = [got(A, 6, 7), got(B, 9, 10)];
        found(&[&[put(A, 1, 2), put(B, 3, second), empty(4, 8)], &gets[..]].concat())
    };
    assert_eq!(relay(5), [Pattern::FalseEmpty], "one after the other they cover it");
    assert_eq!(relay(6), [], "between them there is a moment");
}

#[test]
fn p4_however_killed_gets_are_given() {
    // Each of the two may be out in time, but there is one early get, and each is needed.
    let history = [put(A, 1, 2), put(B, 1, 6), empty(3, 9), empty(20, 21)];
    let with = |gets: &[Operation]| found(&[&history[..], gets].concat());
    assert_eq!(with(&[killed_get(4, 30), killed_get(15, 30)]), []);
    assert_eq!(with(&[killed_get(7, 30), killed_get(15, 30)]), [Pattern::FalseEmpty]);
    assert_eq!(with(&[killed_get(7, 30), killed_get(8, 30)]), []);
}

#[test]
fn p5_false_full() {
    assert_eq!(found_in(2, &[put(A, 1, 2), full(3, 4)]), [Pattern::FalseFull]);
    assert_eq!(found_in(1, &[put(A, 1, 2), full(3, 4)]), []);
    assert_eq!(found_in(1, &[put(A, 1, 2), got(A, 3, 4), full(5, 6)]), [Pattern::FalseFull]);
    assert_eq!(found_in(1, &[put(A, 1, 2), got(A, 3, 5), full(5, 6)]), []);
    assert_eq!(found_in(1, &[put(A, 6, 7), full(5, 6)]), [], "a put in progress counts");
    assert_eq!(found_in(1, &[put(A, 7, 8), full(5, 6)]), [Pattern::FalseFull]);
    let other = |inv, res| op(inv, res, What::Full(B));
    let two = [put(A, 1, 2), full(6, 6)];
    assert_eq!(found_in(2, &[two[0], two[1], other(3, 4)]), [Pattern::FalseFull; 2]);
    assert_eq!(found_in(2, &[two[0], two[1], other(4, 8)]), [], "each may have the last place");
}

#[test]
fn p5_all_that_one_call_may_have_claimed_has_places_but_not_for_its_own_full() {
    let n = |n| Value::new(3, n);
    // A call of four, stopped behind its first.
    let call = [put(A, 10, 90), op(10, 90, What::Full(B)), op(10, 90, What::Untried(n(1)))];
    let four = [&call[..], &[op(10, 90, What::Untried(n(2)))]].concat();
    let other = Operation { process: 2, ..full(50, 51) };
    let with =
        |inside: &[Operation], call: &[Operation]| found_in(5, &[inside, call, &[other]].concat());
    let inside = [put(n(3), 1, 2), put(n(4), 3, 4), put(n(5), 5, 6), put(n(6), 20, 60)];
    assert_eq!(with(&inside, &four), [], "5 and A may be inside");
    assert_eq!(
        with(&inside[..1], &four),
        [Pattern::FalseFull],
        "its own: at most 1, A, and the other"
    );
    assert_eq!(with(&inside[..1], &call), [Pattern::FalseFull; 2], "1, and at most 3 by the call");
}

#[test]
fn p5_late_if_a_put_was_overtaken_by_a_lap() {
    // B's put was stopped while three others went through a queue of two.
    let n = |n| Value::new(3, n);
    let lap = [put(B, 1, 40), put(n(0), 2, 3), got(n(0), 4, 5), put(n(1), 6, 7), got(n(1), 8, 9)];
    let end = [put(n(2), 38, 39), full(42, 43), got(n(2), 50, 51), got(B, 52, 53)];
    let with = |third: &[Operation]| found_in(3, &[&lap[..], third, &end].concat());
    assert_eq!(with(&[put(n(3), 10, 11), got(n(3), 12, 13)]), [Pattern::LateFull]);
    assert_eq!(with(&[]), [Pattern::FalseFull], "no lap");
}

#[test]
fn p5_a_killed_put_has_a_place_until_it_is_settled_and_passed() {
    let later = [put(B, 12, 13), got(B, 14, 15), full(20, 21)];
    let with = |settled| found_in(1, &[&[killed_put(A, 1, 3, settled)], &later[..]].concat());
    assert_eq!(with(NEVER), []);
    assert_eq!(with(12), [], "B may have a place before it");
    assert_eq!(with(11), [Pattern::FalseFull]);
}

#[test]
fn p6_overflow() {
    let two = [put(A, 1, 2), put(B, 3, 4), got(A, 6, 7), got(B, 8, 9)];
    assert_eq!(found_in(1, &two), [Pattern::Overflow]);
    assert_eq!(found_in(2, &two), []);
    let touching = [put(A, 1, 2), put(B, 3, 6), got(A, 6, 7), got(B, 8, 9)];
    assert_eq!(found_in(1, &touching), []);
    let with_killed = [put(A, 1, 2), put(B, 3, 4), got(B, 8, 9), killed_get(4, 5)];
    assert_eq!(found_in(1, &with_killed), []);
    assert_eq!(found_in(1, &[put(A, 1, 2), put(B, 3, 4)]), [Pattern::Overflow]);
}

#[test]
fn a_violation_names_the_operations_and_their_intervals() {
    let history = [put(A, 1, 2), put(B, 3, 4), got(B, 5, 6), got(A, 7, 8)];
    let text = check(&history, None)[0].to_string();
    assert_eq!(
        text,
        "P3 order: 1#0 was put before 1#1, and got after it\n    \
         [1, 2] process 1: put 1#0\n    [7, 8] process 1: get: 1#0\n    \
         [3, 4] process 1: put 1#1\n    [5, 6] process 1: get: 1#1"
    );
}

/// Messages through a queue of four, one moment after the other, in narrow intervals.
fn long_history(messages: u32) -> Vec<Operation> {
    let (mut history, mut inside, mut time) = (Vec::new(), std::collections::VecDeque::new(), 10);
    let mut next = 0;
    while next < messages || !inside.is_empty() {
        time += 10;
        let wants_to_put = next < messages && !(next / 7 + time as u32 / 10).is_multiple_of(3);
        if wants_to_put && inside.len() == 4 {
            history.push(full(time, time + 5));
        } else if wants_to_put {
            inside.push_back(Value::new(1, next));
            history.push(put(Value::new(1, next), time, time + 5));
            next += 1;
        } else if let Some(value) = inside.pop_front() {
            history.push(got(value, time, time + 5));
        } else {
            history.push(empty(time, time + 5));
        }
    }
    history.push(empty(time + 10, time + 15));
    history
}

/// Every single change of these is noticed, wherever it is made.
#[test]
fn one_change_to_a_long_history_is_noticed() {
    let good = long_history(3_000);
    assert_eq!(check(&good, Some(4)), []);
    let gets: Vec<usize> =
        (0..good.len()).filter(|&at| matches!(good[at].what, What::Got(_))).collect();
    let puts: Vec<usize> =
        (0..good.len()).filter(|&at| matches!(good[at].what, What::Put(_))).collect();
    let mut swapped = 0;
    // A debug build takes long for each.
    let step = if cfg!(debug_assertions) { 197 } else { 47 };
    for n in (1..gets.len()).step_by(step) {
        let expect = |change: &dyn Fn(&mut Vec<Operation>), pattern: Pattern| {
            let mut bad = good.clone();
            change(&mut bad);
            let patterns = found_in(4, &bad);
            assert!(patterns.contains(&pattern), "message {n}: {pattern} among {patterns:?}");
        };
        expect(&|bad| _ = bad.remove(gets[n]), Pattern::Lost);
        expect(&|bad| bad[gets[n]].what = What::Empty, Pattern::Lost);
        expect(&|bad| _ = bad.remove(puts[n]), Pattern::ThinAir);
        expect(&|bad| bad[gets[n]].what = bad[gets[n - 1]].what, Pattern::Duplicate);
        // Got before its predecessor; or, if it was not even put by then, out of thin air.
        let was_put = good[puts[n]].inv < good[gets[n - 1]].res;
        swapped += u32::from(was_put);
        expect(
            &|bad| {
                (bad[gets[n]].what, bad[gets[n - 1]].what) =
                    (bad[gets[n - 1]].what, bad[gets[n]].what);
            },
            if was_put { Pattern::Order } else { Pattern::ThinAir },
        );
        // While a message was inside.
        expect(
            &|bad| bad.push(empty(bad[puts[n]].res + 1, bad[puts[n]].res + 2)),
            Pattern::FalseEmpty,
        );
        expect(
            &|bad| bad.push(full(bad[gets[n]].res + 1, bad[gets[n]].res + 2)),
            Pattern::FalseFull,
        );
    }
    assert!(swapped > 5);
    assert!(found_in(3, &good).contains(&Pattern::Overflow));
}

/// The same, and each message may be missing if a get was killed at the right time.
#[test]
fn a_killed_get_excuses_one_message_of_a_long_history() {
    let good = long_history(1_000);
    for at in (0..good.len()).step_by(53) {
        let mut history = good.clone();
        let What::Got(_) = history[at].what else { continue };
        history[at].what = What::GetKilled;
        assert_eq!(check(&history, Some(4)), []);
        let other = (at + 20..good.len()).find(|&at| matches!(good[at].what, What::Got(_)));
        let Some(other) = other else { continue };
        history.remove(other);
        assert!(found_in(4, &history).contains(&Pattern::Lost));
    }
}

/// `what` by process `who` within its call number `call`.
fn by(who: u32, call: u64, what: What) -> Operation {
    Operation { process: who, what, inv: 10 * call, res: 10 * call + 9 }
}

#[test]
fn messages_of_one_call_are_in_order() {
    let [a, b, c] = [0, 1, 2].map(|n| Value::new(1, n));
    let puts = [a, b, c].map(|value| by(1, 0, What::Put(value)));
    let history = |gets: &[Operation]| [&puts[..], gets].concat();
    let found = |gets: &[Operation]| -> Vec<_> {
        assert_eq!(shmq_soak::check(&history(gets), None), []);
        let violations = shmq_soak::check_programs(&history(gets));
        violations.into_iter().map(|violation| violation.pattern).collect()
    };
    let got = |who, call, value| by(who, call, What::Got(value));
    assert_eq!(found(&[got(2, 1, a), got(2, 1, b), got(2, 1, c)]), []);
    assert_eq!(found(&[got(2, 2, b), got(3, 2, a), got(2, 2, c)]), []);
    // By another consumer's clock; by one consumer's program.
    assert_eq!(found(&[got(2, 1, b), got(3, 2, a), got(2, 3, c)]), [Pattern::Order]);
    assert_eq!(found(&[got(2, 1, b), got(2, 1, a), got(2, 1, c)]), [Pattern::Order]);
}

#[test]
fn what_one_call_gets_is_in_order() {
    let (a, b) = (Value::new(1, 0), Value::new(2, 0));
    let history = |first, second| {
        let puts = [by(1, 0, What::Put(a)), by(2, 1, What::Put(b))];
        [puts, [by(3, 2, What::Got(first)), by(3, 2, What::Got(second))]].concat()
    };
    assert_eq!(shmq_soak::check_programs(&history(a, b)), []);
    assert_eq!(shmq_soak::check(&history(b, a), None), []);
    assert_eq!(shmq_soak::check_programs(&history(b, a))[0].pattern, Pattern::Order);
}

#[test]
fn a_killed_call_put_its_first_messages() {
    let [a, b, c] = [0, 1, 2].map(|n| Value::new(1, n));
    let puts = [a, b, c].map(|value| killed_put(value, 0, 9, NEVER));
    let found = |others: &[Operation]| -> Vec<_> {
        let history = [&puts[..], others].concat();
        assert_eq!(shmq_soak::check(&history, None), []);
        let violations = shmq_soak::check_programs(&history);
        violations.into_iter().map(|violation| violation.pattern).collect()
    };
    assert_eq!(found(&[]), []);
    assert_eq!(found(&[by(2, 1, What::Got(a)), by(2, 2, What::Got(b))]), []);
    assert_eq!(found(&[by(2, 1, What::Got(a)), by(2, 2, What::Got(c))]), [Pattern::Lost]);
    // Unless a killed get had it, in time.
    assert_eq!(found(&[killed_get(1, 5), by(2, 2, What::Got(b))]), []);
    assert_eq!(found(&[killed_get(40, 45), by(2, 2, What::Got(b))]), [Pattern::Lost]);
    // Two of them need two killed gets.
    let got = by(2, 2, What::Got(c));
    assert_eq!(found(&[killed_get(1, 5), got]), [Pattern::Lost]);
    assert_eq!(found(&[killed_get(1, 5), killed_get(1, 5), got]), []);
}
