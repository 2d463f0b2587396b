//! Queues that travel anywhere.
//!
//! Python's manager is a process that holds the queues, and everybody talks to it. Here the queue is in
//! shared memory like any other; what travels is where to find it: the descriptors of two processes that
//! hold it, of the manager's and of the sender's, as `/proc/<pid>/fd/<number>`, and the queue's uuid. No
//! name is made, so none can be left behind. A pid or a descriptor that means something else by now is
//! noticed by the uuid.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shmq_engine::Wait;

use crate::builder::Builder;
use crate::error::CreateError;
use crate::hand_over::{Waiting, because};
use crate::joinable::JoinableQueue;
use crate::queue::Queue;
use crate::wire::refuse;

const NOT_HERE: &str = "this queue has no descriptor to travel by; make it with Manager::queue";
const GONE: &str = "neither the manager's process nor the sender's has this queue any more; \
                    keep the Manager, or a handle, until the receiver has it";

const UNUSABLE: &str =
    "neither the manager's descriptor of this queue nor the sender's can be opened";

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
/// if nobody else does. Python's manager is a process of its own; this one is not. It holds each queue until it
/// is dropped, or told to [`release`](Manager::release) it.
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
        self.keep(&[queue.engine()]);
        Ok(ManagerQueue { manager: Place::of(queue.engine()), queue })
    }

    /// A new queue of at most `maxsize` values that counts unfinished tasks; 0 for as many as there is
    /// memory for.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn joinable_queue<T>(
        &self,
        maxsize: usize,
    ) -> Result<ManagerJoinableQueue<T>, CreateError> {
        self.create_joinable(Queue::builder().maxsize(maxsize))
    }

    /// A new queue with options, from [`Queue::builder`], that counts unfinished tasks.
    ///
    /// # Errors
    /// As for [`Builder::create`].
    pub fn create_joinable<T>(
        &self,
        builder: Builder<T>,
    ) -> Result<ManagerJoinableQueue<T>, CreateError> {
        let queue = builder.create_joinable()?;
        let parts = queue.engines();
        self.keep(&parts);
        Ok(ManagerJoinableQueue { managers: parts.map(Place::of), queue })
    }

    /// No longer holds `queue`, which lives on while any process has a handle of it. For a manager that
    /// outlives many queues: each of them takes a descriptor, a joinable one takes four. Does nothing if
    /// `queue` is another manager's.
    pub fn release<T>(&self, queue: &ManagerQueue<T>) {
        self.let_go(&[queue.queue.engine()]);
    }

    /// As [`Manager::release`].
    pub fn release_joinable<T>(&self, queue: &ManagerJoinableQueue<T>) {
        self.let_go(&queue.queue.engines());
    }

    fn keep(&self, parts: &[&shmq_engine::Queue]) {
        self.held().extend(parts.iter().map(|&part| part.clone()));
    }

    fn let_go(&self, parts: &[&shmq_engine::Queue]) {
        let is_part =
            |held: &shmq_engine::Queue| parts.iter().any(|part| part.uuid() == held.uuid());
        self.held().retain(|held| !is_part(held));
    }

    fn held(&self) -> MutexGuard<'_, Vec<shmq_engine::Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Queue`] that travels anywhere; from [`Manager::queue`]. Clones are the same queue.
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

impl<T> fmt::Debug for ManagerQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManagerQueue").field(&self.queue).finish()
    }
}

impl<T> Clone for ManagerQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), manager: self.manager }
    }
}

/// A [`JoinableQueue`] that travels anywhere; from [`Manager::joinable_queue`]. Clones are the same queue.
pub struct ManagerJoinableQueue<T> {
    queue: JoinableQueue<T>,
    /// Where its manager has its parts; `None` if that is nowhere.
    managers: [Option<Place>; 4],
}

impl<T> Deref for ManagerJoinableQueue<T> {
    type Target = JoinableQueue<T>;

    fn deref(&self) -> &JoinableQueue<T> {
        &self.queue
    }
}

impl<T> fmt::Debug for ManagerJoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManagerJoinableQueue").field(&self.queue).finish()
    }
}

impl<T> Clone for ManagerJoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), managers: self.managers }
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
    fn of(queue: &shmq_engine::Queue) -> Option<Self> {
        Some(Self { pid: process::id(), fd: queue.as_fd()?.as_raw_fd() })
    }

    /// The queue that is there, if it is the one.
    fn open(self, uuid: [u64; 2]) -> Result<shmq_engine::Queue, Missing> {
        let path = format!("/proc/{}/fd/{}", self.pid, self.fd);
        // Opening something else may have effects: a number that is used again may be anything.
        let link = fs::read_link(&path)?;
        if !link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:shmq (") {
            return Err(Missing::Gone);
        }
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let engine = shmq_engine::Queue::from_fd(OwnedFd::from(file));
        let engine = engine.map_err(|why| Missing::Because(because(UNUSABLE, &why)))?;
        if engine.uuid() == uuid { Ok(engine) } else { Err(Missing::Gone) }
    }
}

/// Why a queue is not to be had.
enum Missing {
    /// Nobody has it.
    Gone,
    /// Somebody may have it.
    Because(String),
}

impl From<io::Error> for Missing {
    fn from(why: io::Error) -> Self {
        match Errno::from_io_error(&why) {
            Some(Errno::NOENT | Errno::SRCH) => Self::Gone,
            _ => Self::Because(because(UNUSABLE, &why)),
        }
    }
}

impl Missing {
    fn refuse<E>(self, custom: impl FnOnce(Cow<'static, str>) -> E) -> E {
        match self {
            Self::Gone => refuse(GONE, custom),
            Self::Because(why) => refuse(why, custom),
        }
    }
}

/// A queue, as it is encoded.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Ticket {
    manager: Place,
    sender: Place,
    uuid: [u64; 2],
}

impl Ticket {
    fn of(queue: &shmq_engine::Queue, manager: Option<Place>) -> Option<Self> {
        let (manager, sender) = manager.zip(Place::of(queue))?;
        Some(Self { manager, sender, uuid: queue.uuid() })
    }

    fn open(self) -> Result<shmq_engine::Queue, Missing> {
        self.manager.open(self.uuid).or_else(|why| match (self.sender.open(self.uuid), why) {
            (Err(Missing::Gone), why) => Err(why),
            (done, _) => done,
        })
    }
}

/// What travels: a ticket, or several, and how the queue waits.
#[derive(Deserialize, Serialize)]
struct Sent<P> {
    parts: P,
    #[serde(with = "Waiting")]
    wait: Wait,
}

/// Anywhere, to any process of the same user.
impl<T> Serialize for ManagerQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let parts = Ticket::of(self.queue.engine(), self.manager)
            .ok_or_else(|| refuse(NOT_HERE, S::Error::custom))?;
        Sent { parts, wait: self.queue.wait() }.serialize(serializer)
    }
}

/// While its manager, or who sent it, has it.
impl<'de, T> Deserialize<'de> for ManagerQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Sent { parts, wait } = Sent::<Ticket>::deserialize(deserializer)?;
        let engine = parts.open().map_err(|why| why.refuse(D::Error::custom))?;
        Ok(Self { queue: Queue::from_engine(engine, None, wait), manager: Some(parts.manager) })
    }
}

/// Anywhere, to any process of the same user.
impl<T> Serialize for ManagerJoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let engines = self.queue.engines().into_iter().zip(self.managers);
        let parts: Option<Vec<_>> = engines.map(|(part, at)| Ticket::of(part, at)).collect();
        let parts = parts.and_then(|parts| <[_; 4]>::try_from(parts).ok());
        let parts = parts.ok_or_else(|| refuse(NOT_HERE, S::Error::custom))?;
        Sent { parts, wait: self.queue.wait() }.serialize(serializer)
    }
}

/// While its manager, or who sent it, has it.
impl<'de, T> Deserialize<'de> for ManagerJoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Sent { parts, wait } = Sent::<[Ticket; 4]>::deserialize(deserializer)?;
        let engines = parts.into_iter().map(Ticket::open).collect::<Result<Vec<_>, _>>();
        let engines = engines.and_then(|four| <[_; 4]>::try_from(four).map_err(|_| Missing::Gone));
        let engines = engines.map_err(|why| why.refuse(D::Error::custom))?;
        let managers = parts.map(|ticket| Some(ticket.manager));
        Ok(Self { queue: JoinableQueue::from_engines(engines, wait), managers })
    }
}
