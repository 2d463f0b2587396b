//! Values that are their bytes, by `zerocopy`'s word: put, got, written and read without encoding.

use std::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Consumer, Loan, Message, Producer, Uncommitted};
use crate::error::{PartlyPut, PopError, PushError};
use crate::wait::clock::Deadline;

/// A value as a message of its bytes.
#[repr(transparent)]
struct Value<T>(T);

impl<T: IntoBytes + Immutable> AsRef<[u8]> for Value<T> {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn messages<T>(values: &[T]) -> &[Value<T>] {
    const { assert!(size_of::<T>() > 0, "a message of no bytes is no value") };
    // SAFETY: a `Value<T>` is laid out as a `T` (repr(transparent)), so a slice of them as well.
    unsafe { &*(std::ptr::from_ref(values) as *const [Value<T>]) }
}

impl Producer {
    /// Puts the bytes of `value`, waiting for a place as long as it takes.
    ///
    /// # Errors
    /// As for [`Producer::push`].
    pub fn push_value<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), PushError> {
        self.push(value.as_bytes())
    }

    /// Puts the bytes of the first of `values` now, as many as fit, several at a time, and says how many.
    ///
    /// # Errors
    /// As for [`Producer::try_push_many`].
    pub fn try_push_values<T: IntoBytes + Immutable>(
        &mut self,
        values: &[T],
    ) -> Result<usize, PushError> {
        self.try_push_all(messages(values))
    }

    /// Puts the bytes of all `values`, several at a time, waiting for places as long as it takes.
    ///
    /// # Errors
    /// As for [`Producer::push_many`].
    pub fn push_values<T: IntoBytes + Immutable>(&mut self, values: &[T]) -> Result<(), PartlyPut> {
        self.push_all(0, messages(values))
    }

    /// Memory for a `T`: see [`Producer::reserve`].
    ///
    /// # Errors
    /// As for [`Producer::reserve`].
    pub fn reserve_value<T>(&mut self) -> Result<Loan<'_>, PushError> {
        self.reserve(size_of::<T>())
    }
}

impl Consumer {
    /// Gets the next message as a value, waiting for one as long as it takes.
    ///
    /// # Errors
    /// As for [`Consumer::pop_ref`]; [`PopError::NotAValue`] if the message has not as many bytes as a `T`. It is gone
    /// then.
    #[inline]
    pub fn pop_value<T: FromBytes + IntoBytes>(&mut self) -> Result<T, PopError> {
        self.value_by(Self::pop, Self::pop_ref)
    }

    /// Gets the next message as a value now, or says [`PopError::Empty`].
    ///
    /// # Errors
    /// As for [`Consumer::pop_value`], and for [`Consumer::try_pop_ref`].
    #[inline]
    pub fn try_pop_value<T: FromBytes + IntoBytes>(&mut self) -> Result<T, PopError> {
        self.value_by(Self::try_pop, Self::try_pop_ref)
    }

    /// Gets the next message as a value, waiting for one no longer than `timeout`.
    ///
    /// # Errors
    /// As for [`Consumer::pop_value`], and for [`Consumer::pop_ref_timeout`].
    pub fn pop_value_timeout<T: FromBytes + IntoBytes>(
        &mut self,
        timeout: Duration,
    ) -> Result<T, PopError> {
        if timeout.is_zero() {
            return self.try_pop_value();
        }
        let deadline = Deadline::after(timeout);
        self.value_by(
            |consumer, bytes| consumer.pop_by(bytes, || deadline),
            |consumer| consumer.pop_ref_by(deadline),
        )
    }

    #[inline(always)]
    fn value_by<T: FromBytes + IntoBytes>(
        &mut self,
        pop: impl FnOnce(&mut Self, &mut [u8]) -> Result<usize, PopError>,
        pop_ref: impl FnOnce(&mut Self) -> Result<Message<'_>, PopError>,
    ) -> Result<T, PopError> {
        let mut value = T::new_zeroed();
        match pop(self, value.as_mut_bytes()) {
            Ok(len) if len == size_of::<T>() => {}
            Ok(len) => return Err(PopError::NotAValue { len, size: size_of::<T>() }),
            // It is still there, or another one is now.
            Err(PopError::TooSmall { .. }) => pop_ref(self)?.read_exactly(&mut value)?,
            Err(error) => return Err(error),
        }
        Ok(value)
    }
}

impl<'p> Loan<'p> {
    /// Copies the bytes of `value` to the beginning, and puts the message.
    ///
    /// # Errors
    /// As for [`Loan::commit`].
    pub fn commit_value<T: IntoBytes + Immutable + ?Sized>(
        mut self,
        value: &T,
    ) -> Result<(), Uncommitted<'p>> {
        self.copy_from(0, value.as_bytes());
        self.commit()
    }

    /// The value where it lies; `None` if there are not as many bytes as in a `T`, or not at a place
    /// for one. (Blocks are aligned to 16 bytes.)
    ///
    /// # Safety
    /// As for [`Loan::as_mut_slice`].
    pub unsafe fn as_mut_value<T: FromBytes + IntoBytes + KnownLayout>(
        &mut self,
    ) -> Option<&mut T> {
        // SAFETY: the same contract.
        let bytes = unsafe { self.as_mut_slice() };
        T::mut_from_bytes(bytes).ok()
    }
}

impl Message<'_> {
    /// The value, copied; `None` if there are not as many bytes as in a `T`.
    pub fn read_value<T: FromBytes + IntoBytes>(&self) -> Option<T> {
        if self.len() != size_of::<T>() {
            return None;
        }
        let mut value = T::new_zeroed();
        self.copy_to(0, value.as_mut_bytes());
        Some(value)
    }

    /// Copies it to `value`, if it has as many bytes.
    pub(super) fn read_exactly<T: FromBytes + IntoBytes>(
        &self,
        value: &mut T,
    ) -> Result<(), PopError> {
        if self.len() != size_of::<T>() {
            return Err(PopError::NotAValue { len: self.len(), size: size_of::<T>() });
        }
        self.copy_to(0, value.as_mut_bytes());
        Ok(())
    }

    /// The value where it lies; `None` if there are not as many bytes as in a `T`, or not at a place
    /// for one. (Blocks are aligned to 16 bytes.)
    ///
    /// # Safety
    /// As for [`Message::as_slice`].
    pub unsafe fn as_value<T: FromBytes + KnownLayout + Immutable>(&self) -> Option<&T> {
        // SAFETY: the same contract.
        let bytes = unsafe { self.as_slice() };
        T::ref_from_bytes(bytes).ok()
    }
}
