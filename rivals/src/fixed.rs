//! Queues of values of one type: a message is an array, its length known to the compiler.

use std::io;

use shmq_harness::{Row, SIZES};

/// `by_size!(row, N => f::<N>())`: with the message's length as a constant.
macro_rules! by_size {
    ($row:expr, $size:ident => $what:expr) => {
        ::shmq_harness::by_size!(
            $row.size,
            $size => $what,
            else Err(::std::io::Error::other(format!("no code for {} bytes", $row.size)))
        )
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
