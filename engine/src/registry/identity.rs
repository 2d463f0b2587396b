//! Which process is that, and does it live?
//!
//! Never by time, and what cannot be known counts as alive: a wrong "dead" would corrupt a queue, a
//! late one leaves a line or a slot unused for a while. So who cannot be known is never thought dead: who could be,
//! but for a lack of descriptors or memory, does not attach.
//!
//! A process is told apart from any other by its pid, the moment it started, and the *world* that
//! both are relative to: the boot and the namespaces of pids and of time. All three survive `exec`, threads that come
//! and go, and handles that move between threads; none is inherited by `fork`; a later process of
//! the same pid has another start.

use std::fs;
use std::io;
use std::sync::Mutex;

use rustix::io::Errno;

use crate::lineage::Lineage;

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

/// This process, and its world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    pub(crate) identity: Identity,
    /// A hash of the boot and the namespaces; 0 if unknown.
    pub(crate) world: u64,
}

impl Own {
    /// As `/proc` knows us; kept, if it does, so that later no descriptor is needed, while its links say the same.
    pub(crate) fn get() -> io::Result<Self> {
        static KNOWN: Mutex<Option<(Lineage, u64, Own)>> = Mutex::new(None);
        // Not waited for: in a forked child it may be locked for ever.
        let mut known = KNOWN.try_lock().ok();
        let namespaces = namespaces();
        if let Some(Some((lineage, seen_in, own))) = known.as_deref().copied()
            && lineage.is_own()
            && namespaces == Some(seen_in)
        {
            return Ok(own);
        }
        let own = Self::look(namespaces)?;
        if let Some(known) = known.as_deref_mut().filter(|_| own.can_be_judged()) {
            *known = namespaces.map(|seen_in| (Lineage::own(), seen_in, own));
        }
        Ok(own)
    }

    fn look(namespaces: Option<u64>) -> io::Result<Self> {
        let pid = std::process::id();
        let stat = told(fs::read(format!("/proc/{pid}/stat")))?;
        let stat = stat.and_then(|text| Stat::parse(pid, &text));
        let identity = Identity { pid, started: stat.map_or(0, |stat| stat.started) };
        let boot = told(fs::read_to_string("/proc/sys/kernel/random/boot_id"))?;
        let world = boot.zip(namespaces);
        let world = world.map_or(0, |(boot, seen_in)| hash(&format!("{} {seen_in}", boot.trim())));
        Ok(Self { identity, world })
    }

    fn can_be_judged(self) -> bool {
        self.identity.started != 0 && self.world != 0
    }
}

/// A hash of those that pids and start times belong to; none if `/proc` is not ours.
fn namespaces() -> Option<u64> {
    // A /proc of another namespace knows us by another pid, and others by theirs.
    let known_as = fs::read_link("/proc/self").ok()?;
    if known_as.to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    let pids = fs::read_link("/proc/self/ns/pid").ok()?;
    // Start times are told as of the clock of whoever asks. Older kernels have one for all.
    let time = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(hash(&format!("{} {}", pids.display(), time.display())))
}

/// What a file says, or nothing if we may not know; an error only if we cannot look now.
fn told<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    const LACKS: [Errno; 3] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    match read {
        Err(error) if Errno::from_io_error(&error).is_some_and(|errno| LACKS.contains(&errno)) => {
            Err(error)
        }
        read => Ok(read.ok()),
    }
}

/// FNV-1a: the same in every build, unlike the standard library's hashers.
fn hash(text: &str) -> u64 {
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
        match fs::read(format!("/proc/{pid}/stat")) {
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

    /// The fields behind the command, which may itself hold spaces, parentheses and any other bytes.
    fn parse(pid: u32, text: &[u8]) -> Option<Self> {
        let command = text.iter().rposition(|&byte| byte == b')')?;
        let fields = std::str::from_utf8(&text[command + 1..]).ok()?;
        let mut fields = fields.split_ascii_whitespace();
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
        let own = Own::get().unwrap();
        assert_ne!(own.identity.started, 0);
        assert_ne!(own.world, 0);
        assert!(!own.identity.is_dead());
    }

    #[test]
    fn whatever_a_command_is_called_it_can_be_told() {
        let text = b"7 (a) \xe4\xb8) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        let stat = Stat::parse(7, text).unwrap();
        assert_eq!((stat.started, stat.is_over), (4711, false));
        assert!(Stat::parse(7, b"7 (cut").is_none());
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
        let own = Own::get().unwrap().identity;
        assert!(Identity { started: own.started + 1, ..own }.is_dead());
    }

    #[test]
    fn what_cannot_be_known_counts_as_alive() {
        assert!(!Identity { pid: u32::MAX - 1, started: 0 }.is_dead());
        // Not a pid at all.
        assert!(!Identity { pid: u32::MAX, started: 1 }.is_dead());
    }
}
