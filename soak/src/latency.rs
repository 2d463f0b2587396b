//! From a kill to the next success of another: how long does a death delay the others?

use hdrhistogram::Histogram;
use shmq_soak::history::{Operation, What};

use crate::crew::Gone;
use crate::gather::SUPERVISOR;

/// Minutes.
const TICKS_MAX: u64 = 1 << 40;

/// In ticks. Contains everything: the others' turn to run on the CPUs there are, the rest of an
/// operation that was in progress at the kill or the wait for a new one, and logging it.
#[derive(Debug)]
pub(crate) struct Latency {
    ticks: Histogram<u64>,
    /// Kills after which nobody else succeeded, until the end of the epoch.
    pub(crate) unanswered: u64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        let ticks = Histogram::new_with_bounds(1, TICKS_MAX, 3).expect("the bounds are valid");
        Self { ticks, unanswered: 0 }
    }

    /// Takes the kills of an epoch.
    pub(crate) fn add(&mut self, gone: &[Gone], history: &[Operation]) {
        let succeeded = |operation: &&Operation| {
            matches!(operation.what, What::Put(_) | What::Got(_)) && operation.process != SUPERVISOR
        };
        let mut ends: Vec<(u64, u32)> = history
            .iter()
            .filter(succeeded)
            .map(|operation| (operation.res, operation.process))
            .collect();
        ends.sort_unstable();
        for gone in gone {
            let Some(death) = gone.death else { continue };
            // Who ended after the kill was in the operation at the kill, or began it later.
            let after = ends.partition_point(|&(end, _)| end < death.sent);
            match ends[after..].iter().find(|&&(_, process)| process != gone.number) {
                Some(&(end, _)) => self.ticks.saturating_record(end - death.sent),
                None => self.unanswered += 1,
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.ticks.len()
    }

    /// `{p50, p90, p99, max}`.
    pub(crate) fn ticks(&self) -> [u64; 4] {
        let at = |quantile| self.ticks.value_at_quantile(quantile);
        [at(0.5), at(0.9), at(0.99), self.ticks.max()]
    }
}
