//! Handles that come through `fork`: a child has a place of its own, and leaves the parent's alone.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork};
use rustix::event::{PollFd, PollFlags, poll};
use shmq_engine::{AttachError, Options, PopError, PushError, Queue, Role};

type Checked = Result<(), String>;

/// Runs `body` in a forked child, which ends with it: well, or saying what was wrong.
///
/// The parent's copies of what the closure captured by value are dropped here: capture by reference.
/// The child does not panic: the hook takes locks that other threads of this binary may have held
/// at the moment of the fork.
fn forked(body: impl FnOnce() -> Checked) -> Pid {
    // SAFETY: the child takes no lock but the allocator's, which glibc makes usable after fork.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            alarm::set(20);
            let done = body();
            if let Err(wrong) = &done {
                _ = rustix::io::write(rustix::stdio::stderr(), wrong.as_bytes());
            }
            // SAFETY: ends the process at once: no destructor of the parent's runs twice.
            unsafe { nix::libc::_exit(i32::from(done.is_err())) }
        }
    }
}

/// In a child: fails unless the two are equal.
fn expect<T: PartialEq + Debug>(found: &T, expected: &T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}\n")) }
}

fn join(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

#[test]
fn parent_and_child_put_through_one_handle() {
    let queue = Options::new(2_000).create_anonymous().unwrap();
    let mut consumer = queue.consumer().unwrap();
    let mut handle = Some(queue.producer().unwrap());
    handle.as_mut().unwrap().push(b"0").unwrap();
    assert_eq!(consumer.pop(&mut [0; 48]), Ok(1));
    let child = forked(|| {
        for _ in 0..1_000 {
            expect(&handle.as_mut().map(|producer| producer.push(b"child")), &Some(Ok(())))?;
        }
        // A place of its own; and it leaves the parent's alone.
        expect(&queue.participants(), &3)?;
        drop(handle.take());
        expect(&queue.participants(), &2)
    });
    let producer = handle.as_mut().unwrap();
    let mut from_child = 0;
    for _ in 0..1_000 {
        producer.push(b"parent!").unwrap();
        for _ in 0..2 {
            match consumer.pop(&mut [0; 48]) {
                Ok(5) => from_child += 1,
                Ok(7) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    join(child);
    assert_eq!(from_child, 1_000);
    assert_eq!(queue.len(), 0);
    assert_eq!(queue.participants(), 2);
}

#[test]
fn an_inherited_consumer_competes_with_its_parent() {
    let queue = Options::new(100).create_anonymous().unwrap();
    let mut consumer = queue.consumer().unwrap();
    let mut producer = queue.producer().unwrap();
    (0..100).for_each(|_| producer.push(b"m").unwrap());
    let child = forked(|| (0..50).try_for_each(|_| expect(&consumer.pop(&mut [0; 48]), &Ok(1))));
    for _ in 0..50 {
        assert_eq!(consumer.pop(&mut [0; 48]), Ok(1));
    }
    join(child);
    assert_eq!(consumer.try_pop(&mut [0; 48]), Err(PopError::Empty));
}

#[test]
fn an_exclusive_side_stays_the_parents() {
    let queue =
        Options::new(4).producers(Role::One).consumers(Role::One).create_anonymous().unwrap();
    let mut handles = Some((queue.producer().unwrap(), queue.consumer().unwrap()));
    join(forked(|| {
        if let Some((producer, consumer)) = &mut handles {
            expect(&producer.push(b"x"), &Err(PushError::Forked))?;
            expect(&consumer.try_pop(&mut [0; 48]), &Err(PopError::Forked))?;
        }
        drop(handles.take());
        expect(&matches!(queue.producer(), Err(AttachError::Taken { .. })), &true)?;
        expect(&matches!(queue.consumer(), Err(AttachError::Taken { .. })), &true)
    }));
}

#[test]
fn a_killed_child_is_recovered_its_parent_is_not() {
    let queue = Options::new(4).create_anonymous().unwrap();
    let mut producer = queue.producer().unwrap();
    let child = forked(|| {
        expect(&producer.push(b"attached"), &Ok(()))?;
        loop {
            thread::park();
        }
    });
    assert_eq!(queue.consumer().unwrap().pop(&mut [0; 48]), Ok(8));
    kill(child, Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
    assert_eq!(queue.participants(), 2);
    assert_eq!(queue.recover().participants, 1);
    producer.push(b"on we go").unwrap();
    assert_eq!(queue.participants(), 1);
}

#[test]
fn forks_beside_busy_threads() {
    const CHILDREN: usize = 20;
    let queue = Options::new(8).create_anonymous().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut producer = queue.producer().unwrap();
                while !over.load(Ordering::Relaxed) {
                    _ = producer.try_push(b"thread");
                }
            });
        }
        let mut producer = queue.producer().unwrap();
        let mut consumer = queue.consumer().unwrap();
        let mut from_children = 0;
        for _ in 0..CHILDREN {
            let child =
                forked(|| (0..100).try_for_each(|_| expect(&producer.push(b"child"), &Ok(()))));
            let expected = from_children + 100;
            while from_children < expected {
                from_children += usize::from(consumer.pop(&mut [0; 48]) == Ok(5));
            }
            join(child);
        }
        over.store(true, Ordering::Relaxed);
    });
    // The children ended without detaching.
    assert_eq!(queue.recover().participants, CHILDREN);
    assert_eq!(queue.participants(), 0);
}

#[test]
fn a_forked_child_leaves_the_name_alone() {
    let name = format!("engine-test-fork-{}", std::process::id());
    let mut queue = Some(Options::new(2).create_named(&name).unwrap());
    join(forked(|| {
        drop(queue.take());
        Ok(())
    }));
    Queue::open(&name).unwrap();
}

/// What a handle has lent, or holds, is its own process's; its copy in a child leaves it alone.
#[test]
fn loans_and_messages_stay_the_parents() {
    const LEN: usize = 100_000;
    // What fits a slot is not shared memory yet, and would be put twice.
    let small = Options::new(4).create_anonymous().unwrap();
    let mut putter = small.producer().unwrap();
    let mut short = Some(putter.reserve(8).unwrap());
    let queue = Options::new(4).create_anonymous().unwrap();
    let (mut producer, mut other) = (queue.producer().unwrap(), queue.producer().unwrap());
    let mut consumer = queue.consumer().unwrap();
    producer.push(&[1; LEN]).unwrap();
    let mut message = Some(consumer.pop_ref().unwrap());
    let mut loan = Some(producer.reserve(LEN).unwrap());
    loan.as_mut().unwrap().copy_from(0, &[2; LEN]);
    join(forked(|| {
        drop(message.take());
        for loan in [loan.take(), short.take()] {
            let Some(Err(uncommitted)) = loan.map(shmq_engine::Loan::try_commit) else {
                return Err("it was committed\n".into());
            };
            expect(&uncommitted.error, &PushError::ForkedLoan)?;
        }
        Ok(())
    }));
    short.unwrap().try_commit().unwrap();
    assert_eq!(small.len(), 1);
    // Nobody else was given the memory of either.
    for _ in 0..3 {
        other.push(&[3; LEN]).unwrap();
    }
    assert!(message.unwrap().to_vec() == [1; LEN]);
    loan.unwrap().try_commit().unwrap();
    for value in [3, 3, 3, 2] {
        assert!(consumer.try_pop_ref().unwrap().to_vec() == [value; LEN], "{value}");
    }
}

/// A child has no thread that rings, and does not wait for it, nor for what it may have locked.
#[test]
fn bells_are_silent_in_a_child() {
    let queue = Options::new(4).create_anonymous().unwrap();
    let mut bell = Some(queue.consumer().unwrap().bell().unwrap());
    bell.as_ref().unwrap().arm();
    for _ in 0..20 {
        join(forked(|| {
            bell.iter().for_each(shmq_engine::Bell::arm);
            drop(bell.take());
            Ok(())
        }));
    }
    queue.producer().unwrap().push(b"still rings").unwrap();
    while poll(&mut [PollFd::new(bell.as_ref().unwrap(), PollFlags::IN)], None).unwrap() == 0 {}
    join(forked(|| expect(&bell.as_ref().map(shmq_engine::Bell::quiet), &Some(false))));
    while !bell.as_ref().unwrap().quiet() {
        thread::yield_now();
    }
}
