//! Which copy of a process is this? A handle that comes through `fork` is the parent's.
//!
//! A page that the kernel empties in every forked child (`MADV_WIPEONFORK`) holds a number; a child
//! finds 0 there and stores the next one. So "am I still the process that attached?" is a load of
//! memory that nobody else writes, cheap enough for every operation. Pids would need a system call
//! each time, and come back.

use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::param::page_size;

use crate::order::{LINEAGE, LOST, PAGE_SET, PAGED};
use crate::sync::Word;

/// Remembers the process in which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Lineage {
    page: &'static Word,
    number: u64,
}

/// Instead of the page where the kernel has no such: no process has number 0.
static NO_PAGE: Word = Word::new(0);

impl Lineage {
    /// This process.
    pub fn own() -> Self {
        /// Numbers given out, in this process or before it was forked: never the same twice in one
        /// line of descent.
        static LAST: Word = Word::new(0);
        let page = page();
        if ptr::eq(page, &NO_PAGE) {
            return Self { page, number: u64::from(std::process::id()) };
        }
        let fresh = LAST.fetch_add(1, LINEAGE) + 1;
        // Of several threads one sets the number.
        let set = page.compare_exchange(0, fresh, LINEAGE, LOST);
        Self { page, number: set.map_or_else(|now| now, |_| fresh) }
    }

    /// Is this process the one it was made in, and not a forked child of that?
    pub fn is_own(self) -> bool {
        let by_pid =
            || ptr::eq(self.page, &NO_PAGE) && u64::from(std::process::id()) == self.number;
        self.is_surely_own() || by_pid()
    }

    /// The same, but where the kernel has no such page, never.
    #[inline(always)]
    pub(crate) fn is_surely_own(self) -> bool {
        self.page.load(LINEAGE) == self.number
    }
}

/// The page, or [`NO_PAGE`]. Nobody waits for another who is making it: in a forked child there may be no other.
fn page() -> &'static Word {
    /// Where it is; 0 until somebody has asked.
    static PAGE: Word = Word::new(0);
    let mut page = PAGE.load(PAGED);
    if page == 0 {
        let made = wiped_page().unwrap_or(ptr::from_ref(&NO_PAGE).cast_mut());
        let address = made.expose_provenance() as u64;
        page =
            PAGE.compare_exchange(0, address, PAGE_SET, PAGED).map_or_else(|now| now, |_| address);
        if page != address && !ptr::eq(made, &NO_PAGE) {
            // SAFETY: mapped by us, referred to by nobody.
            _ = unsafe { rustix::mm::munmap(made.cast(), page_size()) };
        }
    }
    let page: *const Word = ptr::with_exposed_provenance(page as usize);
    // SAFETY: a static, or a page that is aligned, zeroed when new, and never unmapped once it is set.
    unsafe { &*page }
}

/// A page of this process that its forked children find empty; `None` where the kernel has no such.
fn wiped_page() -> Option<*mut Word> {
    let len = page_size();
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: the page is ours, and nothing is in it yet.
    let wiped = unsafe { madvise(page, len, Advice::LinuxWipeOnFork) };
    if wiped.is_err() {
        // SAFETY: mapped above, referred to by nobody.
        _ = unsafe { rustix::mm::munmap(page, len) };
        return None;
    }
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::{Lineage, NO_PAGE};

    #[test]
    fn a_process_is_its_own() {
        let lineage = Lineage::own();
        assert!(lineage.is_surely_own(), "this kernel wipes pages on fork");
        assert!(lineage.is_own());
        let by_pid = Lineage { page: &NO_PAGE, number: u64::from(std::process::id()) };
        assert!(by_pid.is_own() && !by_pid.is_surely_own());
        assert_eq!(Lineage::own().number, lineage.number);
    }
}
