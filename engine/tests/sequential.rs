//! One thread, any sequence of operations: the queue does what a `VecDeque` with a limit does.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use shmq_engine::{Fences, Options, PopError, PushError, Queue, Role};

#[derive(Clone, Debug)]
enum Op {
    Push(Vec<u8>),
    PushTimeout(Vec<u8>),
    Pop,
    PopTimeout,
    PopIntoTooSmall,
    Reattach,
}

fn op(message_max: usize) -> impl Strategy<Value = Op> {
    let message = prop::collection::vec(any::<u8>(), 0..=message_max + 2);
    prop_oneof![
        6 => message.clone().prop_map(Op::Push),
        1 => message.prop_map(Op::PushTimeout),
        6 => Just(Op::Pop),
        1 => Just(Op::PopTimeout),
        1 => Just(Op::PopIntoTooSmall),
        1 => Just(Op::Reattach),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    capacity: usize,
    message_max: usize,
    roles: (Role, Role),
    fences: Fences,
    ops: Vec<Op>,
}

fn case() -> impl Strategy<Value = Case> {
    let role = prop_oneof![Just(Role::One), Just(Role::Many)];
    let fences = prop_oneof![Just(Fences::Asymmetric), Just(Fences::Full)];
    // 300 bytes: past the point where copies become string instructions.
    let sizes = (1..=9_usize, prop_oneof![Just(0_usize), 1..=48_usize, Just(300)]);
    (sizes, (role.clone(), role), fences).prop_flat_map(
        |((capacity, message_max), roles, fences)| {
            prop::collection::vec(op(message_max), 1..200).prop_map(move |ops| Case {
                capacity,
                message_max,
                roles,
                fences,
                ops,
            })
        },
    )
}

fn create(case: &Case) -> Queue {
    Options::new(case.capacity)
        .message_max(case.message_max)
        .participants(3)
        .producers(case.roles.0)
        .consumers(case.roles.1)
        .fences(case.fences)
        .create_heap()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_what_a_bounded_deque_does(case in case()) {
        let queue = create(&case);
        let mut producer = queue.producer().unwrap();
        let mut consumer = queue.consumer().unwrap();
        let mut model = VecDeque::<Vec<u8>>::new();
        let mut buffer = vec![0; case.message_max];
        for op in &case.ops {
            match op {
                Op::Push(message) | Op::PushTimeout(message) => {
                    let expected = if message.len() > case.message_max {
                        Err(PushError::TooLarge { len: message.len(), max: case.message_max })
                    } else if model.len() == case.capacity {
                        Err(PushError::Full)
                    } else {
                        model.push_back(message.clone());
                        Ok(())
                    };
                    let timed = matches!(op, Op::PushTimeout(_));
                    let pushed = if timed {
                        producer.push_timeout(message, Duration::from_nanos(1))
                    } else {
                        producer.try_push(message)
                    };
                    prop_assert_eq!(pushed, expected);
                }
                Op::Pop | Op::PopTimeout => {
                    let popped = if matches!(op, Op::PopTimeout) {
                        consumer.pop_timeout(&mut buffer, Duration::from_nanos(1))
                    } else {
                        consumer.try_pop(&mut buffer)
                    };
                    let got = popped.map(|len| buffer[..len].to_vec());
                    prop_assert_eq!(got, model.pop_front().ok_or(PopError::Empty));
                }
                Op::PopIntoTooSmall => {
                    let Some(front) = model.front().filter(|front| !front.is_empty()) else {
                        continue;
                    };
                    let len = front.len();
                    let popped = consumer.try_pop(&mut buffer[..len - 1]);
                    prop_assert_eq!(popped, Err(PopError::TooSmall { len }));
                }
                Op::Reattach => {
                    drop(producer);
                    drop(consumer);
                    producer = queue.producer().unwrap();
                    consumer = queue.consumer().unwrap();
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.is_full(), model.len() == case.capacity);
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
    let huge = Options::new(1 << 30).message_max(1 << 20);
    let error = huge.create_anonymous().unwrap_err().to_string();
    assert!(error.contains("bytes and"), "{error}");
}
