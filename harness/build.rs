//! Records what was built: the commit, whether it was dirty, the compiler, the profile.

use std::path::Path;
use std::process::Command;

/// Whatever changes the measured code must bring the recorded commit up to date.
const WATCHED: [&str; 10] = [
    "build.rs",
    "Cargo.toml",
    "src",
    "../engine/src",
    "../Cargo.lock",
    "../Cargo.toml",
    "../rivals/src",
    "../rivals/Cargo.lock",
    "../.git/HEAD",
    "../.git/logs/HEAD",
];

fn main() {
    for path in WATCHED.iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    record("COMMIT", output("git", &["rev-parse", "HEAD"]));
    let changes = output("git", &["status", "--porcelain", "--untracked-files=no", ".."]);
    record("DIRTY", changes.map(|lines| (!lines.is_empty()).to_string()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    record("RUSTC", output(&rustc, &["--version"]));
    record("PROFILE", std::env::var("PROFILE").ok());
    record("OPT_LEVEL", std::env::var("OPT_LEVEL").ok());
    record("TARGET", std::env::var("TARGET").ok());
}

/// Passes a fact on to `env.rs`; an unknown one is simply absent there.
fn record(name: &str, value: Option<String>) {
    if let Some(value) = value {
        println!("cargo::rustc-env=SHMQ_BUILD_{name}={value}");
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
