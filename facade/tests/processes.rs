//! Everything that is put by some processes is got by others, once, whoever is killed.

mod crew;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crew::{Crew, PATIENCE, command, own_part};
use serde::{Deserialize, Serialize};
use shmq::{GetError, Queue};

const PRODUCERS: u32 = 2;
const EACH: u64 = 20_000;

/// A message that shows whether it is whole.
#[derive(Serialize, Deserialize)]
struct Message {
    producer: u32,
    number: u64,
    body: Vec<u8>,
    checksum: u64,
}

impl Message {
    fn new(producer: u32, number: u64) -> Self {
        let body = vec![(number % 251) as u8; (number * 7 % 200) as usize];
        let checksum = checksum(producer, number, &body);
        Self { producer, number, body, checksum }
    }

    fn is_whole(&self) -> bool {
        self.checksum == checksum(self.producer, self.number, &self.body)
    }
}

/// FNV-1a.
fn checksum(producer: u32, number: u64, body: &[u8]) -> u64 {
    let words = [u64::from(producer), number, body.len() as u64];
    let words = words.into_iter().chain(body.iter().copied().map(u64::from));
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

/// How many messages, and the sum and the exclusive or of their checksums.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Tally(u64, u64, u64);

impl Tally {
    fn of(message: &Message) -> Self {
        Self(1, message.checksum, message.checksum)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1.wrapping_add(other.1), self.2 ^ other.2)
    }
}

type Jobs = Queue<Option<Message>>;

#[test]
#[ignore = "not a test: what the other processes do"]
fn part() {
    let Some(part) = own_part() else { return };
    let words: Vec<_> = part.split(' ').collect();
    let jobs = || match words.last() {
        Some(name) if name.starts_with("facade-") => Jobs::open(name).unwrap(),
        _ => Jobs::inherited("jobs").unwrap(),
    };
    match words[0] {
        "produce" => produce(&jobs(), words[1].parse().unwrap()),
        "consume" => consume(&jobs()),
        "relay" => relay(&jobs()),
        _ => panic!("there is no part {part:?}"),
    }
}

fn produce(jobs: &Jobs, id: u32) {
    (0..EACH).for_each(|number| jobs.put(Some(Message::new(id, number))).unwrap());
}

fn consume(jobs: &Jobs) {
    let mut tally = Tally::default();
    let mut next = [0; PRODUCERS as usize];
    while let Some(message) = jobs.get().unwrap() {
        assert!(message.is_whole(), "torn");
        let next = &mut next[message.producer as usize];
        assert!(message.number >= *next, "out of order");
        *next = message.number + 1;
        tally = tally.and(Tally::of(&message));
    }
    Queue::inherited("tallies").unwrap().put(tally).unwrap();
}

/// Passes messages on, so that what it got counts even if it is killed.
fn relay(jobs: &Jobs) {
    let done = Queue::inherited("done").unwrap();
    while let Some(message) = jobs.get().unwrap() {
        done.put(message).unwrap();
    }
}

/// Two processes that put and two that get: everything arrives once.
fn conserves(jobs: &Jobs, process: impl Fn(&str) -> Command) {
    let tallies = Queue::<Tally>::new(2).unwrap();
    let (mut consumers, mut producers) = (Crew::default(), Crew::default());
    for id in 0..PRODUCERS {
        let mut consumer = process("consume");
        tallies.inherit(&mut consumer, "tallies").unwrap();
        consumers.start(consumer);
        producers.start(process(&format!("produce {id}")));
    }
    producers.join();
    (0..PRODUCERS).for_each(|_| jobs.put_timeout(None, PATIENCE).unwrap());
    consumers.join();
    let all = (0..PRODUCERS).flat_map(|id| (0..EACH).map(move |number| Message::new(id, number)));
    let expected = all.map(|message| Tally::of(&message)).reduce(Tally::and);
    assert_eq!(Some(tallies.get().unwrap().and(tallies.get().unwrap())), expected);
    assert!(jobs.empty() && tallies.empty());
}

#[test]
fn everything_arrives_once_through_an_inherited_queue() {
    for maxsize in [1, 100] {
        let jobs = Jobs::new(maxsize).unwrap();
        conserves(&jobs, |part| {
            let mut process = command(part);
            jobs.inherit(&mut process, "jobs").unwrap();
            process
        });
    }
}

#[test]
fn everything_arrives_once_through_a_named_queue() {
    let name = format!("facade-{}-conserves", std::process::id());
    let jobs = Jobs::builder().maxsize(10).create_named(&name).unwrap();
    let file = format!("/dev/shm/shmq.{name}");
    assert!(Path::new(&file).exists());
    conserves(&jobs, |part| command(&format!("{part} {name}")));
    drop(jobs);
    assert!(!Path::new(&file).exists());
}

/// One of two producers and one of two relays are killed when so many messages have arrived.
fn survives_kills(after: usize) {
    let jobs = Jobs::new(16).unwrap();
    let done = Queue::<Message>::new(16).unwrap();
    let (mut relays, mut producers) = (Crew::default(), Crew::default());
    for id in 0..PRODUCERS {
        for (crew, part) in [(&mut relays, "relay"), (&mut producers, &format!("produce {id}"))] {
            let mut process = command(part);
            jobs.inherit(&mut process, "jobs").unwrap();
            done.inherit(&mut process, "done").unwrap();
            crew.start(process);
        }
    }

    let mut seen = [HashSet::new(), HashSet::new()];
    let mut told = false;
    let mut waited = Instant::now();
    loop {
        let relays_done = relays.is_done();
        match done.get_timeout(Duration::from_millis(20)) {
            Ok(message) => {
                assert!(message.is_whole(), "torn");
                assert!(seen[message.producer as usize].insert(message.number), "got twice");
                waited = Instant::now();
                if seen[0].len() + seen[1].len() == after {
                    producers.kill_last();
                    relays.kill_last();
                }
            }
            Err(GetError::Empty) if relays_done => break,
            Err(GetError::Empty) => assert!(waited.elapsed() < PATIENCE, "the others hang"),
            Err(error) => panic!("{error}"),
        }
        // One relay is left to be told.
        told = told || producers.is_done() && jobs.put_nowait(None).is_ok();
    }

    // The killed relay took along the message it was holding, if any: no other is missing.
    let put_by_the_killed = seen[1].iter().max().map_or(0, |last| last + 1);
    let lost = EACH - seen[0].len() as u64 + put_by_the_killed - seen[1].len() as u64;
    assert!(lost <= 1, "{lost} messages are lost");
    assert!(put_by_the_killed < EACH, "killed too late");
    assert!(jobs.empty());
}

#[test]
fn killed_processes_stop_nobody_and_lose_at_most_what_they_hold() {
    for after in [1, 500, 3001, 7777] {
        survives_kills(after);
    }
}
