//! Is a history that of a FIFO queue?
//!
//! With distinct messages a complete history is linearizable exactly if it contains none of four
//! patterns, each of which is found by sorting. Write `put(x)` and `get(x)` for the intervals, and
//! `<` for "ended before the other began":
//!
//! | pattern | what |
//! |---|---|
//! | P1 | x was got, but never put, or `get(x) < put(x)`; or what was got is torn |
//! | P2 | x was got twice |
//! | P3 | `put(a) < put(b)`, and `get(b) < get(a)`, or b was got and a never was |
//! | P4 | Empty, though at every moment of the call some message was surely inside: after its put, before its get |
//!
//! A bounded queue adds two conditions that are necessary, not sufficient:
//!
//! | pattern | what |
//! |---|---|
//! | P5 | Full, though at no moment of the call could there be as many messages and other puts in progress as the queue holds |
//! | P6 | more messages were surely inside at once than the queue holds |
//!
//! A queue that passes over the place of a stopped put may, wrongly, count that place longer than the
//! put is in progress. A P5 that can be explained so has a name of its own ([`Pattern::LateFull`]).
//!
//! **Killed operations.** A killed put whose message was got did happen, before the death; one whose
//! message nobody got is left out, which forbids less than anything else. (Not for P5: it may have
//! had a place.) A killed get took one message, or none: which one, nobody can say. So each message
//! that is missing, and cannot still be inside, must be given to a killed get of its own, and to
//! one that can have had it without P1 or P3. That is a matching. Of two gets given to two messages
//! in the wrong order, exchanging them is never worse, so only conditions on each message alone
//! matter: not out too late (`deadline`), not too early (`release`).
//! P4 remains: an Empty may be covered by several missing messages together, which the matching
//! must avoid. That takes a search, over the few messages concerned.
//!
//! That a killed operation took effect *before the death*, or never, is more than linearizability
//! asks for (it is strict linearizability). With [`NEVER`](crate::history::NEVER) as its end, the
//! operation may also take effect later.
//!
//! **Several messages by one call** are as many operations, all with the call's interval. Of a killed
//! call each may have happened; those behind a put that was refused did not, but may have held places
//! meanwhile ([`What::Untried`](crate::history::What::Untried)). That they happened in order is more
//! than intervals say: what follows from it, and from the order of each process otherwise,
//! [`check_programs`] looks at.

mod bounds;
mod empty;
mod items;
mod lost;
mod order;
mod program;
mod violation;

pub use program::check_programs;
pub use violation::{Pattern, Violation};

use crate::history::Operation;
use items::Items;
use order::Order;

/// Everything found wrong, at most a few of each pattern; nothing if a FIFO queue, of `capacity`
/// messages if that is given, may have done this.
pub fn check(history: &[Operation], capacity: Option<usize>) -> Vec<Violation> {
    let (items, mut found) = Items::pair(history);
    if !found.is_empty() {
        // Without knowing which get belongs to which put the rest would only repeat it.
        return found;
    }
    let order = Order::of(&items.taken);
    found.extend(order.check(&items.taken));
    let missing = lost::examine(&items, &order);
    found.extend(lost::check(&missing, &items.takers));
    found.extend(empty::check(&items, &missing, found.is_empty()));
    if let Some(capacity) = capacity {
        found.extend(bounds::check(&items, &order, &missing, capacity as u64));
    }
    found
}
