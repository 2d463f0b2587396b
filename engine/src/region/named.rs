//! Named segments, through the `shared_memory` crate.
//!
//! The crate maps; what it leaves open is closed here: an opener that comes between creation and
//! truncation waits; pages are reserved through a second descriptor of the same object; the name is
//! removed by us, once, and only while it still means our object; segments of other users are
//! refused. What stays open: a peer of the same user can truncate a named segment, which is a
//! SIGBUS for the others. Anonymous segments are sealed against that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::shm;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::{attach_failed, check_file_size, create_failed, reserve_fixed};
use crate::error::{AttachError, CreateError};
use crate::lineage::Lineage;

/// How long an opener waits for a creator that is between its first and its last step.
const BIRTH_MAX: Duration = Duration::from_millis(500);

pub(crate) struct Named {
    shmem: Shmem,
    /// Of the same object: the crate keeps its own to itself.
    fd: OwnedFd,
    name: String,
    /// The creator's: which object the name stood for, and who created it.
    owned: Option<(Identity, Lineage)>,
}

type Identity = (u64, u64);

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named")
            .field("name", &self.name)
            .field("len", &self.len())
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}

impl Named {
    /// A new segment of `len` zeroed bytes, the first `fixed` of them reserved. Dropping it removes
    /// the name.
    pub(crate) fn create(name: &str, len: usize, fixed: usize) -> Result<Self, CreateError> {
        check_file_size(len)?;
        let id = object(name);
        let mut shmem = match ShmemConf::new().os_id(&id).size(len).create() {
            Ok(shmem) => shmem,
            Err(ShmemError::MappingIdExists) => {
                return Err(CreateError::Exists { name: name.to_owned() });
            }
            Err(error) => {
                return Err(match errno_of(&error) {
                    Errno::NOMEM => CreateError::AddressSpace { needed: len as u64 },
                    // Of which of its calls, the crate does not say.
                    errno => create_failed("shm_open", name, errno),
                });
            }
        };
        // The crate would unlink whatever has the name by then.
        shmem.set_owner(false);
        let reserved = open_fd(&id).map_err(|errno| create_failed("shm_open", name, errno));
        let identity = reserved.and_then(|(fd, stat)| {
            reserve_fixed(fd.as_fd(), fixed, name)?;
            Ok((fd, identity(&stat)))
        });
        match identity {
            Ok((fd, identity)) => {
                let owned = Some((identity, Lineage::own()));
                Ok(Self { shmem, fd, name: name.to_owned(), owned })
            }
            Err(error) => {
                _ = shm::unlink(&id);
                Err(error)
            }
        }
    }

    /// The segment of that name, once it has `least` bytes and `is_born` says it is finished.
    pub(crate) fn open(
        name: &str,
        least: usize,
        is_born: impl Fn(NonNull<u8>) -> bool,
    ) -> Result<Self, AttachError> {
        let waited = Instant::now();
        loop {
            let tried = Self::try_open(name, least);
            let unfinished = match &tried {
                Ok(named) if is_born(named.base()) => return tried,
                Ok(_) => AttachError::Unfinished,
                Err(AttachError::Empty) => AttachError::Empty,
                Err(AttachError::Unfinished) => AttachError::Unfinished,
                Err(_) => return tried,
            };
            if waited.elapsed() > BIRTH_MAX {
                return Err(unfinished);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn try_open(name: &str, least: usize) -> Result<Self, AttachError> {
        let id = object(name);
        let (fd, stat) = open_fd(&id).map_err(|errno| match errno {
            Errno::NOENT => AttachError::NotFound { name: name.to_owned() },
            errno => attach_failed("shm_open", name, errno),
        })?;
        let expected = rustix::process::geteuid().as_raw();
        if stat.st_uid != expected {
            return Err(AttachError::Owner { expected, found: stat.st_uid });
        }
        usable_len(stat.st_size, least)?;
        // Before its pages are reserved, to read them in a mapping may be a SIGBUS.
        let mut magic = [0; 8];
        if rustix::io::pread(&fd, &mut magic, 0).is_err() || magic == [0; 8] {
            return Err(AttachError::Unfinished);
        }
        let shmem = ShmemConf::new().os_id(&id).open().map_err(|error| match error {
            ShmemError::MapSizeZero => AttachError::Empty,
            error => match errno_of(&error) {
                Errno::NOMEM => AttachError::AddressSpace { needed: stat.st_size.cast_unsigned() },
                Errno::NOENT => AttachError::NotFound { name: name.to_owned() },
                errno => attach_failed("shm_open", name, errno),
            },
        })?;
        // The name may have changed hands between the two: what counts is what was mapped.
        usable_len(i64::try_from(shmem.len()).unwrap_or(i64::MAX), least)?;
        Ok(Self { shmem, fd, name: name.to_owned(), owned: None })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        // The crate maps before it returns, and never at zero.
        NonNull::new(self.shmem.as_ptr()).unwrap_or(NonNull::dangling())
    }

    pub(crate) fn len(&self) -> usize {
        self.shmem.len()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let Some((owned, creator)) = self.owned else { return };
        if !creator.is_own() {
            return;
        }
        let id = object(&self.name);
        // By its path, as there may be no descriptor left.
        if rustix::fs::stat(format!("/dev/shm{id}")).is_ok_and(|stat| identity(&stat) == owned) {
            _ = shm::unlink(&id);
        }
    }
}

/// Removes the name of a segment. Who is attached stays attached; nobody else can attach.
///
/// # Errors
/// [`AttachError::NotFound`], [`AttachError::Name`], or what the system said.
pub fn unlink(name: &str) -> Result<(), AttachError> {
    if let Some(why) = check_name(name) {
        return Err(AttachError::Name { name: name.to_owned(), why });
    }
    shm::unlink(object(name)).map_err(|errno| match errno {
        Errno::NOENT => AttachError::NotFound { name: name.to_owned() },
        errno => attach_failed("shm_unlink", name, errno),
    })
}

/// Why `name` cannot be the name of a segment, if it cannot.
pub(crate) fn check_name(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > 200 {
        Some("is too long")
    } else if !name.chars().all(plain) {
        Some("has other characters")
    } else {
        None
    }
}

/// The length of a file as a length to map.
pub(super) fn usable_len(size: i64, least: usize) -> Result<usize, AttachError> {
    let found = u64::try_from(size).unwrap_or(0);
    match usize::try_from(found) {
        Ok(0) => Err(AttachError::Empty),
        Ok(len) if len >= least => Ok(len),
        _ => Err(AttachError::Truncated { expected: least as u64, found }),
    }
}

fn object(name: &str) -> String {
    format!("/shmq.{name}")
}

fn open_fd(id: &str) -> rustix::io::Result<(OwnedFd, Stat)> {
    let fd = shm::open(id, shm::OFlags::RDWR, shm::Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    Ok((fd, stat))
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn errno_of(error: &ShmemError) -> Errno {
    match error {
        ShmemError::MapCreateFailed(raw)
        | ShmemError::MapOpenFailed(raw)
        | ShmemError::UnknownOsError(raw) => Errno::from_raw_os_error(*raw as i32),
        _ => Errno::IO,
    }
}
