//! Sizes and offsets, computed in one place for creation and for attaching alike.

use crate::ring::payload::WORD;
use crate::ring::{Role, SLOT_HEAD, Shape};
use crate::sync::fence::Fences;

use super::cells::{Control, Line, Mark};

pub(crate) const CONTROL_AT: usize = 128;
pub(crate) const GATES_AT: usize = CONTROL_AT + size_of::<Control>();
pub(crate) const ROLES_AT: usize = GATES_AT + 2 * LINE;
pub(crate) const WORLDS_AT: usize = ROLES_AT + 2 * WORD;
pub(crate) const LINES_AT: usize = 1024;

/// Boots and pid namespaces that participants of one segment may come from, over its life.
pub(crate) const WORLDS: usize = 30;

/// Bytes that two cores fetch as one: also the distance between gates.
pub(crate) const LINE: usize = 128;
/// Slots are whole cache lines.
const CACHE_LINE: usize = 64;

const _: () = assert!(WORLDS_AT + WORLDS * WORD <= LINES_AT);

/// The most messages a queue may hold.
pub(crate) const CAPACITY_MAX: usize = 1 << 30;
/// The longest message a slot may hold, in bytes: one that is written within the longest patience.
pub(crate) const MESSAGE_MAX: usize = 1 << 24;
/// The most participants.
pub(crate) const LINES_MAX: usize = 4096;

/// What a queue is to be, before it is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) capacity: usize,
    pub(crate) message_max: usize,
    pub(crate) lines: usize,
    pub(crate) producers: Role,
    pub(crate) consumers: Role,
}

/// Where everything is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) shape: Shape,
    pub(crate) lines: usize,
    pub(crate) marks_at: usize,
    pub(crate) slots_at: usize,
    pub(crate) total: usize,
}

impl Request {
    /// The layout for this request; `None` if a number is out of range or memory could not be
    /// addressed.
    pub(crate) fn lay_out(&self, fences: Fences) -> Option<Geometry> {
        let in_range = (1..=CAPACITY_MAX).contains(&self.capacity)
            && self.message_max <= MESSAGE_MAX
            && (1..=LINES_MAX).contains(&self.lines);
        if !in_range {
            return None;
        }
        // A stalled producer may keep a slot out of use: one spare for each there can be.
        let spare = if self.producers == Role::One { 0 } else { self.lines };
        let slots = (self.capacity + spare).next_power_of_two();
        let slot_bytes = (SLOT_HEAD * WORD + self.message_max).next_multiple_of(CACHE_LINE);
        let marks_at = LINES_AT + self.lines * size_of::<Line>();
        let slots_at = (marks_at + slots * size_of::<Mark>()).next_multiple_of(LINE);
        let total = slots.checked_mul(slot_bytes)?.checked_add(slots_at)?;
        isize::try_from(total).ok()?;
        let shape = Shape {
            capacity: self.capacity as u64,
            slots: slots as u64,
            stride: slot_bytes / WORD,
            message_max: self.message_max,
            producers: self.producers,
            consumers: self.consumers,
            fences,
        };
        Some(Geometry { shape, lines: self.lines, marks_at, slots_at, total })
    }
}

impl Geometry {
    pub(crate) fn slot_bytes(&self) -> usize {
        self.shape.stride * WORD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(capacity: usize, message_max: usize) -> Request {
        Request { capacity, message_max, lines: 64, producers: Role::Many, consumers: Role::Many }
    }

    #[test]
    fn the_default_message_fits_one_cache_line() {
        let geometry = request(1000, 48).lay_out(Fences::Full).unwrap();
        assert_eq!(geometry.slot_bytes(), 64);
        assert_eq!(geometry.shape.slots, 2048);
        assert_eq!(geometry.slots_at % LINE, 0);
        assert_eq!(geometry.total, geometry.slots_at + 2048 * 64);
    }

    #[test]
    fn a_lone_producer_needs_no_spare_slots() {
        let lone = Request { producers: Role::One, ..request(1024, 48) };
        assert_eq!(lone.lay_out(Fences::Full).unwrap().shape.slots, 1024);
    }

    #[test]
    fn numbers_out_of_range_have_no_layout() {
        for (capacity, message_max) in [(0, 8), (CAPACITY_MAX + 1, 8), (1, MESSAGE_MAX + 1)] {
            assert!(request(capacity, message_max).lay_out(Fences::Full).is_none());
        }
        assert!(request(CAPACITY_MAX, MESSAGE_MAX).lay_out(Fences::Full).is_some());
    }
}
