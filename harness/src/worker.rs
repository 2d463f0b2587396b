//! The other side of the runner: one producer, consumer, ping or echo process.
//!
//! `shmq-harness __worker SPEC` with SPEC in JSON and the endpoints as inherited file
//! descriptors. One loop for all transports. Everything is attached before the barrier; the
//! worker times itself with CLOCK_MONOTONIC, which is the same for all processes, and reports
//! in JSON on its standard output.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::barrier::Barrier;
use crate::clock::{cpu_ns, now_ns, switches};
use crate::message::{Arrival, Tally, Verifier, fill, fill_end, word0};
use crate::stats;
use crate::transport::{
    BareLink, Link, LoanLink, ParkLink, PipeLink, Receiver, Sender, SeqpacketLink, ShmqLink,
    SpinLink, StreamLink, TcpLink, Transport, UnboundedLink,
};

/// However late a busy machine lets a producer start, it has something to say.
const MESSAGES_MIN: u64 = 100;
/// Round trips before the first one that counts.
const WARM_UP_TRIPS: u64 = 50;
/// However short the trial, percentiles need some round trips.
const TRIPS_MIN: u64 = 100;
/// But no trial must move more than so many bytes.
const BYTES_MIN: u64 = 100 << 20;

/// `count` messages, or fewer if they are huge.
fn affordable(count: u64, size: usize) -> u64 {
    count.min(BYTES_MIN / size as u64).max(3)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Producer(u16),
    Consumer,
    Ping,
    Echo,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) role: Role,
    pub(crate) transport: Transport,
    pub(crate) producers: u16,
    pub(crate) consumers: u16,
    pub(crate) size: usize,
    pub(crate) cpu: Option<usize>,
    pub(crate) parent: i32,
    pub(crate) barrier: RawFd,
    pub(crate) sender: Option<RawFd>,
    pub(crate) receiver: Option<RawFd>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// Round-trip times as `(ns, how many)`.
    pub(crate) trips: Vec<(u64, u64)>,
    pub(crate) error: Option<String>,
}

/// Never returns an error: what went wrong goes into the report.
pub(crate) fn main(spec: &str) -> ExitCode {
    let report = match serde_json::from_str(spec).map_err(io::Error::from).and_then(work) {
        Ok(report) => report,
        Err(error) => Report { error: Some(error.to_string()), ..Report::default() },
    };
    let code = if report.error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let told = serde_json::to_vec(&report).map(|json| io::stdout().write_all(&json));
    if matches!(told, Ok(Ok(()))) { code } else { ExitCode::FAILURE }
}

fn work(spec: Spec) -> io::Result<Report> {
    die_with_parent(spec.parent)?;
    if let Some(cpu) = spec.cpu {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus)?;
    }
    match spec.transport {
        Transport::Shmq | Transport::ShmqRef => run::<ShmqLink>(&spec),
        Transport::ShmqSpin => run::<SpinLink>(&spec),
        Transport::ShmqPark => run::<ParkLink>(&spec),
        Transport::BareLine => run::<BareLink<false>>(&spec),
        Transport::BareFutex => run::<BareLink<true>>(&spec),
        Transport::ShmqUnbounded => run::<UnboundedLink>(&spec),
        Transport::ShmqLoan => run::<LoanLink>(&spec),
        Transport::Pipe | Transport::Pipe1m => run::<PipeLink>(&spec),
        Transport::UnixStream => run::<StreamLink>(&spec),
        Transport::UnixSeqpacket => run::<SeqpacketLink>(&spec),
        Transport::Tcp => run::<TcpLink>(&spec),
    }
}

/// However the runner ends, no worker outlives it.
fn die_with_parent(parent: i32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if Pid::as_raw(getppid()) == parent {
        return Ok(());
    }
    Err(io::Error::other("the runner is gone"))
}

fn run<L: Link>(spec: &Spec) -> io::Result<Report> {
    let barrier = Barrier::from_fd(inherited(Some(spec.barrier))?).map_err(io::Error::other)?;
    let shared = spec.producers > 1 || spec.consumers > 1;
    let sender = || L::sender(inherited(spec.sender)?, shared);
    let receiver = || L::receiver(inherited(spec.receiver)?, shared);
    match spec.role {
        Role::Producer(id) => {
            let mut sender = sender()?;
            timed(&barrier, || produce(&mut sender, spec, id, &barrier))
        }
        Role::Consumer => {
            let mut receiver = receiver()?;
            timed(&barrier, || consume(&mut receiver, spec.size))
        }
        Role::Ping => {
            let (mut sender, mut receiver) = (sender()?, receiver()?);
            timed(&barrier, || ping(&mut sender, &mut receiver, spec.size, &barrier))
        }
        Role::Echo => {
            let (mut sender, mut receiver) = (sender()?, receiver()?);
            timed(&barrier, || echo(&mut sender, &mut receiver, spec.size))
        }
    }
}

fn inherited(fd: Option<RawFd>) -> io::Result<OwnedFd> {
    let fd = fd.ok_or_else(|| io::Error::other("an endpoint is missing"))?;
    // SAFETY: the runner opened this descriptor for us alone, and each is taken once
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for go, then clocks the work.
fn timed(barrier: &Barrier, work: impl FnOnce() -> io::Result<Report>) -> io::Result<Report> {
    barrier.arrive_and_wait();
    let (cpu_before, switches_before) = (cpu_ns(), switches());
    let start_ns = now_ns();
    let report = work()?;
    let end_ns = if report.end_ns == 0 { now_ns() } else { report.end_ns };
    let (cpu_after, switches_after) = (cpu_ns(), switches());
    Ok(Report {
        start_ns,
        end_ns,
        cpu_ns: cpu_after - cpu_before,
        voluntary_switches: switches_after.0 - switches_before.0,
        involuntary_switches: switches_after.1 - switches_before.1,
        ..report
    })
}

fn produce(
    sender: &mut impl Sender,
    spec: &Spec,
    id: u16,
    barrier: &Barrier,
) -> io::Result<Report> {
    let mut message = vec![0; spec.size];
    let mut tally = Tally::default();
    let least = affordable(MESSAGES_MIN, spec.size);
    while !barrier.stopped() || tally.count < least {
        let word0 = word0(id, tally.count);
        tally.add(sender.send_with(&mut message, |message| fill(message, word0))?);
    }
    let end_ns = now_ns();
    if barrier.finish_as_last(spec.producers) {
        fill_end(&mut message);
        for _ in 0..spec.consumers {
            sender.send(&message)?;
        }
    }
    Ok(Report { tally, end_ns, ..Report::default() })
}

fn consume(receiver: &mut impl Receiver, size: usize) -> io::Result<Report> {
    let mut buffer = vec![0; size];
    let mut verifier = Verifier::new(size);
    loop {
        let accepted = receiver.recv_with(&mut buffer, |message| verifier.accept(message))?;
        match accepted.map_err(io::Error::other)? {
            Arrival::Message => {}
            Arrival::End => {
                return Ok(Report { tally: verifier.tally(), ..Report::default() });
            }
        }
    }
}

fn ping<S: Sender, R: Receiver>(
    sender: &mut S,
    receiver: &mut R,
    size: usize,
    barrier: &Barrier,
) -> io::Result<Report> {
    let (mut message, mut answer) = (vec![0; size], vec![0; size]);
    let mut tally = Tally::default();
    let mut verifier = Verifier::new(size);
    let mut histogram = stats::histogram();
    let warm_up = affordable(WARM_UP_TRIPS, size);
    let least = warm_up + affordable(TRIPS_MIN, size);
    while !barrier.stopped() || tally.count < least {
        let sum = fill(&mut message, word0(0, tally.count));
        let sent_ns = now_ns();
        sender.send(&message)?;
        let length = receiver.recv(&mut answer)?;
        let trip_ns = now_ns() - sent_ns;
        verifier.accept(&answer[..length]).map_err(io::Error::other)?;
        tally.add(sum);
        if tally.count > warm_up {
            histogram.saturating_record(trip_ns);
        }
    }
    if verifier.tally() != tally {
        return Err(io::Error::other("the answers are not what was sent"));
    }
    let end_ns = now_ns();
    fill_end(&mut message);
    sender.send(&message)?;
    let trips = histogram.iter_recorded();
    let trips = trips.map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
    Ok(Report { tally, end_ns, trips, ..Report::default() })
}

fn echo<S: Sender, R: Receiver>(
    sender: &mut S,
    receiver: &mut R,
    size: usize,
) -> io::Result<Report> {
    let mut buffer = vec![0; size];
    let mut verifier = Verifier::new(size);
    loop {
        let length = receiver.recv(&mut buffer)?;
        match verifier.accept(&buffer[..length]).map_err(io::Error::other)? {
            Arrival::Message => sender.send(&buffer)?,
            Arrival::End => {
                return Ok(Report { tally: verifier.tally(), ..Report::default() });
            }
        }
    }
}
