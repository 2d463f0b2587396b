//! The memory under an arena: pages of the segment's file.

use rustix::io::Errno;

use crate::arena::{Ground, Limit, NoMemory};
use crate::order::HINT;
use crate::region::{Region, memory_available};
use crate::sync::Word;

/// So many bytes are reserved between two looks at how much memory there is.
const UNSEEN: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) region: Region,
    max_bytes: u64,
    /// Bytes that may be reserved before the next look at the machine's memory. A guess by all
    /// threads of this process.
    unseen: Word,
}

impl Mapped {
    pub(super) fn new(region: Region, max_bytes: usize) -> Self {
        Self { region, max_bytes: max_bytes as u64, unseen: Word::new(0) }
    }

    /// Does the machine have that much? The kernel would rather kill somebody than refuse.
    fn is_available(&self, bytes: u64) -> bool {
        let unseen = self.unseen.load(HINT);
        if bytes <= unseen {
            self.unseen.store(unseen - bytes, HINT);
            return true;
        }
        let available = memory_available();
        // With several of us at work at once, leave the others something.
        self.unseen.store((available.saturating_sub(bytes) / 64).min(UNSEEN), HINT);
        available.saturating_sub(available / 64) >= bytes
    }
}

impl Ground for Mapped {
    fn reserve(&self, at: usize, bytes: usize) -> Result<(), NoMemory> {
        let needed = bytes as u64;
        let lacking = |limit| NoMemory { needed, limit };
        if !self.is_available(needed) {
            return Err(lacking(Limit::System));
        }
        // The kernel counts what the file takes: a counter of ours would drift with every kill.
        if self.region.resident().saturating_add(needed) > self.max_bytes {
            return Err(lacking(Limit::MaxBytes));
        }
        self.region.reserve(at, bytes).map_err(|errno| match errno {
            // Of an anonymous file it is the system that has none: it promises no more than there is.
            Errno::NOSPC if matches!(self.region, Region::Named(_)) => lacking(Limit::FileSystem),
            _ => lacking(Limit::System),
        })?;
        if self.region.resident() > self.max_bytes {
            // Somebody else reserved at the same time. What we got is given back by our caller, if it
            // is a block; descriptors may be in use by now.
            return Err(lacking(Limit::MaxBytes));
        }
        Ok(())
    }

    fn release(&self, at: usize, bytes: usize) {
        self.region.release(at, bytes);
    }
}
