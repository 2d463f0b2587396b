//! A mapped segment, and the protocol's view of it.

use std::ptr::NonNull;
use std::slice;

use crate::error::AttachError;
use crate::layout::cells::{Control, Gate, Line, Mark};
use crate::layout::geometry::{
    CONTROL_AT, GATES_AT, Geometry, LINE, LINES_AT, ROLES_AT, WORLDS, WORLDS_AT,
};
use crate::layout::header::Header;
use crate::region::Region;
use crate::registry::Registry;
use crate::ring::Ring;
use crate::sync::Word;
use crate::wait::Want;

/// The segment, with borrowed views whose lifetime is its own.
#[derive(Debug)]
pub(super) struct Shared {
    // Views into `region`, which outlives them: they are never handed out for longer than `self`.
    ring: Ring<'static>,
    registry: Registry<'static>,
    items: &'static Gate,
    room: &'static Gate,
    region: Region,
}

impl Shared {
    /// Views `region` as `geometry` says, which has been checked against its length.
    pub(super) fn new(region: Region, geometry: Geometry) -> Result<Self, AttachError> {
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
        let lines = unsafe { views::<Line>(base, LINES_AT, geometry.lines) };
        let slots = geometry.shape.slots as usize;
        // SAFETY: as above.
        let marks = unsafe { views::<Mark>(base, geometry.marks_at, slots) };
        let words = slots * geometry.shape.stride;
        // SAFETY: as above.
        let words = unsafe { views::<Word>(base, geometry.slots_at, words) };
        let ring = Ring::new(control, lines, marks, words, geometry.shape)
            .ok_or(AttachError::Damaged { field: "total_bytes", found })?;
        Ok(Self { ring, registry: Registry { lines, soles, worlds }, items, room, region })
    }

    pub(super) fn ring(&self) -> &Ring<'static> {
        &self.ring
    }

    pub(super) fn registry(&self) -> Registry<'static> {
        self.registry
    }

    /// Gives back what those dead participants held whose slots may rest. Was there anything?
    pub(super) fn recover_announced(&self) -> bool {
        let found = self.registry.reap(Line::is_announcing) > 0;
        self.ring.sweep() > 0 || found
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
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
