//! How a child gets a queue, and what it is told when it does not.

mod crew;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crew::{Crew, PATIENCE, command, own_part};
use shmq::{AttachError, InheritError, Queue};

#[test]
#[ignore = "not a test: what the other processes do"]
fn part() {
    let Some(part) = own_part() else { return };
    let words: Vec<_> = part.split(' ').collect();
    match words[..] {
        ["echo", ref names @ ..] => names.iter().for_each(|name| echo(name)),
        ["forward"] => forward(),
        ["complain"] => complain(),
        ["look"] => look(),
        ["create", name] => create(name),
        _ => panic!("there is no part {part:?}"),
    }
}

fn echo(name: &str) {
    let queue = Queue::<String>::inherited(name).unwrap();
    let text = queue.get().unwrap();
    queue.put(format!("{name} {text}")).unwrap();
}

fn forward() {
    let text = Queue::<String>::inherited("jobs").unwrap().get().unwrap();
    Queue::inherited("answers").unwrap().put(text).unwrap();
}

fn complain() {
    let error = Queue::<u8>::inherited("jobs").unwrap_err();
    Queue::inherited("answers").unwrap().put(error.to_string()).unwrap();
}

/// Takes a queue twice, then lets its own child look for descriptors.
fn look() {
    let queue = Queue::<u64>::inherited("jobs").unwrap();
    queue.put(1).unwrap();
    assert_eq!(Queue::<u64>::inherited("jobs").unwrap().get().unwrap(), 1);
    assert_eq!(segments_that_a_child_inherits(), 0);
    queue.put(2).unwrap();
}

fn create(name: &str) {
    let queue = Queue::builder().maxsize(1).create_named(name).unwrap();
    // The second waits to be killed.
    (0..2).for_each(|number| queue.put(number).unwrap());
}

fn segments_that_a_child_inherits() -> usize {
    let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).matches("memfd:shmq").count()
}

#[test]
fn a_command_hands_over_several_queues_to_several_children() {
    let name = format!("facade-{}-echo", std::process::id());
    let named = Queue::builder().maxsize(2).create_named(&name).unwrap();
    let queues = [("a", Queue::new(2).unwrap()), ("B-2_c", Queue::new(2).unwrap()), ("n", named)];
    let mut command = command("echo a B-2_c n");
    for (name, queue) in &queues {
        queue.inherit(&mut command, name).unwrap();
    }
    for text in ["first", "second"] {
        queues.iter().for_each(|(_, queue)| queue.put(text.to_owned()).unwrap());
        assert!(command.status().unwrap().success());
        for (name, queue) in &queues {
            assert_eq!(queue.get_nowait().unwrap(), format!("{name} {text}"));
        }
    }
}

#[test]
fn a_child_keeps_what_its_parent_dropped() {
    let (jobs, answers) = (Queue::new(1).unwrap(), Queue::<String>::new(1).unwrap());
    let mut command = command("forward");
    jobs.inherit(&mut command, "jobs").unwrap();
    answers.inherit(&mut command, "answers").unwrap();
    jobs.put("a message".to_owned()).unwrap();
    drop(jobs);
    assert!(command.status().unwrap().success());
    assert_eq!(answers.get_nowait().unwrap(), "a message");
}

#[test]
fn nobody_else_inherits_a_queue() {
    let jobs = Queue::<u64>::new(1).unwrap();
    let mut command = command("look");
    jobs.inherit(&mut command, "jobs").unwrap();
    assert_eq!(segments_that_a_child_inherits(), 0);
    assert!(command.status().unwrap().success());
    assert_eq!(jobs.get_nowait().unwrap(), 2);
}

#[test]
fn a_child_is_told_what_is_wrong() {
    const VARIABLE: &str = "SHMQ_QUEUE_jobs";
    let answers = Queue::<String>::new(1).unwrap();
    let jobs = Queue::<u8>::new(1).unwrap();
    let other = Queue::<u8>::new(1).unwrap();
    let zeros = "0".repeat(32);
    let ask = |change: &dyn Fn(&mut Command)| {
        let mut command = command("complain");
        answers.inherit(&mut command, "answers").unwrap();
        change(&mut command);
        assert!(command.status().unwrap().success());
        answers.get_nowait().unwrap()
    };
    let starts_with = |answer: String, expected: &str| {
        assert!(answer.starts_with(expected), "{answer:?} and not {expected:?}");
    };

    let answer = ask(&|_| {});
    starts_with(answer, "SHMQ_QUEUE_jobs is not set");
    for value in ["", "nonsense", "fd:7", "fd:-1:0", "fd:-1:{}", "fd:x:{}", "fd:7:{}:", "of:7:{}"] {
        let value = value.replace("{}", &zeros);
        let answer = ask(&|command| _ = command.env(VARIABLE, &value));
        starts_with(answer, &format!("{VARIABLE} is {value:?}, which is not"));
    }
    let answer = ask(&|command| _ = command.env(VARIABLE, format!("fd:987:{zeros}")));
    starts_with(answer, "SHMQ_QUEUE_jobs speaks of descriptor 987, which is not open");
    for way in ["fd:0", "name:facade-nobody"] {
        let answer = ask(&|command| _ = command.env(VARIABLE, format!("{way}:{zeros}")));
        starts_with(answer, "SHMQ_QUEUE_jobs does not lead to a queue");
    }
    let answer = ask(&|command| {
        other.inherit(command, "jobs").unwrap();
        let uuid = |command: &Command| {
            let (_, value) = command.get_envs().find(|(name, _)| *name == VARIABLE).unwrap();
            let value: OsString = value.unwrap().to_owned();
            value.into_string().unwrap()
        };
        let of_other = uuid(command);
        jobs.inherit(command, "jobs").unwrap();
        let (way, _) = of_other.rsplit_once(':').unwrap();
        let of_jobs = uuid(command);
        let (_, expected) = of_jobs.rsplit_once(':').unwrap();
        command.env(VARIABLE, format!("{way}:{expected}"));
    });
    starts_with(answer, "SHMQ_QUEUE_jobs leads to another queue: expected uuid");
}

#[test]
fn names_for_children_are_plain() {
    let queue = Queue::<u8>::new(1).unwrap();
    let long = "x".repeat(65);
    for name in ["", "a b", "ä", "a=b", "a:b", "a.b", &long] {
        let handed = queue.inherit(&mut Command::new("true"), name);
        assert!(matches!(handed, Err(InheritError::Name { .. })), "{name:?}");
        let received = Queue::<u8>::inherited(name);
        assert!(matches!(received, Err(InheritError::Name { .. })), "{name:?}");
    }
    queue.inherit(&mut Command::new("true"), &long[..64]).unwrap();
}

#[test]
fn the_name_of_a_killed_creator_stays_until_unlinked() {
    let name = format!("facade-{}-orphan", std::process::id());
    let mut creator = Crew::default();
    creator.start(command(&format!("create {name}")));
    let started = std::time::Instant::now();
    let queue = loop {
        match Queue::<u64>::open(&name) {
            Ok(queue) => break queue,
            Err(AttachError::NotFound { .. }) => assert!(started.elapsed() < PATIENCE),
            Err(error) => panic!("{error}"),
        }
    };
    while !queue.full() {
        assert!(started.elapsed() < PATIENCE);
    }
    creator.kill_last();
    creator.join();
    assert_eq!(Queue::<u64>::open(&name).unwrap().get_timeout(PATIENCE).unwrap(), 0);
    shmq::unlink(&name).unwrap();
    assert!(!Path::new(&format!("/dev/shm/shmq.{name}")).exists());
    queue.put_timeout(7, PATIENCE).unwrap();
}
