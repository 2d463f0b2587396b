//! The explorer: what becomes of a queue when a participant is killed, stopped, or overtaken at
//! *every instruction* of an operation, in the binary as it was built?
//!
//! A tracer forks victims, lets each attach to a queue in shared memory, and steps its operation
//! with `ptrace`, instruction by instruction, to the point in question. There the victim
//!
//! - is **killed**, with a real SIGKILL: the tracer's own handles then find out what is left;
//! - is **frozen**: the same, with the victim stopped for good, and nobody may wait for it;
//! - is **resumed** after all that: its answer must still be true, and everything whole again;
//! - is met by a second victim, at all pairs of points, or as a schedule of two operations.
//!
//! The state before each experiment is an image: the bytes of the segment, put back by a copy. So
//! experiments are independent, short, and named by a seed that repeats each of them.
//!
//! The processor is sequentially consistent under single-stepping: orderings are the models' matter
//! (`models/`), what the compiler made of the steps is ours.
//!
//! Public for the binary and the tests only.

pub mod answer;
pub mod blocks;
pub mod code;
pub mod config;
pub mod explore;
pub mod image;
pub mod judge;
pub mod lab;
pub mod message;
pub mod op;
pub mod pair;
pub mod path;
pub mod peer;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod seed;
pub mod segment;
pub mod single;
pub mod slate;
pub mod sleeper;
pub mod state;
pub mod tracee;
pub mod victim;
pub mod watchdog;
