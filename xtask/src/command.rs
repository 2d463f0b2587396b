//! Programs that are run: announced as one could type them, and failing by name.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{self, Stdio};

use anyhow::{Context, Result, bail};

/// Everything started from here has this variable, with a value of this process's own: that is
/// how processes left behind are found.
pub(crate) const MARK: &str = "SHMQ_XTASK_PID";

/// A program and its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    inner: process::Command,
    shown: String,
}

impl Command {
    pub(crate) fn new(program: impl AsRef<OsStr>, shown: impl Into<String>) -> Self {
        let mut inner = process::Command::new(program);
        inner.env(MARK, process::id().to_string());
        Self { inner, shown: shown.into() }
    }

    /// The cargo that runs us.
    pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        args.into_iter().fold(Self::new(program, "cargo"), Self::arg)
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let arg = arg.as_ref();
        self.inner.arg(arg);
        self.shown.push(' ');
        self.shown.push_str(&quoted(arg));
        self
    }

    pub(crate) fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.inner.current_dir(directory);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref();
        self.inner.env(name, value);
        self.shown = format!("{name}={} {}", quoted(value), self.shown);
        self
    }

    /// Builds with `flags` besides the caller's own.
    pub(crate) fn rustflags(mut self, flags: &str) -> Self {
        // It would take precedence.
        self.inner.env_remove("CARGO_ENCODED_RUSTFLAGS");
        let flags = match env::var("RUSTFLAGS") {
            Ok(own) if !own.trim().is_empty() => format!("{} {flags}", own.trim()),
            _ => flags.to_owned(),
        };
        self.env("RUSTFLAGS", flags)
    }

    /// The command line.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) fn announce(&self) {
        println!("$ {}", self.shown);
    }

    /// Runs it; its output is our output.
    pub(crate) fn run(mut self) -> Result<()> {
        self.announce();
        let status = self.inner.status().with_context(|| format!("starting {}", self.shown))?;
        if !status.success() {
            bail!("{} ended with {status}", self.shown);
        }
        Ok(())
    }

    /// Runs it unannounced, and gives its output.
    pub(crate) fn output(mut self) -> Result<Vec<u8>> {
        let output = self
            .inner
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("starting {}", self.shown))?;
        if !output.status.success() {
            bail!("{} ended with {}", self.shown, output.status);
        }
        Ok(output.stdout)
    }

    /// Runs it, shows its output as it comes, and gives that of standard output.
    pub(crate) fn watch(mut self) -> (Result<()>, Vec<String>) {
        self.announce();
        self.inner.stdout(Stdio::piped());
        self.follow(|child| child.stdout.take(), |_| false, std::io::stdout())
    }

    /// The same for standard error. Lines that are noise are not shown.
    pub(crate) fn watch_errors(mut self, noise: fn(&str) -> bool) -> (Result<()>, Vec<String>) {
        self.announce();
        self.inner.stderr(Stdio::piped());
        self.follow(|child| child.stderr.take(), noise, std::io::stderr())
    }

    fn follow<P: Read>(
        mut self,
        pipe: impl FnOnce(&mut process::Child) -> Option<P>,
        noise: fn(&str) -> bool,
        mut ours: impl Write,
    ) -> (Result<()>, Vec<String>) {
        let mut lines = Vec::new();
        let follow = || {
            let mut child =
                self.inner.spawn().with_context(|| format!("starting {}", self.shown))?;
            let mut pipe = BufReader::new(pipe(&mut child).context("the output is piped")?);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line)? > 0 {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !noise(&text) {
                    // Nobody may read us any more; the command goes on.
                    _ = ours.write_all(&line).and_then(|()| ours.flush());
                }
                lines.push(text);
                line.clear();
            }
            let status = child.wait()?;
            if !status.success() {
                bail!("{} ended with {status}", self.shown);
            }
            Ok(())
        };
        let done = follow();
        (done, lines)
    }

    /// The command itself, for who needs more than the above.
    pub(crate) fn into_inner(self) -> process::Command {
        self.inner
    }
}

/// As a shell would need it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
