//! Messages whose length and every byte follow from their value.

use shmq_soak::history::Value;

/// The shortest: the value, and a word that depends on it.
pub(crate) const MIN: usize = 16;

/// If that is the longest, lengths are mixed: most are far shorter.
pub(crate) const LARGE: usize = 300_000;

fn length(word: u64, max: usize) -> usize {
    let up_to = |most: usize| MIN + (word >> 8) as usize % (most - MIN + 1);
    match word % 64 {
        _ if max < LARGE => MIN + word as usize % (max - MIN + 1),
        0 => max,
        1..24 => up_to(64),
        24..48 => up_to(4_000),
        _ => up_to(40_000),
    }
}

/// Mixes all bits: the finalizer of splitmix64.
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Writes the message of `value` to the front of `buffer`, and gives it. Its length is anything
/// from [`MIN`] to the whole buffer.
#[inline]
pub(crate) fn write(buffer: &mut [u8], value: Value) -> &[u8] {
    let mut word = mix(value.word() + 1);
    let len = length(word, buffer.len());
    let message = &mut buffer[..len];
    let (first, rest) = message.split_at_mut(8);
    first.copy_from_slice(&value.word().to_le_bytes());
    for chunk in rest.chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    message
}

/// Which message that is; an error gives the value that it began with. `scratch` is as long as the
/// longest message.
#[inline]
pub(crate) fn read(message: &[u8], scratch: &mut [u8]) -> Result<Value, Value> {
    let first = message.first_chunk::<8>().copied().unwrap_or_default();
    let value = Value::from_word(u64::from_le_bytes(first));
    if value.word() < 1 << (32 + Value::PROCESS_BITS) && write(scratch, value) == message {
        Ok(value)
    } else {
        Err(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        for max in [MIN, MIN + 1, 48, 4096] {
            let (mut buffer, mut scratch) = (vec![0; max], vec![0; max]);
            for n in 0..50 {
                let value = Value::new(3, n);
                let message = write(&mut buffer, value).to_vec();
                assert_eq!(read(&message, &mut scratch), Ok(value));
                assert!(read(&message[..message.len() - 1], &mut scratch).is_err());
                for at in 0..message.len() {
                    let mut torn = message.clone();
                    torn[at] ^= 1;
                    assert!(read(&torn, &mut scratch).is_err(), "byte {at}");
                }
            }
        }
        assert!(read(&[], &mut [0; 48]).is_err());
    }
}
