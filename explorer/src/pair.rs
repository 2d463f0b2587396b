//! Two victims, both killed, or both frozen and resumed, at all pairs of points.

use anyhow::{Context, Result};

use crate::image::Image;
use crate::judge::Fate;
use crate::lab::{A, B, Lab};
use crate::op::Op;
use crate::peer::{Access, Peer};
use crate::single::{MESSAGES, answer};
use crate::tracee::{Goal, Reached, Tracee};

/// Both victims at their points: the second went there beside the first.
struct Stopped {
    victims: [Tracee; 2],
    reached: [Reached; 2],
}

fn stop(lab: &Lab, image: &Image, ops: [Op; 2], goals: [Goal; 2]) -> Result<Stopped> {
    image.restore(lab)?;
    let mut a = lab.start(A, ops[A], MESSAGES[A])?;
    let mut b = lab.start(B, ops[B], MESSAGES[B])?;
    let first = a.advance(goals[A], || Ok(()))?;
    let second = b.advance(goals[B], || Ok(()))?;
    Ok(Stopped { victims: [a, b], reached: [first, second] })
}

/// Kills both.
pub fn kill(lab: &Lab, image: &Image, ops: [Op; 2], goals: [Goal; 2]) -> Result<[Reached; 2]> {
    let Stopped { victims: [a, b], reached } = stop(lab, image, ops, goals)?;
    a.kill()?;
    b.kill()?;
    let mut peer = Peer::new(lab, image);
    for (op, message) in ops.into_iter().zip(MESSAGES) {
        peer.story.add(op, message, Fate::Killed);
    }
    peer.survive(Access::ALL).context("beside the dead")?;
    peer.end_as_well(&ops).context("instead of the dead")?;
    peer.find_whole().context("after the dead")?;
    peer.story.judge()?;
    Ok(reached)
}

/// Freezes both, then lets the first go on, then the second.
pub fn freeze(lab: &Lab, image: &Image, ops: [Op; 2], goals: [Goal; 2]) -> Result<[Reached; 2]> {
    let Stopped { victims, reached } = stop(lab, image, ops, goals)?;
    let mut peer = Peer::new(lab, image);
    let access = Access::beside(lab, &ops);
    let puts: usize = ops.iter().map(|op| op.puts(0).count()).sum();
    let gets: usize = ops.iter().map(|op| op.gets()).sum();
    // What one of them may have met.
    peer.story.was_full = image.is_full(lab, puts.saturating_sub(1));
    peer.story.was_empty = image.messages.len() < gets;
    let mut stopped = victims.map(Some);
    for who in [A, B].into_iter().filter(|&who| reached[who] == Reached::End) {
        answer(lab, &mut peer, (who, ops[who]), stopped[who].take(), Fate::Ended)?;
    }
    peer.judge_answers()?;
    peer.survive(access).context("beside the stopped")?;
    peer.leave_some(access)?;
    peer.story.resume();
    for (who, mut victim) in stopped.into_iter().enumerate() {
        if let Some(victim) = &mut victim {
            victim.finish(ops[who], || Ok(())).context("resumed")?;
        }
        answer(lab, &mut peer, (who, ops[who]), victim, Fate::Resumed)?;
    }
    peer.judge_answers()?;
    peer.survive(Access::ALL).context("after the resumed")?;
    peer.find_whole().context("after the resumed")?;
    peer.story.judge()?;
    Ok(reached)
}
