//! The first statement of `main`.

use crate::pool;
use crate::process::child;
use crate::task::{self, Registered};

/// Registers the functions that other processes of this program can run, and, in a process that was
/// started to run one of them, runs it and ends the process.
///
/// It is what `if __name__ == "__main__":` is in Python, and must be the first statement of `main`:
/// what stands before it runs in every child.
///
/// ```standalone_crate
/// use shmq::Process;
///
/// fn greet(whom: String) {
///     println!("hello, {whom}");
/// }
///
/// fn main() -> Result<(), shmq::ProcessError> {
///     shmq::init(shmq::tasks![greet]);
///     let process = Process::new(greet, ("world".to_owned(),));
///     process.start()?;
///     process.join()
/// }
/// ```
///
/// Without a list of functions at hand (in a library), return one from a function and call that here.
///
/// # Panics
/// If it is called a second time.
pub fn init(tasks: impl IntoIterator<Item = Registered>) {
    let own = [Registered::new(pool::work)];
    let first = task::set(tasks.into_iter().chain(own).collect());
    assert!(first, "shmq::init was called twice; give it all tasks at the start of main");
    child::run_if_child();
}
