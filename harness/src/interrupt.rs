//! SIGINT and SIGTERM: the trial under way is given up, its workers are stopped, and what they would
//! leave behind is removed. (The workers of a runner that is killed end with it, see
//! `worker::die_with_parent`.)

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{During, Error, Result};

/// Where nobody looks for signals (the report is being written), they end us after this time.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Interrupt {
    /// At its end once there was a signal.
    pipe: OwnedFd,
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let (pipe, open) = pipe_with(PipeFlags::CLOEXEC).during("pipe2")?;
        let mut signals = Signals::new([SIGINT, SIGTERM]).during("sigaction")?;
        let signal = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&signal);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // ordering: Release, pairs with Acquire in `check`; the pipe would do, too
                told.store(signal, Ordering::Release);
                drop(open);
                thread::sleep(GRACE);
                exit(128 + signal);
            }
        });
        Ok(Self { pipe, signal })
    }

    /// Something to poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// An error if there was a signal.
    pub(crate) fn check(&self) -> Result<()> {
        // ordering: Acquire, pairs with Release in `watch`
        match self.signal.load(Ordering::Acquire) {
            0 => Ok(()),
            signal => {
                if io::stderr().is_terminal() {
                    eprint!("\r\x1b[2K");
                }
                Err(Error::Interrupted(signal))
            }
        }
    }
}
