//! The other side of the runner: a process that is a producer, a consumer, ping or echo; or, where
//! threads are compared, that has one of them for each.
//!
//! `shmq-harness __worker SPEC` with SPEC in JSON and the endpoints as inherited file descriptors,
//! or as names. One loop for all transports. Everything is attached before the barrier; the worker
//! times itself with CLOCK_MONOTONIC, which is the same for all processes, and reports in JSON on
//! its standard output.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::barrier::Barrier;
use crate::clock::{Usage, now_ns};
use crate::message::{Arrival, Fault, Tally, Verifier, fill, fill_end, word0};
use crate::plan::{Mode, Row};
use crate::stats;
use crate::transport::{End, Link, Local, Receiver, Sender, Transport};

/// However late a busy machine lets a producer start, it has something to say.
pub(crate) const MESSAGES_MIN: u64 = 100;
/// Round trips before the first one that counts.
const WARM_UP_TRIPS: u64 = 50;
/// However short the trial, percentiles need some round trips.
const TRIPS_MIN: u64 = 100;
/// But no trial must move more than so many bytes.
const BYTES_MIN: u64 = 100 << 20;

/// `count` messages, or fewer if they are huge.
pub(crate) fn affordable(count: u64, size: usize) -> u64 {
    count.min(BYTES_MIN / size as u64).max(3)
}

/// What a worker, or a thread of one, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The one of that number.
    Producer(u16),
    /// One of them.
    Consumer,
    /// Sends, then receives.
    Ping,
    /// Receives, then sends the same.
    Echo,
}

impl Role {
    /// All there are in a row's trial, producers first.
    pub(crate) fn all(row: &Row) -> Vec<Role> {
        match row.mode {
            Mode::Rtt => vec![Role::Ping, Role::Echo],
            Mode::Stream => {
                let consumers = (0..row.topology.consumers).map(|_| Role::Consumer);
                (0..row.topology.producers).map(Role::Producer).chain(consumers).collect()
            }
        }
    }

    fn sends(self) -> bool {
        self != Role::Consumer
    }

    fn receives(self) -> bool {
        !matches!(self, Role::Producer(_))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Producer(id) => write!(f, "producer {id}"),
            Role::Consumer => f.write_str("consumer"),
            Role::Ping => f.write_str("ping"),
            Role::Echo => f.write_str("echo"),
        }
    }
}

/// What a worker is to do, as the runner tells it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    pub(crate) transport: String,
    pub(crate) row: Row,
    pub(crate) parent: i32,
    pub(crate) barrier: RawFd,
    /// One, or all of the trial.
    pub(crate) seats: Vec<Seat>,
}

/// One role, and what belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) role: Role,
    pub(crate) cpu: Option<usize>,
    pub(crate) sender: Option<Address>,
    pub(crate) receiver: Option<Address>,
}

/// An [`End`] of a channel, for the journey to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Address {
    Fd(RawFd),
    Name(String),
}

impl Spec {
    /// Messages, mode and topology.
    pub fn row(&self) -> &Row {
        &self.row
    }

    pub(crate) fn barrier(&self) -> io::Result<Barrier> {
        Barrier::from_fd(inherited(self.barrier)).map_err(io::Error::other)
    }
}

/// What somebody did in a trial.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub(crate) tally: Tally,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// Round-trip times as `(ns, how many)`.
    pub(crate) trips: Vec<(u64, u64)>,
}

/// What comes of a worker: a report for each of its seats.
pub type Done = io::Result<Vec<(Role, Report)>>;

/// What it writes to its standard output.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) reports: Vec<(Role, Report)>,
    pub(crate) error: Option<String>,
}

/// Never returns an error: what went wrong goes into the answer.
pub(crate) fn main(spec: &str, transports: &[&'static Transport]) -> ExitCode {
    let spec = serde_json::from_str(spec).map_err(io::Error::from);
    let answer = match spec.and_then(|spec: Spec| work(&spec, transports)) {
        Ok(reports) => Answer { reports, error: None },
        Err(error) => Answer { error: Some(error.to_string()), ..Answer::default() },
    };
    let code = if answer.error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let told = serde_json::to_vec(&answer).map(|json| io::stdout().write_all(&json));
    if matches!(told, Ok(Ok(()))) { code } else { ExitCode::FAILURE }
}

fn work(spec: &Spec, transports: &[&'static Transport]) -> Done {
    die_with_parent(spec.parent)?;
    let transport = transports.iter().find(|transport| transport.name == spec.transport);
    let transport = transport.ok_or_else(|| io::Error::other("there is no such transport"))?;
    (transport.work)(spec)
}

/// However the runner ends, no worker outlives it.
fn die_with_parent(parent: i32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if Pid::as_raw(getppid()) == parent {
        return Ok(());
    }
    Err(io::Error::other("the runner is gone"))
}

/// This thread.
pub(crate) fn pin(cpu: Option<usize>) -> io::Result<()> {
    if let Some(cpu) = cpu {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus)?;
    }
    Ok(())
}

/// The work of a process that has one role, over what it was given by the runner.
///
/// # Errors
/// What fails the cell.
pub fn run_process<L: Link>(spec: &Spec) -> Done {
    let [seat] = spec.seats.as_slice() else {
        return Err(io::Error::other("a process has one role"));
    };
    pin(seat.cpu)?;
    let barrier = spec.barrier()?;
    let end = |address: &Address| match address {
        Address::Fd(fd) => End::Fd(inherited(*fd)),
        Address::Name(name) => End::Name(name.clone()),
    };
    let sender = seat.sender.as_ref().map(|address| L::sender(end(address), &spec.row));
    let receiver = seat.receiver.as_ref().map(|address| L::receiver(end(address), &spec.row));
    let desk = Desk { role: seat.role, row: spec.row, usage: Usage::Process };
    let report = desk.work(sender.transpose()?, receiver.transpose()?, &barrier)?;
    Ok(vec![(seat.role, report)])
}

/// The work of a process that has a thread for each role. The first failure is its end.
///
/// # Errors
/// What fails the cell.
pub fn run_threads<L: Local>(spec: &Spec) -> Done {
    let barrier = Arc::new(spec.barrier()?);
    let (mut senders, mut receivers) = L::open(&spec.row);
    if spec.row.mode == Mode::Rtt {
        // Who sends on the first of two queues receives from the second.
        let (back_senders, back_receivers) = L::open(&spec.row);
        senders.extend(back_senders);
        receivers.splice(0..0, back_receivers);
    }
    let (mut senders, mut receivers) = (senders.into_iter(), receivers.into_iter());
    let (tell, told) = mpsc::channel();
    for Seat { role, cpu, .. } in spec.seats.clone() {
        let sender = role.sends().then(|| senders.next()).flatten();
        let receiver = role.receives().then(|| receivers.next()).flatten();
        let (barrier, tell) = (Arc::clone(&barrier), tell.clone());
        let desk = Desk { role, row: spec.row, usage: Usage::Thread };
        let work = move || pin(cpu).and_then(|()| desk.work(sender, receiver, &barrier));
        thread::Builder::new().spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            let done = done.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            let named = |error| io::Error::other(format!("{role}: {error}"));
            // After the first failure nobody listens.
            _ = tell.send(done.map(|report| (role, report)).map_err(named));
        })?;
    }
    drop(tell);
    told.into_iter().collect()
}

fn inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: the runner opened this descriptor for us alone, and each is taken once
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Where somebody works.
#[derive(Clone, Copy, Debug)]
struct Desk {
    role: Role,
    row: Row,
    usage: Usage,
}

impl Desk {
    fn work(
        self,
        sender: Option<impl Sender>,
        receiver: Option<impl Receiver>,
        barrier: &Barrier,
    ) -> io::Result<Report> {
        let Self { role, row, usage } = self;
        match (role, sender, receiver) {
            (Role::Producer(id), Some(mut sender), _) => {
                timed(barrier, usage, || produce(&mut sender, &row, id, barrier))
            }
            (Role::Consumer, _, Some(mut receiver)) => {
                timed(barrier, usage, || consume(&mut receiver, row.size))
            }
            (Role::Ping, Some(mut sender), Some(mut receiver)) => {
                timed(barrier, usage, || ping(&mut sender, &mut receiver, row.size, barrier))
            }
            (Role::Echo, Some(mut sender), Some(mut receiver)) => {
                timed(barrier, usage, || echo(&mut sender, &mut receiver, row.size))
            }
            _ => Err(io::Error::other("an endpoint is missing")),
        }
    }
}

/// Waits for go, then clocks the work.
pub(crate) fn timed(
    barrier: &Barrier,
    usage: Usage,
    work: impl FnOnce() -> io::Result<Report>,
) -> io::Result<Report> {
    barrier.arrive_and_wait();
    let (cpu_before, switches_before) = (usage.cpu_ns(), usage.switches());
    let start_ns = now_ns();
    let report = work()?;
    let end_ns = if report.end_ns == 0 { now_ns() } else { report.end_ns };
    let (cpu_after, switches_after) = (usage.cpu_ns(), usage.switches());
    Ok(Report {
        start_ns,
        end_ns,
        cpu_ns: cpu_after - cpu_before,
        voluntary_switches: switches_after.0 - switches_before.0,
        involuntary_switches: switches_after.1 - switches_before.1,
        ..report
    })
}

/// Not inlined, as all four loops: one of its own has the registers to itself.
#[inline(never)]
fn produce(sender: &mut impl Sender, row: &Row, id: u16, barrier: &Barrier) -> io::Result<Report> {
    let mut message = vec![0; row.size];
    let mut tally = Tally::default();
    let least = affordable(MESSAGES_MIN, row.size);
    while !barrier.stopped() || tally.count < least {
        sender
            .send_some(&mut message, |message| tally.add(fill(message, word0(id, tally.count))))?;
    }
    let end_ns = now_ns();
    if barrier.finish_as_last(row.topology.producers) {
        fill_end(&mut message);
        for _ in 0..row.topology.consumers {
            sender.send(&message)?;
        }
    }
    Ok(Report { tally, end_ns, ..Report::default() })
}

#[inline(never)]
fn consume(receiver: &mut impl Receiver, size: usize) -> io::Result<Report> {
    let mut buffer = vec![0; size];
    let mut verifier = Verifier::new(size);
    let mut tally = Tally::default();
    let mut rest = Rest::default();
    while rest.ends == 0 {
        tally = receiver.recv_some(&mut buffer, tally, |tally, message| {
            match verifier.accept(message) {
                Ok(Arrival::Message { sum }) => return tally.with(sum),
                other => rest.note(other),
            }
            tally
        })?;
        if let Some(fault) = rest.fault.take() {
            return Err(io::Error::other(fault));
        }
    }
    let end_ns = now_ns();
    fill_end(&mut buffer);
    for _ in 1..rest.ends {
        receiver.put_back(&buffer)?;
    }
    Ok(Report { tally, end_ns, ..Report::default() })
}

/// What came that was no message.
#[derive(Default)]
struct Rest {
    ends: u32,
    fault: Option<Fault>,
}

impl Rest {
    #[cold]
    #[inline(never)]
    fn note(&mut self, found: Result<Arrival, Fault>) {
        match found {
            Ok(_) => self.ends += 1,
            Err(fault) => _ = self.fault.get_or_insert(fault),
        }
    }
}

#[inline(never)]
fn ping<S: Sender, R: Receiver>(
    sender: &mut S,
    receiver: &mut R,
    size: usize,
    barrier: &Barrier,
) -> io::Result<Report> {
    let (mut message, mut answer) = (vec![0; size], vec![0; size]);
    let (mut tally, mut answered) = (Tally::default(), Tally::default());
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
        if let Arrival::Message { sum } =
            verifier.accept(&answer[..length]).map_err(io::Error::other)?
        {
            answered.add(sum);
        }
        tally.add(sum);
        if tally.count > warm_up {
            histogram.saturating_record(trip_ns);
        }
    }
    if answered != tally {
        return Err(io::Error::other("the answers are not what was sent"));
    }
    let end_ns = now_ns();
    fill_end(&mut message);
    sender.send(&message)?;
    let trips = histogram.iter_recorded();
    let trips = trips.map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
    Ok(Report { tally, end_ns, trips, ..Report::default() })
}

#[inline(never)]
fn echo<S: Sender, R: Receiver>(
    sender: &mut S,
    receiver: &mut R,
    size: usize,
) -> io::Result<Report> {
    let mut buffer = vec![0; size];
    let (mut verifier, mut tally) = (Verifier::new(size), Tally::default());
    loop {
        let length = receiver.recv(&mut buffer)?;
        match verifier.accept(&buffer[..length]).map_err(io::Error::other)? {
            Arrival::Message { sum } => {
                tally.add(sum);
                sender.send(&buffer)?;
            }
            Arrival::End => {
                return Ok(Report { tally, ..Report::default() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::conserved;
    use crate::plan::Topology;
    use std::collections::VecDeque;
    use std::os::fd::{AsFd, IntoRawFd};
    use std::sync::Mutex;

    /// A queue between threads. `FAULT`: 1 if a consumer fails, 2 if it panics.
    struct Shared<const FAULT: u8>;

    #[derive(Clone)]
    struct SharedEnd<const FAULT: u8>(Arc<Mutex<VecDeque<Vec<u8>>>>);

    impl<const FAULT: u8> Local for Shared<FAULT> {
        type Sender = SharedEnd<FAULT>;
        type Receiver = SharedEnd<FAULT>;

        fn open(row: &Row) -> (Vec<SharedEnd<FAULT>>, Vec<SharedEnd<FAULT>>) {
            let end = SharedEnd(Arc::default());
            let ends = |count: u16| vec![end.clone(); count.into()];
            (ends(row.topology.producers), ends(row.topology.consumers))
        }
    }

    impl<const FAULT: u8> Sender for SharedEnd<FAULT> {
        fn send(&mut self, message: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().push_back(message.to_vec());
            Ok(())
        }
    }

    impl<const FAULT: u8> Receiver for SharedEnd<FAULT> {
        fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match FAULT {
                1 => return Err(io::Error::other("out of order")),
                2 => panic!("out of mind"),
                _ => {}
            }
            loop {
                if let Some(message) = self.0.lock().unwrap().pop_front() {
                    buffer.copy_from_slice(&message);
                    return Ok(message.len());
                }
                thread::yield_now();
            }
        }
    }

    /// A trial without a runner: it starts at once, and sends as little as it may.
    fn work<const FAULT: u8>(mode: Mode, producers: u16, consumers: u16) -> Done {
        let topology = Topology { producers, consumers };
        let row = Row { mode, topology, size: 64, capacity: 16 };
        let barrier = Barrier::new().unwrap();
        barrier.go();
        barrier.stop();
        let seat = |role| Seat { role, cpu: None, sender: None, receiver: None };
        run_threads::<Shared<FAULT>>(&Spec {
            transport: "shared".into(),
            row,
            parent: 0,
            barrier: barrier.fd().as_fd().try_clone_to_owned().unwrap().into_raw_fd(),
            seats: Role::all(&row).into_iter().map(seat).collect(),
        })
    }

    #[test]
    fn threads_conserve_what_they_hand_on() {
        for (mode, producers, consumers) in [(Mode::Stream, 2, 3), (Mode::Rtt, 1, 1)] {
            let reports = work::<0>(mode, producers, consumers).unwrap();
            assert_eq!(reports.len(), usize::from(producers + consumers));
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            for (role, report) in reports {
                match role {
                    Role::Producer(_) | Role::Ping => sent.push(report.tally),
                    Role::Consumer | Role::Echo => received.push(report.tally),
                }
            }
            assert!(conserved(&sent, &received).unwrap() >= MESSAGES_MIN);
        }
    }

    #[test]
    fn a_thread_that_fails_or_panics_says_who_it_is() {
        let failed = work::<1>(Mode::Stream, 1, 1).unwrap_err();
        assert_eq!(failed.to_string(), "consumer: out of order");
        let panicked = work::<2>(Mode::Rtt, 1, 1).unwrap_err();
        assert!(panicked.to_string().ends_with(": it panicked"), "{panicked}");
    }
}
