//! The pool's own thread: gives out jobs, takes in answers, replaces workers.
//!
//! Each worker has a queue of its own, of two places: one job to run, one to go on with. So the pool
//! knows which jobs a worker has, whatever becomes of it. All workers answer in one queue, and that is
//! also where their deaths are told, by a thread that waits for it: in that queue's strict order, a
//! worker's death comes after everything that it has answered. What is left then is either still in the
//! worker's own queue, and is taken back; or the worker took it along, and it gets an error. Nothing is
//! run twice, for a job is in one queue at a time, and comes out of it once.
//!
//! A job that waits behind a long one does not stay there: it is taken back in the same way for the next
//! worker that is idle. (A single queue of jobs would need no such thing, but nobody could tell what a
//! dead worker had taken out of it.)

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::{Fault, PoolError};
use super::shared::{Phase, Shared, insist};
use super::worker::{Event, Initializer, Job, Setup, work};
use crate::error::GetError;
use crate::process::Process;
use crate::queue::Queue;
use crate::task::{Failure, chain};

/// Jobs that a worker has at a time.
const JOBS: usize = 2;
/// When so many workers in a row have ended before they were ready, the next will, too. No more are
/// started then; but for each job that those who are ready have done, one.
const STILLBORN_MAX: u32 = 8;
/// How long a worker may take to end when it is told to, until it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How workers are made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) initializer: Option<Initializer>,
    pub(super) jobs_max: Option<u64>,
}

pub(super) struct Handler {
    shared: Arc<Shared>,
    plan: Plan,
    workers: Vec<Worker>,
    workers_made: u64,
    stillborn: u32,
    last_exitcode: i32,
}

struct Worker {
    id: u64,
    process: Process,
    /// Tells when it has ended.
    watch: JoinHandle<()>,
    jobs: Queue<Option<Job>>,
    /// Those that it has not answered.
    held: Vec<u64>,
    ready: bool,
    told_to_end: bool,
    /// Why it could not get the first of its jobs, if so.
    no_memory: Option<String>,
    /// A job was taken back from it: that may have been the one that it could not get.
    robbed: bool,
    /// It has done a job, and may have kept memory since.
    used: bool,
}

impl Handler {
    /// With all its workers started.
    pub(super) fn new(shared: Arc<Shared>, plan: Plan) -> Result<Self, PoolError> {
        let workers = Vec::with_capacity(plan.processes);
        let mut handler =
            Self { shared, plan, workers, workers_made: 0, stillborn: 0, last_exitcode: 0 };
        while handler.workers.len() < handler.plan.processes {
            handler.start_worker()?;
        }
        Ok(handler)
    }

    pub(super) fn run(mut self) {
        loop {
            match self.shared.events.get() {
                Ok(event) => self.hear(event),
                // Nobody says such a thing.
                Err(GetError::Decode { .. }) => {}
                Err(error) => {
                    self.shared.break_down(chain(&error));
                    break;
                }
            }
            if self.shared.phase() == Phase::Terminated {
                break;
            }
            self.replace_the_dead();
            self.give_out();
            self.relieve();
            if self.shared.is_finished() {
                self.tell_to_end();
                if self.workers.is_empty() {
                    break;
                }
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Look => self.shared.looks(),
            Event::Unready { why } => self.shared.break_down(why),
            Event::Ready { worker } => {
                self.stillborn = 0;
                self.workers.iter_mut().filter(|w| w.id == worker).for_each(|w| w.ready = true);
            }
            Event::Done { worker, job, outcomes } => {
                self.stillborn = self.stillborn.saturating_sub(1);
                for by in self.workers.iter_mut().filter(|w| w.id == worker) {
                    by.held.retain(|&held| held != job);
                    by.used = true;
                }
                let outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(Fault::Task));
                self.shared.deliver(job, outcomes);
            }
            Event::NoMemory { worker, why } => {
                let by = self.workers.iter_mut().find(|w| w.id == worker);
                by.into_iter().for_each(|w| w.no_memory = Some(why.clone()));
            }
            Event::Died { worker } => {
                if let Some(at) = self.workers.iter().position(|w| w.id == worker) {
                    let worker = self.workers.swap_remove(at);
                    self.bury(worker);
                }
            }
        }
    }

    fn bury(&mut self, mut worker: Worker) {
        // It has said what we just heard.
        _ = worker.watch.join();
        let exitcode = worker.process.exitcode().unwrap_or_default();
        let mut not_taken = Vec::new();
        while let Ok(job) = worker.jobs.get_nowait() {
            not_taken.extend(job);
        }
        worker.held.retain(|&held| not_taken.iter().all(|job| job.id != held));
        let mut not_taken = not_taken.into_iter();
        // Nor could its successor get that one, nor the next, if this one had all its memory. If the job is with
        // another, that one will say so.
        if let Some(why) = worker.no_memory.filter(|_| !worker.robbed && !worker.used)
            && let Some(job) = not_taken.next()
        {
            let fault = Fault::Task(Failure::Args(why));
            self.shared.deliver(job.id, std::iter::repeat(Err(fault)));
        }
        for job in not_taken.rev() {
            self.shared.take_back(job);
        }
        for job in worker.held {
            self.shared.deliver(job, std::iter::repeat(Err(Fault::Died(exitcode))));
        }
        if !worker.ready && !worker.told_to_end {
            self.stillborn += 1;
            self.last_exitcode = exitcode;
        }
    }

    /// A worker that ends is replaced while there is, or may yet be, work for it.
    fn replace_the_dead(&mut self) {
        while self.workers.len() < self.plan.processes && self.shared.needs_workers() {
            if self.stillborn >= STILLBORN_MAX {
                if self.workers.is_empty() {
                    self.shared.break_down(format!(
                        "{STILLBORN_MAX} workers in a row ended before they were ready, the last \
                         with exit code {}; see what their initializer does",
                        self.last_exitcode
                    ));
                }
                return;
            }
            if let Err(error) = self.start_worker() {
                // Tried again at the next event, which comes as long as there are others.
                if self.workers.is_empty() {
                    self.shared.break_down(chain(&error));
                }
                return;
            }
        }
    }

    fn start_worker(&mut self) -> Result<(), PoolError> {
        self.workers_made += 1;
        let id = self.workers_made;
        // The worker that gets, and this process, which puts and takes back.
        let jobs = Queue::builder().maxsize(JOBS).participants(8).create()?;
        let setup = Setup {
            worker: id,
            jobs: jobs.clone(),
            events: self.shared.events.clone(),
            initializer: self.plan.initializer.clone(),
            jobs_max: self.plan.jobs_max,
        };
        let process = Process::new(work, (setup,)).daemon(true);
        let name = process.get_name().replace("Process-", "PoolWorker-");
        let process = process.name(name);
        process.start_unflushed()?;
        let (watched, events) = (process.clone(), self.shared.events.clone());
        let watch = move || {
            _ = watched.join();
            insist(|| events.put(Event::Died { worker: id }).is_ok());
        };
        let builder = thread::Builder::new().name("shmq-pool-watch".to_owned());
        let watch = builder.stack_size(256 << 10).spawn(watch).map_err(PoolError::Thread)?;
        self.workers.push(Worker {
            id,
            process,
            watch,
            jobs,
            held: Vec::new(),
            ready: false,
            told_to_end: false,
            no_memory: None,
            robbed: false,
            used: false,
        });
        Ok(())
    }

    /// To whoever has least to do.
    fn give_out(&mut self) {
        loop {
            let free = self.workers.iter_mut().filter(|worker| worker.held.len() < JOBS);
            let Some(worker) = free.min_by_key(|worker| (worker.held.len(), !worker.ready)) else {
                return;
            };
            let Some(job) = self.shared.next_job() else { return };
            worker.give(&self.shared, job);
        }
    }

    /// Gives jobs that wait behind others, or for a worker that is not ready, to those who are idle.
    fn relieve(&mut self) {
        for idle in 0..self.workers.len() {
            if !self.workers[idle].ready || !self.workers[idle].held.is_empty() {
                continue;
            }
            let busy = self.workers.iter_mut().filter(|worker| match worker.held.len() {
                0 => false,
                JOBS => true,
                _ => !worker.ready,
            });
            if let Some(job) = busy.filter_map(Worker::take_back).next() {
                self.workers[idle].give(&self.shared, job);
            }
        }
    }

    fn tell_to_end(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| !worker.told_to_end) {
            worker.told_to_end = true;
            if worker.jobs.put_nowait(None).is_err() {
                // It is busy with what nobody waits for any more.
                _ = worker.process.terminate();
            }
        }
    }

    /// Ends the workers that are left, and tells whoever waits that it waits in vain.
    fn end(&mut self) {
        self.workers.iter().for_each(|worker| _ = worker.process.terminate());
        let start = Instant::now();
        for worker in self.workers.drain(..) {
            let left = GRACE.saturating_sub(start.elapsed());
            if let Ok(false) = worker.process.join_timeout(left) {
                _ = worker.process.kill();
            }
            _ = worker.watch.join();
        }
        self.shared.fail_all(&Fault::Terminated);
    }
}

/// However it comes to an end: also if it gets no thread to run in.
impl Drop for Handler {
    fn drop(&mut self) {
        self.end();
    }
}

impl Worker {
    fn give(&mut self, shared: &Shared, job: Job) {
        let id = job.id;
        self.held.push(id);
        if let Err(error) = self.jobs.put_nowait(Some(job)) {
            self.held.pop();
            let fault = Fault::Task(Failure::Args(chain(&error)));
            shared.deliver(id, std::iter::repeat(Err(fault)));
        }
    }

    /// A job that it has not taken.
    fn take_back(&mut self) -> Option<Job> {
        let job = self.jobs.get_nowait().ok()??;
        self.held.retain(|&held| held != job.id);
        self.robbed = true;
        Some(job)
    }
}
