//! States as bytes: built once with ordinary handles, then put back before every experiment.

use anyhow::{Result, bail};
use shmq_engine::{Consumer, Producer, Role};

use crate::config::{ASKING, PARTICIPANTS};
use crate::lab::{Lab, STALLED};
use crate::message::{ROOM, fill};
use crate::op::{Effect, Op, RUN};
use crate::segment::Bytes;
use crate::state::State;
use crate::tracee::{Goal, Reached, Tracee};

/// The message of the producer that is stopped.
const NEVER_PUT: u64 = 99;

/// Positions end at 2^61 - 1; the experiments need some laps.
const HIGH: u64 = (1 << 61) - 1 - 512;

/// More than may be free and keep their memory.
const SEGMENTS: u64 = 10;

/// What every experiment of a state begins with.
#[derive(Debug)]
pub struct Image {
    bytes: Bytes,
    /// The messages in the queue, oldest first.
    pub messages: Vec<u64>,
    /// The next ticket.
    pub tail: u64,
    /// Puts in progress that no victim of the experiment makes.
    pub in_progress: usize,
    /// Nobody need look at marks.
    is_quiet: bool,
    /// Their producer, stopped for as long as the image is used; none if it is dead.
    stalled: Option<Tracee>,
}

impl Image {
    /// Builds the state in the lab's queue, whatever is there now.
    pub fn build(lab: &Lab, state: State) -> Result<Self> {
        lab.restore(&lab.blank)?;
        if state == State::High {
            lab.segment.move_to(HIGH);
        }
        let stalled = if state.has_stalled() { Some(stall(lab)?) } else { None };
        let messages = populate(lab, state)?;
        if state == State::Graves {
            bury(lab)?;
        }
        if lab.config.name == ASKING {
            lab.segment.mark_spares();
        }
        let tail = lab.segment.tail();
        let is_quiet = lab.segment.attention() == 0;
        let bytes = lab.read()?;
        let mut image = Self { bytes, messages, tail, in_progress: 0, is_quiet, stalled };
        if state == State::Stalled {
            image.in_progress = 1;
        }
        if state == State::Dead {
            image.stalled = None;
        }
        Ok(image)
    }

    /// Makes the lab's queue like this again.
    pub fn restore(&self, lab: &Lab) -> Result<()> {
        lab.restore(&self.bytes)
    }

    /// May a put say Full, with so many others in progress?
    pub fn is_full(&self, lab: &Lab, others: usize) -> bool {
        let used = self.messages.len() + self.in_progress + others;
        !lab.config.is_growing() && used >= lab.config.capacity
    }

    /// So many messages an operation of many moves by one step at most, if nobody else acts.
    pub fn stride(&self, lab: &Lab, op: Op) -> u64 {
        let Lab { config, segment, .. } = lab;
        let slots = segment.slots();
        let used = (self.messages.len() + self.in_progress) as u64;
        let (ticket, there, claim_max) = match op.effect() {
            Effect::Put if config.is_growing() => (self.tail, u64::MAX, u64::MAX),
            Effect::Put => (self.tail, config.capacity as u64 - used, config.claim_max(slots)),
            _ => (self.tail - used, self.messages.len() as u64, u64::MAX),
        };
        // A get passes over what is in progress at the head, and then looks at every mark.
        let is_plain = self.is_quiet && (op.effect() == Effect::Put || self.in_progress == 0);
        let all = there.min(if is_plain { RUN as u64 } else { 1 });
        // The end of the slots cuts it in two, that of a segment off.
        let first = all.min(slots - ticket % slots).min(claim_max);
        let second = if config.is_growing() { 0 } else { (all - first).min(claim_max) };
        first.max(second)
    }

    /// Participants that live all the time and stay.
    pub fn residents(&self) -> usize {
        usize::from(self.stalled.is_some())
    }
}

/// A producer that has claimed the next ticket and gets no further.
fn stall(lab: &Lab) -> Result<Tracee> {
    let mut tracee = lab.start(STALLED, Op::TryPush, NEVER_PUT)?;
    let tail = lab.segment.tail();
    while lab.segment.tail() == tail {
        let goal = Goal::Instruction(tracee.steps() + 1);
        if tracee.advance(goal, || Ok(()))? != Reached::Point {
            bail!("a put ended without a claim");
        }
    }
    Ok(tracee)
}

/// Gives all lines and exclusive sides to participants that die, after all have attached: who attaches
/// later would find the first ones dead.
fn bury(lab: &Lab) -> Result<()> {
    let mut doomed = Vec::new();
    let mut exclusive = Vec::new();
    for op in [Op::TryPush, Op::TryPop].into_iter().cycle().take(2 * PARTICIPANTS) {
        if doomed.len() == PARTICIPANTS || exclusive.contains(&op) {
            continue;
        }
        if op.is_exclusive(lab.config) {
            exclusive.push(op);
        }
        doomed.push(lab.start(STALLED, op, NEVER_PUT)?);
    }
    doomed.into_iter().try_for_each(Tracee::kill)
}

/// Puts what is to be there, besides the stalled one. Gives the messages.
fn populate(lab: &Lab, state: State) -> Result<Vec<u64>> {
    let mut producer = lab.queue.producer()?;
    let mut consumer = lab.queue.consumer()?;
    if state.has_stalled() && state != State::Stalled {
        let passed = consumer.try_pop(&mut [0; ROOM]);
        if passed.is_ok() {
            bail!("a message came from a put that was stopped before it");
        }
    }
    let Before { turns, together, left } = before(lab, state);
    for _ in 0..turns {
        put(lab, &mut producer, 0)?;
        get(&mut consumer)?;
    }
    if state == State::Pooled && !lab.config.is_growing() {
        fill_pool(lab, &mut consumer)?;
    }
    let gone = together.saturating_sub(left);
    (0..gone).try_for_each(|_| put(lab, &mut producer, 0))?;
    let messages: Vec<_> = (1..=left).collect();
    messages.iter().try_for_each(|&id| put(lab, &mut producer, id))?;
    (0..gone).try_for_each(|_| get(&mut consumer))?;
    Ok(messages)
}

/// What was done before.
struct Before {
    /// Messages that were put and got, one after the other.
    turns: u64,
    /// Messages that were in the queue together, then.
    together: u64,
    /// Those that were left.
    left: u64,
}

fn before(lab: &Lab, state: State) -> Before {
    let capacity = lab.config.capacity as u64;
    let slots = lab.segment.slots();
    let half = capacity.div_ceil(2);
    let is_growing = lab.config.is_growing();
    let (turns, left) = match state {
        State::Empty => (0, 0),
        State::Half | State::High | State::Resting | State::Graves => (0, half),
        State::Full => (0, capacity),
        State::Wrapped => (5 * slots + 3, half),
        State::Stalled => (0, capacity - 1),
        // One ticket was claimed: so many more, and the next is that one's a lap later; or the first
        // of the next segment.
        State::Burning | State::Dead => (slots - 1 - half, half),
        State::Pooled if !is_growing => (0, half),
        State::Pooled => return Before { turns: 0, together: SEGMENTS * slots, left: half },
        State::Punching => return Before { turns: 0, together: SEGMENTS * slots + 1, left: 2 },
        State::Verge => (slots - 2 - half, half),
        State::Brim => (slots - half, half),
        State::Edge => (slots, 0),
        State::Across => (slots - 1, 2),
    };
    Before { turns, together: left, left }
}

/// Leaves two blocks to the pool: closed when their messages are got.
fn fill_pool(lab: &Lab, consumer: &mut Consumer) -> Result<()> {
    let mut producers = Vec::new();
    let count = if lab.config.producers == Role::Many { 2 } else { 0 };
    for _ in 0..count {
        let mut producer = lab.queue.producer()?;
        put(lab, &mut producer, 0)?;
        producers.push(producer);
    }
    drop(producers);
    (0..count).try_for_each(|_| get(consumer))
}

fn put(lab: &Lab, producer: &mut Producer, id: u64) -> Result<()> {
    let mut room = [0; ROOM];
    Ok(producer.try_push(fill(&mut room, id, lab.config.message_max))?)
}

fn get(consumer: &mut Consumer) -> Result<()> {
    consumer.try_pop(&mut [0; ROOM])?;
    Ok(())
}
