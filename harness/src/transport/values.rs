//! Messages of a length that the compiler knows, as it does in a program that puts values of a type.

use std::io;

use shmq_engine::{Consumer, Producer};

use super::shmq::{ShmqLink, other};
use super::{End, Link, Receiver, Sender};
use crate::plan::Row;
use crate::worker::{Done, Spec, run_process};

/// The lengths that there is code for.
pub const SIZES: [usize; 6] = [8, 48, 64, 256, 1024, 16384];

/// `by_size!(size, N => f::<N>(), else g())`: with the length as a constant, if it is one of [`SIZES`].
#[macro_export]
macro_rules! by_size {
    ($size:expr, $constant:ident => $known:expr, else $unknown:expr) => {
        $crate::by_size!(@ $size, $constant => $known, $unknown, 8 48 64 256 1024 16384)
    };
    (@ $size:expr, $constant:ident => $known:expr, $unknown:expr, $($length:literal)+) => {
        match $size {
            $($length => {
                const $constant: usize = $length;
                $known
            })+
            _ => $unknown,
        }
    };
}

/// Waits as `WAIT` says.
pub(super) fn work<const WAIT: u8>(spec: &Spec) -> Done {
    by_size!(
        spec.row().size,
        N => run_process::<ValueLink<N, WAIT>>(spec),
        else run_process::<ShmqLink<WAIT>>(spec)
    )
}

/// Messages of `N` bytes.
#[derive(Debug)]
struct ValueLink<const N: usize, const WAIT: u8>;

#[derive(Debug)]
struct ValueSender<const N: usize>(Producer);

#[derive(Debug)]
struct ValueReceiver<const N: usize> {
    consumer: Consumer,
    value: [u8; N],
}

impl<const N: usize, const WAIT: u8> Link for ValueLink<N, WAIT> {
    type Sender = ValueSender<N>;
    type Receiver = ValueReceiver<N>;

    fn sender(end: End, row: &Row) -> io::Result<ValueSender<N>> {
        ShmqLink::<WAIT>::sender(end, row).map(ValueSender)
    }

    fn receiver(end: End, row: &Row) -> io::Result<ValueReceiver<N>> {
        let consumer = ShmqLink::<WAIT>::receiver(end, row)?;
        Ok(ValueReceiver { consumer, value: [0; N] })
    }
}

impl<const N: usize> Sender for ValueSender<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let value: &[u8; N] = message.try_into().map_err(other)?;
        self.0.push(value).map_err(other)
    }
}

impl<const N: usize> Receiver for ValueReceiver<N> {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.consumer.pop(buffer).map_err(other)
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        match self.consumer.pop(&mut self.value).map_err(other)? {
            len if len == N => Ok(read(&self.value)),
            len => Err(io::Error::other(format!("a message of {len} bytes arrived"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use shmq_engine::Options;

    use super::*;

    #[test]
    fn every_length_has_its_code() {
        for size in SIZES {
            assert_eq!(by_size!(size, N => N, else 0), size);
        }
        assert_eq!(by_size!(9, N => N, else 0), 0);
    }

    #[test]
    fn a_message_of_another_length_fails_the_cell() {
        let queue = Options::new(4).create_heap().unwrap();
        let mut producer = ValueSender::<8>(queue.producer().unwrap());
        producer.send(&[7; 8]).unwrap();
        assert!(producer.send(&[7; 9]).is_err());
        producer.0.push(&[7; 5]).unwrap();
        let mut receiver = ValueReceiver { consumer: queue.consumer().unwrap(), value: [0; 8] };
        assert_eq!(receiver.recv_with(&mut [], <[u8]>::to_vec).unwrap(), [7; 8]);
        let error = receiver.recv_with(&mut [], <[u8]>::to_vec).unwrap_err();
        assert!(error.to_string().contains("5 bytes"), "{error}");
    }
}
