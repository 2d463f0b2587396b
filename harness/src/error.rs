//! What can go wrong, and which exit code says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request cannot be carried out; the text says what is allowed.
    #[error("{0}")]
    Usage(String),
    #[error("{call} failed: {source}")]
    System { call: &'static str, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot serialise the {format} report: {reason}")]
    Serialise { format: &'static str, reason: String },
    #[error("{worker}: {reason}")]
    Worker { worker: String, reason: String },
    #[error("not finished after {} s, its workers were killed", crate::trial::PATIENCE.as_secs())]
    Hung,
    /// Messages were lost, duplicated, reordered or torn.
    #[error("verification failed: {0}")]
    Verification(#[from] crate::message::Fault),
    #[error("{0} of the cells failed, see above")]
    CellsFailed(usize),
}

impl Error {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Names the call that failed: `memfd_create(..).during("memfd_create")?`.
pub(crate) trait During<T> {
    fn during(self, call: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, call: &'static str) -> Result<T> {
        self.map_err(|error| Error::System { call, source: error.into() })
    }
}
