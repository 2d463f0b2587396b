//! Messages that say which they are, and whether they are whole.

/// Buffers have so many bytes.
pub const ROOM: usize = 20_480;

/// Messages from this number on have [`FILLER`] bytes, to use up a block that collects.
pub const FILLERS: u64 = 500;
/// See [`FILLERS`]: four of them leave no room for another message in 64 KiB.
pub const FILLER: usize = 16_368;
/// Messages from this number on are the survivor's: as long as others.
pub const SURVIVORS: u64 = 1000;

/// Bytes of the number at the beginning.
const NUMBER: usize = size_of::<u64>();

/// Messages differ in length, so that a mixture of two is noticed.
fn length(id: u64, max: usize) -> usize {
    if (FILLERS..SURVIVORS).contains(&id) {
        return FILLER;
    }
    max - (id % 4) as usize * (max / 16)
}

fn byte(id: u64, at: usize) -> u8 {
    (id as u8).wrapping_mul(131).wrapping_add(at as u8)
}

/// Message `id` of a queue for messages of up to `max` bytes.
pub fn fill(room: &mut [u8; ROOM], id: u64, max: usize) -> &[u8] {
    let message = &mut room[..length(id, max)];
    message[..NUMBER].copy_from_slice(&id.to_le_bytes());
    for (at, to) in message.iter_mut().enumerate().skip(NUMBER) {
        *to = byte(id, at);
    }
    message
}

/// Which message that is; `None` if it is not one, whole.
pub fn identify(message: &[u8], max: usize) -> Option<u64> {
    let (number, rest) = message.split_first_chunk()?;
    let id = u64::from_le_bytes(*number);
    let whole = rest.iter().enumerate().all(|(at, &found)| found == byte(id, at + NUMBER));
    (message.len() == length(id, max) && whole).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::{ROOM, fill, identify};

    #[test]
    fn a_message_is_known_again_and_a_torn_one_is_not() {
        for max in [48, 320] {
            let (mut one, mut two) = ([0; ROOM], [0; ROOM]);
            let mut message = fill(&mut one, 7, max).to_vec();
            assert_eq!(identify(&message, max), Some(7));
            let other = fill(&mut two, 11, max);
            message[20..].copy_from_slice(&other[20..]);
            assert_eq!(identify(&message, max), None);
            assert_eq!(identify(&other[..9], max), None);
            assert_eq!(identify(&[], max), None);
        }
    }
}
