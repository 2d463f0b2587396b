//! Several messages at once.

use super::{Consumer, attend};
use crate::error::PopError;
use crate::ring::{Attention, RUN_MAX, Run};

impl Consumer {
    /// Gets what messages there are now, at most `most`, and gives each to `each`, in order. Says how
    /// many: if fewer, there was no other at some moment of the call. Those in slots are taken several at
    /// once, which costs less than one by one.
    ///
    /// # Errors
    /// As for [`Consumer::try_pop_ref`], if there was none before.
    pub fn try_pop_many(
        &mut self,
        most: usize,
        each: impl FnMut(&[u8]),
    ) -> Result<usize, PopError> {
        self.begin(most, false)?;
        let done = self.pop_runs(most, each, false)?;
        self.distance.took_more(done.saturating_sub(1));
        Ok(done)
    }

    /// Gets messages, at most `most`, waiting for the first as long as it takes, and gives each to `each`, in
    /// order. Says how many: if fewer, there may be more, behind one that is just being put.
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
        let done = match self.pop_runs(most, &mut each, true) {
            Err(PopError::Empty) => {
                let mut first = Vec::new();
                self.pop_vec(&mut first)?;
                each(&first);
                let more = self.pop_runs(most - 1, each, true);
                Ok(1 + more.unwrap_or(0))
            }
            done => done,
        }?;
        self.distance.took_more(done.saturating_sub(1));
        Ok(done)
    }

    /// Until there are `most`, or no other; `at_hand`: or none published behind those taken. To know that
    /// there is none, one must look at `tail`, and take its line from the producers.
    fn pop_runs(
        &mut self,
        most: usize,
        mut each: impl FnMut(&[u8]),
        at_hand: bool,
    ) -> Result<usize, PopError> {
        let mut done = 0;
        while done < most {
            match self.pop_run(most - done, &mut each) {
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

    /// Several messages from their slots, or one as it comes: how many, and whether those were all.
    fn pop_run(
        &mut self,
        most: usize,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(usize, bool), PopError> {
        self.ensure_own()?;
        let stride = self.shared.ring().run_stride();
        let mut lens = [0; RUN_MAX];
        let lens = &mut lens[..most.min(RUN_MAX)];
        let mut scratch = std::mem::take(&mut self.scratch);
        // Zeroed once.
        scratch.resize(scratch.len().max(stride * RUN_MAX), 0);
        let run = self.shared.ring().pop_run(&self.grip, &mut scratch, lens);
        let Some(Run { count, is_all, attention }) = run else {
            self.scratch = scratch;
            each(&self.try_pop_ref()?.to_vec());
            return Ok((1, false));
        };
        if attention.has(Attention::AFTER_TAKE) {
            attend(&self.shared, &mut self.upkeep.vigil, attention);
        }
        let places = scratch.chunks_exact(stride);
        places.zip(&lens[..count]).for_each(|(place, &len)| each(&place[..len]));
        self.scratch = scratch;
        Ok((count, is_all))
    }
}
