//! What a queue is to be.

use std::sync::Arc;

use super::Queue;
use super::shared::{Shared, header};
use crate::error::{AttachError, CreateError};
use crate::layout::geometry::{
    BYTES_MAX, BYTES_MIN, CAPACITY_MAX, Geometry, INLINE_MAX, LINES_MAX, Request,
};
use crate::region::{Heap, Memfd, Named, Region, check_name, memory_available, memory_total};
use crate::ring::Role;
use crate::sync::fence::{self, Fences};

/// Options of a new queue.
///
/// ```
/// use shmq_engine::{Options, Role};
///
/// let queue = Options::new(3).message_max(200).consumers(Role::One).create_heap()?;
/// assert_eq!((queue.capacity(), queue.message_max()), (3, 200));
/// # Ok::<(), shmq_engine::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    request: Request,
    unbounded: bool,
    inline_max: Option<usize>,
    message_max: Option<usize>,
    max_bytes: Option<usize>,
    fences: Option<Fences>,
}

/// Payload of a slot of one cache line.
const INLINE: usize = 48;
/// Slots take messages of up to so many bytes whole, if those are the longest there are.
const WHOLE_MAX: usize = 32 << 10;

impl Options {
    /// A queue of `capacity` messages, from 1 to 2^30: exactly that many, not the next power of two.
    ///
    /// Messages of any size, up to 48 bytes of them in their slots; 64 participants, many producers,
    /// many consumers.
    pub fn new(capacity: usize) -> Self {
        let request = Request {
            capacity,
            inline_max: INLINE,
            message_max: 0,
            max_bytes: 0,
            lines: 64,
            producers: Role::Many,
            consumers: Role::Many,
            ends_with_producers: false,
        };
        Self {
            request,
            unbounded: false,
            inline_max: None,
            message_max: None,
            max_bytes: None,
            fences: None,
        }
    }

    /// A queue that holds as many messages as there is memory for, and gives back the memory of those
    /// that were taken.
    pub fn unbounded() -> Self {
        Self { unbounded: true, ..Self::new(1) }
    }

    /// The longest message, in bytes; by default, what `max_bytes` can hold. If that is at most 32 KiB,
    /// and `inline` is not asked for, all messages lie in their slots.
    #[must_use]
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.message_max = Some(bytes);
        self
    }

    /// The longest message that lies in its slot, in bytes; 48 by default, 16 MiB at most. A slot takes 16 bytes
    /// more, and up to 2,232 bytes 8 more for each further cache line, in whole cache lines of 64; or 32, for
    /// messages of at most 16 bytes if there are no longer ones. Longer messages lie in blocks of their own, and
    /// cost some tens of nanoseconds more.
    #[must_use]
    pub fn inline(mut self, bytes: usize) -> Self {
        self.inline_max = Some(bytes);
        self
    }

    /// The most memory the queue may take, in bytes, all that it keeps for later included; by default,
    /// as much as the machine has. From 1 MiB to 16 TiB. It takes some forty times as much address space.
    ///
    /// A put that would take more is refused ([`PushError::NoMemory`](crate::PushError::NoMemory)).
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many producers and consumers may be attached at a time: 64 by default, from 1 to 4096. With fewer, each of
    /// many producers may claim more places [at once](crate::Producer::try_push_many).
    #[must_use]
    pub fn participants(mut self, most: usize) -> Self {
        self.request.lines = most;
        self
    }

    /// One producer or many.
    #[must_use]
    pub fn producers(mut self, role: Role) -> Self {
        self.request.producers = role;
        self
    }

    /// One consumer or many.
    #[must_use]
    pub fn consumers(mut self, role: Role) -> Self {
        self.request.consumers = role;
        self
    }

    /// The queue is shut down when its last producer has gone, detached or dead, and consumers can get
    /// what is left and then know that it was all. It begins with the first producer: before that it
    /// waits for one. A producer that attaches while the last one leaves may find it shut.
    ///
    /// That a producer has died is noticed by a consumer that waits, within some 100 ms.
    #[must_use]
    pub fn ends_with_producers(mut self) -> Self {
        self.request.ends_with_producers = true;
        self
    }

    /// How fences are made. By default [`Fences::Asymmetric`] where the kernel can, else
    /// [`Fences::Full`].
    #[must_use]
    pub fn fences(mut self, fences: Fences) -> Self {
        self.fences = Some(fences);
        self
    }

    /// An anonymous queue: lives while somebody holds it, handed on by its descriptor.
    ///
    /// # Errors
    /// [`CreateError`] says which option is out of range, or what the system refused.
    pub fn create_anonymous(&self) -> Result<Queue, CreateError> {
        self.create(|geometry| Ok(Region::Memfd(Memfd::create(geometry.total, geometry.fixed)?)))
    }

    /// A named queue. The name goes when the creator drops it. Its memory is that of /dev/shm, which
    /// may be small (64 MB in many containers).
    ///
    /// # Errors
    /// As for [`Options::create_anonymous`]; [`CreateError::Exists`] if the name is taken.
    pub fn create_named(&self, name: &str) -> Result<Queue, CreateError> {
        if let Some(why) = check_name(name) {
            return Err(CreateError::Name { name: name.to_owned(), why });
        }
        self.create(|geometry| {
            Ok(Region::Named(Named::create(name, geometry.total, geometry.fixed)?))
        })
    }

    /// A queue for the threads of this process.
    ///
    /// # Errors
    /// [`CreateError`] says which option is out of range, or that there is no memory.
    pub fn create_heap(&self) -> Result<Queue, CreateError> {
        self.create(|geometry| {
            if geometry.request.has_arena() {
                return Ok(Region::Private(Memfd::create(geometry.total, geometry.fixed)?));
            }
            let needed = geometry.total as u64;
            let heap = Heap::create(geometry.total)
                .ok_or_else(|| CreateError::Memory { needed, available: memory_available() })?;
            Ok(Region::Heap(heap))
        })
    }

    /// Where address space is short, a queue that was not asked to have a certain `max_bytes` has less.
    fn create(
        &self,
        region: impl Fn(&Geometry) -> Result<Region, CreateError>,
    ) -> Result<Queue, CreateError> {
        let mut max_bytes = self.max_bytes.unwrap_or_else(default_max_bytes);
        loop {
            let geometry = self.lay_out(max_bytes)?;
            let short = match region(&geometry) {
                Ok(region) => return bear(region, &geometry),
                Err(error @ (CreateError::AddressSpace { .. } | CreateError::FileSize { .. })) => {
                    error
                }
                Err(error) => return Err(error),
            };
            let may_shrink = self.max_bytes.is_none() && geometry.request.has_arena();
            if !may_shrink || max_bytes <= BYTES_MIN {
                return Err(short);
            }
            max_bytes = (max_bytes / 2).max(BYTES_MIN);
        }
    }

    /// What is asked for, with all defaults filled in.
    fn request(&self, max_bytes: usize) -> Request {
        let message_max = self.message_max.unwrap_or(max_bytes);
        let whole = if message_max <= WHOLE_MAX { message_max } else { INLINE };
        let inline_max = self.inline_max.unwrap_or(whole).min(message_max);
        // From here on 0 stands for unbounded.
        let capacity = if self.unbounded { 0 } else { self.request.capacity };
        Request { capacity, inline_max, message_max, max_bytes, ..self.request }
    }

    fn lay_out(&self, max_bytes: usize) -> Result<Geometry, CreateError> {
        let request = self.request(max_bytes);
        let limits = [
            ("capacity", self.request.capacity, 1, CAPACITY_MAX),
            ("inline", self.inline_max.unwrap_or(0), 0, INLINE_MAX),
            ("message_max", request.message_max, 0, BYTES_MAX),
            ("max_bytes", max_bytes, BYTES_MIN, BYTES_MAX),
            ("participants", request.lines, 1, LINES_MAX),
        ];
        for (option, given, min, max) in limits {
            if !(min..=max).contains(&given) {
                return Err(CreateError::Option { option, given, min, max });
            }
        }
        let fences = self.fences.unwrap_or_else(|| match fence::register() {
            Ok(()) => Fences::Asymmetric,
            Err(_) => Fences::Full,
        });
        let unaddressable = CreateError::Memory { needed: u64::MAX, available: isize::MAX as u64 };
        let geometry = request.lay_out(fences).ok_or(unaddressable)?;
        if geometry.fixed > max_bytes && self.max_bytes.is_some() {
            let [needed, available] = [geometry.fixed as u64, max_bytes as u64];
            return Err(CreateError::Memory { needed, available });
        }
        Ok(geometry)
    }
}

/// As much as the machine has.
fn default_max_bytes() -> usize {
    usize::try_from(memory_total()).unwrap_or(BYTES_MAX).clamp(BYTES_MIN, BYTES_MAX)
}

/// Finishes a new segment: everything in it is zero, which is an empty ring, so that only the
/// header is missing.
fn bear(region: Region, geometry: &Geometry) -> Result<Queue, CreateError> {
    let uuid = random().map_err(|errno| CreateError::Os {
        call: "getrandom",
        what: "a segment's uuid".to_owned(),
        source: errno.into(),
    })?;
    let base = region.base();
    let shared = Shared::new(region, geometry).map_err(|error| match error {
        AttachError::Membarrier { source } => {
            CreateError::Os { call: "membarrier", what: "Fences::Asymmetric".to_owned(), source }
        }
        error => CreateError::Os {
            call: "attach",
            what: "a new segment".to_owned(),
            source: std::io::Error::other(error),
        },
    })?;
    header(base).bear(geometry, uuid);
    Ok(Queue { shared: Arc::new(shared) })
}

fn random() -> rustix::io::Result<[u64; 2]> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    let whole = u128::from_ne_bytes(bytes);
    Ok([whole as u64, (whole >> 64) as u64])
}
