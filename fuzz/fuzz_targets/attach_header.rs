//! Hostile bytes: whatever is in a segment, attaching fails or gives a queue whose operations end,
//! without a panic, without an access out of bounds, without an overflow.
//!
//! Random bytes never get past the magic, so most inputs begin as a valid segment of a small shape
//! and change single words of it, to values that mean something there.

#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, SealFlags};
use shmq_engine::{Consumer, Fences, Options, Producer, Queue, Role};

const OPERATIONS_MAX: usize = 24;
const CHANGES_MAX: usize = 24;
/// Waiting takes a millisecond each time.
const WAITS_MAX: usize = 1;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    base: Base<'a>,
    changes: Vec<Change>,
    cut: Option<u16>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Base<'a> {
    Bytes(&'a [u8]),
    Valid(Shape),
}

/// A segment that has been used as intended.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    kind: Kind,
    pushes: Small,
    pops: Small,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    capacity: Small,
    lines: Small,
    message: Message,
    one_producer: bool,
    one_consumer: bool,
    full_fences: bool,
}

/// 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Small(u8);

impl<'a> Arbitrary<'a> for Small {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(u.int_in_range(0..=3)?))
    }
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    None,
    Short,
    /// Copied by another routine.
    Long,
}

impl Message {
    fn max(self) -> usize {
        match self {
            Self::None => 0,
            Self::Short => 24,
            Self::Long => 300,
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Change {
    place: Place,
    value: Value,
}

/// Words of a segment; indices wrap.
#[derive(Arbitrary, Debug)]
enum Place {
    Header(u8),
    Attention,
    Tail,
    Head,
    Gate(bool),
    Sole(bool),
    Line { line: u8, word: Small },
    MarkState(u8),
    MarkBase(u8),
    Seq(u8),
    Length(u8),
    Anywhere(u16),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Is(u64),
    Plus(i8),
    Flip(u8),
    Small(u8),
    /// A number with flags below it: a mark, or attention.
    Packed {
        above: u8,
        below: u8,
    },
    /// Who occupies a line: its process is us, init, or nobody.
    Participant {
        process: Process,
        started: u8,
        world: Small,
        side: bool,
    },
    /// Near the most that a ticket may be.
    Last(u8),
}

#[derive(Arbitrary, Debug)]
enum Process {
    Own,
    Init,
    Nobody,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Producer,
    Consumer,
    Push { of: u8, len: u16 },
    Pop { of: u8, buffer: u16 },
    PushWaiting { of: u8 },
    PopWaiting { of: u8 },
    Ask,
    DropProducer,
    DropConsumer,
}

/// Word offsets of a segment's parts; see engine/src/layout/mod.rs.
const ATTENTION: usize = 128 / 8;
const TAIL: usize = 256 / 8;
const HEAD: usize = 384 / 8;
const GATES: [usize; 2] = [512 / 8, 640 / 8];
const SOLES: usize = 768 / 8;
const LINES: usize = 1024 / 8;

fuzz_target!(|input: Input<'_>| {
    let mut bytes = match input.base {
        Base::Bytes(bytes) => bytes.to_vec(),
        Base::Valid(shape) => valid(shape),
    };
    for change in input.changes.iter().take(CHANGES_MAX) {
        apply(change, &mut bytes);
    }
    if let Some(cut) = input.cut {
        bytes.truncate(cut.into());
    }
    let queue = Queue::from_fd(sealed(&bytes));
    if let Ok(queue) = queue {
        operate(&queue, &input.operations);
    }
});

/// The bytes of a valid segment, made once.
fn valid(shape: Shape) -> Vec<u8> {
    thread_local! {
        static MADE: RefCell<HashMap<Shape, Vec<u8>>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| made.entry(shape).or_insert_with(|| make(shape)).clone())
}

fn make(Shape { kind, pushes, pops }: Shape) -> Vec<u8> {
    let role = |one| if one { Role::One } else { Role::Many };
    let queue = Options::new(usize::from(kind.capacity.0) + 1)
        .message_max(kind.message.max())
        .participants(usize::from(kind.lines.0) + 1)
        .producers(role(kind.one_producer))
        .consumers(role(kind.one_consumer))
        .fences(if kind.full_fences { Fences::Full } else { Fences::Asymmetric })
        .create_anonymous()
        .expect("a small queue can be made");
    let mut producer = queue.producer().expect("the first one");
    for _ in 0..pushes.0 {
        _ = producer.try_push(&[7; 300][..kind.message.max()]);
    }
    drop(producer);
    let mut consumer = queue.consumer().expect("the first one");
    for _ in 0..pops.0 {
        _ = consumer.try_pop(&mut [0; 300]);
    }
    // Still attached, so that a line has an identity.
    let fd = queue.as_fd().expect("anonymous queues have a descriptor");
    let len = rustix::fs::fstat(fd).expect("it is open").st_size;
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    let read = rustix::io::pread(fd, &mut bytes[..], 0).expect("it can be read");
    assert_eq!(read, bytes.len());
    bytes
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at * 8..at * 8 + 8);
    word.map_or(0, |word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
}

fn apply(change: &Change, bytes: &mut [u8]) {
    // What the header says by now, kept small.
    let header = |at, most: u64| (word(bytes, at) % most) as usize;
    let slots = header(5, 1 << 12).max(1);
    let stride = header(6, 1 << 12).max(8) / 8;
    let lines = header(8, 1 << 12).max(1);
    let marks_at = LINES + lines * 16;
    let slots_at = (marks_at + slots * 2).next_multiple_of(16);
    let at = match change.place {
        Place::Header(at) => usize::from(at) % 16,
        Place::Attention => ATTENTION,
        Place::Tail => TAIL,
        Place::Head => HEAD,
        Place::Gate(second) => GATES[usize::from(second)],
        Place::Sole(second) => SOLES + usize::from(second),
        Place::Line { line, word: Small(word) } => {
            LINES + usize::from(line) % lines * 16 + usize::from(word)
        }
        Place::MarkState(slot) => marks_at + usize::from(slot) % slots * 2,
        Place::MarkBase(slot) => marks_at + usize::from(slot) % slots * 2 + 1,
        Place::Seq(slot) => slots_at + usize::from(slot) % slots * stride,
        Place::Length(slot) => slots_at + usize::from(slot) % slots * stride + 1,
        Place::Anywhere(at) => at.into(),
    };
    let new = value(&change.value, word(bytes, at));
    if let Some(place) = bytes.get_mut(at * 8..at * 8 + 8) {
        place.copy_from_slice(&new.to_ne_bytes());
    }
}

fn value(value: &Value, old: u64) -> u64 {
    match *value {
        Value::Is(new) => new,
        Value::Plus(by) => old.wrapping_add_signed(by.into()),
        Value::Flip(bit) => old ^ 1 << (bit % 64),
        Value::Small(new) => new.into(),
        Value::Packed { above, below } => u64::from(above) << 3 | u64::from(below % 8),
        Value::Participant { ref process, started, world: Small(world), side } => {
            let pid = match process {
                Process::Own => std::process::id(),
                Process::Init => 1,
                Process::Nobody => (1 << 22) - 1,
            };
            u64::from(started) << 28
                | u64::from(world) << 23
                | u64::from(side) << 22
                | u64::from(pid)
        }
        Value::Last(below) => (1 << 61) - u64::from(below),
    }
}

/// A descriptor as one could receive it.
fn sealed(bytes: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("shmq-fuzz", flags).expect("a memory file");
    let written = rustix::io::pwrite(&fd, bytes, 0).expect("memory");
    assert_eq!(written, bytes.len());
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).expect("it is ours");
    fd
}

fn operate(queue: &Queue, operations: &[Operation]) {
    let mut producers: Vec<Producer> = Vec::new();
    let mut consumers: Vec<Consumer> = Vec::new();
    let mut buffer = [0; 512];
    let mut waits = 0;
    producers.extend(queue.producer());
    consumers.extend(queue.consumer());
    for operation in operations.iter().take(OPERATIONS_MAX) {
        match *operation {
            Operation::Producer => producers.extend(queue.producer()),
            Operation::Consumer => consumers.extend(queue.consumer()),
            Operation::Push { of, len } => {
                let message = &[9; 512][..usize::from(len) % 512];
                if let Some(producer) = pick(&mut producers, of) {
                    _ = producer.try_push(message);
                }
            }
            Operation::Pop { of, buffer: len } => {
                if let Some(consumer) = pick(&mut consumers, of)
                    && let Ok(len) = consumer.try_pop(&mut buffer[..usize::from(len) % 512])
                {
                    assert!(len <= queue.message_max());
                }
            }
            Operation::PushWaiting { of } if waits < WAITS_MAX => {
                waits += 1;
                if let Some(producer) = pick(&mut producers, of) {
                    _ = producer.push_timeout(&[], Duration::from_millis(1));
                }
            }
            Operation::PopWaiting { of } if waits < WAITS_MAX => {
                waits += 1;
                if let Some(consumer) = pick(&mut consumers, of) {
                    _ = consumer.pop_timeout(&mut buffer, Duration::from_millis(1));
                }
            }
            Operation::PushWaiting { .. } | Operation::PopWaiting { .. } => {}
            Operation::Ask => {
                assert!(queue.len() <= queue.capacity());
                _ = (queue.is_empty(), queue.is_full(), queue.uuid(), format!("{queue:?}"));
            }
            Operation::DropProducer => _ = producers.pop(),
            Operation::DropConsumer => _ = consumers.pop(),
        }
    }
}

fn pick<T>(handles: &mut [T], of: u8) -> Option<&mut T> {
    let at = usize::from(of).checked_rem(handles.len())?;
    handles.get_mut(at)
}
