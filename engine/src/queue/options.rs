//! What a queue is to be.

use std::sync::Arc;

use super::Queue;
use super::shared::{Shared, header};
use crate::error::{AttachError, CreateError};
use crate::layout::geometry::{CAPACITY_MAX, Geometry, LINES_MAX, MESSAGE_MAX, Request};
use crate::region::{Heap, Memfd, Named, Region, check_name};
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
    fences: Option<Fences>,
}

impl Options {
    /// A queue of `capacity` messages, at least 1: exactly that many, not the next power of two.
    ///
    /// Messages of up to 48 bytes, 64 participants, many producers, many consumers.
    pub fn new(capacity: usize) -> Self {
        let request = Request {
            capacity,
            message_max: 48,
            lines: 64,
            producers: Role::Many,
            consumers: Role::Many,
        };
        Self { request, fences: None }
    }

    /// The longest message, in bytes. A slot takes 16 bytes more, in whole cache lines of 64.
    #[must_use]
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.request.message_max = bytes;
        self
    }

    /// How many producers and consumers may be attached at a time.
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
        let geometry = self.lay_out()?;
        bear(Region::Memfd(Memfd::create(geometry.total)?), geometry)
    }

    /// A named queue. The name goes when the creator drops it.
    ///
    /// # Errors
    /// As for [`Options::create_anonymous`]; [`CreateError::Exists`] if the name is taken.
    pub fn create_named(&self, name: &str) -> Result<Queue, CreateError> {
        if let Some(why) = check_name(name) {
            return Err(CreateError::Name { name: name.to_owned(), why });
        }
        let geometry = self.lay_out()?;
        bear(Region::Named(Named::create(name, geometry.total)?), geometry)
    }

    /// A queue for the threads of this process.
    ///
    /// # Errors
    /// [`CreateError`] says which option is out of range.
    pub fn create_heap(&self) -> Result<Queue, CreateError> {
        let geometry = self.lay_out()?;
        let needed = geometry.total as u64;
        let heap = Heap::create(geometry.total)
            .ok_or(CreateError::Memory { needed, available: isize::MAX as u64 })?;
        bear(Region::Heap(heap), geometry)
    }

    fn lay_out(&self) -> Result<Geometry, CreateError> {
        let Request { capacity, message_max, lines, .. } = self.request;
        let limits = [
            ("capacity", capacity, 1, CAPACITY_MAX),
            ("message_max", message_max, 0, MESSAGE_MAX),
            ("participants", lines, 1, LINES_MAX),
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
        self.request
            .lay_out(fences)
            .ok_or(CreateError::Memory { needed: u64::MAX, available: isize::MAX as u64 })
    }
}

/// Finishes a new segment: everything in it is zero, which is an empty ring, so that only the
/// header is missing.
fn bear(region: Region, geometry: Geometry) -> Result<Queue, CreateError> {
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
    header(base).bear(&geometry, uuid);
    Ok(Queue { shared: Arc::new(shared) })
}

fn random() -> rustix::io::Result<[u64; 2]> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    let whole = u128::from_ne_bytes(bytes);
    Ok([whole as u64, (whole >> 64) as u64])
}
