//! One victim, taken to one point of one operation.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};

use crate::answer::Answer;
use crate::config::ASKED;
use crate::image::Image;
use crate::judge::Fate;
use crate::lab::{A, B, Lab};
use crate::op::{Effect, Op};
use crate::peer::{Access, Others, Peer};
use crate::tracee::{Goal, Reached, Tracee};

/// The victims' messages; the first ones, if they put several.
pub const MESSAGES: [u64; 2] = [101, 106];

/// Kills it there. Everybody else's messages must be whole, and nothing of it must be left.
pub fn kill(lab: &Lab, image: &Image, op: Op, goal: Goal) -> Result<Reached> {
    lose(lab, image, op, goal, Others::GoOn)
}

/// Kills it there, and shuts the queue down: nobody may wait for it.
pub fn end_kill(lab: &Lab, image: &Image, op: Op, goal: Goal) -> Result<Reached> {
    lose(lab, image, op, goal, Others::End)
}

fn lose(lab: &Lab, image: &Image, op: Op, goal: Goal, others: Others) -> Result<Reached> {
    image.restore(lab)?;
    let mut peer = Peer::new(lab, image);
    let mut victim = lab.start(A, op, MESSAGES[A])?;
    peer.note_prepared(op);
    let reached = victim.advance(goal, || peer.wake_early(op))?;
    victim.kill()?;
    peer.story.add(op, MESSAGES[A], Fate::Killed);
    peer.act(others, Access::ALL).context("beside the dead")?;
    peer.end_as_well(&[op]).context("instead of the dead")?;
    peer.find_whole().context("after the dead")?;
    peer.story.judge()?;
    Ok(reached)
}

/// Stops it there. Nobody may wait for it; then it goes on, and its answer must be true.
pub fn freeze(lab: &Lab, image: &Image, op: Op, goal: Goal) -> Result<Reached> {
    stop(lab, image, op, goal, Others::GoOn, None)
}

/// Stops it there while the queue is shut down and drained; its answer must be true all the same.
pub fn end_freeze(lab: &Lab, image: &Image, op: Op, goal: Goal) -> Result<Reached> {
    stop(lab, image, op, goal, Others::End, None)
}

/// The most instructions that a put and a get took.
#[derive(Debug, Default)]
pub struct Longest {
    /// Puts.
    pub put: Cell<u64>,
    /// Gets.
    pub get: Cell<u64>,
}

/// Stops it there, and steps another's put and get: how many instructions do they take?
pub fn beside(lab: &Lab, image: &Image, op: Op, goal: Goal, longest: &Longest) -> Result<Reached> {
    stop(lab, image, op, goal, Others::GoOn, Some(longest))
}

fn stop(
    lab: &Lab,
    image: &Image,
    op: Op,
    goal: Goal,
    others: Others,
    longest: Option<&Longest>,
) -> Result<Reached> {
    image.restore(lab)?;
    let mut peer = Peer::new(lab, image);
    let mut victim = lab.start(A, op, MESSAGES[A])?;
    peer.note_prepared(op);
    let reached = victim.advance(goal, || peer.wake_early(op))?;
    victim.freeze()?;
    let access = Access::beside(lab, &[op]);
    // What one of them meets, the victim's operation may be a part of, but for one message.
    let own = |most: usize| (most + usize::from(longest.is_some())).saturating_sub(1);
    peer.story.was_full = image.is_full(lab, own(op.puts(0).count()));
    peer.story.was_empty = peer.story.messages.len() <= own(op.gets());
    if let Some(longest) = longest {
        measure(lab, &mut peer, access, longest).context("beside the stopped")?;
    }
    let mut stopped = Some(victim);
    if reached == Reached::End {
        answer(lab, &mut peer, (A, op), stopped.take(), Fate::Ended)?;
    }
    peer.judge_answers()?;
    peer.act(others, access).context("beside the stopped")?;
    peer.leave_some(access)?;
    peer.story.resume();
    if let Some(victim) = &mut stopped {
        victim.finish(op, || peer.wake(op)).context("resumed")?;
    }
    answer(lab, &mut peer, (A, op), stopped, Fate::Resumed)?;
    peer.judge_answers()?;
    peer.survive(Access::ALL).context("after the resumed")?;
    peer.find_whole().context("after the resumed")?;
    peer.story.judge()?;
    Ok(reached)
}

/// What a victim answered, if there is one that has not been asked.
pub(crate) fn answer(
    lab: &Lab,
    peer: &mut Peer<'_>,
    (who, op): (usize, Op),
    victim: Option<Tracee>,
    fate: fn(Answer) -> Fate,
) -> Result<()> {
    let Some(mut victim) = victim else { return Ok(()) };
    let answer = victim.leave()?;
    lab.keep(who, victim);
    peer.story.add(op, MESSAGES[who], fate(answer));
    Ok(())
}

/// The same with nobody stopped.
pub fn alone(lab: &Lab, image: &Image, longest: &Longest) -> Result<()> {
    image.restore(lab)?;
    let mut peer = Peer::new(lab, image);
    peer.story.was_full = image.is_full(lab, 0);
    peer.story.was_empty = image.messages.is_empty();
    measure(lab, &mut peer, Access::ALL, longest)?;
    peer.judge_answers()?;
    peer.survive(Access::ALL)?;
    peer.find_whole()?;
    peer.story.judge()
}

/// An operation of many is one: it moves so many messages by one step as it should.
pub fn check_stride(lab: &Lab, image: &Image, op: Op) -> Result<()> {
    image.restore(lab)?;
    let mut victim = lab.start(A, op, MESSAGES[A])?;
    let is_put = op.effect() == Effect::Put;
    let position = || if is_put { lab.segment.tail() } else { lab.segment.head() };
    let (mut most, mut touch, mut reached) = (0, 0, Reached::Point);
    while reached != Reached::End {
        let before = position();
        touch += 1;
        reached = victim.advance(Goal::Touch(touch), || Ok(()))?;
        most = most.max(position() - before);
    }
    victim.leave()?;
    lab.keep(A, victim);
    let wanted = image.stride(lab, op);
    ensure!(most == wanted, "{op} moves {most} messages by one step, not {wanted}");
    Ok(())
}

/// It asks for as many lines as it should.
pub fn check_asking(lab: &Lab, image: &Image) -> Result<()> {
    image.restore(lab)?;
    let mut victim = lab.start(A, Op::PopAsking, MESSAGES[A])?;
    victim.advance(Goal::End, || Ok(()))?;
    victim.leave()?;
    lab.keep(A, victim);
    let asked = lab.segment.asked();
    ensure!(asked == ASKED, "it asks for {asked} lines, not {ASKED}");
    Ok(())
}

/// Steps a put and then a get of victim B to their ends.
fn measure(lab: &Lab, peer: &mut Peer<'_>, access: Access, longest: &Longest) -> Result<()> {
    let ops = [(Op::TryPush, access.push, &longest.put), (Op::TryPop, access.pop, &longest.get)];
    for (op, allowed, most) in ops {
        if !allowed {
            continue;
        }
        let mut other = lab.start(B, op, MESSAGES[B])?;
        let reached = other.advance(Goal::End, || Ok(()))?;
        ensure!(reached == Reached::End, "{op} sleeps");
        most.set(most.get().max(other.steps()));
        let answer = other.leave()?;
        lab.keep(B, other);
        peer.story.add(op, MESSAGES[B], Fate::Ended(answer));
    }
    Ok(())
}
