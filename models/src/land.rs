//! A rig with memory that comes and goes: an arena, whose blocks hold messages or a growing ring's
//! segments.
//!
//! Whatever lies in a block knows whether the block has memory, so a model fails when anybody uses
//! some that may be gone. A message in a block is no atomic: a model fails when anybody writes it who
//! does not know that its reader is done.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use shmq_engine::Fences;
use shmq_engine::arena::{
    Arena, Block, Class, Ground, NoMemory, PAYLOADS, Room, SEGMENTS, SegmentSlots, Segments,
    Unmapped,
};
use shmq_engine::layout::cells::{ClassControl, Control, Extent, Gate, Line, Mark};
use shmq_engine::ring::{
    Attention, Claim, Claimed, Grip, Hand, Pushed, Reach, Reference, Refusal, Ring, Role, Shape,
    Stalled, Taken,
};
use shmq_engine::sync::Word;
use shmq_engine::sync::memory::Memory;
use shmq_engine::wait::Want;

/// A slot has room for one word, or for a reference.
const STRIDE: usize = 5;
/// Bytes of a message.
const MESSAGE: usize = size_of::<u64>();
/// Bytes of a block, as the ground knows it.
const BLOCK: usize = 4096;
/// From one class to the next.
const CLASS: usize = 1 << 20;

/// Who occupies every line at first.
const OCCUPANT: u64 = 1;

/// A message in a block.
#[derive(Debug)]
struct Letter(UnsafeCell<u64>);

// SAFETY: loom runs one thread at a time, and checks that accesses are ordered.
unsafe impl Send for Letter {}
// SAFETY: as for Send.
unsafe impl Sync for Letter {}

/// A block, and what may lie in it.
#[derive(Debug)]
struct Plot {
    memory: Arc<Memory>,
    marks: Vec<Mark>,
    words: Vec<Word>,
    letters: Vec<Letter>,
}

#[derive(Debug)]
struct Store {
    control: ClassControl,
    states: Vec<Word>,
    extents: Vec<Extent>,
    plots: Vec<Plot>,
    room: Room,
}

impl Store {
    fn new(class: usize, blocks: usize, keep: usize, shape: &Shape, letters: usize) -> Self {
        let slots = if class == SEGMENTS { shape.slots as usize } else { 0 };
        let plot = || {
            let memory = Arc::new(Memory::hole());
            Plot {
                marks: (0..slots).map(|_| Mark::within(&memory)).collect(),
                words: (0..slots * STRIDE).map(|_| Word::within(&memory)).collect(),
                letters: (0..letters).map(|_| Letter(UnsafeCell::new(0))).collect(),
                memory,
            }
        };
        Self {
            control: ClassControl::described(blocks, blocks + 1),
            states: (0..blocks).map(|_| Word::new(0)).collect(),
            extents: (0..blocks).map(|_| Extent::unused()).collect(),
            plots: (0..blocks).map(|_| plot()).collect(),
            room: Room {
                bytes: BLOCK,
                blocks,
                keep,
                keep_idle: keep,
                blocks_at: (class + 1) * CLASS,
                states_at: 0,
                extents_at: 0,
            },
        }
    }

    fn class(&self) -> Class<'_> {
        let Self { control, states, extents, room, .. } = self;
        Class { control, states, extents, room: *room }
    }
}

/// What a model of the arena is made of.
#[derive(Debug)]
pub struct Land {
    control: Control,
    lines: Vec<Line>,
    marks: Vec<Mark>,
    words: Vec<Word>,
    directory: Vec<Word>,
    stores: Vec<Store>,
    items: Gate,
    room: Gate,
    shape: Shape,
}

impl Land {
    /// A ring that grows by `slots` at a time, in `blocks` of which `keep` keep their memory when they
    /// are free; with so many lines.
    pub fn growing(slots: u64, blocks: usize, keep: usize, lines: usize) -> Self {
        Self::growing_for(slots, blocks, keep, lines, Role::Many)
    }

    /// The same for one or many producers.
    pub fn growing_for(
        slots: u64,
        blocks: usize,
        keep: usize,
        lines: usize,
        producers: Role,
    ) -> Self {
        let shape = Shape { growing: true, producers, ..shape(blocks as u64 * slots, slots) };
        let stores = vec![Store::new(SEGMENTS, blocks, keep, &shape, 0)];
        let directory = (0..=blocks).map(|_| Word::new(0)).collect();
        Self { directory, stores, ..Self::bare(lines, shape) }
    }

    /// A ring of `capacity` places in `slots` slots, and `blocks` for messages outside them, `letters`
    /// in each, of which `keep` keep their memory when they are free; with so many lines.
    pub fn referring(
        (capacity, slots): (u64, u64),
        (blocks, letters): (usize, usize),
        keep: usize,
        lines: usize,
    ) -> Self {
        let shape = shape(capacity, slots);
        let stores = [(0, 0), (blocks, letters)].into_iter().enumerate();
        let stores = stores
            .map(|(class, (blocks, letters))| Store::new(class, blocks, keep, &shape, letters))
            .collect();
        Self {
            marks: (0..slots).map(|_| Mark::unset()).collect(),
            words: (0..slots as usize * STRIDE).map(|_| Word::new(0)).collect(),
            stores,
            ..Self::bare(lines, shape)
        }
    }

    /// A ring of one place, and `blocks` for messages whose descriptors nobody has used yet.
    pub fn undescribed(blocks: usize, lines: usize) -> Self {
        let mut land = Self::referring((1, 4), (blocks, 1), 0, lines);
        land.stores[PAYLOADS].control = ClassControl::unused();
        land
    }

    fn bare(lines: usize, shape: Shape) -> Self {
        Self {
            control: Control::starting_at(0),
            lines: (0..lines).map(|_| Line::occupied()).collect(),
            marks: Vec::new(),
            words: Vec::new(),
            directory: Vec::new(),
            stores: Vec::new(),
            items: Gate::unused(),
            room: Gate::unused(),
            shape,
        }
    }

    /// Is there one producer at most?
    pub fn has_lone_producer(&self) -> bool {
        self.shape.producers == Role::One
    }

    /// The ring over it.
    pub fn ring(&self) -> Ring<'_> {
        Ring::new(&self.control, &self.lines, &self.marks, &self.words, self.shape)
            .expect("the land's shape describes its parts")
    }

    /// Does something in line `at`.
    pub fn work<R>(&self, at: usize, job: impl FnOnce(&mut Worker<'_>) -> R) -> R {
        let ring = self.ring();
        let classes: Vec<_> = self.stores.iter().map(Store::class).collect();
        let slots = Slots(&self.stores[SEGMENTS]);
        let line = &self.lines[at];
        let worker = &mut Worker {
            arena: Arena::over(&classes, &self.lines, ring.head(), self, self.shape.fences),
            segments: Segments::over(&self.directory, self.shape, &slots),
            hand: ring.hand(line),
            grip: ring.grip(line),
            ring,
            land: self,
            at,
        };
        job(worker)
    }

    /// Recovery, from line `own`: inherits line `at` of a dead participant, settles and vacates it, and
    /// sweeps. Says how many blocks the sweep gave back.
    pub fn recover(&self, at: usize, own: usize) -> usize {
        let line = &self.lines[at];
        let ours = line.inherit(OCCUPANT, OCCUPANT + 1);
        self.work(own, |worker| {
            if ours {
                worker.ring.settle(line);
                worker.arena.inherit(at);
                line.vacate(OCCUPANT + 1);
            }
            worker.ring.sweep();
            worker.arena.sweep(own)
        })
    }

    /// Takes all that is left, alone, in line `at`. Nobody else may be at work.
    pub fn drain(&self, at: usize) -> Vec<u64> {
        self.work(at, |worker| std::iter::from_fn(|| worker.pop_passing(usize::MAX)).collect())
    }

    /// Everybody has left, and the queue is empty: no block is in use but that of the segment that
    /// comes next; who sweeps finds the others, and those without memory are those that say so.
    pub fn assert_nothing_leaks(&self) {
        self.work(0, |worker| {
            for line in &self.lines {
                worker.ring.settle(line);
            }
            worker.ring.sweep();
            assert!(worker.ring.is_quiet(), "attention stays");
            worker.arena.sweep(0);
            worker.arena.empty_pools(0);
            let current = self.current_block(worker);
            for (class, store) in self.stores.iter().enumerate() {
                for (index, plot) in store.plots.iter().enumerate() {
                    let block = Block { class, index };
                    let is_current = class == SEGMENTS && current == Some(index);
                    let state = worker.arena.is_in_use(block);
                    assert!(!state || is_current, "{block:?} leaks");
                    assert!(state || worker.arena.is_hole(block), "{block:?} keeps its memory");
                    assert_eq!(plot.memory.is_there(), state, "{block:?} has the wrong state");
                }
            }
        });
    }

    fn current_block(&self, worker: &Worker<'_>) -> Option<usize> {
        let next = if self.shape.growing { worker.ring.segment_of_tail() } else { return None };
        worker.segments.block_of(&worker.arena, next)
    }

    fn plot(&self, at: usize) -> Option<&Plot> {
        let class = (at / CLASS).checked_sub(1)?;
        Some(&self.stores[class].plots[at % CLASS / BLOCK])
    }

    fn letter(&self, block: Block, offset: u64) -> &Letter {
        let plot = &self.stores[block.class].plots[block.index];
        plot.memory.touch();
        &plot.letters[offset as usize]
    }
}

fn shape(capacity: u64, slots: u64) -> Shape {
    Shape {
        capacity,
        slots,
        stride: STRIDE,
        inline_max: MESSAGE,
        growing: false,
        producers: Role::Many,
        consumers: Role::Many,
        fences: Fences::Full,
    }
}

impl Ground for Land {
    fn reserve(&self, at: usize, _: usize) -> Result<(), NoMemory> {
        if let Some(plot) = self.plot(at) {
            plot.memory.reserve();
        }
        Ok(())
    }

    fn release(&self, at: usize, _: usize) {
        let plot = self.plot(at).expect("only blocks are released");
        plot.memory.release();
        plot.marks.iter().for_each(Mark::wipe);
        plot.words.iter().for_each(Word::wipe);
    }
}

/// The slots of the segments.
#[derive(Debug)]
struct Slots<'m>(&'m Store);

impl<'m> SegmentSlots<'m> for Slots<'m> {
    fn parts(&self, index: usize) -> (&'m [Mark], &'m [Word]) {
        let plot = &self.0.plots[index];
        (&plot.marks, &plot.words)
    }
}

/// A message outside the slots, which is ours to read.
#[derive(Debug)]
pub struct Held {
    block: Block,
    offset: u64,
}

/// What lies in line `at`, as a producer or a consumer sees it.
#[derive(Debug)]
pub struct Worker<'m> {
    /// The ring.
    pub ring: Ring<'m>,
    /// The arena.
    pub arena: Arena<'m>,
    /// The segments of a growing ring.
    pub segments: Segments<'m>,
    /// As a producer.
    pub hand: Hand<'m>,
    /// As a consumer.
    pub grip: Grip<'m>,
    land: &'m Land,
    at: usize,
}

/// One of the two ways to get a message.
#[derive(Debug)]
enum Got {
    Copied(u64),
    Held(Held),
}

impl Worker<'_> {
    /// Begins as a lone producer.
    pub fn begin_alone(&mut self) {
        let tail = self.ring.segment_of_tail();
        let reach = self.segments.reach_of(&self.arena, tail, self.grip.line());
        self.ring.begin_alone(&mut self.hand, reach);
    }

    /// Puts `value` into a slot. False: there is no place, no memory, or the queue was shut down.
    pub fn push(&mut self, value: u64) -> bool {
        loop {
            match self.ring.push(&mut self.hand, &value.to_ne_bytes()) {
                Ok(Pushed::Done { attention }) => {
                    self.wake_consumer(attention);
                    return true;
                }
                Ok(Pushed::Full | Pushed::Shut) => return false,
                Ok(Pushed::Elsewhere { segment }) => {
                    if !self.install(segment) {
                        return false;
                    }
                }
                Err(corrupt) => panic!("{corrupt:?}"),
            }
        }
    }

    /// Puts `values` into slots, some at once, until there is no place or no memory. Says how many that were.
    pub fn push_run(&mut self, values: &[u64]) -> usize {
        let bytes: Vec<_> = values.iter().map(|value| value.to_ne_bytes()).collect();
        let mut put = 0;
        while put < bytes.len() {
            let pushed = self.ring.push_run(&mut self.hand, &bytes[put..]);
            match pushed.expect("nothing is corrupt") {
                (count, Pushed::Done { attention }) => {
                    put += count;
                    self.wake_consumer(attention);
                }
                (_, Pushed::Full | Pushed::Shut) => break,
                (_, Pushed::Elsewhere { segment }) => {
                    if !self.install(segment) {
                        break;
                    }
                }
            }
        }
        put
    }

    fn wake_consumer(&self, attention: Attention) {
        Want::items(&self.land.items).wake(&self.ring, attention);
    }

    /// Claims the next ticket; its message is yet to come.
    pub fn claim(&mut self) -> Claimed {
        loop {
            match self.ring.claim(&mut self.hand) {
                Ok(Claim::Claimed(claimed)) => return claimed,
                Ok(Claim::Refused(Refusal::Elsewhere { segment })) => {
                    assert!(self.install(segment))
                }
                other => panic!("not claimed: {other:?}"),
            }
        }
    }

    /// As a producer, sees the slots of `segment`, in which it has claimed a ticket.
    pub fn resume(&mut self, segment: u64) {
        assert!(self.install(segment), "a claimed ticket keeps its segment");
    }

    /// As a producer, sees the slots of `segment`, which it installs if nobody has. False: no memory.
    pub fn install(&mut self, segment: u64) -> bool {
        match self.segments.install(&self.arena, segment, self.at) {
            Ok(reach) => {
                if let Some(reach) = reach {
                    self.hand.move_to(reach);
                }
                true
            }
            Err(NoMemory { .. }) => false,
        }
    }

    /// Gets a message, passing over at most `passes` tickets on the way; `None` if there is none.
    pub fn pop_passing(&self, passes: usize) -> Option<u64> {
        match self.get(passes)? {
            Got::Copied(value) => Some(value),
            Got::Held(held) => {
                let value = self.read(&held);
                self.let_go(&held);
                Some(value)
            }
        }
    }

    /// Takes values until there is none. Was that the end?
    pub fn take_all(&self) -> (Vec<u64>, bool) {
        let (mut got, mut look) = (Vec::new(), None);
        loop {
            if let Some(value) = self.pop_passing(usize::MAX) {
                got.push(value);
                continue;
            }
            if !self.ring.is_shut() {
                return (got, false);
            }
            if look.take().is_some_and(|look| self.ring.ends(&look)) {
                return (got, true);
            }
            look = self.ring.look_for_end().expect("fences are granted");
            if look.is_none() {
                return (got, true);
            }
        }
    }

    /// The same, passing over at most one ticket.
    pub fn pop(&self) -> Option<u64> {
        self.pop_passing(1)
    }

    /// Takes at most two values at once, of one segment, or one as it comes.
    pub fn pop_run(&self) -> Vec<u64> {
        let mut bytes = [0; 2 * MESSAGE];
        let mut lens = [0; 2];
        let Some(run) = self.ring.pop_run(&self.grip, &mut bytes, &mut lens) else {
            return self.pop().into_iter().collect();
        };
        self.wake_producer(run.attention);
        let values = bytes.chunks_exact(MESSAGE).take(run.count);
        values.map(|value| u64::from_ne_bytes(value.try_into().expect("eight bytes"))).collect()
    }

    /// Takes a message outside the slots.
    pub fn hold(&self, passes: usize) -> Option<Held> {
        match self.get(passes)? {
            Got::Held(held) => Some(held),
            Got::Copied(value) => panic!("{value} was in a slot"),
        }
    }

    fn get(&self, mut passes: usize) -> Option<Got> {
        let mut bytes = [0; MESSAGE];
        loop {
            match self.ring.pop(&self.grip, &mut bytes, MESSAGE).expect("nothing is corrupt") {
                Taken::Message { len, attention } => {
                    assert_eq!(len, MESSAGE, "a message was torn");
                    self.wake_producer(attention);
                    return Some(Got::Copied(u64::from_ne_bytes(bytes)));
                }
                Taken::Reference { attention } => {
                    self.wake_producer(attention);
                    let Reference { len, block, offset } = self.grip.reference();
                    assert_eq!(len, MESSAGE as u64, "a reference was torn");
                    return Some(Got::Held(Held { block: Block::named(block), offset }));
                }
                Taken::Overtaken { block } => {
                    self.arena.done_with(Block::named(block), self.at);
                }
                Taken::Empty => return None,
                Taken::Elsewhere { segment } if !self.enter(segment) => return None,
                Taken::Elsewhere { .. } => {}
                Taken::Stalled(_) if passes == 0 => return None,
                Taken::Stalled(stalled) => {
                    passes -= 1;
                    let passed = self.ring.pass(&self.grip, stalled).expect("fences are granted");
                    self.wake_producer(passed);
                }
                other => panic!("a message was torn: {other:?}"),
            }
        }
    }

    fn wake_producer(&self, attention: Attention) {
        Want::room(&self.land.room).wake(&self.ring, attention);
    }

    /// Takes a value, parking until there is one. Passes over nothing.
    pub fn pop_parking(&self) -> u64 {
        let want = Want::items(&self.land.items);
        let ready = || self.ring.is_ready(&self.grip);
        want.until_done(&self.ring, ready, || self.pop_passing(0))
    }

    /// The ticket at the head, which was claimed and is not published.
    pub fn stalled(&self) -> Stalled {
        loop {
            match self.ring.pop(&self.grip, &mut [0; MESSAGE], MESSAGE) {
                Ok(Taken::Stalled(stalled)) => return stalled,
                Ok(Taken::Elsewhere { segment }) => assert!(self.enter(segment)),
                other => panic!("not stalled: {other:?}"),
            }
        }
    }

    /// As a consumer, leaves.
    pub fn leave(&self) {
        self.ring.settle(self.grip.line());
    }

    /// As a consumer, goes to another segment. False: nobody has put anything there.
    fn enter(&self, segment: u64) -> bool {
        match self.segments.enter(&self.arena, segment, self.grip.line()) {
            Ok(reach) => {
                let before = self.grip.reach().first();
                self.grip.move_to(reach);
                if let Some(ticket) = before {
                    let left = self.ring.segment_of(ticket);
                    self.segments.leave(&self.arena, left, self.at);
                }
                true
            }
            Err(Unmapped::Missing) => !self.ring.is_untouched(),
            Err(Unmapped::Over) => {
                let before = self.grip.reach().first();
                self.grip.move_to(Reach::nothing());
                self.segments.unpin(self.grip.line());
                let left = before.map(|ticket| self.ring.segment_of(ticket));
                for left in left.into_iter().chain([segment]) {
                    self.segments.leave(&self.arena, left, self.at);
                }
                true
            }
        }
    }

    /// Reads a message that is held.
    pub fn read(&self, held: &Held) -> u64 {
        let letter = self.land.letter(held.block, held.offset);
        // SAFETY: loom has checked that nobody writes meanwhile.
        letter.0.with(|value| unsafe { *value })
    }

    /// Lets go of it.
    pub fn let_go(&self, held: &Held) {
        self.grip.let_go();
        self.arena.done_with(held.block, self.at);
    }

    /// Claims a block, and lays `value` into it. `None`: there is none.
    pub fn lay(&self, value: u64) -> Option<Block> {
        let block = self.arena.claim(PAYLOADS, BLOCK, self.at).ok()?;
        self.lay_into(block, 0, value);
        Some(block)
    }

    /// Lays another into a block that is ours.
    pub fn lay_into(&self, block: Block, offset: u64, value: u64) {
        let letter = self.land.letter(block, offset);
        // SAFETY: loom has checked that nobody reads or writes meanwhile.
        letter.0.with_mut(|place| unsafe { *place = value });
    }

    /// Puts what was laid there. False: there is no place.
    pub fn refer(&mut self, block: Block, offset: u64) -> bool {
        let reference = Reference { len: MESSAGE as u64, block: block.name(), offset };
        let cover = |ticket| self.arena.cover(block, ticket);
        match self.ring.push_reference(&mut self.hand, reference, cover) {
            Ok(Pushed::Done { attention }) => {
                self.wake_consumer(attention);
                true
            }
            Ok(Pushed::Full) => false,
            other => panic!("not put: {other:?}"),
        }
    }

    /// Puts what was laid there, parking until there is a place.
    pub fn refer_parking(&mut self, block: Block, offset: u64) {
        let (ring, land) = (self.ring, self.land);
        let ready = || ring.has_places();
        let attempt = || self.refer(block, offset).then_some(());
        Want::room(&land.room).until_done(&ring, ready, attempt);
    }

    /// Nothing more comes into a block that is ours.
    pub fn retire(&self, block: Block) {
        if !self.arena.close(block, self.at) {
            self.arena.give_back(block, self.at);
        }
    }

    /// Puts `value` outside the slots. False: there is no block, or no place.
    pub fn push_laid(&mut self, value: u64) -> bool {
        let Some(block) = self.lay(value) else { return false };
        let done = self.refer(block, 0);
        if !done {
            self.arena.clear(block);
        }
        self.retire(block);
        done
    }
}
