//! What is run: which operations in which states of which queues.

use crate::config::{ASKING, CONFIGS, Config, RUNS};
use crate::op::{Effect, Op};
use crate::seed::{Kind, Unit};
use crate::sleeper::sleeper_for;
use crate::state::{STATES, State};

/// Operations that every queue is about; also the pairs' and schedules'.
const CORE: [Op; 2] = [Op::TryPush, Op::TryPop];

/// The same for several messages.
const MANY: [Op; 2] = [Op::TryPushMany, Op::TryPopMany];

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Full,
    /// What the test command has time for.
    Quick,
}

/// Everything that is to be run, by queue and then by state.
pub fn units(extent: Extent) -> Vec<Unit> {
    let configs = CONFIGS.iter().flat_map(|config| {
        let states = STATES.into_iter().filter(|state| state.exists_in(config));
        states.map(move |state| (config, state))
    });
    configs
        .flat_map(|(config, state)| match extent {
            Extent::Full => full(config, state),
            Extent::Quick => quick(config, state),
        })
        .filter(is_possible)
        .collect()
}

/// An exclusive side has no two victims.
fn is_possible(unit: &Unit) -> bool {
    let Unit { kind, op, other, config, .. } = unit;
    let collide =
        op.is_producer() && other.is_producer() || op.is_consumer() && other.is_consumer();
    !(kind.is_of_two() && collide && op.is_exclusive(config))
}

fn full(config: &'static Config, state: State) -> Vec<Unit> {
    let mut units = open(config, state);
    units.extend(ended(&units));
    units
}

/// Whatever may have to do with messages, or with the end, when the queue is shut down.
fn ended(units: &[Unit]) -> Vec<Unit> {
    let concerns = |op: Op| op.effect() != Effect::None || op == Op::ShutDown;
    let killed = units.iter().filter(|unit| unit.kind == Kind::Kill && concerns(unit.op));
    let each = |unit: &Unit| [Kind::EndKill, Kind::EndFreeze].map(|kind| Unit { kind, ..*unit });
    killed.flat_map(each).collect()
}

/// Of queues that are shut down by victims only.
fn open(config: &'static Config, state: State) -> Vec<Unit> {
    let singles = Series { config, state };
    let mut units = of_many(&singles);
    match config.name {
        RUNS => return units,
        ASKING => return asking(&singles),
        _ => {}
    }
    if config.has_blocks() {
        units.extend(with_blocks(&singles));
        return units;
    }
    for op in crate::op::OPS.into_iter().filter(|&op| matters(op, state)) {
        units.extend([Kind::Kill, Kind::Freeze].map(|kind| singles.one(kind, op, op.is_long())));
        units.push(singles.one(Kind::Beside, op, true));
        // Each of its experiments is a sleep.
        let sleeps = sleeper_for(op).is_some_and(|(_, of)| of == state);
        if sleeps && config.capacity == 2 && !config.is_long() {
            units.push(singles.one(Kind::Sleeper, op, true));
        }
        // Also every instruction between two touches of what sleeps, once.
        if op.is_blocking() && config.name == "many-many" {
            units.extend([Kind::Kill, Kind::Freeze].map(|kind| singles.one(kind, op, false)));
        }
    }
    if config.is_long() {
        return units;
    }
    for kind in [Kind::KillPair, Kind::FreezePair, Kind::Schedule] {
        if state == State::Graves {
            // Long, and the same for all that share the roles.
            if !matches!(config.name, "many-many" | "one-one") || kind == Kind::FreezePair {
                continue;
            }
            let attach = [Op::AttachProducer, Op::AttachConsumer];
            units.extend(squared(&attach).map(|[op, other]| singles.two(kind, op, other)));
            continue;
        }
        units.extend(squared(&CORE).map(|[op, other]| singles.two(kind, op, other)));
        let is_typical = matches!(config.name, "many-many" | "one-one");
        if is_typical && matches!(state, State::Empty | State::Half) {
            units.extend(CORE.map(|op| singles.two(kind, op, Op::ShutDown)));
            units.extend(CORE.map(|op| singles.two(kind, Op::ShutDown, op)));
        }
        for op in [Op::TryPush, Op::TryPop, Op::AttachConsumer, Op::Recover] {
            // Attaching looks for the dead only where lines run out: once is enough.
            let matters = match op {
                Op::AttachConsumer => state == State::Dead && config.name == "many-many",
                _ => state.has_stalled(),
            };
            if matters {
                units.push(singles.two(kind, op, Op::Recover));
            }
            if matters && op != Op::Recover {
                units.push(singles.two(kind, Op::Recover, op));
            }
        }
    }
    units
}

fn quick(config: &'static Config, state: State) -> Vec<Unit> {
    let series = Series { config, state };
    let both = [Kind::Kill, Kind::Freeze];
    let each = |ops: &[Op]| -> Vec<Unit> {
        let touching = |op: Op| op.is_long() || op.reserves(config, state);
        let units = ops.iter().flat_map(|&op| both.map(|kind| series.one(kind, op, touching(op))));
        units.collect()
    };
    match (config.name, state) {
        ("many-many", State::Empty) => {
            let mut units = each(&CORE);
            units.extend(each(&[Op::Pop, Op::AttachProducer, Op::DetachConsumer]));
            units.push(series.one(Kind::Sleeper, Op::TryPush, true));
            units
        }
        ("many-many", State::Half) => {
            let mut units = each(&CORE);
            units.extend(CORE.map(|op| series.one(Kind::Beside, op, true)));
            units.extend(
                [Kind::KillPair, Kind::Schedule]
                    .map(|kind| series.two(kind, Op::TryPush, Op::TryPop)),
            );
            units.extend(each(&[Op::ShutDown]));
            units.extend(CORE.map(|op| series.one(Kind::EndFreeze, op, false)));
            units.push(series.one(Kind::EndKill, Op::TryPush, false));
            units
        }
        ("many-many", State::Full) => {
            let mut units = each(&CORE);
            units.extend(each(&[Op::Push]));
            units.push(series.one(Kind::Sleeper, Op::TryPop, true));
            units
        }
        ("many-many", State::Stalled | State::Burning) => {
            let mut units = each(&CORE);
            units.extend(CORE.map(|op| series.one(Kind::Beside, op, true)));
            units
        }
        ("many-many", State::Dead) => each(&[Op::Recover]),
        ("many-many" | "one-one", State::Graves) => each(&[Op::AttachProducer]),
        (RUNS, State::Half) => {
            let mut units = each(&[Op::TryPopMany]);
            units.push(series.two(Kind::Schedule, Op::TryPushMany, Op::TryPop));
            units
        }
        (RUNS, State::Empty) => {
            let mut units = each(&[Op::TryPushMany]);
            units.push(series.one(Kind::EndFreeze, Op::TryPushMany, false));
            units
        }
        (ASKING, State::Half) => each(&[Op::PopAsking]),
        ("growing", State::Verge) => each(&[Op::TryPushMany]),
        ("one-one", State::Half) => {
            let mut units = each(&CORE);
            units.push(series.one(Kind::EndFreeze, Op::TryPush, false));
            units
        }
        ("many-many", State::High) | ("many-many-1", State::Half) => each(&CORE),
        ("by-reference", State::Empty) => each(&[Op::PushAgain]),
        ("by-reference", State::Pooled) => {
            each(&[Op::TryPush, Op::TryPop, Op::Commit, Op::DetachOpen])
        }
        ("growing", State::Brim | State::Edge) => each(&[Op::TryPush]),
        ("growing", State::Across) => each(&[Op::PopOn]),
        _ => Vec::new(),
    }
}

/// Several messages at once, where that is more than one by one.
fn of_many(series: &Series) -> Vec<Unit> {
    let Series { config, state } = *series;
    let matters = |op: &Op| match (op, config.name, state) {
        (.., State::Graves | State::Pooled) => false,
        (Op::TryPushMany, RUNS | "one-one-3" | "growing" | "growing-one", _) => {
            !matches!(state, State::Across | State::Punching)
        }
        (Op::TryPopMany, RUNS | "one-one-3" | "growing" | "growing-one", _) => {
            !matches!(state, State::Verge | State::Brim)
        }
        (Op::TryPopMany, "many-one", _) => matches!(state, State::Full | State::Stalled),
        _ => false,
    };
    let mut units = Vec::new();
    for op in MANY.into_iter().filter(matters) {
        let touching = op.is_long() || op.reserves(config, state);
        units.extend([Kind::Kill, Kind::Freeze].map(|kind| series.one(kind, op, touching)));
        units.push(series.one(Kind::Beside, op, true));
        if op.is_long() && (config.name, state) == (RUNS, State::Half) {
            units.extend([Kind::Kill, Kind::Freeze].map(|kind| series.one(kind, op, false)));
        }
    }
    let pairs: &[[Op; 2]] = match (config.name, state) {
        (RUNS, State::Half) => &[
            [Op::TryPushMany, Op::TryPop],
            [Op::TryPushMany, Op::TryPushMany],
            [Op::TryPopMany, Op::TryPop],
            [Op::TryPopMany, Op::TryPopMany],
        ],
        // Where the get finds the run at the head, and passes over.
        (RUNS, State::Empty) => &[[Op::TryPushMany, Op::TryPop], [Op::TryPushMany, Op::TryPopMany]],
        ("growing", State::Verge) => &[[Op::TryPushMany, Op::TryPush]],
        ("growing", State::Edge) => &[[Op::TryPushMany, Op::TryPop]],
        _ => &[],
    };
    for kind in [Kind::KillPair, Kind::FreezePair, Kind::Schedule] {
        units.extend(pairs.iter().map(|&[op, other]| series.two(kind, op, other)));
    }
    units
}

/// By consumers that ask for lines first. (With nobody far behind they do not, nor beside a put in progress.)
fn asking(series: &Series) -> Vec<Unit> {
    let mut units = Vec::new();
    if matches!(series.state, State::Half | State::Wrapped) {
        units.extend([Kind::Kill, Kind::Freeze].map(|kind| series.one(kind, Op::PopAsking, false)));
        units.push(series.one(Kind::Beside, Op::PopAsking, true));
    }
    if series.state == State::Half {
        for kind in [Kind::KillPair, Kind::FreezePair, Kind::Schedule] {
            let others = [Op::TryPush, Op::TryPop, Op::PopAsking];
            units.extend(others.map(|other| series.two(kind, Op::PopAsking, other)));
        }
    }
    units
}

/// Of queues with blocks of memory.
fn with_blocks(series: &Series) -> Vec<Unit> {
    let Series { config, state } = *series;
    let mut units = Vec::new();
    for op in crate::op::OPS.into_iter().filter(|&op| matters_with_blocks(op, config, state)) {
        let touching = op.is_long() || op.reserves(config, state);
        units.extend([Kind::Kill, Kind::Freeze].map(|kind| series.one(kind, op, touching)));
        if CORE.contains(&op) || matches!(op, Op::Commit | Op::TryPopRef | Op::ShutDown) {
            units.push(series.one(Kind::Beside, op, true));
        }
    }
    let pairs: &[[Op; 2]] = match (config.name, state) {
        ("growing", State::Brim) => &[[Op::TryPush, Op::TryPush], [Op::TryPush, Op::TryPop]],
        ("growing", State::Punching) => &[[Op::TryPop, Op::TryPop]],
        ("by-reference", State::Pooled) => &[[Op::TryPush, Op::TryPop], [Op::TryPop, Op::TryPop]],
        _ => &[],
    };
    for kind in [Kind::KillPair, Kind::FreezePair, Kind::Schedule] {
        units.extend(pairs.iter().map(|&[op, other]| series.two(kind, op, other)));
    }
    units
}

fn matters_with_blocks(op: Op, config: &Config, state: State) -> bool {
    let is_placed = config.is_by_reference();
    let is_first = matches!(config.name, "by-reference" | "growing");
    match op {
        Op::PushAgain | Op::PushOver => config.collects() && state == State::Empty,
        Op::PopOn => matches!(state, State::Across | State::Punching),
        Op::DetachOpen => is_placed && matches!(state, State::Half | State::Pooled),
        Op::Commit | Op::Abandon => {
            is_placed && matches!(state, State::Empty | State::Half | State::Full | State::Pooled)
        }
        Op::TryPopRef => is_placed && (state == State::Half || state.has_stalled()),
        // The same wherever messages lie.
        Op::PushTimeout | Op::PopTimeout => false,
        Op::Push | Op::Pop | Op::AttachProducer | Op::AttachConsumer => {
            is_first && state != State::Half && matters(op, state)
        }
        Op::Recover => {
            matters(op, state) || matches!(state, State::Edge | State::Pooled | State::Brim)
        }
        _ => matters(op, state),
    }
}

/// Does the state make a difference to the operation that no other state makes?
fn matters(op: Op, state: State) -> bool {
    match op {
        // For several messages.
        _ if state == State::Verge => false,
        // Only who attaches meets them.
        _ if state == State::Graves => matches!(op, Op::AttachProducer | Op::AttachConsumer),
        Op::TryPush | Op::TryPop => true,
        Op::Recover => state.has_stalled() || state == State::Half,
        // Where they sleep, or meet what must not be slept for.
        Op::Push | Op::PushTimeout | Op::Pop | Op::PopTimeout => {
            let waits = if op.effect() == Effect::Put { State::Full } else { State::Empty };
            state == waits || state == State::Half || state == State::Stalled
        }
        Op::AttachProducer | Op::AttachConsumer | Op::DetachProducer | Op::DetachConsumer => {
            matches!(state, State::Empty | State::Half | State::Resting | State::Dead)
        }
        Op::ShutDown => {
            matches!(state, State::Empty | State::Half | State::Full | State::Stalled)
                || matches!(state, State::Resting | State::Brim | State::Across)
        }
        // Of queues with blocks only, or of many messages.
        _ => false,
    }
}

fn squared(ops: &[Op]) -> impl Iterator<Item = [Op; 2]> {
    ops.iter().flat_map(move |&op| ops.iter().map(move |&other| [op, other]))
}

struct Series {
    config: &'static Config,
    state: State,
}

impl Series {
    fn one(&self, kind: Kind, op: Op, touching: bool) -> Unit {
        Unit { kind, op, other: op, state: self.state, config: self.config, touching }
    }

    fn two(&self, kind: Kind, op: Op, other: Op) -> Unit {
        Unit { other, ..self.one(kind, op, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::{CORE, Extent, units};
    use crate::seed::{KINDS, Kind};

    #[test]
    fn quick_is_a_part_of_full_and_steps_every_instruction_of_puts_and_gets() {
        let (full, quick) = (units(Extent::Full), units(Extent::Quick));
        for unit in &quick {
            assert!(full.contains(unit), "{unit}");
        }
        for kind in [Kind::Kill, Kind::Freeze] {
            for op in CORE {
                let whole =
                    quick.iter().filter(|it| it.kind == kind && it.op == op && !it.touching);
                assert!(whole.count() >= 5);
            }
        }
        for kind in KINDS {
            assert!(full.iter().any(|unit| unit.kind == kind));
        }
    }

    #[test]
    fn nothing_is_run_twice() {
        let full = units(Extent::Full);
        for (at, unit) in full.iter().enumerate() {
            assert!(!full[..at].contains(unit), "{unit}");
        }
    }
}
