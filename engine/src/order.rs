//! The table of memory orderings: every ordering of the protocol, its partner and its reason.
//!
//! Call sites name a row, never an [`Ordering`]: [`crate::sync`] accepts nothing else. That makes
//! the table complete by construction, and it is what the mutant run weakens, row by row: in a
//! loom build `SHMQ_MUTANT=<ROW>` weakens that row to `Relaxed` (see `models/`), and a row
//! whose weakening no model notices is either not needed or not covered.
//!
//! Pairs that need store-load order (Dekker) are fences, in [`crate::sync::fence`]; the accesses
//! around them are listed here with the orderings they need besides.

use core::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};

/// One row: an ordering with the name that the mutant run knows it by.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    #[cfg(loom)]
    row: &'static str,
    ordering: Ordering,
}

impl Order {
    const fn new(row: &'static str, ordering: Ordering) -> Self {
        #[cfg(not(loom))]
        let _ = row;
        Self {
            #[cfg(loom)]
            row,
            ordering,
        }
    }

    /// The ordering to use: the row's own, or `Relaxed` when this row is the chosen mutant.
    #[inline(always)]
    pub(crate) fn get(self) -> Ordering {
        #[cfg(loom)]
        if crate::sync::mutant::is(self.row) {
            return Relaxed;
        }
        self.ordering
    }
}

macro_rules! rows {
    ($($(#[$doc:meta])+ $name:ident = $ordering:expr;)+) => {
        $($(#[$doc])+ pub(crate) const $name: Order = Order::new(stringify!($name), $ordering);)+

        /// Every row's name and ordering, in the order of the table.
        pub const ROWS: &[(&str, Ordering)] = &[$((stringify!($name), $ordering)),+];
    };
}

rows! {
    // ---- the message itself -------------------------------------------------------------------
    /// `seq = t + 1`, Release: publishes the payload. Pairs with [`SEEN`].
    PUBLISH = Release;
    /// load of `seq`, Acquire: payload is visible. Pairs with [`PUBLISH`].
    SEEN = Acquire;
    /// payload and length words, Relaxed: ordered by [`PUBLISH`]/[`SEEN`] on the way in and by
    /// [`TAKE`]/[`HEAD`] on the way out; an optimistic copy that loses is thrown away.
    PAYLOAD = Relaxed;
    /// the word of each line of a slot that nobody reads, Relaxed: the store asks for the line.
    ASK = Relaxed;

    // ---- head: next to take -------------------------------------------------------------------
    /// `head` h to h + 1 by its taker or by a helper, Release: the copy is finished, and the mark
    /// that passed h over is visible. Pairs with [`HEAD`].
    TAKE = Release;
    /// load of `head`, Acquire: whoever sees `head > h` may overwrite slot h, and sees the
    /// attention raised and the mark set by whoever passed h over. Pairs with [`TAKE`].
    HEAD = Acquire;

    // ---- tail: next to claim ------------------------------------------------------------------
    /// `tail` t to t + 1, Release: the announcement of t is visible. Pairs with [`TAIL`].
    CLAIM = Release;
    /// load of `tail` by who may pass a ticket over, Acquire: sees its announcement; in the
    /// one-producer mode, sees its `seq`. Pairs with [`CLAIM`] and [`ADVANCE`].
    TAIL = Acquire;
    /// load of `tail` by a producer about to claim, Relaxed: the CAS checks it.
    TAIL_GUESS = Relaxed;
    /// `tail` of the one producer, Release: `seq` is visible. Pairs with [`TAIL`].
    ADVANCE = Release;

    // ---- announcements ------------------------------------------------------------------------
    /// my line: the ticket I am about to claim, or none, Release: all that I stored into earlier
    /// slots. Pairs with [`SCAN`].
    ANNOUNCE = Release;
    /// load of another's announcement, Acquire: what its owner stored before it went on is over.
    /// Pairs with [`ANNOUNCE`].
    SCAN = Acquire;

    // ---- marks --------------------------------------------------------------------------------
    /// every change of a mark (always a CAS), AcqRel: carries the announcements and stores seen by
    /// earlier markers along. Pairs with [`MARK`].
    REMARK = AcqRel;
    /// load of a mark, Acquire. Pairs with [`REMARK`].
    MARK = Acquire;
    /// the first ticket of a slot's unusable period, Relaxed: ordered by [`REMARK`]/[`MARK`].
    BASE = Relaxed;

    // ---- attention ----------------------------------------------------------------------------
    /// raising a bit (always a read-modify-write), AcqRel: keeps what earlier quieters released,
    /// and shows the mark that made it necessary. Pairs with [`ATTENTION`].
    RAISE = AcqRel;
    /// clearing the skip bit, AcqRel: what the writers of the released slots stored is over.
    /// Pairs with [`ATTENTION`].
    QUIET = AcqRel;
    /// load of attention before writing into a slot, and before scanning marks, Acquire: zero
    /// means that every slot's earlier writer is done. Pairs with [`QUIET`].
    ATTENTION = Acquire;
    /// load of attention behind a light fence, Relaxed: the fence pair orders it; what is looked
    /// at afterwards has orderings of its own.
    ATTENTION_FENCED = Relaxed;

    // ---- the end ------------------------------------------------------------------------------
    /// every change of where a shut queue ends (always a CAS), AcqRel: the message that moved it is there.
    /// Pairs with [`ENDED`].
    END = AcqRel;
    /// load of that, Acquire: who sees that a message counts finds it. Pairs with [`END`].
    ENDED = Acquire;
    /// counting a producer that has attached, Release: it occupies a line. Pairs with [`BEGUN`].
    BEGIN = Release;
    /// load of that count, Acquire: who looks for producers finds all that it counts, but for those that have left.
    /// Pairs with [`BEGIN`].
    BEGUN = Acquire;

    // ---- parking ------------------------------------------------------------------------------
    /// gate epoch + 1 by a waker, Release. Pairs with [`EPOCH`].
    WAKE = Release;
    /// load of the epoch before registering, Acquire. Pairs with [`WAKE`].
    EPOCH = Acquire;

    // ---- failure of any CAS -------------------------------------------------------------------
    /// a CAS that failed tells nothing: its caller starts over from loads of its own.
    LOST = Relaxed;

    // ---- registry -----------------------------------------------------------------------------
    /// every change of who occupies a line, holds a role, or of the list of worlds (always a CAS),
    /// AcqRel: the list entry that the occupant refers to is visible, and who leaves has stored all
    /// that it will. Pairs with [`OCCUPANT`].
    OCCUPY = AcqRel;
    /// load of such a word, Acquire: who sees a line vacant sees its last occupant's stores, and a
    /// later occupant's announcement comes later. Pairs with [`OCCUPY`].
    OCCUPANT = Acquire;
    /// which copy of a forked process this is, Relaxed: a number that guards nothing; fork orders by
    /// itself.
    LINEAGE = Relaxed;
    /// setting the page that tells (a CAS), AcqRel: it is mapped. Pairs with [`PAGED`].
    PAGE_SET = AcqRel;
    /// load of where it is, Acquire. Pairs with [`PAGE_SET`].
    PAGED = Acquire;

    // ---- arena ----------------------------------------------------------------------------------
    /// every change of a block's state, of the directory, or of how many blocks are described (always a
    /// CAS), AcqRel: what its last holder did to it is over, what it describes is visible. Pairs with
    /// [`BLOCK`].
    BLOCKS = AcqRel;
    /// load of such a word, Acquire. Pairs with [`BLOCKS`].
    BLOCK = Acquire;
    /// tickets and reserved bytes of a block, Relaxed: ordered by [`BLOCKS`]/[`BLOCK`], and after its
    /// holder's death by the kernel.
    EXTENT = Relaxed;
    /// where to look first, Relaxed: the state of what is found there decides.
    HINT = Relaxed;
    /// load of such a word, Relaxed: as for [`HINT`].
    HINTED = Relaxed;

    // ---- birth of a segment -------------------------------------------------------------------
    /// header words, Relaxed: ordered by [`BEAR`]/[`BORN`].
    HEADER = Relaxed;
    /// the magic, stored last, Release: the whole header is visible. Pairs with [`BORN`].
    BEAR = Release;
    /// load of the magic, Acquire. Pairs with [`BEAR`].
    BORN = Acquire;
}
