//! Queues as arguments of a [`Process`](crate::Process).
//!
//! While arguments are encoded for a child that is about to start, a queue's `Serialize` puts a
//! duplicate of its descriptor among those that the child will inherit, and writes its number in
//! that list, and the queue's uuid. In the child, `Deserialize` takes it from the list. Anywhere
//! else there is no such list, and both refuse. A named queue goes by its name.

use std::cell::RefCell;
use std::error::Error;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmq_engine::Wait;

use crate::inherit::duplicate;
use crate::queue::Queue;
use crate::task::chain;
use crate::wire::refuse;

const ELSEWHERE: &str = "Queue objects should only be shared between processes through inheritance";
const NOT_RECEIVED: &str =
    "this queue was not handed to this process; a queue arrives as an argument of Process, once";
const NO_DESCRIPTOR: &str =
    "the queue's descriptor cannot be duplicated (EMFILE: raise RLIMIT_NOFILE)";
const OTHER: &str = "another queue than was handed over is behind that name or descriptor";
const UNUSABLE: &str = "the queue that was handed over cannot be attached to";

thread_local! {
    /// Descriptors for the child whose arguments this thread is encoding.
    static PACKED: RefCell<Option<Vec<OwnedFd>>> = const { RefCell::new(None) };
    /// Descriptors from the parent, whose owners this thread has not decoded yet.
    static RECEIVED: RefCell<Vec<Option<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn because(what: &str, why: &dyn Error) -> String {
    format!("{what}: {}", chain(why))
}

/// Runs `encode` so that queues may be encoded, and returns the descriptors that go with them.
pub(crate) fn pack<R>(encode: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
    /// Also if `encode` panics.
    struct Ended;

    impl Drop for Ended {
        fn drop(&mut self) {
            PACKED.set(None);
        }
    }

    PACKED.set(Some(Vec::new()));
    let _ended = Ended;
    let encoded = encode();
    (encoded, PACKED.take().unwrap_or_default())
}

/// Queues may be decoded from now on, in this thread, with these descriptors.
pub(crate) fn receive(fds: Vec<OwnedFd>) {
    RECEIVED.set(fds.into_iter().map(Some).collect());
}

/// A queue, as it is encoded.
#[derive(Serialize, Deserialize)]
struct Ticket {
    way: Way,
    uuid: [u64; 2],
    #[serde(with = "Waiting")]
    wait: Wait,
}

/// [`Wait`], encoded.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Wait")]
pub(crate) enum Waiting {
    Spin,
    Adaptive,
    Park,
}

#[derive(Serialize, Deserialize)]
enum Way {
    /// Its place among the descriptors handed over.
    Fd(usize),
    Name(String),
}

/// Only as an argument of a [`Process`](crate::Process).
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let way = PACKED.with_borrow_mut(|packed| {
            let packed = packed.as_mut().ok_or_else(|| refuse(ELSEWHERE, S::Error::custom))?;
            let Some(fd) = self.engine().as_fd() else {
                return Ok(Way::Name(self.name().unwrap_or_default().to_owned()));
            };
            let fd = duplicate(fd);
            packed.push(fd.map_err(|why| refuse(because(NO_DESCRIPTOR, &why), S::Error::custom))?);
            Ok(Way::Fd(packed.len() - 1))
        })?;
        let (uuid, wait) = (self.engine().uuid(), self.wait());
        Ticket { way, uuid, wait }.serialize(serializer)
    }
}

/// Only in the [`Process`](crate::Process) that it was an argument of.
impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let unusable = |why| refuse(because(UNUSABLE, &why), D::Error::custom);
        let Ticket { way, uuid, wait } = Ticket::deserialize(deserializer)?;
        let queue = match way {
            Way::Name(name) => {
                let engine = shmq_engine::Queue::open(&name).map_err(unusable)?;
                Self::from_engine(engine, Some(name), wait)
            }
            Way::Fd(at) => {
                let fd = RECEIVED.with_borrow_mut(|fds| fds.get_mut(at).and_then(Option::take));
                let fd = fd.ok_or_else(|| refuse(NOT_RECEIVED, D::Error::custom))?;
                let engine = shmq_engine::Queue::from_fd(fd).map_err(unusable)?;
                Self::from_engine(engine, None, wait)
            }
        };
        if queue.engine().uuid() != uuid {
            return Err(refuse(OTHER, D::Error::custom));
        }
        Ok(queue)
    }
}
