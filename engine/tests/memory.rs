//! Memory that grows with what is in a queue, comes back when it is taken, and is an error when there
//! is none.

use std::env;
use std::path::Path;
use std::process::{Command, Output};
use std::slice;
use std::thread;
use std::time::Duration;

use shmq_engine::{Consumer, CreateError, Limit, Options, PopError, PushError, Queue};

/// Bytes that a queue of small messages takes for each, besides the message: slot, mark, and what is
/// lost in blocks.
const OVERHEAD: u64 = 96;
const MIB: u64 = 1 << 20;

/// `count` messages of 100 bytes from two producers, numbered by each.
fn fill(queue: &Queue, count: u64) {
    thread::scope(|scope| {
        for id in 0..2_u8 {
            scope.spawn(move || {
                let mut producer = queue.producer().unwrap();
                let mut message = [id; 100];
                for n in 0..count / 2 {
                    message[1..9].copy_from_slice(&n.to_le_bytes());
                    producer.push(&message).unwrap();
                }
            });
        }
    });
}

/// By two consumers: every message once, each producer's in order.
fn drain(queue: &Queue) -> u64 {
    let drain_one = || {
        let mut consumer = queue.consumer().unwrap();
        let mut next = [0_u64; 2];
        let mut buffer = [0; 100];
        let mut count = 0;
        while let Ok(len) = consumer.try_pop(&mut buffer) {
            let id = buffer[0];
            let n = u64::from_le_bytes(buffer[1..9].try_into().unwrap());
            assert!(len == 100 && buffer[9..].iter().all(|&byte| byte == id), "torn");
            assert!(n >= next[usize::from(id)], "out of order");
            next[usize::from(id)] = n + 1;
            count += 1;
        }
        count
    };
    thread::scope(|scope| {
        let other = scope.spawn(drain_one);
        drain_one() + other.join().unwrap()
    })
}

#[test]
fn millions_of_messages_wait_for_their_first_consumer() {
    let count = if cfg!(debug_assertions) { 400_000 } else { 10_000_000 };
    for options in [Options::unbounded(), Options::unbounded().inline(112)] {
        let queue = options.create_anonymous().unwrap();
        fill(&queue, 2_000);
        assert_eq!(drain(&queue), 2_000);
        let before = queue.resident_bytes();
        fill(&queue, count);
        assert_eq!(queue.len() as u64, count);
        let peak = queue.resident_bytes();
        assert!(peak <= count * (130 + OVERHEAD) + 16 * MIB, "{peak} bytes");
        assert_eq!(drain(&queue), count);
        let after = queue.resident_bytes();
        assert!(after <= before + 16 * MIB, "{before} bytes before, {after} after");
        println!(
            "{count} messages of 100 bytes: resident {before} bytes before, {} a message at the \
             peak, {after} after",
            peak / count
        );
    }
}

/// Puts until it is refused, and says how many that were.
fn fill_up(queue: &Queue, bytes: usize) -> (u64, PushError) {
    let mut producer = queue.producer().unwrap();
    let mut message = vec![7; bytes];
    for n in 0_u64.. {
        message[..8].copy_from_slice(&n.to_le_bytes());
        if let Err(error) = producer.try_push(&message) {
            return (n, error);
        }
    }
    unreachable!("a queue without end")
}

/// All of them are there, whole, and there is room for as many again.
fn take_and_fill_again(queue: &Queue, bytes: usize, count: u64) {
    let mut consumer = queue.consumer().unwrap();
    let mut message = Vec::new();
    for n in 0..count {
        consumer.pop_vec(&mut message).unwrap();
        assert_eq!(message[..8], n.to_le_bytes());
        assert!(message.len() == bytes && message[8..].iter().all(|&byte| byte == 7), "torn");
    }
    assert_eq!(consumer.try_pop(&mut [0; 48]), Err(PopError::Empty));
    let (again, _) = fill_up(queue, bytes);
    // Producer and consumer may keep a block or two.
    assert!(again + again / 4 + 2 >= count, "{again} after {count}");
}

#[test]
fn max_bytes_is_an_error_that_says_so_and_passes() {
    for bytes in [40, 100, 5_000, 100_000, 1 << 20] {
        let queue = Options::unbounded().max_bytes(8 << 20).create_anonymous().unwrap();
        let (count, error) = fill_up(&queue, bytes);
        assert!(queue.resident_bytes() <= 8 * MIB);
        let used = count * (bytes as u64 + OVERHEAD);
        assert!(used >= 5 * MIB, "refused at {used} bytes");
        let PushError::NoMemory { limit: Limit::MaxBytes, .. } = error else {
            panic!("{error}");
        };
        assert!(error.to_string().contains("max_bytes"), "{error}");
        take_and_fill_again(&queue, bytes, count);
    }
    // Nor is a message larger than the queue may be.
    let queue = Options::new(4).max_bytes(1 << 20).create_anonymous().unwrap();
    let error = queue.producer().unwrap().push(&vec![0; 3 << 20]).unwrap_err();
    assert_eq!(error, PushError::TooLarge { len: 3 << 20, max: 1 << 20 });
}

#[test]
fn a_bounded_queue_refuses_what_it_has_no_memory_for_and_works_on() {
    let queue = Options::new(1_000).max_bytes(4 << 20).create_heap().unwrap();
    let (count, error) = fill_up(&queue, 100_000);
    assert!(matches!(error, PushError::NoMemory { .. }), "{error}");
    queue.producer().unwrap().push(b"a short one still fits").unwrap();
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..count {
        assert_eq!(consumer.pop_ref().unwrap().len(), 100_000);
    }
    assert_eq!(consumer.try_pop(&mut [0; 48]), Ok(22));
    assert_eq!(queue.recover().blocks, 0);
}

/// Dropped loans, held messages: their memory comes back.
#[test]
fn loans_and_guards_give_their_memory_back() {
    let queue = Options::new(4).max_bytes(8 << 20).create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..100 {
        drop(producer.reserve(1 << 20).unwrap());
        let mut loan = producer.reserve(1 << 20).unwrap();
        assert_eq!(loan.copy_from(1_000, b"in the middle"), 13);
        loan.commit().unwrap();
        let message = consumer.pop_ref().unwrap();
        let mut middle = [0; 13];
        assert_eq!(message.copy_to(1_000, &mut middle), 13);
        assert_eq!(&middle, b"in the middle");
        // Held, its memory is nobody else's.
        let (ahead, _) = fill_up(&queue, 1 << 20);
        assert_eq!(message.copy_to(1_000, &mut middle), 13);
        assert_eq!(&middle, b"in the middle");
        drop(message);
        for _ in 0..ahead {
            consumer.pop_ref().unwrap();
        }
    }
}

/// Memory that was lent and forgotten comes back when its handle goes.
#[test]
fn what_is_forgotten_comes_back_with_its_handle() {
    let queue = Options::new(4).max_bytes(4 << 20).create_heap().unwrap();
    for _ in 0..100 {
        let mut producer = queue.producer().unwrap();
        std::mem::forget(producer.reserve(1 << 20).unwrap());
        // What is put after that makes nobody forget it.
        producer.push(&vec![1; 1 << 19]).unwrap();
        queue.consumer().unwrap().pop_ref().unwrap();
        drop(producer);
        queue.producer().unwrap().push(&vec![1; 1 << 20]).unwrap();
        let mut consumer = queue.consumer().unwrap();
        std::mem::forget(consumer.pop_ref().unwrap());
        drop(consumer);
    }
    assert_eq!(queue.participants(), 0);
}

/// Between messages that are on their way, large blocks keep their memory; not when all are taken.
#[test]
fn an_empty_queue_keeps_little() {
    let queue = Options::unbounded().create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..3 {
        for len in [200_000, 1 << 20, 5 << 20] {
            for _ in 0..20 {
                producer.push(&vec![1; len]).unwrap();
            }
        }
        while let Ok(message) = consumer.try_pop_ref() {
            drop(message);
        }
        // Not at once: the next message may be on its way.
        assert!(consumer.pop_ref_timeout(Duration::from_millis(300)).is_err());
        let kept = queue.resident_bytes();
        assert!(kept <= 16 * MIB, "{kept} bytes");
    }
}

const CHILD: &str = "SHMQ_TEST_LIMIT";

/// This test binary again, running only [`child`], under whatever `wrap` makes of it.
fn limited(which: &str, wrap: impl FnOnce(&str) -> String) -> Output {
    let exe = env::current_exe().unwrap();
    let run = format!("{} --exact child --ignored --nocapture", exe.display());
    Command::new("sh").args(["-c", &wrap(&run)]).env(CHILD, which).output().unwrap()
}

fn assert_done(output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success() && out.contains("limit met"),
        "{}\n{out}\n{err}",
        output.status
    );
}

#[test]
fn a_full_file_system_is_an_error_and_no_sigbus() {
    let mount = "mount -t tmpfs -o size=8m none /dev/shm";
    let can = Command::new("unshare").args(["-m", "sh", "-c", mount]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("not shown: this user may not mount a file system");
        return;
    }
    assert_done(&limited("file system", |run| format!("unshare -m sh -c '{mount} && {run}'")));
}

#[test]
fn little_address_space_is_enough_or_an_error() {
    assert_done(&limited("address space", |run| format!("ulimit -v 4000000 && {run}")));
}

#[test]
fn small_files_are_enough_or_an_error() {
    assert_done(&limited("file size", |run| format!("ulimit -f 100000 && {run}")));
}

#[test]
fn no_descriptor_left_is_an_error() {
    assert_done(&limited("descriptors", |run| format!("ulimit -n 64 && {run}")));
}

/// Fills the named queue in a small /dev/shm.
fn meet_file_system() {
    let name = format!("full.{}", std::process::id());
    for bytes in [40, 5_000, 100_000] {
        let queue = Options::unbounded().create_named(&name).unwrap();
        let (count, error) = fill_up(&queue, bytes);
        let PushError::NoMemory { limit: Limit::FileSystem, .. } = error else {
            panic!("{error}");
        };
        assert!(count * (bytes as u64 + OVERHEAD) > 5 * MIB, "{count}");
        assert!(error.to_string().contains("/dev/shm"), "{error}");
        take_and_fill_again(&queue, bytes, count);
    }
    let bounded = Options::new(1 << 20).message_max(48).create_named(&name).unwrap_err();
    assert!(matches!(bounded, CreateError::Memory { .. }), "{bounded}");
    // An anonymous one does not care.
    let queue = Options::unbounded().create_anonymous().unwrap();
    queue.producer().unwrap().push(&vec![1; 32 << 20]).unwrap();
}

/// By default a queue takes the address space there is; asked for more, it says so.
fn meet_address_space() {
    let queue = Options::unbounded().create_anonymous().unwrap();
    assert!(queue.max_bytes() < 1 << 30, "{}", queue.max_bytes());
    queue.producer().unwrap().push(&vec![1; 1 << 20]).unwrap();
    let error = Options::unbounded().max_bytes(8 << 30).create_anonymous().unwrap_err();
    let CreateError::AddressSpace { .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
}

fn meet_file_size() {
    let queue = Options::new(8).create_anonymous().unwrap();
    queue.producer().unwrap().push(&[1; 1_000]).unwrap();
    let error = Options::unbounded().max_bytes(8 << 30).create_anonymous().unwrap_err();
    let CreateError::FileSize { .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
}

fn meet_descriptors() {
    let [kept, name] = ["kept", "new"].map(|of| format!("memory-test-{of}-{}", std::process::id()));
    let named = Options::new(8).message_max(48).create_named(&kept).unwrap();
    let mut queues = Vec::new();
    let error = loop {
        match Options::new(8).message_max(48).create_anonymous() {
            Ok(queue) => queues.push(queue),
            Err(error) => break error,
        }
    };
    let CreateError::Os { call: "memfd_create", .. } = error else { panic!("{error}") };
    let error = Options::new(8).message_max(48).create_named(&name).unwrap_err();
    let CreateError::Os { call: "shm_open", .. } = error else { panic!("{error}") };
    drop(named);
    assert!(!Path::new(&format!("/dev/shm/shmq.{kept}")).exists(), "its name goes, too");
    // Those that are there work on: no operation needs a descriptor.
    let mut producer = queues[0].producer().unwrap();
    producer.push(b"on we go").unwrap();
}

#[test]
#[ignore = "the limited process of other tests"]
fn child() {
    match env::var(CHILD).as_deref() {
        Ok("file system") => meet_file_system(),
        Ok("address space") => meet_address_space(),
        Ok("file size") => meet_file_size(),
        Ok("descriptors") => meet_descriptors(),
        _ => return,
    }
    println!("limit met");
}

/// `message_max` may be more than `max_bytes` has room for.
#[test]
fn a_message_that_no_memory_allowed_could_hold_lacks_memory() {
    let options = Options::new(4).message_max(8 << 20).max_bytes(1 << 20);
    let queue = options.create_heap().or_else(|_| options.create_anonymous()).unwrap();
    let error = queue.producer().unwrap().push(&vec![1; 2 << 20]).unwrap_err();
    let PushError::NoMemory { needed: 2_097_152, limit: Limit::MaxBytes } = error else {
        panic!("{error}")
    };
}

/// Values of a type are their bytes.
#[test]
fn values_are_put_and_got_without_encoding() {
    let queue = Options::new(8).create_heap().unwrap();
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap();
    producer.push_value(&[1.5_f64, 2.5]).unwrap();
    producer.reserve_value::<[u64; 100]>().unwrap().commit_value(&[7_u64; 100]).unwrap();
    let mut loan = producer.reserve_value::<[u32; 1000]>().unwrap();
    // SAFETY: nobody else is here.
    let value = unsafe { loan.as_mut_value::<[u32; 1000]>() }.unwrap();
    value.fill(9);
    loan.commit().unwrap();
    assert_eq!(consumer.pop_value::<[f64; 2]>().unwrap(), [1.5, 2.5]);
    assert_eq!(consumer.try_pop_value::<[u64; 100]>().unwrap(), [7; 100]);
    let message = consumer.pop_ref().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { message.as_value::<[u32; 1000]>() }, Some(&[9; 1000]));
    drop(message);
    assert_eq!(consumer.try_pop_value::<u64>(), Err(PopError::Empty));
    let soon = Duration::from_millis(1);
    assert_eq!(consumer.pop_value_timeout::<u64>(soon), Err(PopError::Empty));
}

#[test]
fn what_is_no_value_is_an_error_and_gone() {
    let queue = Options::new(8).create_heap().unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let (long, too_long) = ([7; 9], vec![8; queue.inline_max() + 1]);
    type Way = fn(&mut Consumer) -> Result<u64, PopError>;
    let ways: [Way; 3] = [Consumer::pop_value, Consumer::try_pop_value, |consumer| {
        consumer.pop_value_timeout(Duration::from_millis(1))
    }];
    for message in [&b"none"[..], &long, &too_long] {
        for way in ways {
            producer.push(message).unwrap();
            producer.push_value(&6_u64).unwrap();
            let error = PopError::NotAValue { len: message.len(), size: 8 };
            assert_eq!(way(&mut consumer), Err(error));
            assert_eq!(way(&mut consumer), Ok(6));
        }
    }
}

#[test]
fn several_values_are_got_at_once_up_to_what_is_none() {
    let queue = Options::new(8).create_heap().unwrap();
    let (mut producer, mut consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let mut words = [0_u64; 4];
    assert_eq!(consumer.try_pop_values(&mut words), Err(PopError::Empty));
    assert_eq!(consumer.pop_values::<u64>(&mut []), Ok(0));
    assert_eq!(producer.try_push_values(&[1_u64, 2, 3, 4, 5]), Ok(5));
    producer.push(b"none").unwrap();
    producer.push_value(&6_u64).unwrap();
    assert_eq!(producer.try_push_values(&[7_u64, 8]), Ok(1), "it is full");
    assert_eq!((consumer.pop_values(&mut words), words), (Ok(4), [1, 2, 3, 4]));
    assert_eq!((consumer.pop_values(&mut words), words), (Ok(1), [5, 2, 3, 4]));
    // It stayed in the queue, until it is the first.
    let error = consumer.pop_values(&mut words).unwrap_err();
    assert_eq!(error, PopError::NotAValue { len: 4, size: 8 });
    assert!(error.to_string().contains("4 bytes"), "{error}");
    assert_eq!((consumer.pop_values(&mut words), words), (Ok(2), [6, 7, 3, 4]));
}

/// Several of them, in queues of all kinds, put before they are waited for and after.
fn pass_values<const SIZE: usize>() {
    let whole = Options::new(70).message_max(SIZE);
    let growing = Options::unbounded().inline(SIZE).max_bytes(1 << 28);
    let by_reference = Options::new(70).inline(16).max_bytes(1 << 28);
    for options in [whole, growing, by_reference] {
        let queue = options.create_heap().unwrap();
        let values: Vec<_> = (0..60_u8).map(|at| [at; SIZE]).collect();
        let put = || queue.producer().unwrap().push_values(&values).unwrap();
        let got = || {
            let (mut consumer, mut all) = (queue.consumer().unwrap(), Vec::new());
            let mut some = [[0_u8; SIZE]; 50];
            while all.len() < values.len() {
                let got = consumer.pop_values(&mut some).unwrap();
                all.extend_from_slice(&some[..got]);
            }
            all
        };
        put();
        assert!(got() == values, "{SIZE} bytes");
        thread::scope(|scope| {
            let got = scope.spawn(got);
            put();
            assert!(got.join().unwrap() == values, "{SIZE} bytes");
        });
    }
}

#[test]
fn values_of_all_sizes_come_back_whole() {
    pass_values::<1>();
    pass_values::<13>();
    pass_values::<48>();
    pass_values::<57>();
    pass_values::<320>();
    pass_values::<3000>();
}

#[test]
fn a_value_larger_than_a_stack_goes_into_the_callers_memory() {
    const SIZE: usize = 16 << 20;
    let queue = Options::new(2).create_heap().unwrap();
    queue.producer().unwrap().push(&vec![7; SIZE]).unwrap();
    let mut value: Box<[u8; SIZE]> = vec![0; SIZE].into_boxed_slice().try_into().unwrap();
    let got = queue.consumer().unwrap().pop_values(slice::from_mut(&mut *value));
    assert!(got == Ok(1) && value.iter().all(|&byte| byte == 7));
}
