//! The examples print what they are said to print.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// What an example printed. `cargo test` has built it, beside this test.
fn run(example: &str) -> String {
    run_with(example, &[])
}

fn run_with(example: &str, args: &[&str]) -> String {
    let own = std::env::current_exe().unwrap();
    let target: PathBuf = own.ancestors().nth(2).unwrap().join("examples");
    let output = Command::new(target.join(example)).args(args).output().unwrap_or_else(|error| {
        panic!("{example}: {error}; build it with cargo build --examples");
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bounded_queue_prints_what_the_tutorial_prints() {
    let started = Instant::now();
    let expected = "False\n\
                    True\n\
                    消息列队已满,现有消息数量:3\n\
                    消息列队已满,现有消息数量:3\n\
                    消息1\n\
                    消息2\n\
                    消息3\n";
    assert_eq!(run("bounded_queue"), expected);
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[test]
fn writer_reader_prints_what_the_tutorial_prints() {
    let expected = "Put A to queue...\n\
                    Put B to queue...\n\
                    Put C to queue...\n\
                    Get A from queue.\n\
                    Get B from queue.\n\
                    Get C from queue.\n\
                    \n\
                    所有数据都写入并且读完\n";
    assert_eq!(run("writer_reader"), expected);
}

#[test]
fn pool_manager_prints_what_the_tutorial_prints() {
    let printed = run("pool_manager");
    let lines: Vec<_> = printed.lines().collect();
    let pid = lines[0].strip_prefix('(').and_then(|rest| rest.strip_suffix(") start")).unwrap();
    assert!(pid.parse::<u32>().is_ok());
    // The pid of the worker between the two; which worker it is, is not determined.
    let began = |line: &str, who: &str| {
        let rest = line.strip_prefix(&format!("{who}启动("));
        let worker = rest.and_then(|rest| rest.strip_suffix(&format!("),父进程为({pid})")));
        worker.is_some_and(|worker| worker != pid && worker.parse::<u32>().is_ok())
    };
    assert!(began(lines[1], "writer") && began(lines[2], "reader"), "{printed}");
    let letters: Vec<_> =
        "dongGe".chars().map(|c| format!("reader从Queue获取到消息:{c}")).collect();
    assert_eq!(lines[3..9], letters);
    assert_eq!(lines[9..], [format!("({pid}) End")]);
}

#[test]
fn pool_throughput_measures_each_way() {
    let printed = run_with("pool_throughput", &["500", "1"]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "500 tasks, 4 workers, median of 1 rounds, tasks per second");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["shmq", "CPython"]);
    for (line, way) in lines[2..].iter().zip(["map, chunksize 1", "map", "apply_async"]) {
        let mut rates = line.strip_prefix(way).unwrap().split_whitespace();
        assert!(rates.next().unwrap().parse::<f64>().unwrap() > 0.0, "{printed}");
        // Python may not be there.
        assert!(rates.next().is_some() && rates.next().is_none(), "{printed}");
    }
    assert_eq!(lines.len(), 5);
}
