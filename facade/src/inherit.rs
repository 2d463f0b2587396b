//! Handing a queue to a child process.
//!
//! The child inherits a descriptor of the anonymous segment, and an environment variable that says
//! which one it is and what uuid to expect behind it: `SHMQ_QUEUE_<name>=fd:<number>:<uuid>`. A
//! named queue goes by its name: `name:<name>:<uuid>`. The uuid catches the variable that travelled
//! farther than the descriptor did.

use std::env::{self, VarError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use shmq_engine::{AttachError, Wait};

use crate::error::InheritError;
use crate::queue::Queue;

/// Above those that `Command` moves about in the child.
const FD_MIN: RawFd = 10;

impl<T> Queue<T> {
    /// Hands the queue to the process that `command` will start, which calls
    /// [`Queue::inherited`] with the same `name`, of 1 to 64 letters, digits, `_` or `-`.
    ///
    /// Any number of queues can be handed over, under different names, and `command` may start any
    /// number of children. No other child of this process gets the queue. Call this after
    /// `env_clear`, if at all. `command` holds the queue's memory until it is dropped.
    ///
    /// # Errors
    /// [`InheritError::Name`], or [`InheritError::Os`] if there are no more descriptors.
    pub fn inherit(&self, command: &mut Command, name: &str) -> Result<(), InheritError> {
        let variable = variable(name)?;
        let uuid = self.uuid();
        let Some(fd) = self.engine().as_fd() else {
            let name = self.name().unwrap_or_default();
            command.env(variable, format!("name:{name}:{uuid}"));
            return Ok(());
        };
        let fd = duplicate(fd)
            .map_err(|source| InheritError::Os { call: "fcntl(F_DUPFD_CLOEXEC)", source })?;
        command.env(variable, format!("fd:{}:{uuid}", fd.as_raw_fd()));
        // Only the child's copy loses the flag: no child of another Command can inherit it.
        let keep_open = move || Ok(fcntl_setfd(&fd, FdFlags::empty())?);
        // SAFETY: one system call, which is async-signal-safe; it allocates nothing.
        unsafe { command.pre_exec(keep_open) };
        Ok(())
    }

    /// The queue that this process was handed under `name` by [`Queue::inherit`].
    ///
    /// `T` must be the parent's: write it out, `Queue::<u32>::inherited("counts")`, for an inferred
    /// integer is an `i32`, whose bytes a `Queue<u32>` reads as another number.
    ///
    /// May be called any number of times. From the first on, children of this process do not
    /// inherit the descriptor, unless handed it in turn; the descriptor itself stays open, and with
    /// it the queue's memory, until this process ends.
    ///
    /// # Errors
    /// [`InheritError`] tells apart a variable that is missing, malformed, or leads to nothing, to
    /// something that is no queue, or to another queue.
    pub fn inherited(name: &str) -> Result<Self, InheritError> {
        let variable = variable(name)?;
        let value = match env::var(&variable) {
            Ok(value) => value,
            Err(VarError::NotPresent) => return Err(InheritError::Missing { variable }),
            Err(VarError::NotUnicode(value)) => {
                return Err(InheritError::Malformed { variable, value });
            }
        };
        let Some((way, expected)) = Way::parse(&value) else {
            return Err(InheritError::Malformed { variable, value: value.into() });
        };
        let attach =
            |source: AttachError| InheritError::Attach { variable: variable.clone(), source };
        let queue = match way {
            Way::Name(name) => Self::open(name).map_err(attach)?,
            Way::Fd(number) => {
                let fd = duplicate(borrow(number)).map_err(|source| {
                    let variable = variable.clone();
                    match source.raw_os_error() {
                        Some(errno) if errno == Errno::BADF.raw_os_error() => {
                            InheritError::Closed { variable, fd: number }
                        }
                        _ => InheritError::Os { call: "fcntl(F_DUPFD_CLOEXEC)", source },
                    }
                })?;
                let engine = shmq_engine::Queue::from_fd(fd).map_err(attach)?;
                Self::from_engine(engine, None, Wait::default())
            }
        };
        let found = queue.uuid();
        if found != expected {
            return Err(InheritError::Other { variable, expected: expected.to_owned(), found });
        }
        if let Way::Fd(number) = way {
            // It is the one we were given, so it is ours to mark.
            _ = fcntl_setfd(borrow(number), FdFlags::CLOEXEC);
        }
        Ok(queue)
    }

    fn uuid(&self) -> String {
        let [low, high] = self.engine().uuid();
        format!("{high:016x}{low:016x}")
    }
}

/// How the child finds the queue.
#[derive(Clone, Copy)]
enum Way<'v> {
    Fd(RawFd),
    Name(&'v str),
}

impl<'v> Way<'v> {
    /// The way, and the uuid at its end.
    fn parse(value: &'v str) -> Option<(Self, &'v str)> {
        let mut parts = value.split(':');
        let (kind, place, uuid) = (parts.next()?, parts.next()?, parts.next()?);
        let way = match kind {
            "fd" => Self::Fd(place.parse().ok().filter(|&number| number >= 0)?),
            "name" => Self::Name(place),
            _ => return None,
        };
        let is_uuid = uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_uuid && parts.next().is_none()).then_some((way, uuid))
    }
}

fn variable(name: &str) -> Result<String, InheritError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(format!("SHMQ_QUEUE_{name}"))
    } else {
        Err(InheritError::Name { name: name.to_owned() })
    }
}

/// A descriptor by its number, which came from the environment.
fn borrow<'fd>(number: RawFd) -> BorrowedFd<'fd> {
    // SAFETY: not -1 (Way::parse). It is duplicated or marked, never closed; if it is not open,
    // or no longer, the call says so.
    unsafe { BorrowedFd::borrow_raw(number) }
}

pub(crate) fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, FD_MIN)?)
}
