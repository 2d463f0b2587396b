//! One epoch: a queue, workers at it, and the supervisor's hand.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::RngExt;
use rand::rngs::StdRng;
use shmq_engine::{Queue, Role as Side};
use shmq_soak::history::Operation;

use crate::clock;
use crate::control::Control;
use crate::crew::{Gone, Shared, Worker};
use crate::gather;
use crate::log::Log;
use crate::message;
use crate::setting::Setting;
use crate::whole;
use crate::worker::Task;

/// Workers always have something to do: if no operation begins for so long, they hang. (On a machine
/// that others use, starting a process alone has been seen to take twenty seconds.)
const PATIENCE: Duration = Duration::from_secs(60);

/// What the epochs of a campaign share.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) control: Control,
    /// Cleared logs, for the next workers.
    logs: Vec<Log>,
    /// Numbers are never used again; 0 is the supervisor.
    next_number: u32,
}

impl Kit {
    pub(crate) fn new() -> Result<Self> {
        let control = Control::create().context("the control page")?;
        Ok(Self { control, logs: Vec::new(), next_number: 1 })
    }

    pub(crate) fn take_back(&mut self, gone: Vec<Gone>) {
        for gone in gone {
            gone.log.clear();
            self.logs.push(gone.log);
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) gone: Vec<Gone>,
    /// What the supervisor got at the end.
    pub(crate) drained: Vec<Operation>,
    pub(crate) stops: u64,
    pub(crate) recoveries: u64,
    /// What is wrong beside the history.
    pub(crate) faults: Vec<String>,
}

pub(crate) fn run(kit: &mut Kit, setting: &Setting, random: &mut StdRng) -> Result<Outcome> {
    let queue = setting.options().create_anonymous().context("creating the queue")?;
    kit.control.set_over(false);
    let seats = setting.roles.iter().map(|_| None).collect();
    let mut hand = Hand { kit, setting, queue: &queue, random, seats, done: Outcome::default() };
    hand.play()?;
    hand.finish()?;
    let mut done = std::mem::take(&mut hand.done);
    let mut scratch = vec![0; setting.message_max.max(message::MIN)];
    match gather::drain(&queue, &mut scratch) {
        Ok(drained) => done.drained = drained,
        Err(fault) => done.faults.push(fault),
    }
    queue.recover();
    done.faults.extend(whole::check(&queue, setting).err());
    Ok(done)
}

/// The supervisor's hand. Dropping it kills who is left.
struct Hand<'e> {
    kit: &'e mut Kit,
    setting: &'e Setting,
    queue: &'e Queue,
    random: &'e mut StdRng,
    /// One for each role, mostly taken.
    seats: Vec<Option<Worker>>,
    done: Outcome,
}

impl Hand<'_> {
    fn play(&mut self) -> Result<()> {
        (0..self.seats.len()).try_for_each(|seat| self.seat(seat))?;
        let (mut seen, mut since) = (0, Instant::now());
        while self.kills() < self.setting.kills || seen < self.setting.operations {
            sleep(Duration::from_micros(self.random.random_range(50..1_500)));
            self.collect_ended()?;
            let operations = self.operations();
            if operations != seen {
                (seen, since) = (operations, Instant::now());
            } else if since.elapsed() > PATIENCE {
                self.done
                    .faults
                    .push(format!("no operation began in {PATIENCE:?}: {}", self.stuck()));
                return Ok(());
            }
            self.act()?;
        }
        Ok(())
    }

    /// Does one thing, or nothing.
    fn act(&mut self) -> Result<()> {
        let seat = self.random.random_range(0..self.seats.len());
        let is_stopped = match &self.seats[seat] {
            None => return self.seat(seat),
            Some(worker) => worker.is_stopped,
        };
        match self.random.random_range(0..16) {
            0..6 => self.kill(seat),
            6..15 if is_stopped => {
                self.seats[seat].as_mut().map_or(Ok(()), |worker| worker.set_stopped(false))
            }
            6..10 => self.stop(seat),
            15 => {
                self.recover();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Starts a worker there.
    fn seat(&mut self, seat: usize) -> Result<()> {
        let number = self.kit.next_number;
        self.kit.next_number += 1;
        let log = match self.kit.logs.pop() {
            Some(log) => log,
            None => Log::create().context("a log")?,
        };
        let shared = Shared { queue: self.queue, control: &self.kit.control };
        let seed = self.random.random();
        let Setting { memory, message_max, .. } = *self.setting;
        let task = Task { role: self.setting.roles[seat], memory, message_max };
        self.seats[seat] = Some(Worker::spawn(shared, number, task, seed, log)?);
        Ok(())
    }

    fn kill(&mut self, seat: usize) -> Result<()> {
        let is_idle = self.seats[seat].as_ref().is_none_or(|worker| worker.log.len() == 0);
        // Most of those that have not begun are spared, or many would never begin.
        if self.kills() >= self.setting.kills
            || !self.can_spare(seat)
            || is_idle && self.random.random_bool(0.9)
        {
            return Ok(());
        }
        let Some(worker) = self.seats[seat].take() else { return Ok(()) };
        self.done.gone.push(worker.kill()?);
        if self.random.random_bool(0.3) {
            self.recover();
        }
        if self.random.random_bool(0.7) { self.seat(seat) } else { Ok(()) }
    }

    fn stop(&mut self, seat: usize) -> Result<()> {
        if !self.can_spare(seat) {
            return Ok(());
        }
        self.done.stops += 1;
        self.seats[seat].as_mut().map_or(Ok(()), |worker| worker.set_stopped(true))
    }

    /// Without that worker, do some run that put, and some that get? (Or is it the only one there may
    /// be.)
    fn can_spare(&self, seat: usize) -> bool {
        let others = self.seats.iter().enumerate().filter(|&(at, _)| at != seat);
        let running = || others.clone().filter_map(|(_, worker)| worker.as_ref());
        let mut putters = running().filter(|worker| worker.role.puts() && !worker.is_stopped);
        let mut getters = running().filter(|worker| worker.role.gets() && !worker.is_stopped);
        let Setting { producers, consumers, .. } = self.setting;
        let is_sole = |side: &Side, mine| *side == Side::One && mine;
        let role = self.setting.roles[seat];
        (putters.next().is_some() || is_sole(producers, role.puts()))
            && (getters.next().is_some() || is_sole(consumers, role.gets()))
    }

    /// Gives back what the dead held, beside those at work.
    fn recover(&mut self) {
        self.queue.recover();
        self.done.recoveries += 1;
        let now = clock::after();
        for death in self.done.gone.iter_mut().filter_map(|gone| gone.death.as_mut()) {
            // The first recovery after it counts; NEVER is later than any.
            death.settled = death.settled.min(now);
        }
    }

    fn collect_ended(&mut self) -> Result<()> {
        for seat in &mut self.seats {
            let ended = seat.as_mut().map_or(Ok(false), Worker::has_ended)?;
            if let Some(worker) = seat.take_if(|_| ended) {
                self.done.gone.push(worker.gone(None));
            }
        }
        Ok(())
    }

    /// Everybody ends, also those that are stopped.
    fn finish(&mut self) -> Result<()> {
        self.kit.control.set_over(true);
        for worker in self.seats.iter_mut().flatten().filter(|worker| worker.is_stopped) {
            worker.set_stopped(false)?;
        }
        let since = Instant::now();
        loop {
            self.collect_ended()?;
            if self.seats.iter().all(Option::is_none) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                let fault = format!("told to end, not after {PATIENCE:?}: {}", self.stuck());
                self.done.faults.push(fault);
                // Their logs are of use.
                for worker in self.seats.iter_mut().filter_map(Option::take) {
                    self.done.gone.push(worker.kill()?);
                }
                return Ok(());
            }
            sleep(Duration::from_micros(200));
        }
    }

    fn stuck(&self) -> String {
        let workers = self.seats.iter().flatten().map(|worker| {
            let last = worker.log.entries().last();
            let stopped = if worker.is_stopped { ", stopped" } else { "" };
            format!("worker {} ({:?}{stopped}) in {last:?}", worker.number, worker.role)
        });
        workers.collect::<Vec<_>>().join("; ")
    }

    fn kills(&self) -> u64 {
        self.done.gone.iter().filter(|gone| gone.death.is_some()).count() as u64
    }

    fn operations(&self) -> u64 {
        let living = self.seats.iter().flatten().map(|worker| worker.log.len() as u64);
        let gone = self.done.gone.iter().map(|gone| gone.log.len() as u64);
        living.chain(gone).sum()
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.seats.iter_mut().flatten().for_each(Worker::abandon);
    }
}
