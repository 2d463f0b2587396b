//! A number, what it was made of, and how it compares with shmq's.

use serde::Serialize;

use crate::env::Environment;
use crate::plan::{Cell, Mode};
use crate::stats::{self, Estimate, Percentiles};
use crate::trial::Outcome;

/// Only ever made of verified rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CellReport {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    unit: &'static str,
    #[serde(flatten)]
    pub(crate) time: Estimate,
    pub(crate) rounds: usize,
    verified: bool,
    /// This transport's time / shmq's time, within rounds; above 1 shmq is faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_difference_shown: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percentiles: Option<Percentiles>,
    /// One per round.
    pub(crate) samples: Vec<f64>,
    /// What a cache line took there and back between the first two CPUs, just before each sample; all, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) line_ns: Vec<f64>,
    pub(crate) messages: Vec<u64>,
    pub(crate) messages_per_s: f64,
    pub(crate) mib_per_s: f64,
    /// All processes together.
    pub(crate) cpu_ns_per_message: f64,
    pub(crate) voluntary_switches_per_1000: f64,
    pub(crate) involuntary_switches_per_1000: f64,
    /// Where the workers were pinned, producers first; empty if they were not.
    cpus: Vec<usize>,
    pub(crate) oversubscribed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<usize>,
    /// The workers were threads, or one thread.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    one_process: bool,
}

impl CellReport {
    /// `reference`: shmq's times in the same rounds.
    pub(crate) fn of(
        cell: Cell,
        outcomes: &[Outcome],
        reference: Option<&[f64]>,
        env: &Environment,
        seed: u64,
    ) -> Option<CellReport> {
        let samples: Vec<f64> = outcomes.iter().map(|outcome| outcome.time_ns).collect();
        let time = Estimate::of(&samples, seed)?;
        let ratio = reference.and_then(|ours| {
            let within_rounds: Vec<f64> =
                samples.iter().zip(ours).map(|(time, our)| time / our).collect();
            Estimate::of(&within_rounds, seed)
        });
        let sum = |field: fn(&Outcome) -> u64| outcomes.iter().map(field).sum::<u64>() as f64;
        let messages = sum(|outcome| outcome.messages);
        let places = 0..cell.processes();
        let messages_per_s = 1e9 / time.median;
        Some(CellReport {
            cell,
            unit: "ns",
            time,
            rounds: outcomes.len(),
            verified: true,
            ratio,
            no_difference_shown: ratio.map(|ratio| ratio.spans_one()),
            percentiles: (cell.mode == Mode::Rtt).then(|| percentiles(outcomes)),
            samples,
            line_ns: outcomes
                .iter()
                .map(|outcome| outcome.line_ns)
                .collect::<Option<_>>()
                .unwrap_or_default(),
            messages: outcomes.iter().map(|outcome| outcome.messages).collect(),
            messages_per_s,
            mib_per_s: messages_per_s * cell.size as f64 / f64::from(1 << 20),
            cpu_ns_per_message: sum(|outcome| outcome.cpu_ns) / messages,
            voluntary_switches_per_1000: sum(|outcome| outcome.voluntary_switches) * 1e3 / messages,
            involuntary_switches_per_1000: sum(|outcome| outcome.involuntary_switches) * 1e3
                / messages,
            cpus: env.cpus_pinned.iter().copied().cycle().zip(places).map(|(cpu, _)| cpu).collect(),
            oversubscribed: cell.processes() > env.cores_allowed,
            capacity: (cell.transport.capacity)(&cell.row()),
            one_process: cell.transport.one_process,
        })
    }
}

/// Over the round trips of all rounds.
fn percentiles(outcomes: &[Outcome]) -> Percentiles {
    let mut histogram = stats::histogram();
    for &(trip_ns, count) in outcomes.iter().flat_map(|outcome| &outcome.trips) {
        histogram.saturating_record_n(trip_ns, count);
    }
    Percentiles::of(&histogram)
}
