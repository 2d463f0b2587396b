//! One thread, any sequence of operations: the queue does what a `VecDeque` with a limit and an end does.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;
use shmq_engine::{
    Consumer, CreateError, Fences, Options, PopError, Producer, PushError, Queue, Role,
};

/// Where messages lie, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In slots that hold the longest.
    Whole,
    /// In slots if they are short, else in blocks.
    ByReference,
    /// The same, in a queue without a bound, of 64 slots to a segment.
    Growing,
}

#[derive(Clone, Debug)]
enum Op {
    Push(Vec<u8>),
    PushTimeout(Vec<u8>),
    PushMany(u8, Vec<u8>),
    /// So many words, as values.
    PushWords(u8),
    Loan(Vec<u8>),
    LoanDropped(usize),
    Pop,
    PopTimeout,
    PopRef,
    PopMany(u8),
    PopWords(u8),
    PopIntoTooSmall,
    Drain,
    Clear,
    Reattach,
    ShutDown,
}

fn op(message_max: usize) -> impl Strategy<Value = Op> {
    let short = prop::collection::vec(any::<u8>(), 0..=(message_max + 2).min(300));
    let any = (0..=message_max + 2, any::<u8>());
    let any = any.prop_map(|(len, first)| (0..len).map(|at| first ^ (at * 31) as u8).collect());
    let message = prop_oneof![3 => short, 1 => any];
    prop_oneof![
        6 => message.clone().prop_map(Op::Push),
        1 => message.clone().prop_map(Op::PushTimeout),
        2 => (1..90_u8, message.clone()).prop_map(|(count, message)| Op::PushMany(count, message)),
        2 => (1..90_u8).prop_map(Op::PushWords),
        1 => message.prop_map(Op::Loan),
        1 => (0..=message_max).prop_map(Op::LoanDropped),
        6 => Just(Op::Pop),
        1 => Just(Op::PopTimeout),
        2 => Just(Op::PopRef),
        2 => (1..90_u8).prop_map(Op::PopMany),
        2 => (1..90_u8).prop_map(Op::PopWords),
        1 => Just(Op::PopIntoTooSmall),
        1 => Just(Op::Drain),
        1 => Just(Op::Clear),
        1 => Just(Op::Reattach),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    capacity: usize,
    message_max: usize,
    roles: (Role, Role),
    fences: Fences,
    ops: Vec<Op>,
}

fn case() -> impl Strategy<Value = Case> {
    let role = prop_oneof![Just(Role::One), Just(Role::Many)];
    let usual = Options::new(1).create_heap().unwrap().fences();
    let fences = prop_oneof![Just(usual), Just(Fences::Full)];
    // 300 bytes: of several lines. 3,000: of slots in one piece, where copies are string instructions.
    let sizes = prop_oneof![
        (
            Just(Kind::Whole),
            1..=9_usize,
            prop_oneof![Just(0_usize), 1..=48_usize, Just(300), Just(3000)]
        ),
        (Just(Kind::ByReference), 1..=9_usize, prop_oneof![Just(1000_usize), Just(300_000)]),
        (Just(Kind::Growing), Just(usize::MAX), prop_oneof![Just(48_usize), Just(70_000)]),
    ];
    (sizes, (role.clone(), role), fences).prop_flat_map(
        |((kind, capacity, message_max), roles, fences)| {
            let ops = || prop::collection::vec(op(message_max), 0..150);
            (ops(), ops()).prop_map(move |(before, after)| Case {
                kind,
                capacity,
                message_max,
                roles,
                fences,
                ops: before.into_iter().chain([Op::ShutDown]).chain(after).collect(),
            })
        },
    )
}

fn create(case: &Case) -> Queue {
    let options = match case.kind {
        Kind::Whole => Options::new(case.capacity),
        Kind::ByReference => Options::new(case.capacity).inline(16),
        Kind::Growing => Options::unbounded().inline(3000),
    };
    options
        .message_max(case.message_max)
        .max_bytes(1 << 28)
        .participants(3)
        .producers(case.roles.0)
        .consumers(case.roles.1)
        .fences(case.fences)
        .create_heap()
        .unwrap()
}

/// What the queue must do.
#[derive(Default)]
struct Model {
    messages: VecDeque<Vec<u8>>,
    is_shut: bool,
}

impl Model {
    fn pop(&mut self) -> Result<Vec<u8>, PopError> {
        self.messages.pop_front().ok_or(self.nothing())
    }

    /// What a get says that finds nothing.
    fn nothing(&self) -> PopError {
        if self.is_shut { PopError::ShutDown } else { PopError::Empty }
    }
}

/// What a push of these bytes must say, and do to the model.
fn expected_push(
    case: &Case,
    Model { messages: model, is_shut }: &mut Model,
    message: &[u8],
) -> Result<(), PushError> {
    if *is_shut {
        Err(PushError::ShutDown)
    } else if message.len() > case.message_max {
        Err(PushError::TooLarge { len: message.len(), max: case.message_max })
    } else if model.len() == case.capacity {
        Err(PushError::Full)
    } else {
        model.push_back(message.to_vec());
        Ok(())
    }
}

/// The same for several, of one length, as many as it takes of them.
fn expected_push_many(
    case: &Case,
    model: &mut Model,
    messages: &[&Vec<u8>],
) -> Result<usize, PushError> {
    let mut done = 0;
    for message in messages {
        match expected_push(case, model, message) {
            Ok(()) => done += 1,
            Err(PushError::Full) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

struct Sides {
    producer: Producer,
    consumer: Consumer,
    buffer: Vec<u8>,
}

impl Sides {
    fn attach(queue: &Queue, case: &Case) -> Self {
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        Self { producer, consumer, buffer: vec![0; case.message_max] }
    }

    fn pop(&mut self) -> Result<Vec<u8>, PopError> {
        let Self { consumer, buffer, .. } = self;
        consumer.try_pop(buffer).map(|len| buffer[..len].to_vec())
    }

    fn loan(&mut self, message: &[u8]) -> Result<(), PushError> {
        let mut loan = self.producer.reserve(message.len())?;
        loan.write_all(message).unwrap();
        loan.try_commit().map_err(|uncommitted| uncommitted.error)
    }

    /// Does it, and the same to the model.
    fn do_op(&mut self, case: &Case, model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
        let Self { producer, consumer, buffer } = self;
        match op {
            Op::Push(message) => {
                let expected = expected_push(case, model, message);
                prop_assert_eq!(producer.try_push(message), expected);
            }
            Op::PushTimeout(message) => {
                let expected = expected_push(case, model, message);
                let pushed = producer.push_timeout(message, Duration::from_nanos(1));
                prop_assert_eq!(pushed, expected);
            }
            Op::PushMany(count, message) => {
                let all = vec![message; (*count).into()];
                let expected = expected_push_many(case, model, &all);
                prop_assert_eq!(producer.try_push_many(&all), expected);
            }
            Op::PushWords(count) => {
                let words: Vec<_> = (0..u64::from(*count)).map(|at| at * 0x0101_0101).collect();
                let all: Vec<_> = words.iter().map(|word| word.to_ne_bytes().to_vec()).collect();
                let expected = expected_push_many(case, model, &all.iter().collect::<Vec<_>>());
                prop_assert_eq!(producer.try_push_values(&words), expected);
            }
            Op::Loan(message) => {
                let expected = expected_push(case, model, message);
                prop_assert_eq!(self.loan(message), expected);
            }
            Op::LoanDropped(len) => {
                let reserved = producer.reserve(*len).map(drop);
                prop_assert_eq!(
                    reserved,
                    if model.is_shut { Err(PushError::ShutDown) } else { Ok(()) }
                );
            }
            Op::Pop => prop_assert_eq!(self.pop(), model.pop()),
            Op::PopTimeout => {
                let popped = consumer.pop_timeout(buffer, Duration::from_nanos(1));
                let got = popped.map(|len| buffer[..len].to_vec());
                prop_assert_eq!(got, model.pop());
            }
            Op::PopRef => {
                let got = consumer.try_pop_ref().map(|message| message.to_vec());
                prop_assert_eq!(got, model.pop());
            }
            Op::PopMany(count) => {
                let mut got = Vec::new();
                let many = consumer.try_pop_many((*count).into(), |one| got.push(one.to_vec()));
                let there = model.messages.len().min((*count).into());
                let expected: Vec<_> = model.messages.drain(..there).collect();
                prop_assert_eq!(many, if there == 0 { Err(model.nothing()) } else { Ok(there) });
                prop_assert_eq!(got, expected);
            }
            Op::PopWords(count) => {
                let mut words = vec![0_u64; (*count).into()];
                let got = consumer.try_pop_values(&mut words);
                let words = words.iter().map(|word| word.to_ne_bytes().to_vec());
                let there = model.messages.iter().take_while(|message| message.len() == 8).count();
                match got {
                    Ok(got) => {
                        let all = there.min((*count).into());
                        // Up to the end of a segment; one by one, if slots are shorter, or at the end of the queue.
                        let is_whole = case.kind != Kind::Growing && !model.is_shut;
                        let least = if is_whole && case.message_max >= 8 { all } else { 1 };
                        prop_assert!((least..=all).contains(&got), "{got} of {all}");
                        let expected: Vec<_> = model.messages.drain(..got).collect();
                        prop_assert_eq!(words.take(got).collect::<Vec<_>>(), expected);
                    }
                    Err(PopError::NotAValue { len, size: 8 }) => {
                        prop_assert_ne!(len, 8);
                        prop_assert_eq!(model.pop().map(|message| message.len()), Ok(len));
                    }
                    Err(error) => prop_assert_eq!(Err(error), model.pop()),
                }
            }
            Op::PopIntoTooSmall => {
                if let Some(front) = model.messages.front().filter(|front| !front.is_empty()) {
                    let len = front.len();
                    let popped = consumer.try_pop(&mut buffer[..len - 1]);
                    prop_assert_eq!(popped, Err(PopError::TooSmall { len }));
                }
            }
            Op::Drain => {
                let drained: Result<Vec<_>, _> = consumer.drain().collect();
                prop_assert_eq!(drained, Ok(model.messages.drain(..).collect()));
            }
            Op::Clear => {
                prop_assert_eq!(consumer.clear(), Ok(model.messages.len()));
                model.messages.clear();
            }
            Op::Reattach | Op::ShutDown => unreachable!("done by who has the queue"),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_what_a_deque_does(case in case()) {
        let queue = create(&case);
        let mut sides = Sides::attach(&queue, &case);
        let mut model = Model::default();
        for op in &case.ops {
            match op {
                Op::Reattach => {
                    drop(sides);
                    sides = Sides::attach(&queue, &case);
                }
                Op::ShutDown => {
                    prop_assert!(queue.shut_down());
                    model.is_shut = true;
                }
                _ => sides.do_op(&case, &mut model, op)?,
            }
            let len = model.messages.len();
            prop_assert_eq!(queue.len(), len);
            prop_assert_eq!(queue.is_empty(), len == 0);
            prop_assert_eq!(queue.is_full(), len == case.capacity);
        }
    }
}

#[test]
fn an_exclusive_side_is_refused_while_its_holder_lives_and_free_after() {
    let queue = Options::new(2).producers(Role::One).consumers(Role::One).create_heap().unwrap();
    let producer = queue.producer().unwrap();
    let error = queue.producer().unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(producer);
    let mut producer = queue.producer().unwrap();
    producer.push(b"x").unwrap();
    let _consumer = queue.consumer().unwrap();
    // A refused attach takes nothing from the holder.
    assert!(queue.consumer().is_err());
    assert!(queue.consumer().is_err());
}

#[test]
fn lines_run_out_with_an_error_and_come_back() {
    let queue = Options::new(2).participants(2).create_heap().unwrap();
    let first = queue.producer().unwrap();
    let _second = queue.consumer().unwrap();
    let error = queue.consumer().unwrap_err().to_string();
    assert!(error.contains("all 2 participants"), "{error}");
    drop(first);
    queue.consumer().unwrap();
}

#[test]
fn options_out_of_range_name_value_and_range() {
    let error = Options::new(0).create_heap().unwrap_err().to_string();
    assert_eq!(error, "capacity is 0; it must be in 1..=1073741824");
    let error = Options::new(1).participants(5000).create_heap().unwrap_err().to_string();
    assert_eq!(error, "participants is 5000; it must be in 1..=4096");
    let error = Options::new(1).message_max(usize::MAX).create_heap().unwrap_err().to_string();
    assert!(error.starts_with("message_max is 18446744073709551615"), "{error}");
}

#[test]
fn a_queue_beyond_memory_is_an_error() {
    let huge = Options::new(1 << 30).inline(1 << 20);
    let error = huge.create_anonymous().unwrap_err().to_string();
    assert!(error.contains("bytes and"), "{error}");
}

/// A handle in a message of a failed test says which queue it is of, not all that is in its memory.
#[test]
fn a_handle_is_shown_in_a_line() {
    for options in [Options::new(3), Options::unbounded()] {
        let queue = options.create_anonymous().unwrap();
        let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        producer.push(&[7; 5000]).unwrap();
        let message = consumer.pop_ref().unwrap();
        let loan = producer.reserve(5000).unwrap();
        for shown in [format!("{queue:?}"), format!("{message:?}"), format!("{loan:?}")] {
            assert!(shown.len() < 500, "{} bytes: {}", shown.len(), &shown[..200]);
        }
    }
}

/// What says which bytes to put is asked before anything is claimed.
#[test]
fn who_panics_or_changes_its_mind_in_the_middle_of_several_claims_nothing() {
    struct Fickle<'a>(&'a std::cell::Cell<u32>, u32);
    impl AsRef<[u8]> for Fickle<'_> {
        fn as_ref(&self) -> &[u8] {
            self.0.set(self.0.get() + 1);
            assert!(self.1 != 3, "on purpose");
            &[7; 1000][..if self.0.get() > 8 { 1000 } else { 8 }]
        }
    }
    for producers in [Role::Many, Role::One] {
        let queue = Options::new(16).inline(48).producers(producers).create_heap().unwrap();
        let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        let asked = std::cell::Cell::new(0);
        let messages = |many: u32| (0..many).map(|at| Fickle(&asked, at)).collect::<Vec<_>>();
        let panics = std::panic::AssertUnwindSafe(|| producer.try_push_many(&messages(8)));
        std::panic::catch_unwind(panics).unwrap_err();
        assert!(queue.is_empty());
        asked.set(6);
        assert_eq!(producer.try_push_many(&messages(3)), Ok(3));
        for _ in 0..3 {
            let message = consumer.try_pop_ref().unwrap().to_vec();
            assert!(message == [7; 8] || message == [7; 1000], "{message:?}");
        }
        producer.push(b"on we go").unwrap();
        assert_eq!(consumer.try_pop(&mut [0; 48]), Ok(8));
    }
}

/// On a machine that promises any memory it is made; it does not abort.
#[test]
fn a_heap_that_is_too_small_is_an_error() {
    let made = Options::new(1 << 30).message_max(8_000).create_heap();
    assert!(matches!(made, Ok(_) | Err(CreateError::Memory { .. })), "{made:?}");
}
