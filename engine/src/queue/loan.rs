//! A message that is written where it will lie.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::payloads::Place;
use super::producer::Producer;
use crate::error::PushError;
use crate::ring::payload;
use crate::wait::clock::Deadline;

/// Memory for a message that is not in the queue yet: written in place, then committed. Dropped, it was
/// never there.
///
/// It takes no place in the queue and no turn: nobody waits for it. It does take memory. A message that
/// fits a slot is written to memory of the process and copied at the commit.
///
/// In a child that is forked meanwhile it is the parent's still, and cannot be committed there
/// ([`PushError::ForkedLoan`]).
///
/// Its bytes are zero, or those of an earlier message of this queue, until they are written. [`Write`]
/// and the methods copy into shared memory. To refer to it there is
/// [`as_mut_slice`](Loan::as_mut_slice), which trusts all participants.
#[derive(Debug)]
pub struct Loan<'p> {
    producer: &'p mut Producer,
    /// In the arena; else in the producer's own memory.
    place: Option<Place>,
    len: usize,
    written: usize,
}

/// A commit that did not succeed: the loan is as it was.
#[derive(Debug)]
pub struct Uncommitted<'p> {
    /// The loan.
    pub loan: Loan<'p>,
    /// Why.
    pub error: PushError,
}

impl fmt::Display for Uncommitted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for Uncommitted<'_> {}

impl Producer {
    /// Memory for a message of exactly `len` bytes, to be written in place: in shared memory, unless the message fits a
    /// slot ([`Options::inline`](crate::Options::inline)), into which it is copied when it is put.
    ///
    /// # Errors
    /// [`PushError`], but never [`PushError::Full`]: a loan takes no place before it is committed.
    pub fn reserve(&mut self, len: usize) -> Result<Loan<'_>, PushError> {
        self.ensure_own()?;
        if self.is_shut_down() {
            return Err(PushError::ShutDown);
        }
        if len <= self.inline_max() {
            self.scratch.resize(len, 0);
            return Ok(Loan { producer: self, place: None, len, written: 0 });
        }
        let place = self.place(len, Deadline::NEVER)?;
        Ok(Loan { producer: self, place: Some(place), len, written: 0 })
    }
}

impl<'p> Loan<'p> {
    /// Its length, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it lies. Valid for reads and writes of [`len`](Loan::len) bytes until it is committed or
    /// dropped.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        match &self.place {
            Some(place) => place.memory.as_ptr(),
            None => self.producer.scratch.as_mut_ptr(),
        }
    }

    /// Copies `bytes` to `offset`, as many as fit. Says how many.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let len = self.len.saturating_sub(offset).min(bytes.len());
        if len > 0 {
            // SAFETY: `offset + len` bytes are within the loan, and ours.
            let to = unsafe { self.as_mut_ptr().add(offset) };
            // SAFETY: as above; `bytes` is somebody else's memory.
            unsafe { payload::copy_in(&bytes[..len], to) };
        }
        len
    }

    /// The bytes where they lie.
    ///
    /// # Safety
    /// Nobody else reads or writes them while the slice is used. No participant does that goes through
    /// this library: they are this loan's, but its copy in a forked child is the same memory. A hostile process of
    /// the same user could.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: as many bytes are there, all of them initialised, and nobody else uses them
        // (contract).
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), len) }
    }

    /// Puts the message, waiting for a place as long as it takes.
    ///
    /// # Errors
    /// As for [`Producer::push`].
    pub fn commit(self) -> Result<(), Uncommitted<'p>> {
        self.commit_by(Deadline::NEVER)
    }

    /// Puts the message now, or says [`PushError::Full`].
    ///
    /// # Errors
    /// As for [`Producer::try_push`].
    pub fn try_commit(self) -> Result<(), Uncommitted<'p>> {
        self.commit_by(Deadline::NOW)
    }

    /// Puts the message, waiting for a place no longer than `timeout`.
    ///
    /// # Errors
    /// As for [`Producer::push_timeout`].
    pub fn commit_timeout(self, timeout: Duration) -> Result<(), Uncommitted<'p>> {
        self.commit_by(Deadline::after(timeout))
    }

    fn commit_by(mut self, deadline: Deadline) -> Result<(), Uncommitted<'p>> {
        let done = match self.place {
            _ if !self.producer.is_own() => Err(PushError::ForkedLoan),
            Some(place) => self.producer.put_place(place, deadline),
            None => self.producer.push_scratch(deadline),
        };
        match done {
            Ok(()) => {
                self.place = None;
                Ok(())
            }
            Err(error) => Err(Uncommitted { loan: self, error }),
        }
    }
}

impl Write for Loan<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.copy_from(self.written, bytes);
        self.written += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        // A forked child has a copy of this, not the memory.
        if let Some(place) = self.place.take()
            && self.producer.is_own()
        {
            self.producer.abandon(place);
        }
    }
}
