//! Payload words: copies that may race.
//!
//! A consumer copies before it knows that the message is its own, and a producer that was passed
//! over may still be storing: both are relaxed word accesses, so such a race yields bytes that are
//! thrown away, never undefined behaviour.

use crate::order::PAYLOAD;
use crate::sync::Word;

/// Bytes per payload word.
pub(crate) const WORD: usize = size_of::<u64>();

/// From this length on a string instruction beats a loop of word accesses.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
const LONG: usize = 256;

/// Words of a cache line.
pub(super) const LINE: usize = 64 / WORD;

/// Asks for the first two lines of a slot that will be written soon: a hint, which changes nothing.
/// In longer messages the hardware's own prefetcher finds the rest.
#[inline(always)]
pub(crate) fn will_store(slot: &[Word]) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        will_store_line(slot.as_ptr());
        if slot.len() > LINE {
            will_store_line(slot.as_ptr().wrapping_add(LINE));
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = slot;
}

/// Not the intrinsic: unless the target promises `prfchw` that becomes a hint for reading, which
/// leaves the line shared with its reader. A CPU without the instruction ignores it.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
fn will_store_line(line: *const Word) {
    // SAFETY: a hint cannot fault, whatever the address.
    unsafe {
        core::arch::asm!(
            "prefetchw [{}]",
            in(reg) line,
            options(readonly, nostack, preserves_flags),
        );
    }
}

/// Stores `bytes` into the first words of `words`.
///
/// # Safety
/// `words` holds at least `bytes.len()` bytes.
#[inline(always)]
pub(crate) unsafe fn store(words: &[Word], bytes: &[u8]) {
    debug_assert!(bytes.len() <= words.len() * WORD);
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    if bytes.len() >= LONG {
        // SAFETY: the words are `bytes.len()` writable bytes (this function's contract); to the
        // compiler and to the machine, what happens there is a racing store like `Word::store`.
        unsafe { string_copy(bytes.as_ptr(), words.as_ptr().cast::<u8>().cast_mut(), bytes.len()) };
        return;
    }
    // Words are the most usual messages.
    if let Ok(word) = bytes.try_into().map(u64::from_ne_bytes) {
        // SAFETY: it fits (this function's contract).
        return unsafe { words.get_unchecked(0) }.store(word, PAYLOAD);
    }
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

/// Fills `out` from the first words of `words`.
///
/// # Safety
/// `words` holds at least `out.len()` bytes.
#[inline(always)]
pub(crate) unsafe fn load(words: &[Word], out: &mut [u8]) {
    debug_assert!(out.len() <= words.len() * WORD);
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    if out.len() >= LONG {
        // SAFETY: the words are `out.len()` readable bytes (this function's contract); the racing
        // load happens outside the compiler's sight.
        unsafe { string_copy(words.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
        return;
    }
    if out.len() == WORD {
        // SAFETY: it is there (this function's contract).
        let word = unsafe { words.get_unchecked(0) }.load(PAYLOAD);
        return out.copy_from_slice(&word.to_ne_bytes());
    }
    let whole = out.len() / WORD;
    for at in 0..whole {
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

/// `rep movsb`. Its stores are ordered before a later discrete store (the publishing `seq`), its
/// loads before a later locked operation (the taking CAS).
///
/// # Safety
/// `from` and `to` are valid for `len` bytes and do not overlap; one of them may be raced.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
#[inline(always)]
unsafe fn string_copy(from: *const u8, to: *mut u8, len: usize) {
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
