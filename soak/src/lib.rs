//! A linearizability checker for FIFO queues whose users are killed.
//!
//! A [`history`] is a list of operations with the intervals in which they took effect. [`check`]
//! says what no FIFO queue can have done, in O(n log n):
//!
//! ```
//! use shmq_soak::history::{Operation, Value, What};
//!
//! let (first, second) = (Value::new(1, 0), Value::new(1, 1));
//! let history = [
//!     Operation { process: 1, what: What::Put(first), inv: 10, res: 20 },
//!     Operation { process: 1, what: What::Put(second), inv: 30, res: 40 },
//!     Operation { process: 2, what: What::Got(second), inv: 50, res: 60 },
//! ];
//! let violations = shmq_soak::check(&history, None);
//! assert!(violations[0].to_string().starts_with("P3"));
//! ```
//!
//! The program of this crate makes such histories: see its `--help`.

pub mod checker;
pub mod history;

pub use checker::{check, check_programs};
