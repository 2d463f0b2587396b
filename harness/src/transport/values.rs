//! Messages of a length that the compiler knows, as it does in a program that puts values of a type.

use std::io;

use shmq_engine::{Consumer, Producer};

use super::shmq::{ShmqLink, other};
use super::{End, Link, Receiver, Sender};
use crate::plan::Row;
use crate::worker::{Done, Spec, run_process};

/// `by_size!(spec, N => f::<N>(), else g())`: with the message's length as a constant, if there is code for it.
macro_rules! by_size {
    ($spec:expr, $size:ident => $known:expr, else $unknown:expr) => {
        $crate::transport::values::by_size!(@ $spec, $size => $known, $unknown, 8 48 64 256)
    };
    (@ $spec:expr, $size:ident => $known:expr, $unknown:expr, $($length:literal)+) => {
        match $spec.row().size {
            $($length => {
                const $size: usize = $length;
                $known
            })+
            _ => $unknown,
        }
    };
}
pub(super) use by_size;

/// Waits as `WAIT` says.
pub(super) fn work<const WAIT: u8>(spec: &Spec) -> Done {
    by_size!(
        spec,
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
