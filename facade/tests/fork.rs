//! A queue across `fork`, while other threads of the parent are in the middle of puts and gets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, alarm, fork};
use shmq::Queue;

const CHILDREN: u32 = 10;
const EACH: u32 = 50;

/// Puts and gets in a forked child, which ends with 0 if they succeed.
fn child(out: &Queue<u32>, back: &Queue<u32>) -> ! {
    alarm::set(20);
    let put = (0..EACH).all(|n| out.put(n).is_ok());
    let got = matches!(back.get_timeout(Duration::from_secs(10)), Ok(7));
    // SAFETY: ends the process at once: no destructor of the parent's runs twice.
    unsafe { nix::libc::_exit(i32::from(!put) + 2 * i32::from(!got)) }
}

#[test]
fn children_put_and_get_whatever_their_parents_threads_were_doing() {
    let queue =
        |maxsize| Queue::<u32>::builder().maxsize(maxsize).participants(200).create().unwrap();
    let (busy, out, back) = (queue(4), queue(10_000), queue(1));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            // Threads that keep the locks of all three queues busy.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    _ = (busy.put_nowait(1), busy.get_nowait());
                    _ = (out.put_nowait(EACH), back.put_nowait(7));
                }
            });
        }
        for _ in 0..CHILDREN {
            // SAFETY: the child takes no lock but the allocator's, which glibc makes usable.
            let forked = match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child } => child,
                ForkResult::Child => child(&out, &back),
            };
            let mut from_child = 0;
            while from_child < EACH {
                let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
                if let WaitStatus::Signaled(_, signal, _) = waitid(Id::Pid(forked), look).unwrap() {
                    panic!("after {from_child} of its puts the child was killed by {signal}");
                }
                match out.get_timeout(Duration::from_secs(10)).unwrap() {
                    EACH => {}
                    n => {
                        assert_eq!(n, from_child);
                        from_child += 1;
                    }
                }
            }
            assert_eq!(waitpid(forked, None).unwrap(), WaitStatus::Exited(forked, 0));
        }
        over.store(true, Ordering::Relaxed);
    });
}
