//! Messages one after the other: what is there, or all that will come.

use super::consumer::Consumer;
use crate::error::PopError;

impl Consumer {
    /// The messages that come, until the queue is shut down and empty: each item waits for the next.
    ///
    /// Ends after an error, too, which is then the last item.
    pub fn iter(&mut self) -> Iter<'_> {
        Iter { consumer: self, is_over: false }
    }

    /// The messages that are there, until the queue is empty. Never waits.
    ///
    /// Ends after an error, too, which is then the last item.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { consumer: self, is_over: false }
    }

    /// Discards the messages that are in the queue now, without reading them; not those that are put
    /// meanwhile. Says how many it discarded: others may get some of them.
    ///
    /// # Errors
    /// As for [`Consumer::try_pop_ref`], but neither [`PopError::Empty`] nor [`PopError::ShutDown`].
    pub fn clear(&mut self) -> Result<usize, PopError> {
        let most = self.waiting();
        for discarded in 0..most {
            match self.try_pop_ref() {
                Ok(message) => drop(message),
                Err(PopError::Empty | PopError::ShutDown) => return Ok(discarded),
                Err(error) => return Err(error),
            }
        }
        Ok(most)
    }
}

/// The messages that come; from [`Consumer::iter`].
#[derive(Debug)]
pub struct Iter<'c> {
    consumer: &'c mut Consumer,
    is_over: bool,
}

impl Iterator for Iter<'_> {
    type Item = Result<Vec<u8>, PopError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.consumer.pop_ref().map(|message| message.to_vec());
        self.is_over = next.is_err();
        (next != Err(PopError::ShutDown)).then_some(next)
    }
}

impl<'c> IntoIterator for &'c mut Consumer {
    type Item = Result<Vec<u8>, PopError>;
    type IntoIter = Iter<'c>;

    fn into_iter(self) -> Iter<'c> {
        self.iter()
    }
}

/// The messages that are there; from [`Consumer::drain`].
#[derive(Debug)]
pub struct Drain<'c> {
    consumer: &'c mut Consumer,
    is_over: bool,
}

impl Iterator for Drain<'_> {
    type Item = Result<Vec<u8>, PopError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.consumer.try_pop_ref().map(|message| message.to_vec());
        self.is_over = next.is_err();
        (!matches!(next, Err(PopError::Empty | PopError::ShutDown))).then_some(next)
    }
}
