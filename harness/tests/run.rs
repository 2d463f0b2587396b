//! Short but real runs over every transport.

#[allow(dead_code, reason = "every test file uses its own part")]
mod common;

use std::fs;
use std::path::Path;

use common::tiny;
use serde_json::Value;

const TRANSPORTS: [&str; 6] = ["shmq", "pipe", "pipe-1m", "unix-stream", "unix-seqpacket", "tcp"];

/// Runs and returns what `--json -` printed; nothing else may be on standard output.
fn measure(folder: &Path, arguments: &[&str]) -> Value {
    let output = tiny(folder, arguments).args(["--json", "-"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn cells<'a>(report: &'a Value, mode: &str) -> Vec<&'a Value> {
    let cells = report["cells"].as_array().unwrap().iter();
    cells.filter(|cell| cell["mode"] == mode).collect()
}

#[test]
fn every_transport_streams_and_answers_verified() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(folder.path(), &["--topology=1p1c", "--size=8,1024"]);
    assert_eq!(report["schema"], 1);
    for mode in ["stream", "rtt"] {
        let cells = cells(&report, mode);
        assert_eq!(cells.len(), 2 * TRANSPORTS.len());
        for cell in cells {
            check(cell);
            assert_eq!(cell["percentiles"].is_object(), mode == "rtt");
        }
    }
    assert_eq!(report["failed"].as_array().unwrap().len(), 0);
    for transport in TRANSPORTS {
        let cells = cells(&report, "stream");
        assert!(cells.iter().any(|cell| cell["transport"] == transport), "{transport}");
    }
}

fn check(cell: &Value) {
    assert_eq!(cell["verified"], true, "{cell}");
    assert_eq!(cell["unit"], "ns");
    assert_eq!(cell["rounds"], 2);
    let number = |name: &str| cell[name].as_f64().unwrap();
    assert!(0.0 < number("low"), "{cell}");
    assert!(number("low") <= number("median") && number("median") <= number("high"), "{cell}");
    assert!(number("cpu_ns_per_message") > 0.0, "{cell}");
    let messages = cell["messages"].as_array().unwrap();
    assert!(messages.iter().all(|messages| messages.as_u64().unwrap() > 0), "{cell}");
    assert_eq!(cell["ratio"].is_object(), cell["transport"] != "shmq");
}

#[test]
fn sharing_and_oversubscription_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(folder.path(), &["--topology=1p2c,2p1c,3p3c", "--size=64", "--pin=none"]);
    let cells = cells(&report, "stream");
    assert_eq!(cells.len(), 5 * 3, "shmq, shmq-unbounded, pipe, pipe-1m and unix-seqpacket");
    cells.iter().for_each(|cell| check(cell));
    let unavailable = report["unavailable"].as_array().unwrap();
    assert_eq!(unavailable.len(), 2 * 3);
    assert!(unavailable.iter().all(|cell| cell["why"].as_str().unwrap().contains("byte stream")));
}

#[test]
fn large_messages_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(folder.path(), &["--topology=1p1c", "--size=131072"]);
    assert_eq!(cells(&report, "stream").len(), TRANSPORTS.len());
    report["cells"].as_array().unwrap().iter().for_each(check);
}

#[test]
fn huge_messages_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(folder.path(), &["--topology=1p1c", "--size=67108864", "--mode=stream"]);
    assert_eq!(cells(&report, "stream").len(), TRANSPORTS.len() - 1, "all but unix-seqpacket");
    report["cells"].as_array().unwrap().iter().for_each(check);
}

#[test]
fn our_other_queues_are_verified_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ours = "--transport=shmq,shmq-unbounded,shmq-ref,shmq-loan";
    let report = measure(folder.path(), &[ours, "--topology=1p1c,2p2c", "--size=64,70000"]);
    assert_eq!(cells(&report, "stream").len(), 4 * 2 * 2);
    assert_eq!(cells(&report, "rtt").len(), 4 * 2);
    report["cells"].as_array().unwrap().iter().for_each(check);
}

#[test]
fn queues_for_one_are_verified_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ours = "--transport=shmq,shmq-spsc,shmq-spmc,shmq-mpsc";
    let report = measure(folder.path(), &[ours, "--topology=1p1c,1p3c,3p1c", "--size=8,70000"]);
    assert_eq!(cells(&report, "stream").len(), (4 + 2 + 2) * 2);
    assert_eq!(cells(&report, "rtt").len(), 4 * 2);
    report["cells"].as_array().unwrap().iter().for_each(check);
}

#[test]
fn batches_are_verified_and_every_consumer_sees_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let topologies = "--topology=1p1c,1p4c,4p1c,3p3c";
    let ours = "--transport=shmq,shmq-batch";
    let report = measure(folder.path(), &[ours, topologies, "--size=8,16384"]);
    assert_eq!(cells(&report, "stream").len(), 2 * 4 * 2);
    report["cells"].as_array().unwrap().iter().for_each(check);
}

#[test]
fn what_is_no_queue_is_verified_and_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let transports = "--transport=shmq,bare-stream,bare-memcpy";
    let arguments = [transports, "--topology=1p1c", "--size=8,56,1024"];
    let report = measure(folder.path(), &arguments);
    let cells = cells(&report, "stream");
    assert_eq!(cells.len(), 3 * 3);
    for cell in cells {
        check(cell);
        let copies = cell["transport"] == "bare-memcpy";
        assert_eq!(cell["one_process"].as_bool(), copies.then_some(true));
    }
    assert_eq!(report["unavailable"].as_array().unwrap().len(), 2 * 3);
}

#[test]
fn the_environment_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--transport=pipe", "--topology=1p1c", "--size=8", "--mode=stream"];
    let env = measure(folder.path(), &arguments)["env"].clone();
    assert_eq!(env["seed"], 7);
    assert_eq!(env["rounds"], 2);
    assert_eq!(env["debug_build"], cfg!(debug_assertions));
    assert!(env["command"].as_str().unwrap().starts_with("shmq-harness --allow-debug"));
    assert!(env["rustc"].as_str().unwrap().starts_with("rustc "));
    assert!(env["kernel"].as_str().unwrap().starts_with("Linux "));
    assert!(env["clock_overhead_ns"].as_f64().unwrap() > 0.0);
    assert!(env["cores_allowed"].as_u64().unwrap() > 0);
    let moment = env["date"].as_str().unwrap();
    assert!(moment.ends_with('Z') && moment.len() == 20, "{moment}");
}

#[test]
fn the_folder_gets_all_forms_of_the_report_and_people_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/report");
    let extra = folder.path().join("extra.json");
    let selection = ["--transport=shmq,pipe", "--topology=1p1c", "--size=8", "--mode=stream"];
    let output = tiny(&out, &selection).arg("--json").arg(&extra).output().unwrap();
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("1p1c streaming") && table.contains(" ns ["), "{table}");
    assert!(table.contains("Command: shmq-harness"), "{table}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("round 2 of 2 done") && stderr.contains("report.html"), "{stderr}");
    assert!(!stderr.contains('\x1b'), "escape sequences without a terminal: {stderr:?}");

    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("report.json"), fs::read_to_string(extra).unwrap());
    assert_eq!(read("report.csv").lines().count(), 3);
    let page = read("report.html");
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme"));
    for reference in ["http:", "https:", "src=", "href=", "url(", "<script"] {
        assert!(!page.contains(reference), "the page refers to {reference}");
    }
}

#[test]
fn the_distance_of_the_cpus_is_recorded_and_can_be_asked_for() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let one_cell = ["--transport=shmq", "--topology=1p1c", "--size=8", "--mode=stream"];
    let report = measure(folder.path(), &[&one_cell[..], &["--line-ns=1..100000000"]].concat());
    let lines = report["cells"][0]["line_ns"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|ns| ns.as_f64().unwrap() >= 1.0), "{lines:?}");

    let impossible =
        tiny(folder.path(), &[&one_cell[..], &["--line-ns=0..1"]].concat()).output().unwrap();
    assert!(!impossible.status.success());
    let text = String::from_utf8(impossible.stdout).unwrap();
    assert!(text.contains("never 0 to 1"), "{text}");
}
