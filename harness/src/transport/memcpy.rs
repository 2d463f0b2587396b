//! What copying alone takes: a message into a buffer and out of it again, by one thread. No queue.

use std::hint::black_box;
use std::io;

use super::{Group, Transport};
use crate::barrier::Barrier;
use crate::clock::{Usage, now_ns};
use crate::message::{Arrival, Tally, Verifier, fill, word0};
use crate::plan::{Mode, Row, Topology};
use crate::worker::{Done, MESSAGES_MIN, Report, Role, Spec, affordable, pin, timed};

pub(super) const TRANSPORT: Transport = Transport {
    group: Group::Bare,
    one_thread: true,
    is_default: |_| false,
    unavailable,
    ..Transport::in_one_process(
        "bare-memcpy",
        "no queue: one thread copies into a buffer and out again",
        work,
    )
};

fn unavailable(row: &Row) -> Option<String> {
    let alone = row.mode == Mode::Stream && row.topology == Topology { producers: 1, consumers: 1 };
    (!alone).then(|| "one thread, no partner: 1p1c streaming only".into())
}

/// Has both seats.
fn work(spec: &Spec) -> Done {
    pin(spec.seats.first().and_then(|seat| seat.cpu))?;
    let barrier = spec.barrier()?;
    barrier.arrive();
    let report = timed(&barrier, Usage::Process, || copy(spec.row.size, &barrier))?;
    let (start_ns, end_ns) = (report.start_ns, report.end_ns);
    let consumer = Report { tally: report.tally, start_ns, end_ns, ..Report::default() };
    Ok(vec![(Role::Producer(0), report), (Role::Consumer, consumer)])
}

fn copy(size: usize, barrier: &Barrier) -> io::Result<Report> {
    let (mut message, mut between, mut copy) = (vec![0; size], vec![0; size], vec![0; size]);
    let (mut tally, mut copied) = (Tally::default(), Tally::default());
    let mut verifier = Verifier::new(size);
    let least = affordable(MESSAGES_MIN, size);
    while !barrier.stopped() || tally.count < least {
        tally.add(fill(&mut message, word0(0, tally.count)));
        between.copy_from_slice(black_box(&message));
        copy.copy_from_slice(black_box(&between));
        let arrival = verifier.accept(black_box(&copy)).map_err(io::Error::other)?;
        if let Arrival::Message { sum } = arrival {
            copied.add(sum);
        }
    }
    if copied != tally {
        return Err(io::Error::other("the copies are not what was copied"));
    }
    Ok(Report { tally, end_ns: now_ns(), ..Report::default() })
}
