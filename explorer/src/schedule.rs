//! Two operations with at most two preemptions, against every order in which they may seem to have
//! happened.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};

use crate::answer::Answer;
use crate::config::Config;
use crate::image::Image;
use crate::lab::{A, B, Lab};
use crate::op::{Effect, Op};
use crate::peer::{Access, Peer};
use crate::single::MESSAGES;
use crate::tracee::{Goal, Reached};

/// A to its point, B to its point, A to its end, B to its end.
pub fn run(lab: &Lab, image: &Image, ops: [Op; 2], goals: [Goal; 2]) -> Result<[Reached; 2]> {
    image.restore(lab)?;
    let mut a = lab.start(A, ops[A], MESSAGES[A])?;
    let mut b = lab.start(B, ops[B], MESSAGES[B])?;
    let first = a.advance(goals[A], || Ok(()))?;
    let second = b.advance(goals[B], || Ok(()))?;
    if first != Reached::End {
        a.finish(ops[A], || Ok(()))?;
    }
    if second != Reached::End {
        b.finish(ops[B], || Ok(()))?;
    }
    let answers = [a.leave()?, b.leave()?];
    lab.keep(A, a);
    lab.keep(B, b);
    let mut peer = Peer::new(lab, image);
    peer.drain(&mut lab.queue.consumer()?).context("after both")?;
    let left = std::mem::take(&mut peer.story.popped);
    // Nothing before the first touch, nothing after the last: then one came before the other.
    let orders: &[[usize; 2]] = match (first, second, goals[A], goals[B]) {
        (Reached::End, ..) => &[[A, B]],
        (_, Reached::End, Goal::Touch(0), _) => &[[B, A]],
        (.., Goal::Touch(0)) => &[[A, B]],
        _ => &[[A, B], [B, A]],
    };
    let happened = Happened { lab, image, ops, answers };
    if !orders.iter().any(|&order| happened.explains(order, &left)) {
        bail!("{} said {:?}, {} said {:?}, left {left:?}", ops[A], answers[A], ops[B], answers[B]);
    }
    peer.story.messages.clear();
    peer.survive(Access::ALL).context("after both")?;
    peer.find_whole().context("after both")?;
    peer.story.judge()?;
    Ok([first, second])
}

struct Happened<'a> {
    lab: &'a Lab,
    image: &'a Image,
    ops: [Op; 2],
    answers: [Answer; 2],
}

impl Happened<'_> {
    /// Would a queue to which the operations happened in that order answer so, and keep this?
    fn explains(&self, order: [usize; 2], left: &[u64]) -> bool {
        let mut queue: VecDeque<u64> = self.image.messages.iter().copied().collect();
        order.into_iter().all(|who| self.step(&mut queue, who)) && queue == left
    }

    fn step(&self, queue: &mut VecDeque<u64>, who: usize) -> bool {
        let Config { capacity, .. } = *self.lab.config;
        let capacity = if self.lab.config.is_growing() { usize::MAX } else { capacity };
        match (self.ops[who].effect(), self.answers[who]) {
            (Effect::Put, Answer::Done) => {
                queue.push_back(MESSAGES[who]);
                queue.len() <= capacity
            }
            // The put that an image left in progress counts, until it is passed over.
            (Effect::Put, Answer::Refused) => queue.len() + self.image.in_progress >= capacity,
            (Effect::Get, Answer::Got(id)) => queue.pop_front() == Some(id),
            (Effect::Get, Answer::Refused) => queue.is_empty(),
            (Effect::None, Answer::Done) => true,
            _ => false,
        }
    }
}
