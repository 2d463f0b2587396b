//! Which process is that, and does it live?
//!
//! Never by time, and what cannot be known counts as alive: a wrong "dead" would corrupt a queue, a
//! late one leaves a line or a slot unused for a while.
//!
//! A process is told apart from any other by its pid, the moment it started, and the *world* that
//! both are relative to: the boot and the pid namespace. All three survive `exec`, threads that come
//! and go, and handles that move between threads; none is inherited by `fork`; a later process of
//! the same pid has another start.

use std::fs;

/// A process, as another can look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Start time, in clock ticks since boot; 0 if unknown.
    pub(crate) started: u64,
}

impl Identity {
    /// Start times have so many bits in a line: two years of ticks, and then the same again.
    pub(crate) const STARTED: u64 = (1 << 36) - 1;

    /// This process, as long as `/proc` knows it by the pid it knows itself by.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        let started = match Stat::of(pid) {
            Looked::Found(stat) => stat.started,
            Looked::Gone | Looked::Unknown => 0,
        };
        Self { pid, started }
    }

    /// Is that process of our world certainly gone?
    pub(crate) fn is_dead(self) -> bool {
        if self.started == 0 {
            return false;
        }
        match Stat::of(self.pid) {
            Looked::Gone => true,
            Looked::Unknown => false,
            Looked::Found(stat) => stat.started != self.started || stat.is_over,
        }
    }
}

/// A hash of the boot and the pid namespace, 0 if unknown. Not kept: a child forked into a new
/// namespace has another than its parent.
pub(crate) fn own_world() -> u64 {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    // A /proc of another namespace knows us by another pid, and others by theirs.
    let known_as = fs::read_link("/proc/self").ok().and_then(|pid| pid.to_str()?.parse().ok());
    let (Ok(boot), Ok(namespace)) = (boot, namespace) else { return 0 };
    if known_as != Some(std::process::id()) {
        return 0;
    }
    let text = format!("{} {}", boot.trim(), namespace.display());
    // FNV-1a: the same in every build, unlike the standard library's hashers.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

enum Looked {
    Found(Stat),
    Gone,
    Unknown,
}

struct Stat {
    started: u64,
    /// A zombie with no thread left.
    is_over: bool,
}

impl Stat {
    fn of(pid: u32) -> Looked {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => Self::parse(pid, &text).map_or(Looked::Unknown, Looked::Found),
            // /proc may be hidden (hidepid) or absent: only "no such process" counts.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let known = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let Some(known) = known else { return Looked::Unknown };
                match rustix::process::test_kill_process(known) {
                    Err(rustix::io::Errno::SRCH) => Looked::Gone,
                    _ => Looked::Unknown,
                }
            }
            Err(_) => Looked::Unknown,
        }
    }

    /// The fields behind the command, which may itself hold spaces and parentheses.
    fn parse(pid: u32, text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        // `started` is field 22 of the file; the state was field 3.
        let started = fields.nth(18)?.parse::<u64>().ok()? & Identity::STARTED;
        // A leader that has exited while its threads run is a zombie, too.
        let is_alone = || match fs::read_dir(format!("/proc/{pid}/task")) {
            Ok(threads) => threads.count() <= 1,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        let is_over = matches!(state, "X" | "x") || (state == "Z" && is_alone());
        Some(Self { started, is_over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn this_process_lives() {
        let own = Identity::own();
        assert_ne!(own.started, 0);
        assert_ne!(own_world(), 0);
        assert!(!own.is_dead());
    }

    #[test]
    fn a_child_is_dead_once_it_is_over_reaped_or_not() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let Looked::Found(stat) = Stat::of(child.id()) else { panic!("no stat of a live child") };
        let identity = Identity { pid: child.id(), started: stat.started };
        assert!(!identity.is_dead());
        child.kill().unwrap();
        while !identity.is_dead() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(identity.is_dead());
    }

    #[test]
    fn another_process_of_the_same_pid_is_not_the_one_that_attached() {
        let own = Identity::own();
        assert!(Identity { started: own.started + 1, ..own }.is_dead());
    }

    #[test]
    fn what_cannot_be_known_counts_as_alive() {
        assert!(!Identity { pid: u32::MAX - 1, started: 0 }.is_dead());
        // Not a pid at all.
        assert!(!Identity { pid: u32::MAX, started: 1 }.is_dead());
    }
}
