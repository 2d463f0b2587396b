//! From logs to a history.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use shmq_engine::{PopError, Queue};
use shmq_soak::history::{Operation, What};

use crate::clock;
use crate::crew::Gone;
use crate::log::{Call, Entry, Return};
use crate::message;
use crate::warp::Warp;

/// The supervisor's own number.
pub(crate) const SUPERVISOR: u32 = 0;

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    pub(crate) fulls: u64,
    pub(crate) empties: u64,
    pub(crate) kills: u64,
    /// Workers killed before their first operation.
    pub(crate) killed_before: u64,
    pub(crate) killed_in_put: u64,
    pub(crate) killed_in_get: u64,
    /// Calls to put or get several.
    pub(crate) of_many: u64,
    /// Messages of killed puts that arrived.
    pub(crate) arrived: u64,
    /// Messages that went with a killed get.
    pub(crate) taken_along: u64,
}

/// Every operation of those that are gone, intervals widened by the warp.
pub(crate) fn history(gone: &[Gone], warp: Warp, counts: &mut Counts) -> Result<Vec<Operation>> {
    let mut history = Vec::new();
    for gone in gone {
        let before = history.len();
        let entries: Vec<Entry> =
            gone.log.entries().collect::<Result<_, _>>().context("reading a log")?;
        // No two calls of a process begin at the same time.
        let calls = entries.chunk_by(|one, next| one.inv == next.inv);
        counts.of_many += calls.filter(|call| call.len() > 1).count() as u64;
        for entry in entries {
            let Some(mut operation) = operation(gone, entry)? else { continue };
            operation.inv = operation.inv.saturating_sub(warp.ticks);
            operation.res = operation.res.saturating_add(warp.ticks);
            history.push(operation);
        }
        counts.kills += u64::from(gone.death.is_some());
        counts.killed_before += u64::from(gone.death.is_some() && history.len() == before);
    }
    Ok(history)
}

/// None: a get that was never tried.
fn operation(gone: &Gone, entry: Entry) -> Result<Option<Operation>> {
    let Entry { call, inv, end } = entry;
    let (what, res) = match (call, end, gone.death) {
        (_, Some((Return::Failed, _)), _) => {
            bail!(
                "worker {}: {call:?} ended in an error that it said, or was killed before",
                gone.number
            )
        }
        (Call::Put(value), Some((Return::Unasked, res)), _) => (What::Untried(value), res),
        (Call::Get, Some((Return::Unasked, _)), _) => return Ok(None),
        (Call::Put(value), Some((Return::Done(None), res)), _) => (What::Put(value), res),
        (Call::Put(value), Some((Return::Refused, res)), _) => (What::Full(value), res),
        (Call::Get, Some((Return::Done(Some(value)), res)), _) => (What::Got(value), res),
        (Call::Get, Some((Return::Torn(value), res)), _) => (What::Torn(value), res),
        (Call::Get, Some((Return::Refused, res)), _) => (What::Empty, res),
        (Call::Put(value), None, Some(death)) => {
            (What::PutKilled { value, settled: death.settled }, death.dead)
        }
        (Call::Get, None, Some(death)) => (What::GetKilled, death.dead),
        _ => bail!("worker {} ended by itself with {entry:?} in its log", gone.number),
    };
    Ok(Some(Operation { process: gone.number, what, inv, res }))
}

/// Adds up a whole epoch.
pub(crate) fn count(history: &[Operation], counts: &mut Counts) {
    let (mut killed_puts, mut got, mut put) = (HashSet::new(), 0, 0);
    // A call that was killed may have been of several.
    let (mut putters, mut getters) = (HashSet::new(), HashSet::new());
    for operation in history {
        counts.operations += u64::from(!matches!(operation.what, What::Untried(_)));
        match operation.what {
            What::Put(_) => put += 1,
            What::Full(_) => counts.fulls += 1,
            What::Untried(_) => {}
            What::PutKilled { value, .. } => {
                putters.insert(operation.process);
                killed_puts.insert(value);
            }
            What::Got(_) | What::Torn(_) => got += 1,
            What::Empty => counts.empties += 1,
            What::GetKilled => _ = getters.insert(operation.process),
        }
    }
    counts.killed_in_put += putters.len() as u64;
    counts.killed_in_get += getters.len() as u64;
    let is_arrival =
        |operation: &&Operation| matches!(operation.what, What::Got(v) if killed_puts.contains(&v));
    let arrived = history.iter().filter(is_arrival).count() as u64;
    counts.arrived += arrived;
    counts.puts += put;
    counts.gets += got;
    counts.taken_along += (put + arrived).saturating_sub(got);
}

/// Empties the queue when everybody is gone.
pub(crate) fn drain(queue: &Queue, scratch: &mut [u8]) -> Result<Vec<Operation>, String> {
    let mut consumer = queue.consumer().map_err(|error| format!("attaching to drain: {error}"))?;
    let mut buffer = scratch.to_vec();
    let mut drained = Vec::new();
    loop {
        let inv = clock::before();
        let got = consumer.try_pop(&mut buffer);
        let res = clock::after();
        let what = match got {
            Ok(len) => match message::read(&buffer[..len], scratch) {
                Ok(value) => What::Got(value),
                Err(began) => What::Torn(began),
            },
            Err(PopError::Empty) => What::Empty,
            Err(error) => return Err(format!("draining: {error}")),
        };
        drained.push(Operation { process: SUPERVISOR, what, inv, res });
        // A corrupt queue may be endless.
        if what == What::Empty || drained.len() > queue.capacity() {
            return Ok(drained);
        }
    }
}
