//! One victim sleeps, another is killed on its way to wake it: the sleep ends all the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::answer::Answer;
use crate::image::Image;
use crate::judge::Fate;
use crate::lab::{A, B, Lab};
use crate::op::{Effect, Op};
use crate::peer::{Access, Peer};
use crate::single::MESSAGES;
use crate::state::State;
use crate::tracee::{Goal, Reached};

/// What the engine promises (100 ms), and what a machine that others use may add.
const SLEEP_MAX: Duration = Duration::from_millis(1_000);

/// What sleeps for want of this operation, and in which state.
pub fn sleeper_for(op: Op) -> Option<(Op, State)> {
    match op {
        Op::TryPush => Some((Op::Pop, State::Empty)),
        Op::TryPop => Some((Op::Push, State::Full)),
        _ => None,
    }
}

/// Kills the waker at the point. The sleeper then looks for itself, in bounded time, and does not
/// sleep again beside what it waits for.
pub fn kill(lab: &Lab, image: &Image, op: Op, goal: Goal) -> Result<Reached> {
    let Some((other, _)) = sleeper_for(op) else { bail!("nobody sleeps for want of {op}") };
    image.restore(lab)?;
    let mut peer = Peer::new(lab, image);
    let mut sleeper = lab.start(B, other, MESSAGES[B])?;
    let asleep = sleeper.advance(Goal::Sleep, || Ok(()))?;
    ensure!(asleep == Reached::Asleep, "{other} does not sleep");
    let mut waker = lab.start(A, op, MESSAGES[A])?;
    let reached = waker.advance(goal, || Ok(()))?;
    waker.kill()?;
    let start = Instant::now();
    sleeper.awake()?;
    let slept = start.elapsed();
    ensure!(slept < SLEEP_MAX, "{other} slept on for {slept:?}");
    let mut woken_again = false;
    sleeper.finish(other, || {
        woken_again = true;
        peer.wake(other)
    })?;
    let answer = sleeper.leave()?;
    lab.keep(B, sleeper);
    if woken_again && answer == Answer::Got(MESSAGES[A].into()) {
        bail!("{other} slept again beside a message");
    }
    if woken_again && op.effect() == Effect::Get && peer.story.popped != image.messages[..1] {
        bail!("{other} slept again beside a place");
    }
    peer.story.add(op, MESSAGES[A], Fate::Killed);
    peer.story.add(other, MESSAGES[B], Fate::Ended(answer));
    peer.judge_answers()?;
    peer.survive(Access::ALL).context("beside the dead")?;
    peer.find_whole().context("after the dead")?;
    peer.story.judge()?;
    Ok(reached)
}
