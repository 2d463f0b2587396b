//! SIGTERM ends our children, whatever this process does with it itself.
//!
//! They inherit that it is ignored or blocked. A signal that finds it ignored is lost, and whoever dropped a
//! daemon would wait for ever; so this is put right before anybody can know that there is a child.
//!
//! The calls fail for numbers that do not exist, and for no other reason.

use std::mem::MaybeUninit;

type Set = libc::sigset_t;

/// From now on it ends this process, at once if it was blocked and came meanwhile. Only async-signal-safe calls.
pub(super) fn accept() {
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    mask(libc::SIG_UNBLOCK, &sigterm());
}

/// Keeps it waiting, for this thread and those that it makes. Returns what was blocked before.
pub(super) fn block() -> Set {
    mask(libc::SIG_BLOCK, &sigterm())
}

/// Blocks what was blocked before, and nothing else.
pub(super) fn restore(before: &Set) {
    mask(libc::SIG_SETMASK, before);
}

fn mask(how: libc::c_int, signals: &Set) -> Set {
    let mut before = *signals;
    // SAFETY: both point to sets.
    unsafe { libc::pthread_sigmask(how, signals, &raw mut before) };
    before
}

fn sigterm() -> Set {
    let mut set = MaybeUninit::uninit();
    // SAFETY: it writes a set to where there is room for one.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is a set now.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM) };
    // SAFETY: written above.
    unsafe { set.assume_init() }
}
