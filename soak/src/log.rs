//! The log of one worker: written by it alone, read when it is gone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use shmq_soak::history::Value;

use crate::clock;
use crate::mapping::Mapping;

/// One call is of no more operations.
pub(crate) const MANY_MAX: usize = 8;
/// How many operations a worker can log; then it ends.
pub(crate) const RECORDS: usize = 1 << 16;

const LEN: usize = RECORDS * size_of::<Record>();
const VALUE_BITS: u32 = 32 + Value::PROCESS_BITS;

/// An operation. Zero, as a new file is, means: not begun.
#[derive(Debug)]
#[repr(C)]
struct Record {
    /// `{operation, value}` as `operation << 56 | value`; no value for a get.
    called: AtomicU64,
    /// `{result, value}` likewise; the value that was got.
    returned: AtomicU64,
    /// When it began; written after `called`.
    inv: AtomicU64,
    /// When it had ended; written last. Zero: it has not, or its process was killed.
    res: AtomicU64,
}

const _: () = assert!(size_of::<Record>() == 32 && LEN.is_multiple_of(4096));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Put(Value),
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// Put; or got, with the value.
    Done(Option<Value>),
    /// Full or Empty.
    Refused,
    Torn(Value),
    /// Never tried: the same call had been refused before.
    Unasked,
    /// It ended in an error that no operation should: the run has found something, also if the worker is killed
    /// before it can say so.
    Failed,
}

/// A record as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) inv: u64,
    /// `None`: it was killed in the operation.
    pub(crate) end: Option<(Return, u64)>,
}

#[derive(Debug)]
pub(crate) struct Log {
    mapping: Mapping,
}

impl Log {
    pub(crate) fn create() -> io::Result<Self> {
        Ok(Self { mapping: Mapping::create(LEN)? })
    }

    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::open(fd, LEN)? })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.fd()
    }

    fn records(&self) -> &[Record] {
        let records = self.mapping.base().cast::<Record>();
        // SAFETY: mapped until drop, page-aligned, LEN bytes of atomic words.
        unsafe { slice::from_raw_parts(records.as_ptr(), RECORDS) }
    }

    /// How many operations were begun. Asked of a log that is being written, it may be behind.
    pub(crate) fn len(&self) -> usize {
        // ordering: Acquire, the call was written before; pairs with Release in `begin`
        self.records().partition_point(|record| record.inv.load(Ordering::Acquire) != 0)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = io::Result<Entry>> {
        self.records()[..self.len()].iter().map(Record::entry)
    }

    /// For the next worker.
    pub(crate) fn clear(&self) {
        for record in &self.records()[..self.len()] {
            for word in [&record.called, &record.returned, &record.inv, &record.res] {
                // ordering: Relaxed, who reads it next is not even started
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer { left: self.records() }
    }
}

impl Record {
    fn entry(&self) -> io::Result<Entry> {
        // ordering: Acquire, the rest was written before; pairs with Release in `end`
        let res = self.res.load(Ordering::Acquire);
        // ordering: Relaxed, see above for the result; `len` saw `inv`, and so the call
        let words = [&self.called, &self.returned, &self.inv].map(|w| w.load(Ordering::Relaxed));
        let [called, returned, inv] = words;
        let value = |word: u64| Value::from_word(word & ((1 << VALUE_BITS) - 1));
        let wrong = |what, word| io::Error::other(format!("a log's {what} is {word:#x}"));
        let call = match called >> VALUE_BITS {
            1 => Call::Put(value(called)),
            2 => Call::Get,
            _ => return Err(wrong("call", called)),
        };
        let end = match returned >> VALUE_BITS {
            _ if res == 0 => None,
            1 => Some(Return::Done(None)),
            2 => Some(Return::Done(Some(value(returned)))),
            3 => Some(Return::Refused),
            4 => Some(Return::Torn(value(returned))),
            5 => Some(Return::Unasked),
            6 => Some(Return::Failed),
            _ => return Err(wrong("result", returned)),
        };
        Ok(Entry { call, inv, end: end.map(|end| (end, res)) })
    }
}

/// What the writer does with one.
impl Record {
    #[inline(always)]
    fn begin(&self, call: Call, inv: u64) {
        let called = match call {
            Call::Put(value) => 1 << VALUE_BITS | value.word(),
            Call::Get => 2 << VALUE_BITS,
        };
        // ordering: Relaxed, `inv` publishes it
        self.called.store(called, Ordering::Relaxed);
        // ordering: Release, pairs with Acquire in `len`; a kill, too, finds them in this order
        self.inv.store(inv, Ordering::Release);
    }

    #[inline(always)]
    fn end(&self, returned: Return, res: u64) {
        let word = match returned {
            Return::Done(None) => 1 << VALUE_BITS,
            Return::Done(Some(value)) => 2 << VALUE_BITS | value.word(),
            Return::Refused => 3 << VALUE_BITS,
            Return::Torn(value) => 4 << VALUE_BITS | value.word() & ((1 << VALUE_BITS) - 1),
            Return::Unasked => 5 << VALUE_BITS,
            Return::Failed => 6 << VALUE_BITS,
        };
        // ordering: Relaxed, `res` publishes it
        self.returned.store(word, Ordering::Relaxed);
        // ordering: Release, pairs with Acquire in `entry`
        self.res.store(res, Ordering::Release);
    }
}

/// Writes a log from its beginning.
#[derive(Debug)]
pub(crate) struct Writer<'l> {
    left: &'l [Record],
}

impl Writer<'_> {
    /// For one more call.
    pub(crate) fn has_room(&self) -> bool {
        self.left.len() >= MANY_MAX
    }

    /// Logs `call`, makes it by `run`, and logs what `judge` makes of its result, which no longer
    /// counts as part of the operation. The caller has asked for room.
    #[inline(always)]
    pub(crate) fn log<R, E>(
        &mut self,
        call: Call,
        run: impl FnOnce() -> R,
        judge: impl FnOnce(R) -> Result<Return, E>,
    ) -> Result<Return, E> {
        let (record, left) = self.left.split_first().expect("the caller has asked for room");
        self.left = left;
        record.begin(call, clock::before());
        let result = run();
        let res = clock::after();
        let returned = judge(result);
        record.end(*returned.as_ref().unwrap_or(&Return::Failed), res);
        returned
    }

    /// The same for a call that is several operations, at most [`MANY_MAX`]: all have its interval.
    pub(crate) fn log_many<R, E>(
        &mut self,
        calls: &[Call],
        run: impl FnOnce() -> R,
        judge: impl FnOnce(R) -> Result<Vec<Return>, E>,
    ) -> Result<Return, E> {
        let (records, left) = self.left.split_at(calls.len());
        self.left = left;
        let inv = clock::before();
        records.iter().zip(calls).for_each(|(record, &call)| record.begin(call, inv));
        let result = run();
        let res = clock::after();
        let returned = judge(result).inspect_err(|_| {
            records.iter().for_each(|record| record.end(Return::Failed, res));
        })?;
        records.iter().zip(&returned).for_each(|(record, &returned)| record.end(returned, res));
        Ok(returned[0])
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_second_mapping_reads_what_was_logged_and_what_was_cut_off() {
        let log = Log::create().unwrap();
        let other = Log::open(log.fd().try_clone_to_owned().unwrap()).unwrap();
        let mut writer = log.writer();
        let value = Value::new((1 << Value::PROCESS_BITS) - 1, u32::MAX);
        for (call, end) in [
            (Call::Put(value), Return::Done(None)),
            (Call::Get, Return::Done(Some(value))),
            (Call::Get, Return::Refused),
            (Call::Get, Return::Torn(value)),
        ] {
            assert_eq!(writer.log(call, || end, Ok::<_, Infallible>), Ok(end));
            let last = other.entries().last().unwrap().unwrap();
            assert_eq!((last.call, last.end.unwrap().0), (call, end));
            assert!(last.inv <= last.end.unwrap().1);
        }
        let ends = [Return::Done(None), Return::Refused, Return::Unasked];
        let many = writer.log_many(&[Call::Put(value); 3], || ends.to_vec(), Ok::<_, Infallible>);
        assert_eq!(many, Ok(ends[0]));
        let several: Vec<_> = other.entries().skip(4).map(Result::unwrap).collect();
        assert_eq!(several.iter().map(|entry| entry.end.unwrap().0).collect::<Vec<_>>(), ends);
        assert!(several.iter().all(|entry| entry.inv == several[0].inv));
        let last_end = || other.entries().last().unwrap().unwrap().end.map(|(end, _)| end);
        assert_eq!(writer.log(Call::Put(value), || (), Err), Err(()));
        assert_eq!((other.len(), last_end()), (8, Some(Return::Failed)), "whatever becomes of it");
        let calls = [Call::Get; 2];
        assert_eq!(writer.log_many(&calls, || (), |()| Err::<Vec<_>, _>(())), Err(()));
        assert_eq!((other.len(), last_end()), (10, Some(Return::Failed)));
        writer.left[0].begin(Call::Put(value), 1);
        assert_eq!((other.len(), last_end()), (11, None));
        other.clear();
        assert_eq!(log.len(), 0);
    }
}
