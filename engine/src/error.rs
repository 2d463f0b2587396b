//! What can go wrong, with what was expected, what was found, and what to do about it.

use std::io;

use thiserror::Error;

use crate::arena::Limit;
use crate::ring::Role;

fn remedy(limit: &Limit) -> &'static str {
    match limit {
        Limit::MaxBytes => "the queue's max_bytes is reached; get messages, or create it with more",
        Limit::FileSystem => {
            "the segment's file system (/dev/shm) is full; get messages, free or enlarge it \
             (mount -o remount,size=), or use an anonymous queue"
        }
        Limit::System => {
            "the memory of the machine or of the control group is used up; get messages, or raise \
             the limit"
        }
        Limit::Blocks => {
            "all blocks of that size are in use; get messages, or create the queue with a larger \
             max_bytes"
        }
    }
}

/// Why a queue could not be created.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// An option is out of range.
    #[error("{option} is {given}; it must be in {min}..={max}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was asked for.
        given: usize,
        /// The smallest allowed value.
        min: usize,
        /// The largest allowed value.
        max: usize,
    },
    /// The queue would need more memory than can be had.
    #[error(
        "the queue needs {needed} bytes and {available} are available; \
         have it hold fewer messages, or lower message_max"
    )]
    Memory {
        /// Bytes of the segment.
        needed: u64,
        /// Bytes to be had.
        available: u64,
    },
    /// The queue's address space cannot be had.
    #[error(
        "{needed} bytes of address space cannot be had; lower max_bytes, which a queue reserves \
         space for, or raise RLIMIT_AS (ulimit -v)"
    )]
    AddressSpace {
        /// Bytes of the mapping.
        needed: u64,
    },
    /// Files may not be as large as the segment.
    #[error(
        "the segment's sparse file of {needed} bytes is beyond RLIMIT_FSIZE, {limit}; lower \
         max_bytes, or raise the limit (ulimit -f)"
    )]
    FileSize {
        /// Bytes of the file, most of them without memory.
        needed: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The name cannot be a name.
    #[error("the name {name:?} {why}; use 1 to 200 letters, digits, '.', '_' or '-'")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody has a segment of that name.
    #[error("a segment named {name:?} exists; open it, or remove it with unlink")]
    Exists {
        /// The name.
        name: String,
    },
    /// A system call failed.
    #[error("{call} failed for {what}")]
    Os {
        /// The call.
        call: &'static str,
        /// What it was for.
        what: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a process could not attach to a segment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no segment of that name.
    #[error("no segment is named {name:?}; create it first")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The name cannot be a name.
    #[error("the name {name:?} {why}; use 1 to 200 letters, digits, '.', '_' or '-'")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The segment has no bytes at all.
    #[error("the segment is empty: not a queue, or its creator died at once; remove it")]
    Empty,
    /// The creator has not finished the header, or died before it did.
    #[error("the segment is not finished: its creator is still at work or died; remove it then")]
    Unfinished,
    /// The segment is shorter than what it says it is.
    #[error("the segment is truncated: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes that the header speaks of (or needs itself).
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Not one of our segments.
    #[error("not a shmq segment: expected magic {expected:#018x}, found {found:#018x}")]
    Foreign {
        /// Our magic.
        expected: u64,
        /// The word in its place.
        found: u64,
    },
    /// Written on a machine of the other byte order.
    #[error("the segment was written with the other byte order")]
    Endianness,
    /// Another version of the layout.
    #[error("the segment has layout version {found}, this build has {expected}; rebuild one side")]
    Version {
        /// Ours.
        expected: u64,
        /// The segment's.
        found: u64,
    },
    /// The same version with other sizes or offsets.
    #[error(
        "the segment has layout hash {found:#018x}, this build has {expected:#018x}; \
         rebuild one side"
    )]
    Layout {
        /// Ours.
        expected: u64,
        /// The segment's.
        found: u64,
    },
    /// A header field contradicts the others.
    #[error("the segment is damaged: its {field} is {found}")]
    Damaged {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// An anonymous segment that a peer could shrink under us.
    #[error("the file is not sealed against resizing; only memfds made by this library will do")]
    Unsealed,
    /// The segment belongs to another user.
    #[error("the segment belongs to user {found}, not to {expected}; it is not attached to")]
    Owner {
        /// Our effective user.
        expected: u32,
        /// The segment's.
        found: u32,
    },
    /// The side is exclusive and taken.
    #[error("this queue has {role:?} {side}, which is process {pid}; detach that one first")]
    Taken {
        /// Always [`Role::One`].
        role: Role,
        /// "producer" or "consumer".
        side: &'static str,
        /// Whose it is.
        pid: u32,
    },
    /// All lines are taken by live participants.
    #[error("all {lines} participants are attached; create the queue with more participants")]
    Crowded {
        /// How many the queue has room for.
        lines: usize,
    },
    /// The queue's address space cannot be had here.
    #[error(
        "{needed} bytes of address space cannot be had; raise RLIMIT_AS (ulimit -v), or create the \
         queue with a lower max_bytes"
    )]
    AddressSpace {
        /// Bytes of the mapping.
        needed: u64,
    },
    /// The queue's fences need membarrier, which this process may not use.
    #[error("the queue uses membarrier, which is refused here; create it with Fences::Full")]
    Membarrier {
        /// Why.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{call} failed for {what}")]
    Os {
        /// The call.
        call: &'static str,
        /// What it was for.
        what: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a message was not put. It is untouched, and may be put again.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// Messages and puts in progress fill the queue (and still did at the deadline).
    #[error("the queue is full")]
    Full,
    /// The queue has been shut down.
    #[error("the queue has been shut down")]
    ShutDown,
    /// There is no memory for the message (or for one more segment of an unbounded queue), now.
    #[error("no memory for {needed} bytes: {}", remedy(.limit))]
    NoMemory {
        /// Bytes that were needed.
        needed: u64,
        /// What was spent.
        limit: Limit,
    },
    /// The message is longer than the queue's messages may be.
    #[error("a message of {len} bytes exceeds message_max, which is {max}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The longest that fits, in bytes.
        max: usize,
    },
    /// The segment's bytes are not what any participant writes.
    #[error("the segment is corrupt: a foreign process wrote into it")]
    Corrupt,
    /// The kernel refuses membarrier, which it granted when this process attached.
    #[error("membarrier is refused since; create the queue with Fences::Full")]
    Refused,
    /// The handle came through `fork`, and this process cannot have a place of its own.
    #[error(
        "a handle that came through fork cannot attach here: all participants are attached (create \
         the queue with more), or the side is for one alone, and taken"
    )]
    Forked,
    /// The loan was made before this process was forked, and is the parent's.
    #[error(
        "this memory was reserved before fork, and is the parent's; reserve it again in the child"
    )]
    ForkedLoan,
}

/// Several messages were to be put, and some were not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{put} messages were put, then: {error}")]
pub struct PartlyPut {
    /// How many, from the first.
    pub put: usize,
    /// Why the next one was not.
    #[source]
    pub error: PushError,
}

/// Why no message was got.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopError {
    /// There is no message, nor a put in progress (and there was none until the deadline).
    #[error("the queue is empty")]
    Empty,
    /// The queue has been shut down, and all that was put before has been got.
    #[error("the queue has been shut down, and is empty")]
    ShutDown,
    /// The buffer is shorter than the message, which stays in the queue.
    #[error("the next message has {len} bytes, more than the buffer")]
    TooSmall {
        /// The message's length, in bytes.
        len: usize,
    },
    /// Values were asked for, and the message is none. It is gone.
    #[error(
        "a message of {len} bytes came where values of {size} bytes were expected, and is gone; get \
         messages of any length by Consumer::pop_ref or pop_many"
    )]
    NotAValue {
        /// The message's length, in bytes.
        len: usize,
        /// A value's, in bytes.
        size: usize,
    },
    /// The segment's bytes are not what any participant writes.
    #[error("the segment is corrupt: a foreign process wrote into it")]
    Corrupt,
    /// The kernel refuses membarrier, which it granted when this process attached.
    #[error("membarrier is refused since; create the queue with Fences::Full")]
    Refused,
    /// The handle came through `fork`, and this process cannot have a place of its own.
    #[error(
        "a handle that came through fork cannot attach here: all participants are attached (create \
         the queue with more), or the side is for one alone, and taken"
    )]
    Forked,
}
