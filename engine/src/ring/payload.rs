//! Payload words: copies that may race.
//!
//! A consumer copies before it knows that the message is its own, and a producer that was passed
//! over may still be storing: both are relaxed word accesses, or instructions that the compiler does
//! not see into, so such a race yields bytes that are thrown away, never undefined behaviour.

use super::SLOT_HEAD;
use super::asking::prefetch_to_write;
#[cfg(not(loom))]
use crate::order::ASK;
use crate::order::PAYLOAD;
use crate::sync::Word;

/// Bytes per payload word.
pub(crate) const WORD: usize = size_of::<u64>();

/// Words of a cache line.
pub(crate) const LINE: usize = 64 / WORD;
/// Words before the payload in each line of a slot but the first: one that nobody reads.
const LINE_HEAD: usize = 1;

/// Bytes of payload in the first line of a slot, and in each further one.
const FIRST: usize = (LINE - SLOT_HEAD) * WORD;
const FURTHER: usize = (LINE - LINE_HEAD) * WORD;

/// Of a slot of more words the payload is one piece, and nothing is asked for: between near CPUs, a string
/// instruction is faster.
pub(super) const SHORT: usize = 40 * LINE;

/// From this length on a string instruction beats a loop of word accesses.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
const LONG: usize = 256;

/// Is there a word in each line of such slots that nobody reads?
pub(crate) const fn has_spare(stride: usize) -> bool {
    (LINE.is_multiple_of(stride) || stride.is_multiple_of(LINE)) && !is_whole(stride)
}

/// Is its payload one piece?
const fn is_whole(stride: usize) -> bool {
    stride > SHORT
}

/// Words of a slot for messages of up to so many bytes: whole lines, or, if none of them lies elsewhere,
/// half of one.
pub(crate) fn stride_for(bytes: usize, some_elsewhere: bool) -> usize {
    if !some_elsewhere && bytes <= (LINE / 2 - SLOT_HEAD) * WORD {
        return LINE / 2;
    }
    let lines = 1 + bytes.saturating_sub(FIRST).div_ceil(FURTHER);
    if !is_whole(lines * LINE) {
        return lines * LINE;
    }
    (SLOT_HEAD + bytes.div_ceil(WORD)).next_multiple_of(LINE).max(SHORT + LINE)
}

/// Bytes of payload in a slot of so many words, if it is a slot.
pub(super) fn room(stride: usize) -> Option<usize> {
    let further = if is_whole(stride) { 0 } else { stride.div_ceil(LINE).saturating_sub(1) };
    stride.checked_sub(SLOT_HEAD + further * LINE_HEAD)?.checked_mul(WORD)
}

/// Stores a word that nobody reads into each line but the first.
#[cfg(not(loom))]
#[inline(always)]
pub(super) fn ask(slot: &[Word]) {
    debug_assert!(!is_whole(slot.len()));
    slot.iter().step_by(LINE).skip(1).for_each(|word| word.store(0, ASK));
}

/// Has the lines on their way of a slot that so many bytes will be written into.
#[inline(always)]
pub(super) fn prefetch(first: *const Word, bytes: usize) {
    prefetch_to_write(first);
    let (mut line, mut room) = (first, FIRST);
    while room < bytes {
        line = line.wrapping_add(LINE);
        room += FURTHER;
        prefetch_to_write(line);
    }
}

/// Stores `bytes` as the payload of a slot.
///
/// # Safety
/// There is room for them.
#[inline(always)]
pub(super) unsafe fn store(slot: &[Word], bytes: &[u8]) {
    debug_assert!(room(slot.len()).is_some_and(|room| bytes.len() <= room));
    // SAFETY: it has a head, as whatever has room.
    let first = unsafe { slot.get_unchecked(SLOT_HEAD..) };
    // Words are the most usual messages.
    if let Ok(word) = bytes.try_into().map(u64::from_ne_bytes) {
        // SAFETY: it fits (this function's contract).
        return unsafe { first.get_unchecked(0) }.store(word, PAYLOAD);
    }
    match bytes.len() {
        // SAFETY: there is room in the first line.
        ..FIRST => unsafe { store_words(first, bytes) },
        // SAFETY: as above.
        FIRST => unsafe { store_at::<FIRST>(slot, SLOT_HEAD, bytes) },
        // SAFETY: there is room (contract).
        _ => unsafe { store_lines(slot, bytes) },
    }
}

/// Stores what does not fit the first line alone.
///
/// # Safety
/// There is room for it.
#[inline]
unsafe fn store_lines(slot: &[Word], bytes: &[u8]) {
    let (first, mut rest) = bytes.split_at(FIRST);
    // SAFETY: the first line is full.
    unsafe { store_at::<FIRST>(slot, SLOT_HEAD, first) };
    if is_whole(slot.len()) {
        // SAFETY: there is room (contract), in one piece.
        return unsafe { store_piece(&slot[LINE..], rest) };
    }
    let mut at = LINE + LINE_HEAD;
    while rest.len() >= FURTHER {
        let (line, left) = rest.split_at(FURTHER);
        // SAFETY: there is room (contract): so far, full lines.
        unsafe { store_at::<FURTHER>(slot, at, line) };
        (rest, at) = (left, at + LINE);
    }
    if !rest.is_empty() {
        // SAFETY: and a last one, of which there is as much.
        unsafe { store_words(&slot[at..], rest) };
    }
}

/// Stores so many of `bytes`, words of a number known to the compiler.
///
/// # Safety
/// There are as many bytes, and as many words in the slot from that one on.
#[inline(always)]
unsafe fn store_at<const BYTES: usize>(slot: &[Word], at: usize, bytes: &[u8]) {
    // SAFETY: they are there (this function's contract).
    let words = unsafe { slot.get_unchecked(at..) };
    // SAFETY: as above.
    unsafe { store_words(words, &bytes[..BYTES]) };
}

/// # Safety
/// `words` are as many bytes at least.
unsafe fn store_piece(words: &[Word], bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    if bytes.len() >= LONG {
        // SAFETY: the words are `bytes.len()` writable bytes (this function's contract); to the
        // compiler and to the machine, what happens there is a racing store like `Word::store`.
        unsafe { string_copy(bytes.as_ptr(), words.as_ptr().cast::<u8>().cast_mut(), bytes.len()) };
        return;
    }
    // SAFETY: the contract of this function.
    unsafe { store_words(words, bytes) };
}

/// Stores `bytes` into the first of `words`.
///
/// # Safety
/// There are at least as many.
#[inline(always)]
unsafe fn store_words(words: &[Word], bytes: &[u8]) {
    debug_assert!(bytes.len() <= words.len() * WORD);
    let whole = bytes.len() / WORD;
    for at in 0..whole {
        let chunk = bytes.as_ptr().wrapping_add(at * WORD).cast::<[u8; WORD]>();
        // SAFETY: the whole words of `bytes` are `whole`.
        let chunk = unsafe { chunk.read() };
        // SAFETY: they fit (this function's contract).
        unsafe { words.get_unchecked(at) }.store(u64::from_ne_bytes(chunk), PAYLOAD);
    }
    let rest = &bytes[whole * WORD..];
    if !rest.is_empty() {
        let mut word = [0; WORD];
        word[..rest.len()].copy_from_slice(rest);
        // SAFETY: a partial last word is inside the contract's bytes, rounded up to words.
        unsafe { words.get_unchecked(whole) }.store(u64::from_ne_bytes(word), PAYLOAD);
    }
}

/// Fills `out` from the payload of a slot.
///
/// # Safety
/// There is room for as much in the slot.
#[inline(always)]
pub(super) unsafe fn load(slot: &[Word], out: &mut [u8]) {
    debug_assert!(room(slot.len()).is_some_and(|room| out.len() <= room));
    // SAFETY: it has a head, as whatever has room.
    let first = unsafe { slot.get_unchecked(SLOT_HEAD..) };
    if out.len() == WORD {
        // SAFETY: it is there (this function's contract).
        let word = unsafe { first.get_unchecked(0) }.load(PAYLOAD);
        return out.copy_from_slice(&word.to_ne_bytes());
    }
    match out.len() {
        // SAFETY: the first line has as much.
        ..FIRST => unsafe { load_words(first, out) },
        // SAFETY: as above.
        FIRST => unsafe { load_at::<FIRST>(slot, SLOT_HEAD, out) },
        // SAFETY: there is as much (contract).
        _ => unsafe { load_lines(slot, out) },
    }
}

/// # Safety
/// As for [`load`]; `out` is longer than the first line.
#[inline]
unsafe fn load_lines(slot: &[Word], out: &mut [u8]) {
    let (first, mut rest) = out.split_at_mut(FIRST);
    // SAFETY: the first line is full.
    unsafe { load_at::<FIRST>(slot, SLOT_HEAD, first) };
    if is_whole(slot.len()) {
        // SAFETY: there is as much (contract), in one piece.
        return unsafe { load_piece(&slot[LINE..], rest) };
    }
    let mut at = LINE + LINE_HEAD;
    while rest.len() >= FURTHER {
        let (line, left) = rest.split_at_mut(FURTHER);
        // SAFETY: there is as much (contract): so far, full lines.
        unsafe { load_at::<FURTHER>(slot, at, line) };
        (rest, at) = (left, at + LINE);
    }
    if !rest.is_empty() {
        // SAFETY: and a last one, which has as much.
        unsafe { load_words(&slot[at..], rest) };
    }
}

/// Fills so much of `out`, words of a number known to the compiler.
///
/// # Safety
/// There is as much in the slot from that word on.
#[inline(always)]
unsafe fn load_at<const BYTES: usize>(slot: &[Word], at: usize, out: &mut [u8]) {
    // SAFETY: they are there (this function's contract).
    let words = unsafe { slot.get_unchecked(at..) };
    // SAFETY: as above.
    unsafe { load_words(words, &mut out[..BYTES]) };
}

/// # Safety
/// `words` are as many bytes at least.
unsafe fn load_piece(words: &[Word], out: &mut [u8]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    if out.len() >= LONG {
        // SAFETY: the words are `out.len()` readable bytes (this function's contract); the racing
        // load happens outside the compiler's sight.
        unsafe { string_copy(words.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
        return;
    }
    // SAFETY: the contract of this function.
    unsafe { load_words(words, out) };
}

/// Fills `out` from the first of `words`.
///
/// # Safety
/// There are at least as many.
#[inline(always)]
unsafe fn load_words(words: &[Word], out: &mut [u8]) {
    debug_assert!(out.len() <= words.len() * WORD);
    let whole = out.len() / WORD;
    let paired = whole & !1;
    for at in (0..paired).step_by(2) {
        // SAFETY: so many words of `out` are whole, and fit (this function's contract).
        let from = unsafe { words.get_unchecked(at..at + 2) };
        // SAFETY: as above.
        unsafe { load_pair(from, out.as_mut_ptr().wrapping_add(at * WORD)) };
    }
    for at in paired..whole {
        // SAFETY: `at` counts whole words of `out`, which fit (this function's contract).
        let word = unsafe { words.get_unchecked(at) }.load(PAYLOAD);
        let chunk = out.as_mut_ptr().wrapping_add(at * WORD).cast::<[u8; WORD]>();
        // SAFETY: as above.
        unsafe { chunk.write(word.to_ne_bytes()) };
    }
    let rest = &mut out[whole * WORD..];
    if !rest.is_empty() {
        // SAFETY: a partial last word is inside the contract's bytes, rounded up to words.
        let word = unsafe { words.get_unchecked(whole) }.load(PAYLOAD).to_ne_bytes();
        rest.copy_from_slice(&word[..rest.len()]);
    }
}

/// Copies two words at once: who then reads more than a word at a time would have to wait for two stores.
///
/// # Safety
/// `words` are two, `to` is valid for writes of as much.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
unsafe fn load_pair(words: &[Word], to: *mut u8) {
    // SAFETY: the pointers are valid (contract); the racing load happens outside the compiler's sight.
    unsafe {
        core::arch::asm!(
            "movups {pair}, [{from}]",
            "movups [{to}], {pair}",
            pair = out(xmm_reg) _,
            from = in(reg) words.as_ptr(),
            to = in(reg) to,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// As above.
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
#[inline(always)]
unsafe fn load_pair(words: &[Word], to: *mut u8) {
    for (at, word) in words.iter().enumerate() {
        let to = to.wrapping_add(at * WORD).cast::<[u8; WORD]>();
        // SAFETY: valid for two words (contract).
        unsafe { to.write(word.load(PAYLOAD).to_ne_bytes()) };
    }
}

/// Copies `bytes` to memory that another process might, against all rules, read or write meanwhile.
///
/// # Safety
/// `to` is valid for writes of as many bytes, which do not overlap `bytes`.
pub(crate) unsafe fn copy_in(bytes: &[u8], to: *mut u8) {
    // SAFETY: valid for the length (contract).
    unsafe { string_copy(bytes.as_ptr(), to, bytes.len()) };
}

/// Fills `out` from such memory.
///
/// # Safety
/// `from` is valid for reads of as many bytes, which do not overlap `out`.
pub(crate) unsafe fn copy_out(from: *const u8, out: &mut [u8]) {
    // SAFETY: valid for the length (contract).
    unsafe { string_copy(from, out.as_mut_ptr(), out.len()) };
}

/// Elsewhere: bytes, one after the other, by accesses that may be raced.
///
/// # Safety
/// `from` and `to` are valid for `len` bytes and do not overlap; one of them may be raced.
#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
unsafe fn string_copy(from: *const u8, to: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: within the length (contract).
        let from = unsafe { from.add(at) };
        // SAFETY: as above.
        let to = unsafe { to.add(at) };
        // SAFETY: as above; a volatile access is left as it is.
        let byte = unsafe { from.read_volatile() };
        // SAFETY: as above.
        unsafe { to.write_volatile(byte) };
    }
}

/// If it lies less than so many bytes behind what is copied, pages aside, `rep movsb` takes up to twenty times as
/// long on AMD's Zen 3 (glibc bug 30994). Buffers of the allocator's that are mapped lie 16 bytes behind.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
const CLOSE: core::ops::Range<usize> = 1..32;

/// `rep movsb`, or where that would be slow, a loop. The stores are ordered before a later discrete store (the
/// publishing `seq`), the loads before a later locked operation (the taking CAS).
///
/// # Safety
/// `from` and `to` are valid for `len` bytes and do not overlap; one of them may be raced.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
unsafe fn string_copy(from: *const u8, to: *mut u8, len: usize) {
    const PAGE: usize = 4096;
    if len >= PIECE && CLOSE.contains(&(to.addr().wrapping_sub(from.addr()) % PAGE)) {
        // SAFETY: the contract of this function.
        return unsafe { copy_pieces(from, to, len) };
    }
    // SAFETY: the direction flag is clear by the ABI; the pointers are the contract's.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Bytes that are copied at once.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
const PIECE: usize = 64;

/// By vectors; the last piece may copy bytes again.
///
/// # Safety
/// As for [`string_copy`], and there is a piece.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[cold]
#[inline(never)]
unsafe fn copy_pieces(from: *const u8, to: *mut u8, len: usize) {
    let rest = len - PIECE;
    for (at, pieces) in [(0, len / PIECE), (rest, 1)] {
        // SAFETY: so many pieces from there on are within `len` (contract); the racing accesses happen outside
        // the compiler's sight.
        unsafe {
            core::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "sub {pieces}, 1",
                "jnz 2b",
                from = inout(reg) from.wrapping_add(at) => _,
                to = inout(reg) to.wrapping_add(at) => _,
                pieces = inout(reg) pieces => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_no_longer_than_its_message_needs() {
        let strides = [(0, 4), (16, 4), (17, 8), (48, 8), (49, 16), (104, 16), (105, 24)];
        for (bytes, stride) in strides.into_iter().chain([(2232, SHORT), (2233, SHORT + LINE)]) {
            assert_eq!(stride_for(bytes, false), stride, "{bytes} bytes");
        }
        // A reference has three words.
        assert!(room(stride_for(0, true)).unwrap() >= 3 * WORD);
        assert_eq!(room(SLOT_HEAD - 1), None);
    }

    /// However the two lie to each other within their pages, and no byte beyond.
    #[test]
    fn copies_are_whole_wherever_they_lie() {
        let from: Vec<u8> = (0..3 * 4096).map(|at| (at % 251) as u8 | 1).collect();
        let start = (4096 - from.as_ptr().addr() % 4096) % 4096;
        for behind in 0..80 {
            for len in (0..200).chain([256, 1000, 4096]) {
                let mut to = vec![0; 4 * 4096];
                let page = (4096 - to.as_ptr().addr() % 4096) % 4096;
                let from = &from[start..][..len];
                // SAFETY: there is room for a page from there on, and these bytes are there.
                unsafe { string_copy(from.as_ptr(), to[page + behind..].as_mut_ptr(), len) };
                assert!(to[page + behind..][..len] == *from, "{len} bytes, {behind} behind");
                assert!(to[..page + behind].iter().all(|&byte| byte == 0));
                assert!(to[page + behind + len..].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn messages_of_all_lengths_come_back_whole_whoever_asks_for_their_lines() {
        for bytes in (0..2_500).chain([4_096, 40_001]) {
            let stride = stride_for(bytes, bytes % 2 == 0);
            assert!(room(stride).unwrap() >= bytes, "{bytes} bytes");
            let slot: Vec<Word> = (0..stride).map(|_| Word::new(u64::MAX)).collect();
            let message: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            // SAFETY: there is room for them.
            unsafe { store(&slot, &message) };
            if !is_whole(stride) {
                ask(&slot);
            }
            let mut out = vec![0; bytes];
            // SAFETY: as above.
            unsafe { load(&slot, &mut out) };
            assert!(out == message, "{bytes} bytes");
        }
    }
}
