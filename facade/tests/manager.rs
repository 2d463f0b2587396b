//! A manager's queues travel in any way, and say so when there is nothing left to arrive.

mod runner;

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shmq::{GetError, Manager, ManagerQueue, Pool, Process, PutError, Queue};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    shmq::init(shmq::tasks![put, put_all, answer, send_own, pass_on, put_in_bundle]);
    runner::run(tests![
        it_is_a_queue,
        it_is_an_argument_of_processes_and_of_tasks,
        it_travels_through_queues,
        it_outlives_the_process_that_made_it,
        a_manager_keeps_what_is_travelling,
        the_sender_keeps_what_its_manager_has_lost,
        without_holders_there_is_an_error,
        another_queue_in_its_place_is_noticed,
        what_cannot_be_opened_is_not_said_to_be_gone,
        nothing_is_left_behind,
        what_is_released_is_held_by_nobody_else,
        values_need_not_be_debug,
    ])
}

fn put(queue: ManagerQueue<u32>, number: u32) -> Result<usize, PutError<u32>> {
    queue.put(number)?;
    Ok(queue.maxsize())
}

fn put_all(queue: ManagerQueue<u32>, numbers: Vec<u32>) {
    numbers.into_iter().for_each(|number| queue.put(number).unwrap());
}

#[derive(Deserialize, Serialize)]
struct Bundle {
    to: Option<ManagerQueue<u32>>,
    numbers: Vec<u32>,
}

fn put_in_bundle(bundle: Bundle) {
    put_all(bundle.to.unwrap(), bundle.numbers);
}

/// Gets queues to answer in, until there is an error.
fn answer(from: Queue<Option<ManagerQueue<u32>>>) {
    let mut number = 0;
    while let Some(to) = from.get().unwrap() {
        to.put(number).unwrap();
        number += 1;
    }
}

/// Sends a queue of its own with 7 in it, and stays for a while if asked to.
fn send_own(to: Queue<ManagerQueue<u32>>, stay: Queue<()>) {
    let queue = Manager::new().queue(3).unwrap();
    queue.put(7).unwrap();
    to.put(queue.clone()).unwrap();
    stay.get().unwrap();
}

/// Sends on what it gets, and keeps it for a while.
fn pass_on(from: Queue<ManagerQueue<u32>>, to: Queue<ManagerQueue<u32>>, stay: Queue<()>) {
    let queue = from.get().unwrap();
    to.put(queue.clone()).unwrap();
    stay.get().unwrap();
}

fn queue<T>() -> Queue<T> {
    Queue::new(0).unwrap()
}

fn it_is_a_queue() {
    let queue = Manager::new().queue(2).unwrap();
    queue.put('a').unwrap();
    queue.clone().put('b').unwrap();
    assert!(queue.full() && queue.maxsize() == 2 && queue.put_nowait('c').unwrap_err().is_full());
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), ('a', 'b'));
    let builder = Queue::<u8>::builder().maxsize(1).message_max(100);
    assert_eq!(Manager::new().create(builder).unwrap().message_max(), 100);
}

fn it_is_an_argument_of_processes_and_of_tasks() {
    let queue = Manager::new().queue(0).unwrap();
    let process = Process::new(put_all, (queue.clone(), vec![1, 2]));
    process.start().unwrap();
    process.join().unwrap();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(put, (queue.clone(), 3)).unwrap(), 0);
    pool.apply(put_in_bundle, (Bundle { to: Some(queue.clone()), numbers: vec![4, 5] },)).unwrap();
    assert_eq!((0..5).map(|_| queue.get_nowait().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let many = (0..200).map(|number| (queue.clone(), number));
    pool.starmap(put, many, None).unwrap();
    let mut got: Vec<_> = (0..200).map(|_| queue.get_nowait().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

fn it_travels_through_queues() {
    let manager = Manager::new();
    let requests = queue();
    let process = Process::new(answer, (requests.clone(),));
    process.start().unwrap();
    for number in 0..20 {
        let answers = manager.queue(1).unwrap();
        requests.put(Some(answers.clone())).unwrap();
        assert_eq!(answers.get_timeout(PATIENCE).unwrap(), number);
    }
    requests.put(None).unwrap();
    process.join().unwrap();
    assert_eq!(process.exitcode(), Some(0));
}

fn it_outlives_the_process_that_made_it() {
    let (sent, stay) = (queue(), queue());
    let process = Process::new(send_own, (sent.clone(), stay.clone()));
    process.start().unwrap();
    let received = sent.get_timeout(PATIENCE).unwrap();
    stay.put(()).unwrap();
    process.join().unwrap();
    assert_eq!(received.get_nowait().unwrap(), 7);
    // Who has it can send it.
    let carrier = queue();
    carrier.put(received.clone()).unwrap();
    received.put(8).unwrap();
    assert_eq!(carrier.get().unwrap().get_nowait().unwrap(), 8);
}

fn a_manager_keeps_what_is_travelling() {
    let (manager, carrier) = (Manager::new(), queue());
    let travelling = manager.queue(1).unwrap();
    travelling.put(9).unwrap();
    carrier.put(travelling).unwrap();
    let arrived = carrier.get().unwrap();
    drop(manager);
    assert_eq!(arrived.get_nowait().unwrap(), 9);
}

fn the_sender_keeps_what_its_manager_has_lost() {
    let (first, second, stay, stay_too) = (queue(), queue(), queue(), queue());
    let owner = Process::new(send_own, (first.clone(), stay));
    let sender = Process::new(pass_on, (first, second.clone(), stay_too.clone()));
    sender.start().unwrap();
    owner.start().unwrap();
    // It is here when the sender has it.
    while second.empty() {
        thread::yield_now();
    }
    owner.kill().unwrap();
    owner.join().unwrap();
    assert_eq!(second.get().unwrap().get_nowait().unwrap(), 7);
    stay_too.put(()).unwrap();
    sender.join().unwrap();
}

fn is_gone(carrier: &Queue<ManagerQueue<u32>>) {
    let error = carrier.get().unwrap_err();
    assert!(matches!(error, GetError::Decode { .. }), "{error}");
    let why = error.source().unwrap().to_string();
    assert!(
        why.starts_with("neither the manager's process nor the sender's has this queue"),
        "{why}"
    );
}

fn without_holders_there_is_an_error() {
    let (carrier, stay) = (queue(), queue());
    stay.put(()).unwrap();
    let process = Process::new(send_own, (carrier.clone(), stay));
    process.start().unwrap();
    process.join().unwrap();
    is_gone(&carrier);
}

fn another_queue_in_its_place_is_noticed() {
    let carrier = queue();
    let manager = Manager::new();
    carrier.put(manager.queue(1).unwrap()).unwrap();
    drop(manager);
    // Their descriptors take the place of the one that was closed.
    let others: Vec<_> = (0..3).map(|_| queue::<u32>()).collect();
    is_gone(&carrier);
    drop(others);
    carrier.put(Manager::new().queue(1).unwrap()).unwrap();
    let others: Vec<_> = (0..3).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    is_gone(&carrier);
    drop(others);
}

fn what_cannot_be_opened_is_not_said_to_be_gone() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (manager, carrier) = (Manager::new(), queue());
    let (two, carrier_too) = (manager.joinable_queue::<u32>(1).unwrap(), queue());
    carrier.put(manager.queue::<u32>(1).unwrap()).unwrap();
    carrier_too.put(two).unwrap();
    // What is open stays open.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let errors = (carrier.get().unwrap_err(), carrier_too.get().unwrap_err());
    setrlimit(Resource::Nofile, limit).unwrap();
    for error in [errors.0, errors.1] {
        let why = error.source().unwrap().to_string();
        assert!(why.contains("can be opened: Too many open files"), "{why}");
    }
}

fn nothing_is_left_behind() {
    let segments = || fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_segment).count();
    let (before, carrier) = (segments(), queue());
    for _ in 0..10 {
        let manager = Manager::new();
        carrier.put(manager.queue(1).unwrap()).unwrap();
        carrier.get().unwrap().put(1).unwrap();
    }
    assert_eq!(segments(), before + 1);
}

fn what_is_released_is_held_by_nobody_else() {
    let segments = || fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_segment).count();
    let (manager, kept) = (Manager::new(), Manager::new().queue::<u32>(1).unwrap());
    let before = segments();
    for _ in 0..10 {
        manager.release(&manager.queue::<u32>(1).unwrap());
        manager.release_joinable(&manager.joinable_queue::<u32>(1).unwrap());
    }
    assert_eq!(segments(), before);
    // It is another's.
    manager.release(&kept);
    // It still travels, while whoever sends it has it.
    let (queue, carrier) = (manager.queue(1).unwrap(), queue());
    manager.release(&queue);
    carrier.put(queue.clone()).unwrap();
    carrier.get().unwrap().put(5).unwrap();
    assert_eq!(queue.get_nowait().unwrap(), 5);
}

fn values_need_not_be_debug() {
    struct Plain;
    let manager = Manager::new();
    assert!(format!("{:?}", manager.queue::<Plain>(1).unwrap()).contains("ManagerQueue"));
    assert!(format!("{:?}", manager.joinable_queue::<Plain>(1).unwrap()).contains("Joinable"));
}

fn is_segment(entry: &fs::DirEntry) -> bool {
    fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:shmq"))
}
