//! Waiting for messages of several queues at once.

use std::time::Duration;

use super::consumer::Consumer;
use crate::wait::Want;
use crate::wait::clock::Deadline;

/// Waits until one of `consumers`, of any queues, may have a message, or has come to the end of its queue;
/// no longer than `timeout`, if that is given. Says which one, the first of them if several; `None` when the
/// time is over, or there are none.
///
/// Others may be faster, so try ([`Consumer::try_pop`]) and, if there is nothing, select again. Sleeps while
/// there is nothing, for which the kernel must be Linux 5.16 or later; on an older one it looks every
/// millisecond. At most 128 consumers are waited for in one sleep; with more, the rest is looked at every
/// millisecond.
///
/// ```
/// use shmq_engine::{Options, select};
///
/// let queues = [Options::new(3).create_heap()?, Options::new(3).create_heap()?];
/// queues[1].producer()?.push(b"here")?;
/// let mut consumers = [queues[0].consumer()?, queues[1].consumer()?];
/// let at = select(&consumers.each_ref(), None).expect("without a timeout");
/// assert_eq!(consumers[at].try_pop(&mut [0; 48])?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn select(consumers: &[&Consumer], timeout: Option<Duration>) -> Option<usize> {
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let found = || consumers.iter().position(|consumer| consumer.may_have_message());
    if consumers.is_empty() {
        return None;
    }
    loop {
        if let Some(at) = found() {
            pass_on(consumers, at);
            return Some(at);
        }
        if deadline.is_over() {
            return None;
        }
        let wants = consumers.iter().map(|consumer| consumer.want());
        if let Ok(at) = Want::park_for_any(wants, deadline, found) {
            pass_on(consumers, at);
            return Some(at);
        }
    }
}

/// We may have been woken for others than the one that we name, or for more there than one message: who sleeps
/// there looks after it.
fn pass_on(consumers: &[&Consumer], named: usize) {
    for (at, consumer) in consumers.iter().enumerate() {
        let (want, ring) = consumer.want();
        // There, one more than it takes.
        let are_several = || ring.shape().capacity - ring.places() > 1;
        let is_for_others = if at == named { are_several() } else { consumer.may_have_message() };
        if is_for_others {
            want.wake(ring, ring.attention());
        }
    }
}
