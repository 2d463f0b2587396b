//! The same scripts over these queues and over CPython's, compared step by step.
//!
//! Scripts are written by hand and at random, from fixed seeds. `cpython.py` is the other half. Where the two
//! may differ is listed here, and in docs/PYTHON.md. What processes and pools do is told line by line, here and
//! by `cpython_processes.py`.

mod runner;

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::io::Write;
use std::process::{self, Command, ExitCode, Stdio, exit};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize, Serializer};
use shmq::{
    GetError, JoinableQueue, Manager, ManagerJoinableQueue, Pool, PoolError, Process, ProcessError,
    PutError, Queue, SimpleQueue, Task, active_children, current_process, parent_process,
};

/// How long is looked whether `join` returns, if it should not.
const NOT_YET: Duration = Duration::from_millis(50);
/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    shmq::init(shmq::tasks![
        in_child,
        nothing,
        seven,
        leave,
        fail,
        sleep,
        introduce,
        square,
        add,
        picky,
        set_up,
        wait_a_little,
        pid
    ]);
    let tests = tests![
        scripts_by_hand_end_alike,
        scripts_at_random_end_alike,
        scripts_with_shutdown_end_alike,
        processes_and_pools_end_alike,
        every_difference_is_documented,
    ];
    let found = python();
    runner::run_unless(tests, |name| {
        let needed = match name {
            "every_difference_is_documented" => return None,
            "scripts_with_shutdown_end_alike" => (3, 13),
            _ => (3, 11),
        };
        match &found {
            None => Some("python3 not found: not compared".to_owned()),
            Some(python) if python.version < needed => {
                let (major, minor) = needed;
                let is = &python.full;
                Some(format!(
                    "CPython {major}.{minor} or later not found, only {is}: not compared; set PYTHON"
                ))
            }
            Some(_) => None,
        }
    })
}

struct Python {
    program: String,
    version: (u32, u32),
    full: String,
}

/// What `PYTHON` says, or `python3`; if it is there.
fn python() -> Option<Python> {
    let program = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let code = "import platform, sys\n\
                assert platform.python_implementation() == 'CPython'\n\
                print(sys.version_info.major, sys.version_info.minor, platform.python_version())";
    let output = Command::new(&program).args(["-c", code]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    let mut number = || words.next()?.parse().ok();
    let version = (number()?, number()?);
    Some(Python { program, version, full: words.next()?.to_owned() })
}

/// What a step may come to there, and here, and how docs/PYTHON.md says so.
struct Difference {
    step: &'static str,
    there: &'static [&'static str],
    here: &'static [&'static str],
    documented: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        step: "put_and_get_at_once",
        there: &["Empty"],
        here: &["got x"],
        documented: "`put(x)`, then `get_nowait()` in the same process",
    },
    Difference {
        step: "empty",
        there: &["handle is closed", "Queue ... is closed"],
        here: &["True", "False"],
        documented: "`empty()` after `close()`",
    },
    Difference {
        step: "put_unencodable",
        there: &["ok"],
        here: &["the value was not put"],
        documented: "`put` of what cannot be encoded",
    },
    Difference {
        step: "join",
        there: &["blocks"],
        here: &["joined"],
        documented: "`join` after a `put` of what cannot be encoded",
    },
];

fn every_difference_is_documented() {
    let text = include_str!("../../docs/PYTHON.md");
    for difference in DIFFERENCES {
        assert!(text.contains(difference.documented), "{}", difference.documented);
    }
}

#[derive(Clone, Deserialize)]
struct Text(String);

/// Cannot be encoded if it is empty.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return Err(serde::ser::Error::custom("nothing"));
        }
        serializer.serialize_newtype_struct("Text", &self.0)
    }
}

/// What a script runs over.
#[derive(Deserialize, Serialize)]
enum Subject {
    Queue(Queue<Text>),
    Joinable(JoinableQueue<Text>),
    Simple(SimpleQueue<Text>),
    Managed(ManagerJoinableQueue<Text>),
}

/// The same call, whatever the queue is.
macro_rules! either {
    ($subject:expr, $queue:ident => $call:expr) => {
        match $subject {
            Subject::Queue($queue) => $call,
            Subject::Joinable($queue) => $call,
            Subject::Managed($queue) => $call,
            Subject::Simple(_) => panic!("a simple queue has no such member"),
        }
    };
}

impl Subject {
    fn new(kind: &str, maxsize: usize) -> Self {
        match kind {
            "queue" => Self::Queue(Queue::new(maxsize).unwrap()),
            "simple" => Self::Simple(SimpleQueue::new().unwrap()),
            "managed" => Self::Managed(Manager::new().joinable_queue(maxsize).unwrap()),
            _ => Self::Joinable(JoinableQueue::new(maxsize).unwrap()),
        }
    }

    fn joinable(&self) -> &JoinableQueue<Text> {
        match self {
            Self::Joinable(queue) => queue,
            Self::Managed(queue) => queue,
            _ => panic!("this queue cannot be joined"),
        }
    }

    fn put(&self, value: &str) -> Result<String, String> {
        let value = Text(value.to_owned());
        let put = match self {
            Self::Simple(queue) => queue.put(value),
            queue => either!(queue, queue => queue.put(value)),
        };
        put_said(put)
    }

    fn get(&self) -> Result<String, String> {
        got(match self {
            Self::Simple(queue) => queue.get(),
            queue => either!(queue, queue => queue.get()),
        })
    }

    fn act(&self, words: &[&str]) -> Result<String, String> {
        let text = |value: &str| Text(value.to_owned());
        match *words {
            ["put", value] => self.put(value),
            ["put_timeout", value, ms] => {
                put_said(either!(self, queue => queue.put_timeout(text(value), timeout(ms))))
            }
            ["put_nowait", value] | ["put_unblocked", value, _] => {
                put_said(either!(self, queue => queue.put_nowait(text(value))))
            }
            ["put_and_get_at_once", value] => {
                self.put(value)?;
                got(either!(self, queue => queue.get_nowait()))
            }
            ["put_unencodable"] => self.put(""),
            ["get"] => self.get(),
            ["get_timeout", ms] => got(either!(self, queue => queue.get_timeout(timeout(ms)))),
            ["get_nowait"] | ["get_unblocked", _] => {
                got(either!(self, queue => queue.get_nowait()))
            }
            ["qsize"] => Ok(either!(self, queue => queue.qsize()).to_string()),
            ["full"] => Ok(truth(either!(self, queue => queue.full()))),
            ["empty"] => Ok(truth(match self {
                Self::Simple(queue) => queue.empty(),
                queue => either!(queue, queue => queue.empty()),
            })),
            ["close"] => {
                match self {
                    Self::Simple(queue) => queue.close(),
                    queue => either!(queue, queue => queue.close()),
                }
                ok(())
            }
            ["task_done"] => said(self.joinable().task_done()).and_then(ok),
            ["join"] => match self.joinable().join_timeout(NOT_YET).unwrap() {
                true => Ok("joined".to_owned()),
                false => Ok("blocks".to_owned()),
            },
            ["shutdown", immediate] => {
                said(either!(self, queue => queue.shutdown(immediate == "immediate")))
                    .and_then(|_| ok(()))
            }
            _ => panic!("{words:?} is no step"),
        }
    }
}

fn ok(_: ()) -> Result<String, String> {
    Ok("ok".to_owned())
}

fn timeout(ms: &str) -> Duration {
    Duration::from_millis(ms.parse::<i64>().unwrap().try_into().unwrap_or(0))
}

fn truth(is: bool) -> String {
    if is { "True" } else { "False" }.to_owned()
}

/// In Python's words, without what is between angle brackets.
fn said<V, E: Display>(done: Result<V, E>) -> Result<V, String> {
    done.map_err(|error| {
        let text = error.to_string();
        match text.split_once('<').zip(text.rsplit_once('>')) {
            Some(((before, _), (_, after))) => format!("{before}...{after}"),
            None => text,
        }
    })
}

fn put_said(put: Result<(), PutError<Text>>) -> Result<String, String> {
    match put {
        Ok(()) => ok(()),
        Err(PutError::Full(_)) => Err("Full".to_owned()),
        Err(PutError::ShutDown(_)) => Err("ShutDown".to_owned()),
        Err(error) => said(Err(error)),
    }
}

fn got(got: Result<Text, GetError>) -> Result<String, String> {
    match got {
        Ok(value) => Ok(format!("got {}", value.0)),
        Err(GetError::Empty) => Err("Empty".to_owned()),
        Err(GetError::ShutDown) => Err("ShutDown".to_owned()),
        Err(error) => said(Err(error)),
    }
}

/// What came of a step.
fn step(subject: &Subject, words: &[&str]) -> String {
    let start = Instant::now();
    subject.act(words).unwrap_or_else(|text| {
        let is_timed = words[0].ends_with("_timeout") || words[0].ends_with("_unblocked");
        let time = if is_timed { timeout(words[words.len() - 1]) } else { Duration::ZERO };
        let is_late = !time.is_zero() && start.elapsed() >= time.mul_f64(0.8);
        format!("{text}{}", if is_late { " later" } else { "" })
    })
}

fn in_child(subject: Subject, words: Vec<String>, to: Queue<String>) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    to.put(step(&subject, &words)).unwrap();
}

/// Runs a script; each line with what came of it.
fn run(script: &str) -> Vec<String> {
    let (head, steps) = script.split_once('\n').unwrap();
    let mut words = head.split(' ').skip(1);
    let (kind, maxsize) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
    let mut subject = Subject::new(kind, maxsize);
    let mut lines = vec![head.to_owned()];
    for line in steps.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let ["child", words @ ..] = &words[..] else {
            lines.push(step(&subject, &words));
            continue;
        };
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        let to = Queue::new(1).unwrap();
        let lent = match &subject {
            Subject::Queue(queue) => Subject::Queue(queue.clone()),
            Subject::Joinable(queue) => Subject::Joinable(queue.clone()),
            Subject::Simple(queue) => Subject::Simple(queue.clone()),
            Subject::Managed(queue) => Subject::Managed(queue.clone()),
        };
        let child = Process::new(in_child, (subject, words, to.clone()));
        child.start().unwrap();
        child.join().unwrap();
        subject = lent;
        lines.push(to.get_timeout(PATIENCE).unwrap());
    }
    lines
}

/// Runs the scripts here and there, and compares. Returns which differences there were, and how often.
fn compare(scripts: &[String]) -> Vec<usize> {
    let python = python().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cpython.py");
    let mut child = Command::new(&python.program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What cannot be pickled is a traceback there.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let all = scripts.concat();
    let writer = thread::spawn(move || stdin.write_all(all.as_bytes()));
    let here: Vec<_> = thread::scope(|scope| {
        let there = scope.spawn(|| child.wait_with_output().unwrap());
        let here = scripts.iter().flat_map(|script| run(script)).collect::<Vec<_>>();
        let output = there.join().unwrap();
        let there = String::from_utf8(output.stdout).unwrap();
        writer.join().unwrap().unwrap();
        let there: Vec<_> = there.lines().map(str::to_owned).collect();
        assert_eq!(there.len(), here.len(), "{script} ended early, after {:?}", there.last());
        here.into_iter().zip(there).collect()
    });
    let mut found = vec![0; DIFFERENCES.len()];
    let mut script = String::new();
    for ((here, there), step) in here.iter().zip(scripts.iter().flat_map(|script| script.lines())) {
        if step.starts_with("script") {
            script.clear();
        }
        script += &format!("    {step:24} here: {here:24} there: {there}\n");
        if here == there {
            continue;
        }
        let is_listed = |difference: &Difference| {
            step.split(' ').next() == Some(difference.step)
                && difference.there.contains(&there.as_str())
                && difference.here.contains(&here.as_str())
        };
        let at = DIFFERENCES.iter().position(is_listed);
        found[at.unwrap_or_else(|| panic!("they differ:\n{script}"))] += 1;
    }
    println!(
        "compared with CPython {}: {} scripts, {} outcomes, {} listed differences",
        python.full,
        scripts.len(),
        here.len() - scripts.len(),
        found.iter().sum::<usize>(),
    );
    found
}

/// Steps by `;`.
fn script(kind: &str, maxsize: usize, steps: &str) -> String {
    let steps: Vec<_> = steps.split(';').map(str::trim).collect();
    format!("script {kind} {maxsize}\n{}\n", steps.join("\n"))
}

fn scripts_by_hand_end_alike() {
    let full = "put_nowait z; put_unblocked z 5000; put_timeout z 20; put_timeout z 0; \
                put_timeout z -20";
    let empty = "get_nowait; get_unblocked 5000; get_timeout 20; get_timeout 0; get_timeout -20";
    let state = "qsize; empty; full";
    let closed = "put a; put_nowait a; put_timeout a 20; get; get_nowait; get_timeout 20; close";
    let mut scripts = Vec::new();
    for kind in ["queue", "joinable"] {
        scripts.extend([
            script(
                kind,
                3,
                &format!("{state}; put a; {state}; put b; put c; {state}; {full}; {state}"),
            ),
            script(kind, 2, &format!("{empty}; {state}; put a; get; {empty}; {state}")),
            script(kind, 0, &format!("put a; put b; put c; {state}; get; get; get; {empty}")),
            script(kind, 2, &format!("put a; close; {closed}; qsize; full")),
            script(kind, 2, &format!("close; {closed}; qsize; full")),
            script(kind, 1, "child put a; qsize; full; child put_nowait b; get; child get_nowait"),
            script(kind, 2, "put a; child get; child get_timeout 20; child put b; get; empty"),
            script(kind, 2, "close; child put a; child get; put b; get"),
            script(kind, 2, "child close; put a; get"),
        ]);
    }
    scripts.extend([
        script(
            "joinable",
            0,
            "join; task_done; put a; join; task_done; join; task_done; get; task_done",
        ),
        script(
            "joinable",
            2,
            "put a; put b; get; get; task_done; join; task_done; join; task_done",
        ),
        script(
            "joinable",
            1,
            "put a; put_nowait b; put_timeout b 20; get; task_done; join; task_done",
        ),
        script("joinable", 0, "put a; close; join; task_done; join; task_done; put b; task_done"),
        script(
            "joinable",
            0,
            "child put a; join; child get; join; child task_done; join; task_done",
        ),
        script(
            "joinable",
            0,
            "put a; child get; child task_done; join; child task_done; child join",
        ),
        script(
            "simple",
            0,
            "empty; put a; put b; empty; get; get; empty; close; close; put c; get",
        ),
        script(
            "simple",
            0,
            "child put a; empty; get; put b; child get; empty; child close; put c; get",
        ),
    ]);
    scripts.extend(
        [
            "qsize; empty; full; put a; put_nowait b; full; put_nowait c; put_timeout c 20; \
             put_timeout c 0; put_unblocked c 5000; qsize; get; get_nowait; empty; get_nowait; \
             get_timeout 20; get_timeout 0; get_unblocked 5000",
            "put a; child get; join; child task_done; join; task_done; child put b; get; qsize; \
             join; task_done; child join",
        ]
        .map(|steps| script("managed", 2, steps)),
    );
    // What is listed as different, often enough for each to be seen.
    let at_once = vec!["put_and_get_at_once x"; 30].join(";");
    scripts.push(script("queue", 0, &at_once));
    for kind in ["queue", "joinable", "simple"] {
        scripts.push(script(kind, 0, "put a; close; empty"));
    }
    scripts.push(script("queue", 1, "put_unencodable; qsize; empty; put a; full"));
    scripts.push(script("joinable", 1, "put_unencodable; qsize; join"));
    let found = compare(&scripts);
    // The first is a matter of luck there.
    assert!(found[1..].iter().all(|&times| times > 0), "{found:?}: not seen");
}

/// A small generator with a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A random script that never waits for ever, and seldom at all.
fn random(kind: &str, seed: u64) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let maxsize = if kind == "simple" { 0 } else { dice.below(5) };
    let (mut size, mut unfinished, mut is_over, mut waits) = (0, 0_usize, false, 0);
    let mut steps = Vec::new();
    let members: &[&str] = match kind {
        "simple" => &["put", "put", "get", "get", "empty", "close"],
        "queue" => &["put", "put", "put", "get", "get", "get", "look", "look", "close"],
        "joinable" => {
            &["put", "put", "put", "get", "get", "get", "look", "done", "done", "join", "close"]
        }
        _ => {
            &["put", "put", "put", "get", "get", "get", "look", "done", "done", "join", "shutdown"]
        }
    };
    let len = 10 + dice.below(40);
    for number in 0..len {
        let is_full = maxsize > 0 && size == maxsize;
        let mut member = members[dice.below(members.len())];
        // Close towards the end.
        if matches!(member, "close" | "shutdown") && number * 2 < len {
            member = "put";
        }
        // Shut down, it may be emptied.
        let gets_over = is_over && (kind != "thread" || size == 0);
        let timed = ["timeout 8", "timeout 0", "unblocked 5000", "nowait"][dice.below(4)];
        let mut timed = |waits_now: bool| {
            // thread's Queue takes no negative times, and simple ones none at all.
            waits += usize::from(waits_now && timed == "timeout 8");
            if waits > 3 { "nowait" } else { timed }
        };
        let step = match member {
            "put" if kind == "simple" => format!("put v{number}"),
            "put" if !is_full && dice.below(2) == 0 => format!("put v{number}"),
            "put" => match timed(is_full && !is_over).split_once(' ') {
                Some((form, ms)) => format!("put_{form} v{number} {ms}"),
                None => format!("put_nowait v{number}"),
            },
            "get" if kind == "simple" && size == 0 && !is_over => "empty".to_owned(),
            "get" if kind == "simple" || (size > 0 && dice.below(2) == 0) => "get".to_owned(),
            "get" => format!("get_{}", timed(size == 0 && !gets_over)),
            "look" => {
                ["qsize", "full", if is_over { "qsize" } else { "empty" }][dice.below(3)].to_owned()
            }
            "done" => "task_done".to_owned(),
            "join" if unfinished > 0 && waits > 3 => "task_done".to_owned(),
            "join" => "join".to_owned(),
            "empty" if is_over => "close".to_owned(),
            "shutdown" => ["shutdown gracefully", "shutdown immediate"][dice.below(2)].to_owned(),
            member => member.to_owned(),
        };
        match step.split(' ').next().unwrap() {
            name if name.starts_with("put") && !is_full && !is_over => {
                size += 1;
                unfinished += 1;
            }
            name if name.starts_with("get") && size > 0 && !gets_over => size -= 1,
            "task_done" => unfinished = unfinished.saturating_sub(1),
            "join" => waits += usize::from(unfinished > 0),
            "close" => is_over = true,
            "shutdown" => {
                is_over = true;
                if step.ends_with("immediate") {
                    unfinished = unfinished.saturating_sub(size);
                    size = 0;
                }
            }
            _ => {}
        }
        steps.push(step);
    }
    format!("script {kind} {maxsize}\n{}\n", steps.join("\n"))
}

fn scripts_at_random_end_alike() {
    let kinds = ["queue", "joinable", "queue", "joinable", "simple"];
    let scripts: Vec<_> =
        kinds.iter().cycle().zip(0..500).map(|(kind, seed)| random(kind, seed)).collect();
    let differences: usize = compare(&scripts).iter().sum();
    assert_eq!(differences, 0);
}

/// `shutdown` is what the queue between threads has, from Python 3.13 on.
fn scripts_with_shutdown_end_alike() {
    let mut scripts: Vec<_> = (0..300).map(|seed| random("thread", seed)).collect();
    scripts.extend([
        script(
            "thread",
            0,
            "put a; put b; shutdown gracefully; put c; get; get_nowait; get; qsize",
        ),
        script("thread", 0, "put a; shutdown immediate; get_nowait; join; task_done; empty"),
        script("thread", 2, "put a; put b; get; shutdown immediate; join; task_done; join"),
        script(
            "thread",
            1,
            "put a; shutdown gracefully; put_timeout b 5000; shutdown immediate; join",
        ),
        script("thread", 0, "shutdown gracefully; get; get_timeout 5000; put_nowait a; join"),
    ]);
    let differences: usize = compare(&scripts).iter().sum();
    assert_eq!(differences, 0);
}

fn nothing() {}

fn seven() -> u8 {
    7
}

fn leave() {
    exit(7);
}

fn fail() -> Result<(), String> {
    Err("no milk".to_owned())
}

fn sleep() {
    thread::sleep(PATIENCE);
}

fn pid() -> u32 {
    process::id()
}

fn introduce(to: Queue<String>, method: String) {
    let (own, parent) = (current_process(), parent_process().unwrap());
    let is = [own.daemon(), parent.is_alive()].map(truth);
    let child = of(&method, nothing, ());
    let end = match child.start() {
        Ok(()) => {
            child.join().unwrap();
            let name = child.get_name();
            format!("{} {}", &name[name.len() - 2..], child.exitcode().unwrap())
        }
        Err(error) => error.to_string(),
    };
    to.put(format!("{} {} {} {} {end}", own.name(), is[0], parent.name(), is[1])).unwrap();
}

fn square(number: i64) -> i64 {
    number * number
}

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn picky(number: i64) -> Result<i64, String> {
    if number == 3 { Err("not 3".to_owned()) } else { Ok(number) }
}

fn set_up(to: Queue<String>) {
    to.put("set up".to_owned()).unwrap();
}

fn wait_a_little(number: i64) -> i64 {
    thread::sleep(Duration::from_millis(300));
    number
}

/// By either start method.
fn of<A: Serialize + Send + 'static, F: Task<A>>(method: &str, task: F, args: A) -> Process {
    match method {
        "spawn" => Process::new(task, args),
        // SAFETY: the other threads wait, and share nothing with these tasks.
        _ => unsafe { Process::fork(move || task.call(args)) },
    }
}

/// What went wrong, in both's words, up to where they give advice.
fn error_of<V: Debug, E: Display>(done: Result<V, E>) -> String {
    let text = match done {
        Ok(value) => return format!("{value:?}"),
        Err(error) => error.to_string().to_lowercase(),
    };
    text.split([';', '.']).next().unwrap_or_default().to_owned()
}

fn tell_of_processes(method: &str, mut tell: impl FnMut(String)) -> Result<(), ProcessError> {
    let ended = |process: Process| {
        process.start().and_then(|()| process.join()).unwrap();
        process.exitcode().unwrap()
    };
    let none = |is_none: bool| if is_none { "None" } else { "something" };
    let active = || {
        let names: Vec<_> = active_children().iter().map(Process::get_name).collect();
        format!("active {names:?}").replace('"', "'")
    };
    let ready = |process: &Process| {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        let sentinel = process.sentinel().unwrap();
        let ready = poll(&mut [PollFd::new(&sentinel, PollFlags::IN)], Some(&now)).unwrap();
        format!("sentinel {ready}")
    };
    let main = current_process();
    let (name, daemon) = (main.name(), truth(main.daemon()));
    tell(format!("main {name} {daemon} {}", none(parent_process().is_none())));
    let process = of(method, sleep, ()).name("sleeper");
    let (pid, code) = (none(process.pid().is_none()), none(process.exitcode().is_none()));
    let [alive, daemon] = [process.is_alive(), process.is_daemon()].map(truth);
    tell(format!("new {pid} {code} {alive} {daemon} {}", process.get_name()));
    tell(format!("join a new one: {}", error_of(process.join())));
    process.start()?;
    process.join_timeout(Duration::from_millis(20))?;
    let code = none(process.exitcode().is_none());
    let [has_pid, alive] = [process.pid() > Some(0), process.is_alive()].map(truth);
    tell(format!("started {has_pid} {code} {alive}"));
    tell(format!("start it again: {}", error_of(process.start())));
    tell(format!("close it: {}", error_of(process.close())));
    tell(active());
    tell(ready(&process));
    process.terminate()?;
    process.join()?;
    tell(format!("terminated {} {}", process.exitcode().unwrap(), truth(process.is_alive())));
    tell(active());
    tell(ready(&process));
    process.close()?;
    tell(format!("join a closed one: {}", error_of(process.join())));
    let process = of(method, sleep, ());
    process.start()?;
    process.kill()?;
    process.join()?;
    tell(format!("killed {}", process.exitcode().unwrap()));
    let codes = [
        ended(of(method, nothing, ())),
        ended(of(method, seven, ())),
        ended(of(method, leave, ())),
        ended(of(method, fail, ())),
    ];
    tell(format!("exit codes {}", codes.map(|code| code.to_string()).join(" ")));
    for daemon in [false, true] {
        let answers = Queue::new(0).unwrap();
        let process = of(method, introduce, (answers.clone(), method.to_owned()));
        ended(process.name("Ada").daemon(daemon));
        tell(format!("a child says {}", answers.get_timeout(PATIENCE).unwrap()));
    }
    Ok(())
}

fn tell_of_pools(mut tell: impl FnMut(String)) -> Result<(), PoolError> {
    let answers = Queue::new(0)?;
    let pool = Pool::builder().processes(2).initializer(set_up, (answers.clone(),)).create()?;
    let said = [(); 2].map(|()| answers.get_timeout(PATIENCE).unwrap());
    tell(said.join(" "));
    let refused = error_of(pool.apply(picky, (3,)));
    tell(format!("apply {} {refused}", pool.apply(square, (7,))?));
    for chunksize in [None, Some(1), Some(3)] {
        let (ten, none) = (pool.map(square, 0..10, chunksize)?, pool.map(square, [], chunksize)?);
        tell(format!("map {ten:?} {none:?}"));
        let pairs = (0..5).map(|n| (n, -2 * n));
        tell(format!("starmap {:?}", pool.starmap(add, pairs, chunksize)?));
        tell(format!("map {}", error_of(pool.map(picky, 0..10, chunksize))));
    }
    for chunksize in [1, 3] {
        let ordered: Result<Vec<_>, _> = pool.imap(square, 0..10, Some(chunksize))?.collect();
        tell(format!("imap {:?}", ordered?));
        let unordered = pool.imap_unordered(square, 0..10, Some(chunksize))?;
        let mut sorted = unordered.collect::<Result<Vec<_>, _>>()?;
        sorted.sort_unstable();
        tell(format!("imap_unordered {sorted:?}"));
    }
    let each: Vec<_> = pool.imap(picky, 0..6, None)?.map(error_of).collect();
    tell(format!("imap {each:?}").replace('"', "'"));
    tell_of_answers(&pool, &mut tell)?;
    tell(format!("join an open one: {}", error_of(pool.join())));
    let later = pool.map_async(wait_a_little, 0..4, None)?;
    pool.close();
    tell(format!("apply to a closed one: {}", error_of(pool.apply(square, (7,)))));
    pool.join()?;
    tell(format!("closed {:?}", later.get()?));
    let pool = Pool::builder().processes(1).maxtasksperchild(1).create()?;
    let pids = (0..3).map(|_| pool.apply(pid, ())).collect::<Result<HashSet<_>, _>>()?;
    tell(format!("pids {}", pids.len()));
    let start = Instant::now();
    let _later = pool.apply_async(sleep, ())?;
    thread::sleep(NOT_YET);
    pool.terminate();
    pool.join()?;
    tell(format!("terminated {}", truth(start.elapsed() < PATIENCE / 2)));
    Ok(())
}

fn tell_of_answers(pool: &Pool, tell: &mut impl FnMut(String)) -> Result<(), PoolError> {
    let later = pool.apply_async(wait_a_little, (5,))?;
    let early = later.get_timeout(Duration::from_millis(1)).is_err();
    tell(format!("later {} {}", truth(later.ready()), truth(early)));
    later.wait();
    let [ready, good] = [later.ready(), later.successful().unwrap()].map(truth);
    tell(format!("later {ready} {good} {} {}", later.get()?, later.get()?));
    let failed = pool.apply_async(picky, (3,))?;
    failed.wait();
    let [ready, good] = [failed.ready(), failed.successful().unwrap()].map(truth);
    tell(format!("failed {ready} {good} {}", error_of(failed.get())));
    let called = Arc::new(Mutex::new(Vec::new()));
    let calls = [Arc::clone(&called), Arc::clone(&called)];
    let [good, bad] = calls.map(|calls| move |text| calls.lock().unwrap().push(text));
    pool.apply_async(square, (4,))?.callback(move |value| good(value.to_string())).wait();
    let failing = pool.apply_async(picky, (3,))?;
    failing.error_callback(move |error| bad(format!("'{error}'"))).wait();
    tell(format!("called [{}]", called.lock().unwrap().join(", ")));
    Ok(())
}

fn processes_and_pools_end_alike() {
    let python = python().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cpython_processes.py");
    for method in ["fork", "spawn"] {
        let mut here = Vec::new();
        tell_of_processes(method, |line| here.push(line)).unwrap();
        tell_of_pools(|line| here.push(line)).unwrap();
        let output = Command::new(&python.program).args([script, method]).output().unwrap();
        let there = String::from_utf8(output.stdout).unwrap();
        let there: Vec<_> = there.lines().collect();
        assert_eq!(here, there, "{method}: {}", String::from_utf8_lossy(&output.stderr));
        println!("compared with CPython {}: {} lines of {method}", python.full, here.len());
    }
}
