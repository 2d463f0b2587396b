//! The verdict: every message once, whole, in order, and every answer true.

use std::ops::Range;

use anyhow::{Result, bail, ensure};

use crate::answer::{Answer, Ids};
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
    /// The message, if it puts one; the first, if several.
    pub message: u64,
    /// How it ended.
    pub fate: Fate,
}

impl Actor {
    /// What it may have put: of a killed one, any first part of this.
    fn put(&self) -> Range<u64> {
        let all = self.op.puts(self.message);
        match self.fate {
            Fate::Killed | Fate::Ended(Answer::Done) | Fate::Resumed(Answer::Done) => all,
            Fate::Ended(Answer::Partly(count)) | Fate::Resumed(Answer::Partly(count)) => {
                all.start..all.start + count
            }
            Fate::Ended(_) | Fate::Resumed(_) => all.start..all.start,
        }
    }

    /// What it says it got.
    fn got(&self) -> impl Iterator<Item = u64> {
        let ids = match self.fate {
            Fate::Ended(Answer::Got(ids)) | Fate::Resumed(Answer::Got(ids)) => Some(ids),
            _ => None,
        };
        ids.into_iter().flat_map(Ids::iter)
    }
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
    /// So many the survivor had got by then.
    popped_by_then: usize,
    next: u64,
    /// The queue was empty at some moment while victims were in their operations.
    pub was_empty: bool,
    /// It was full at some moment.
    pub was_full: bool,
    /// It has been shut down.
    pub was_shut: bool,
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
        self.popped_by_then = self.popped.len();
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

    /// Are all answers true?
    pub fn judge_answers(&self) -> Result<()> {
        for Actor { op, fate, .. } in &self.actors {
            let (Fate::Ended(answer) | Fate::Resumed(answer)) = *fate else { continue };
            let gave_up = op.is_blocking() && answer == Answer::Refused;
            ensure!(!gave_up, "{op} did not wait for what it waits for");
            match (op.effect(), answer) {
                (Effect::None, Answer::Done) => {
                    let is_so = *op != Op::ShutDown || self.was_shut;
                    ensure!(is_so, "{op} is done, and the queue is open");
                }
                (Effect::Put, Answer::Done) => {}
                (Effect::Get, Answer::Got(ids)) if ids.iter().count() == op.gets() => {}
                (Effect::Put, Answer::Partly(_)) if self.was_shut => {}
                (Effect::Put, Answer::Refused | Answer::Partly(_)) => {
                    ensure!(self.was_full, "{op} said Full, and the queue never was");
                }
                (Effect::Get, Answer::Got(_)) if self.had_ended(*fate) => {}
                (Effect::Get, Answer::Refused | Answer::Got(_)) => {
                    ensure!(self.was_empty, "{op} said Empty, and the queue never was");
                }
                (Effect::Put, Answer::ShutDown) => {
                    ensure!(self.was_shut, "{op} said ShutDown, and the queue never was");
                }
                (Effect::Get, Answer::ShutDown) => {
                    ensure!(self.had_ended(*fate), "{op} said ShutDown before the end");
                }
                _ => bail!("{op} answered {answer:?}"),
            }
        }
        Ok(())
    }

    /// Was nothing more to come when a victim answered?
    fn had_ended(&self, fate: Fate) -> bool {
        let before = if matches!(fate, Fate::Resumed(_)) { self.popped_by_then } else { 0 };
        self.was_shut && self.popped.len() == before
    }

    /// What anybody got.
    fn got(&self) -> Vec<u64> {
        let victims = self.actors.iter().flat_map(Actor::got);
        self.popped.iter().copied().chain(victims).collect()
    }

    /// What a victim certainly put: what it says; of a killed one, the last that somebody got, and all
    /// before it.
    fn certain(&self, actor: &Actor) -> Range<u64> {
        let put = actor.put();
        if actor.fate != Fate::Killed {
            return put;
        }
        let last = put.clone().rev().find(|id| self.got().contains(id));
        put.start..last.map_or(put.start, |last| last + 1)
    }

    fn judge_once(&self) -> Result<()> {
        let mut all = self.got();
        all.sort_unstable();
        if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("message {} was got twice", twice[0]);
        }
        let puts: Vec<u64> = self.actors.iter().flat_map(Actor::put).collect();
        let known =
            |id: &u64| [&self.messages, &self.pushed, &puts].iter().any(|of| of.contains(id));
        if let Some(strange) = all.iter().find(|id| !known(id)) {
            bail!("message {strange} was got, and nobody put it");
        }
        Ok(())
    }

    /// A killed get may take as many messages with it as it asked for: the oldest that were there.
    fn judge_losses(&self) -> Result<()> {
        let certain = self.actors.iter().flat_map(|actor| self.certain(actor));
        let got = self.got();
        let all = self.messages.iter().chain(&self.pushed).copied().chain(certain);
        let lost: Vec<u64> = all.filter(|id| !got.contains(id)).collect();
        let killed = self.actors.iter().filter(|actor| actor.fate == Fate::Killed);
        let allowed = killed.map(|actor| actor.op.gets()).sum();
        ensure!(lost.len() <= allowed, "messages {lost:?} are lost");
        let left: Vec<u64> =
            self.popped.iter().copied().filter(|id| self.messages.contains(id)).collect();
        ensure!(self.messages.ends_with(&left), "{left:?} is not the end of {:?}", self.messages);
        let by_the_dead = lost.iter().all(|&id| self.was_oldest(id));
        ensure!(by_the_dead, "{lost:?} are lost, which no killed get can have taken");
        Ok(())
    }

    /// May it have been the oldest, before the survivor got any?
    fn was_oldest(&self, id: u64) -> bool {
        let actor = self.actors.iter().find(|actor| actor.put().contains(&id));
        let older: Vec<u64> = match (self.messages.iter().position(|&it| it == id), actor) {
            (Some(at), _) => self.messages[..at].to_vec(),
            (None, Some(actor)) => {
                self.messages.iter().copied().chain(actor.put().start..id).collect()
            }
            (None, None) => return false,
        };
        !older.iter().any(|id| self.popped.contains(id))
    }

    /// What was there, then what the survivor put; and each victim's messages as it put them.
    fn judge_order(&self) -> Result<()> {
        let order = self.messages.iter().chain(&self.pushed).copied().collect();
        let puts = self.actors.iter().map(|actor| actor.put().collect());
        let orders: Vec<Vec<u64>> = [order].into_iter().chain(puts).collect();
        let victims = self.actors.iter().map(|actor| actor.got().collect());
        for got in [self.popped.clone()].into_iter().chain(victims) {
            for order in &orders {
                let places = got.iter().filter_map(|id| order.iter().position(|it| it == id));
                ensure!(places.is_sorted(), "messages were got in the order {got:?}");
            }
        }
        Ok(())
    }

    /// A victim's message comes behind all that was there, and before all that the survivor put;
    /// or, if it was put after the victim was resumed, behind that.
    fn judge_place(&self, actor: &Actor) -> Result<()> {
        for (at, id) in self.popped.iter().enumerate().filter(|(_, id)| actor.put().contains(id)) {
            let (before, after) = (&self.popped[..at], &self.popped[at + 1..]);
            let old = after.iter().any(|id| self.messages.contains(id));
            ensure!(!old, "message {id} came before older ones");
            let resumed_at = self.resumed_at.unwrap_or(SURVIVORS);
            let first = !before.iter().any(|id| self.pushed.contains(id));
            let earlier = |id: &u64| self.pushed.contains(id) && *id <= resumed_at;
            let behind = matches!(actor.fate, Fate::Resumed(_)) && !after.iter().any(earlier);
            ensure!(first || behind, "message {id} is out of place in {:?}", self.popped);
        }
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
        twice.add(Op::TryPop, 0, Fate::Resumed(Answer::Got(1.into())));
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
    fn a_killed_run_leaves_its_first_messages() {
        let killed = |popped: &[u64]| {
            let mut story = story(&[1], popped);
            story.add(Op::TryPushMany, 101, Fate::Killed);
            story
        };
        for popped in [&[1, 1001][..], &[1, 101, 1001], &[1, 101, 102, 103, 1001]] {
            killed(popped).judge().unwrap();
        }
        assert_eq!(accused(&killed(&[1, 102])), "messages [101] are lost");
        assert_eq!(accused(&killed(&[1, 101, 103])), "messages [102] are lost");
        assert!(accused(&killed(&[1, 102, 101])).contains("in the order"));
        assert!(accused(&killed(&[1, 104])).contains("nobody put it"));
        assert!(accused(&killed(&[1, 101, 1001, 102])).contains("out of place"));
    }

    #[test]
    fn a_run_is_there_as_far_as_it_says() {
        let ended = |answer, popped: &[u64]| {
            let mut story = story(&[1], popped);
            story.was_full = true;
            story.add(Op::TryPushMany, 101, Fate::Ended(answer));
            story
        };
        ended(Answer::Done, &[1, 101, 102, 103, 1001]).judge().unwrap();
        ended(Answer::Partly(2), &[1, 101, 102, 1001]).judge().unwrap();
        assert_eq!(accused(&ended(Answer::Done, &[1, 101, 102])), "messages [103] are lost");
        assert_eq!(accused(&ended(Answer::Partly(2), &[1, 101])), "messages [102] are lost");
        let more = ended(Answer::Partly(2), &[1, 101, 102, 103]);
        assert!(accused(&more).contains("nobody put it"));
        let mut never_full = ended(Answer::Partly(2), &[1, 101, 102]);
        never_full.was_full = false;
        assert!(accused(&never_full).contains("said Full"));
    }

    #[test]
    fn the_rest_of_a_resumed_run_lands_behind() {
        let resumed = |popped: &[u64]| {
            let mut story = story(&[1], popped);
            story.resumed_at = Some(1002);
            story.add(Op::TryPushMany, 101, Fate::Resumed(Answer::Done));
            story.judge()
        };
        resumed(&[1, 101, 102, 103, 1001, 1002]).unwrap();
        resumed(&[1, 101, 1001, 1002, 102, 103]).unwrap();
        resumed(&[1, 1001, 1002, 101, 102, 103]).unwrap();
        resumed(&[1, 102, 1001, 1002, 101, 103]).unwrap_err();
        resumed(&[1, 101, 1001, 102, 1002, 103]).unwrap_err();
    }

    #[test]
    fn a_killed_get_of_many_takes_the_oldest() {
        let killed = |popped: &[u64]| {
            let mut story = story(&[1, 2, 3, 4, 5], popped);
            story.add(Op::TryPopMany, 0, Fate::Killed);
            story
        };
        for popped in [&[1, 2, 3, 4, 5, 1001][..], &[3, 4, 5], &[4, 5, 1001]] {
            killed(popped).judge().unwrap();
        }
        assert_eq!(accused(&killed(&[5])), "messages [1, 2, 3, 4] are lost");
        assert!(accused(&killed(&[1, 3, 4, 5])).contains("is not the end of"));
        // Of a killed run, too.
        let mut both = story(&[], &[102, 103]);
        both.add(Op::TryPushMany, 101, Fate::Killed);
        both.add(Op::TryPop, 0, Fate::Killed);
        both.judge().unwrap();
        both.popped = vec![101, 103];
        assert!(accused(&both).contains("no killed get can have taken"));
    }

    #[test]
    fn a_get_of_many_says_what_it_got_in_order() {
        let ended = |ids: &[u64], popped: &[u64]| {
            let mut story = story(&[1, 2, 3, 4], popped);
            let got = Answer::Got(ids.iter().copied().collect());
            story.add(Op::TryPopMany, 0, Fate::Ended(got));
            story
        };
        ended(&[1, 2, 3], &[4]).judge().unwrap();
        assert!(accused(&ended(&[1, 2], &[3, 4])).contains("said Empty"));
        assert!(accused(&ended(&[2, 1, 3], &[4])).contains("in the order"));
        assert_eq!(accused(&ended(&[1, 2, 3], &[])), "messages [4] are lost");
    }

    #[test]
    fn untrue_answers_are_accused() {
        for (op, answer) in [
            (Op::TryPop, Answer::Refused),
            (Op::TryPush, Answer::Refused),
            (Op::TryPop, Answer::Torn),
            (Op::TryPop, Answer::Got(5.into())),
            (Op::Recover, Answer::Refused),
            (Op::TryPush, Answer::ShutDown),
            (Op::TryPop, Answer::ShutDown),
            (Op::ShutDown, Answer::ShutDown),
            (Op::ShutDown, Answer::Done),
        ] {
            let mut story = story(&[1], &[1]);
            story.add(op, 101, Fate::Ended(answer));
            story.judge().unwrap_err();
        }
    }

    /// A queue with messages 1 and 2 that was shut down and drained beside a stopped victim.
    fn ended(op: Op, answer: Answer, drained: &[u64], then: &[u64]) -> Story {
        let mut story = Story { was_shut: true, ..story(&[1, 2], drained) };
        story.resume();
        story.popped.extend(then);
        story.add(op, 101, Fate::Resumed(answer));
        story
    }

    #[test]
    fn a_put_came_before_the_end_or_says_that_it_did_not() {
        ended(Op::TryPush, Answer::Done, &[1, 2, 101], &[]).judge().unwrap();
        ended(Op::TryPush, Answer::ShutDown, &[1, 2], &[]).judge().unwrap();
        ended(Op::TryPushMany, Answer::Partly(1), &[1, 2, 101], &[]).judge().unwrap();
        let untrue = ended(Op::TryPush, Answer::Done, &[1, 2], &[]);
        assert_eq!(accused(&untrue), "messages [101] are lost");
        let untrue = ended(Op::TryPush, Answer::ShutDown, &[1, 2, 101], &[]);
        assert_eq!(accused(&untrue), "message 101 was got, and nobody put it");
        let untrue = ended(Op::TryPushMany, Answer::Partly(1), &[1, 2, 101, 102], &[]);
        assert_eq!(accused(&untrue), "message 102 was got, and nobody put it");
        let untrue = ended(Op::TryPush, Answer::Refused, &[1, 2], &[]);
        assert!(accused(&untrue).contains("said Full"));
    }

    #[test]
    fn a_get_is_told_of_the_end_when_nothing_more_comes() {
        ended(Op::TryPop, Answer::Got(1.into()), &[2], &[]).judge().unwrap();
        ended(Op::TryPop, Answer::ShutDown, &[1, 2], &[]).judge().unwrap();
        ended(Op::TryPopMany, Answer::Got(1.into()), &[2], &[]).judge().unwrap();
        let early = ended(Op::TryPop, Answer::ShutDown, &[1], &[2]);
        assert!(accused(&early).contains("before the end"));
        let early = ended(Op::TryPopMany, Answer::Got(1.into()), &[], &[2]);
        assert!(accused(&early).contains("said Empty"));
        let late = ended(Op::TryPop, Answer::Refused, &[1, 2], &[]);
        assert!(accused(&late).contains("said Empty"));
    }
}
