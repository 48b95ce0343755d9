//! What a panic leaves behind: a report in the state folder.
//!
//! A panic of a background task is caught where the task is awaited; its report
//! must not be written over the screen. Only one that ends the program is
//! printed too.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use color_eyre::config::{HookBuilder, Theme};

use crate::failure::Failure;

/// Saves the report of every panic from here on in `folder`. Call before the
/// screen is set up, so that the screen is restored before anything is printed.
pub fn install(folder: &Path) -> Result<(), Failure> {
    let (panics, errors) = HookBuilder::blank()
        .theme(Theme::new())
        .capture_span_trace_by_default(false)
        .display_env_section(false)
        .into_hooks();
    errors.install().map_err(|error| Failure::new(format!("error reports: {error}")))?;
    let path = folder.join("panic.txt");
    let is_first = AtomicBool::new(true);
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = std::backtrace::Backtrace::force_capture();
        let version = env!("CARGO_PKG_VERSION");
        let report = panics.panic_report(panic);
        let text = format!("pvdeck {version}\n{report}\n\n{backtrace}\n\n");
        tracing::error!("{report}");
        let saved = save(&path, &text, is_first.swap(false, Ordering::Relaxed));
        if thread::current().name() == Some("main") {
            tell(&format!("{report}"), &path, &saved);
        }
    }));
    Ok(())
}

/// Later reports of the same process go below the first.
fn save(path: &PathBuf, text: &str, is_first: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(is_first)
        .append(!is_first)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn tell(report: &str, path: &Path, saved: &io::Result<()>) {
    let place = match saved {
        Ok(()) => format!("the whole report is in {}", path.display()),
        Err(error) => format!("no report could be saved in {}: {error}", path.display()),
    };
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "pvdeck failed, a fault of its own; {place}\n{report}");
}
