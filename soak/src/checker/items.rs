//! Which get belongs to which put. P1 and P2 are found on the way.

use super::violation::{Pattern, SHOWN_MAX, Violation};
use crate::history::{NEVER, Operation, Value, What};

/// A message that is or may have been in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'h> {
    pub(super) value: Value,
    pub(super) put: &'h Operation,
    /// Its get, if that is known.
    pub(super) get: Option<&'h Operation>,
    /// Was its put killed, with traces that may take a place until then?
    pub(super) settled: u64,
}

impl Item<'_> {
    /// It was in after that.
    pub(super) fn inside_from(&self) -> u64 {
        self.put.res
    }

    /// It was out not before that.
    pub(super) fn inside_until(&self) -> u64 {
        self.get.map_or(NEVER, |get| get.inv)
    }

    /// It was out by then.
    pub(super) fn gone_by(&self) -> u64 {
        self.get.map_or(NEVER, |get| get.res)
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation> {
        [Some(self.put), self.get].into_iter().flatten()
    }
}

/// A history, sorted by what each operation means to the checker.
#[derive(Debug, Default)]
pub(super) struct Items<'h> {
    /// Put and got.
    pub(super) taken: Vec<Item<'h>>,
    /// Put, not got by anybody who lived to tell.
    pub(super) missing: Vec<Item<'h>>,
    /// Puts that were killed, and that nobody saw.
    pub(super) ghosts: Vec<Item<'h>>,
    /// Gets that were killed.
    pub(super) takers: Vec<&'h Operation>,
    pub(super) empties: Vec<&'h Operation>,
    pub(super) fulls: Vec<&'h Operation>,
    pub(super) untried: Vec<&'h Operation>,
}

impl<'h> Items<'h> {
    pub(super) fn pair(history: &'h [Operation]) -> (Self, Vec<Violation>) {
        let mut sorted = Self::default();
        let (mut puts, mut gets, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let put = |value, put, settled| Item { value, put, get: None, settled };
        for operation in history {
            match operation.what {
                What::Put(value) => puts.push(put(value, operation, 0)),
                What::PutKilled { value, settled } => {
                    puts.push(put(value, operation, settled.max(operation.res)));
                }
                What::Got(value) => gets.push((value, operation)),
                What::Empty => sorted.empties.push(operation),
                What::Full(_) => sorted.fulls.push(operation),
                What::Untried(_) => sorted.untried.push(operation),
                What::GetKilled => sorted.takers.push(operation),
                What::Torn(value) => {
                    let why = format!("what was got is no message; it began like {value}");
                    found.push(Violation::new(Pattern::Torn, why, &[operation]));
                }
            }
        }
        puts.sort_unstable_by_key(|item| item.value);
        gets.sort_unstable_by_key(|&(value, get)| (value, get.inv));
        for pair in puts.windows(2).filter(|pair| pair[0].value == pair[1].value) {
            let why = format!("{} was put twice", pair[0].value);
            found.push(Violation::new(Pattern::Malformed, why, &[pair[0].put, pair[1].put]));
        }
        found.extend(repeated(&gets).take(SHOWN_MAX));
        found.extend(sorted.join(puts, &gets).take(SHOWN_MAX));
        (sorted, found)
    }

    /// Merges puts and gets, both sorted by value.
    fn join(
        &mut self,
        puts: Vec<Item<'h>>,
        gets: &[(Value, &'h Operation)],
    ) -> impl Iterator<Item = Violation> + use<> {
        let mut found = Vec::new();
        let mut gets = gets.iter().peekable();
        for mut item in puts {
            while let Some((value, get)) = gets.next_if(|(value, _)| *value < item.value) {
                found.push(thin_air(*value, get));
            }
            while let Some(&(_, get)) = gets.next_if(|(value, _)| *value == item.value) {
                item.get = Some(get);
            }
            match item.get {
                Some(get) if get.res < item.put.inv => {
                    let why = format!("{} was got before it was put", item.value);
                    found.push(Violation::new(Pattern::ThinAir, why, &[item.put, get]));
                }
                Some(_) => self.taken.push(item),
                None if matches!(item.put.what, What::PutKilled { .. }) => self.ghosts.push(item),
                None => self.missing.push(item),
            }
        }
        found.extend(gets.map(|(value, get)| thin_air(*value, get)));
        found.into_iter()
    }
}

fn thin_air(value: Value, get: &Operation) -> Violation {
    let why = format!("{value} was got, and no put of it happened");
    Violation::new(Pattern::ThinAir, why, &[get])
}

fn repeated(gets: &[(Value, &Operation)]) -> impl Iterator<Item = Violation> {
    gets.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| {
        let why = format!("{} was got twice", pair[0].0);
        Violation::new(Pattern::Duplicate, why, &[pair[0].1, pair[1].1])
    })
}
