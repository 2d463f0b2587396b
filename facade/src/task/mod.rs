//! Functions that another process can run.
//!
//! A child is this program, started again: it has the same functions, and none of the parent's
//! memory. So a function goes by its place in a table that both build from the same `tasks!`, and
//! the parent finds the place by the function's type: each function has a type of its own, of size
//! zero. What has a size (a closure with captures, a function pointer) cannot go that way, and is
//! refused when it is compiled. No address of a function ever leaves its process.

mod answer;
mod table;

pub use answer::{Answer, Value};
pub(crate) use table::{Failure, attempt, chain, find, set, table};
pub use table::{Registered, UnknownTask};

use std::any::TypeId;

/// A function that other processes of this program can run, with a tuple `A` of 0 to 6 arguments.
///
/// Functions and closures without captures are such, if they can be called with these arguments and
/// what they return is an [`Answer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no task with arguments `{A}`",
    note = "a task is a function of 0 to 6 arguments, given as a tuple: `(x,)` for one",
    note = "it returns a `shmq::Value`, or a `Result` of what serde can encode and an error that can be displayed"
)]
pub trait Task<A>: Send + Sync + 'static {
    /// What it returns.
    type Output: Answer;

    /// Calls it.
    fn call(&self, args: A) -> Self::Output;
}

macro_rules! functions {
    ($($arg:ident)*) => {
        impl<F, R, $($arg),*> Task<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: Answer,
        {
            type Output = R;

            // Each argument by the name of its type.
            #[allow(non_snake_case)]
            fn call(&self, ($($arg,)*): ($($arg,)*)) -> R {
                self($($arg),*)
            }
        }
    };
}

functions!();
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);
functions!(A B C D E);
functions!(A B C D E G);

/// What an `F` is found by. Not compiled for one that has captures.
pub(crate) fn id<F: 'static>() -> TypeId {
    const {
        assert!(
            size_of::<F>() == 0,
            "a closure with captures, or a function pointer, cannot cross into another process: \
             name a function, and pass what it needs as arguments"
        );
    }
    TypeId::of::<F>()
}

/// The functions that children may be started with, for [`init`](crate::init).
///
/// ```standalone_crate
/// fn double(number: u32) -> u32 {
///     2 * number
/// }
///
/// fn greet(whom: String, times: u8) {
///     (0..times).for_each(|_| println!("hello, {whom}"));
/// }
///
/// shmq::init(shmq::tasks![double, greet]);
/// ```
///
/// A generic function is one task for each of its types: `tasks![sort::<u32>]`.
#[macro_export]
macro_rules! tasks {
    ($($task:expr),* $(,)?) => {
        [$($crate::Registered::new($task)),*]
    };
}
