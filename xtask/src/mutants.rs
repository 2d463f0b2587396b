//! Mutants: does a model notice when the protocol is weakened?
//!
//! A mutant is a row of the ordering table made `Relaxed`, or a step of the protocol left out. The
//! models read its name from `SHMQ_MUTANT`, so they are built once. Each mutant meets the models
//! one by one, the quickest first, until one fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shmq_engine::order::ROWS;

use crate::loom;
use crate::model::{self, Suite};
use crate::table::Table;
use crate::workspace::Workspace;

/// The steps that can be left out, and what is wrong then. A test compares this list with the
/// engine's source.
pub(crate) const STEPS: &[(&str, &str)] = &[
    ("abandon", "a run goes on although one of its tickets was passed over"),
    ("burn", "a claimer writes into a slot that rests"),
    ("busy", "a block is reclaimed while a line names it"),
    ("epoch", "a waker leaves the gate's epoch as it was"),
    ("final", "the end of a queue is moved after somebody was told"),
    ("full-fence", "who lets go of a block, or closes it, looks without a fence"),
    ("heavy-fence", "the rare side of the asymmetric fence is missing"),
    ("hold", "a taker by reference does not say which message it reads"),
    ("leave-behind", "a late publisher in a growing ring leaves its message at the head"),
    ("light-fence", "the frequent side of the asymmetric fence is missing"),
    ("look", "a consumer looks for the end without a fence"),
    ("past-the-end", "a consumer takes what was published after the end"),
    ("pin", "a consumer does not say which segment it looks at"),
    ("quiet-announced", "attention is quieted beside a writer that was passed over"),
    ("quiet-head", "attention is quieted beside a mark at or beyond head"),
    ("raise", "a ticket is passed over without raising attention"),
    ("register", "a sleeper does not say that it sleeps"),
    ("scan", "a slot is released while a writer announces it"),
    ("settle", "a taker leaves a request to pass over open"),
    ("settle-line", "what a dead participant announced stays in its line"),
    ("too-late", "a producer does not ask whether its message came after the end"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these mutants
    names: Vec<String>,
    /// Only list the mutants
    #[arg(long)]
    list: bool,
    /// Also write the table to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// How long one model may take, besides five times what it takes without a mutant
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Leave out models whose name contains this; may be given several times
    #[arg(long, value_name = "MODEL")]
    skip: Vec<String>,
    /// How many models run at a time; by default, one per CPU
    #[arg(long)]
    jobs: Option<usize>,
}

#[derive(Debug)]
struct Mutant {
    name: &'static str,
    change: String,
    /// Why there is nothing to explore.
    moot: Option<&'static str>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    for name in &args.names {
        check_name(name)?;
    }
    let mut mutants = all(workspace)?;
    if !args.names.is_empty() {
        mutants.retain(|mutant| args.names.iter().any(|name| name == mutant.name));
    }
    if args.list {
        let mut table = Table::new(["mutant", "change", ""]);
        for mutant in mutants {
            let moot = mutant.moot.unwrap_or_default().to_owned();
            table.add([mutant.name.to_owned(), mutant.change, moot]);
        }
        print!("{}", table.text());
        return Ok(());
    }
    loom::prepare(workspace)?;
    let suites = model::build(workspace)?;
    let jobs = args.jobs.or(thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let logs = workspace.target.join("mutants");
    fs::create_dir_all(&logs)?;
    let models = baseline(&suites, &args.skip, &logs, jobs)?;
    let timeout = Duration::from_secs(args.timeout);
    let verdicts = parallel(jobs, &mutants, |mutant| {
        let verdict = judge(mutant, &models, &logs, timeout);
        println!("{:<16} {}", mutant.name, verdict.as_ref().map_or("error", |v| v.fate.as_str()));
        verdict
    });
    let verdicts: Vec<_> = verdicts.into_iter().collect::<Result<_>>()?;
    println!("each model's last words are in {}", workspace.shown(&logs));
    report(&mutants, &verdicts, args.markdown.as_deref())
}

/// Fails if nothing of that name can be broken.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_step = STEPS.iter().any(|(step, _)| *step == name);
    if !is_step && !ROWS.iter().any(|(row, _)| *row == name) {
        bail!("there is no mutant {name:?}; `cargo xtask mutants --list` names them all");
    }
    Ok(())
}

fn all(workspace: &Workspace) -> Result<Vec<Mutant>> {
    let mut modelled = String::new();
    for directory in ["ring", "wait", "arena"] {
        let entries = fs::read_dir(workspace.root.join("engine/src").join(directory))?;
        for entry in entries {
            modelled += &fs::read_to_string(entry?.path())?;
        }
    }
    modelled += &fs::read_to_string(workspace.root.join("engine/src/layout/cells.rs"))?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let is_modelled = |row: &str| modelled.split(|c| !word(c)).any(|found| found == row);
    let rows = ROWS.iter().map(|&(name, ordering)| {
        let moot = if ordering == Ordering::Relaxed {
            Some("relaxed already")
        } else if !is_modelled(name) {
            Some("outside the models: neither ring, wait, arena nor layout::cells")
        } else {
            None
        };
        Mutant { name, change: format!("{ordering:?} to Relaxed"), moot }
    });
    let steps =
        STEPS.iter().map(|&(name, change)| Mutant { name, change: change.to_owned(), moot: None });
    Ok(rows.chain(steps).collect())
}

/// A model, and how long it takes when nothing is broken.
#[derive(Debug)]
struct Model<'s> {
    suite: &'s Suite,
    test: String,
    takes: Duration,
}

impl Model<'_> {
    fn name(&self) -> String {
        format!("{}::{}", self.suite.name, self.test)
    }

    /// Where its last words about that mutant are.
    fn log(&self, mutant: &str, logs: &Path) -> PathBuf {
        logs.join(format!("{mutant}.{}.{}.log", self.suite.name, self.test))
    }
}

/// Runs every model unbroken: all must pass. The quickest come first.
fn baseline<'s>(
    suites: &'s [Suite],
    skip: &[String],
    logs: &Path,
    jobs: usize,
) -> Result<Vec<Model<'s>>> {
    let mut models = Vec::new();
    let is_skipped = |model: &Model<'_>| skip.iter().any(|part| model.name().contains(part));
    for suite in suites.iter().filter(|suite| suite.has_models()) {
        let takes = Duration::ZERO;
        models.extend(suite.tests(None)?.into_iter().map(|test| Model { suite, test, takes }));
    }
    let names: Vec<_> = models.iter().map(Model::name).collect();
    if let Some(part) = skip.iter().find(|part| !names.iter().any(|name| name.contains(*part))) {
        bail!("--skip {part}: no model has that in its name, as {} has", names.join(", "));
    }
    models.extract_if(.., |model| is_skipped(model)).for_each(|model| {
        println!("{} is left out", model.name());
    });
    println!("{} models without a mutant", models.len());
    let times = parallel(jobs, &models, |model| {
        let start = Instant::now();
        let log = model.log("none", logs);
        let ended = explore(model, None, &log, None)?;
        if !ended.is_some_and(|status| status.success()) {
            bail!("{} fails without a mutant; see {}", model.name(), log.display());
        }
        println!("{:<60} {:6.1} s", model.name(), start.elapsed().as_secs_f64());
        Ok(start.elapsed())
    });
    for (model, takes) in models.iter_mut().zip(times) {
        model.takes = takes?;
    }
    models.sort_by_key(|model| model.takes);
    Ok(models)
}

#[derive(Debug)]
struct Verdict {
    fate: String,
    is_killed: bool,
    takes: Duration,
}

/// As test programs end that have failed.
const FAILED: i32 = 101;

/// Shows the mutant to one model after another until one of them fails. A model that takes too
/// long may have found an endless search or only a long one, so the others are asked, too.
fn judge(mutant: &Mutant, models: &[Model<'_>], logs: &Path, timeout: Duration) -> Result<Verdict> {
    let start = Instant::now();
    let verdict = |fate, is_killed| Ok(Verdict { fate, is_killed, takes: start.elapsed() });
    if let Some(moot) = mutant.moot {
        return verdict(format!("not run: {moot}"), true);
    }
    let mut late = None;
    for model in models {
        let log = model.log(mutant.name, logs);
        let limit = timeout + 5 * model.takes;
        match explore(model, Some(mutant.name), &log, Some(limit))? {
            Some(status) if status.success() => fs::remove_file(&log)?,
            Some(status) if status.code() == Some(FAILED) => {
                return verdict(format!("killed by {}", model.name()), true);
            }
            Some(status) => bail!("{} ended with {status}; see {}", model.name(), log.display()),
            None => late = late.or(Some(model.name())),
        }
    }
    match late {
        Some(name) => verdict(format!("UNDECIDED: {name} took too long"), false),
        None => verdict("SURVIVED".to_owned(), false),
    }
}

/// Runs one model in a process of its own. `None`: it took longer than `limit`.
fn explore(
    model: &Model<'_>,
    mutant: Option<&str>,
    log: &Path,
    limit: Option<Duration>,
) -> Result<Option<ExitStatus>> {
    let file = fs::File::create(log).with_context(|| format!("writing {}", log.display()))?;
    let mut child = model
        .suite
        .command(mutant)
        .args(["--exact", &model.test, "--nocapture", "--test-threads=1"])
        .into_inner()
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting {}", model.name()))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Calls `work` for each item, so many at a time. Results are in the order of the items.
fn parallel<T: Sync, R: Send>(jobs: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(item) = items.get(at)
                {
                    let result = work(item);
                    done.lock().expect("no worker panics").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn report(mutants: &[Mutant], verdicts: &[Verdict], markdown: Option<&Path>) -> Result<()> {
    let mut table = Table::new(["mutant", "change", "fate", "time"]);
    for (mutant, verdict) in mutants.iter().zip(verdicts) {
        let time = format!("{:.1} s", verdict.takes.as_secs_f64());
        let change = mutant.change.clone();
        table.add([mutant.name.to_owned(), change, verdict.fate.clone(), time]);
    }
    println!("\n{}", table.text());
    if let Some(path) = markdown {
        fs::write(path, table.markdown()).with_context(|| format!("writing {}", path.display()))?;
    }
    let moot = mutants.iter().filter(|mutant| mutant.moot.is_some()).count();
    let survived: Vec<_> = mutants
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| !verdict.is_killed)
        .map(|(mutant, _)| mutant.name)
        .collect();
    let killed = mutants.len() - moot - survived.len();
    println!("{killed} killed, {} survived, {moot} not run", survived.len());
    if !survived.is_empty() {
        bail!("no model notices {}", survived.join(", "));
    }
    Ok(())
}
