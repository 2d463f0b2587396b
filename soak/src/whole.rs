//! After an epoch nothing of the queue may be missing: every place for messages, every place for
//! participants.

use shmq_engine::{AttachError, PopError, PushError, Queue, Role};
use shmq_soak::history::Value;

use crate::gather::SUPERVISOR;
use crate::message;
use crate::setting::{Setting, UNBOUNDED_PLACES};

/// The queue is empty, nobody is attached, and what the dead held was recovered.
pub(crate) fn check(queue: &Queue, setting: &Setting) -> Result<(), String> {
    capacity(queue, setting)?;
    registry(queue, setting)?;
    memory(queue)
}

/// Nothing is left of anybody, and little is kept for later.
fn memory(queue: &Queue) -> Result<(), String> {
    queue.recover();
    let again = queue.recover();
    let resident = queue.resident_bytes();
    if again.blocks > 0 || again.participants > 0 {
        return Err(format!("recovered again: {again:?}"));
    }
    // A queue of slots keeps what it has from the beginning.
    let has_blocks = queue.message_max() > queue.inline_max();
    if has_blocks && resident > RESIDENT_MAX {
        return Err(format!("{resident} bytes are kept for an empty queue"));
    }
    Ok(())
}

/// What an empty queue may keep, in bytes.
const RESIDENT_MAX: u64 = 24 << 20;
/// A queue without a capacity must hold so many messages.
const MORE: usize = UNBOUNDED_PLACES;

/// Exactly so many messages fit, and come out in order; twice, so that the slots change.
fn capacity(queue: &Queue, setting: &Setting) -> Result<(), String> {
    let refused = |error: AttachError| format!("attaching after recovery: {error}");
    let mut producer = queue.producer().map_err(refused)?;
    let mut consumer = queue.consumer().map_err(refused)?;
    let mut buffer = vec![0; setting.message_max];
    let mut scratch = buffer.clone();
    let count =
        u32::try_from(setting.capacity.unwrap_or(MORE)).map_err(|error| error.to_string())?;
    for round in 0..2 {
        let value = |n| Value::new(SUPERVISOR, round * count + n);
        for n in 0..count {
            producer.try_push(message::write(&mut buffer, value(n))).map_err(|error| {
                format!("after recovery only {n} of {count} messages fit: {error}")
            })?;
        }
        if setting.capacity.is_some() {
            let one_more = producer.try_push(message::write(&mut buffer, value(count)));
            if one_more != Err(PushError::Full) {
                return Err(format!("with {count} messages the queue is not full: {one_more:?}"));
            }
        }
        for n in 0..count {
            let got = consumer.try_pop(&mut buffer);
            let got = got.map(|len| message::read(&buffer[..len], &mut scratch));
            if got != Ok(Ok(value(n))) {
                return Err(format!("after recovery message {n} of {count} is {got:?}"));
            }
        }
        let rest = consumer.try_pop(&mut buffer);
        if rest != Err(PopError::Empty) {
            return Err(format!("after {count} messages the queue is not empty: {rest:?}"));
        }
    }
    Ok(())
}

/// Everybody finds a place, and nobody more.
fn registry(queue: &Queue, setting: &Setting) -> Result<(), String> {
    if setting.consumers == Role::One {
        return one_registry(queue, setting);
    }
    let most = setting.participants;
    let mut attached = Vec::with_capacity(most);
    for n in 0..most {
        let consumer = queue.consumer();
        attached.push(
            consumer.map_err(|error| format!("only {n} of {most} places are free: {error}"))?,
        );
    }
    match queue.consumer() {
        Err(AttachError::Crowded { .. }) => Ok(()),
        other => Err(format!("with {most} participants there is room for another: {other:?}")),
    }
}

/// The same where only one may get: those that may put, or the one that does.
fn one_registry(queue: &Queue, setting: &Setting) -> Result<(), String> {
    let _consumer = queue.consumer().map_err(|error| format!("no consumer may attach: {error}"))?;
    let most = if setting.producers == Role::One { 1 } else { setting.participants - 1 };
    let mut attached = Vec::with_capacity(most);
    for n in 0..most {
        let producer = queue.producer();
        attached.push(
            producer.map_err(|error| format!("only {n} of {most} places are free: {error}"))?,
        );
    }
    match queue.producer() {
        Err(AttachError::Crowded { .. } | AttachError::Taken { .. }) => Ok(()),
        other => Err(format!("with {most} producers there is room for another: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use shmq_engine::Options;

    use super::*;
    use crate::setting;

    fn setting(capacity: usize, participants: usize) -> Setting {
        let mut setting = setting::tests::draw(&setting::tests::plan(capacity));
        setting.participants = participants;
        (setting.producers, setting.consumers) = (Role::Many, Role::Many);
        setting
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let fault = |more, asked| {
            let queue = Options::new(4).participants(6).create_heap().unwrap();
            (0..more).for_each(|_| queue.producer().unwrap().try_push(b"left over").unwrap());
            check(&queue, &setting(asked, 6))
        };
        assert_eq!(fault(0, 4), Ok(()));
        assert!(fault(0, 5).unwrap_err().contains("only 4 of 5 messages fit"));
        assert!(fault(0, 3).unwrap_err().contains("is not full: Ok"));
        assert!(fault(1, 4).unwrap_err().contains("only 3 of 4 messages fit"));
        assert!(fault(1, 3).unwrap_err().contains("message 0 of 3 is Ok(Err("));
    }

    #[test]
    fn a_place_that_is_taken_is_noticed() {
        let queue = Options::new(1).participants(4).create_heap().unwrap();
        let _taken = queue.consumer().unwrap();
        let fault = check(&queue, &setting(1, 4)).unwrap_err();
        assert!(fault.contains("only 3 of 4 places are free"), "{fault}");
        assert!(check(&queue, &setting(1, 3)).is_ok());
    }
}
