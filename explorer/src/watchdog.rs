//! If the tracer itself hangs, in a call that must never block, the kernel's alarm says where.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;

/// No experiment takes longer, on whatever machine: it is a fraction of a second on an idle one, and was more
/// than a minute, once in some ten thousand, beside ten other busy processes.
const SECONDS: u32 = 300;

const LENGTH: usize = 160;
static SEED: [AtomicU8; LENGTH] = [const { AtomicU8::new(0) }; LENGTH];
static USED: AtomicUsize = AtomicUsize::new(0);

/// From now on a hang ends the process with the seed that was set last.
pub fn install() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(accuse), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler writes to a descriptor and ends the process, both async-signal-safe.
    unsafe { sigaction(Signal::SIGALRM, &action) }.context("setting an alarm")?;
    Ok(())
}

/// Another experiment, and its time.
pub fn watch(seed: &str) {
    let seed = &seed.as_bytes()[..seed.len().min(LENGTH)];
    for (to, &from) in SEED.iter().zip(seed) {
        to.store(from, Relaxed);
    }
    USED.store(seed.len(), Relaxed);
    alarm::set(SECONDS);
}

/// Nothing to watch any more.
pub fn rest() {
    alarm::cancel();
}

extern "C" fn accuse(_: nix::libc::c_int) {
    let mut text = [0; LENGTH + 64];
    let mut used = 0;
    let seed = SEED[..USED.load(Relaxed)].iter().map(|byte| byte.load(Relaxed));
    let parts = b"\nFAILED: a call hung: --replay ".iter().copied();
    for byte in parts.chain(seed).chain(*b"\n") {
        text[used] = byte;
        used += 1;
    }
    _ = rustix::io::write(rustix::stdio::stderr(), &text[..used]);
    // SAFETY: ends the process; victims die with their tracer.
    unsafe { nix::libc::_exit(1) }
}
