//! Queues that travel anywhere.
//!
//! Python's manager is a process that holds the queues, and everybody talks to it. Here the queue is in
//! shared memory like any other; what travels is where to find it: the descriptors of two processes that
//! hold it, of the manager's and of the sender's, as `/proc/<pid>/fd/<number>`, and the queue's uuid. No
//! name is made, so none can be left behind. A pid or a descriptor that means something else by now is
//! noticed by the uuid.

use std::fs::{self, OpenOptions};
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::builder::Builder;
use crate::error::CreateError;
use crate::queue::Queue;
use crate::wire::refuse;

const NOT_HERE: &str = "this queue has no descriptor to travel by; make it with Manager::queue";
const GONE: &str = "neither the manager's process nor the sender's has this queue any more; \
                    keep the Manager, or a handle, until the receiver has it";

/// Makes queues that can be sent to any process of the same user, in any way: through other queues, as
/// arguments of tasks of a [`Pool`](crate::Pool).
///
/// ```standalone_crate
/// use shmq::{Manager, ManagerQueue, Pool, PutError};
///
/// fn writer(queue: ManagerQueue<char>) -> Result<(), PutError<char>> {
///     "dongGe".chars().try_for_each(|letter| queue.put(letter))
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     shmq::init(shmq::tasks![writer]);
///     let queue = Manager::new().queue(0)?;
///     let pool = Pool::new(1)?;
///     pool.apply(writer, (queue.clone(),))?;
///     assert_eq!((queue.qsize(), queue.get()?), (6, 'd'));
///     Ok(())
/// }
/// ```
///
/// A queue lives while any process has a handle of it, and while its manager lives. A handle that is
/// still travelling (it is in a queue, say) is none yet: the manager bridges that time, so keep it
/// if nobody else does. Python's manager is a process of its own; this one is not.
#[derive(Debug, Default)]
pub struct Manager {
    /// Held, not used.
    queues: Mutex<Vec<shmq_engine::Queue>>,
}

impl Manager {
    /// A manager without queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new queue of at most `maxsize` values; 0 for as many as there is memory for.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn queue<T>(&self, maxsize: usize) -> Result<ManagerQueue<T>, CreateError> {
        self.create(Queue::builder().maxsize(maxsize))
    }

    /// A new queue with options, from [`Queue::builder`].
    ///
    /// # Errors
    /// As for [`Builder::create`].
    pub fn create<T>(&self, builder: Builder<T>) -> Result<ManagerQueue<T>, CreateError> {
        let queue = builder.create()?;
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(queue.engine().clone());
        Ok(ManagerQueue { manager: Place::of(&queue), queue })
    }
}

/// A [`Queue`] that travels anywhere; from [`Manager::queue`]. Clones are the same queue.
#[derive(Debug)]
pub struct ManagerQueue<T> {
    queue: Queue<T>,
    /// Where its manager has it; `None` if that is nowhere.
    manager: Option<Place>,
}

impl<T> Deref for ManagerQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T> Clone for ManagerQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), manager: self.manager }
    }
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Place {
    pid: u32,
    fd: RawFd,
}

impl Place {
    /// Where this process has it.
    fn of<T>(queue: &Queue<T>) -> Option<Self> {
        Some(Self { pid: process::id(), fd: queue.engine().as_fd()?.as_raw_fd() })
    }

    /// The queue that is there, if it is the one.
    fn open<T>(self, uuid: [u64; 2]) -> Option<Queue<T>> {
        let path = format!("/proc/{}/fd/{}", self.pid, self.fd);
        // Opening something else may have effects: a number that is used again may be anything.
        let link = fs::read_link(&path).ok()?;
        if !link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:shmq") {
            return None;
        }
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let engine = shmq_engine::Queue::from_fd(OwnedFd::from(file.ok()?)).ok()?;
        (engine.uuid() == uuid).then(|| Queue::from_engine(engine, None))
    }
}

/// A queue, as it is encoded.
#[derive(Deserialize, Serialize)]
struct Ticket {
    manager: Place,
    sender: Place,
    uuid: [u64; 2],
}

/// Anywhere, to any process of the same user.
impl<T> Serialize for ManagerQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let places = self.manager.zip(Place::of(&self.queue));
        let (manager, sender) = places.ok_or_else(|| refuse(NOT_HERE, S::Error::custom))?;
        Ticket { manager, sender, uuid: self.queue.engine().uuid() }.serialize(serializer)
    }
}

/// While its manager, or who sent it, has it.
impl<'de, T> Deserialize<'de> for ManagerQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Ticket { manager, sender, uuid } = Ticket::deserialize(deserializer)?;
        let queue = manager.open(uuid).or_else(|| sender.open(uuid));
        let queue = queue.ok_or_else(|| refuse(GONE, D::Error::custom))?;
        Ok(Self { queue, manager: Some(manager) })
    }
}
