//! The tracer as another participant: what it must still be able to do, whatever became of the
//! victims.

use anyhow::{Context, Result, bail, ensure};
use shmq_engine::{Consumer, PopError, Producer, PushError, Role};

use crate::config::PARTICIPANTS;
use crate::image::Image;
use crate::judge::Story;
use crate::lab::Lab;
use crate::message::{FILLERS, ROOM, fill, identify};
use crate::op::{Effect, Op};
use crate::segment::ITEMS_WANTED;

/// How often every slot is used anew.
const LAPS: u64 = 3;
/// A queue without a capacity must hold so many messages.
const MORE: usize = 200;
/// Messages that are left for those who go on are no more.
const LEFT_MAX: usize = 8;

/// The sides of the queue that a newcomer may have: not those whose exclusive holder lives.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Producers.
    pub push: bool,
    /// Consumers.
    pub pop: bool,
}

impl Access {
    /// Both.
    pub const ALL: Self = Self { push: true, pop: true };

    /// What is left beside living victims in these operations.
    pub fn beside(lab: &Lab, ops: &[Op]) -> Self {
        let (mut push, mut pop) = (true, true);
        for op in ops.iter().filter(|op| op.is_exclusive(lab.config)) {
            push &= !op.is_producer();
            pop &= !op.is_consumer();
        }
        Self { push, pop }
    }
}

/// What those who are left do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They use the queue as ever.
    GoOn,
    /// One shuts it down.
    End,
}

/// One that acts in an experiment, and writes down what it saw.
#[derive(Debug)]
pub struct Peer<'a> {
    lab: &'a Lab,
    image: &'a Image,
    /// It was told that nothing more will come.
    was_told: bool,
    /// What it put and got.
    pub story: Story,
}

impl<'a> Peer<'a> {
    /// One that has done nothing yet.
    pub fn new(lab: &'a Lab, image: &'a Image) -> Self {
        Self { lab, image, was_told: false, story: Story::new(&image.messages) }
    }

    /// Were all answers so far true? What comes later would excuse some that were not.
    pub fn judge_answers(&mut self) -> Result<()> {
        self.story.was_shut |= self.is_shut();
        self.story.judge_answers()
    }

    /// Does so, beside dead or stopped victims.
    pub fn act(&mut self, others: Others, access: Access) -> Result<()> {
        match others {
            Others::GoOn => self.survive(access),
            Others::End => self.end(access),
        }
    }

    /// Goes on with the queue, unless a victim has shut it down: then to its end.
    pub fn survive(&mut self, access: Access) -> Result<()> {
        if self.is_shut() {
            return self.end(access);
        }
        let mut producer = if access.push { Some(self.producer()?) } else { None };
        let mut consumer = if access.pop { Some(self.consumer()?) } else { None };
        if let Some(consumer) = &mut consumer {
            self.drain(consumer)?;
            self.story.was_empty = true;
        }
        if let (Some(producer), Some(consumer)) = (&mut producer, &mut consumer) {
            for _ in 0..LAPS * self.lab.segment.slots() {
                self.turn(producer, consumer)?;
            }
        }
        if let Some(producer) = &mut producer {
            self.fill(producer, access)?;
            self.story.was_full |= !self.lab.config.is_growing();
        }
        if let Some(consumer) = &mut consumer {
            self.drain(consumer)?;
        }
        self.lab.queue.recover();
        Ok(())
    }

    /// Shuts the queue down, also if somebody has: puts are refused at once, gets take what is there, and
    /// then are told, for ever.
    fn end(&mut self, access: Access) -> Result<()> {
        self.lab.queue.shut_down();
        self.story.was_shut = true;
        let mut producer = if access.push { Some(self.producer()?) } else { None };
        let mut consumer = if access.pop { Some(self.consumer()?) } else { None };
        for _ in 0..2 {
            if let Some(producer) = &mut producer {
                self.put(producer)?;
            }
            if let Some(consumer) = &mut consumer {
                self.drain(consumer)?;
            }
        }
        self.lab.queue.recover();
        Ok(())
    }

    /// If it was a dead one's operation to shut the queue down: does so, with something in it if that did
    /// not come to it.
    pub fn end_as_well(&mut self, ops: &[Op]) -> Result<()> {
        if !ops.contains(&Op::ShutDown) {
            return Ok(());
        }
        self.leave_some(Access::ALL)?;
        self.end(Access::ALL)
    }

    /// Nobody else acts when this is asked.
    fn is_shut(&self) -> bool {
        self.lab.queue.is_shut_down()
    }

    /// Leaves messages for those who go on, if there is room for more than one: in the very slots
    /// whose tickets came next at the beginning, as far as they may be used.
    pub fn leave_some(&mut self, access: Access) -> Result<()> {
        let Self { lab, image, .. } = *self;
        if self.is_shut() || !(access.push && access.pop) {
            return Ok(());
        }
        let (mut producer, mut consumer) = (self.producer()?, self.consumer()?);
        let slots = lab.segment.slots();
        for _ in 0..slots {
            if lab.segment.tail() % slots == image.tail % slots {
                break;
            }
            self.turn(&mut producer, &mut consumer)?;
        }
        for _ in 1..lab.config.capacity.min(LEFT_MAX) {
            ensure!(self.put(&mut producer)?, "Full before it is");
        }
        Ok(())
    }

    /// What a victim did before its operation is part of what the experiment begins with.
    pub fn note_prepared(&mut self, op: Op) {
        match op {
            Op::PopOn => _ = self.story.messages.remove(0),
            Op::PushOver => self.story.messages.push(FILLERS),
            _ => {}
        }
    }

    /// Ends the sleep of a victim on its way to its point: what that changes is part of what the
    /// experiment begins with.
    pub fn wake_early(&mut self, op: Op) -> Result<()> {
        self.wake(op)?;
        let story = &mut self.story;
        story.messages.append(&mut story.pushed);
        for got in std::mem::take(&mut story.popped) {
            ensure!(story.messages.first() == Some(&got), "got {got} of {:?}", story.messages);
            story.messages.remove(0);
        }
        Ok(())
    }

    /// Ends the sleep of a victim.
    pub fn wake(&mut self, op: Op) -> Result<()> {
        ensure!(!self.is_shut(), "{op} sleeps beside the end");
        if op.effect() == Effect::Put {
            let mut consumer = self.consumer()?;
            let found = self.get(&mut consumer)?.is_some();
            // A put in progress takes a place, too, until it is passed over just now.
            let placed = found || self.image.in_progress > 0;
            ensure!(placed, "a put sleeps beside an empty queue");
        } else {
            let mut producer = self.producer()?;
            ensure!(self.put(&mut producer)?, "a get sleeps beside a full queue");
        }
        Ok(())
    }

    /// When all victims are gone: nothing must be left of them.
    pub fn find_whole(&mut self) -> Result<()> {
        let Self { lab, image, .. } = *self;
        lab.queue.recover();
        {
            let mut producer = self.producer()?;
            let mut consumer = self.consumer()?;
            self.drain(&mut consumer)?;
            if self.is_shut() {
                ensure!(lab.queue.is_empty(), "{} messages that nobody gets", lab.queue.len());
            } else {
                self.fill(&mut producer, Access::ALL)?;
                self.drain(&mut consumer)?;
            }
        }
        let left = lab.queue.recover();
        ensure!(left.participants == 0, "after recover() another one recovers {left:?}");
        let left = lab.queue.recover();
        ensure!(left.blocks == 0, "after recover() another one recovers {left:?}");
        crate::blocks::judge(&lab.segment, lab.queue.resident_bytes())?;
        let segment = &lab.segment;
        let (occupied, residents) = (segment.occupied(), image.residents());
        ensure!(occupied == residents, "{occupied} lines are taken, {residents} live");
        ensure!(segment.soles() == 0, "an exclusive side is held by nobody who lives");
        if residents == 0 {
            // Only a put would notice that nobody sleeps for messages any more.
            let unnoticed = if self.is_shut() { ITEMS_WANTED } else { 0 };
            let (resting, attention) = (segment.resting(), segment.attention() & !unnoticed);
            ensure!(resting == 0, "{resting} slots rest for ever");
            ensure!(attention == 0, "attention {attention:03b} is never quiet");
        }
        self.attach_all()
    }

    /// Every place that nobody living has can be had.
    fn attach_all(&self) -> Result<()> {
        let Self { lab, image, .. } = *self;
        let free = PARTICIPANTS - image.residents();
        let config = lab.config;
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        for at in 0..free {
            if config.producers == Role::Many || producers.is_empty() {
                producers.push(self.producer().with_context(|| format!("place {at} of {free}"))?);
            } else if config.consumers == Role::Many || consumers.is_empty() {
                consumers.push(self.consumer().with_context(|| format!("place {at} of {free}"))?);
            }
        }
        Ok(())
    }

    fn producer(&self) -> Result<Producer> {
        self.lab.queue.producer().context("attaching a producer")
    }

    fn consumer(&self) -> Result<Consumer> {
        self.lab.queue.consumer().context("attaching a consumer")
    }

    /// Takes until Empty, or until the end.
    pub fn drain(&mut self, consumer: &mut Consumer) -> Result<()> {
        let config = self.lab.config;
        let most = 4 + if config.is_growing() { 2 * MORE } else { 2 * config.capacity };
        for _ in 0..most {
            if self.get(consumer)?.is_none() {
                return Ok(());
            }
        }
        bail!("more messages than the queue holds");
    }

    /// Puts one into the empty queue and takes it again.
    fn turn(&mut self, producer: &mut Producer, consumer: &mut Consumer) -> Result<()> {
        ensure!(self.put(producer)?, "Full with nothing in it");
        let wanted = self.story.pushed.last().copied();
        let got = self.get(consumer)?;
        ensure!(got == wanted, "put {wanted:?} into an empty queue, then got {got:?}");
        Ok(())
    }

    /// Puts until Full: exactly as many as fit, for what is stuck has been passed over by now, and
    /// takes no place. Without a consumer there may be something in the queue.
    fn fill(&mut self, producer: &mut Producer, access: Access) -> Result<()> {
        if self.lab.config.is_growing() {
            for at in 0..MORE {
                ensure!(self.put(producer)?, "Full with {at} messages");
            }
            return Ok(());
        }
        let capacity = self.lab.config.capacity;
        let mut count = 0;
        while self.put(producer)? {
            count += 1;
            ensure!(count <= capacity, "{count} messages fit into {capacity} places");
        }
        let enough = if access.pop { capacity } else { 0 };
        ensure!(count >= enough, "Full with {count} messages in {capacity} places");
        Ok(())
    }

    /// False: Full, or shut down.
    fn put(&mut self, producer: &mut Producer) -> Result<bool> {
        let id = self.story.next_id();
        let is_shut = self.is_shut();
        let mut room = [0; ROOM];
        match producer.try_push(fill(&mut room, id, self.lab.config.message_max)) {
            Ok(()) if is_shut => bail!("a put succeeded in a queue that is shut"),
            Ok(()) => self.story.pushed.push(id),
            Err(PushError::Full) if !is_shut => return Ok(false),
            Err(PushError::ShutDown) if is_shut => return Ok(false),
            Err(error) => return Err(error).context("the survivor's put"),
        }
        Ok(true)
    }

    fn get(&mut self, consumer: &mut Consumer) -> Result<Option<u64>> {
        let max = self.lab.config.message_max;
        let is_shut = self.is_shut();
        let mut room = [0; ROOM];
        match consumer.try_pop(&mut room) {
            Ok(_) if self.was_told => bail!("a message came after the end"),
            Ok(len) => {
                let id = identify(&room[..len], max).context("a message is torn")?;
                self.story.popped.push(id);
                Ok(Some(id))
            }
            Err(PopError::Empty) if !is_shut => Ok(None),
            Err(PopError::ShutDown) if is_shut => {
                self.was_told = true;
                Ok(None)
            }
            Err(error) => Err(error).context("the survivor's get"),
        }
    }
}
