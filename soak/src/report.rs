//! What is said at the end.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::{Context, Result};

use crate::campaign::{Totals, Wrong};
use crate::cli::Plan;
use crate::setting::Setting;

/// So many lines of each violation go to the terminal; the file has all.
const SHOWN_MAX: usize = 12;

/// The table of a run without violations, and the closing line.
pub(crate) fn table(totals: &Totals) {
    let counts = &totals.counts;
    let rate = totals.rate.ticks_per_us();
    let seconds = totals.rate.elapsed_s();
    let per_second = counts.operations as f64 / seconds;
    let [p50, p90, p99, max] = totals.latency.ticks().map(|ticks| ticks as f64 / rate);
    let between = counts.kills - counts.killed_before - counts.killed_in_put - counts.killed_in_get;
    let rows = [
        (
            "operations",
            format!(
                "{} put, {} full, {} got, {} empty",
                counts.puts, counts.fulls, counts.gets, counts.empties
            ),
        ),
        ("calls for several", counts.of_many.to_string()),
        (
            "killed",
            format!(
                "{} in a put, {} in a get, {between} between operations, {} before the first",
                counts.killed_in_put, counts.killed_in_get, counts.killed_before
            ),
        ),
        (
            "messages of the killed",
            format!(
                "{} of killed puts arrived, {} went with a killed get",
                counts.arrived, counts.taken_along
            ),
        ),
        (
            "kill to next success",
            format!(
                "p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, max {max:.1} µs ({} kills, {} unanswered)",
                totals.latency.count(),
                totals.latency.unanswered
            ),
        ),
        ("", format!("of another process, scheduling on {} CPUs and logging included", cpus())),
        ("recoveries", format!("{} beside work, {} after it", totals.recoveries, totals.epochs)),
        (
            "time",
            format!(
                "{seconds:.1} s, {:.1} of it checking; {per_second:.0} operations/s",
                totals.checking.as_secs_f64()
            ),
        ),
        (
            "counters",
            format!(
                "{rate:.0} ticks/µs, {} pairs of CPUs, {} handovers, at most {} ticks backwards",
                totals.warp.pairs, totals.warp.handovers, totals.warp.ticks
            ),
        ),
    ];
    for (name, text) in rows {
        println!("{name:<24}{text}");
    }
    println!("{}: 0 violations", closing(totals));
}

fn closing(totals: &Totals) -> String {
    let counts = &totals.counts;
    format!(
        "{} operations, {} kills, {} stops, {} epochs",
        counts.operations, counts.kills, totals.stops, totals.epochs
    )
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Says what is wrong, and writes the epoch's history to a file.
pub(crate) fn violation(
    plan: &Plan,
    setting: &Setting,
    totals: &Totals,
    wrong: &Wrong,
) -> Result<()> {
    let path = &plan.history;
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "# epoch {} of seed {}: {setting}", totals.epochs, plan.seed)?;
        for line in wrong.texts.iter().flat_map(|text| text.lines()) {
            writeln!(file, "# {line}")?;
        }
        let mut history: Vec<_> = wrong.history.iter().collect();
        history.sort_by_key(|operation| operation.inv);
        history.iter().try_for_each(|operation| writeln!(file, "{operation}"))?;
        file.flush()
    };
    for text in &wrong.texts {
        text.lines().take(SHOWN_MAX).for_each(|line| println!("{line}"));
    }
    println!("{}: {} violations", closing(totals), wrong.texts.len());
    write().with_context(|| {
        format!("writing the history to {}; name another file with --history", path.display())
    })?;
    println!("epoch {} of seed {}: {setting}", totals.epochs, plan.seed);
    println!("its history is in {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use shmq_soak::history::{Operation, Value, What};

    use super::*;
    use crate::setting;

    #[test]
    fn a_violation_leaves_its_history() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = setting::tests::plan(4);
        plan.history = folder.path().join("history.txt");
        let setting = setting::tests::draw(&plan);
        let operation = |what, inv| Operation { process: 1, what, inv, res: inv + 1 };
        let value = Value::new(1, 7);
        let history = vec![operation(What::Got(value), 30), operation(What::Empty, 20)];
        let texts: Vec<_> =
            shmq_soak::check(&history, Some(4)).iter().map(ToString::to_string).collect();
        let wrong = Wrong { texts, history };
        violation(&plan, &setting, &Totals::new(Default::default()), &wrong).unwrap();
        let text = std::fs::read_to_string(&plan.history).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("# epoch 0 of seed 9: Slots, capacity 4, "), "{text}");
        assert_eq!(
            lines[1..],
            [
                "# P1 thin air: 1#7 was got, and no put of it happened",
                "#     [30, 31] process 1: get: 1#7",
                "[20, 21] process 1: get: empty",
                "[30, 31] process 1: get: 1#7",
            ]
        );
        plan.history = folder.path().join("no/such/folder");
        let refused = violation(&plan, &setting, &Totals::new(Default::default()), &wrong);
        assert!(refused.unwrap_err().to_string().contains("name another file with --history"));
    }
}
