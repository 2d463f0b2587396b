//! One cell, once: start the workers, let them run, verify what they did.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpid};

use crate::barrier::Barrier;
use crate::crew::Crew;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::message::{Fault, Tally, conserved};
use crate::plan::{Cell, Mode};
use crate::runner::Schedule;
use crate::stats;
use crate::transport::{Channel, End};
use crate::worker::{Address, Report, Role, Seat, Spec};

/// How often a worker that died before the start is looked for.
const READY_CHECK: Duration = Duration::from_millis(50);

/// A verified trial.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Per message, or the median of the round trips.
    pub(crate) time_ns: f64,
    pub(crate) messages: u64,
    /// All workers together, also the time they spent waiting on the CPU.
    pub(crate) cpu_ns: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// Round-trip times as `(ns, how many)`.
    pub(crate) trips: Vec<(u64, u64)>,
    /// What a cache line took to the second CPU and back just before, if that was measured.
    pub(crate) line_ns: Option<f64>,
}

pub(crate) fn run(cell: &Cell, schedule: &Schedule, interrupt: &Interrupt) -> Result<Outcome> {
    let patience = schedule.patience;
    let deadline = Instant::now() + schedule.slice + patience;
    let barrier = Barrier::new()?;
    let mut crew = Crew::new(interrupt);
    start(cell, &schedule.cpus, &barrier, &mut crew)?;
    let hung = |crew: &Crew<'_>| Error::Hung { patience, who: crew.at_work() };
    while !barrier.wait_ready(crew.seats(), READY_CHECK) {
        crew.check_alive()?;
        if Instant::now() >= deadline {
            return Err(hung(&crew));
        }
    }
    barrier.go();
    crew.watch(schedule.slice)?;
    barrier.stop();
    let reports = crew.reports(deadline)?.ok_or_else(|| hung(&crew))?;
    verify(cell.mode, &reports)
}

/// The runner's own copies of the endpoints are closed when this returns. `cpus`: where to pin
/// whom, round robin, producers first; empty leaves them free.
fn start(cell: &Cell, cpus: &[usize], barrier: &Barrier, crew: &mut Crew<'_>) -> Result<()> {
    let channels = Channels::open(cell, crew)?;
    let mut seats = Vec::new();
    for (place, role) in Role::all(&cell.row()).into_iter().enumerate() {
        let cpu = (!cpus.is_empty()).then(|| cpus[place % cpus.len()]);
        let (sender, receiver) = channels.addresses(role);
        seats.push(Seat { role, cpu, sender, receiver });
    }
    let together = if cell.transport.one_process { seats.len() } else { 1 };
    for seats in seats.chunks(together) {
        crew.spawn(&Spec {
            transport: cell.transport.name.into(),
            row: cell.row(),
            parent: Pid::as_raw(Some(getpid())),
            barrier: barrier.fd().as_raw_fd(),
            seats: seats.to_vec(),
        })?;
    }
    Ok(())
}

/// What the runner opens for a trial; nothing for threads, which do it themselves.
#[derive(Debug)]
struct Channels {
    there: Option<Channel>,
    /// For round trips.
    back: Option<Channel>,
}

impl Channels {
    fn open(cell: &Cell, crew: &mut Crew<'_>) -> Result<Self> {
        if cell.transport.one_process {
            return Ok(Self { there: None, back: None });
        }
        let mut open = || -> Result<Channel> {
            let mut channel = (cell.transport.open)(&cell.row())?;
            crew.keep(channel.guard.take());
            Ok(channel)
        };
        let there = open()?;
        let back = match cell.mode {
            Mode::Stream => None,
            Mode::Rtt if cell.transport.two_way => Some(there.reversed()?),
            Mode::Rtt => Some(open()?),
        };
        Ok(Self { there: Some(there), back })
    }

    /// Where somebody sends to and receives from.
    fn addresses(&self, role: Role) -> (Option<Address>, Option<Address>) {
        let (there, back) = (self.there.as_ref(), self.back.as_ref());
        let (to, from) = match role {
            Role::Producer(_) => (there, None),
            Role::Consumer => (None, there),
            Role::Ping => (there, back),
            Role::Echo => (back, there),
        };
        let address = |end: &End| match end {
            End::Fd(fd) => Address::Fd(fd.as_raw_fd()),
            End::Name(name) => Address::Name(name.clone()),
        };
        let sender = to.map(|channel| address(&channel.sender));
        (sender, from.map(|channel| address(&channel.receiver)))
    }
}

/// No number without proof: counts and checksums of both sides must agree.
fn verify(mode: Mode, reports: &[(Role, Report)]) -> Result<Outcome> {
    let sends = |role: &Role| matches!(role, Role::Producer(_) | Role::Ping);
    let tallies = |sending: bool| -> Vec<&Tally> {
        let side = reports.iter().filter(|(role, _)| sends(role) == sending);
        side.map(|(_, report)| &report.tally).collect()
    };
    let messages = conserved(tallies(true), tallies(false))?;
    if messages == 0 {
        return Err(Fault::Nothing.into());
    }
    let sum = |field: fn(&Report) -> u64| reports.iter().map(|(_, report)| field(report)).sum();
    let trips: Vec<_> = reports.iter().flat_map(|(_, report)| report.trips.clone()).collect();
    let time_ns = match mode {
        Mode::Stream => elapsed_ns(reports) as f64 / messages as f64,
        Mode::Rtt => median_trip_ns(&trips)?,
    };
    Ok(Outcome {
        time_ns,
        messages,
        cpu_ns: sum(|report| report.cpu_ns),
        voluntary_switches: sum(|report| report.voluntary_switches),
        involuntary_switches: sum(|report| report.involuntary_switches),
        trips,
        line_ns: None,
    })
}

/// From the first producer's start to the last consumer's end.
fn elapsed_ns(reports: &[(Role, Report)]) -> u64 {
    let producers = reports.iter().filter(|(role, _)| *role != Role::Consumer);
    let consumers = reports.iter().filter(|(role, _)| *role == Role::Consumer);
    let start_ns = producers.map(|(_, report)| report.start_ns).min().unwrap_or(0);
    let end_ns = consumers.map(|(_, report)| report.end_ns).max().unwrap_or(0);
    end_ns.saturating_sub(start_ns)
}

fn median_trip_ns(trips: &[(u64, u64)]) -> Result<f64> {
    let mut histogram = stats::histogram();
    for &(trip_ns, count) in trips {
        histogram.saturating_record_n(trip_ns, count);
    }
    if histogram.is_empty() {
        return Err(Fault::Nothing.into());
    }
    Ok(histogram.value_at_quantile(0.5) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: u64, sum: u64, start_ns: u64, end_ns: u64) -> Report {
        Report { tally: Tally { count, sum }, start_ns, end_ns, ..Report::default() }
    }

    #[test]
    fn time_runs_from_the_first_start_to_the_last_end() {
        let reports = [
            (Role::Producer(0), report(6, 60, 100, 500)),
            (Role::Producer(1), report(4, 40, 200, 600)),
            (Role::Consumer, report(5, 30, 50, 900)),
            (Role::Consumer, report(5, 70, 60, 1100)),
        ];
        let outcome = verify(Mode::Stream, &reports).unwrap();
        assert_eq!((outcome.messages, outcome.time_ns), (10, 100.0));
    }

    #[test]
    fn a_trial_that_lost_a_message_is_no_outcome() {
        let reports =
            [(Role::Producer(0), report(6, 60, 1, 5)), (Role::Consumer, report(5, 60, 1, 9))];
        let error = verify(Mode::Stream, &reports).unwrap_err();
        assert!(error.to_string().contains("6 messages were sent, 5 received"), "{error}");
    }

    #[test]
    fn a_trial_without_messages_is_no_outcome() {
        let reports =
            [(Role::Producer(0), report(0, 0, 1, 5)), (Role::Consumer, report(0, 0, 1, 9))];
        assert!(verify(Mode::Stream, &reports).is_err());
    }
}
