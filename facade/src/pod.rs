//! Values that are put as the bytes they are.

use std::alloc::{Layout, handle_alloc_error};
use std::time::Duration;

use shmq_engine::{Consumer, Loan, Message, PopError, Uncommitted};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{GetError, PutError};
use crate::queue::Queue;
use crate::wire::{Decode, DecodeError, Encode, EncodeError};

/// Plain old data: in a queue a `Pod<T>` is the bytes that a `T` has in memory, not encoded by serde.
///
/// `T` is what the crate `zerocopy` says may be any bytes and has no padding: numbers, arrays of such, and
/// structs that derive its traits. A `Queue<Pod<T>>` has all members of a [`Queue`], and so have the other
/// queues; what is passed to a [`Process`](crate::Process) and to whom is the same, too.
///
/// ```
/// use shmq::{Pod, Queue};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[repr(C)]
/// struct Sample {
///     time: u64,
///     position: [f64; 3],
/// }
///
/// let samples = Queue::builder().maxsize(100).message_max(size_of::<Sample>()).create()?;
/// samples.put(Pod(Sample { time: 7, position: [0.5, 1.0, 2.0] }))?;
/// let Pod(sample) = samples.get()?;
/// assert_eq!((sample.time, sample.position[2]), (7, 2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A large `T` is moved on the stack by `put` and `get`, and copied twice; [`put_with`](Queue::put_with) and
/// [`get_with`](Queue::get_with) write and read it where it lies.
///
/// Both sides must be built for the same `T`. A message of another length is a [`DecodeError::Length`], with
/// both; another type of that length is not noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod<T>(pub T);

impl<T: IntoBytes + Immutable> Encode for Pod<T> {
    fn encoded<'b>(&'b self, _: &'b mut Vec<u8>) -> Result<&'b [u8], EncodeError> {
        Ok(self.0.as_bytes())
    }
}

impl<T: FromBytes> Decode for Pod<T> {
    fn decoded(message: &[u8]) -> Result<Self, DecodeError> {
        T::read_from_bytes(message).map(Self).map_err(|_| other_length::<T>(message.len()))
    }
}

fn other_length<T>(found: usize) -> DecodeError {
    DecodeError::Length { expected: size_of::<T>(), found }
}

/// In place: one copy less at each end, and none on the stack.
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout> Queue<Pod<T>> {
    /// Has `write` make the value in shared memory, then puts it, waiting for a place as long as it takes.
    ///
    /// The memory holds zeros or an earlier value before. Nobody waits for `write`: it takes memory, and
    /// no place. If it panics, nothing is put. (A value that fits a place, or is to lie at a multiple of
    /// more than 16, is copied there after all.)
    ///
    /// ```
    /// use shmq::{Pod, Queue};
    ///
    /// let frames: Queue<Pod<[u8; 1 << 20]>> = Queue::new(3)?;
    /// // SAFETY: no process writes to the queue's memory but through this library.
    /// unsafe { frames.put_with(|frame| frame.fill(7)) }?;
    /// // SAFETY: as above.
    /// let sum = unsafe { frames.get_with(|frame| frame.iter().map(|&byte| u64::from(byte)).sum::<u64>()) }?;
    /// assert_eq!(sum, 7 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Queue::put`]; the value is lost.
    ///
    /// # Safety
    /// Nobody else writes to the memory while `write` has it. No process does that goes through this
    /// library; a hostile one of the same user could, and then it would be undefined behaviour here.
    pub unsafe fn put_with<R>(&self, write: impl FnOnce(&mut T) -> R) -> Result<R, PutError<()>> {
        // SAFETY: the same contract.
        unsafe { self.put_with_by(write, |loan| loan.commit()) }
    }

    /// The same, waiting no longer than `timeout`, which begins when `write` is done. Zero means now.
    ///
    /// # Errors
    /// As for [`Queue::put_with`], and [`PutError::Full`] after `timeout`, never earlier.
    ///
    /// # Safety
    /// As for [`Queue::put_with`].
    pub unsafe fn put_with_timeout<R>(
        &self,
        write: impl FnOnce(&mut T) -> R,
        timeout: Duration,
    ) -> Result<R, PutError<()>> {
        // SAFETY: the same contract.
        unsafe { self.put_with_by(write, |loan| loan.commit_timeout(timeout)) }
    }

    unsafe fn put_with_by<R>(
        &self,
        write: impl FnOnce(&mut T) -> R,
        commit: impl FnOnce(Loan<'_>) -> Result<(), Uncommitted<'_>>,
    ) -> Result<R, PutError<()>> {
        let mut lent = self.producer().map_err(|refused| PutError::new((), refused))?;
        let loan = lent.side.reserve_value::<T>();
        let mut loan = loan.map_err(|error| PutError::new((), error.into()))?;
        // SAFETY: the same contract.
        let written = match unsafe { loan.as_mut_value::<T>() } {
            Some(value) => write(value),
            None => write_aside(&mut loan, write),
        };
        let done = commit(loan).map_err(|uncommitted| uncommitted.error);
        done.map(|()| written).map_err(|error| PutError::new((), error.into()))
    }

    /// Gets the next value, waiting for one as long as it takes, and has `read` see it in shared memory. It
    /// has left the queue, takes memory until `read` is done, and is gone then, also if `read` panics.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    ///
    /// # Safety
    /// Nobody writes to the memory while `read` has it: as for [`Queue::put_with`].
    pub unsafe fn get_with<R>(&self, read: impl FnOnce(&T) -> R) -> Result<R, GetError> {
        // SAFETY: the same contract.
        unsafe { self.get_with_by(read, Consumer::pop_ref) }
    }

    /// The same, waiting no longer than `timeout`. Zero means now.
    ///
    /// # Errors
    /// As for [`Queue::get_timeout`].
    ///
    /// # Safety
    /// As for [`Queue::get_with`].
    pub unsafe fn get_with_timeout<R>(
        &self,
        read: impl FnOnce(&T) -> R,
        timeout: Duration,
    ) -> Result<R, GetError> {
        // SAFETY: the same contract.
        unsafe { self.get_with_by(read, |consumer| consumer.pop_ref_timeout(timeout)) }
    }

    unsafe fn get_with_by<R>(
        &self,
        read: impl FnOnce(&T) -> R,
        pop: impl FnOnce(&mut Consumer) -> Result<Message<'_>, PopError>,
    ) -> Result<R, GetError> {
        let mut lent = self.consumer()?;
        let message = pop(&mut lent.side).map_err(GetError::new)?;
        // SAFETY: the same contract.
        if let Some(value) = unsafe { message.as_value::<T>() } {
            return Ok(read(value));
        }
        read_aside(&message, read)
    }
}

/// For where no `T` may lie.
#[cold]
#[inline(never)]
fn write_aside<T, R>(loan: &mut Loan<'_>, write: impl FnOnce(&mut T) -> R) -> R
where
    T: FromBytes + IntoBytes + Immutable,
{
    let mut value = boxed::<T>();
    let written = write(&mut value);
    loan.copy_from(0, value.as_bytes());
    written
}

/// Of what lies where no `T` may, or has another length.
#[cold]
#[inline(never)]
fn read_aside<T, R>(message: &Message<'_>, read: impl FnOnce(&T) -> R) -> Result<R, GetError>
where
    T: FromBytes + IntoBytes,
{
    if message.len() != size_of::<T>() {
        return Err(GetError::Decode { source: other_length::<T>(message.len()) });
    }
    let mut value = boxed::<T>();
    message.copy_to(0, value.as_mut_bytes());
    Ok(read(&value))
}

/// Not on the stack, which may have no room for it.
fn boxed<T: FromBytes>() -> Box<T> {
    T::new_box_zeroed().unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()))
}
