//! A mapped segment, and the protocol's view of it.

use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;

use super::ground::Mapped;
use crate::arena::{Arena, Block, Class, PAYLOADS, Room, SegmentSlots, Segments};
use crate::error::AttachError;
use crate::layout::cells::{ClassControl, Control, Extent, Gate, Line, Mark};
use crate::layout::geometry::{
    CONTROL_AT, GATES_AT, Geometry, LINE, LINES_AT, ROLES_AT, Request, WORLDS, WORLDS_AT,
};
use crate::layout::header::Header;
use crate::region::Region;
use crate::registry::{Estate, Registry};
use crate::ring::{Ring, Shape};
use crate::sync::Word;
use crate::wait::Want;

/// The segment, with borrowed views whose lifetime is its own.
pub(super) struct Shared {
    // Views into `region` and into what is boxed here, which outlive them: they are never handed out
    // for longer than `self`.
    ring: Ring<'static>,
    arena: Option<Arena<'static>>,
    segments: Option<Segments<'static>>,
    registry: Registry<'static>,
    items: &'static Gate,
    room: &'static Gate,
    request: Request,
    _classes: Box<[Class<'static>]>,
    _parts: Box<SegmentParts>,
    ground: Box<Mapped>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { capacity, message_max, .. } = self.request;
        f.debug_struct("Queue")
            .field("capacity", if capacity == 0 { &"unbounded" } else { &self.request.capacity })
            .field("message_max", &message_max)
            .field("len", &self.ring.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Views `region` as `geometry` says, which has been checked against its length.
    pub(super) fn new(region: Region, geometry: &Geometry) -> Result<Self, AttachError> {
        let found = geometry.total as u64;
        let base = region.base();
        assert!(geometry.total <= region.len(), "geometry is checked against the region");
        // SAFETY: CONTROL_AT, like every offset below, lies within `total` (Request::lay_out).
        let control = unsafe { view::<Control>(base, CONTROL_AT) };
        // SAFETY: as above.
        let items = unsafe { view::<Gate>(base, GATES_AT) };
        // SAFETY: as above.
        let room = unsafe { view::<Gate>(base, GATES_AT + LINE) };
        // SAFETY: as above.
        let soles = unsafe { view::<[Word; 2]>(base, ROLES_AT) };
        // SAFETY: as above.
        let worlds = unsafe { view::<[Word; WORLDS]>(base, WORLDS_AT) };
        // SAFETY: as above.
        let lines = unsafe { views::<Line>(base, LINES_AT, geometry.request.lines) };
        let shape = geometry.shape;
        let slots = if shape.growing { 0 } else { shape.slots as usize };
        // SAFETY: as above.
        let marks = unsafe { views::<Mark>(base, geometry.marks_at, slots) };
        // SAFETY: as above.
        let words = unsafe { views::<Word>(base, geometry.slots_at, slots * shape.stride) };
        let ring = Ring::new(control, lines, marks, words, shape)
            .ok_or(AttachError::Damaged { field: "total_bytes", found })?;
        let classes: Box<[_]> = (0..geometry.rooms.len())
            // SAFETY: as above.
            .map(|at| unsafe { class(base, geometry, at) })
            .collect();
        let ground = Box::new(Mapped::new(region, geometry.request.max_bytes));
        let parts = Box::new(SegmentParts { base, shape, room: geometry.rooms.first().copied() });
        let arena = (!classes.is_empty()).then(|| Arena {
            // SAFETY: boxed, owned by `self`, and not changed.
            classes: unsafe { outliving(&*classes) },
            lines,
            head: ring.head(),
            // SAFETY: as above.
            ground: unsafe { outliving(&*ground) },
            fences: shape.fences,
        });
        // SAFETY: as for every view; the directory lies within `total`.
        let directory = unsafe { views::<Word>(base, geometry.directory_at, geometry.directory) };
        let segments = shape.growing.then(|| Segments {
            directory,
            directory_at: geometry.directory_at,
            shape,
            // SAFETY: boxed, owned by `self`, and not changed.
            parts: unsafe { outliving(&*parts) },
        });
        let registry = Registry { lines, soles, worlds };
        registry.know_ourselves();
        let request = geometry.request;
        let (_classes, _parts) = (classes, parts);
        Ok(Self { ring, arena, segments, registry, items, room, request, _classes, _parts, ground })
    }

    pub(super) fn ring(&self) -> &Ring<'static> {
        &self.ring
    }

    pub(super) fn arena(&self) -> Option<&Arena<'static>> {
        self.arena.as_ref()
    }

    pub(super) fn segments(&self) -> Option<&Segments<'static>> {
        self.segments.as_ref()
    }

    pub(super) fn registry(&self) -> Registry<'static> {
        self.registry
    }

    /// What the queue was asked to be.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn estate(&self) -> Estate<'_> {
        Estate { ring: &self.ring, arena: self.arena.as_ref() }
    }

    /// Gives back what those dead participants held whose slots may rest. Was there anything?
    pub(super) fn recover_announced(&self) -> bool {
        let found = self.registry.reap(self.estate(), Line::is_announcing) > 0;
        self.ring.sweep() > 0 || found
    }

    /// There is no memory: gives back what the dead have left, and what nobody needs. `line` must be
    /// the caller's.
    pub(super) fn relieve(&self, line: usize) {
        self.registry.reap(self.estate(), |_| true);
        if let Some(arena) = &self.arena {
            arena.sweep(line);
            arena.empty_pools(line);
        }
    }

    /// Shuts the queue down, and wakes all who wait.
    pub(super) fn shut_down(&self) -> bool {
        let first = self.ring.shut();
        // Also if it was shut already: who did so may have been killed before this.
        self.items().wake_all();
        self.room().wake_all();
        first
    }

    /// A producer has attached.
    pub(super) fn begin(&self) {
        if self.request.ends_with_producers {
            self.ring.begin();
        }
    }

    /// A producer has left.
    pub(super) fn end_if_producers_left(&self) {
        self.end_without_producers(false);
    }

    /// The queue was found empty, for a while. Has it ended?
    pub(super) fn end_if_producers_died(&self) -> bool {
        self.end_without_producers(true);
        self.ring.is_shut()
    }

    /// Shuts the queue down if it is to end with its producers, and they are gone.
    fn end_without_producers(&self, thoroughly: bool) {
        let begun = self.ring.begun();
        let may_end = self.request.ends_with_producers && begun > 0 && !self.ring.is_shut();
        if !may_end || self.registry.has_producers(self.estate(), thoroughly) {
            return;
        }
        // One that came while we looked may have a line that we had seen vacant, and others have left since.
        if self.ring.begun() == begun {
            self.shut_down();
        }
    }

    pub(super) fn region(&self) -> &Region {
        &self.ground.region
    }

    /// `bytes` at `offset` of a block, if they lie in it.
    pub(super) fn payload(&self, block: Block, offset: u64, bytes: u64) -> Option<NonNull<u8>> {
        let room = self.arena.as_ref()?.classes.get(block.class)?.room;
        let end = offset.checked_add(bytes)?;
        if block.class < PAYLOADS || block.index >= room.blocks || end > room.bytes as u64 {
            return None;
        }
        let at = room.blocks_at + block.index * room.bytes + offset as usize;
        // SAFETY: within the block, which lies within `total` (Geometry::add_arena).
        Some(unsafe { self.region().base().add(at) })
    }

    /// What consumers wait for.
    pub(super) fn items(&self) -> Want<'static> {
        Want::items(self.items)
    }

    /// What producers wait for.
    pub(super) fn room(&self) -> Want<'static> {
        Want::room(self.room)
    }
}

/// The slots of segment blocks.
#[derive(Debug)]
struct SegmentParts {
    base: NonNull<u8>,
    shape: Shape,
    room: Option<Room>,
}

// SAFETY: an address and numbers; what lies there are atomics.
unsafe impl Send for SegmentParts {}
// SAFETY: as for Send.
unsafe impl Sync for SegmentParts {}

impl SegmentSlots<'static> for SegmentParts {
    fn parts(&self, index: usize) -> (&'static [Mark], &'static [Word]) {
        let Some(room) = self.room.filter(|room| index < room.blocks) else { return (&[], &[]) };
        let marks_at = room.blocks_at + index * room.bytes;
        let slots = self.shape.slots as usize;
        let words_at = marks_at + slots * size_of::<Mark>();
        // SAFETY: a segment's block holds its marks and slots (Geometry::add_segments).
        let marks = unsafe { views::<Mark>(self.base, marks_at, slots) };
        // SAFETY: as above.
        let words = unsafe { views::<Word>(self.base, words_at, slots * self.shape.stride) };
        (marks, words)
    }
}

/// # Safety
/// As for [`view`]; `geometry` is that of the mapping, and has a class `at`.
unsafe fn class(base: NonNull<u8>, geometry: &Geometry, at: usize) -> Class<'static> {
    let room = geometry.rooms[at];
    let control_at = geometry.controls_at + at * size_of::<ClassControl>();
    // SAFETY: there are CLASSES_MAX controls (Request::lay_out).
    let control = unsafe { view::<ClassControl>(base, control_at) };
    // SAFETY: as many states as blocks (Geometry::add_arena).
    let states = unsafe { views::<Word>(base, room.states_at, room.blocks) };
    // SAFETY: as above.
    let extents = unsafe { views::<Extent>(base, room.extents_at, room.blocks) };
    Class { control, states, extents, room }
}

/// # Safety
/// What is referred to stays where it is for as long as the reference is used.
unsafe fn outliving<T: ?Sized>(owned: &T) -> &'static T {
    // SAFETY: valid for as long (contract).
    unsafe { &*ptr::from_ref(owned) }
}

/// The header of a region that is long enough for one.
pub(super) fn header<'r>(base: NonNull<u8>) -> &'r Header {
    // SAFETY: every region is at least a header long (checked where regions are opened, and by
    // Request::lay_out where they are created), and stays mapped while its owner is borrowed.
    unsafe { view(base, 0) }
}

/// # Safety
/// `at..at + size_of::<T>()` lies within the mapping at `base`, `at` is aligned for `T`, `T` is
/// made of atomics only, and the reference is not used after the mapping is gone.
unsafe fn view<'r, T>(base: NonNull<u8>, at: usize) -> &'r T {
    // SAFETY: within the mapping (contract).
    let place = unsafe { base.add(at) }.cast::<T>();
    debug_assert!(place.is_aligned());
    // SAFETY: aligned and mapped (contract); atomics allow every bit pattern and any racing write.
    unsafe { place.as_ref() }
}

/// # Safety
/// As for [`view`], for `len` values in a row.
unsafe fn views<'r, T>(base: NonNull<u8>, at: usize, len: usize) -> &'r [T] {
    // SAFETY: within the mapping (contract).
    let first = unsafe { base.add(at) }.cast::<T>();
    debug_assert!(first.is_aligned());
    // SAFETY: aligned and mapped (contract); atomics allow every bit pattern and any racing write.
    unsafe { slice::from_raw_parts(first.as_ptr(), len) }
}
