//! What one process does, it does in order. Intervals do not say so of several messages that one call
//! puts or gets: they all have the interval of the call.

use std::collections::HashMap;

use super::lost::give;
use super::violation::{Pattern, SHOWN_MAX, Violation};
use crate::history::{Operation, Value, What};

/// A message, its put, and its get, if that is known.
type Life<'h> = (Value, &'h Operation, Option<&'h Operation>);

/// Everything found wrong with the order of each process, at most a few of each pattern, in a `history`
/// in which [`check`](super::check) found nothing, and which has the operations of each process in
/// their order.
pub fn check_programs(history: &[Operation]) -> Vec<Violation> {
    let lives = lives(history);
    let of_puts = lives.chunk_by(|a, b| a.0.process() == b.0.process()).filter_map(puts_in_order);
    let mut found: Vec<_> = of_puts.take(SHOWN_MAX).collect();
    found.extend(gets_in_order(history, &lives).into_iter().take(SHOWN_MAX));
    found.extend(gaps(history, &lives).into_iter().take(SHOWN_MAX));
    found
}

/// By producer, as each put them.
fn lives(history: &[Operation]) -> Vec<Life<'_>> {
    let (mut lives, mut gets) = (Vec::new(), Vec::new());
    for operation in history {
        match operation.what {
            What::Put(value) | What::PutKilled { value, .. } => {
                lives.push((value, operation, None));
            }
            What::Got(value) => gets.push((value, operation)),
            _ => {}
        }
    }
    lives.sort_unstable_by_key(|&(value, ..)| value);
    gets.sort_unstable_by_key(|&(value, _)| value);
    let mut gets = gets.into_iter().peekable();
    for (value, _, get) in &mut lives {
        *get = gets.next_if(|(got, _)| got == value).map(|(_, get)| get);
    }
    lives
}

/// Of one producer: what it put later was not got before.
fn puts_in_order(lives: &[Life<'_>]) -> Option<Violation> {
    let mut got = lives.iter().filter_map(|&(value, put, get)| Some((value, put, get?)));
    let mut longest = got.next()?;
    for second in got {
        if second.2.res < longest.2.inv {
            return Some(disorder(
                longest.0,
                second.0,
                &[longest.1, longest.2, second.1, second.2],
            ));
        }
        if second.2.inv > longest.2.inv {
            longest = second;
        }
    }
    None
}

/// What a consumer got later was not put before, neither by another one's clock nor by one program.
fn gets_in_order(history: &[Operation], lives: &[Life<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    // What each has got so far: the message that was put last; and the last one of each producer.
    let mut last_put = HashMap::new();
    let mut last_of = HashMap::new();
    for get in history {
        let What::Got(value) = get.what else { continue };
        let Ok(at) = lives.binary_search_by_key(&value, |&(value, ..)| value) else { continue };
        let this = (value, lives[at].1, get);
        let by_program = last_of.insert((get.process, value.process()), this);
        let by_clock = *last_put.entry(get.process).or_insert(this);
        if this.1.inv > by_clock.1.inv {
            last_put.insert(get.process, this);
        }
        let by_program = by_program.filter(|before| value < before.0);
        let by_clock = Some(by_clock).filter(|before| this.1.res < before.1.inv);
        if let Some(before) = by_program.or(by_clock) {
            found.push(disorder(value, before.0, &[this.1, this.2, before.1, before.2]));
        }
    }
    found
}

fn disorder(first: Value, second: Value, operations: &[&Operation]) -> Violation {
    let why = format!("{first} was put before {second}, and got after it");
    Violation::new(Pattern::Order, why, operations)
}

/// Of several messages whose put was killed, the first ones were put. One that nobody got, before one
/// that was, went with a killed get, each with one of its own.
fn gaps(history: &[Operation], lives: &[Life<'_>]) -> Vec<Violation> {
    let takers: Vec<_> =
        history.iter().filter(|operation| operation.what == What::GetKilled).collect();
    let mut later: Option<Life<'_>> = None;
    let mut gaps = Vec::new();
    for &(value, put, get) in lives.iter().rev() {
        if get.is_some() {
            later = Some((value, put, get));
            continue;
        }
        let Some((next, next_put, Some(next_get))) = later else { continue };
        let is_killed = matches!(put.what, What::PutKilled { .. });
        if !is_killed || next.process() != value.process() {
            continue;
        }
        let can_have = |at: &usize| takers[*at].inv <= next_get.res && takers[*at].res >= put.inv;
        let suspects: Vec<_> = (0..takers.len()).filter(can_have).collect();
        gaps.push((suspects, value, next, [put, next_put, next_get]));
    }
    let mut held_by = vec![None; takers.len()];
    let mut found = Vec::new();
    for (at, (_, value, next, operations)) in gaps.iter().enumerate() {
        let mut tried = vec![false; takers.len()];
        if !give(at, &|at| gaps[at].0.as_slice(), &mut held_by, &mut tried) {
            let why = format!("{next}, put after it, was got, and no killed get can have {value}");
            found.push(Violation::new(Pattern::Lost, why, operations));
        }
    }
    found
}
