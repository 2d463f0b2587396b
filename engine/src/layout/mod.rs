//! What lies where in a segment.
//!
//! ```text
//! 0     header     16 words, written once, magic last; see [`header::Header`]
//! 128   control    attention · tail · head, 128 bytes each
//! 512   gates      items · room, 128 bytes each: futex words of sleepers
//! 768   roles      sole producer · sole consumer: who holds a One side
//! 784   worlds     30 words: boots and pid namespaces that participants come from
//! 1024  lines      128 bytes each: announced ticket, occupant, held ticket, pinned segment
//! ...   classes    16 of 1024 bytes, if there is an arena: described · cursor · directory · pool
//! ...   marks      16 bytes a slot: state, base                                  (bounded queues)
//! ...   slots      slot_bytes each, from a multiple of 128: seq · length · payload (bounded queues)
//! ----  from here on sparse, in whole pages: memory is reserved before it is used
//! ...   directory  8 bytes an entry: lap, block                                (unbounded queues)
//! ...   per class  states, 8 bytes a block · extents, 32 bytes a block · blocks
//! ```
//!
//! A block of class 0 is a segment of an unbounded ring: its marks, then its slots. The other classes
//! are for payloads.
//!
//! All words are 64 bits wide in the machine's byte order (gates, and the halves of a slot's second word: 32), and
//! atomics. Everything that
//! a process uses to find its way is copied out of the header once, checked, and never read again.

pub mod cells;
#[cfg(not(loom))]
pub(crate) mod geometry;
#[cfg(not(loom))]
pub(crate) mod header;
