//! The arena as the tracer finds it: no block may be kept by nobody, or for nothing.

use anyhow::{Result, bail, ensure};

use crate::config::{Config, MAX_BYTES, PARTICIPANTS};
use crate::segment::Segment;

// Sizes, as engine/src/layout/geometry.rs computes them.
const PAGE: usize = 4096;
const WORD: usize = size_of::<u64>();
const EXTENT: usize = 32;
const MARK: usize = 16;
const COLLECTED: usize = 1 << 16;
const CLASS_FACTOR: usize = 4;
const DIRECTORY_MIN: usize = 1 << 14;
const POOL: usize = 125;
/// Directory entries and descriptors get their memory so many at a time.
const TOGETHER: usize = 512;

/// Words of a class: so many described, so many directory entries, and where the pool begins.
const DESCRIBED: usize = 0;
const DIRECTORY: usize = 2;
const ENTRIES: usize = 3;

/// A class of blocks, and where it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of a block.
    pub bytes: usize,
    blocks: usize,
    states_at: usize,
    extents_at: usize,
}

impl Room {
    /// All classes, of a queue whose first `dense` bytes are no blocks.
    pub fn all(config: &Config, dense: usize, slots: usize, slot_bytes: usize) -> Vec<Self> {
        let mut end = dense.next_multiple_of(PAGE);
        let mut take = |bytes: usize| {
            let at = end;
            end += bytes.next_multiple_of(PAGE);
            at
        };
        let mut sizes = vec![(PAGE, 0)];
        if config.is_growing() {
            let bytes = (slots * (MARK + slot_bytes)).next_multiple_of(PAGE);
            let blocks = MAX_BYTES / bytes + PARTICIPANTS + 2;
            sizes = vec![(bytes, blocks)];
            take((blocks + 2).next_power_of_two().max(DIRECTORY_MIN) * WORD);
        }
        let mut bytes = COLLECTED;
        loop {
            sizes.push((bytes, (CLASS_FACTOR * MAX_BYTES / bytes).max(1)));
            if bytes >= MAX_BYTES {
                break;
            }
            bytes *= CLASS_FACTOR;
        }
        let rooms = sizes.into_iter().map(|(bytes, blocks)| {
            let states_at = take(blocks * WORD);
            let extents_at = take(blocks * EXTENT);
            take(blocks * bytes);
            Self { bytes, blocks, states_at, extents_at }
        });
        rooms.collect()
    }
}

/// `value << 2 | state`, as in engine/src/arena/blocks.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hole,
    Held { line: u64 },
    Closed { last: u64 },
    Free,
}

impl State {
    fn of(word: u64) -> Self {
        match word & 3 {
            0 => Self::Hole,
            1 => Self::Held { line: word >> 2 },
            2 => Self::Closed { last: word >> 2 },
            _ => Self::Free,
        }
    }
}

/// Accuses blocks that are kept for nothing. Nobody may be running, and recovery must have been.
pub fn judge(segment: &Segment, resident: u64) -> Result<()> {
    let mut due = segment.dense().next_multiple_of(PAGE);
    for (class, room) in segment.rooms().iter().enumerate() {
        let pages = |count: usize, each: usize| (count * each).next_multiple_of(PAGE);
        let described = segment.class_word(class, DESCRIBED) as usize;
        ensure!(described <= room.blocks, "{described} of {} blocks are described", room.blocks);
        // What was reserved by somebody who was killed before he said so.
        let reserved = (described + TOGETHER).min(room.blocks);
        due += pages(reserved, WORD) + pages(reserved, EXTENT);
        let entries = segment.class_word(class, DIRECTORY) as usize;
        due += pages(entries.max(TOGETHER), WORD);
        for index in 0..described {
            let state = State::of(segment.word(room.states_at / WORD + index));
            let extent = room.extents_at / WORD + index * (EXTENT / WORD);
            let tickets = (segment.word(extent), segment.word(extent + 1));
            if let Err(why) = judge_block(segment, class, index, state, tickets) {
                bail!("block {index} of class {class}, {state:?} with tickets {tickets:?}, {why}");
            }
            due += if state == State::Hole { 0 } else { room.bytes };
        }
    }
    ensure!(resident <= due as u64, "{resident} bytes are resident, blocks explain {due}");
    Ok(())
}

fn judge_block(
    segment: &Segment,
    class: usize,
    index: usize,
    state: State,
    (first, _): (u64, u64),
) -> Result<(), &'static str> {
    let lines = (0..PARTICIPANTS).map(|line| segment.line(line));
    match state {
        State::Hole => Ok(()),
        State::Held { line } => {
            let is_occupied = lines.into_iter().nth(line as usize).is_some_and(|it| it[1] != 0);
            if is_occupied { Ok(()) } else { Err("is held by nobody") }
        }
        State::Closed { last } => {
            let name = 1 + ((class as u64) << 32 | index as u64);
            let is_busy = lines.into_iter().any(|[announced, _, held, _, further]| match class {
                0 => announced != 0 && announced <= last && announced + further >= first,
                _ => held == name,
            });
            if segment.head() < last || is_busy { Ok(()) } else { Err("is over, and kept") }
        }
        State::Free => {
            let name = index as u64 + 1;
            let pooled = (0..POOL).any(|at| segment.class_word(class, ENTRIES + at) == name);
            if pooled { Ok(()) } else { Err("is free, and in no pool") }
        }
    }
}
