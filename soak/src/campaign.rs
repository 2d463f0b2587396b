//! Epochs, one after the other, until there were enough operations and kills.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::SeedableRng;
use rand::rngs::StdRng;
use shmq_soak::history::Operation;
use shmq_soak::{check, check_programs};

use crate::cli::Plan;
use crate::clock::Rate;
use crate::epoch::{self, Kit};
use crate::gather::{self, Counts};
use crate::latency::Latency;
use crate::report;
use crate::setting::Setting;
use crate::warp::{self, Warp};

/// More would make an epoch's check long, and fewer its life short.
const OPERATIONS_PER_EPOCH: u64 = 400_000;
const KILLS_PER_EPOCH: u64 = 16;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Whole,
    Violated,
}

/// What is added up over the epochs.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) stops: u64,
    pub(crate) recoveries: u64,
    pub(crate) epochs: u64,
    pub(crate) latency: Latency,
    pub(crate) warp: Warp,
    pub(crate) rate: Rate,
    /// How long the histories were checked.
    pub(crate) checking: Duration,
}

pub(crate) fn run(plan: &Plan) -> Result<Ended> {
    let warp = warp::measure().context("the warp test")?;
    eprintln!(
        "seed {}; {} processes; counters differ by {} ticks",
        plan.seed, plan.processes, warp.ticks
    );
    let mut totals = Totals::new(warp);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut kit = Kit::new()?;
    let progress = Progress::new();
    while let Some((operations, kills)) = totals.share(plan) {
        let setting = Setting::draw(plan, &mut random, operations, kills);
        let wrong = epoch(&mut kit, &setting, &mut random, &mut totals)
            .with_context(|| format!("epoch {} of seed {}: {setting}", totals.epochs, plan.seed))?;
        if let Some(wrong) = wrong {
            progress.clear();
            report::violation(plan, &setting, &totals, &wrong)?;
            return Ok(Ended::Violated);
        }
        progress.show(plan, &totals);
    }
    progress.clear();
    report::table(&totals);
    Ok(Ended::Whole)
}

impl Totals {
    pub(crate) fn new(warp: Warp) -> Self {
        Self {
            counts: Counts::default(),
            stops: 0,
            recoveries: 0,
            epochs: 0,
            latency: Latency::new(),
            warp,
            rate: Rate::start(),
            checking: Duration::ZERO,
        }
    }

    /// What the next epoch is to do, evenly.
    fn share(&self, plan: &Plan) -> Option<(u64, u64)> {
        let operations = plan.operations.saturating_sub(self.counts.operations);
        let kills = plan.kills.saturating_sub(self.counts.kills);
        let most = |left: u64, each| left.div_ceil(each);
        let epochs = most(operations, OPERATIONS_PER_EPOCH).max(most(kills, KILLS_PER_EPOCH));
        (epochs > 0).then(|| (operations.div_ceil(epochs), kills.div_ceil(epochs)))
    }
}

/// What an epoch did wrong.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) texts: Vec<String>,
    pub(crate) history: Vec<Operation>,
}

/// Runs one, and checks everything about it.
fn epoch(
    kit: &mut Kit,
    setting: &Setting,
    random: &mut StdRng,
    totals: &mut Totals,
) -> Result<Option<Wrong>> {
    totals.epochs += 1;
    let outcome = epoch::run(kit, setting, random)?;
    let start = Instant::now();
    let mut history = gather::history(&outcome.gone, totals.warp, &mut totals.counts)?;
    totals.latency.add(&outcome.gone, &history);
    history.extend(outcome.drained);
    gather::count(&history, &mut totals.counts);
    let mut violations = check(&history, setting.capacity);
    if violations.is_empty() {
        violations = check_programs(&history);
    }
    totals.checking += start.elapsed();
    totals.stops += outcome.stops;
    totals.recoveries += outcome.recoveries;
    kit.take_back(outcome.gone);
    let violations = violations.iter().map(ToString::to_string);
    let texts: Vec<_> = outcome.faults.into_iter().chain(violations).collect();
    Ok((!texts.is_empty()).then_some(Wrong { texts, history }))
}

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
struct Progress {
    bar: ProgressBar,
    said: std::cell::Cell<Instant>,
}

impl Progress {
    const STEPS: u64 = 1000;
    const PAUSE: Duration = Duration::from_secs(10);

    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(Self::STEPS), ProgressDrawTarget::stderr());
        let template = "{bar:20} {percent:>3} %  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
        Self { bar, said: Instant::now().into() }
    }

    fn show(&self, plan: &Plan, totals: &Totals) {
        let Counts { operations, kills, .. } = totals.counts;
        let part = |done: u64, of: u64| (done * Self::STEPS).checked_div(of).unwrap_or(Self::STEPS);
        let seconds = totals.rate.elapsed_s();
        let text = format!(
            "epoch {}: {operations} of {} operations, {kills} of {} kills, {seconds:.0} s",
            totals.epochs, plan.operations, plan.kills
        );
        if !self.bar.is_hidden() {
            self.bar.set_position(part(operations, plan.operations).min(part(kills, plan.kills)));
            self.bar.set_message(text);
        } else if self.said.get().elapsed() > Self::PAUSE {
            eprintln!("{text}");
            self.said.set(Instant::now());
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
