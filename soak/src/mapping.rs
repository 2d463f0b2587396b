//! A memory file, mapped: what is written there outlives the writer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
}

impl Mapping {
    /// Of `len` zeroed bytes, all of them there.
    pub(crate) fn create(len: usize) -> io::Result<Self> {
        let fd = memfd_create("shmq-soak", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, len as u64)?;
        fallocate(&fd, FallocateFlags::empty(), 0, len as u64)?;
        Self::open(fd, len)
    }

    /// The same in another process.
    pub(crate) fn open(fd: OwnedFd, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
        let base = unsafe { mmap(std::ptr::null_mut(), len, access, flags, &fd, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { base, len, fd })
    }

    /// Page-aligned, and mapped until drop.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length; who uses it borrows or owns `self`.
        _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
