//! P3: who was put first leaves first.

use super::items::Item;
use super::violation::{Pattern, SHOWN_MAX, Violation};

/// The messages whose gets are known, to be asked who must have left before or after whom.
#[derive(Debug)]
pub(super) struct Order<'i, 'h> {
    /// By the end of their puts; each with the one, so far, that was inside longest.
    by_end: Vec<(u64, &'i Item<'h>)>,
    /// By the beginning of their puts; each with the one, from there on, that was gone first.
    by_start: Vec<(u64, &'i Item<'h>)>,
}

impl<'i, 'h> Order<'i, 'h> {
    pub(super) fn of(taken: &'i [Item<'h>]) -> Self {
        let mut by_end: Vec<_> = taken.iter().map(|item| (item.put.res, item)).collect();
        by_end.sort_unstable_by_key(|&(end, _)| end);
        let mut longest: Option<&Item<'_>> = None;
        for (_, item) in &mut by_end {
            let kept = longest.filter(|longest| longest.inside_until() >= item.inside_until());
            *item = kept.unwrap_or(item);
            longest = Some(item);
        }
        let mut by_start: Vec<_> = taken.iter().map(|item| (item.put.inv, item)).collect();
        by_start.sort_unstable_by_key(|&(start, _)| start);
        let mut first: Option<&Item<'_>> = None;
        for (_, item) in by_start.iter_mut().rev() {
            let kept = first.filter(|first| first.gone_by() <= item.gone_by());
            *item = kept.unwrap_or(item);
            first = Some(item);
        }
        Self { by_end, by_start }
    }

    /// Of the messages put before `time`, the one inside longest.
    pub(super) fn longest_before(&self, time: u64) -> Option<&'i Item<'h>> {
        let after = self.by_end.partition_point(|&(end, _)| end < time);
        Some(self.by_end[..after].last()?.1)
    }

    /// Of the messages whose put began after `time`, the one gone first.
    pub(super) fn first_after(&self, time: u64) -> Option<&'i Item<'h>> {
        let after = self.by_start.partition_point(|&(start, _)| start <= time);
        Some(self.by_start.get(after)?.1)
    }

    pub(super) fn check(&self, taken: &[Item<'_>]) -> impl Iterator<Item = Violation> {
        let wrong = taken.iter().filter_map(|second| {
            let first = self.longest_before(second.put.inv)?;
            (second.gone_by() < first.inside_until()).then(|| {
                let (a, b) = (first.value, second.value);
                let why = format!("{a} was put before {b}, and got after it");
                let operations: Vec<_> = first.operations().chain(second.operations()).collect();
                Violation::new(Pattern::Order, why, &operations)
            })
        });
        wrong.take(SHOWN_MAX)
    }
}
