//! Runs units, point by point.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::image::Image;
use crate::lab::{A, B, Lab, VICTIMS};
use crate::op::Op;
use crate::path::Missed;
use crate::report::Report;
use crate::seed::{Kind, Seed, Unit};
use crate::single::Longest;
use crate::slate::Slate;
use crate::state::State;
use crate::tracee::{Goal, Reached};
use crate::{pair, schedule, single, sleeper, watchdog};

/// After so many failures the rest of a unit says nothing new.
const FAILURES_MAX: usize = 3;

/// Runs them all. True: nothing failed.
pub fn all(units: &[Unit]) -> Result<bool> {
    watchdog::install()?;
    let slates = slates()?;
    let mut report = Report::new(units.len());
    for units in units.chunk_by(|one, next| one.config == next.config) {
        let lab = Lab::open(units[0].config, slates)?;
        for units in units.chunk_by(|one, next| one.state == next.state) {
            let image = build(&lab, units[0].state)?;
            for unit in units {
                report.begin(unit);
                explore(&lab, &image, unit, &mut report)?;
            }
        }
    }
    watchdog::rest();
    Ok(report.finish())
}

/// Runs one experiment, and says every step of its victims.
pub fn replay(seed: Seed) -> Result<()> {
    watchdog::install()?;
    let lab = Lab::open(seed.unit.config, slates()?)?;
    if !seed.unit.state.exists_in(lab.config) {
        bail!("a queue of kind {} is never {}", lab.config.name, seed.unit.state);
    }
    let image = build(&lab, seed.unit.state)?;
    println!("{seed}: {:?}", image.messages);
    lab.loud.set(true);
    watchdog::watch(&seed.to_string());
    let reached = experiment(&lab, &image, seed, &Longest::default())?;
    println!("{seed}: {reached:?}: nothing wrong");
    Ok(())
}

fn slates() -> Result<[&'static Slate; VICTIMS]> {
    Ok([Slate::create()?, Slate::create()?, Slate::create()?])
}

fn build(lab: &Lab, state: State) -> Result<Image> {
    let config: &Config = lab.config;
    watchdog::watch(&format!("(building {state} of {})", config.name));
    Image::build(lab, state).with_context(|| format!("building {state} of {}", config.name))
}

/// All points of one unit.
fn explore(lab: &Lab, image: &Image, unit: &Unit, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut points = 0;
    let mut failures = 0;
    watchdog::watch(&format!("({unit}, before its first experiment)"));
    if unit.kind == Kind::Beside {
        let company = match unit.state {
            // First in the table.
            State::Stalled => " with a put stopped at the head",
            State::Resting | State::Burning | State::Dead => " with a slot that rests",
            _ => " with nobody stopped",
        };
        let longest = report.longest(company.to_owned());
        single::alone(lab, image, longest)
            .with_context(|| format!("{unit}, with nobody stopped"))?;
    }
    for op in [unit.op, unit.other].into_iter().filter(|op| op.is_of_many()) {
        lab.paths[A].borrow_mut().forget();
        single::check_stride(lab, image, op).with_context(|| format!("{unit}, to its end"))?;
    }
    if unit.op == Op::PopAsking {
        single::check_asking(lab, image).with_context(|| format!("{unit}, to its end"))?;
    }
    let mut at = [0, 0];
    lab.paths.iter().for_each(|path| path.borrow_mut().forget());
    loop {
        let seed = unit.at(at);
        watchdog::watch(&seed.to_string());
        let company = format!("beside a stopped {}", unit.op);
        let unused = Longest::default();
        let longest = if unit.kind == Kind::Beside { report.longest(company) } else { &unused };
        let mut done = experiment(lab, image, seed, longest);
        if done.as_ref().is_err_and(anyhow::Error::is::<Missed>) {
            lab.paths.iter().for_each(|path| path.borrow_mut().forget());
            done = experiment(lab, image, seed, longest);
        }
        points += 1;
        let reached = match done {
            Ok(reached) => reached,
            Err(error) => {
                report.accuse(seed, &error);
                failures += 1;
                if failures == FAILURES_MAX {
                    break;
                }
                // As if neither had ended: if one had, the next experiment will see it.
                [Reached::Point; 2]
            }
        };
        match next(unit, at, reached) {
            Some(following) => {
                if following[0] != at[0] {
                    lab.paths[B].borrow_mut().forget();
                }
                at = following;
            }
            None => break,
        }
    }
    report.end(unit.kind, points, start.elapsed());
    Ok(())
}

/// The next point, in the order of the victims' instructions; none behind the last.
fn next(unit: &Unit, [first, second]: [u64; 2], reached: [Reached; 2]) -> Option<[u64; 2]> {
    if unit.kind.is_of_two() && reached[1] != Reached::End {
        return Some([first, second + 1]);
    }
    (reached[0] != Reached::End).then_some([first + 1, 0])
}

fn experiment(lab: &Lab, image: &Image, seed: Seed, longest: &Longest) -> Result<[Reached; 2]> {
    let Unit { kind, op, other, .. } = seed.unit;
    let goals: [Goal; 2] = seed.at.map(|at| seed.unit.goal(at));
    let ops = [op, other];
    let one = |reached: Reached| [reached, Reached::End];
    match kind {
        Kind::Kill => single::kill(lab, image, op, goals[0]).map(one),
        Kind::Freeze => single::freeze(lab, image, op, goals[0]).map(one),
        Kind::Beside => single::beside(lab, image, op, goals[0], longest).map(one),
        Kind::Sleeper => sleeper::kill(lab, image, op, goals[0]).map(one),
        Kind::EndKill => single::end_kill(lab, image, op, goals[0]).map(one),
        Kind::EndFreeze => single::end_freeze(lab, image, op, goals[0]).map(one),
        Kind::KillPair => pair::kill(lab, image, ops, goals),
        Kind::FreezePair => pair::freeze(lab, image, ops, goals),
        Kind::Schedule => schedule::run(lab, image, ops, goals),
    }
}

#[cfg(test)]
mod tests {
    use super::next;
    use crate::seed::Seed;
    use crate::tracee::Reached::{End, Point};

    #[test]
    fn points_are_visited_up_to_the_ends() {
        let seed: Seed = "schedule/try_push+try_pop/half/many-many/0,0".parse().unwrap();
        assert_eq!(next(&seed.unit, [0, 0], [Point, Point]), Some([0, 1]));
        assert_eq!(next(&seed.unit, [0, 7], [Point, End]), Some([1, 0]));
        assert_eq!(next(&seed.unit, [5, 2], [End, Point]), Some([5, 3]));
        assert_eq!(next(&seed.unit, [5, 7], [End, End]), None);
        let seed: Seed = "kill/try_push/half/many-many/0".parse().unwrap();
        assert_eq!(next(&seed.unit, [3, 0], [Point, End]), Some([4, 0]));
        assert_eq!(next(&seed.unit, [4, 0], [End, End]), None);
    }
}
