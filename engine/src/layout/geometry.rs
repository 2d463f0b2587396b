//! Sizes and offsets, computed in one place for creation and for attaching alike.

use crate::ring::payload::{self, WORD};
use crate::ring::{Role, Shape};
use crate::sync::fence::Fences;

use super::cells::{ClassControl, Control, Extent, Line, Mark, POOL};
use crate::arena::Room;

pub(crate) const CONTROL_AT: usize = 128;
pub(crate) const GATES_AT: usize = CONTROL_AT + size_of::<Control>();
pub(crate) const ROLES_AT: usize = GATES_AT + 2 * LINE;
pub(crate) const WORLDS_AT: usize = ROLES_AT + 2 * WORD;
pub(crate) const LINES_AT: usize = 1024;

/// Boots and pid namespaces that participants of one segment may come from, over its life.
pub(crate) const WORLDS: usize = 30;

/// Bytes that two cores fetch as one: also the distance between gates.
pub(crate) const LINE: usize = 128;

const _: () = assert!(WORLDS_AT + WORLDS * WORD <= LINES_AT);

/// Memory is reserved and given back in pages of this size.
pub(crate) const PAGE: usize = 4096;

/// The most messages a bounded queue may hold.
pub(crate) const CAPACITY_MAX: usize = 1 << 30;
/// The longest message a slot may hold, in bytes: one that is written within the longest patience.
pub(crate) const INLINE_MAX: usize = 1 << 24;
/// The most participants.
pub(crate) const LINES_MAX: usize = 4096;
/// The most classes of blocks.
pub(crate) const CLASSES_MAX: usize = 16;

/// The most memory a queue may be allowed, in bytes.
pub(crate) const BYTES_MAX: usize = 1 << 44;
/// The least.
pub(crate) const BYTES_MIN: usize = 1 << 20;

/// Bytes of the smallest payload block, in which small payloads are collected.
pub(crate) const COLLECTED: usize = 1 << 16;
/// Each payload class has blocks so many times as large as the one before.
const CLASS_FACTOR: usize = 4;
/// Free payload blocks of one class keep so many bytes, at most, while messages are on their way: to
/// give them back and reserve them again costs ten times as much as to copy a message. The largest give
/// all back at once.
const KEPT_BYTES: usize = 1 << 26;
/// And so many when the queue has been found empty.
const KEPT_IDLE_BYTES: usize = 1 << 21;
/// Free segments keep so many bytes.
const SEGMENTS_KEPT_BYTES: usize = 1 << 22;
/// Bytes of the slots of a segment, about.
const SEGMENT_BYTES: usize = 1 << 16;
/// A directory entry has so many bits for a block.
const SEGMENTS_MAX: usize = (1 << 24) - 1;
/// Slots between what a lone producer writes and the head, in a queue of as many places and more.
const APART: usize = 128;
/// So many messages one of many producers may claim at once, at least, if there are as many places for each: with
/// fewer, a batch would cost as much as one by one.
const RUN_LEAST: usize = 16;
/// Copying those of larger slots, in bytes, takes longer than to claim them; and spare slots more memory.
const RUN_SLOT_MAX: usize = 512;
/// The least entries of a directory, so that laps are few enough for the other bits.
const DIRECTORY_MIN: usize = 1 << 14;

/// What a queue is to be, before it is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// 0: unbounded.
    pub(crate) capacity: usize,
    pub(crate) inline_max: usize,
    pub(crate) message_max: usize,
    pub(crate) max_bytes: usize,
    pub(crate) lines: usize,
    pub(crate) producers: Role,
    pub(crate) consumers: Role,
    /// Is the queue shut down when the last producer has gone?
    pub(crate) ends_with_producers: bool,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(crate) request: Request,
    pub(crate) shape: Shape,
    pub(crate) controls_at: usize,
    pub(crate) marks_at: usize,
    pub(crate) slots_at: usize,
    /// The end of what has memory from the beginning.
    pub(crate) fixed: usize,
    pub(crate) directory_at: usize,
    pub(crate) directory: usize,
    /// Classes of blocks, segments first; empty without an arena.
    pub(crate) rooms: Vec<Room>,
    pub(crate) total: usize,
}

impl Request {
    fn is_in_range(&self) -> bool {
        self.capacity <= CAPACITY_MAX
            && self.inline_max <= INLINE_MAX
            && self.inline_max <= self.message_max
            && self.message_max <= BYTES_MAX
            && (BYTES_MIN..=BYTES_MAX).contains(&self.max_bytes)
            && (1..=LINES_MAX).contains(&self.lines)
    }

    /// Does it need memory beyond what is there from the beginning?
    pub(crate) fn has_arena(&self) -> bool {
        self.is_unbounded() || self.message_max > self.inline_max
    }

    pub(crate) fn is_unbounded(&self) -> bool {
        self.capacity == 0
    }

    /// The layout for this request; `None` if a number is out of range or memory could not be
    /// addressed.
    pub(crate) fn lay_out(&self, fences: Fences) -> Option<Geometry> {
        if !self.is_in_range() {
            return None;
        }
        let slot_bytes =
            WORD * payload::stride_for(self.inline_max, self.message_max > self.inline_max);
        let slots = self.slots(slot_bytes);
        let bounded_slots = if self.is_unbounded() { 0 } else { slots };
        let controls_at = LINES_AT + self.lines * size_of::<Line>();
        let controls = if self.has_arena() { CLASSES_MAX * size_of::<ClassControl>() } else { 0 };
        let marks_at = controls_at + controls;
        let slots_at = (marks_at + bounded_slots * size_of::<Mark>()).next_multiple_of(LINE);
        let fixed = bounded_slots.checked_mul(slot_bytes)?.checked_add(slots_at)?;
        isize::try_from(fixed).ok()?;
        let shape = Shape {
            capacity: self.capacity as u64,
            slots: slots as u64,
            stride: slot_bytes / WORD,
            inline_max: self.inline_max,
            growing: self.is_unbounded(),
            producers: self.producers,
            consumers: self.consumers,
            fences,
        };
        let mut geometry = Geometry {
            request: *self,
            shape,
            controls_at,
            marks_at,
            slots_at,
            fixed,
            directory_at: fixed,
            directory: 0,
            rooms: Vec::new(),
            total: fixed,
        };
        if self.has_arena() {
            geometry.add_arena()?;
        }
        Some(geometry)
    }

    fn slots(&self, slot_bytes: usize) -> usize {
        if self.is_unbounded() {
            return (SEGMENT_BYTES / slot_bytes).next_power_of_two().max(64);
        }
        let spare = match self.producers {
            // It needs none, but in a full queue it must not write beside what is being read.
            Role::One if payload::has_spare(slot_bytes / WORD) && self.capacity >= APART => APART,
            Role::One => 0,
            // A stalled one may keep as many out of use as it has claimed: one for each there can be, or more.
            Role::Many if slot_bytes <= RUN_SLOT_MAX => {
                self.lines.max(self.capacity.min(RUN_LEAST * self.lines))
            }
            Role::Many => self.lines,
        };
        (self.capacity + spare).next_power_of_two()
    }
}

impl Geometry {
    pub(crate) fn slot_bytes(&self) -> usize {
        self.shape.stride * WORD
    }

    /// Directory, descriptors and blocks behind the fixed part: address space, no memory yet.
    fn add_arena(&mut self) -> Option<()> {
        self.total = self.total.next_multiple_of(PAGE);
        self.add_segments()?;
        let longest = self.request.message_max.min(self.request.max_bytes);
        let mut bytes = COLLECTED;
        while self.request.message_max > self.request.inline_max {
            // A message leaves less than three quarters of its block without memory.
            let blocks = (CLASS_FACTOR * self.request.max_bytes / bytes).max(1);
            let [keep, idle] = [KEPT_BYTES, KEPT_IDLE_BYTES].map(|kept| (kept / bytes).min(POOL));
            self.rooms.push(room(bytes, blocks, keep, idle));
            if bytes >= longest {
                break;
            }
            bytes = bytes.checked_mul(CLASS_FACTOR)?;
        }
        for at in 0..self.rooms.len() {
            let Room { bytes, blocks, .. } = self.rooms[at];
            let states_at = self.take_pages(blocks.checked_mul(WORD)?)?;
            let extents_at = self.take_pages(blocks.checked_mul(size_of::<Extent>())?)?;
            self.rooms[at].states_at = states_at;
            self.rooms[at].extents_at = extents_at;
            self.rooms[at].blocks_at = self.take_pages(blocks.checked_mul(bytes)?)?;
        }
        (self.rooms.len() <= CLASSES_MAX).then_some(())
    }

    fn add_segments(&mut self) -> Option<()> {
        if !self.request.is_unbounded() {
            self.rooms.push(room(PAGE, 0, 0, 0));
            return Some(());
        }
        let bytes = (self.shape.slots as usize * (size_of::<Mark>() + self.slot_bytes()))
            .next_multiple_of(PAGE);
        // Each participant may keep one from being used.
        let blocks = self.request.max_bytes / bytes + self.request.lines + 2;
        let blocks = blocks.min(SEGMENTS_MAX);
        let keep = (SEGMENTS_KEPT_BYTES / bytes).clamp(2, POOL);
        self.rooms.push(room(bytes, blocks, keep, keep));
        self.directory = (blocks + 2).next_power_of_two().max(DIRECTORY_MIN);
        self.shape.capacity = (self.directory as u64 - 1) * self.shape.slots;
        self.directory_at = self.take_pages(self.directory.checked_mul(WORD)?)?;
        Some(())
    }

    fn take_pages(&mut self, bytes: usize) -> Option<usize> {
        let at = self.total;
        self.total = at.checked_add(bytes.checked_next_multiple_of(PAGE)?)?;
        isize::try_from(self.total).ok()?;
        Some(at)
    }
}

fn room(bytes: usize, blocks: usize, keep: usize, keep_idle: usize) -> Room {
    Room { bytes, blocks, keep, keep_idle, blocks_at: 0, states_at: 0, extents_at: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(capacity: usize, inline_max: usize) -> Request {
        Request {
            capacity,
            inline_max,
            message_max: inline_max,
            max_bytes: 1 << 30,
            lines: 64,
            producers: Role::Many,
            consumers: Role::Many,
            ends_with_producers: false,
        }
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
    fn a_lone_producer_has_spare_slots_where_there_are_many() {
        for (capacity, slots) in
            [(1, 1), (100, 128), (127, 128), (128, 256), (896, 1024), (1024, 2048)]
        {
            let lone = Request { producers: Role::One, ..request(capacity, 48) };
            assert_eq!(lone.lay_out(Fences::Full).unwrap().shape.slots, slots, "{capacity}");
        }
        // Large ones are written by who has no lines to ask for, and would need much memory.
        let large = Request { producers: Role::One, ..request(1024, 32 << 10) };
        assert_eq!(large.lay_out(Fences::Full).unwrap().shape.slots, 1024);
    }

    #[test]
    fn one_of_many_producers_may_claim_several_whatever_the_capacity() {
        let slots = |request: Request| request.lay_out(Fences::Full).unwrap().shape.slots as usize;
        for capacity in [1, 64, 100, 500, 896, 900, 1000, 1024, 1984, 2000, 2048, 4000, 100_000] {
            for lines in [1, 6, 64] {
                let spare = slots(Request { lines, ..request(capacity, 48) }) - capacity;
                assert!(spare / lines >= RUN_LEAST.min(capacity / lines).max(1), "{capacity}");
                assert!(spare < capacity + 2 * lines.max(capacity), "{capacity}: {spare}");
            }
        }
        assert_eq!(slots(request(900, 4096)), 1024, "large ones would need much memory");
    }

    #[test]
    fn numbers_out_of_range_have_no_layout() {
        for (capacity, inline_max) in [(CAPACITY_MAX + 1, 8), (1, INLINE_MAX + 1)] {
            assert!(request(capacity, inline_max).lay_out(Fences::Full).is_none());
        }
        assert!(request(CAPACITY_MAX, INLINE_MAX).lay_out(Fences::Full).is_some());
        for max_bytes in [BYTES_MIN - 1, BYTES_MAX + 1] {
            let request = Request { max_bytes, ..request(1, 8) };
            assert!(request.lay_out(Fences::Full).is_none());
        }
    }

    #[test]
    fn blocks_lie_beside_each_other_and_hold_the_longest_message() {
        for (capacity, message_max, max_bytes) in [
            (0, 48, BYTES_MIN),
            (0, 1 << 30, 1 << 30),
            (8, 1 << 20, 1 << 24),
            (0, 1 << 44, 1 << 44),
        ] {
            let request = Request { message_max, max_bytes, ..request(capacity, 48) };
            let geometry = request.lay_out(Fences::Full).unwrap();
            let mut end = geometry.fixed;
            for room in &geometry.rooms {
                assert!(room.states_at >= end && room.states_at % PAGE == 0);
                assert!(room.extents_at >= room.states_at + room.blocks * WORD);
                assert!(room.blocks_at >= room.extents_at + room.blocks * size_of::<Extent>());
                end = room.blocks_at + room.blocks * room.bytes;
            }
            assert!(geometry.total >= end);
            let longest = geometry.rooms.last().unwrap();
            assert!(message_max <= 48 || longest.bytes >= message_max.min(max_bytes));
        }
    }
}
