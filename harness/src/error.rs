//! What can go wrong, and which exit code says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Of the harness, unless another error is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What ends a run, or fails a cell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be carried out; the text says what is allowed.
    #[error("{0}")]
    Usage(String),
    /// The system refused.
    #[error("{call} failed: {source}")]
    System {
        /// What was asked of it.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// A report has no place.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A report has no such form.
    #[error("cannot serialise the {format} report: {reason}")]
    Serialise {
        /// The form.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A worker could not do its work.
    #[error("{worker}: {reason}")]
    Worker {
        /// What it was.
        worker: String,
        /// What it said.
        reason: String,
    },
    /// A trial that would never end, ended.
    #[error("not finished {} s after it should be, its workers were killed (at work: {who})", patience.as_secs())]
    Hung {
        /// The time it was given, more than it should take.
        patience: Duration,
        /// Who had not ended.
        who: String,
    },
    /// The CPUs are not as far apart as was asked for.
    #[error(
        "never {} to {} ns between the CPUs and back, as asked for, before and after one of {trials} trials (the \
         last: {:.0} and {:.0}); leave --line-ns out, or ask for what there is",
        range.start(), range.end(), found_ns[0], found_ns[1]
    )]
    Distance {
        /// What was asked for, in ns.
        range: std::ops::RangeInclusive<u32>,
        /// What there was last, before a trial and after it.
        found_ns: [f64; 2],
        /// So many were made.
        trials: u32,
    },
    /// Messages were lost, duplicated, reordered or torn.
    #[error("verification failed: {0}")]
    Verification(String),
    /// There is a report, and it says which.
    #[error("{0} of the cells failed, see above")]
    CellsFailed(usize),
    /// By this signal.
    #[error("interrupted: the workers are stopped, no report was written")]
    Interrupted(i32),
}

impl Error {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) => ExitCode::from(2),
            Error::Interrupted(signal) => {
                u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

impl From<crate::message::Fault> for Error {
    fn from(fault: crate::message::Fault) -> Self {
        Error::Verification(fault.to_string())
    }
}

/// Names the call that failed: `memfd_create(..).during("memfd_create")?`.
pub trait During<T> {
    /// The same, as an error of the harness.
    ///
    /// # Errors
    /// What there was before.
    fn during(self, call: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, call: &'static str) -> Result<T> {
        self.map_err(|error| Error::System { call, source: error.into() })
    }
}
