//! P4: Empty, with a message inside at every moment.

use super::items::Items;
use super::lost::Missing;
use super::violation::{Pattern, SHOWN_MAX, Violation};
use crate::history::{NEVER, Operation};

/// An open interval: during it, some message was surely inside.
type Inside = (u64, u64);

/// So many steps of the search are enough for thousands of missing messages, unless they are many
/// around one Empty.
const STEPS_MAX: u32 = 200_000;

/// Checks every Empty. `may_search`: is it known that each missing message has a killed get?
pub(super) fn check(
    items: &Items<'_>,
    missing: &[Missing<'_>],
    may_search: bool,
) -> Vec<Violation> {
    let taken = items.taken.iter().map(|item| (item.inside_from(), item.inside_until()));
    let base = merged(taken.collect());
    let worst = missing.iter().map(|missing| {
        let latest = missing.suspects.iter().map(|&at| items.takers[at].inv).max();
        let until = if missing.must_be_out() { latest.unwrap_or(0) } else { NEVER };
        (missing.item.inside_from(), until)
    });
    let worst = merged(base.iter().copied().chain(worst).collect());
    let mut found = Vec::new();
    let mut contested = Vec::new();
    for &empty in &items.empties {
        if is_covered(empty, &base, &[]) {
            found.push(false_empty(empty, items));
        } else if is_covered(empty, &worst, &[]) {
            contested.push(empty);
        }
    }
    found.truncate(SHOWN_MAX);
    if found.is_empty() && may_search && !contested.is_empty() {
        found.extend(Search::of(items, missing, &base, &contested).run());
    }
    found
}

/// The union of open intervals, as disjoint ones in order. Two that only touch do not join: between
/// them the queue may have been empty.
fn merged(mut parts: Vec<Inside>) -> Vec<Inside> {
    parts.retain(|&(from, until)| from < until);
    parts.sort_unstable();
    let mut joined: Vec<Inside> = Vec::with_capacity(parts.len());
    for (from, until) in parts {
        match joined.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(until),
            _ => joined.push((from, until)),
        }
    }
    joined
}

/// Is the whole of `empty` covered by `base`, which is merged, and `more`, which are few?
fn is_covered(empty: &Operation, base: &[Inside], more: &[Inside]) -> bool {
    let mut at = empty.inv;
    loop {
        let last = base.partition_point(|&(from, _)| from < at).checked_sub(1);
        let candidates = last.map(|last| base[last]).into_iter().chain(more.iter().copied());
        let covering = candidates.filter(|&(from, until)| from < at && at < until);
        let Some(reach) = covering.map(|(_, until)| until).max() else { return false };
        if reach > empty.res {
            return true;
        }
        at = reach;
    }
}

fn false_empty(empty: &Operation, items: &Items<'_>) -> Violation {
    let around = items
        .taken
        .iter()
        .filter(|item| item.inside_from() < empty.res && item.inside_until() > empty.inv)
        .filter(|item| item.inside_from() < item.inside_until());
    let mut around: Vec<_> = around.collect();
    around.sort_unstable_by_key(|item| item.inside_from());
    let why = match &around[..] {
        [item] => format!("{} was inside all the time", item.value),
        several => format!("at every moment at least one of {} messages was inside", several.len()),
    };
    let shown = around.iter().take(SHOWN_MAX).flat_map(|item| item.operations());
    let operations: Vec<_> = [empty].into_iter().chain(shown).collect();
    Violation::new(Pattern::FalseEmpty, why, &operations)
}

/// Gives missing messages to killed gets so that no contested Empty is covered.
#[derive(Debug)]
struct Search<'s, 'h> {
    missing: Vec<&'s Missing<'h>>,
    takers: &'s [&'h Operation],
    base: &'s [Inside],
    contested: &'s [&'h Operation],
    used: Vec<bool>,
    chosen: Vec<Inside>,
    steps: u32,
}

impl<'s, 'h> Search<'s, 'h> {
    fn of(
        items: &'s Items<'h>,
        missing: &'s [Missing<'h>],
        base: &'s [Inside],
        contested: &'s [&'h Operation],
    ) -> Self {
        let end = contested.iter().map(|empty| empty.res).max().unwrap_or(0);
        let concerned =
            |missing: &&Missing<'_>| missing.must_be_out() || missing.item.inside_from() < end;
        let mut missing: Vec<_> = missing.iter().filter(concerned).collect();
        missing.sort_unstable_by_key(|missing| missing.item.inside_from());
        let used = vec![false; items.takers.len()];
        Self { missing, takers: &items.takers, base, contested, used, chosen: Vec::new(), steps: 0 }
    }

    fn run(mut self) -> Option<Violation> {
        if self.solve(0) {
            return None;
        }
        let puts = self.missing.iter().map(|missing| missing.item.put);
        let operations: Vec<_> = self.contested.iter().copied().chain(puts).collect();
        let operations = &operations[..operations.len().min(2 * SHOWN_MAX)];
        let number = self.missing.len();
        let (pattern, why) = if self.steps > STEPS_MAX {
            let why = format!("which of {number} missing messages went with which killed get?");
            (Pattern::Undecided, why)
        } else {
            let why = format!(
                "whichever killed gets took the {number} missing messages, some message was inside"
            );
            (Pattern::FalseEmpty, why)
        };
        Some(Violation::new(pattern, why, operations))
    }

    /// Is there a way for the missing messages from `at` on?
    fn solve(&mut self, at: usize) -> bool {
        let Some(&missing) = self.missing.get(at) else { return true };
        for &taker in &missing.suspects {
            if self.used[taker] {
                continue;
            }
            self.used[taker] = true;
            if self.go_on(at, self.takers[taker].inv) {
                return true;
            }
            self.used[taker] = false;
        }
        !missing.must_be_out() && self.go_on(at, NEVER)
    }

    /// Message `at` was inside until then: is there a way for the others?
    fn go_on(&mut self, at: usize, until: u64) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return false;
        }
        self.chosen.push((self.missing[at].item.inside_from(), until));
        let covered = |&empty: &&Operation| is_covered(empty, self.base, &self.chosen);
        if !self.contested.iter().any(covered) && self.solve(at + 1) {
            return true;
        }
        self.chosen.pop();
        false
    }
}
