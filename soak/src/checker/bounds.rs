//! P5 and P6: what the capacity forbids.

use std::collections::HashMap;

use super::items::{Item, Items};
use super::lost::Missing;
use super::order::Order;
use super::violation::{Pattern, SHOWN_MAX, Violation};
use crate::history::{NEVER, Operation};

pub(super) fn check(
    items: &Items<'_>,
    order: &Order<'_, '_>,
    missing: &[Missing<'_>],
    capacity: u64,
) -> Vec<Violation> {
    let mut found = false_full(items, order, missing, capacity);
    found.extend(overflow(items, missing, capacity));
    found
}

/// P5: counts all that may have had a place.
fn false_full(
    items: &Items<'_>,
    order: &Order<'_, '_>,
    missing: &[Missing<'_>],
    capacity: u64,
) -> Vec<Violation> {
    let mut places = places(items, order, missing);
    let strictly = Levels::of(&places);
    places.extend(late_places(items, order, capacity));
    let at_most = Levels::of(&places);
    let mut behind = HashMap::new();
    for untried in &items.untried {
        *behind.entry(call(untried)).or_insert(0) += 1;
    }
    let wrong = items.fulls.iter().filter_map(|full| {
        // The places of its own call are no reason.
        let own = 1 + behind.get(&call(full)).copied().unwrap_or(0);
        let most = |levels: &Levels| levels.most(full.inv, full.res).saturating_sub(own);
        let (strictly, at_most) = (most(&strictly), most(&at_most));
        (strictly < capacity).then(|| {
            let why = format!("at most {strictly} of {capacity} places can have been taken");
            let (pattern, why) = if at_most < capacity {
                (Pattern::FalseFull, why)
            } else {
                let late = "or else by puts that had ended, and had been overtaken by a lap";
                (Pattern::LateFull, format!("{why}, {late}"))
            };
            Violation::new(pattern, why, &[full])
        })
    });
    // Late ones must not crowd out the others.
    let (late, false_ones): (Vec<_>, Vec<_>) =
        wrong.partition(|violation| violation.pattern == Pattern::LateFull);
    let shown = |violations: Vec<_>| violations.into_iter().take(SHOWN_MAX);
    shown(false_ones).chain(shown(late)).collect()
}

/// What the operations of one call have in common, and no others.
fn call(operation: &Operation) -> (u32, u64) {
    (operation.process, operation.inv)
}

/// A place taken: from when on, until when at the latest.
type Place = (u64, u64);

fn places(items: &Items<'_>, order: &Order<'_, '_>, missing: &[Missing<'_>]) -> Vec<Place> {
    let taken = items.taken.iter().map(|item| (item.put.inv, item.gone_by()));
    let missing = missing.iter().map(|missing| (missing.item.put.inv, missing.deadline));
    // The place of a killed put is free when a message is out that was put after all of that put's
    // traces were gone.
    let ghosts = items.ghosts.iter().map(|ghost| (ghost.put.inv, out_after(order, ghost.settled)));
    // A put that ended in Full may have had a place meanwhile: stopped there, it was passed over. So may those
    // behind it, claimed together with it.
    let refused = items.fulls.iter().chain(&items.untried).map(|put| (put.inv, put.res));
    taken.chain(missing).chain(ghosts).chain(refused).collect()
}

/// Places that puts may have cost after their end: a put that was stopped while the others went
/// through all slots made one of them pass over a place, and that one counts until it is reached.
fn late_places(items: &Items<'_>, order: &Order<'_, '_>, capacity: u64) -> Vec<Place> {
    let known = [&items.taken, &items.missing, &items.ghosts].into_iter().flatten();
    let refused = items.fulls.iter().chain(&items.untried).copied();
    let puts: Vec<_> = known.map(|item| item.put).chain(refused).collect();
    let mut starts: Vec<_> = puts.iter().map(|put| put.inv).collect();
    starts.sort_unstable();
    let begun = |time| starts.partition_point(|&start| start <= time);
    let was_lapped = |put: &&&Operation| (begun(put.res) - begun(put.inv)) as u64 > capacity;
    puts.iter().filter(was_lapped).map(|put| (put.inv, out_after(order, put.res))).collect()
}

/// When some message was out that was put after `time`, and so everything before it.
fn out_after(order: &Order<'_, '_>, time: u64) -> u64 {
    order.first_after(time).map_or(NEVER, Item::gone_by)
}

/// P6: counts only what was surely inside.
fn overflow(items: &Items<'_>, missing: &[Missing<'_>], capacity: u64) -> Vec<Violation> {
    // A missing message may be out from the beginning of any get that may have it.
    let out = |missing: &Missing<'_>, takers: &[&Operation]| {
        missing.suspects.iter().map(|&at| takers[at].inv).min().unwrap_or(NEVER)
    };
    let taken = items.taken.iter().map(|item| (item.inside_from(), item.inside_until()));
    let missing =
        missing.iter().map(|missing| (missing.item.inside_from(), out(missing, &items.takers)));
    // Surely inside between the two only.
    let inside = taken.chain(missing).filter(|(from, until)| from < until);
    let inside: Vec<Place> = inside.map(|(from, until)| (from + 1, until - 1)).collect();
    let levels = Levels::of(&inside);
    let Some(&(time, level)) = levels.steps.iter().find(|&&(_, level)| level > capacity) else {
        return Vec::new();
    };
    let inside =
        items.taken.iter().filter(|item| item.inside_from() < time && time <= item.inside_until());
    let why = format!("{level} messages were inside at {time}, of at most {capacity}");
    let operations: Vec<_> = inside.take(SHOWN_MAX).flat_map(Item::operations).collect();
    vec![Violation::new(Pattern::Overflow, why, &operations)]
}

/// A number that changes at times, to be asked for its maximum.
#[derive(Debug)]
struct Levels {
    /// `{from when on, how many}`, by time.
    steps: Vec<(u64, u64)>,
    /// A tree of maxima: node n has the children 2n and 2n + 1, the leaves are the second half.
    tree: Vec<u64>,
}

impl Levels {
    /// How many of `places` are taken.
    fn of(places: &[Place]) -> Self {
        let mut changes: Vec<(u64, i64)> = Vec::with_capacity(2 * places.len());
        for &(from, until) in places.iter().filter(|(from, until)| from <= until) {
            changes.push((from, 1));
            if until != NEVER {
                changes.push((until + 1, -1));
            }
        }
        changes.sort_unstable();
        let mut steps = vec![(0, 0)];
        let mut level = 0;
        for (time, change) in changes {
            level += change;
            let now = u64::try_from(level).unwrap_or(0);
            match steps.last_mut() {
                Some(last) if last.0 == time => last.1 = now,
                _ => steps.push((time, now)),
            }
        }
        let mut tree = vec![0; steps.len()];
        tree.extend(steps.iter().map(|&(_, level)| level));
        for at in (1..steps.len()).rev() {
            tree[at] = tree[2 * at].max(tree[2 * at + 1]);
        }
        Self { steps, tree }
    }

    /// The highest from `first` to `last`.
    fn most(&self, first: u64, last: u64) -> u64 {
        let leaf = |time| self.steps.partition_point(|&(start, _)| start <= time) - 1;
        let (mut from, mut to) =
            (leaf(first) + self.steps.len(), leaf(last) + self.steps.len() + 1);
        let mut most = 0;
        while from < to {
            if from % 2 == 1 {
                most = most.max(self.tree[from]);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                most = most.max(self.tree[to]);
            }
            from /= 2;
            to /= 2;
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_steps() {
        let levels = Levels::of(&[(5, 8), (7, 8), (7, NEVER), (20, NEVER), (3, 2)]);
        assert_eq!(levels.steps, [(0, 0), (5, 1), (7, 3), (9, 1), (20, 2)]);
        for (first, last, most) in
            [(0, 4, 0), (0, 5, 1), (6, 6, 1), (6, 8, 3), (8, 8, 3), (9, 19, 1)]
        {
            assert_eq!(levels.most(first, last), most, "{first} to {last}");
        }
    }
}
