//! Handles of the engine, shared by the threads of a process.
//!
//! An engine handle is one thread's at a time; a [`Queue`](crate::Queue) is everybody's. So each
//! operation borrows an idle handle, or attaches another, and gives it back when it is over,
//! however it ends. A process has as many handles as it ever had operations at once.
//!
//! The first handle stays where it is, behind a mutex that is only ever tried, never waited for:
//! one thread alone pays for one lock. The others are taken out of a vector, whose mutex is held
//! for the taking out and the putting back only, never while waiting for the queue or encoding.
//!
//! In a child that was forked while another thread held such a mutex, it stays locked for ever. So a
//! child has handles of its own, and leaves its parent's alone. (Whoever does not get a mutex soon, for
//! its holder is not running, goes on with a handle of its own, too.)

use std::hint;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use once_cell::race::OnceBox;
use shmq_engine::Lineage;

/// A producer or a consumer, with room for one encoded value.
#[derive(Debug)]
pub(crate) struct Handle<S> {
    pub(crate) side: S,
    pub(crate) buffer: Vec<u8>,
}

/// Handles of one side, in use or not.
#[derive(Debug)]
pub(crate) struct Handles<S> {
    lineage: Lineage,
    /// Those of a forked child. Set once, by a CAS: no thread can hold that up.
    childs: OnceBox<Handles<S>>,
    first: Mutex<Option<Handle<S>>>,
    /// Those besides the first that are not in use.
    idle: Mutex<Vec<Handle<S>>>,
    /// Those that are given back are detached.
    closed: AtomicBool,
}

impl<S> Handles<S> {
    pub(crate) fn new() -> Self {
        let (first, idle) = (Mutex::new(None), Mutex::new(Vec::new()));
        let closed = AtomicBool::new(false);
        Self { lineage: Lineage::own(), childs: OnceBox::new(), first, idle, closed }
    }

    /// This process's.
    fn own(&self) -> &Self {
        let mut handles = self;
        while !handles.lineage.is_own() {
            handles = handles.childs.get_or_init(|| Box::new(Self::new()));
        }
        handles
    }

    /// An idle handle, or a new one of what `attach` makes, with a buffer of `buffered` bytes.
    pub(crate) fn lend<E>(
        &self,
        buffered: usize,
        attach: impl FnOnce() -> Result<S, E>,
    ) -> Result<Lent<'_, S>, E> {
        let home = self.own();
        if let Some(first) = home.try_first()
            && first.is_some()
        {
            return Ok(Lent { place: Place::First(first), home });
        }
        let idle = home.idle().and_then(|mut idle| idle.pop());
        let handle = match idle {
            Some(handle) => handle,
            None => Handle { side: attach()?, buffer: vec![0; buffered] },
        };
        Ok(Lent { place: Place::Out(handle), home })
    }

    /// Detaches the idle ones, and those in use when they are given back.
    pub(crate) fn close(&self) {
        // ordering: SeqCst, for whoever gives a handle back that we do not find; pairs with Lent::drop
        self.own().closed.store(true, Ordering::SeqCst);
        self.detach_idle();
    }

    /// Detaches the idle ones. Were there any?
    pub(crate) fn detach_idle(&self) -> bool {
        let home = self.own();
        let first = home.try_first().and_then(|mut first| first.take());
        let idle = home.idle().map(|mut idle| mem::take(&mut *idle)).unwrap_or_default();
        first.is_some() || !idle.is_empty()
    }

    /// The first handle's place, unless it is in use.
    fn try_first(&self) -> Option<MutexGuard<'_, Option<Handle<S>>>> {
        try_lock(&self.first)
    }

    /// The idle handles. `None`, after longer than anybody keeps them who is running.
    fn idle(&self) -> Option<MutexGuard<'_, Vec<Handle<S>>>> {
        for _ in 0..IDLE_TRIES {
            if let Some(idle) = try_lock(&self.idle) {
                return Some(idle);
            }
            hint::spin_loop();
        }
        None
    }
}

/// How often the mutex of the idle handles is tried.
const IDLE_TRIES: u32 = 1_000;

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        // A value panicked while it was encoded or decoded; the handle is as good as ever.
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A handle that is given back when dropped.
#[derive(Debug)]
pub(crate) struct Lent<'h, S> {
    place: Place<'h, S>,
    home: &'h Handles<S>,
}

/// Where it is.
#[derive(Debug)]
enum Place<'h, S> {
    /// Always with a handle.
    First(MutexGuard<'h, Option<Handle<S>>>),
    Out(Handle<S>),
    /// Given back.
    Home,
}

impl<S> Deref for Lent<'_, S> {
    type Target = Handle<S>;

    fn deref(&self) -> &Handle<S> {
        match &self.place {
            Place::First(first) => first.as_ref(),
            Place::Out(handle) => Some(handle),
            Place::Home => None,
        }
        .expect("lent until dropped")
    }
}

impl<S> DerefMut for Lent<'_, S> {
    fn deref_mut(&mut self) -> &mut Handle<S> {
        match &mut self.place {
            Place::First(first) => first.as_mut(),
            Place::Out(handle) => Some(handle),
            Place::Home => None,
        }
        .expect("lent until dropped")
    }
}

impl<S> Drop for Lent<'_, S> {
    fn drop(&mut self) {
        let home = self.home;
        match mem::replace(&mut self.place, Place::Home) {
            Place::Out(handle) => match home.try_first() {
                Some(mut first) if first.is_none() => *first = Some(handle),
                _ => {
                    // Without the others, this one is detached.
                    if let Some(mut idle) = home.idle() {
                        idle.push(handle);
                    }
                }
            },
            first => drop(first),
        }
        // ordering: SeqCst, after giving back; pairs with Handles::close
        if home.closed.load(Ordering::SeqCst) {
            home.detach_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handles;

    /// As in a child that was forked while another thread had both.
    #[test]
    fn locks_that_stay_locked_are_not_waited_for() {
        let handles = Handles::new();
        let locked = (handles.first.lock().unwrap(), handles.idle.lock().unwrap());
        for made in 0..2 {
            let lent = handles.lend(8, || Ok::<_, ()>(made)).unwrap();
            assert_eq!(lent.side, made);
        }
        assert!(locked.1.is_empty());
    }
}
