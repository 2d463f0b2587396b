//! The explorer itself, as it was built with the tests: a few experiments of each kind.

use std::process::{Command, Output};

fn explorer(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shmq-explorer")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn one_experiment_of_each_kind_is_repeated() {
    for seed in [
        "kill/try_push/half/many-many/40",
        "kill/try_pop/stalled/many-one/t6",
        "freeze/try_push/empty/one-many/t3",
        "freeze/pop/empty/many-many/t4",
        "kill/push/full/many-many/t9",
        "beside/try_push/burning/many-many-1/t5",
        "kill-pair/try_push+try_pop/half/many-many/5,4",
        "freeze-pair/try_push+try_push/resting/many-many-3/5,7",
        "schedule/try_pop+try_push/full/one-one/3,2",
        "freeze/shut_down/half/many-many/t2",
        "end-kill/try_push/half/many-many/t6",
        "end-freeze/try_pop/stalled/many-one/t4",
        "kill-pair/try_push+shut_down/half/one-one/2,3",
        "schedule/shut_down+try_pop/empty/many-many/3,2",
        "kill/try_push_many/half/many-many-12/200",
        // (A get of many clears its buffer, of which an unoptimized build makes too many steps.)
        "freeze/try_push_many/verge/growing/t9",
        "schedule/try_push_many+try_pop/empty/many-many-12/9,4",
    ] {
        let output = explorer(&["--replay", seed]);
        assert!(output.status.success(), "{seed}: {}", text(&output));
        assert!(text(&output).contains("nothing wrong"), "{seed}: {}", text(&output));
    }
}

#[test]
fn a_whole_series_is_counted() {
    let output = explorer(&["--quick", "--only", "schedule/try_push+try_pop/half/many-many"]);
    assert!(output.status.success(), "{}", text(&output));
    let shown = text(&output);
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("0 points, 0 pairs, ") && last.ends_with(": 0 failures"), "{last}");
    assert!(!last.contains(" 0 schedules"), "{last}");
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    for (args, part) in [
        (&["--replay", "kill/try_push/half/many-many"][..], "as in kill/try_push"),
        (&["--replay", "kill/push/stalled/one-one/1"], "is never stalled"),
        (&["--only", "nonsense"], "--list names them"),
        (&["--cpu", "9999"], "CPU 9999"),
    ] {
        let output = explorer(args);
        assert!(!output.status.success());
        assert!(text(&output).contains(part), "{}", text(&output));
    }
}
