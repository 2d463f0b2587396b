//! Queues of values of one type: a message is an array, its length known to the compiler.

use std::io;

use shmq_harness::Row;

/// The lengths that there is code for.
const SIZES: [usize; 6] = [8, 48, 64, 256, 1024, 16384];

/// `by_size!(row, N => f::<N>())`: with the message's length as a constant.
macro_rules! by_size {
    ($row:expr, $size:ident => $what:expr) => {
        $crate::fixed::by_size!($row, $size => $what, 8 48 64 256 1024 16384)
    };
    ($row:expr, $size:ident => $what:expr, $($length:literal)+) => {
        match $row.size {
            $($length => {
                const $size: usize = $length;
                $what
            })+
            other => Err(::std::io::Error::other(format!("no code for {other} bytes"))),
        }
    };
}
pub(crate) use by_size;

/// Why there is no such message.
pub(crate) fn unavailable(row: &Row) -> Option<String> {
    (!SIZES.contains(&row.size)).then(|| {
        let sizes = SIZES.map(|size| size.to_string()).join(", ");
        format!("its messages are of a type; there is code for {sizes} bytes")
    })
}

/// The message as a value.
#[inline]
pub(crate) fn value<const N: usize>(message: &[u8]) -> io::Result<&[u8; N]> {
    message.try_into().map_err(io::Error::other)
}
