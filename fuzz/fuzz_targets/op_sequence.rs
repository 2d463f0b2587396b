//! Any sequence of operations of one thread, through several handles, against a `VecDeque`.

#![no_main]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmq_engine::{
    AttachError, Consumer, Fences, Limit, Options, PopError, Producer, PushError, Queue, Role,
};

const OPERATIONS_MAX: usize = 200;
/// Waiting in vain takes a millisecond each time.
const WAITS_MAX: usize = 1;
const IN_SLOTS_MAX: usize = 400;
/// Beyond the blocks in which small payloads are collected.
const LEN_MAX: usize = 70_000;
/// Messages put together, or some times as many; values got together, and their bytes.
const SEVERAL: usize = 5;
const VALUE: usize = 8;
/// What there may be none of, of an unbounded queue.
const NO_MEMORY: PushError = PushError::NoMemory { needed: 0, limit: Limit::MaxBytes };
/// An unbounded queue is never full.
const FILL_MAX: usize = 100;
const MAX_BYTES: usize = 4 << 20;
/// With fewer messages than this, whatever their sizes, there must be memory for one more: a message
/// keeps at most the block it lies in, or a segment.
const MODEST: usize = 16;

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    participants: u8,
    one_producer: bool,
    one_consumer: bool,
    full_fences: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    /// Every message lies in its slot.
    InSlots {
        capacity: u8,
        message_max: u16,
    },
    /// Some, or all, lie in the arena.
    ByReference {
        capacity: u8,
        inline: u16,
        message_max: Option<u16>,
    },
    Unbounded {
        inline: u16,
        in_slots: bool,
    },
}

impl Kind {
    fn options(&self) -> Options {
        let places = |capacity: u8| Options::new(usize::from(capacity % 9) + 1);
        match *self {
            Self::InSlots { capacity, message_max } => {
                places(capacity).message_max(usize::from(message_max) % IN_SLOTS_MAX)
            }
            Self::ByReference { capacity, inline, message_max } => {
                let inline = usize::from(inline) % IN_SLOTS_MAX;
                let options = places(capacity).inline(inline).max_bytes(MAX_BYTES);
                match message_max {
                    Some(more) => options.message_max(inline + usize::from(more)),
                    None => options,
                }
            }
            Self::Unbounded { inline, in_slots } => {
                let inline = usize::from(inline) % IN_SLOTS_MAX;
                let options = Options::unbounded().inline(inline).max_bytes(MAX_BYTES);
                if in_slots { options.message_max(inline) } else { options }
            }
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Len {
    Tiny(u8),
    Small(u16),
    Any(u32),
}

impl Len {
    fn bytes(self) -> usize {
        match self {
            Self::Tiny(len) => len.into(),
            Self::Small(len) => usize::from(len) % 2048,
            Self::Any(len) => len as usize % (LEN_MAX + 1),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Producer,
    Consumer,
    DropProducer(u8),
    DropConsumer(u8),
    Push {
        of: u8,
        len: Len,
    },
    /// As often as it takes.
    Fill {
        of: u8,
        len: Len,
    },
    /// While the loan is there, others do the next few operations.
    Loan {
        of: u8,
        len: Len,
        meanwhile: u8,
        fate: Fate,
    },
    Pop {
        of: u8,
        buffer: Len,
    },
    PopVec {
        of: u8,
    },
    /// While the message is held, others do the next few operations.
    PopRef {
        of: u8,
        meanwhile: u8,
        read: bool,
    },
    /// As often as it takes.
    Drain {
        of: u8,
    },
    PushMany {
        of: u8,
        lens: [Len; SEVERAL],
        times: u8,
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
    PushWaiting {
        of: u8,
        len: Len,
    },
    PopWaiting {
        of: u8,
    },
    /// Seldom, for little happens afterwards.
    ShutDown {
        really: u8,
    },
}

/// What becomes of a loan.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fate {
    Committed,
    /// Written in pieces of so many bytes.
    Pieces(u8),
    Timed,
    Dropped,
}

/// The queue, its handles, and what should be in it.
struct Pair {
    queue: Queue,
    participants: usize,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// Handles with a loan, or a message, that are in neither list.
    lending: usize,
    reading: usize,
    model: VecDeque<Vec<u8>>,
    is_shut: bool,
    pushed: u64,
    waits: usize,
}

fuzz_target!(|input: Input| {
    let role = |one| if one { Role::One } else { Role::Many };
    let participants = usize::from(input.participants % 6) + 1;
    let queue = input
        .kind
        .options()
        .participants(participants)
        .producers(role(input.one_producer))
        .consumers(role(input.one_consumer))
        .fences(if input.full_fences { Fences::Full } else { Fences::Asymmetric })
        .create_heap()
        .expect("a small queue can be made");
    let mut pair = Pair {
        queue,
        participants,
        producers: Vec::new(),
        consumers: Vec::new(),
        lending: 0,
        reading: 0,
        model: VecDeque::new(),
        is_shut: false,
        pushed: 0,
        waits: 0,
    };
    pair.attach_producer();
    pair.attach_consumer();
    let operations = &input.operations[..input.operations.len().min(OPERATIONS_MAX)];
    pair.apply_all(&mut operations.iter(), usize::MAX);
});

type Operations<'a> = std::slice::Iter<'a, Operation>;

impl Pair {
    fn apply_all(&mut self, operations: &mut Operations<'_>, most: usize) {
        for _ in 0..most {
            let Some(operation) = operations.next() else { return };
            self.apply(operation, operations);
            self.compare();
        }
    }

    fn apply(&mut self, operation: &Operation, next: &mut Operations<'_>) {
        match *operation {
            Operation::Producer => self.attach_producer(),
            Operation::Consumer => self.attach_consumer(),
            Operation::DropProducer(of) => {
                pick(&self.producers, of).map(|at| self.producers.swap_remove(at));
            }
            Operation::DropConsumer(of) => {
                pick(&self.consumers, of).map(|at| self.consumers.swap_remove(at));
            }
            Operation::Push { of, len } => _ = self.push(of, len.bytes()),
            Operation::Fill { of, len } => {
                let len = len.bytes().min(self.queue.message_max());
                _ = (0..FILL_MAX).all(|_| self.push(of, len));
            }
            Operation::Loan { of, len, meanwhile, fate } => {
                self.lend(of, len.bytes(), fate, next, usize::from(meanwhile % 8));
            }
            Operation::Pop { of, buffer } => _ = self.pop(of, buffer.bytes()),
            Operation::PopVec { of } => self.pop_vec(of),
            Operation::PopRef { of, meanwhile, read } => {
                self.pop_ref(of, read, next, usize::from(meanwhile % 8));
            }
            Operation::Drain { of } => while self.pop(of, LEN_MAX) {},
            Operation::PushMany { of, lens, times } => self.push_many(of, lens, times),
            Operation::PopMany { of, most } => self.pop_many(of, most.into()),
            Operation::PopValues { of } => self.pop_values(of),
            Operation::Clear { of } => self.clear(of),
            Operation::PushWaiting { of, len } => self.push_waiting(of, len.bytes()),
            Operation::PopWaiting { of } => self.pop_waiting(of),
            Operation::ShutDown { really } if really % 8 == 0 => {
                assert_eq!(self.queue.shut_down(), !self.is_shut);
                self.is_shut = true;
            }
            Operation::ShutDown { .. } => {}
        }
    }

    fn compare(&self) {
        assert_eq!(self.queue.len(), self.model.len());
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        assert_eq!(self.queue.is_full(), self.is_full());
        assert_eq!(self.queue.participants(), self.handles());
        let resident = self.queue.resident_bytes();
        assert!(resident <= self.queue.max_bytes() as u64, "{resident} bytes");
    }

    fn handles(&self) -> usize {
        self.producers.len() + self.consumers.len() + self.lending + self.reading
    }

    fn is_full(&self) -> bool {
        self.model.len() == self.queue.capacity()
    }

    fn is_crowded(&self) -> bool {
        self.handles() == self.participants
    }

    fn attach_producer(&mut self) {
        let one = self.queue.roles().0 == Role::One;
        let taken = one && self.producers.len() + self.lending > 0;
        let attached = self.queue.producer();
        let attached = self.expect_attached(attached, taken);
        self.producers.extend(attached);
    }

    fn attach_consumer(&mut self) {
        let one = self.queue.roles().1 == Role::One;
        let taken = one && self.consumers.len() + self.reading > 0;
        let attached = self.queue.consumer();
        let attached = self.expect_attached(attached, taken);
        self.consumers.extend(attached);
    }

    fn expect_attached<T>(&self, tried: Result<T, AttachError>, taken: bool) -> Option<T> {
        match tried {
            Ok(handle) => {
                assert!(!taken && !self.is_crowded(), "attached beside the one, or without a line");
                Some(handle)
            }
            Err(AttachError::Crowded { lines }) => {
                assert!(self.is_crowded() && lines == self.participants);
                None
            }
            Err(AttachError::Taken { pid, .. }) => {
                assert!(taken && pid == std::process::id());
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A message that tells all others apart, as far as it is long enough.
    fn message(&mut self, len: usize) -> Vec<u8> {
        self.pushed += 1;
        let mut bytes = self.pushed.to_ne_bytes().repeat(len.div_ceil(8));
        bytes.truncate(len);
        bytes
    }

    /// How a put of `len` bytes must end, but for a lack of memory.
    fn expected(&self, len: usize) -> Result<(), PushError> {
        let max = self.queue.message_max();
        if self.is_shut {
            Err(PushError::ShutDown)
        } else if len > max {
            Err(PushError::TooLarge { len, max })
        } else if self.is_full() {
            Err(PushError::Full)
        } else {
            Ok(())
        }
    }

    /// True if it was put.
    fn expect_put(
        &mut self,
        put: Result<(), PushError>,
        expected: Result<(), PushError>,
        message: Vec<u8>,
    ) -> bool {
        if self.is_lacking(put) {
            return false;
        }
        assert_eq!(put, expected);
        if expected.is_ok() {
            self.model.push_back(message);
        }
        expected.is_ok()
    }

    /// Was there no memory, and may that be?
    fn is_lacking<T>(&self, put: Result<T, PushError>) -> bool {
        let lacking = matches!(put, Err(PushError::NoMemory { .. }));
        let much = self.queue.capacity() == usize::MAX && self.model.len() >= MODEST;
        assert!(!lacking || much, "no memory beside {} messages", self.model.len());
        lacking
    }

    /// True if it was put.
    fn push(&mut self, of: u8, len: usize) -> bool {
        let Some(at) = pick(&self.producers, of) else {
            return false;
        };
        let message = self.message(len);
        let expected = self.expected(len);
        let put = self.producers[at].try_push(&message);
        self.expect_put(put, expected, message)
    }

    fn push_many(&mut self, of: u8, lens: [Len; SEVERAL], times: u8) {
        let Some(at) = pick(&self.producers, of) else {
            return;
        };
        let lens = lens.map(Len::bytes).repeat(usize::from(times) % 20);
        let messages: Vec<_> = lens.into_iter().map(|len| self.message(len)).collect();
        let Some(first) = messages.first() else { return };
        let (places, max) = (self.queue.capacity() - self.model.len(), self.queue.message_max());
        let fit = messages.iter().take(places).take_while(|message| message.len() <= max).count();
        let expected = self.expected(first.len());
        match self.producers[at].try_push_many(&messages) {
            Ok(put) if put > 0 => {
                assert!(put <= fit, "{put} messages were put, and {fit} fit");
                self.model.extend(messages.into_iter().take(put));
                if put < fit {
                    _ = self.is_lacking::<()>(Err(NO_MEMORY));
                }
            }
            Ok(put) => assert_eq!((put, expected), (0, Err(PushError::Full))),
            Err(error) if self.is_lacking::<()>(Err(error)) => {}
            Err(error) => assert_eq!(Err(error), expected),
        }
    }

    fn pop_many(&mut self, of: u8, most: usize) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        let mut got = Vec::new();
        let popped = self.consumers[at].try_pop_many(most, |message| got.push(message.to_vec()));
        if most > 0 && self.model.is_empty() {
            assert_eq!(popped, Err(self.nothing()));
            return;
        }
        assert_eq!(popped, Ok(most.min(self.model.len())));
        assert!(self.model.drain(..got.len()).eq(got), "other messages");
    }

    fn pop_values(&mut self, of: u8) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        let mut values = [[0_u8; VALUE]; SEVERAL];
        match (self.consumers[at].try_pop_values(&mut values), self.model.front()) {
            (Err(error), None) => assert_eq!(error, self.nothing()),
            (Err(error), Some(first)) => {
                assert_eq!(error, PopError::NotAValue { len: first.len(), size: VALUE });
                self.model.pop_front();
            }
            (Ok(count), _) => {
                assert!(count > 0);
                assert!(self.model.drain(..count).eq(values[..count].iter()), "other values");
            }
        }
    }

    fn clear(&mut self, of: u8) {
        if let Some(at) = pick(&self.consumers, of) {
            assert_eq!(self.consumers[at].clear(), Ok(self.model.len()));
            self.model.clear();
        }
    }

    fn lend(
        &mut self,
        of: u8,
        len: usize,
        fate: Fate,
        next: &mut Operations<'_>,
        meanwhile: usize,
    ) {
        let Some(at) = pick(&self.producers, of) else {
            return;
        };
        let mut producer = self.producers.swap_remove(at);
        self.lending += 1;
        self.lend_by(&mut producer, len, fate, next, meanwhile);
        self.lending -= 1;
        self.producers.push(producer);
    }

    fn lend_by(
        &mut self,
        producer: &mut Producer,
        len: usize,
        fate: Fate,
        next: &mut Operations<'_>,
        meanwhile: usize,
    ) {
        let message = self.message(len);
        let reserved = producer.reserve(len);
        let max = self.queue.message_max();
        if self.is_shut {
            assert_eq!(reserved.err(), Some(PushError::ShutDown));
            return;
        }
        if len > max {
            assert_eq!(reserved.err(), Some(PushError::TooLarge { len, max }));
            return;
        }
        let mut loan = match reserved {
            Ok(loan) => loan,
            Err(error) => {
                assert!(self.is_lacking::<()>(Err(error)), "{error}");
                return;
            }
        };
        assert_eq!(loan.len(), len);
        let half = len / 2;
        assert_eq!(loan.copy_from(half, &message), len - half);
        self.apply_all(next, meanwhile);
        match fate {
            Fate::Pieces(bytes) => {
                for piece in message.chunks(usize::from(bytes) + 1) {
                    loan.write_all(piece).expect("it fits");
                }
            }
            _ => assert_eq!(loan.copy_from(0, &message), len),
        }
        assert_eq!(loan.copy_from(len, &message), 0);
        let expected = self.expected(len);
        let done = match fate {
            Fate::Dropped => return,
            Fate::Timed if expected.is_ok() => loan.commit_timeout(Duration::from_millis(1)),
            _ => loan.try_commit(),
        };
        let put = done.map_err(|uncommitted| uncommitted.error);
        self.expect_put(put, expected, message);
    }

    /// How a get ends that finds nothing.
    fn nothing(&self) -> PopError {
        if self.is_shut { PopError::ShutDown } else { PopError::Empty }
    }

    /// True if a message was got.
    fn pop(&mut self, of: u8, room: usize) -> bool {
        let Some(at) = pick(&self.consumers, of) else {
            return false;
        };
        let mut buffer = vec![0; room];
        let popped = self.consumers[at].try_pop(&mut buffer);
        match self.model.front() {
            None => assert_eq!(popped, Err(self.nothing())),
            Some(first) if first.len() > room => {
                assert_eq!(popped, Err(PopError::TooSmall { len: first.len() }));
            }
            Some(first) => {
                assert_eq!(popped, Ok(first.len()));
                assert!(buffer[..first.len()] == first[..], "another message");
                self.model.pop_front();
                return true;
            }
        }
        false
    }

    fn pop_vec(&mut self, of: u8) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        // It would wait for ever.
        let Some(first) = self.model.pop_front() else { return };
        let mut buffer = vec![1; 3];
        assert_eq!(self.consumers[at].pop_vec(&mut buffer), Ok(()));
        assert!(buffer == first, "another message");
    }

    fn pop_ref(&mut self, of: u8, read: bool, next: &mut Operations<'_>, meanwhile: usize) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        let mut consumer = self.consumers.swap_remove(at);
        self.reading += 1;
        match consumer.try_pop_ref() {
            Err(error) => assert!(error == self.nothing() && self.model.is_empty(), "{error}"),
            Ok(mut message) => {
                let first = self.model.pop_front().expect("a message came from nowhere");
                assert_eq!(message.len(), first.len());
                self.apply_all(next, meanwhile);
                if read {
                    let mut bytes = Vec::new();
                    message.read_to_end(&mut bytes).expect("it has an end");
                    assert!(bytes == first, "another message");
                    assert!(message.to_vec() == first, "another message");
                }
            }
        }
        self.reading -= 1;
        self.consumers.push(consumer);
    }

    fn push_waiting(&mut self, of: u8, len: usize) {
        let Some(at) = pick(&self.producers, of) else {
            return;
        };
        if self.is_full() && self.waits == WAITS_MAX {
            return;
        }
        self.waits += usize::from(self.is_full());
        let len = len.min(self.queue.message_max());
        let (message, expected) = (self.message(len), self.expected(len));
        let put = self.producers[at].push_timeout(&message, Duration::from_millis(1));
        self.expect_put(put, expected, message);
    }

    fn pop_waiting(&mut self, of: u8) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        if self.model.is_empty() && self.waits == WAITS_MAX {
            return;
        }
        let mut buffer = vec![0; LEN_MAX];
        let popped = self.consumers[at].pop_timeout(&mut buffer, Duration::from_millis(1));
        match self.model.pop_front() {
            None => {
                self.waits += 1;
                assert_eq!(popped, Err(self.nothing()));
            }
            Some(first) => {
                assert_eq!(popped, Ok(first.len()));
                assert!(buffer[..first.len()] == first[..], "another message");
            }
        }
    }
}

fn pick<T>(handles: &[T], of: u8) -> Option<usize> {
    usize::from(of).checked_rem(handles.len())
}
