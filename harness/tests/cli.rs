//! What the command line says, without measuring anything.

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use common::{harness, tiny};

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = harness(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn bad_values_are_refused_and_the_allowed_ones_named() {
    let cases: [(&[&str], &str); 20] = [
        (&["--transport", "smoke"], "unix-seqpacket"),
        (&["--transport", ""], "pipe-1m"),
        (&["--size", "12"], "multiples of 8 from 8 to 67108864"),
        (&["--size", "0"], "multiples of 8"),
        (&["--size", "8,x"], "multiples of 8"),
        (&["--topology", "0p1c"], "NpMc"),
        (&["--topology", "1c1p"], "1 to 32"),
        (&["--topology", "99p1c"], "1 to 32"),
        (&["--mode", "latency"], "stream, rtt"),
        (&["--size", "-8"], "multiples of 8"),
        (&["--rounds", "-1"], "1 to 1000"),
        (&["--rounds", "many"], "1 to 1000"),
        (&["--slice-ms", "0"], "1 to 10000"),
        (&["--slice-ms", "1.5"], "1 to 10000"),
        (&["--patience", "0"], "1 to 3600"),
        (&["--seed", "-1"], "0 to 18446744073709551615"),
        (&["--pin", "left"], "auto, none"),
        (&["--line-ns", "100..60"], "60..100"),
        (&["--allow-debug", "--line-ns", "60..100", "--pin", "none"], "--pin auto"),
        (&["--fast"], "--fast"),
    ];
    for (arguments, allowed) in cases {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.contains(allowed), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_selection_without_available_cells_says_why() {
    let nothing = ["--allow-debug", "--transport=tcp", "--topology=2p2c"];
    let (code, _, stderr) = run(&nothing);
    assert_eq!(code, 2);
    assert!(stderr.contains("nothing to measure") && stderr.contains("byte stream"), "{stderr}");

    let (code, _, stderr) = run(&["--allow-debug", "--mode=rtt", "--topology=2p2c"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("1p1c"), "{stderr}");
}

#[test]
fn list_names_every_cell_and_every_gap_and_measures_nothing() {
    let (code, stdout, stderr) = run(&["--list"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().count(), 6 * 5 * 4 + 6 + 6);
    assert_eq!(stdout.lines().filter(|line| line.contains("N/A")).count(), 40);
    assert!(stdout.contains("stream shmq 4p4c 16384 B\n"));
    assert!(stdout.contains("stream shmq-unbounded 2p2c 64 B\n"));
    assert!(stdout.contains("stream tcp 1p2c 8 B  N/A: a byte stream"));
    assert!(stdout.contains("rtt unix-seqpacket 1p1c 64 B\n"));
}

#[test]
fn list_follows_the_selection() {
    let (_, stdout, _) =
        run(&["--list", "--transport", "pipe,shmq", "--size", "64", "--topology", "3p2c"]);
    assert_eq!(stdout, "stream shmq 3p2c 64 B\nstream pipe 3p2c 64 B\n");
}

#[test]
fn help_and_version_are_answered() {
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for flag in
        ["--quick", "--out", "--transport", "--json", "--pin", "--list", "--patience", "pipe-1m"]
    {
        assert!(stdout.contains(flag), "{flag} is missing in\n{stdout}");
    }
    assert!(!stdout.contains("__worker") && !stdout.contains("allow-debug"));
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, concat!("shmq-harness ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
#[cfg(debug_assertions)]
fn a_debug_build_refuses_numbers_and_names_the_remedy() {
    let (code, stdout, stderr) = run(&["--quick"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("cargo run --release"), "{stderr}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = tiny(&file, &["--transport=pipe", "--topology=1p1c", "--size=8"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot write"), "{stderr}");
    // What was measured is not lost for that.
    assert!(String::from_utf8(output.stdout).unwrap().contains("pipe"));
}

#[test]
fn a_worker_without_a_runner_says_so_and_ends() {
    let (code, stdout, _) = run(&["__worker", "{}"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("\"error\":\""), "{stdout}");
}
