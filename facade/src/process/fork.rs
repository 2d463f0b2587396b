//! A copy of this process.
//!
//! The child has all that the parent had, but for its other threads. It never returns to who called us: it
//! runs the closure and ends by `_exit`, so that neither destructors nor `atexit` handlers of the parent run
//! twice. What is printed is buffered in the process; so at the moment of the fork the buffer is empty, and
//! nobody is printing.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process;

use super::child::{FAILED, be, report};
use super::launch::{self, Launched};
use super::orders::Sent;
use super::{Closure, ParentProcess, Plan, ProcessError, current_process, family, sigterm};

/// Runs `closure` in a copy of this process, or gives it back.
pub(super) fn fork(plan: &Plan, closure: Closure) -> Result<Launched, (Closure, ProcessError)> {
    let ready = launch::pidfd(process::id()).and_then(|pidfd| {
        let sent = Sent::blank().map_err(ProcessError::os("memfd_create"))?;
        let name = current_process().name().to_owned();
        Ok((ParentProcess { name, pid: process::id(), pidfd }, sent))
    });
    let (parent, sent) = match ready {
        Ok(ready) => ready,
        Err(error) => return Err((closure, error)),
    };
    let (mut out, err) = (io::stdout().lock(), io::stderr().lock());
    _ = out.flush();
    // After stdout: who has that locked may be starting a child.
    let alone = launch::alone();
    // What comes before the child accepts it is not lost.
    let mask = sigterm::block();
    // SAFETY: whoever made the closure knows what a copy can do (contract of Process::fork).
    let forked = u32::try_from(unsafe { libc::fork() }).map_err(|_| io::Error::last_os_error());
    drop((alone, out, err));
    if let Ok(0) = forked {
        let code = panic::catch_unwind(AssertUnwindSafe(|| live(plan, parent, &sent, closure)));
        end(code.unwrap_or(FAILED));
    }
    sigterm::restore(&mask);
    let child = forked.map_err(ProcessError::os("fork")).and_then(|pid| launch::adopt(pid, sent));
    match child {
        Ok(launched) => {
            give_away(closure);
            Ok(launched)
        }
        Err(error) => Err((closure, error)),
    }
}

thread_local! {
    /// This thread drops what is a child's.
    static GIVES_AWAY: Cell<bool> = const { Cell::new(false) };
}

/// Drops what is a running child's alone from now on.
fn give_away(closure: Closure) {
    /// As it was before; also if that panics.
    struct Given(bool);

    impl Drop for Given {
        fn drop(&mut self) {
            GIVES_AWAY.set(self.0);
        }
    }

    let _given = Given(GIVES_AWAY.replace(true));
    drop(closure);
}

/// Is what is being dropped in use in a child?
pub(crate) fn is_given_away() -> bool {
    GIVES_AWAY.get()
}

/// What the child does; its exit code.
fn live(plan: &Plan, parent: ParentProcess, sent: &Sent, closure: Closure) -> i32 {
    _ = File::open("/dev/null").map(rustix::stdio::dup2_stdin);
    let Plan { name, daemon, identity, .. } = plan;
    // Before threads are made, which inherit what is blocked.
    sigterm::accept();
    // The parent may be in the middle of dropping, and what it drops may fork.
    GIVES_AWAY.set(false);
    let done = be(name.clone(), *daemon, identity.clone(), parent).and_then(|()| closure());
    report(done, name, sent.file())
}

fn end(code: i32) -> ! {
    family::end_children();
    _ = io::stdout().flush();
    // SAFETY: it may be called at any time.
    unsafe { libc::_exit(code) }
}
