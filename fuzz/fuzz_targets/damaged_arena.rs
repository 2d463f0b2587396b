//! Hostile bytes in a queue with an arena, before anybody attaches and while operations go on:
//! whatever is there, operations end, without a panic, without an access out of bounds.
//!
//! The segment is sparse: only what is not zero is kept and written again.

#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom};
use shmq_engine::{Consumer, Fences, Options, Producer, Queue, Role};

const OPERATIONS_MAX: usize = 24;
const CHANGES_MAX: usize = 16;
/// Waiting takes a millisecond each time.
const WAITS_MAX: usize = 1;
const MAX_BYTES: usize = 1 << 20;
const PAGE: usize = 4096;
const LINES: usize = 3;
/// Longer than any message that was put.
const BUFFER: usize = 100_000;

#[derive(Arbitrary, Debug)]
struct Input {
    shape: Shape,
    changes: Vec<Change>,
    operations: Vec<Operation>,
}

/// A segment that has been used as intended.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    kind: Kind,
    history: History,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    unbounded: bool,
    /// Do messages lie in slots only?
    in_slots: bool,
    one_producer: bool,
    one_consumer: bool,
    full_fences: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum History {
    New,
    /// Some messages, of all classes.
    Some,
    /// Many, so that blocks and segments are on their second use.
    Much,
}

#[derive(Arbitrary, Debug)]
struct Change {
    place: Place,
    value: Value,
}

/// Words of a segment; indices wrap.
#[derive(Arbitrary, Debug)]
enum Place {
    Attention,
    Tail,
    Head,
    Line { line: u8, word: u8 },
    Class { class: u8, word: u8 },
    Directory(u8),
    State { class: u8, block: u8 },
    Extent { class: u8, block: u8, word: u8 },
    Mark { block: u8, slot: u8, word: u8 },
    Slot { block: u8, slot: u8, word: u8 },
    Anywhere(u32),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Is(u64),
    Plus(i8),
    Flip(u8),
    Small(u8),
    /// Beyond any number of blocks, or bytes.
    Many(u32),
    /// A number with flags below it: a state, a mark, or attention.
    Packed {
        above: u8,
        bits: u8,
        below: u8,
    },
    /// A directory entry, or the name of a block.
    Pair {
        above: u8,
        bits: u8,
        below: u8,
    },
    /// The length of a message that lies elsewhere.
    Reference(u32),
    /// Near the most that a ticket may be.
    Last(u8),
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Producer,
    Consumer,
    Push {
        of: u8,
        len: Len,
    },
    Loan {
        of: u8,
        len: Len,
        commit: bool,
        change: Option<Change>,
    },
    Pop {
        of: u8,
        buffer: Len,
    },
    PopVec {
        of: u8,
    },
    PopRef {
        of: u8,
        change: Option<Change>,
    },
    PushMany {
        of: u8,
        lens: [Len; 3],
    },
    PopMany {
        of: u8,
        most: u8,
    },
    PopValues {
        of: u8,
    },
    Clear {
        of: u8,
    },
    ShutDown,
    PushWaiting {
        of: u8,
        len: Len,
    },
    PopWaiting {
        of: u8,
    },
    Ask,
    Recover,
    DropProducer,
    DropConsumer,
    /// Somebody writes there now.
    Change(Change),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Len {
    Tiny(u8),
    Any(u16),
    Large(u32),
}

impl Len {
    fn bytes(self) -> usize {
        match self {
            Self::Tiny(len) => len.into(),
            Self::Any(len) => len.into(),
            Self::Large(len) => len as usize % BUFFER,
        }
    }
}

fuzz_target!(|input: Input| {
    let image = used(input.shape);
    let fd = image.file();
    for change in input.changes.iter().take(CHANGES_MAX) {
        image.apply(change, fd.as_fd());
    }
    if let Ok(queue) = Queue::from_fd(fd) {
        operate(&queue, &image, &input.operations);
    }
});

/// Where the parts of a segment are; see engine/src/layout.
#[derive(Debug, Default)]
struct Parts {
    lines_at: usize,
    classes_at: usize,
    marks_at: usize,
    slots_at: usize,
    slots: usize,
    slot_bytes: usize,
    directory_at: usize,
    classes: Vec<Class>,
    total: usize,
}

/// Bytes of what is shared about a class.
const CLASS_BYTES: usize = 1024;

#[derive(Debug)]
struct Class {
    bytes: usize,
    blocks: usize,
    states_at: usize,
    extents_at: usize,
    blocks_at: usize,
}

impl Parts {
    /// By the header of a valid segment.
    fn of(header: &[u64]) -> Self {
        let [total, capacity, slots, slot_bytes, message_max, lines] =
            [3, 4, 5, 6, 7, 8].map(|at| header[at] as usize);
        let [inline_max, max_bytes] = [13, 14].map(|at| header[at] as usize);
        let mut parts = Self { lines_at: 1024, slots, slot_bytes, ..Self::default() };
        parts.classes_at = parts.lines_at + lines * 128;
        parts.marks_at = parts.classes_at + 16 * CLASS_BYTES;
        let bounded_slots = if capacity == 0 { 0 } else { slots };
        parts.slots_at = (parts.marks_at + bounded_slots * 16).next_multiple_of(128);
        let fixed = parts.slots_at + bounded_slots * slot_bytes;
        parts.total = fixed.next_multiple_of(PAGE);
        parts.directory_at = parts.total;
        let mut sizes = Vec::new();
        if capacity == 0 {
            let bytes = (slots * (16 + slot_bytes)).next_multiple_of(PAGE);
            let blocks = max_bytes / bytes + lines + 2;
            sizes.push((bytes, blocks));
            parts.take((blocks + 2).next_power_of_two().max(1 << 14) * 8);
        } else {
            sizes.push((PAGE, 0));
        }
        let longest = message_max.min(max_bytes);
        let mut bytes = 1 << 16;
        let mut is_more = message_max > inline_max;
        while is_more {
            sizes.push((bytes, (4 * max_bytes / bytes).max(1)));
            is_more = bytes < longest;
            bytes *= 4;
        }
        for (bytes, blocks) in sizes {
            let states_at = parts.take(blocks * 8);
            let extents_at = parts.take(blocks * 32);
            let blocks_at = parts.take(blocks * bytes);
            parts.classes.push(Class { bytes, blocks, states_at, extents_at, blocks_at });
        }
        assert_eq!(parts.total, total, "the layout is another than this file says");
        parts
    }

    fn take(&mut self, bytes: usize) -> usize {
        let at = self.total;
        self.total += bytes.next_multiple_of(PAGE);
        at
    }

    fn class(&self, class: u8) -> &Class {
        &self.classes[usize::from(class) % self.classes.len()]
    }

    /// Where `place` is, in bytes.
    fn find(&self, place: &Place) -> usize {
        let index = |of: u8, many: usize| usize::from(of) % many.max(1);
        match *place {
            Place::Attention => 128,
            Place::Tail => 256,
            Place::Head => 384,
            Place::Line { line, word } => {
                self.lines_at + index(line, LINES) * 128 + index(word, 5) * 8
            }
            Place::Class { class, word } => {
                self.classes_at
                    + index(class, self.classes.len()) * CLASS_BYTES
                    + index(word, CLASS_BYTES / 8) * 8
            }
            Place::Directory(at) => self.directory_at + index(at, 1 << 14) * 8,
            Place::State { class, block } => {
                let class = self.class(class);
                class.states_at + index(block, class.blocks) * 8
            }
            Place::Extent { class, block, word } => {
                let class = self.class(class);
                class.extents_at + index(block, class.blocks) * 32 + index(word, 4) * 8
            }
            Place::Mark { block, slot, word } => {
                let (marks_at, _) = self.ring(block);
                marks_at + index(slot, self.slots) * 16 + index(word, 2) * 8
            }
            Place::Slot { block, slot, word } => {
                let (_, slots_at) = self.ring(block);
                slots_at + index(slot, self.slots) * self.slot_bytes + index(word, 8) * 8
            }
            Place::Anywhere(at) => (at as usize % self.total) & !7,
        }
    }

    /// Marks and slots of the queue, or of one of its segments.
    fn ring(&self, block: u8) -> (usize, usize) {
        let segments = &self.classes[0];
        if segments.blocks == 0 {
            return (self.marks_at, self.slots_at);
        }
        let at = segments.blocks_at + usize::from(block) % segments.blocks * segments.bytes;
        (at, at + self.slots * 16)
    }
}

/// What is in a segment's file, and where.
#[derive(Debug)]
struct Image {
    parts: Parts,
    /// The pages that are not zero.
    pages: Vec<(usize, Vec<u8>)>,
}

impl Image {
    /// Of the segment behind `fd`.
    fn of(fd: BorrowedFd<'_>) -> Self {
        let mut header = [0; 128];
        assert_eq!(rustix::io::pread(fd, &mut header, 0).expect("it can be read"), 128);
        let words: Vec<u64> = header
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
            .collect();
        let mut pages = Vec::new();
        let mut from = 0;
        while let Ok(start) = rustix::fs::seek(fd, SeekFrom::Data(from)) {
            let end = rustix::fs::seek(fd, SeekFrom::Hole(start)).expect("a file ends in a hole");
            for at in (start..end).step_by(PAGE) {
                let mut page = vec![0; PAGE];
                let read = rustix::io::pread(fd, &mut page[..], at).expect("it can be read");
                page.truncate(read);
                if page.iter().any(|&byte| byte != 0) {
                    pages.push((at as usize, page));
                }
            }
            from = end;
        }
        Self { parts: Parts::of(&words), pages }
    }

    /// The same as one could receive it.
    fn file(&self) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("shmq-fuzz", flags).expect("a memory file");
        rustix::fs::ftruncate(&fd, self.parts.total as u64).expect("it is sparse");
        for (at, page) in &self.pages {
            let written = rustix::io::pwrite(&fd, page, *at as u64).expect("memory");
            assert_eq!(written, page.len());
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).expect("it is ours");
        fd
    }

    fn apply(&self, change: &Change, fd: BorrowedFd<'_>) {
        let at = self.parts.find(&change.place) as u64;
        let mut old = [0; 8];
        if rustix::io::pread(fd, &mut old, at) == Ok(old.len()) {
            let new = value(&change.value, u64::from_ne_bytes(old));
            _ = rustix::io::pwrite(fd, &new.to_ne_bytes(), at);
        }
    }
}

fn value(value: &Value, old: u64) -> u64 {
    match *value {
        Value::Is(new) => new,
        Value::Plus(by) => old.wrapping_add_signed(by.into()),
        Value::Flip(bit) => old ^ 1 << (bit % 64),
        Value::Small(new) => new.into(),
        Value::Many(new) => new.into(),
        Value::Packed { above, bits, below } => {
            (u64::from(above) << (bits % 4)) | u64::from(below % 8)
        }
        Value::Pair { above, bits, below } => {
            let bits = if bits % 2 == 0 { 24 } else { 32 };
            (u64::from(above) << bits) | u64::from(below)
        }
        // Of a slot's second word: a reference, and the other half.
        Value::Reference(other) => (u64::from(other) << 32) | u64::from(u32::MAX),
        Value::Last(below) => (1 << 61) - u64::from(below),
    }
}

/// A segment of that shape, made once.
fn used(shape: Shape) -> Rc<Image> {
    thread_local! {
        static MADE: RefCell<HashMap<Shape, Rc<Image>>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| Rc::clone(made.entry(shape).or_insert_with(|| make(shape))))
}

fn make(Shape { kind, history }: Shape) -> Rc<Image> {
    let role = |one| if one { Role::One } else { Role::Many };
    let options = if kind.unbounded { Options::unbounded() } else { Options::new(6) };
    let options = if kind.in_slots && kind.unbounded { options.message_max(48) } else { options };
    let queue = options
        .inline(48)
        .max_bytes(MAX_BYTES)
        .participants(LINES)
        .producers(role(kind.one_producer))
        .consumers(role(kind.one_consumer))
        .fences(if kind.full_fences { Fences::Full } else { Fences::Asymmetric })
        .create_anonymous()
        .expect("a small queue can be made");
    let mut producer = queue.producer().expect("the first one");
    let mut consumer = queue.consumer().expect("the first one");
    let message = vec![7; 70_000];
    let rounds = match history {
        History::New => 0,
        History::Some => 1,
        History::Much => 700,
    };
    for round in 0..rounds {
        for len in [10, 100, 1000, if round % 100 == 0 { 70_000 } else { 9 }] {
            let len = len.min(queue.message_max());
            producer.try_push(&message[..len]).expect("there is room");
        }
        if round + 1 < rounds {
            let mut buffer = Vec::new();
            for _ in 0..4 {
                consumer.pop_vec(&mut buffer).expect("a message");
            }
        }
    }
    // Both still attached, so that lines have identities and blocks a holder.
    Rc::new(Image::of(queue.as_fd().expect("anonymous queues have a descriptor")))
}

/// Whoever is attached.
#[derive(Debug, Default)]
struct Crew {
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    buffer: Vec<u8>,
    waits: usize,
}

fn operate(queue: &Queue, image: &Image, operations: &[Operation]) {
    let mut crew = Crew { buffer: vec![9; BUFFER], ..Crew::default() };
    crew.producers.extend(queue.producer());
    crew.consumers.extend(queue.consumer());
    for operation in operations.iter().take(OPERATIONS_MAX) {
        crew.apply(queue, image, operation);
    }
}

impl Crew {
    fn apply(&mut self, queue: &Queue, image: &Image, operation: &Operation) {
        let damage = |change: &Change| {
            image.apply(change, queue.as_fd().expect("it came with a descriptor"));
        };
        match operation {
            Operation::Producer => self.producers.extend(queue.producer()),
            Operation::Consumer => self.consumers.extend(queue.consumer()),
            Operation::Push { of, len } => {
                let message = &self.buffer[..len.bytes()];
                if let Some(producer) = pick(&mut self.producers, *of) {
                    _ = producer.try_push(message);
                }
            }
            Operation::Loan { of, len, commit, change } => {
                if let Some(producer) = pick(&mut self.producers, *of)
                    && let Ok(mut loan) = producer.reserve(len.bytes())
                {
                    loan.copy_from(0, &self.buffer);
                    change.iter().for_each(damage);
                    loan.copy_from(7, &self.buffer);
                    if *commit {
                        _ = loan.try_commit();
                    }
                }
            }
            Operation::PopRef { of, change } => {
                if let Some(consumer) = pick(&mut self.consumers, *of)
                    && let Ok(mut message) = consumer.try_pop_ref()
                {
                    assert!(message.len() <= queue.message_max());
                    change.iter().for_each(damage);
                    _ = message.read(&mut self.buffer);
                    _ = message.to_vec();
                }
            }
            Operation::Change(change) => damage(change),
            Operation::Ask => {
                assert!(queue.len() <= queue.capacity());
                _ = (queue.is_empty(), queue.is_full(), queue.uuid(), format!("{queue:?}"));
                _ = (queue.participants(), queue.resident_bytes());
            }
            Operation::ShutDown => _ = queue.shut_down(),
            Operation::Recover => _ = queue.recover(),
            Operation::DropProducer => _ = self.producers.pop(),
            Operation::DropConsumer => _ = self.consumers.pop(),
            other => self.pop_or_wait(other),
        }
    }

    fn pop_or_wait(&mut self, operation: &Operation) {
        let wait = Duration::from_millis(1);
        match *operation {
            Operation::Pop { of, buffer } => {
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    _ = consumer.try_pop(&mut self.buffer[..buffer.bytes()]);
                }
            }
            // Otherwise it might wait for ever.
            Operation::PopVec { of } => {
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    _ = consumer.pop_ref_timeout(Duration::ZERO).map(|message| message.to_vec());
                }
            }
            Operation::PushMany { of, lens } => {
                let messages = lens.map(|len| &self.buffer[..len.bytes()]);
                if let Some(producer) = pick(&mut self.producers, of) {
                    _ = producer.try_push_many(&messages.repeat(8));
                }
            }
            Operation::PopMany { of, most } => {
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    let mut bytes = 0;
                    _ = consumer.try_pop_many(most.into(), |message| bytes += message.len());
                }
            }
            Operation::PopValues { of } => {
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    _ = consumer.try_pop_values(&mut [[0_u8; 10]; 9]);
                }
            }
            Operation::Clear { of } => {
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    _ = consumer.clear();
                }
            }
            Operation::PushWaiting { of, len } if self.waits < WAITS_MAX => {
                self.waits += 1;
                if let Some(producer) = pick(&mut self.producers, of) {
                    _ = producer.push_timeout(&self.buffer[..len.bytes()], wait);
                }
            }
            Operation::PopWaiting { of } if self.waits < WAITS_MAX => {
                self.waits += 1;
                if let Some(consumer) = pick(&mut self.consumers, of) {
                    _ = consumer.pop_timeout(&mut self.buffer, wait);
                }
            }
            _ => {}
        }
    }
}

fn pick<T>(handles: &mut [T], of: u8) -> Option<&mut T> {
    let at = usize::from(of).checked_rem(handles.len())?;
    handles.get_mut(at)
}
