//! The message every transport carries, and the proof that it arrived.
//!
//! A message is a whole number of little-endian words. Word 0 is the tuple
//! `(producer: 16, sequence: 48)`; word i is `word 0 + i * STEP`. So the payload is really
//! written and really read, both at the speed of a vector loop, and one sum tells
//! whether the words of a message belong together. The sums of all messages, added without
//! regard to order, must agree between producers and consumers.

use serde::{Deserialize, Serialize};

pub(crate) const WORD_BYTES: usize = 8;
pub(crate) const PRODUCERS_MAX: usize = 64;

/// In the low bits: words of two producers would differ by a multiple of so much, and many of them by nothing.
const PRODUCER_BITS: u32 = 16;
const PRODUCER_MASK: u64 = (1 << PRODUCER_BITS) - 1;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// Messages of more bytes are added up by a vector loop.
const SHORT: usize = 64;
/// Word 0 of the message that tells one consumer to stop.
const END: u64 = u64::MAX;

/// Packs `(sequence: 48, producer: 16)`.
pub(crate) fn word0(producer: u16, sequence: u64) -> u64 {
    debug_assert!(sequence >> (u64::BITS - PRODUCER_BITS) == 0);
    (sequence << PRODUCER_BITS) | u64::from(producer)
}

/// Writes every word of the message and returns their sum.
#[inline]
pub(crate) fn fill(message: &mut [u8], word0: u64) -> u64 {
    let mut word = word0;
    for bytes in message.chunks_exact_mut(WORD_BYTES) {
        bytes.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(STEP);
    }
    expected_sum(message.len(), word0)
}

pub(crate) fn fill_end(message: &mut [u8]) {
    fill(message, END);
}

/// Is it the message that tells one consumer to stop? All others were sent before it.
#[inline]
pub fn is_end(message: &[u8]) -> bool {
    message.first_chunk().is_some_and(|word0| u64::from_le_bytes(*word0) == END)
}

/// n * word 0 + STEP * (0 + 1 + .. + n-1)
#[inline]
fn expected_sum(bytes: usize, word0: u64) -> u64 {
    let words = (bytes / WORD_BYTES) as u64;
    let steps = words.wrapping_mul(words.wrapping_sub(1)) / 2;
    word0.wrapping_mul(words).wrapping_add(STEP.wrapping_mul(steps))
}

/// How many messages, and the wrapping sum of all their words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, sum: u64) {
        *self = self.with(sum);
    }

    #[inline]
    pub(crate) fn with(self, sum: u64) -> Self {
        Tally { count: self.count + 1, sum: self.sum.wrapping_add(sum) }
    }

    fn total<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Tally {
        tallies.into_iter().fold(Tally::default(), |total, tally| Tally {
            count: total.count + tally.count,
            sum: total.sum.wrapping_add(tally.sum),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a message of {found} bytes arrived, {expected} were sent")]
    Length { expected: usize, found: usize },
    #[error("a message arrived torn or corrupted (word 0 is {word0:#018x})")]
    Torn { word0: u64 },
    #[error("message {sequence} of producer {producer} arrived after {last}")]
    Order { producer: usize, sequence: u64, last: u64 },
    #[error("a message of producer {producer} arrived, there is no such producer")]
    Producer { producer: usize },
    #[error("no message arrived in the time given")]
    Nothing,
    #[error("{sent} messages were sent, {received} received")]
    Count { sent: u64, received: u64 },
    #[error("checksums differ: sent {sent:#018x}, received {received:#018x}")]
    Checksum { sent: u64, received: u64 },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Message {
        /// Of its words.
        sum: u64,
    },
    End,
}

/// One consumer's view: everything that can be checked without the others.
#[derive(Debug)]
pub(crate) struct Verifier {
    size: usize,
    /// Per producer: one more than the last sequence number seen.
    next: [u64; PRODUCERS_MAX],
}

impl Verifier {
    pub(crate) fn new(size: usize) -> Self {
        Verifier { size, next: [0; PRODUCERS_MAX] }
    }

    /// Reads every word of the message.
    #[inline]
    pub(crate) fn accept(&mut self, message: &[u8]) -> Result<Arrival, Fault> {
        match self.check(message) {
            Some(sum) => Ok(Arrival::Message { sum }),
            None => self.judge(message),
        }
    }

    /// The sum of its words, if all is well.
    #[inline]
    fn check(&mut self, message: &[u8]) -> Option<u64> {
        let (word0, sum) = words(message)?;
        let next = self.next.get_mut((word0 & PRODUCER_MASK) as usize)?;
        let sequence = word0 >> PRODUCER_BITS;
        let is_well = message.len() == self.size
            && sum == expected_sum(message.len(), word0)
            && sequence >= *next;
        if !is_well {
            return None;
        }
        *next = sequence + 1;
        Some(sum)
    }

    /// What is it, if not a message that may come next?
    #[cold]
    #[inline(never)]
    fn judge(&self, message: &[u8]) -> Result<Arrival, Fault> {
        let (found, expected) = (message.len(), self.size);
        let (word0, sum) = words(message).ok_or(Fault::Length { expected, found })?;
        if found != expected {
            return Err(Fault::Length { expected, found });
        }
        if sum != expected_sum(found, word0) {
            return Err(Fault::Torn { word0 });
        }
        if word0 == END {
            return Ok(Arrival::End);
        }
        let (producer, sequence) = ((word0 & PRODUCER_MASK) as usize, word0 >> PRODUCER_BITS);
        let next = self.next.get(producer).ok_or(Fault::Producer { producer })?;
        Err(Fault::Order { producer, sequence, last: next.wrapping_sub(1) })
    }
}

/// The first word, and the sum of all. `None`: there is none.
#[inline]
fn words(message: &[u8]) -> Option<(u64, u64)> {
    let word0 = u64::from_le_bytes(*message.first_chunk()?);
    Some((word0, if message.len() > SHORT { sum_of_many(message) } else { sum(message) }))
}

/// Not inlined: unrolled for a length that is known, it would be one chain of additions.
#[inline(never)]
fn sum_of_many(message: &[u8]) -> u64 {
    sum(message)
}

#[inline]
fn sum(message: &[u8]) -> u64 {
    message.chunks_exact(WORD_BYTES).map(word).fold(0, u64::wrapping_add)
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// What all producers sent is what all consumers received. Returns the number of messages.
pub(crate) fn conserved<'a>(
    sent: impl IntoIterator<Item = &'a Tally>,
    received: impl IntoIterator<Item = &'a Tally>,
) -> Result<u64, Fault> {
    let (sent, received) = (Tally::total(sent), Tally::total(received));
    if sent.count != received.count {
        return Err(Fault::Count { sent: sent.count, received: received.count });
    }
    if sent.sum != received.sum {
        return Err(Fault::Checksum { sent: sent.sum, received: received.sum });
    }
    Ok(sent.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize, producer: u16, sequence: u64) -> Vec<u8> {
        let mut message = vec![0; size];
        fill(&mut message, word0(producer, sequence));
        message
    }

    #[test]
    fn what_was_sent_is_accepted_and_conserved() {
        for size in [8, 64, 1024] {
            let (mut sent, mut received) = (Tally::default(), Tally::default());
            let mut verifier = Verifier::new(size);
            let mut buffer = vec![0; size];
            for sequence in 0..10 {
                let sum = fill(&mut buffer, word0(3, sequence));
                sent.add(sum);
                assert_eq!(verifier.accept(&buffer), Ok(Arrival::Message { sum }));
                received.add(sum);
            }
            assert!(!is_end(&buffer));
            fill_end(&mut buffer);
            assert!(is_end(&buffer));
            assert_eq!(verifier.accept(&buffer), Ok(Arrival::End));
            assert_eq!(conserved([&sent], [&received]), Ok(10));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        for bit in 64..512 {
            let mut corrupted = message(64, 1, 7);
            corrupted[bit / 8] ^= 1 << (bit % 8);
            let verdict = Verifier::new(64).accept(&corrupted);
            assert!(matches!(verdict, Err(Fault::Torn { .. })), "bit {bit}: {verdict:?}");
        }
    }

    #[test]
    fn two_messages_that_swapped_their_halves_are_noticed() {
        let mut torn = message(64, 0, 1);
        torn[32..].copy_from_slice(&message(64, 0, 2)[32..]);
        assert_eq!(Verifier::new(64).accept(&torn), Err(Fault::Torn { word0: word0(0, 1) }));
    }

    #[test]
    fn large_messages_of_two_producers_that_swapped_their_halves_are_noticed() {
        const SIZE: usize = 1 << 20;
        let mut torn = message(SIZE, 0, 7);
        torn[SIZE / 2..].copy_from_slice(&message(SIZE, 1, 7)[SIZE / 2..]);
        assert_eq!(Verifier::new(SIZE).accept(&torn), Err(Fault::Torn { word0: word0(0, 7) }));
    }

    #[test]
    fn a_repeated_an_overtaken_and_a_foreign_message_are_noticed() {
        let mut verifier = Verifier::new(8);
        verifier.accept(&message(8, 0, 5)).unwrap();
        let repeated = verifier.accept(&message(8, 0, 5));
        assert_eq!(repeated, Err(Fault::Order { producer: 0, sequence: 5, last: 5 }));
        let overtaken = verifier.accept(&message(8, 0, 4));
        assert_eq!(overtaken, Err(Fault::Order { producer: 0, sequence: 4, last: 5 }));
        let foreign = verifier.accept(&message(8, 999, 0));
        assert_eq!(foreign, Err(Fault::Producer { producer: 999 }));
    }

    #[test]
    fn a_short_message_is_noticed() {
        let verdict = Verifier::new(16).accept(&message(8, 0, 0));
        assert_eq!(verdict, Err(Fault::Length { expected: 16, found: 8 }));
    }

    #[test]
    fn a_dropped_and_an_exchanged_message_are_noticed_by_the_parent() {
        let (mut sent, mut received) = (Tally::default(), Tally::default());
        let mut buffer = [0; 8];
        for sequence in 0..3 {
            let sum = fill(&mut buffer, word0(0, sequence));
            sent.add(sum);
            if sequence != 1 {
                received.add(sum);
            }
        }
        assert_eq!(conserved([&sent], [&received]), Err(Fault::Count { sent: 3, received: 2 }));
        received.add(fill(&mut buffer, word0(0, 9)));
        assert!(matches!(conserved([&sent], [&received]), Err(Fault::Checksum { .. })));
    }
}
