//! Several messages at once.

use zerocopy::{FromBytes, IntoBytes};

use super::{Consumer, attend};
use crate::error::PopError;
use crate::ring::{Attention, RUN_MAX, Run};

/// How many messages were got at once, and whether none was published behind them.
type Got = (usize, bool);

/// Bytes of memory in which messages of one get are shown, but for a single one.
const SCRATCH_MAX: usize = 4 << 20;

impl Consumer {
    /// Gets what messages there are now, at most `most`, and gives each to `each`, in order. Says how
    /// many: if fewer, there was no other at some moment of the call. Those in slots are taken several at
    /// once, which costs less than one by one; if `each` panics, so are those lost that were taken together, 64 at
    /// most.
    ///
    /// # Errors
    /// As for [`Consumer::try_pop_ref`], if there was none before.
    pub fn try_pop_many(
        &mut self,
        most: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, PopError> {
        self.begin(most, false)?;
        let done = runs(0, most, false, |done| self.pop_run(most - done, &mut each))?;
        self.took(done);
        Ok(done)
    }

    /// Gets messages, at most `most`, waiting for the first as long as it takes, and gives each to `each`, in
    /// order. Says how many: if fewer, there may be more, behind one that is just being put. If `each` panics, the same
    /// holds as for [`Consumer::try_pop_many`].
    ///
    /// # Errors
    /// [`PopError`], but not [`PopError::Empty`] or [`PopError::TooSmall`].
    pub fn pop_many(
        &mut self,
        most: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, PopError> {
        if most == 0 {
            return Ok(0);
        }
        self.begin(most, true)?;
        self.look();
        let mut done = runs(0, most, true, |done| self.pop_run(most - done, &mut each));
        if let Err(PopError::Empty) = done {
            each(&self.pop_ref_after_look(true)?.to_vec());
            done = runs(1, most, true, |done| self.pop_run(most - done, &mut each));
        }
        let done = done?;
        self.took(done);
        Ok(done)
    }

    /// Gets messages, each the bytes of a `T`, into `values`, as many as there is room for, and says how many; what
    /// lies behind those may have been overwritten. The least that a message can cost: those in slots are taken
    /// several at once, and copied once. If there are fewer than asked for, there may be more: a get stops at
    /// the end of a segment of a growing queue, and those that do not lie in slots, or that are left after a
    /// shutdown, come one by one.
    ///
    /// # Errors
    /// As for [`Consumer::try_pop_ref`], if there was none; [`PopError::NotAValue`] if the first message has not
    /// as many bytes as a `T`. It is gone then. (One that comes later is left to the next get.)
    #[inline]
    pub fn try_pop_values<T: FromBytes + IntoBytes>(
        &mut self,
        values: &mut [T],
    ) -> Result<usize, PopError> {
        self.get_values(values, false)
    }

    /// The same, waiting for the first message as long as it takes.
    ///
    /// # Errors
    /// As for [`Consumer::try_pop_values`], but not [`PopError::Empty`].
    #[inline]
    pub fn pop_values<T: FromBytes + IntoBytes>(
        &mut self,
        values: &mut [T],
    ) -> Result<usize, PopError> {
        self.get_values(values, true)
    }

    #[inline(always)]
    fn get_values<T: FromBytes + IntoBytes>(
        &mut self,
        values: &mut [T],
        may_wait: bool,
    ) -> Result<usize, PopError> {
        if values.is_empty() {
            return Ok(0);
        }
        self.begin(values.len(), may_wait)?;
        if may_wait {
            self.look();
        }
        let mut done = self.pop_rows(values);
        if done == 0 {
            self.pop_ref_after_look(may_wait)?.read_exactly(&mut values[0])?;
            done = 1 + self.pop_rows(&mut values[1..]);
        }
        self.took(done);
        Ok(done)
    }

    /// That get, which had begun, was of so many.
    fn took(&mut self, messages: usize) {
        self.distance.took_more(messages.saturating_sub(1));
    }

    /// Several messages from their slots, or one as it comes.
    fn pop_run(&mut self, most: usize, each: &mut impl FnMut(&[u8])) -> Result<Got, PopError> {
        self.ensure_own()?;
        let ring = self.shared.ring();
        let stride = ring.run_stride();
        let places = usize::try_from(ring.shape().capacity).unwrap_or(RUN_MAX);
        let mut lens = [0; RUN_MAX];
        let lens = &mut lens[..most.min(RUN_MAX).min(places).min(SCRATCH_MAX / stride).max(1)];
        let mut scratch = std::mem::take(&mut self.scratch);
        // Zeroed once.
        scratch.resize(scratch.len().max(stride * lens.len()), 0);
        let run = self.shared.ring().pop_run(&self.grip, &mut scratch, lens);
        let Some(run) = run else {
            self.scratch = scratch;
            each(&self.pop_ref_after_look(false)?.to_vec());
            return Ok((1, false));
        };
        let got = self.got(run);
        let places = scratch.chunks_exact(stride);
        places.zip(&lens[..run.count]).for_each(|(place, &len)| each(&place[..len]));
        self.scratch = scratch;
        Ok(got)
    }

    /// Several messages from their slots into values, as long as they are there in a row: how many.
    #[inline(always)]
    fn pop_rows<T: FromBytes + IntoBytes>(&mut self, values: &mut [T]) -> usize {
        const { assert!(size_of::<T>() > 0, "a message of no bytes is no value") };
        let mut done = 0;
        while done < values.len() {
            let (ring, rest) = (self.shared.ring(), values[done..].as_mut_bytes());
            let Some(run) = ring.pop_row(&self.grip, rest, size_of::<T>()) else { break };
            let (count, is_all) = self.got(run);
            done += count;
            if is_all {
                break;
            }
        }
        done
    }

    #[inline(always)]
    fn got(&mut self, run: Run) -> Got {
        if run.attention.has(Attention::AFTER_TAKE) {
            attend(&self.shared, &mut self.upkeep.vigil, run.attention);
        }
        (run.count, run.is_all)
    }
}

/// Goes on from `done` until there are `most` messages, or no other; `at_hand`: or none published behind those
/// taken. (To know that there is none, one must look at `tail`, and take its line from the producers.) What goes
/// wrong after the first is left to the next get.
#[inline(always)]
fn runs(
    mut done: usize,
    most: usize,
    at_hand: bool,
    mut run: impl FnMut(usize) -> Result<Got, PopError>,
) -> Result<usize, PopError> {
    while done < most {
        match run(done) {
            Ok((count, is_all)) => {
                done += count;
                if at_hand && is_all {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}
