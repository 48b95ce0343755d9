//! `--flex-volume-plugin-dir`: FlexVolume drivers of the machine for a demo's
//! nodes.

use std::path::Path;
use std::sync::Arc;

use crate::config;
use crate::failure::Failure;
use crate::plugins::flex_volume::DIRECTORY;
use crate::plugins::host::simulated::programs::Programs;

/// The drivers in a directory, with a place for them to work; `None` without
/// one. The directory is made if it is missing.
pub fn programs(directory: Option<&Path>) -> Result<Option<Arc<Programs>>, Failure> {
    let Some(directory) = directory else { return Ok(None) };
    let bad = |error: std::io::Error| {
        Failure::bad_input(format!("the FlexVolume drivers in `{}`: {error}", directory.display()))
            .hint("name a directory with --flex-volume-plugin-dir")
    };
    std::fs::create_dir_all(directory).map_err(bad)?;
    let directory = directory.canonicalize().map_err(bad)?;
    let scratch = config::state_folder()?.join(format!("flex-volume/{}", std::process::id()));
    let failed = |error| {
        Failure::new(format!("no place for FlexVolume drivers, `{}`: {error}", scratch.display()))
    };
    let programs = Programs::new(directory, DIRECTORY, scratch.clone()).map_err(failed)?;
    Ok(Some(Arc::new(programs)))
}
