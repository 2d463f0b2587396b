//! Two operations with at most two preemptions, against every order in which they may seem to have
//! happened.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};

use crate::answer::Answer;
use crate::config::Config;
use crate::image::Image;
use crate::lab::{A, B, Lab};
use crate::op::{Effect, Op, RUN};
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
    let earlier = match (first, second, goals[A], goals[B]) {
        (Reached::End, ..) => Some(A),
        (_, Reached::End, Goal::Touch(0), _) => Some(B),
        (.., Goal::Touch(0)) => Some(A),
        _ => None,
    };
    let seen = [A, B].map(|who| seen(ops[who], MESSAGES[who], answers[who]));
    let [Some(a), Some(b)] = &seen else { bail!("{ops:?} answered {answers:?}") };
    let queue = Model { messages: image.messages.iter().copied().collect(), is_shut: false };
    if !(Happened { lab, image, earlier, left: &left }).explains(queue, [a, b]) {
        bail!("{} said {:?}, {} said {:?}, left {left:?}", ops[A], answers[A], ops[B], answers[B]);
    }
    peer.story.messages.clear();
    peer.survive(Access::ALL).context("after both")?;
    peer.find_whole().context("after both")?;
    peer.story.judge()?;
    Ok([first, second])
}

/// What a queue did at one moment.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64),
    Full,
    Got(u64),
    Empty,
    Shut,
    /// A put was told that it is shut.
    TooLate,
    /// A get was told that nothing more will come.
    End,
}

/// A queue that nobody shares.
#[derive(Clone, Debug)]
struct Model {
    messages: VecDeque<u64>,
    is_shut: bool,
}

/// What an operation with that answer saw the queue do: a run is one message after the other. `None`:
/// no such operation answers so.
fn seen(op: Op, message: u64, answer: Answer) -> Option<Vec<Step>> {
    let puts = |count| op.puts(message).take(count).map(Step::Put);
    Some(match (op.effect(), answer) {
        (Effect::Put, Answer::Done) => puts(RUN).collect(),
        (Effect::Put, Answer::Partly(count)) => puts(count as usize).chain([Step::Full]).collect(),
        (Effect::Put, Answer::Refused) => vec![Step::Full],
        (Effect::Get, Answer::Got(ids)) => {
            let is_less = ids.iter().count() < op.gets();
            ids.iter().map(Step::Got).chain(is_less.then_some(Step::Empty)).collect()
        }
        (Effect::Get, Answer::Refused) => vec![Step::Empty],
        (Effect::Put, Answer::ShutDown) => vec![Step::TooLate],
        (Effect::Get, Answer::ShutDown) => vec![Step::End],
        (Effect::None, Answer::Done) if op == Op::ShutDown => vec![Step::Shut],
        (Effect::None, Answer::Done) => Vec::new(),
        _ => return None,
    })
}

struct Happened<'a> {
    lab: &'a Lab,
    image: &'a Image,
    /// Whose steps all came before the other's, if anybody's.
    earlier: Option<usize>,
    left: &'a [u64],
}

impl Happened<'_> {
    /// Is there an order of what is still to come, each one's steps as they are, in which a queue with
    /// this in it does all that, and keeps what was left?
    fn explains(&self, queue: Model, rest: [&[Step]; 2]) -> bool {
        if rest.iter().all(|steps| steps.is_empty()) {
            return queue.messages == self.left;
        }
        [A, B].into_iter().any(|who| {
            let Some((&step, after)) = rest[who].split_first() else { return false };
            let is_early = self.earlier.is_some_and(|it| it != who && !rest[it].is_empty());
            let mut rest = rest;
            rest[who] = after;
            let queue = if is_early { None } else { self.step(queue.clone(), step) };
            queue.is_some_and(|queue| self.explains(queue, rest))
        })
    }

    /// The queue after it; none if that cannot be.
    fn step(&self, mut queue: Model, step: Step) -> Option<Model> {
        let Config { capacity, .. } = *self.lab.config;
        let capacity = if self.lab.config.is_growing() { usize::MAX } else { capacity };
        let Model { messages, is_shut } = &mut queue;
        let is_so = match step {
            Step::Put(id) => {
                messages.push_back(id);
                !*is_shut && messages.len() <= capacity
            }
            // The put that an image left in progress counts, until it is passed over.
            Step::Full => !*is_shut && messages.len() + self.image.in_progress >= capacity,
            Step::Got(id) => messages.pop_front() == Some(id),
            Step::Empty => !*is_shut && messages.is_empty(),
            Step::Shut => !std::mem::replace(is_shut, true),
            Step::TooLate => *is_shut,
            Step::End => *is_shut && messages.is_empty(),
        };
        is_so.then_some(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Op, Step, seen};

    #[test]
    fn an_operation_of_many_is_one_message_after_the_other() {
        let steps = |op, answer| format!("{:?}", seen(op, 101, answer).unwrap());
        assert_eq!(steps(Op::TryPush, Answer::Done), "[Put(101)]");
        assert_eq!(steps(Op::TryPushMany, Answer::Done), "[Put(101), Put(102), Put(103)]");
        assert_eq!(steps(Op::TryPushMany, Answer::Partly(1)), "[Put(101), Full]");
        assert_eq!(steps(Op::TryPop, Answer::Got(7.into())), "[Got(7)]");
        assert_eq!(steps(Op::TryPopMany, Answer::Got(7.into())), "[Got(7), Empty]");
        assert_eq!(steps(Op::TryPopMany, Answer::Refused), "[Empty]");
        assert_eq!(steps(Op::ShutDown, Answer::Done), "[Shut]");
        assert_eq!(steps(Op::TryPush, Answer::ShutDown), "[TooLate]");
        assert_eq!(steps(Op::TryPop, Answer::ShutDown), "[End]");
        assert!(seen(Op::TryPop, 101, Answer::Done).is_none());
        assert!(matches!(seen(Op::TryPushMany, 5, Answer::Refused).unwrap()[..], [Step::Full]));
    }
}
