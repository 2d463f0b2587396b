//! A message that is read where it lies.

use std::io::{self, Read};
use std::time::Duration;

use super::consumer::{Consumer, Got, Held};
use crate::error::PopError;
use crate::ring::payload;
use crate::wait::clock::Deadline;

/// A message that has been taken and is read in place, without a copy if it lies in the arena.
///
/// It is nobody else's: dropping it without reading discards it. While it is held it delays nobody, but
/// its memory is not used again. Killed meanwhile, the reader takes it along.
///
/// In a child that is forked meanwhile it is the parent's still: the child can read it for as long as the
/// parent holds it, and finds other bytes after that.
///
/// [`Read`] and the methods copy out of shared memory. To refer to it there is
/// [`as_slice`](Message::as_slice), which trusts all participants.
#[derive(Debug)]
pub struct Message<'c> {
    consumer: &'c mut Consumer,
    body: Body,
    read: usize,
}

#[derive(Debug)]
enum Body {
    /// So many bytes in the consumer's own memory.
    Copied(usize),
    Held(Held),
}

impl Consumer {
    /// Takes the next message, to be read in place, now, or says [`PopError::Empty`].
    ///
    /// # Errors
    /// As for [`Consumer::try_pop`], but never [`PopError::TooSmall`].
    pub fn try_pop_ref(&mut self) -> Result<Message<'_>, PopError> {
        self.pop_ref_by(Deadline::NOW)
    }

    /// Takes the next message, to be read in place, waiting for one as long as it takes.
    ///
    /// # Errors
    /// As for [`Consumer::pop`], but never [`PopError::TooSmall`].
    pub fn pop_ref(&mut self) -> Result<Message<'_>, PopError> {
        self.pop_ref_by(Deadline::NEVER)
    }

    /// The same, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As for [`Consumer::pop_timeout`], but never [`PopError::TooSmall`].
    pub fn pop_ref_timeout(&mut self, timeout: Duration) -> Result<Message<'_>, PopError> {
        self.pop_ref_by(Deadline::after(timeout))
    }

    pub(super) fn pop_ref_by(&mut self, deadline: Deadline) -> Result<Message<'_>, PopError> {
        self.hold(|consumer, scratch| match deadline {
            Deadline::NOW => consumer.take_at_once(scratch, usize::MAX),
            deadline => consumer.take(scratch, usize::MAX, deadline),
        })
    }

    /// The same by who has looked for messages, in vain.
    pub(super) fn pop_ref_after_look(&mut self, may_wait: bool) -> Result<Message<'_>, PopError> {
        self.hold(|consumer, scratch| match may_wait {
            false => consumer.take_now(scratch, usize::MAX),
            true => consumer.take_until(scratch, usize::MAX, Deadline::NEVER),
        })
    }

    fn hold(
        &mut self,
        take: impl FnOnce(&mut Self, &mut [u8]) -> Result<Got, PopError>,
    ) -> Result<Message<'_>, PopError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(scratch.len().max(self.inline_max()), 0);
        let got = take(self, &mut scratch);
        self.scratch = scratch;
        let body = match got? {
            Got::Copied(len) => Body::Copied(len),
            Got::Held(held) => Body::Held(held),
        };
        Ok(Message { consumer: self, body, read: 0 })
    }

    /// Gets the next message of any size, waiting for one as long as it takes: `buffer` holds the
    /// message afterwards, and nothing else.
    ///
    /// # Errors
    /// As for [`Consumer::pop_ref`]; `buffer` is unchanged.
    pub fn pop_vec(&mut self, buffer: &mut Vec<u8>) -> Result<(), PopError> {
        self.pop_ref().map(|message| message.move_to(buffer))
    }
}

impl Message<'_> {
    /// Its length, in bytes.
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Copied(len) => *len,
            Body::Held(held) => held.len,
        }
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it lies. Valid for reads of [`len`](Message::len) bytes until it is dropped.
    pub fn as_ptr(&self) -> *const u8 {
        match &self.body {
            Body::Copied(_) => self.consumer.scratch.as_ptr(),
            Body::Held(held) => held.memory.as_ptr(),
        }
    }

    /// Copies the bytes from `offset` on, as many as there are and fit `out`. Says how many.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> usize {
        let rest = self.len().saturating_sub(offset);
        let len = rest.min(out.len());
        if len > 0 {
            // SAFETY: `offset + len` bytes are within the message, and ours to read.
            let from = unsafe { self.as_ptr().add(offset) };
            // SAFETY: as above; `out` is somebody else's memory.
            unsafe { payload::copy_out(from, &mut out[..len]) };
        }
        len
    }

    /// The whole message, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(0, &mut bytes);
        bytes
    }

    /// Replaces what is in `buffer` by the message, and is done with it.
    pub(super) fn move_to(self, buffer: &mut Vec<u8>) {
        buffer.resize(self.len(), 0);
        self.copy_to(0, buffer);
    }

    /// The bytes where they lie.
    ///
    /// # Safety
    /// Nobody writes to them while the slice is used. No participant does that goes through this
    /// library: they are this message's until it is dropped (in a forked child: until the parent drops it). A
    /// hostile process of the same user could.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: as many bytes are there, and nobody writes to them (contract).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl Read for Message<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.copy_to(self.read, out);
        self.read += len;
        Ok(len)
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // A forked child has a copy of this, not the block.
        if let Body::Held(held) = &self.body
            && self.consumer.is_own()
        {
            self.consumer.release(held);
        }
    }
}
