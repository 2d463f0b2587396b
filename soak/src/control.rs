//! A word shared by the supervisor and all workers: is it over?

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::mapping::Mapping;

const LEN: usize = 4096;

#[derive(Debug)]
pub(crate) struct Control {
    mapping: Mapping,
}

impl Control {
    pub(crate) fn create() -> io::Result<Self> {
        Ok(Self { mapping: Mapping::create(LEN)? })
    }

    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::open(fd, LEN)? })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.fd()
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped until drop, page-aligned, and an atomic word for everybody.
        unsafe { self.mapping.base().cast().as_ref() }
    }

    pub(crate) fn set_over(&self, over: bool) {
        // ordering: Relaxed, a hint that carries no data
        self.word().store(over.into(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        // ordering: Relaxed, a hint that carries no data
        self.word().load(Ordering::Relaxed) != 0
    }
}
