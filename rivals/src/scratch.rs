//! Names and files for those who need them: in memory, of one trial, and gone after it.

use std::fs;
use std::path::PathBuf;

use shmq_harness::{Channel, During, Result};
use tempfile::TempDir;

/// Where POSIX puts shared memory and semaphores, too.
const MEMORY: &str = "/dev/shm";

/// A folder, whose own name is in the names of whatever else there is.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("shmq.rivals.").tempdir_in(MEMORY).during("mkdtemp")?;
        Ok(Self { folder })
    }

    /// Found by the folder; removed when the workers are gone.
    pub(crate) fn into_channel(self) -> Channel {
        let path = self.folder.path().display().to_string();
        Channel::named(&path, self)
    }
}

/// Workers that were killed leave behind what they would have removed.
impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(name) = self.folder.path().file_name() else { return };
        let name = name.to_string_lossy().into_owned();
        for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
            let other = entry.file_name().to_string_lossy().into_owned();
            if other != name && other.contains(&name) {
                _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The folder of a channel's name, and a name for what lies outside of it.
pub(crate) fn folder_and_name(channel: String) -> (PathBuf, String) {
    let folder = PathBuf::from(channel);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (folder, name)
}
