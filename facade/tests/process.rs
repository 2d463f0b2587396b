//! Processes as `multiprocessing` has them.

mod runner;

use std::collections::HashSet;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, mem, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use shmq::{
    Answer, Pool, PoolError, Process, ProcessError, PutError, Queue, active_children, cpu_count,
    current_process, parent_process,
};

const INHERITANCE: &str =
    "Queue objects should only be shared between processes through inheritance";

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process of this program is to play, started by a test as a program of its own.
const PART: &str = "SHMQ_TEST_PART";

fn main() -> ExitCode {
    if env::var_os("SHMQ_TEST_WITHOUT_INIT").is_some() {
        return without_init();
    }
    if env::var_os("SHMQ_TEST_DELETED").is_some() {
        return deleted();
    }
    shmq::init(shmq::tasks![
        nothing,
        end_with,
        fail,
        fail_with_nothing,
        panics,
        put,
        get_all,
        both,
        sum,
        sleep,
        introduce,
        stay_with,
        start_daemon,
        start_child,
        start_child_anyway,
        read_stdin,
        look,
        sort::<u8>,
        echo_bundle,
        drop_it,
        linger,
        leave_one_behind,
        leave_one_to_a_thread,
        fill_up,
        fork_daemon,
        read_all,
        return_queue,
        drop_daemons,
        take_fragile,
    ]);
    if let Ok(part) = env::var(PART) {
        return play(&part);
    }
    runner::run(tests![
        exit_codes_are_those_of_the_task,
        what_went_wrong_travels_back,
        an_answer_need_not_travel,
        arguments_may_panic,
        what_went_wrong_travels_back_though_nobody_reads_it,
        who_is_killed_says_nothing,
        signals_are_negative_exit_codes,
        joining_has_an_end,
        a_process_is_started_once_and_closed_at_the_end,
        an_idle_consumer_can_be_terminated,
        queues_travel_as_arguments,
        queues_travel_in_structs_and_to_grandchildren,
        queues_travel_in_no_other_way,
        arguments_that_cannot_be_encoded_are_an_error_of_start,
        large_arguments_travel,
        every_instance_of_a_generic_function_is_a_task,
        unregistered_functions_are_named,
        init_must_come_first,
        a_program_that_was_replaced_or_deleted_starts_children_of_its_own_kind,
        a_process_knows_itself_and_its_parent,
        a_child_has_the_parents_arguments_and_an_empty_stdin,
        a_child_inherits_what_it_was_handed_and_nothing_else,
        daemons_have_no_children,
        daemons_end_with_their_parent_even_if_it_is_killed,
        dropping_waits_and_terminates_daemons,
        children_that_ended_are_no_zombies,
        a_sentinel_can_be_polled,
        the_cpus_are_counted,
        a_forked_child_has_what_this_process_has,
        forked_children_end_as_others_do,
        forked_children_know_who_they_are,
        queues_work_in_forked_children_beside_busy_threads,
        what_a_forked_child_was_given_is_dropped_once_in_each,
        a_forked_child_knows_which_siblings_are_alive,
        what_was_printed_before_a_fork_is_printed_once,
        a_forked_child_may_have_children,
        forked_daemons_end_with_their_parent,
        a_pool_does_not_run_in_a_forked_child,
        no_copy_holds_up_who_starts_a_child_beside_it,
        whatever_the_parent_does_with_sigterm_it_ends_children,
        the_end_of_a_program_waits_for_its_children,
        the_end_of_a_child_waits_for_its_children,
        the_end_of_a_copy_touches_nobodys_children,
    ])
}

fn nothing() {}

fn end_with(code: i32) {
    exit(code);
}

fn fail(why: String) -> Result<(), Box<dyn Error>> {
    Err(why.into())
}

fn fail_with_nothing() -> Result<(), io::Error> {
    Ok(())
}

fn panics(why: String) {
    panic!("{why} happened");
}

fn put(queue: Queue<u32>, numbers: Vec<u32>) {
    numbers.into_iter().for_each(|number| queue.put(number).unwrap());
}

fn get_all(queue: Queue<u32>, idle: Queue<()>) {
    idle.put(()).unwrap();
    while queue.get().is_ok() {}
}

fn both(name: String, from: Queue<u32>, to: Queue<(String, u32)>) {
    to.put((name, from.get().unwrap())).unwrap();
}

fn sum(bytes: Vec<u8>, to: Queue<u64>) {
    to.put(bytes.iter().map(|&byte| u64::from(byte)).sum()).unwrap();
}

fn sleep() {
    thread::sleep(PATIENCE);
}

/// Who somebody is: name, pid, daemon, name and pid of the parent.
type Introduction = (String, u32, bool, String, u32);

fn introduce(to: Queue<Introduction>) {
    let (own, parent) = (current_process(), parent_process().unwrap());
    assert!(parent.is_alive());
    let parent = (parent.name().to_owned(), parent.pid());
    to.put((own.name().to_owned(), own.pid(), own.daemon(), parent.0, parent.1)).unwrap();
}

/// Tells its pid and stays.
fn stay_with(pids: Queue<u32>) {
    pids.put(std::process::id()).unwrap();
    sleep();
}

fn start_daemon(pids: Queue<u32>) {
    let daemon = Process::new(stay_with, (pids,)).daemon(true);
    daemon.start().unwrap();
    sleep();
}

fn start_child(to: Queue<Introduction>) {
    let child = Process::new(introduce, (to,));
    child.start().unwrap();
    child.join().unwrap();
}

/// What a daemon is told.
fn start_child_anyway(to: Queue<String>) {
    let error = Process::new(nothing, ()).start().unwrap_err();
    to.put(error.to_string()).unwrap();
}

fn read_stdin(to: Queue<(Vec<String>, usize)>) {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).unwrap();
    to.put((env::args().collect(), bytes.len())).unwrap();
}

/// What is open beside the three and the directory being read, and what a `ls` of this process's has.
fn look(to: Queue<(Vec<String>, String)>) {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let link = fs::read_link(entry.unwrap().path()).ok()?;
        Some(link.display().to_string())
    });
    let links = links.filter(|link| !link.ends_with("/fd")).collect();
    let ls = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    to.put((links, String::from_utf8(ls.stdout).unwrap())).unwrap();
}

fn sort<T: Ord + Serialize>(to: Queue<Vec<T>>, mut values: Vec<T>) {
    values.sort();
    to.put(values).unwrap();
}

#[derive(Serialize, Deserialize)]
struct Bundle {
    words: Vec<String>,
    queues: Vec<Queue<String>>,
}

fn echo_bundle(bundle: Bundle, depth: u8) {
    if depth > 0 {
        let child = Process::new(echo_bundle, (bundle, depth - 1));
        child.start().unwrap();
        return child.join().unwrap();
    }
    let Bundle { words, queues } = bundle;
    for (word, queue) in words.into_iter().zip(queues) {
        let asked = queue.get().unwrap();
        queue.put(format!("{asked} {word}")).unwrap();
    }
}

fn started(process: Process) -> Process {
    process.start().unwrap();
    process
}

fn ended(process: Process) -> Process {
    process.start().unwrap();
    assert!(process.join_timeout(PATIENCE).unwrap(), "{process:?} hangs");
    process
}

fn exit_codes_are_those_of_the_task() {
    assert_eq!(ended(Process::new(nothing, ())).exitcode(), Some(0));
    assert_eq!(ended(Process::new(fail_with_nothing, ())).exitcode(), Some(0));
    for code in [0, 1, 7, 255] {
        let process = ended(Process::new(end_with, (code,)));
        assert_eq!(process.exitcode(), Some(code));
        assert_eq!(process.failure(), None);
    }
}

fn what_went_wrong_travels_back() {
    let process = ended(Process::new(fail, ("no milk".to_owned(),)));
    assert_eq!((process.exitcode(), process.failure().as_deref()), (Some(1), Some("no milk")));
    let process = ended(Process::new(panics, ("something".to_owned(),)));
    let failure = process.failure();
    assert_eq!((process.exitcode(), failure.as_deref()), (Some(1), Some("something happened")));
    // With its cause, and the remedy.
    let failure = ended(Process::new(fill_up, ())).failure().unwrap();
    assert!(failure.starts_with("the value was not put: no memory for"), "{failure}");
    assert!(failure.contains("max_bytes"), "{failure}");
}

fn return_queue() -> Result<Queue<u8>, io::Error> {
    Queue::new(1).map_err(io::Error::other)
}

fn an_answer_need_not_travel() {
    let process = ended(Process::new(return_queue, ()));
    assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
}

#[derive(Serialize)]
struct Fragile;

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("not decoded");
    }
}

fn take_fragile(_: Fragile) {}

fn arguments_may_panic() {
    let process = ended(Process::new(take_fragile, (Fragile,)));
    let failure = process.failure();
    assert_eq!((process.exitcode(), failure.as_deref()), (Some(1), Some("not decoded")));
}

fn what_went_wrong_travels_back_though_nobody_reads_it() {
    let mut program = part("deaf").stderr(Stdio::piped()).spawn().unwrap();
    drop(program.stderr.take());
    let output = program.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Some(1) Some(\"no milk\")");
}

fn who_is_killed_says_nothing() {
    for _ in 0..5 {
        let process = started(Process::new(sleep, ()));
        process.kill().unwrap();
        process.join().unwrap();
        assert_eq!((process.exitcode(), process.failure()), (Some(-9), None));
    }
}

fn signals_are_negative_exit_codes() {
    let process = started(Process::new(sleep, ()));
    assert_eq!((process.exitcode(), process.is_alive()), (None, true));
    process.terminate().unwrap();
    process.join().unwrap();
    assert_eq!((process.exitcode(), process.is_alive()), (Some(-15), false));
    let process = started(Process::new(sleep, ()));
    process.kill().unwrap();
    process.join().unwrap();
    assert_eq!(process.exitcode(), Some(-9));
    // It has ended, and been waited for: this hits nobody.
    process.terminate().unwrap();
    process.kill().unwrap();
}

fn joining_has_an_end() {
    let process = started(Process::new(sleep, ()));
    let start = Instant::now();
    assert!(!process.join_timeout(Duration::from_millis(50)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(!process.join_timeout(Duration::ZERO).unwrap());
    process.kill().unwrap();
    assert!(process.join_timeout(Duration::MAX).unwrap());
    assert!(process.join_timeout(Duration::ZERO).unwrap());
}

fn a_process_is_started_once_and_closed_at_the_end() {
    let text = |result: Result<(), ProcessError>| result.unwrap_err().to_string();
    let process = Process::new(sleep, ()).name("sleeper");
    assert_eq!(text(process.join()), "can only join a started process");
    assert_eq!(text(process.terminate()), "can only terminate a started process");
    assert_eq!((process.pid(), process.exitcode(), process.is_alive()), (None, None, false));
    process.start().unwrap();
    assert_eq!(text(process.start()), "cannot start a process twice");
    assert_eq!(process.clone().name("late").daemon(true).get_name(), "sleeper");
    assert!(!process.is_daemon());
    assert!(text(process.close()).starts_with("cannot close a process while it is still running"));
    process.kill().unwrap();
    process.join().unwrap();
    process.close().unwrap();
    for result in [process.start(), process.join(), process.kill()] {
        assert_eq!(text(result), "process object is closed");
    }
    process.close().unwrap();
}

fn an_idle_consumer_can_be_terminated() {
    let (queue, idle) = (Queue::new(3).unwrap(), Queue::new(1).unwrap());
    for _ in 0..3 {
        let consumer = started(Process::new(get_all, (queue.clone(), idle.clone())));
        idle.get_timeout(PATIENCE).unwrap();
        thread::sleep(Duration::from_millis(20));
        consumer.terminate().unwrap();
        consumer.join().unwrap();
        assert_eq!(consumer.exitcode(), Some(-15));
        queue.put(7).unwrap();
        assert_eq!(queue.get_timeout(PATIENCE).unwrap(), 7);
    }
}

fn queues_travel_as_arguments() {
    let queue = Queue::new(0).unwrap();
    let numbers: Vec<u32> = (0..100).collect();
    // What was put stays, even if nobody is left but the one who created the queue.
    assert_eq!(ended(Process::new(put, (queue.clone(), numbers.clone()))).exitcode(), Some(0));
    let got: Vec<_> = (0..100).map(|_| queue.get_nowait().unwrap()).collect();
    assert_eq!(got, numbers);

    let name = format!("facade-{}-argument", std::process::id());
    let named = Queue::builder().maxsize(1).create_named(&name).unwrap();
    let answers = Queue::new(1).unwrap();
    named.put(5).unwrap();
    ended(Process::new(both, ("named".to_owned(), named, answers.clone())));
    assert_eq!(answers.get_nowait().unwrap(), ("named".to_owned(), 5));
}

fn queues_travel_in_structs_and_to_grandchildren() {
    for depth in 0..3 {
        let queues: Vec<_> = (0..5).map(|_| Queue::new(1).unwrap()).collect();
        queues.iter().for_each(|queue| queue.put("who?".to_owned()).unwrap());
        let words = (0..5).map(|number| format!("number {number}")).collect();
        ended(Process::new(echo_bundle, (Bundle { words, queues: queues.clone() }, depth)));
        for (number, queue) in queues.iter().enumerate() {
            assert_eq!(queue.get_nowait().unwrap(), format!("who? number {number}"));
        }
    }
}

fn queues_travel_in_no_other_way() {
    let queue = Queue::<u8>::new(1).unwrap();
    let carrier = Queue::new(1).unwrap();
    let error = carrier.put(Some(queue)).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), INHERITANCE);
    assert!(matches!(error, PutError::Encode { value: Some(_), .. }));
    assert!(carrier.empty());
    // The reason is not told of what failed for another.
    let carrier = Queue::new(1).unwrap();
    let error = carrier.put(Unencodable).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the value cannot be encoded");
}

#[derive(Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no"))
    }
}

fn arguments_that_cannot_be_encoded_are_an_error_of_start() {
    let process = Process::new(drop_it, (Unencodable,)).name("carrier");
    for _ in 0..2 {
        let error = process.start().unwrap_err();
        assert_eq!(error.to_string(), "the arguments of carrier cannot travel");
        assert_eq!(error.source().unwrap().to_string(), "the value cannot be encoded");
    }
    assert!(!process.is_alive());
}

fn drop_it(_: Unencodable) {}

fn large_arguments_travel() {
    let sums = Queue::new(1).unwrap();
    ended(Process::new(sum, (vec![3; 1 << 20], sums.clone())));
    assert_eq!(sums.get_nowait().unwrap(), 3 << 20);
}

fn every_instance_of_a_generic_function_is_a_task() {
    let sorted = Queue::new(1).unwrap();
    ended(Process::new(sort::<u8>, (sorted.clone(), vec![3, 1, 2])));
    assert_eq!(sorted.get_nowait().unwrap(), [1, 2, 3]);
    let sorted = Queue::new(1).unwrap();
    let error = Process::new(sort::<u16>, (sorted, vec![3, 1, 2])).start().unwrap_err();
    assert!(error.to_string().contains("sort<u16> is not registered"), "{error}");
}

fn unregistered_functions_are_named() {
    fn stranger() {}
    let error = Process::new(stranger, ()).start().unwrap_err().to_string();
    let expected = "stranger is not registered; \
                    add it to shmq::init(shmq::tasks![…]) at the start of main";
    assert!(error.starts_with("process::") && error.ends_with(expected), "{error}");
    let closure = Process::new(|| {}, ()).start().unwrap_err().to_string();
    assert!(closure.contains("{{closure}} is not registered"), "{closure}");
}

/// The part of a process that forgets `init`, or calls it too late.
fn without_init() -> ExitCode {
    let error = Process::new(nothing, ()).start().unwrap_err().to_string();
    let expected = "shmq::init was not called, so no other process could run process::nothing";
    assert!(error.starts_with(expected), "{error}");
    if shmq_task_is_set() {
        return ExitCode::from(3);
    }
    shmq::init(shmq::tasks![nothing]);
    let child = ended(Process::new(nothing, ()));
    assert_eq!(child.exitcode(), Some(3));
    let failure = child.failure().unwrap();
    assert!(failure.starts_with("it ended before shmq::init"), "{failure}");
    ExitCode::SUCCESS
}

fn shmq_task_is_set() -> bool {
    env::var_os("SHMQ_TASK").is_some()
}

fn init_must_come_first() {
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.env("SHMQ_TEST_WITHOUT_INIT", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The part of a program whose file is replaced, then deleted, while it runs.
fn deleted() -> ExitCode {
    shmq::init(shmq::tasks![end_with]);
    let own = env::current_exe().unwrap();
    fs::remove_file(&own).unwrap();
    fs::write(&own, "no program").unwrap();
    assert_eq!(ended(Process::new(end_with, (5,))).exitcode(), Some(5));
    fs::remove_file(&own).unwrap();
    assert_eq!(ended(Process::new(end_with, (6,))).exitcode(), Some(6));
    ExitCode::SUCCESS
}

fn a_program_that_was_replaced_or_deleted_starts_children_of_its_own_kind() {
    let copy = env::temp_dir().join(format!("shmq-test-{}", std::process::id()));
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy).env("SHMQ_TEST_DELETED", "1").output();
    _ = fs::remove_file(&copy);
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn a_process_knows_itself_and_its_parent() {
    assert_eq!(current_process().name(), "MainProcess");
    assert!(parent_process().is_none() && !current_process().daemon());
    let own_pid = std::process::id();
    let answers = Queue::new(1).unwrap();

    let child = ended(Process::new(introduce, (answers.clone(),)).name("Ada").daemon(true));
    let (name, pid, daemon, parent, parent_pid) = answers.get_nowait().unwrap();
    assert_eq!((name.as_str(), Some(pid), daemon), ("Ada", child.pid(), true));
    assert_eq!((parent.as_str(), parent_pid), ("MainProcess", own_pid));

    let child = ended(Process::new(start_child, (answers.clone(),)));
    let (name, _, daemon, parent, parent_pid) = answers.get_nowait().unwrap();
    assert_eq!((parent, Some(parent_pid)), (child.get_name(), child.pid()));
    assert_eq!((name, daemon), (format!("{}:1", child.get_name()), false));
    assert!(child.get_name().starts_with("Process-"));
}

fn a_child_has_the_parents_arguments_and_an_empty_stdin() {
    let answers = Queue::new(1).unwrap();
    ended(Process::new(read_stdin, (answers.clone(),)));
    assert_eq!(answers.get_nowait().unwrap(), (env::args().collect(), 0));
}

fn a_child_inherits_what_it_was_handed_and_nothing_else() {
    let _other = Queue::<u8>::new(1).unwrap();
    let answers = Queue::new(1).unwrap();
    ended(Process::new(look, (answers.clone(),)));
    let (links, ls) = answers.get_nowait().unwrap();
    let segments = links.iter().filter(|link| link.starts_with("/memfd:shmq ")).count();
    assert_eq!(segments, 1, "{links:?}");
    assert!(!ls.contains("memfd:") && !ls.contains("pidfd"), "{ls}");
}

fn daemons_have_no_children() {
    let answers = Queue::new(1).unwrap();
    ended(Process::new(start_child_anyway, (answers.clone(),)).daemon(true));
    let expected = "daemonic processes are not allowed to have children";
    assert_eq!(answers.get_nowait().unwrap(), expected);
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

fn wait_for(pidfd: BorrowedFd<'_>) {
    let timeout = PATIENCE.try_into().unwrap();
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ended, 1, "it lives on");
}

fn daemons_end_with_their_parent_even_if_it_is_killed() {
    use std::os::fd::AsFd;
    for signal in [Signal::KILL, Signal::TERM] {
        let pids = Queue::new(1).unwrap();
        let parent = started(Process::new(start_daemon, (pids.clone(),)));
        let daemon = pid(pids.get_timeout(PATIENCE).unwrap());
        let daemon = pidfd_open(daemon, PidfdFlags::empty()).unwrap();
        kill_process(pid(parent.pid().unwrap()), signal).unwrap();
        parent.join().unwrap();
        wait_for(daemon.as_fd());
    }
}

fn dropping_waits_and_terminates_daemons() {
    let queue = Queue::new(0).unwrap();
    drop(started(Process::new(put, (queue.clone(), vec![1, 2, 3]))));
    assert_eq!(queue.qsize(), 3);
    let start = Instant::now();
    drop(started(Process::new(sleep, ()).daemon(true)));
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(active_children().is_empty());
}

fn children_that_ended_are_no_zombies() {
    let children: Vec<_> = (0..4).map(|_| started(Process::new(nothing, ()))).collect();
    let sleeper = started(Process::new(sleep, ()).daemon(true));
    let pids: HashSet<_> = active_children().iter().filter_map(Process::pid).collect();
    assert!(pids.contains(&sleeper.pid().unwrap()));
    let start = Instant::now();
    while active_children().len() > 1 {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
    for child in &children {
        assert!(!fs::exists(format!("/proc/{}", child.pid().unwrap())).unwrap());
    }
    assert!(children.iter().all(|child| child.exitcode() == Some(0)));
}

fn a_sentinel_can_be_polled() {
    let process = Process::new(sleep, ());
    assert!(process.sentinel().is_err());
    process.start().unwrap();
    let sentinel = process.sentinel().unwrap();
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&sentinel, PollFlags::IN)], Some(&now)).unwrap(), 0);
    process.kill().unwrap();
    wait_for(sentinel);
}

fn the_cpus_are_counted() {
    assert!((1..=thread::available_parallelism().unwrap().get()).contains(&cpu_count()));
}

/// Tells its pid, and stays a little.
fn linger(pids: Queue<u32>) {
    pids.put(std::process::id()).unwrap();
    thread::sleep(Duration::from_millis(400));
}

fn leave_one_behind(pids: Queue<u32>) {
    mem::forget(started(Process::new(linger, (pids,))));
}

/// The last handle is being dropped when this one ends.
fn leave_one_to_a_thread(pids: Queue<u32>) {
    let child = started(Process::new(linger, (pids,)));
    thread::spawn(|| drop(child));
    thread::sleep(Duration::from_millis(100));
    assert!(active_children().is_empty());
}

fn fill_up() -> Result<(), PutError<Vec<u8>>> {
    let queue = Queue::builder().max_bytes(1 << 20).create().unwrap();
    loop {
        queue.put(vec![0; 200_000])?;
    }
}

fn fork_daemon(pids: Queue<u32>) {
    mem::forget(started(forked(move || stay_with(pids)).daemon(true)));
    sleep();
}

fn read_all() -> io::Result<()> {
    let mut bytes = Vec::new();
    if io::stdin().read_to_end(&mut bytes)? == 0 { Ok(()) } else { exit(9) }
}

fn forked<R: Answer>(task: impl FnOnce() -> R + Send + 'static) -> Process {
    // SAFETY: the runner's other thread waits. Threads of tests use queues and print, and what they lock
    // besides is not used by forked children.
    unsafe { Process::fork(task) }
}

fn a_forked_child_has_what_this_process_has() {
    let (words, numbers) = (vec!["many", "words"], Queue::new(0).unwrap());
    let (to, here) = (numbers.clone(), env::args().count());
    let process = ended(forked(move || {
        assert_eq!((words, env::args().count()), (vec!["many", "words"], here));
        to.put(1).unwrap();
    }));
    assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
    assert_eq!(numbers.get_nowait().unwrap(), 1);
    assert_eq!(ended(forked(read_all)).exitcode(), Some(0));
}

fn forked_children_end_as_others_do() {
    assert_eq!(ended(forked(|| 7)).exitcode(), Some(0));
    assert_eq!(ended(forked(|| end_with(7))).exitcode(), Some(7));
    let process = ended(forked(|| fail("no milk".to_owned())));
    assert_eq!((process.exitcode(), process.failure().as_deref()), (Some(1), Some("no milk")));
    let process = ended(forked(|| panics("something".to_owned())));
    let failure = process.failure();
    assert_eq!((process.exitcode(), failure.as_deref()), (Some(1), Some("something happened")));
    let process = started(forked(sleep));
    assert!(process.is_alive() && !process.join_timeout(Duration::from_millis(20)).unwrap());
    let error = process.start().unwrap_err();
    assert_eq!(error.to_string(), "cannot start a process twice");
    process.terminate().unwrap();
    wait_for(process.sentinel().unwrap());
    process.join().unwrap();
    assert_eq!(process.exitcode(), Some(-15));
    drop(started(forked(sleep).daemon(true)));
}

fn forked_children_know_who_they_are() {
    let answers = Queue::new(1).unwrap();
    let to = answers.clone();
    let child = ended(forked(move || introduce(to)).name("Ada"));
    let own_pid = std::process::id();
    let expected =
        ("Ada".to_owned(), child.pid().unwrap(), false, "MainProcess".to_owned(), own_pid);
    assert_eq!(answers.get_nowait().unwrap(), expected);
    // By the way, who has other children knows of none there.
    let other = started(Process::new(sleep, ()).daemon(true));
    let to = answers.clone();
    let child = ended(forked(move || {
        assert!(active_children().is_empty());
        ended(forked(|| introduce(to)));
    }));
    assert_eq!(child.failure(), None);
    let (name, _, _, parent, parent_pid) = answers.get_nowait().unwrap();
    assert_eq!((name, &parent), (format!("{parent}:1"), &child.get_name()));
    assert_eq!(Some(parent_pid), child.pid());
    assert!(other.is_alive());
    assert_eq!((current_process().name(), current_process().pid()), ("MainProcess", own_pid));
}

fn queues_work_in_forked_children_beside_busy_threads() {
    const EACH: u32 = 50;
    let queue = |maxsize| Queue::<u32>::builder().maxsize(maxsize).participants(200).create();
    let (to, back) = (queue(4).unwrap(), queue(0).unwrap());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    _ = (to.put_nowait(0), to.get_nowait());
                    // Held while it forks, this would silence a child for ever.
                    let _printing = io::stdout().lock();
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_micros(100) {}
                }
            });
        }
        for _ in 0..20 {
            let (from, to) = (to.clone(), back.clone());
            let process = started(forked(move || {
                print!("");
                (0..EACH).for_each(|number| to.put(number).unwrap());
                from.put_timeout(EACH, PATIENCE).unwrap();
            }));
            for number in 0..EACH {
                assert_eq!(back.get_timeout(PATIENCE).unwrap(), number);
            }
            assert!(process.join_timeout(PATIENCE).unwrap());
            assert_eq!((process.exitcode(), process.failure()), (Some(0), None));
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn what_a_forked_child_was_given_is_dropped_once_in_each() {
    struct Tells(Queue<u32>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.put(std::process::id()).unwrap();
        }
    }

    let drops = Queue::new(0).unwrap();
    let kept = Tells(drops.clone());
    let given = Tells(drops.clone());
    let go = Queue::new(1).unwrap();
    let waits = go.clone();
    let process = forked(move || {
        let _given = given;
        waits.get().unwrap();
    });
    assert!(drops.empty());
    process.start().unwrap();
    // Here at once: it might be what somebody waits for the end of.
    assert_eq!(drops.get_nowait().unwrap(), std::process::id());
    assert!(drops.empty());
    go.put(()).unwrap();
    process.join().unwrap();
    assert_eq!(drops.get_nowait().unwrap(), process.pid().unwrap());
    assert!(drops.empty());
    drop(kept);
    assert_eq!(drops.get_nowait().unwrap(), std::process::id());
}

fn a_forked_child_knows_which_siblings_are_alive() {
    let sibling = std::sync::Arc::new(started(Process::new(sleep, ())));
    let known = sibling.clone();
    let copy = ended(forked(move || {
        assert!(known.is_alive() && known.exitcode().is_none());
        assert!(!known.join_timeout(Duration::from_millis(10)).unwrap());
        known.kill().unwrap();
        known.join().unwrap();
        assert_eq!((known.is_alive(), known.exitcode()), (false, Some(255)));
    }));
    assert_eq!(copy.failure(), None);
    sibling.join().unwrap();
    assert_eq!(sibling.exitcode(), Some(-9));
}

fn drop_daemons(blocks: bool) {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    if blocks {
        SigSet::from(Signal::SIGTERM).thread_block().unwrap();
    } else {
        // SAFETY: no handler is set.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
    }
    for delay in [0, 50] {
        for daemon in [Process::new(sleep, ()), forked(sleep)] {
            let daemon = started(daemon.daemon(true));
            thread::sleep(Duration::from_millis(delay));
            drop(daemon);
        }
    }
    let blocked = SigSet::thread_get_mask().unwrap();
    assert_eq!(blocked.contains(Signal::SIGTERM), blocks);
}

fn whatever_the_parent_does_with_sigterm_it_ends_children() {
    for blocks in [true, false] {
        let parent = started(Process::new(drop_daemons, (blocks,)));
        let in_time = parent.join_timeout(PATIENCE / 4).unwrap();
        parent.kill().unwrap();
        parent.join().unwrap();
        assert!(in_time, "it waits for a daemon, blocks: {blocks}");
        assert_eq!((parent.exitcode(), parent.failure()), (Some(0), None));
    }
}

/// A part played by this program.
fn part(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(PART, name).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn play(part: &str) -> ExitCode {
    match part {
        "print" => {
            print!("before, ");
            ended(forked(|| print!("child, ")));
            print!("after");
        }
        "deaf" => {
            let process = ended(Process::new(fail, ("no milk".to_owned(),)));
            print!("{:?} {:?}", process.exitcode(), process.failure());
        }
        "return" | "exit" => {
            let pids = Queue::new(0).unwrap();
            mem::forget(started(Process::new(linger, (pids.clone(),))));
            mem::forget(started(Process::new(stay_with, (pids.clone(),)).daemon(true)));
            for _ in 0..2 {
                println!("{}", pids.get_timeout(PATIENCE).unwrap());
            }
            if part == "exit" {
                exit(3);
            }
        }
        part => panic!("{part} is no part"),
    }
    ExitCode::SUCCESS
}

fn what_was_printed_before_a_fork_is_printed_once() {
    let output = part("print").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "before, child, after");
}

fn a_forked_child_may_have_children() {
    let sums = Queue::new(1).unwrap();
    let to = sums.clone();
    let process = ended(forked(move || {
        ended(Process::new(sum, (vec![3; 100], to)));
        assert_eq!(Pool::new(1).unwrap().apply(read_all, ()).unwrap(), ());
    }));
    assert_eq!(process.failure(), None);
    assert_eq!(sums.get_nowait().unwrap(), 300);
}

fn forked_daemons_end_with_their_parent() {
    use std::os::fd::AsFd;
    let pids = Queue::new(1).unwrap();
    let parent = started(Process::new(fork_daemon, (pids.clone(),)));
    let daemon = pid(pids.get_timeout(PATIENCE).unwrap());
    let daemon = pidfd_open(daemon, PidfdFlags::empty()).unwrap();
    parent.kill().unwrap();
    parent.join().unwrap();
    wait_for(daemon.as_fd());
}

fn a_pool_does_not_run_in_a_forked_child() {
    let pool = std::sync::Arc::new(Pool::new(1).unwrap());
    let copy = pool.clone();
    let process = ended(forked(move || {
        assert!(matches!(copy.apply(read_all, ()), Err(PoolError::NotRunning)));
        copy.close();
        assert!(matches!(copy.join(), Err(PoolError::NotRunning)));
    }));
    assert_eq!(process.failure(), None);
    pool.apply(read_all, ()).unwrap();
}

fn no_copy_holds_up_who_starts_a_child_beside_it() {
    extern "C" fn linger() {
        if SLOW.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    static SLOW: AtomicBool = AtomicBool::new(true);
    // So that forks last long enough to meet.
    // SAFETY: it may be called at any time; the handler only sleeps.
    assert_eq!(unsafe { nix::libc::pthread_atfork(Some(linger), None, None) }, 0);
    let over = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut copies = Vec::new();
            while !over.load(Ordering::Relaxed) {
                copies.push(started(forked(sleep).daemon(true)));
                copies.truncate(100);
            }
        });
        let starts = scope.spawn(|| {
            let took = (0..20).map(|_| {
                let start = Instant::now();
                ended(Process::new(nothing, ()));
                start.elapsed()
            });
            took.max()
        });
        let took = starts.join();
        over.store(true, Ordering::Relaxed);
        took
    });
    SLOW.store(false, Ordering::Relaxed);
    assert!(took.unwrap() < Some(PATIENCE / 2), "a child was not started before a copy ended");
}

/// Has it ended? (Whoever it was left to may not have waited for it yet.)
fn is_over(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

fn the_end_of_a_program_waits_for_its_children() {
    for (name, code) in [("return", 0), ("exit", 3)] {
        let mut program = part(name).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let pids = [(); 2].map(|()| lines.next().unwrap().unwrap().parse::<u32>().unwrap());
        let start = Instant::now();
        assert_eq!(program.wait().unwrap().code(), Some(code));
        assert!(pids.into_iter().all(is_over), "{name}: a child is left");
        assert!(start.elapsed() < PATIENCE / 2, "{name}: a daemon was waited for");
    }
}

fn the_end_of_a_child_waits_for_its_children() {
    let pids = Queue::new(1).unwrap();
    let (to, handed) = (pids.clone(), (pids.clone(),));
    for child in [
        Process::new(leave_one_behind, handed.clone()),
        Process::new(leave_one_to_a_thread, handed),
        forked(move || leave_one_behind(to)),
    ] {
        let child = ended(child);
        assert_eq!(child.exitcode(), Some(0));
        assert!(is_over(pids.get_nowait().unwrap()));
    }
}

/// Who forks by other means, and ends by `exit`, ends nobody and waits for nobody.
fn the_end_of_a_copy_touches_nobodys_children() {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, alarm, fork};
    let daemon = started(Process::new(sleep, ()).daemon(true));
    let child = started(Process::new(sleep, ()));
    // SAFETY: the runner's other thread waits, and holds no lock that `exit` takes.
    let copy = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            alarm::set(PATIENCE.as_secs() as u32 / 2);
            exit(4 + active_children().len() as i32)
        }
    };
    assert_eq!(waitpid(copy, None).unwrap(), WaitStatus::Exited(copy, 4));
    assert!(daemon.is_alive() && child.is_alive());
    child.kill().unwrap();
}
