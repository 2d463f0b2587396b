//! How those wait that leave it to their user: they look again and again, and give the CPU away when that
//! does not help for long. Without that, more workers than CPUs would wait for each other's time slices.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_utils::Backoff;

const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Attempts while nothing is measured, until there is something.
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    loop {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Attempts until there is something.
#[inline]
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    if let Some(done) = attempt() {
        return done;
    }
    let backoff = Backoff::new();
    loop {
        backoff.snooze();
        if let Some(done) = attempt() {
            return done;
        }
    }
}
