//! Small tasks per second over four workers, beside CPython's Pool.
//!
//! `pool_throughput [tasks [rounds]]`. Rounds of the two take turns, each with a new pool; medians are printed.
//! Another interpreter than `python3` is named by the variable `PYTHON`.

use std::env;
use std::error::Error;
use std::process::Command;
use std::time::Instant;

use shmq::{Pool, PoolError};

const PROCESSES: usize = 4;

/// What is measured, in either language.
const WAYS: [&str; 3] = ["map, chunksize 1", "map", "apply_async"];

/// Tasks per second, of each of the ways.
type Rates = [f64; WAYS.len()];

fn square(number: u64) -> u64 {
    number * number
}

fn main() -> Result<(), Box<dyn Error>> {
    shmq::init(shmq::tasks![square]);
    let mut numbers = env::args().skip(1).map(|word| word.parse::<u64>());
    let tasks = numbers.next().transpose()?.unwrap_or(50_000).max(1);
    let rounds = numbers.next().transpose()?.unwrap_or(5).max(1);
    let (mut ours, mut pythons) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(measure(tasks)?);
        pythons.extend(measure_python(tasks)?);
    }
    println!("{tasks} tasks, {PROCESSES} workers, median of {rounds} rounds, tasks per second");
    println!("{:16}  {:>9}  {:>9}", "", "shmq", "CPython");
    for (at, way) in WAYS.into_iter().enumerate() {
        let median = |rates: &[Rates]| median(rates.iter().map(|rates| rates[at]).collect());
        println!("{way:16}  {:>9}  {:>9}", median(&ours), median(&pythons));
    }
    Ok(())
}

fn measure(tasks: u64) -> Result<Rates, PoolError> {
    let pool = Pool::new(PROCESSES)?;
    // Until all workers are there.
    pool.map(square, 0..1000, None)?;
    let per_second = |run: &dyn Fn() -> Result<Vec<u64>, PoolError>| {
        let start = Instant::now();
        assert_eq!(run()?.last(), Some(&square(tasks - 1)));
        Ok::<_, PoolError>(tasks as f64 / start.elapsed().as_secs_f64())
    };
    let apply_async = || {
        let later: Result<Vec<_>, _> =
            (0..tasks).map(|number| pool.apply_async(square, (number,))).collect();
        later?.iter().map(shmq::AsyncResult::get).collect()
    };
    Ok([
        per_second(&|| pool.map(square, 0..tasks, Some(1)))?,
        per_second(&|| pool.map(square, 0..tasks, None))?,
        per_second(&apply_async)?,
    ])
}

/// The same by CPython, if it is there.
fn measure_python(tasks: u64) -> Result<Option<Rates>, Box<dyn Error>> {
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.args(["-c", include_str!("pool_throughput.py")]);
    let Ok(output) = command.args([tasks.to_string(), PROCESSES.to_string()]).output() else {
        return Ok(None);
    };
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let rates = text.lines().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    Ok(Some(rates.try_into().map_err(|_| "the script prints something else")?))
}

fn median(mut rates: Vec<f64>) -> String {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).map_or("-".to_owned(), |rate| format!("{rate:.0}"))
}
