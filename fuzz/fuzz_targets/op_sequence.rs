//! Any sequence of operations of one thread, through several handles, against a `VecDeque`.

#![no_main]

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shmq_engine::{
    AttachError, Consumer, Fences, Options, PopError, Producer, PushError, Queue, Role,
};

const OPERATIONS_MAX: usize = 200;
/// Waiting in vain takes a millisecond each time.
const WAITS_MAX: usize = 1;
const LEN_MAX: usize = 400;

#[derive(Arbitrary, Debug)]
struct Input {
    capacity: u8,
    message_max: u16,
    participants: u8,
    one_producer: bool,
    one_consumer: bool,
    full_fences: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Producer,
    Consumer,
    DropProducer(u8),
    DropConsumer(u8),
    Push {
        of: u8,
        len: u16,
    },
    /// As often as it takes.
    Fill {
        of: u8,
    },
    Pop {
        of: u8,
        buffer: u16,
    },
    /// As often as it takes.
    Drain {
        of: u8,
    },
    PushWaiting {
        of: u8,
    },
    PopWaiting {
        of: u8,
    },
}

/// The queue, its handles, and what should be in it.
struct Pair {
    queue: Queue,
    participants: usize,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    model: VecDeque<Vec<u8>>,
    pushed: u64,
    waits: usize,
}

fuzz_target!(|input: Input| {
    let role = |one| if one { Role::One } else { Role::Many };
    let participants = usize::from(input.participants % 6) + 1;
    let queue = Options::new(usize::from(input.capacity % 9) + 1)
        .message_max(usize::from(input.message_max) % LEN_MAX)
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
        model: VecDeque::new(),
        pushed: 0,
        waits: 0,
    };
    pair.attach_producer();
    pair.attach_consumer();
    for operation in input.operations.iter().take(OPERATIONS_MAX) {
        pair.apply(operation);
        pair.compare();
    }
});

impl Pair {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Producer => self.attach_producer(),
            Operation::Consumer => self.attach_consumer(),
            Operation::DropProducer(of) => {
                pick(&self.producers, of).map(|at| self.producers.swap_remove(at));
            }
            Operation::DropConsumer(of) => {
                pick(&self.consumers, of).map(|at| self.consumers.swap_remove(at));
            }
            Operation::Push { of, len } => _ = self.push(of, usize::from(len) % LEN_MAX),
            Operation::Fill { of } => while self.push(of, self.queue.message_max()) {},
            Operation::Pop { of, buffer } => _ = self.pop(of, usize::from(buffer) % LEN_MAX),
            Operation::Drain { of } => while self.pop(of, LEN_MAX) {},
            Operation::PushWaiting { of } => self.push_waiting(of),
            Operation::PopWaiting { of } => self.pop_waiting(of),
        }
    }

    fn compare(&self) {
        assert_eq!(self.queue.len(), self.model.len());
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        assert_eq!(self.queue.is_full(), self.model.len() == self.queue.capacity());
    }

    fn is_crowded(&self) -> bool {
        self.producers.len() + self.consumers.len() == self.participants
    }

    fn attach_producer(&mut self) {
        let taken = self.queue.roles().0 == Role::One && !self.producers.is_empty();
        let attached = self.queue.producer();
        let attached = self.expect_attached(attached, taken);
        self.producers.extend(attached);
    }

    fn attach_consumer(&mut self) {
        let taken = self.queue.roles().1 == Role::One && !self.consumers.is_empty();
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
        self.pushed.to_ne_bytes().into_iter().cycle().take(len).collect()
    }

    /// True if it was put.
    fn push(&mut self, of: u8, len: usize) -> bool {
        let Some(at) = pick(&self.producers, of) else {
            return false;
        };
        let message = self.message(len);
        let max = self.queue.message_max();
        let expected = if len > max {
            Err(PushError::TooLarge { len, max })
        } else if self.model.len() == self.queue.capacity() {
            Err(PushError::Full)
        } else {
            Ok(())
        };
        assert_eq!(self.producers[at].try_push(&message), expected);
        if expected.is_ok() {
            self.model.push_back(message);
        }
        expected.is_ok()
    }

    /// True if a message was got.
    fn pop(&mut self, of: u8, room: usize) -> bool {
        let Some(at) = pick(&self.consumers, of) else {
            return false;
        };
        let mut buffer = vec![0; room];
        let popped = self.consumers[at].try_pop(&mut buffer);
        match self.model.front() {
            None => assert_eq!(popped, Err(PopError::Empty)),
            Some(first) if first.len() > room => {
                assert_eq!(popped, Err(PopError::TooSmall { len: first.len() }));
            }
            Some(first) => {
                assert_eq!(popped, Ok(first.len()));
                assert_eq!(buffer[..first.len()], first[..]);
                self.model.pop_front();
                return true;
            }
        }
        false
    }

    fn push_waiting(&mut self, of: u8) {
        let Some(at) = pick(&self.producers, of) else {
            return;
        };
        let is_full = self.model.len() == self.queue.capacity();
        if is_full && self.waits == WAITS_MAX {
            return;
        }
        self.waits += usize::from(is_full);
        let message = self.message(self.queue.message_max());
        let pushed = self.producers[at].push_timeout(&message, Duration::from_millis(1));
        if is_full {
            assert_eq!(pushed, Err(PushError::Full));
        } else {
            assert_eq!(pushed, Ok(()));
            self.model.push_back(message);
        }
    }

    fn pop_waiting(&mut self, of: u8) {
        let Some(at) = pick(&self.consumers, of) else {
            return;
        };
        if self.model.is_empty() && self.waits == WAITS_MAX {
            return;
        }
        let mut buffer = [0; LEN_MAX];
        let popped = self.consumers[at].pop_timeout(&mut buffer, Duration::from_millis(1));
        match self.model.pop_front() {
            None => {
                self.waits += 1;
                assert_eq!(popped, Err(PopError::Empty));
            }
            Some(first) => {
                assert_eq!(popped, Ok(first.len()));
                assert_eq!(buffer[..first.len()], first[..]);
            }
        }
    }
}

fn pick<T>(handles: &[T], of: u8) -> Option<usize> {
    usize::from(of).checked_rem(handles.len())
}
