//! What no lint checks: orderings outside the table, long functions, unlisted mutants.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::mutants::STEPS;

/// The longest function, in lines from its `fn` to its closing brace.
const FUNCTION_MAX: usize = 70;

/// `{path below engine/src, text}` of every source file.
fn engine() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a workspace");
    let source = root.join("engine/src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.sort();
    assert!(files.len() > 10, "this test reads the wrong directory");
    let name = |path: &Path| path.strip_prefix(&source).expect("below").display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).expect("a text"))).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Lines that name an ordering.
fn orderings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const NAMES: [&str; 6] = ["Ordering::", "SeqCst", "AcqRel", "Acquire", "Release", "Relaxed"];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let names = move |line: &str| {
        line.contains(NAMES[0]) || line.split(|c| !word(c)).any(|found| NAMES.contains(&found))
    };
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(move |(_, line)| !is_comment(line) && names(line))
}

#[test]
fn orderings_are_named_in_the_table_only() {
    let mut wrong = Vec::new();
    for (name, text) in engine() {
        if name == "order.rs" {
            continue;
        }
        for (at, line) in orderings(&text) {
            // The fences are the one thing that the table has no row for.
            let is_fence = name == "sync.rs" && line.to_lowercase().contains("fence");
            if !is_fence {
                wrong.push(format!("engine/src/{name}:{at}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "orderings outside engine/src/order.rs:\n{}", wrong.join("\n"));
}

/// `{line, length}` of every function. Relies on rustfmt: a function ends at the first line that
/// is a closing brace with the indentation of its `fn`.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let starts = |line: &str| {
        let words: Vec<_> =
            line.split_whitespace().take_while(|word| !word.contains('(')).collect();
        let in_front = |word: &&str| {
            matches!(*word, "const" | "async" | "unsafe" | "extern" | "fn")
                || word.starts_with("pub")
                || word.starts_with('"')
        };
        let named = line.split_whitespace().position(|word| word == "fn");
        !is_comment(line) && named.is_some_and(|at| words.iter().take(at).all(in_front))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| starts(line)) {
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        // Where the body begins: a declaration without one ends here.
        let body = lines[at..].iter().position(|line| line.contains('{') || line.ends_with(';'));
        let Some(body) = body.filter(|&body| !lines[at + body].ends_with(';')) else {
            continue;
        };
        if lines[at + body].trim_end().ends_with('}') {
            found.push((at + 1, body + 1));
            continue;
        }
        let length = lines[at..].iter().position(|line| *line == closing);
        found.push((at + 1, length.expect("rustfmt closes a function below its fn") + 1));
    }
    found
}

#[test]
fn functions_fit_a_screen() {
    let mut wrong = Vec::new();
    for (name, text) in engine() {
        for (at, length) in functions(&text) {
            if length > FUNCTION_MAX {
                wrong.push(format!("engine/src/{name}:{at}: {length} lines"));
            }
        }
    }
    assert!(wrong.is_empty(), "functions of over {FUNCTION_MAX} lines:\n{}", wrong.join("\n"));
}

#[test]
fn every_mutant_of_the_engine_is_listed() {
    let mut found = BTreeSet::new();
    for (_, text) in engine() {
        for line in text.lines().filter(|line| !is_comment(line)) {
            for call in ["step(\"", "mutant::is(\""] {
                let names = line.match_indices(call).map(|(at, _)| &line[at + call.len()..]);
                found.extend(names.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
    let listed: BTreeSet<_> = STEPS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed, "found in engine/src, and listed in xtask/src/mutants.rs");
}

#[test]
fn the_checks_find_what_they_look_for() {
    let text = "// Ordering::Relaxed\nx.load(Ordering::Relaxed);\nx.load(Acquire);\nAcquired;\n";
    let lines: Vec<_> = orderings(text).map(|(at, _)| at).collect();
    assert_eq!(lines, [2, 3]);
    let text = "impl X {\n    pub(crate) const fn a(&self) -> u8 {\n        let f = |x: fn()| {\n\
        x\n        };\n    }\n    fn b();\n    fn c() {}\n    unsafe fn d(\n    ) {\n    }\n}\n";
    assert_eq!(functions(text), [(2, 5), (8, 1), (9, 3)]);
}
