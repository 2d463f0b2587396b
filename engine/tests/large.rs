//! Messages from nothing to a gigabyte, between processes.

use std::env;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use shmq_engine::{Options, Queue};

const FD: &str = "SHMQ_LARGE_FD";
const ROLE: &str = "SHMQ_LARGE_ROLE";
/// How long the mixed run takes, in seconds.
const SECONDS: &str = "SHMQ_LARGE_SECONDS";

const LARGEST: usize = 64 << 20;
/// Producer, number, checksum, each a word; shorter messages are cut off.
const HEAD: usize = 24;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// As many of 10 bytes as of 10 MiB, about.
    fn len(&mut self) -> usize {
        let bits = self.next() % (LARGEST.ilog2() as u64 + 2);
        let below = (1_usize << bits).min(LARGEST + 1);
        self.next() as usize % below
    }
}

/// Of the words behind the head, and what is left of one.
fn checksum(message: &[u8]) -> u64 {
    let mut sum = message.len() as u64;
    let mut words = message[HEAD..].chunks_exact(8);
    for word in &mut words {
        sum = sum.rotate_left(7) ^ u64::from_le_bytes(word.try_into().unwrap());
    }
    words.remainder().iter().fold(sum, |sum, &byte| sum.rotate_left(7) ^ u64::from(byte))
}

fn produce(queue: &Queue, id: u64, until: Instant) {
    let mut producer = queue.producer().unwrap();
    let mut random = Random(id + 1);
    let noise: Vec<u8> = (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect();
    let noise = noise.repeat(LARGEST / noise.len() + 2);
    let mut message = Vec::new();
    for n in 0_u64.. {
        if Instant::now() > until {
            break;
        }
        let len = random.len();
        message.clear();
        let from = random.next() as usize % (noise.len() - len);
        message.extend_from_slice(&noise[from..][..len]);
        if len >= HEAD {
            message[..8].copy_from_slice(&id.to_le_bytes());
            message[8..16].copy_from_slice(&n.to_le_bytes());
            let sum = checksum(&message);
            message[16..24].copy_from_slice(&sum.to_le_bytes());
        }
        producer.push(&message).unwrap();
    }
    // Longer than any other: the end, for one consumer.
    producer.push(&vec![0; LARGEST + 1]).unwrap();
}

fn consume(queue: &Queue) {
    let mut consumer = queue.consumer().unwrap();
    let mut next = [0; 2];
    let (mut message, mut count, mut bytes) = (Vec::new(), 0_u64, 0_u64);
    loop {
        consumer.pop_vec(&mut message).unwrap();
        if message.len() > LARGEST {
            break;
        }
        count += 1;
        bytes += message.len() as u64;
        if message.len() < HEAD {
            continue;
        }
        let word = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().unwrap());
        let (id, n) = (word(0) as usize, word(8));
        assert_eq!(word(16), checksum(&message), "torn");
        assert!(n >= next[id], "out of order");
        next[id] = n + 1;
    }
    println!("{count} messages, {bytes} bytes: all whole, each producer's in order");
}

/// This test binary again, running only [`child`].
fn start(queue: &Queue, role: &str) -> Child {
    let fd = queue.as_fd().unwrap().try_clone_to_owned().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env(FD, fd.as_raw_fd().to_string()).env(ROLE, role);
    let keep_open = move || Ok(rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())?);
    // SAFETY: one system call, which is async-signal-safe.
    unsafe { command.pre_exec(keep_open) };
    command.spawn().unwrap()
}

fn seconds() -> Duration {
    let given = env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(5))
}

#[test]
fn sizes_mixed_at_random_between_four_processes() {
    for options in [Options::new(100), Options::unbounded()] {
        let queue = options.max_bytes(8 << 30).create_anonymous().unwrap();
        // Unbounded, producers would fill all memory that there is in that time.
        let roles = if queue.capacity() == 100 {
            vec!["producer 0", "producer 1", "consumer", "consumer"]
        } else {
            vec!["producer 0", "consumer"]
        };
        let children: Vec<_> = roles.iter().map(|role| start(&queue, role)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert!(queue.is_empty());
        queue.recover();
        let left = queue.resident_bytes();
        assert!(left <= 16 << 20, "{left} bytes");
    }
}

#[test]
fn a_gigabyte_in_one_message() {
    let queue = Options::new(1).create_anonymous().unwrap();
    let len = 1 << 30;
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap();
    let message: Vec<u8> = (0..len).map(|at| (at >> 12) as u8).collect();
    producer.push(&message).unwrap();
    assert!(queue.resident_bytes() >= len as u64);
    let got = consumer.pop_ref().unwrap();
    let mut part = vec![0; 1 << 20];
    for (at, expected) in message.chunks(part.len()).enumerate() {
        assert_eq!(got.copy_to(at * part.len(), &mut part), part.len());
        assert!(part == expected, "torn at {at} MiB");
    }
    drop(got);
    assert!(queue.resident_bytes() < 1 << 20, "given back at once");
}

#[test]
#[ignore = "the other process of other tests"]
fn child() {
    let Ok(fd) = env::var(FD) else { return };
    // SAFETY: inherited for this purpose, and nobody else's here.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    let queue = Queue::from_fd(fd).unwrap();
    match env::var(ROLE).unwrap().as_str() {
        "consumer" => consume(&queue),
        producer => {
            let id = producer.rsplit(' ').next().unwrap().parse().unwrap();
            produce(&queue, id, Instant::now() + seconds());
        }
    }
}
