//! Runs tests from a `main` of our own, which begins with `shmq::init`.
//!
//! Prints what libtest prints, and takes words to filter by. One test at a time: each ends with no
//! child left, not even a zombie.

use std::panic;
use std::process::{ExitCode, exit};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

/// How long a test may take before it counts as hanging, also on a machine that has much else to do.
const TEST_MAX: Duration = Duration::from_secs(400);

pub(crate) type Test = (&'static str, fn());

/// Names functions as tests.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        &[$((stringify!($test), $test as fn())),*]
    };
}

#[allow(dead_code, reason = "most test programs run all tests")]
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    run_unless(tests, |_| None)
}

/// Runs tests, but not those that there is a reason to ignore.
pub(crate) fn run_unless(tests: &[Test], reason: impl Fn(&str) -> Option<String>) -> ExitCode {
    let Args { words, exact, skip, list, ignored } = Args::read();
    let is = |name: &str, word: &String| if exact { name == word } else { name.contains(word) };
    let is_wanted = |name: &str| {
        let named = words.is_empty() || words.iter().any(|word| is(name, word));
        named && !ignored && !skip.iter().any(|word| is(name, word))
    };
    let wanted: Vec<_> = tests.iter().filter(|(name, _)| is_wanted(name)).collect();
    if list {
        wanted.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    println!("\nrunning {} tests", wanted.len());
    let mut failed = Vec::new();
    let mut ignored = 0;
    for &&(name, test) in &wanted {
        if let Some(reason) = reason(name) {
            println!("test {name} ... ignored, {reason}");
            ignored += 1;
            continue;
        }
        let passed = passes(name, test);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed.extend((!passed).then_some(name));
    }
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        wanted.len() - failed.len() - ignored,
        failed.len(),
        tests.len() - wanted.len(),
        started.elapsed().as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// Those of libtest's arguments that change what is run; others are taken note of no further.
#[derive(Default)]
struct Args {
    words: Vec<String>,
    exact: bool,
    skip: Vec<String>,
    list: bool,
    /// Only ignored tests: there are none.
    ignored: bool,
}

impl Args {
    fn read() -> Self {
        let mut args = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => args.exact = true,
                "--list" => args.list = true,
                "--ignored" => args.ignored = true,
                "--skip" => args.skip.extend(words.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => _ = words.next(),
                flag if flag.starts_with('-') => {}
                _ => args.words.push(word),
            }
        }
        args
    }
}

fn passes(name: &'static str, test: fn()) -> bool {
    let (over, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(TEST_MAX) == Err(RecvTimeoutError::Timeout) {
            println!("test {name} ... FAILED: it hangs");
            exit(101);
        }
    });
    let passed = panic::catch_unwind(test).is_ok();
    drop(over);
    watch.join().unwrap();
    let childless = matches!(wait(WaitOptions::NOHANG), Err(Errno::CHILD));
    if !childless {
        println!("test {name} left a child, or a zombie");
    }
    passed && childless
}
