//! The verdict: every message once, whole, in order, and every answer true.

use anyhow::{Result, bail, ensure};

use crate::answer::Answer;
use crate::message::SURVIVORS;
use crate::op::{Effect, Op};

/// What became of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Killed at some point of its operation.
    Killed,
    /// It came to its end before the survivor acted.
    Ended(Answer),
    /// It came to its end after having been frozen while the survivor acted.
    Resumed(Answer),
}

/// A victim, and what it was to do.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The operation.
    pub op: Op,
    /// The message, if it puts one.
    pub message: u64,
    /// How it ended.
    pub fate: Fate,
}

/// What happened in one experiment.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// In the queue at the beginning, oldest first.
    pub messages: Vec<u64>,
    /// By the survivor, in order.
    pub pushed: Vec<u64>,
    /// By the survivor, in order.
    pub popped: Vec<u64>,
    /// What victims did.
    pub actors: Vec<Actor>,
    /// Messages from here on were put after victims were resumed.
    resumed_at: Option<u64>,
    next: u64,
    /// The queue was empty at some moment while victims were in their operations.
    pub was_empty: bool,
    /// It was full at some moment.
    pub was_full: bool,
}

impl Story {
    /// Nothing has happened yet.
    pub fn new(messages: &[u64]) -> Self {
        Self { messages: messages.to_vec(), next: SURVIVORS, ..Self::default() }
    }

    /// A number for the survivor's next message.
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on victims go on.
    pub fn resume(&mut self) {
        self.resumed_at = Some(self.next);
    }

    /// How a victim ended.
    pub fn add(&mut self, op: Op, message: u64, fate: Fate) {
        self.actors.push(Actor { op, message, fate });
    }

    /// Accuses, or finds nothing.
    pub fn judge(&self) -> Result<()> {
        self.judge_answers()?;
        self.judge_once()?;
        self.judge_losses()?;
        self.judge_order()?;
        self.actors.iter().try_for_each(|actor| self.judge_place(actor))
    }

    fn judge_answers(&self) -> Result<()> {
        for Actor { op, fate, .. } in &self.actors {
            let (Fate::Ended(answer) | Fate::Resumed(answer)) = *fate else { continue };
            match (op.effect(), answer) {
                (Effect::Get, Answer::Got(_)) | (Effect::Put | Effect::None, Answer::Done) => {}
                (Effect::Put, Answer::Refused) => {
                    ensure!(self.was_full, "{op} said Full, and the queue never was");
                }
                (Effect::Get, Answer::Refused) => {
                    ensure!(self.was_empty, "{op} said Empty, and the queue never was");
                }
                _ => bail!("{op} answered {answer:?}"),
            }
        }
        Ok(())
    }

    /// What victims got.
    fn got(&self) -> impl Iterator<Item = u64> {
        self.actors.iter().filter_map(|actor| match actor.fate {
            Fate::Ended(Answer::Got(id)) | Fate::Resumed(Answer::Got(id)) => Some(id),
            _ => None,
        })
    }

    /// May the message of this put be there? Must it?
    fn of_put(actor: &Actor) -> Option<bool> {
        match actor.fate {
            _ if actor.op.effect() != Effect::Put => None,
            Fate::Killed => Some(false),
            Fate::Ended(answer) | Fate::Resumed(answer) => (answer == Answer::Done).then_some(true),
        }
    }

    fn judge_once(&self) -> Result<()> {
        let mut all: Vec<u64> = self.popped.iter().copied().chain(self.got()).collect();
        all.sort_unstable();
        if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("message {} was got twice", twice[0]);
        }
        let puts = self.actors.iter().filter(|actor| Self::of_put(actor).is_some());
        let puts: Vec<u64> = puts.map(|actor| actor.message).collect();
        let known =
            |id: &u64| [&self.messages, &self.pushed, &puts].iter().any(|of| of.contains(id));
        if let Some(strange) = all.iter().find(|id| !known(id)) {
            bail!("message {strange} was got, and nobody put it");
        }
        Ok(())
    }

    /// A killed get may take one message with it: the oldest that was there.
    fn judge_losses(&self) -> Result<()> {
        let certain = self.actors.iter().filter(|actor| Self::of_put(actor) == Some(true));
        let certain = certain.map(|actor| actor.message);
        let got: Vec<u64> = self.popped.iter().copied().chain(self.got()).collect();
        let all = self.messages.iter().chain(&self.pushed).copied().chain(certain);
        let lost: Vec<u64> = all.filter(|id| !got.contains(id)).collect();
        let killed =
            |actor: &&Actor| actor.fate == Fate::Killed && actor.op.effect() == Effect::Get;
        let allowed = self.actors.iter().filter(killed).count();
        ensure!(lost.len() <= allowed, "messages {lost:?} are lost");
        let left: Vec<u64> =
            self.popped.iter().copied().filter(|id| self.messages.contains(id)).collect();
        ensure!(self.messages.ends_with(&left), "{left:?} is not the end of {:?}", self.messages);
        let taken = &self.messages[..self.messages.len() - left.len()];
        let by_the_dead = lost.iter().all(|id| taken.contains(id));
        ensure!(by_the_dead, "{lost:?} are lost, which no killed get can have taken");
        Ok(())
    }

    /// What was there, then what the survivor put.
    fn judge_order(&self) -> Result<()> {
        let order: Vec<u64> = self.messages.iter().chain(&self.pushed).copied().collect();
        let places = self.popped.iter().filter_map(|id| order.iter().position(|it| it == id));
        ensure!(places.is_sorted(), "messages were got in the order {:?}", self.popped);
        Ok(())
    }

    /// A victim's message comes behind all that was there, and before all that the survivor put;
    /// or, if it was put after the victim was resumed, behind that.
    fn judge_place(&self, actor: &Actor) -> Result<()> {
        let Some(at) = self.popped.iter().position(|&id| id == actor.message) else {
            return Ok(());
        };
        let (before, after) = (&self.popped[..at], &self.popped[at + 1..]);
        let old = after.iter().any(|id| self.messages.contains(id));
        ensure!(!old, "message {} came before older ones", actor.message);
        let resumed_at = self.resumed_at.unwrap_or(SURVIVORS);
        let first = !before.iter().any(|id| self.pushed.contains(id));
        let earlier = |id: &u64| self.pushed.contains(id) && *id <= resumed_at;
        let behind = matches!(actor.fate, Fate::Resumed(_)) && !after.iter().any(earlier);
        ensure!(first || behind, "message {} is out of place in {:?}", actor.message, self.popped);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Fate, Op, Story};

    fn story(messages: &[u64], popped: &[u64]) -> Story {
        let pushed = popped.iter().copied().filter(|&id| id > 1000).collect();
        Story { popped: popped.to_vec(), pushed, ..Story::new(messages) }
    }

    fn accused(story: &Story) -> String {
        story.judge().unwrap_err().to_string()
    }

    #[test]
    fn nothing_wrong_is_not_accused() {
        story(&[1, 2], &[1, 2, 1001, 1002]).judge().unwrap();
        for popped in [&[1, 2, 101, 1001][..], &[1, 2, 1001]] {
            let mut killed = story(&[1, 2], popped);
            killed.add(Op::TryPush, 101, Fate::Killed);
            killed.judge().unwrap();
        }
        for popped in [&[1, 2, 1001][..], &[2, 1001]] {
            let mut killed = story(&[1, 2], popped);
            killed.add(Op::TryPop, 0, Fate::Killed);
            killed.judge().unwrap();
        }
    }

    #[test]
    fn a_lost_message_is_accused() {
        assert_eq!(accused(&story(&[1, 2], &[1])), "messages [2] are lost");
        let mut lost = story(&[1], &[1, 1001]);
        lost.pushed.push(1002);
        assert_eq!(accused(&lost), "messages [1002] are lost");
        let mut lost = story(&[1], &[1]);
        lost.add(Op::TryPush, 101, Fate::Ended(Answer::Done));
        assert_eq!(accused(&lost), "messages [101] are lost");
        let mut lost = story(&[1, 2], &[]);
        lost.add(Op::TryPop, 0, Fate::Killed);
        assert_eq!(accused(&lost), "messages [1, 2] are lost");
    }

    #[test]
    fn a_killed_get_takes_only_the_oldest() {
        let mut killed = story(&[1, 2], &[1]);
        killed.add(Op::TryPop, 0, Fate::Killed);
        assert!(accused(&killed).contains("is not the end of"));
        let mut killed = story(&[1], &[1, 1002]);
        killed.pushed.insert(0, 1001);
        killed.add(Op::TryPop, 0, Fate::Killed);
        assert!(accused(&killed).contains("no killed get can have taken"));
    }

    #[test]
    fn a_doubled_message_is_accused() {
        assert_eq!(accused(&story(&[1], &[1, 1])), "message 1 was got twice");
        let mut twice = story(&[1], &[1]);
        twice.add(Op::TryPop, 0, Fate::Resumed(Answer::Got(1)));
        assert_eq!(accused(&twice), "message 1 was got twice");
        let mut refused = story(&[], &[101]);
        refused.was_full = true;
        refused.add(Op::TryPush, 101, Fate::Resumed(Answer::Refused));
        assert_eq!(accused(&refused), "message 101 was got, and nobody put it");
    }

    #[test]
    fn a_reordered_message_is_accused() {
        assert!(accused(&story(&[1, 2], &[2, 1])).contains("is not the end of"));
        let mut turned = story(&[], &[1002, 1001]);
        turned.pushed = vec![1001, 1002];
        assert!(accused(&turned).contains("in the order"));
        let mut early = story(&[1], &[101, 1]);
        early.add(Op::TryPush, 101, Fate::Killed);
        assert!(accused(&early).contains("before older ones"));
        let mut late = story(&[1], &[1, 1001, 101]);
        late.add(Op::TryPush, 101, Fate::Killed);
        assert!(accused(&late).contains("out of place"));
    }

    #[test]
    fn a_resumed_put_lands_at_once_or_anew() {
        let resumed = |popped: &[u64]| {
            let mut story = story(&[1], popped);
            story.resumed_at = Some(1002);
            story.add(Op::TryPush, 101, Fate::Resumed(Answer::Done));
            story.judge()
        };
        resumed(&[1, 101, 1001, 1002]).unwrap();
        resumed(&[1, 1001, 1002, 101]).unwrap();
        assert!(resumed(&[1, 1001, 101, 1002]).is_err());
    }

    #[test]
    fn untrue_answers_are_accused() {
        for (op, answer) in [
            (Op::TryPop, Answer::Refused),
            (Op::TryPush, Answer::Refused),
            (Op::TryPop, Answer::Torn),
            (Op::TryPop, Answer::Got(5)),
            (Op::Recover, Answer::Refused),
        ] {
            let mut story = story(&[1], &[1]);
            story.add(op, 101, Fate::Ended(answer));
            story.judge().unwrap_err();
        }
    }
}
