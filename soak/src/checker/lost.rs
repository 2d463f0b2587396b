//! Messages that nobody got who lived to tell: each may have gone with a killed get of its own.

use super::items::{Item, Items};
use super::order::Order;
use super::violation::{Pattern, SHOWN_MAX, Violation};
use crate::history::{NEVER, Operation};

/// A message put and not got.
#[derive(Debug)]
pub(super) struct Missing<'h> {
    pub(super) item: Item<'h>,
    /// It was out by then; [`NEVER`] if it may still be inside.
    pub(super) deadline: u64,
    /// Why.
    witness: Vec<&'h Operation>,
    /// The killed gets that may have it, by their beginning; indices into `takers`.
    pub(super) suspects: Vec<usize>,
}

impl Missing<'_> {
    pub(super) fn must_be_out(&self) -> bool {
        self.deadline != NEVER
    }
}

/// What is known about each missing message.
pub(super) fn examine<'h>(items: &Items<'h>, order: &Order<'_, 'h>) -> Vec<Missing<'h>> {
    let mut suspects: Vec<_> = (0..items.takers.len()).collect();
    suspects.sort_unstable_by_key(|&at| items.takers[at].inv);
    let empties = by_start(&items.empties);
    let examine = |item: &Item<'h>| {
        let (deadline, witness) = out_by(item, order, &empties);
        let before = order.longest_before(item.put.inv).map_or(0, Item::inside_until);
        let release = before.max(item.put.inv);
        let can_have = |&at: &usize| {
            let taker = items.takers[at];
            taker.inv <= deadline && taker.res >= release
        };
        let suspects = suspects.iter().copied().filter(can_have).collect();
        Missing { item: *item, deadline, witness, suspects }
    };
    items.missing.iter().map(examine).collect()
}

/// The Empties by their beginning; each with the one, from there on, that ended first.
fn by_start<'h>(empties: &[&'h Operation]) -> Vec<(u64, &'h Operation)> {
    let mut sorted: Vec<_> = empties.iter().map(|&empty| (empty.inv, empty)).collect();
    sorted.sort_unstable_by_key(|&(start, _)| start);
    for at in (1..sorted.len()).rev() {
        let (next, this) = (sorted[at].1, &mut sorted[at - 1].1);
        if next.res < this.res {
            *this = next;
        }
    }
    sorted
}

/// By when `item` was out, and what shows it: a message put after it was got, or there was an Empty.
fn out_by<'h>(
    item: &Item<'h>,
    order: &Order<'_, 'h>,
    empties: &[(u64, &'h Operation)],
) -> (u64, Vec<&'h Operation>) {
    let put = item.put;
    let begun = empties.partition_point(|&(start, _)| start <= put.res);
    let empty = empties.get(begun).map(|&(_, empty)| (empty.res, vec![put, empty]));
    let overtaker = order.first_after(put.res).and_then(|item| Some((item.put, item.get?)));
    let overtaken = overtaker.map(|(second, get)| (get.res, vec![put, second, get]));
    let shown = [overtaken, empty].into_iter().flatten();
    shown.min_by_key(|&(deadline, _)| deadline).unwrap_or((NEVER, vec![put]))
}

/// Finds a killed get for each message that must be out: one is enough for one of them.
pub(super) fn check(missing: &[Missing<'_>], takers: &[&Operation]) -> Vec<Violation> {
    let mut held_by: Vec<Option<usize>> = vec![None; takers.len()];
    let mut found = Vec::new();
    for (at, lost) in missing.iter().enumerate().filter(|(_, missing)| missing.must_be_out()) {
        let mut tried = vec![false; takers.len()];
        if !give(at, &|at| &missing[at].suspects, &mut held_by, &mut tried) {
            let value = lost.item.value;
            let why = match lost.suspects.len() {
                0 => format!("{value} was put, nobody got it, and no killed get can have it"),
                some => format!(
                    "{value} was put, nobody got it, and the killed gets that can have it ({some}) \
                     are needed for other messages"
                ),
            };
            found.push(Violation::new(Pattern::Lost, why, &lost.witness));
            if found.len() == SHOWN_MAX {
                break;
            }
        }
    }
    found
}

/// An augmenting path: gives message `at` a get, of the `suspects` of each, moving others to other gets where that
/// helps.
pub(super) fn give<'m>(
    at: usize,
    suspects: &impl Fn(usize) -> &'m [usize],
    held_by: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &taker in suspects(at) {
        if tried[taker] {
            continue;
        }
        tried[taker] = true;
        if held_by[taker].is_none_or(|other| give(other, suspects, held_by, tried)) {
            held_by[taker] = Some(at);
            return true;
        }
    }
    false
}
