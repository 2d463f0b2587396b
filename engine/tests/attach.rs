//! What must not be attached to is refused, with an error that says what it is; what was damaged
//! after attaching ends in an error, never in a panic or a hang.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use shmq_engine::{AttachError, CreateError, Fences, Options, PopError, Queue, unlink};

/// `cargo xtask without-membarrier` says so; elsewhere it is granted.
#[test]
fn fences_are_what_the_kernel_grants() {
    let usual = Options::new(1).create_anonymous().unwrap().fences();
    let asymmetric = Options::new(1).fences(Fences::Asymmetric).create_anonymous();
    if std::env::var_os("SHMQ_TEST_NO_MEMBARRIER").is_some() {
        assert_eq!(usual, Fences::Full);
        let error = asymmetric.unwrap().producer().unwrap_err();
        assert!(matches!(error, AttachError::Membarrier { .. }), "{error}");
    } else {
        assert_eq!(usual, Fences::Asymmetric);
        asymmetric.unwrap().producer().unwrap();
    }
}

/// A memory file with these bytes, sealed as ours are.
fn sealed(bytes: &[u8]) -> OwnedFd {
    let fd = unsealed(bytes);
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .unwrap();
    fd
}

fn unsealed(bytes: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
    file.write_all(bytes).unwrap();
    file.into()
}

/// The bytes of a queue that holds two messages.
fn segment() -> Vec<u8> {
    let queue = Options::new(3).message_max(48).participants(2).create_anonymous().unwrap();
    let mut producer = queue.producer().unwrap();
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    drop(producer);
    let mut file = File::from(queue.as_fd().unwrap().try_clone_to_owned().unwrap());
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn with_word(mut bytes: Vec<u8>, word: usize, value: u64) -> Vec<u8> {
    bytes[word * 8..][..8].copy_from_slice(&value.to_ne_bytes());
    bytes
}

fn refusal(bytes: &[u8]) -> AttachError {
    Queue::from_fd(sealed(bytes)).unwrap_err()
}

#[test]
fn an_intact_copy_is_accepted_and_its_messages_come_out() {
    let queue = Queue::from_fd(sealed(&segment())).unwrap();
    let mut consumer = queue.consumer().unwrap();
    let mut buffer = [0; 48];
    assert_eq!(consumer.try_pop(&mut buffer), Ok(3));
    assert_eq!(&buffer[..3], b"one");
    assert_eq!(consumer.try_pop(&mut buffer), Ok(3));
    assert_eq!(consumer.try_pop(&mut buffer), Err(PopError::Empty));
}

#[test]
fn each_wrong_file_has_an_error_of_its_own() {
    let good = segment();
    let magic = u64::from_ne_bytes(good[..8].try_into().unwrap());
    assert!(matches!(refusal(&[]), AttachError::Empty));
    assert!(matches!(refusal(&good[..100]), AttachError::Truncated { expected: 128, found: 100 }));
    assert!(matches!(refusal(&good[..1000]), AttachError::Truncated { found: 1000, .. }));
    assert!(matches!(refusal(&[0; 4096]), AttachError::Unfinished));
    let elf = b"\x7fELF".iter().copied().chain([1; 4092]).collect::<Vec<_>>();
    assert!(matches!(refusal(&elf), AttachError::Foreign { .. }));
    let swapped = with_word(good.clone(), 0, magic.swap_bytes());
    assert!(matches!(refusal(&swapped), AttachError::Endianness));
    let other = with_word(good.clone(), 1, 77);
    assert!(matches!(refusal(&other), AttachError::Version { expected: 8, found: 77 }));
    let other = with_word(good.clone(), 2, 77);
    assert!(matches!(refusal(&other), AttachError::Layout { found: 77, .. }));
    for (word, field) in
        [(3, "total_bytes"), (5, "slots"), (6, "slot_bytes"), (9, "roles"), (10, "fences")]
    {
        let error = refusal(&with_word(good.clone(), word, 77));
        let AttachError::Damaged { field: found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found, field);
    }
    // Capacity, message_max, lines. (A shorter message_max in the same slot size is a valid header.)
    for word in [4, 7, 8] {
        for value in [4_097, u64::MAX >> 1, u64::MAX] {
            let error = refusal(&with_word(good.clone(), word, value));
            let refused =
                matches!(error, AttachError::Damaged { .. } | AttachError::Truncated { .. });
            assert!(refused, "word {word} = {value}: {error:?}");
        }
    }
    assert!(matches!(Queue::from_fd(unsealed(&good)), Err(AttachError::Unsealed)));
    let pipe = std::io::pipe().unwrap().0;
    assert!(Queue::from_fd(pipe.as_fd().try_clone_to_owned().unwrap()).is_err());
}

#[test]
fn a_length_that_no_message_has_is_an_error() {
    for message_max in [8, 48] {
        let queue = Options::new(3).message_max(message_max).create_anonymous().unwrap();
        queue.producer().unwrap().push(b"message").unwrap();
        let mut file = File::from(queue.as_fd().unwrap().try_clone_to_owned().unwrap());
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let payload = bytes.windows(7).position(|found| found == b"message").unwrap();
        for length in [message_max as u32 + 1, u32::MAX - 1, u32::MAX] {
            file.seek(SeekFrom::Start(payload as u64 - 8)).unwrap();
            file.write_all(&length.to_ne_bytes()).unwrap();
            let mut consumer = queue.consumer().unwrap();
            assert_eq!(consumer.try_pop(&mut [0; 48]), Err(PopError::Corrupt), "{length}");
            // (What looks like a reference is gone when it has led nowhere: so for it, this comes last.)
            if length < u32::MAX {
                let got = consumer.try_pop_values(&mut [[0_u8; 7]; 2]);
                assert_eq!(got, Err(PopError::Corrupt), "{length}");
            }
            assert_eq!(consumer.try_pop_many(2, |_| ()), Err(PopError::Corrupt), "{length}");
        }
    }
}

#[test]
fn errors_say_expected_found_and_what_to_do() {
    let good = segment();
    let text = refusal(&with_word(good.clone(), 1, 77)).to_string();
    assert_eq!(text, "the segment has layout version 77, this build has 8; rebuild one side");
    let text = refusal(&good[..1000]).to_string();
    assert!(text.starts_with("the segment is truncated: expected "), "{text}");
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let len = random() as usize % 9000;
        let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        refusal(&bytes);
    }
    // Damage behind a good header: operations end, whatever they find there.
    let good = segment();
    for round in 0..1_000 {
        let mut bytes = good.clone();
        for _ in 0..=round % 8 {
            let at = 128 + random() as usize % (bytes.len() - 136);
            let value = [random(), random() % 16, u64::MAX][random() as usize % 3];
            bytes[at & !7..][..8].copy_from_slice(&value.to_ne_bytes());
        }
        let queue = Queue::from_fd(sealed(&bytes)).unwrap();
        _ = (queue.len(), queue.is_empty(), queue.is_full());
        let mut buffer = [0; 48];
        if let Ok(mut consumer) = queue.consumer() {
            for _ in 0..6 {
                _ = consumer.try_pop(&mut buffer);
            }
            _ = consumer.pop_timeout(&mut buffer, Duration::from_micros(50));
        }
        if let Ok(mut producer) = queue.producer() {
            for _ in 0..6 {
                _ = producer.try_push(b"message");
            }
            _ = producer.push_timeout(b"message", Duration::from_micros(50));
        }
        _ = queue.recover();
    }
}

/// Numbers that cannot be, where recovery, and who looks for a free block, count on.
#[test]
fn what_is_beyond_all_tickets_is_no_panic() {
    const ATTENTION: u64 = 128;
    const TAIL: u64 = 256;
    const HEAD: u64 = 384;
    const LINES: u64 = 1024;
    for options in [Options::new(2), Options::unbounded()] {
        let options = options.participants(4).max_bytes(1 << 20);
        let queue = options.create_anonymous().unwrap();
        let mut producer = queue.producer().unwrap();
        (0..2).for_each(|_| producer.push(&[1; 300]).unwrap());
        let file = File::from(queue.as_fd().unwrap().try_clone_to_owned().unwrap());
        let write = |at: u64, value: u64| file.write_all_at(&value.to_ne_bytes(), at).unwrap();
        // A line's words: what it announces, its occupant, three more.
        for (head, announced, further) in
            [(0, 1, u64::MAX), (u64::MAX, 1, 0), (1, u64::MAX, u64::MAX), (u64::MAX, 5, u64::MAX)]
        {
            write(HEAD, head);
            if head > 1 {
                // Ahead of it.
                write(HEAD, head - 3);
                write(TAIL, head - 1);
                write(ATTENTION, 1);
                _ = (queue.len(), queue.is_empty());
                write(HEAD, head);
            }
            write(ATTENTION, 1);
            write(LINES + 2 * 128, announced);
            write(LINES + 2 * 128 + 32, further);
            _ = (queue.recover(), queue.len(), queue.is_empty());
            _ = producer.try_push(&[2; 300]);
            let mut consumer = queue.consumer().unwrap();
            _ = consumer.try_pop_ref().map(|message| message.to_vec());
        }
    }
}

/// A ticket claimed and not published, under a mark that contradicts it: corrupt, at once.
#[test]
fn a_mark_that_contradicts_its_slot_is_corrupt() {
    const TAIL: usize = 256 / 8;
    const MARKS: usize = (1024 + 2 * 128) / 8;
    // Slot 2 is the first without a message.
    let beyond = (1 << 40 | 2) << 3;
    for mark in [2 << 3 | 2, beyond, beyond | 2, beyond | 3] {
        let bytes = with_word(with_word(segment(), TAIL, 3), MARKS + 2 * 2, mark);
        let queue = Queue::from_fd(sealed(&bytes)).unwrap();
        let mut consumer = queue.consumer().unwrap();
        let mut buffer = [0; 48];
        assert_eq!(consumer.try_pop(&mut buffer), Ok(3));
        assert_eq!(consumer.try_pop(&mut buffer), Ok(3));
        assert_eq!(consumer.try_pop(&mut buffer), Err(PopError::Corrupt), "mark {mark:#x}");
    }
}

fn name(of: &str) -> String {
    format!("engine-test-{of}-{}", std::process::id())
}

#[test]
fn a_named_queue_is_found_while_its_creator_holds_it() {
    let name = name("found");
    let queue = Options::new(3).create_named(&name).unwrap();
    let taken = Options::new(3).create_named(&name).unwrap_err();
    assert!(matches!(taken, CreateError::Exists { .. }));
    let mode = fs::metadata(format!("/dev/shm/shmq.{name}")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else's");
    let other = Queue::open(&name).unwrap();
    assert_eq!(other.uuid(), queue.uuid());
    other.producer().unwrap().push(b"hello").unwrap();
    drop(queue);
    assert!(matches!(Queue::open(&name), Err(AttachError::NotFound { .. })));
    // Who was attached stays attached.
    assert_eq!(other.consumer().unwrap().try_pop(&mut [0; 48]), Ok(5));
}

#[test]
fn a_creator_leaves_a_successor_of_its_name_alone() {
    let name = name("successor");
    let first = Options::new(3).create_named(&name).unwrap();
    unlink(&name).unwrap();
    let second = Options::new(3).create_named(&name).unwrap();
    drop(first);
    assert_eq!(Queue::open(&name).unwrap().uuid(), second.uuid());
}

#[test]
fn names_that_cannot_be_are_refused() {
    for bad in ["", "a/b", "..\0", &"x".repeat(201)] {
        assert!(matches!(Options::new(1).create_named(bad), Err(CreateError::Name { .. })));
        assert!(matches!(Queue::open(bad), Err(AttachError::Name { .. })));
        assert!(matches!(unlink(bad), Err(AttachError::Name { .. })));
    }
    assert!(matches!(unlink(&name("absent")), Err(AttachError::NotFound { .. })));
}

#[test]
fn foreign_objects_of_our_name_are_refused() {
    let name = name("foreign");
    let path = format!("/dev/shm/shmq.{name}");
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Queue::open(&name), Err(AttachError::Empty)));
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(Queue::open(&name), Err(AttachError::Truncated { found: 5, .. })));
    std::fs::write(&path, [0; 4096]).unwrap();
    assert!(matches!(Queue::open(&name), Err(AttachError::Unfinished)));
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert!(matches!(Queue::open(&name), Err(AttachError::Foreign { .. })));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(matches!(Queue::open(&name), Err(AttachError::Owner { found: 12345, .. })));
    }
    std::fs::remove_file(&path).unwrap();
}
