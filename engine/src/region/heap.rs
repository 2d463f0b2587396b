//! Segments on the heap, for the threads of one process.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::layout::geometry::LINE;

#[derive(Debug)]
pub(crate) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

impl Heap {
    /// `len` zeroed bytes; `None` if they cannot be had.
    pub(crate) fn create(len: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len.max(1), LINE).ok()?;
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        NonNull::new(base).map(|base| Self { base, layout })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `create` with this layout; whoever borrows it owns a share of it.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
