//! The header: who may attach, and to what.

use crate::error::AttachError;
use crate::order::{BEAR, BORN, HEADER};
use crate::sync::Word;

use super::geometry::Geometry;
use crate::ring::{Role, SLOT_HEAD};
use crate::sync::fence::Fences;

/// "shmq ring", as a little-endian word.
const MAGIC: u64 = u64::from_le_bytes(*b"shmqring");

/// Grows with every change of meaning that the layout hash does not catch.
pub(crate) const VERSION: u64 = 8;

/// Sizes and offsets that both sides must agree on, hashed (FNV-1a over the numbers).
pub(crate) const LAYOUT_HASH: u64 = {
    use super::cells::{ClassControl, Control, Extent, Gate, Line, Mark};
    let facts = [
        size_of::<Header>(),
        size_of::<Control>(),
        size_of::<Gate>(),
        size_of::<Line>(),
        size_of::<Mark>(),
        size_of::<Extent>(),
        size_of::<ClassControl>(),
        SLOT_HEAD,
        super::geometry::CONTROL_AT,
        super::geometry::GATES_AT,
        super::geometry::ROLES_AT,
        super::geometry::WORLDS_AT,
        super::geometry::WORLDS,
        super::geometry::LINES_AT,
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < facts.len() {
        hash = (hash ^ facts[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};

/// Of the roles: the queue is shut down when the last producer has gone.
const ENDS: u64 = 4;

/// The first 128 bytes of a segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    magic: Word,
    version: Word,
    layout: Word,
    total_bytes: Word,
    /// 0: unbounded.
    capacity: Word,
    slots: Word,
    slot_bytes: Word,
    message_max: Word,
    lines: Word,
    /// `{ends with producers, one consumer, one producer}`, a bit each.
    roles: Word,
    /// 0 asymmetric, 1 full.
    fences: Word,
    uuid: [Word; 2],
    inline_max: Word,
    max_bytes: Word,
    reserved: Word,
}

const _: () = assert!(size_of::<Header>() == 128);

impl Header {
    /// Describes a segment that is otherwise finished; whoever sees the magic sees everything.
    pub(crate) fn bear(&self, geometry: &Geometry, uuid: [u64; 2]) {
        let shape = &geometry.shape;
        let one = |role, bit| if role == Role::One { bit } else { 0 };
        let ends = if geometry.request.ends_with_producers { ENDS } else { 0 };
        let roles = one(shape.producers, 1) | one(shape.consumers, 2) | ends;
        let fences = u64::from(shape.fences == Fences::Full);
        self.version.store(VERSION, HEADER);
        self.layout.store(LAYOUT_HASH, HEADER);
        self.total_bytes.store(geometry.total as u64, HEADER);
        self.capacity.store(geometry.request.capacity as u64, HEADER);
        self.slots.store(shape.slots, HEADER);
        self.slot_bytes.store(geometry.slot_bytes() as u64, HEADER);
        self.inline_max.store(shape.inline_max as u64, HEADER);
        self.message_max.store(geometry.request.message_max as u64, HEADER);
        self.max_bytes.store(geometry.request.max_bytes as u64, HEADER);
        self.lines.store(geometry.request.lines as u64, HEADER);
        self.roles.store(roles, HEADER);
        self.fences.store(fences, HEADER);
        self.uuid[0].store(uuid[0], HEADER);
        self.uuid[1].store(uuid[1], HEADER);
        self.magic.store(MAGIC, BEAR);
    }

    /// Has the creator finished? Anything but zero there counts as an answer.
    pub(crate) fn is_born(&self) -> bool {
        self.magic.load(BORN) != 0
    }

    /// Where its name lies in the file.
    pub(crate) const UUID_AT: usize = core::mem::offset_of!(Self, uuid);

    /// The name of this one segment among all.
    pub(crate) fn uuid(&self) -> [u64; 2] {
        [self.uuid[0].load(HEADER), self.uuid[1].load(HEADER)]
    }

    /// The same as it lies in the file.
    pub(crate) fn uuid_bytes(&self) -> [u8; 16] {
        let [first, second] = self.uuid().map(u64::to_ne_bytes);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first);
        bytes[8..].copy_from_slice(&second);
        bytes
    }

    /// Copies the geometry out and checks all of it against `mapped` bytes.
    pub(crate) fn read(&self, mapped: usize) -> Result<Geometry, AttachError> {
        match self.magic.load(BORN) {
            MAGIC => {}
            0 => return Err(AttachError::Unfinished),
            magic if magic.swap_bytes() == MAGIC => return Err(AttachError::Endianness),
            found => return Err(AttachError::Foreign { expected: MAGIC, found }),
        }
        let version = self.version.load(HEADER);
        if version != VERSION {
            return Err(AttachError::Version { expected: VERSION, found: version });
        }
        let layout = self.layout.load(HEADER);
        if layout != LAYOUT_HASH {
            return Err(AttachError::Layout { expected: LAYOUT_HASH, found: layout });
        }
        let total = self.total_bytes.load(HEADER);
        if total > mapped as u64 {
            return Err(AttachError::Truncated { expected: total, found: mapped as u64 });
        }
        self.geometry(total)
    }

    fn geometry(&self, total: u64) -> Result<Geometry, AttachError> {
        let damaged = |field, found| AttachError::Damaged { field, found };
        let size = |field, word: &Word| {
            let found = word.load(HEADER);
            usize::try_from(found).map_err(|_| damaged(field, found))
        };
        let roles = self.roles.load(HEADER);
        let role = |bit| if roles & bit == 0 { Role::Many } else { Role::One };
        let fences = match self.fences.load(HEADER) {
            0 => Fences::Asymmetric,
            1 => Fences::Full,
            found => return Err(damaged("fences", found)),
        };
        if roles >= 2 * ENDS {
            return Err(damaged("roles", roles));
        }
        let found = super::geometry::Request {
            capacity: size("capacity", &self.capacity)?,
            inline_max: size("inline_max", &self.inline_max)?,
            message_max: size("message_max", &self.message_max)?,
            max_bytes: size("max_bytes", &self.max_bytes)?,
            lines: size("lines", &self.lines)?,
            producers: role(1),
            consumers: role(2),
            ends_with_producers: roles & ENDS != 0,
        };
        // What we would lay out for these numbers must be what is there: one rule, no second one
        // to keep in step with it.
        let geometry = found.lay_out(fences).ok_or(damaged("capacity", found.capacity as u64))?;
        let agree = [
            ("slots", &self.slots, geometry.shape.slots),
            ("slot_bytes", &self.slot_bytes, geometry.slot_bytes() as u64),
        ];
        for (field, word, expected) in agree {
            let found = word.load(HEADER);
            if found != expected {
                return Err(damaged(field, found));
            }
        }
        if geometry.total as u64 != total {
            return Err(damaged("total_bytes", total));
        }
        Ok(geometry)
    }
}
