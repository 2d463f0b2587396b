//! What the models share: a ring over loom's atomics, and the way to explore it.

#![cfg(loom)]

mod land;

pub use land::{Held, Land, Worker};

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64, Ordering};

use loom::model::Builder;
use shmq_engine::Fences;
use shmq_engine::layout::cells::{Control, Gate, Line, Mark};
use shmq_engine::ring::{
    Claim, Claimed, Grip, Hand, PlainTake, Pushed, Ring, Role, Shape, Stalled, Taken,
};
use shmq_engine::sync::Word;
use shmq_engine::wait::Want;
use shmq_engine::wait::clock::Deadline;

/// Explores `model` completely (within `preemptions` per execution, if given), and prints how many
/// executions that were. Panics, with the failing execution, if one fails.
pub fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let preemptions = preemptions.map(|bound| bound + deeper());
    let count = StdArc::new(AtomicU64::new(0));
    let seen = StdArc::clone(&count);
    let mut builder = Builder::new();
    // Set here, so that no environment variable makes a search end early and green.
    builder.preemption_bound = preemptions;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_branches = 100_000;
    builder.checkpoint_file = None;
    builder.check(move || {
        seen.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = count.load(Ordering::Relaxed);
    let bound = preemptions.map_or("unbounded".to_owned(), |n| format!("<= {n} preemptions"));
    println!("model {name}: {executions} executions, {bound}, complete");
    assert!(executions > 1, "{name} explored nothing");
}

/// `SHMQ_MODEL_DEEPER=n` adds n preemptions to every bound. It cannot take any away.
fn deeper() -> usize {
    std::env::var("SHMQ_MODEL_DEEPER").map_or(0, |n| n.parse().expect("a number of preemptions"))
}

/// What a model is made of.
#[derive(Debug)]
pub struct Rig {
    control: Control,
    lines: Vec<Line>,
    marks: Vec<Mark>,
    words: Vec<Word>,
    items: Gate,
    room: Gate,
    shape: Shape,
}

/// What there was to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A value.
    Value(u64),
    /// None now.
    Empty,
    /// None, ever again.
    End,
}

/// Who occupies every line at first.
const OCCUPANT: u64 = 1;
/// Who inherits from the first occupant; its heir is the next number.
const HEIR: u64 = 2;
/// Who takes a vacant line.
const NEWCOMER: u64 = 9;

/// Messages are one word long.
const STRIDE: usize = 3;

impl Rig {
    /// `capacity` places in `slots` slots, many producers with `lines` lines, many consumers.
    pub fn new(capacity: u64, slots: u64, lines: usize) -> Self {
        Self::with_roles(capacity, slots, lines, Role::Many, Role::Many)
    }

    /// The same with roles.
    pub fn with_roles(
        capacity: u64,
        slots: u64,
        lines: usize,
        producers: Role,
        consumers: Role,
    ) -> Self {
        let shape = Shape {
            capacity,
            slots,
            stride: STRIDE,
            inline_max: size_of::<u64>(),
            growing: false,
            producers,
            consumers,
            fences: Fences::Full,
        };
        Self {
            control: Control::starting_at(0),
            lines: (0..lines).map(|_| Line::occupied()).collect(),
            marks: (0..slots).map(|_| Mark::unset()).collect(),
            words: (0..slots as usize * STRIDE).map(|_| Word::new(0)).collect(),
            items: Gate::unused(),
            room: Gate::unused(),
            shape,
        }
    }

    /// The ring over it.
    pub fn ring(&self) -> Ring<'_> {
        Ring::new(&self.control, &self.lines, &self.marks, &self.words, self.shape)
            .expect("the rig's shape describes its parts")
    }

    /// The producer that announces in line `at`.
    pub fn hand(&self, at: usize) -> Hand<'_> {
        self.ring().hand(&self.lines[at])
    }

    /// Ends all rests of parked consumers.
    pub fn let_time_pass(&self) {
        self.items.let_time_pass();
    }

    /// A consumer. Of a bounded ring with messages in slots it writes nothing to its line, so which
    /// that is does not matter.
    pub fn grip(&self) -> Grip<'_> {
        self.ring().grip(&self.lines[0])
    }

    /// Claims the next ticket; its message is yet to come.
    pub fn claim(&self, hand: &mut Hand<'_>) -> Claimed {
        match self.ring().claim(hand).expect("nothing is corrupt") {
            Claim::Claimed(claimed) => claimed,
            other => panic!("not claimed: {other:?}"),
        }
    }

    /// The ticket at the head, which was claimed and is not published.
    pub fn stalled(&self) -> Stalled {
        match self.ring().pop(&self.grip(), &mut [0; size_of::<u64>()], 0) {
            Ok(Taken::Stalled(stalled)) => stalled,
            other => panic!("not stalled: {other:?}"),
        }
    }

    /// Passes that ticket over.
    pub fn pass(&self, stalled: Stalled) {
        self.ring().pass(&self.grip(), stalled).expect("fences are granted");
    }

    /// An heir takes the line of a dead participant, and is killed before it settles anything. False:
    /// somebody else took it.
    pub fn inherit_and_die(&self, at: usize) -> bool {
        self.lines[at].inherit(OCCUPANT, HEIR)
    }

    /// An heir takes the line of a dead participant, settles it, and is killed.
    pub fn settle_and_die(&self, at: usize) {
        if self.inherit_and_die(at) {
            self.ring().settle(&self.lines[at]);
        }
    }

    /// What recovery does: inherits a dead participant's line, settles and vacates it, and sweeps.
    pub fn recover(&self, at: usize) {
        self.recover_from(at, OCCUPANT);
    }

    /// The same for an heir that died.
    pub fn recover_from_heir(&self, at: usize) {
        self.recover_from(at, HEIR);
    }

    fn recover_from(&self, at: usize, dead: u64) {
        let line = &self.lines[at];
        let heir = dead + 1;
        if line.inherit(dead, heir) {
            self.ring().settle(line);
            line.vacate(heir);
        }
        self.ring().sweep();
    }

    /// A new participant takes the line, if it is vacant.
    pub fn join(&self, at: usize) -> Option<Hand<'_>> {
        self.lines[at].occupy(NEWCOMER).then(|| self.hand(at))
    }

    /// Puts `value`, and is killed before it wakes anybody.
    pub fn push_without_waking(&self, hand: &mut Hand<'_>, value: u64) -> bool {
        let pushed = self.ring().push(hand, &value.to_ne_bytes());
        matches!(pushed.expect("nothing is corrupt"), Pushed::Done { .. })
    }

    /// Parks for a message, and is killed when it wakes.
    pub fn park_and_die(&self) {
        _ = Want::items(&self.items).park(&self.ring(), Deadline::NEVER, || None::<()>);
    }

    /// Puts `value`; false if full.
    pub fn push(&self, hand: &mut Hand<'_>, value: u64) -> bool {
        match self.offer(hand, value) {
            Pushed::Done { .. } => true,
            Pushed::Full => false,
            other => panic!("not put: {other:?}"),
        }
    }

    /// Puts `value`, or not.
    pub fn offer(&self, hand: &mut Hand<'_>, value: u64) -> Pushed {
        let pushed = self.ring().push(hand, &value.to_ne_bytes()).expect("nothing is corrupt");
        if let Pushed::Done { attention } = pushed {
            Want::items(&self.items).wake(&self.ring(), attention);
        }
        pushed
    }

    /// Shuts the queue down.
    pub fn shut(&self) {
        self.shut_and_die();
        Want::items(&self.items).wake_all();
        Want::room(&self.room).wake_all();
    }

    /// Shuts the queue down, and is killed before it wakes anybody.
    pub fn shut_and_die(&self) {
        self.ring().shut();
    }

    /// Takes one value, unless there is none.
    pub fn next(&self) -> Next {
        let ring = self.ring();
        let mut look = None;
        loop {
            if let Some(value) = self.pop_passing(usize::MAX) {
                return Next::Value(value);
            }
            if !ring.is_shut() {
                return Next::Empty;
            }
            if look.take().is_some_and(|look| ring.ends(&look)) {
                return Next::End;
            }
            look = ring.look_for_end().expect("fences are granted");
            if look.is_none() {
                return Next::End;
            }
        }
    }

    /// Takes values until there is none. Was that the end?
    pub fn take_all(&self) -> (Vec<u64>, bool) {
        let mut got = Vec::new();
        loop {
            match self.next() {
                Next::Value(value) => got.push(value),
                Next::Empty => return (got, false),
                Next::End => return (got, true),
            }
        }
    }

    /// Takes a value, parking until there is one, or until the end.
    pub fn next_parking(&self) -> Option<u64> {
        let attempt = || match self.next() {
            Next::Value(value) => Some(Some(value)),
            Next::End => Some(None),
            Next::Empty => None,
        };
        self.until_message(attempt)
    }

    /// Puts `value`, parking until there is a place. False: the queue was shut down.
    pub fn offer_parking(&self, hand: &mut Hand<'_>, value: u64) -> bool {
        self.until_place(|| match self.offer(hand, value) {
            Pushed::Done { .. } => Some(true),
            Pushed::Shut => Some(false),
            _ => None,
        })
    }

    /// Takes a value, passing over at most one ticket on the way; `None` if there is none.
    pub fn pop(&self) -> Option<u64> {
        self.pop_passing(1)
    }

    /// Takes a value, passing over at most `passes` tickets on the way.
    pub fn pop_passing(&self, mut passes: usize) -> Option<u64> {
        let mut bytes = [0; size_of::<u64>()];
        let grip = self.grip();
        loop {
            match self.ring().pop(&grip, &mut bytes, 0).expect("nothing is corrupt") {
                Taken::Message { len, attention } => {
                    assert_eq!(len, bytes.len(), "a message was torn");
                    Want::room(&self.room).wake(&self.ring(), attention);
                    return Some(u64::from_ne_bytes(bytes));
                }
                Taken::Empty => {
                    // Of places that came from passing over nobody may have been told.
                    let ring = self.ring();
                    Want::room(&self.room).wake(&ring, ring.attention());
                    return None;
                }
                Taken::Stalled(_) if passes == 0 => return None,
                Taken::Stalled(stalled) => {
                    passes -= 1;
                    let passed = self.ring().pass(&grip, stalled).expect("fences are granted");
                    Want::room(&self.room).wake(&self.ring(), passed);
                }
                other => panic!("a message was torn: {other:?}"),
            }
        }
    }

    /// Takes a value, if nothing is in the way.
    pub fn pop_plain(&self) -> Option<u64> {
        let mut bytes = [0; size_of::<u64>()];
        match self.ring().pop_plain(&self.grip(), &mut bytes) {
            PlainTake::Stopped => None,
            PlainTake::Taken { len, calls } => {
                assert_eq!(len, bytes.len(), "a message was torn");
                if calls {
                    let ring = self.ring();
                    Want::room(&self.room).wake(&ring, ring.attention());
                }
                Some(u64::from_ne_bytes(bytes))
            }
        }
    }

    /// Puts `values`, some at once, until one finds no place. Says how many that were.
    pub fn push_run(&self, hand: &mut Hand<'_>, values: &[u64]) -> usize {
        let bytes: Vec<_> = values.iter().map(|value| value.to_ne_bytes()).collect();
        let mut put = 0;
        while put < bytes.len() {
            match self.ring().push_run(hand, &bytes[put..]).expect("nothing is corrupt") {
                (count, Pushed::Done { attention }) => {
                    put += count;
                    Want::items(&self.items).wake(&self.ring(), attention);
                }
                (_, Pushed::Full | Pushed::Shut) => break,
                (_, Pushed::Elsewhere { .. }) => panic!("a bounded ring has no segments"),
            }
        }
        put
    }

    /// Takes at most two values at once, or one as it comes.
    pub fn pop_run(&self) -> Vec<u64> {
        let mut bytes = [0; 2 * size_of::<u64>()];
        let mut lens = [0; 2];
        let Some(run) = self.ring().pop_run(&self.grip(), &mut bytes, &mut lens) else {
            return self.pop().into_iter().collect();
        };
        Want::room(&self.room).wake(&self.ring(), run.attention);
        let values = bytes.chunks_exact(size_of::<u64>()).take(run.count);
        values.map(|value| u64::from_ne_bytes(value.try_into().expect("eight bytes"))).collect()
    }

    /// Takes a value, parking until there is one. Never passes over: whoever parks here relies on
    /// being woken.
    pub fn pop_parking(&self) -> u64 {
        self.until_message(|| self.pop_passing(0))
    }

    /// Puts `value`, parking until there is a place.
    pub fn push_parking(&self, hand: &mut Hand<'_>, value: u64) {
        self.until_place(|| self.push(hand, value).then_some(()));
    }

    /// As a consumer waits.
    fn until_message<R>(&self, attempt: impl FnMut() -> Option<R>) -> R {
        let (ring, grip) = (self.ring(), self.grip());
        Want::items(&self.items).until_done(&ring, || ring.is_ready(&grip), attempt)
    }

    /// As a producer waits.
    fn until_place<R>(&self, attempt: impl FnMut() -> Option<R>) -> R {
        let ring = self.ring();
        Want::room(&self.room).until_done(&ring, || ring.has_places(), attempt)
    }

    /// Takes all that is left, alone. Nobody else may be at work.
    pub fn drain(&self) -> Vec<u64> {
        std::iter::from_fn(|| self.pop_passing(usize::MAX)).collect()
    }
}

/// Each of `put` was got exactly once, and each getter got each putter's messages in order.
///
/// A message is `putter * 16 + number`, numbers growing. `got` is one list per getter; `rest` was taken when all of
/// them had done.
pub fn assert_conserved(put: &[u64], got: &[Vec<u64>], rest: &[u64]) {
    let mut all: Vec<u64> = got.iter().flatten().chain(rest).copied().collect();
    all.sort_unstable();
    let mut expected = put.to_vec();
    expected.sort_unstable();
    assert_eq!(all, expected, "messages were lost, duplicated or torn: {got:?}, {rest:?}");
    for list in got.iter().map(Vec::as_slice).chain([&[][..]]) {
        let list = [list, rest].concat();
        for (at, early) in list.iter().enumerate() {
            for late in &list[at..] {
                let one_putter = early / 16 == late / 16;
                assert!(!one_putter || early <= late, "out of order: {got:?}, {rest:?}");
            }
        }
    }
}
