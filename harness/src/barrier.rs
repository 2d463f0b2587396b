//! One page shared by the runner and the workers of a cell: ready, go, stop, finished.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;

use crate::error::{During, Result};

const PAGE_BYTES: usize = 4096;

/// A counter on a cache line of its own, so that polling `stop` costs nothing.
#[repr(C, align(128))]
struct Line(AtomicU32);

/// Zeroed memory, as a fresh memfd is, is a valid page.
#[repr(C)]
struct Page {
    ready: Line,
    go: Line,
    stop: Line,
    producers_finished: Line,
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);

#[derive(Debug)]
pub(crate) struct Barrier {
    page: NonNull<Page>,
    fd: OwnedFd,
}

// SAFETY: the page is mapped until drop, whichever thread drops it
unsafe impl Send for Barrier {}
// SAFETY: only its atomics are used
unsafe impl Sync for Barrier {}

impl Barrier {
    pub(crate) fn new() -> Result<Barrier> {
        let fd =
            memfd_create("shmq-harness-barrier", MemfdFlags::CLOEXEC).during("memfd_create")?;
        ftruncate(&fd, PAGE_BYTES as u64).during("ftruncate")?;
        Barrier::from_fd(fd)
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Barrier> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let place = std::ptr::null_mut();
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours
        let page = unsafe { mmap(place, PAGE_BYTES, protection, MapFlags::SHARED, &fd, 0) };
        let page = NonNull::new(page.during("mmap")?.cast()).expect("mmap never returns null");
        Ok(Barrier { page, fd })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until drop, page-aligned, large enough (asserted), atomics only
        unsafe { self.page.as_ref() }
    }

    /// Worker: report ready.
    pub(crate) fn arrive(&self) {
        let ready = &self.page().ready.0;
        // ordering: Release, the worker is set up; pairs with Acquire in `wait_ready`
        ready.fetch_add(1, Ordering::Release);
        let _ = futex::wake(ready, futex::Flags::empty(), 1);
    }

    /// Worker: report ready, then sleep until the runner says go.
    pub(crate) fn arrive_and_wait(&self) {
        self.arrive();
        let go = &self.page().go;
        // ordering: Acquire, pairs with Release in `go`
        while go.0.load(Ordering::Acquire) == 0 {
            let _ = futex::wait(&go.0, futex::Flags::empty(), 0, None);
        }
    }

    /// Runner: true once so many `seats` have arrived, false after `patience`.
    pub(crate) fn wait_ready(&self, seats: usize, patience: Duration) -> bool {
        let ready = &self.page().ready.0;
        let timeout = timespec(patience);
        loop {
            // ordering: Acquire, pairs with Release in `arrive`
            let arrived = ready.load(Ordering::Acquire);
            if arrived as usize >= seats {
                return true;
            }
            let slept = futex::wait(ready, futex::Flags::empty(), arrived, Some(&timeout));
            if slept == Err(Errno::TIMEDOUT) {
                return false;
            }
        }
    }

    pub(crate) fn go(&self) {
        let go = &self.page().go.0;
        // ordering: Release, pairs with Acquire in `arrive_and_wait`
        go.store(1, Ordering::Release);
        let _ = futex::wake(go, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Runner: no new messages, please.
    pub(crate) fn stop(&self) {
        // ordering: Relaxed, a hint that carries no data
        self.page().stop.0.store(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn stopped(&self) -> bool {
        // ordering: Relaxed, a hint that carries no data
        self.page().stop.0.load(Ordering::Relaxed) != 0
    }

    /// Producer: true for the last of `producers` to finish, who then sends the END messages.
    pub(crate) fn finish_as_last(&self, producers: u16) -> bool {
        let finished = &self.page().producers_finished.0;
        // ordering: AcqRel, the others' last messages were sent before our END messages
        finished.fetch_add(1, Ordering::AcqRel) + 1 == u32::from(producers)
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: mapped by `from_fd` with this length; references to it end with `self`
        let _ = unsafe { munmap(self.page.as_ptr().cast(), PAGE_BYTES) };
    }
}

fn timespec(duration: Duration) -> futex::Timespec {
    futex::Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_mapping_sees_the_same_page() {
        let runner = Barrier::new().unwrap();
        let worker = Barrier::from_fd(runner.fd().try_clone_to_owned().unwrap()).unwrap();
        assert!(!runner.wait_ready(1, Duration::from_millis(1)));
        runner.go();
        worker.arrive_and_wait();
        assert!(runner.wait_ready(1, Duration::from_secs(1)));
        assert!(!worker.stopped());
        runner.stop();
        assert!(worker.stopped());
    }

    #[test]
    fn only_the_last_producer_is_last() {
        let barrier = Barrier::new().unwrap();
        assert!(!barrier.finish_as_last(2));
        assert!(barrier.finish_as_last(2));
    }
}
