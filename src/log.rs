//! The log: a bounded file in the state folder, never the screen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;

/// The log file. Clones share it.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Mutex<Rolling>>,
}

#[derive(Debug)]
struct Rolling {
    path: PathBuf,
    bytes_max: u64,
    file: Option<File>,
    written: u64,
    /// The last failure to write, until the console has shown it.
    trouble: Option<String>,
}

impl Log {
    /// Opens `pvdeck.log` in `folder`, at most `bytes_max` long; one older file
    /// is kept beside it. A disk that takes nothing is no failure: the log goes
    /// nowhere and [`Log::take_trouble`] says so.
    pub fn open(folder: &Path, bytes_max: u64) -> Self {
        let path = folder.join("pvdeck.log");
        let mut rolling = Rolling { path, bytes_max, file: None, written: 0, trouble: None };
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| rolling.reopen()) {
            rolling.trouble = Some(rolling.explain(&error));
        }
        Self { inner: Arc::new(Mutex::new(rolling)) }
    }

    /// Sends the program's diagnostics to this log, at `level`.
    pub fn install(&self, level: &str) -> Result<(), Failure> {
        // kube's client logs whole bodies that it cannot parse; they may hold
        // secrets.
        let filter = EnvFilter::try_new(format!("{level},kube_client=off,hyper=warn,h2=warn"))
            .map_err(|error| Failure::bad_input(format!("log level `{level}`: {error}")))?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(self.clone())
            .try_init()
            .map_err(|error| Failure::new(format!("the log cannot be set up: {error}")))
    }

    /// The last failure to write, once.
    pub fn take_trouble(&self) -> Option<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).trouble.take()
    }
}

impl Rolling {
    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        self.written = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written.saturating_add(bytes.len() as u64) > self.bytes_max {
            self.file = None;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    fn explain(&self, error: &io::Error) -> String {
        format!("the log file `{}` cannot be written: {error}", self.path.display())
    }
}

impl Write for &Log {
    /// Never fails: a log that cannot be written must not stop the program.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rolling = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = rolling.write(bytes) {
            rolling.file = None;
            rolling.trouble = Some(rolling.explain(&error));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event's way into the log.
#[derive(Debug)]
pub struct Line(Log);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stays_within_its_bounds() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path(), 100);
        for number in 0..50 {
            writeln!(&log, "line {number}").expect("never fails");
        }
        assert_eq!(log.take_trouble(), None);
        let length = |name: &str| fs::metadata(folder.path().join(name)).expect("a file").len();
        assert!(length("pvdeck.log") <= 100 && length("pvdeck.log.1") <= 100);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_reported_once_and_stops_nothing() {
        let log = Log::open(Path::new("/dev/null/nowhere"), 100);
        assert!(log.take_trouble().expect("said").contains("/dev/null/nowhere"));
        writeln!(&log, "lost").expect("never fails");
        assert!(log.take_trouble().is_some());
        assert!(log.take_trouble().is_none());
    }
}
